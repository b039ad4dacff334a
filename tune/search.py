"""The main command: find the configuration that is truly better for a task, and prove it.

python tune/search.py --task cola
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package, so that workers can import it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tune import search as package

    sys.exit(package.main(sys.argv[1:]))

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from dps.errors import InputError
from dps.propose import describe_proposal, inspect_data, write_proposal
from tune.core.command import EXIT_DONE, run_session_command
from tune.core.options import SearchOptions
from tune.execution.connection import prepare_environment
from tune.records.saved_options import load_resumed_options

if TYPE_CHECKING:
    from tune.records.events import Watcher  # it imports the ledger, and that Optuna


def main(argv: Sequence[str] | None = None, watchers: Sequence[Watcher] = ()) -> int:
    """Run the command; returns its exit status. watchers: hear of every event, beside the terminal and
    MLflow (`tune.records.events.Watcher`)."""
    return run_session_command(argv, SearchOptions, partial(_start, watchers))


def start_search(options: SearchOptions, watchers: Sequence[Watcher] = ()) -> int:
    """Run a search with these options; return the exit status. Raises what `run_session_command` says."""
    resumed = load_resumed_options(options)
    prepare_environment()  # before Ray is imported
    from tune.search_session import run_searches  # after the options were read: it imports Ray and torch

    return run_searches(options, resumed, watchers)


def _start(watchers: Sequence[Watcher], options: SearchOptions) -> int:
    if options.init_task is None:
        return start_search(options, watchers)
    if options.json:
        raise InputError("--json, --init-task: what is found in a file is no event; leave one out")
    if options.preflight:
        raise InputError("--preflight, --init-task: a file is inspected, and no node; leave one out")
    return propose_task(options.init_task, options.dry_run)


def propose_task(file: Path, dry_run: bool = False) -> int:
    """Propose a task for a file of examples, and say what was found in it. dry_run: show the YAML file in
    place of writing it. Returns the exit status."""
    proposal = inspect_data(file)
    written = write_proposal(proposal, dry_run)
    print("\n".join(describe_proposal(proposal, written, dry_run)))
    return EXIT_DONE
