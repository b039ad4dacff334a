"""Drafts of classifiers: what can be checked before their weights are read.

Code that comes with a model or a tokenizer is never run, and nobody is asked whether it may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from dps.models.agreement import (
    agree_on_padding,
    check_vocabulary,
    count_max_tokens,
    count_readable_tokens,
)
from dps.models.folder import TOKENIZER_FILES, ModelFolder
from dps.models.manifest import MANIFEST_FILE, find_damage
from dps.text import quote_value

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

MAX_MODULES = 10_000  # layers, heads, experts or labels that a config.json may ask for
MODULE_COUNT = re.compile(r"(n|num)_(\w+_)?(layers?|heads?|experts?|groups|blocks|labels)|\w+_layers|depth")
MAX_NEW_WEIGHTS = 10_000_000  # that a model may have beside those in its files; as many as those, if more


@dataclass(frozen=True)
class ModelDraft:
    """Tokenizer and configuration of a classifier, and the model itself without values.

    skeleton: the model on the meta device, which knows shapes alone.
    """

    folder: ModelFolder
    tokenizer: PreTrainedTokenizerBase
    config: PreTrainedConfig
    skeleton: nn.Module

    @classmethod
    def read(
        cls, folder: ModelFolder, head: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase | None = None
    ) -> ModelDraft:
        """Read tokenizer and configuration.

        head: fields that replace those of config.json. tokenizer: in place of the one in the folder.

        Raises InputError for a folder that cannot be loaded, a tokenizer that does not fit the model, and a
        configuration that asks for more than the weight files hold.
        """
        import torch
        import transformers

        if damage := find_damage(folder.path):
            remedy = f"copy the folder again, or delete {MANIFEST_FILE} if you changed it yourself"
            raise InputError(f"model: {damage}; {remedy}")
        _check_module_counts(folder, folder.read_config())
        tokenizer = tokenizer or load_tokenizer(folder)
        with explain_load_errors(folder):
            config = transformers.AutoConfig.from_pretrained(folder.path, trust_remote_code=False, **head)
            agree_on_padding(folder.name, tokenizer, config)
            with torch.device("meta"):
                skeleton = transformers.AutoModelForSequenceClassification.from_config(
                    config, trust_remote_code=False
                )
        _check_size(folder, skeleton)
        check_vocabulary(folder.name, tokenizer, skeleton)
        return cls(folder, tokenizer, config, skeleton)

    @property
    def max_tokens(self) -> int | None:
        """Tokens that an example may have at most, see `count_max_tokens`."""
        return count_max_tokens(self.skeleton)

    @property
    def readable_tokens(self) -> int:
        """Tokens that the model was made to read, see `count_readable_tokens`."""
        return count_readable_tokens(self.skeleton)

    def load(self) -> tuple[PreTrainedModel, dict[str, Any]]:
        """Return the model with its weights in fp32, and what transformers says of them: missing_keys, ..."""
        import torch
        import transformers

        with explain_load_errors(self.folder):
            model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                self.folder.path,
                config=self.config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        return model, dict(info)


def load_tokenizer(folder: ModelFolder) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a folder. Raises InputError if it is missing, broken or has code of its own."""
    import transformers

    if not any((folder.path / name).is_file() for name in TOKENIZER_FILES):
        raise InputError(
            f"model: {folder.name!r} has no tokenizer ({TOKENIZER_FILES[0]}, ...); save one in its folder"
        )
    with explain_load_errors(folder):
        tokenizer: PreTrainedTokenizerBase = transformers.AutoTokenizer.from_pretrained(
            folder.path, trust_remote_code=False
        )
    return tokenizer


def _check_module_counts(folder: ModelFolder, config: Mapping[str, Any]) -> None:
    """Raise InputError for a number of layers, labels, ... that no model has: to build it would not end."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_module_counts(folder, value)
        elif MODULE_COUNT.fullmatch(key) and isinstance(value, (int, float)) and value > MAX_MODULES:
            raise InputError(
                f"model: config.json of {folder.name!r} has {key} {value}, and at most {MAX_MODULES:,} are "
                f"built; give the model with its own configuration"
            )


def _check_size(folder: ModelFolder, skeleton: nn.Module) -> None:
    """Raise InputError if the configuration asks for far more weights than the files hold."""
    asked, stored = sum(p.numel() for p in skeleton.parameters()), folder.count_parameters()
    if asked > stored + max(stored, MAX_NEW_WEIGHTS):
        raise InputError(
            f"model: config.json of {folder.name!r} asks for {asked:,} weights, but its files hold "
            f"{stored:,}; give the model with its own configuration"
        )


@contextmanager
def explain_load_errors(folder: ModelFolder) -> Iterator[None]:
    """Silence transformers inside this context, and turn its errors into an InputError of one line."""
    try:
        with silence_transformers():
            yield
    except InputError:
        raise
    except Exception as error:  # transformers raises many kinds for unusable files
        raise InputError(
            f"model: {folder.name!r} cannot be loaded ({type(error).__name__}: "
            f"{quote_value(' '.join(str(error).split()), 300)}); give a complete transformers model"
        ) from error


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
