"""Fine-tuning a pre-trained language model by dynamic parameter selection (DPS).

    method = dps.DPSDense(selection_ratio=0.7, update_ratio=0.05)
    optimizer = method.attach(model, optimizer, max_steps=1605, max_grad_norm=1.0)
    result = dps.finetune(dps.FineTuneConfig(task="cola", method=method))

Names are imported where they are first used, so that `import dps` is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dps.config import FineTuneConfig, FineTuneResult
    from dps.errors import InputError
    from dps.finetune import finetune
    from dps.methods import DPSDense, DPSMix, Method, Vanilla
    from dps.selection import StageSchedule, select_mask

_HOME = {
    "DPSDense": "dps.methods",
    "DPSMix": "dps.methods",
    "FineTuneConfig": "dps.config",
    "FineTuneResult": "dps.config",
    "InputError": "dps.errors",
    "Method": "dps.methods",
    "StageSchedule": "dps.selection",
    "Vanilla": "dps.methods",
    "finetune": "dps.finetune",
    "select_mask": "dps.selection",
}

__all__ = [
    "DPSDense",
    "DPSMix",
    "FineTuneConfig",
    "FineTuneResult",
    "InputError",
    "Method",
    "StageSchedule",
    "Vanilla",
    "finetune",
    "select_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dps' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """A submodule does not hide the function of the same name, whichever is imported first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
