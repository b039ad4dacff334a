"""Fine-tuning a pre-trained language model by dynamic parameter selection (DPS).

    method = dps.DPSDense(selection_ratio=0.7, update_ratio=0.05)
    optimizer = method.attach(model, optimizer, max_steps=1605, max_grad_norm=1.0)
    result = dps.finetune(dps.FineTuneConfig(task="cola", method=method))

Names are imported when first used, so that `import dps` is quick. May import all of dps and nothing else of
the project; imported by tune and cluster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dps.errors import InputError
    from dps.methods import DPSDense, DPSMix, Method, Vanilla
    from dps.predict import Predictor
    from dps.selection import StageSchedule, select_mask
    from dps.training.config import FineTuneConfig, FineTuneResult
    from dps.training.run import finetune

_HOME = {
    "DPSDense": "dps.methods",
    "DPSMix": "dps.methods",
    "FineTuneConfig": "dps.training.config",
    "FineTuneResult": "dps.training.config",
    "InputError": "dps.errors",
    "Method": "dps.methods",
    "Predictor": "dps.predict",
    "StageSchedule": "dps.selection",
    "Vanilla": "dps.methods",
    "finetune": "dps.training.run",
    "select_mask": "dps.selection",
}

__all__ = [
    "DPSDense", "DPSMix", "FineTuneConfig", "FineTuneResult", "InputError", "Method", "Predictor",
    "StageSchedule", "Vanilla", "finetune", "select_mask",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dps' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
