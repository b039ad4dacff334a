"""Pre-trained and fine-tuned models: found, checked before weights are read, loaded, copied for each run.

Only safetensors weights are read, never a pickle; code that comes with a model or a tokenizer is never run.
Names are imported when first used: those that need torch are not all of them. May import dps.tasks and what
lies below it. Imported by dps.data_checks, dps.methods, dps.training and above.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dps.models.agreement import MAX_DEFAULT_TOKENS, count_readable_tokens
    from dps.models.draft import ModelDraft, load_tokenizer, silence_transformers
    from dps.models.encoder import PretrainedEncoder
    from dps.models.ensemble import ENSEMBLE_FILE, list_models, read_ensemble, write_ensemble
    from dps.models.finetuned import load_finetuned_model
    from dps.models.folder import BUILTIN_MODEL_PACKAGE, ModelFolder, locate_model
    from dps.models.heads import initialise_module, make_head_config, set_dropout
    from dps.models.lengths import USUAL_TOKENS, TextLengths, measure_lengths

_HOME = {
    "agreement": ("MAX_DEFAULT_TOKENS", "count_readable_tokens"),
    "draft": ("ModelDraft", "load_tokenizer", "silence_transformers"),
    "encoder": ("PretrainedEncoder",),
    "ensemble": ("ENSEMBLE_FILE", "list_models", "read_ensemble", "write_ensemble"),
    "finetuned": ("load_finetuned_model",),
    "folder": ("BUILTIN_MODEL_PACKAGE", "ModelFolder", "locate_model"),
    "heads": ("initialise_module", "make_head_config", "set_dropout"),
    "lengths": ("USUAL_TOKENS", "TextLengths", "measure_lengths"),
}

__all__ = [
    "BUILTIN_MODEL_PACKAGE", "ENSEMBLE_FILE", "MAX_DEFAULT_TOKENS", "USUAL_TOKENS", "ModelDraft",
    "ModelFolder", "PretrainedEncoder", "TextLengths", "count_readable_tokens", "initialise_module",
    "list_models", "load_finetuned_model", "load_tokenizer", "locate_model", "make_head_config",
    "measure_lengths", "read_ensemble", "set_dropout", "silence_transformers", "write_ensemble",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"dps.models.{module}"), name)
    raise AttributeError(f"module 'dps.models' has no attribute {name!r}")
