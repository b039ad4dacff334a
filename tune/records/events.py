"""What happens in a search, told to those who watch: the terminal, MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dps.text import redact_secrets, sanitise_line
from dps.training.result import Evaluation
from tune.records.comparison_document import ComparisonDocument
from tune.records.ledger import TrialRecord
from tune.records.search_document import SearchDocument


class Watcher:
    """Hears what happens in a search and answers nothing; every method does nothing until it is overridden.

    The ledger has each event before a watcher hears of it. All calls come from the driver, one at a time.
    """

    def hear(self, event: str, *values: Any) -> None:
        """Hear of an event, by the name of one of the methods below."""
        getattr(self, event)(*values)

    def session_started(self, earlier: Sequence[TrialRecord]) -> None:
        """Hear that a session begins. earlier: the runs of the sessions before, those under way too."""

    def trial_started(self, record: TrialRecord) -> None:
        """Hear that a slot was given this run, for the first time or again."""

    def trial_reported(self, record: TrialRecord, evaluation: Evaluation) -> None:
        """Hear of an evaluation; `record` holds it already."""

    def trial_ended(self, record: TrialRecord) -> None:
        """Hear the one outcome of a run."""

    def phase_ended(self, why: str) -> None:
        """Hear that no further trial, or no further run of the race, will be started, and why."""

    def search_ended(self, document: SearchDocument) -> None:
        """Hear what the search found: search.json."""

    def comparison_ended(self, document: ComparisonDocument) -> None:
        """Hear what the comparison found: compare.json."""

    def session_ended(self, output: Path, interrupted: bool) -> None:
        """Hear that the session is over, and where the results are. interrupted: a resume will go on."""


class GuardedWatcher(Watcher):
    """A watcher that was handed in: where it fails, that is said once, and the search goes on without it."""

    def __init__(self, watcher: Watcher, warn: Callable[[str], None]) -> None:
        self._watcher, self._warn, self._failed = watcher, warn, False

    def hear(self, event: str, *values: Any) -> None:
        if self._failed:
            return
        try:
            getattr(self._watcher, event)(*values)
        except Exception as error:
            self._failed = True
            self._warn(f"{type(self._watcher).__name__} failed and hears no more: {describe_error(error)}")


def notify(watchers: Sequence[Watcher], event: str, *values: Any) -> None:
    """Tell every watcher of an event, by the name of its method."""
    for watcher in watchers:
        watcher.hear(event, *values)


def describe_error(error: Exception) -> str:
    """Return the kind of an error and what it says, on one line without secrets."""
    return f"{type(error).__name__}: {redact_secrets(sanitise_line(error))[:200]}"
