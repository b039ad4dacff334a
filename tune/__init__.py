"""Searching for the configuration that is truly better, and comparing methods: commands, session, packages.

    result = tune.run_search(task="cola", trials=12)
    print(result.sentence)

Names are imported when first used, so that `import tune` is quick. May import dps. Imported by cluster alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dps import list_lazily

if TYPE_CHECKING:
    from dps.errors import InputError
    from tune.calls import run_comparison, run_search
    from tune.core.command import UnfinishedError
    from tune.core.run import RefusedError
    from tune.records.events import Watcher
    from tune.result import ComparisonResult, SearchResult, SuiteResult, load_result

_HOME = {
    "ComparisonResult": "tune.result",
    "InputError": "dps.errors",
    "RefusedError": "tune.core.run",
    "SearchResult": "tune.result",
    "SuiteResult": "tune.result",
    "UnfinishedError": "tune.core.command",
    "Watcher": "tune.records.events",
    "load_result": "tune.result",
    "run_comparison": "tune.calls",
    "run_search": "tune.calls",
}

__all__ = [
    "ComparisonResult", "InputError", "RefusedError", "SearchResult", "SuiteResult", "UnfinishedError",
    "Watcher", "load_result", "run_comparison", "run_search",
]  # fmt: skip

__getattr__, __dir__ = list_lazily(__name__, _HOME)
