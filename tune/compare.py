"""The other command: is a method better than another for this task, and how sure is that?

python tune/compare.py --task rte --methods vanilla,dps-dense,dps-mix,child-tuning-d,r-drop
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package, so that workers can import it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tune import compare as package

    sys.exit(package.main(sys.argv[1:]))

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from dps.errors import InputError
from tune.core.command import run_session_command
from tune.core.options import CompareOptions
from tune.execution.connection import prepare_environment
from tune.records.saved_options import load_resumed_options

if TYPE_CHECKING:
    from tune.records.events import Watcher  # it imports the ledger, and that Optuna


def main(argv: Sequence[str] | None = None, watchers: Sequence[Watcher] = ()) -> int:
    """Run the command; returns its exit status. watchers: hear of every event, beside the terminal and
    MLflow (`tune.records.events.Watcher`)."""
    return run_session_command(argv, CompareOptions, partial(_start, watchers))


def _start(watchers: Sequence[Watcher], options: CompareOptions) -> int:
    if options.results is None:
        return start_comparison(options, watchers)
    for name in ("dry_run", "preflight"):
        if getattr(options, name):
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option}, --results: nothing is run, so nothing is planned; leave one out")
    from tune.joined_comparisons import report_joined_comparisons

    return report_joined_comparisons(options)


def start_comparison(options: CompareOptions, watchers: Sequence[Watcher] = ()) -> int:
    """Run a comparison with these options; return the exit status. Raises what `run_session_command` says."""
    resumed = load_resumed_options(options)
    prepare_environment()  # before Ray is imported
    from tune.compare_session import run_comparisons  # after the options were read: it imports Ray and torch

    return run_comparisons(options, resumed, watchers)
