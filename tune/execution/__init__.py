"""Execution of a search on Ray: slots, worker groups, the trial loop. No other package of tune knows Ray.

The loop is imported when first used: it imports Ray Tune, which a dry run needs not. May import tune.planning
and below. Imported by the session and the commands.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune.execution.tuner import run_trials

__all__ = ["run_trials"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tune.execution' has no attribute {name!r}")
    return getattr(import_module("tune.execution.tuner"), name)
