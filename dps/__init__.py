"""Fine-tuning a pre-trained language model by dynamic parameter selection (DPS).

    method = dps.DPSDense(selection_ratio=0.7, update_ratio=0.05)
    optimizer = method.attach(model, optimizer, max_steps=1605, max_grad_norm=1.0)
    result = dps.finetune(dps.FineTuneConfig(task="cola", method=method))

Names are imported when first used, so that `import dps` is quick. May import all of dps and nothing else of
the project; imported by tune and cluster.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
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


def list_lazily(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package whose public names are imported when first used.

    homes: the module of each.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(homes)


__getattr__, __dir__ = list_lazily(__name__, _HOME)
