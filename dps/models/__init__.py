"""Pre-trained and fine-tuned models: found, checked before weights are read, loaded, copied for each run.

Only safetensors weights are read, never a pickle; code that comes with a model or a tokenizer is never run.
May import dps.tasks and what lies below it. Imported by dps.methods, dps.training and above.
"""

from __future__ import annotations

from dps.models.agreement import MAX_DEFAULT_TOKENS, count_readable_tokens
from dps.models.draft import ModelDraft, silence_transformers
from dps.models.encoder import PretrainedEncoder
from dps.models.finetuned import load_finetuned_model
from dps.models.folder import BUILTIN_MODEL_PACKAGE, ModelFolder, locate_model
from dps.models.heads import initialise_module, set_dropout

__all__ = [
    "BUILTIN_MODEL_PACKAGE", "MAX_DEFAULT_TOKENS", "ModelDraft", "ModelFolder", "PretrainedEncoder",
    "count_readable_tokens", "initialise_module", "load_finetuned_model", "locate_model", "set_dropout",
    "silence_transformers",
]  # fmt: skip
