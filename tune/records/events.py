"""Events of a search and the interface of its watchers (terminal, MLflow)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dps.text import redact_secrets, sanitise_line
from dps.training.result import Evaluation
from tune.core.run import Progress
from tune.records.comparison_document import ComparisonDocument
from tune.records.ledger import TrialRecord
from tune.records.search_document import SearchDocument
from tune.records.suite_document import SuiteDocument


class Watcher:
    """Receives the events of a search; every method does nothing unless it is overridden.

    The ledger stores each event first. All calls come from the driver, one at a time.
    """

    def hear(self, event: str, *values: Any) -> None:
        """Receive an event, by the name of one of the methods below."""
        getattr(self, event)(*values)

    def session_started(self, earlier: Sequence[TrialRecord]) -> None:
        """A session begins. earlier: all runs of earlier sessions, unfinished ones too."""

    def trial_started(self, record: TrialRecord) -> None:
        """A slot was given this run, for the first time or again."""

    def trial_reported(self, record: TrialRecord, evaluation: Evaluation) -> None:
        """An evaluation came in; `record` holds it already."""

    def trial_progressed(self, record: TrialRecord, progress: Progress) -> None:
        """A run goes on: it loads, trains or is scored; every few seconds, between its evaluations."""

    def trial_ended(self, record: TrialRecord) -> None:
        """A run ended with its final outcome."""

    def phase_ended(self, reason: str) -> None:
        """Exploration or the race ended: no further trial, or race run, starts."""

    def search_ended(self, document: SearchDocument) -> None:
        """The search ended; `document` is search.json."""

    def comparison_ended(self, document: ComparisonDocument) -> None:
        """The comparison ended; `document` is compare.json."""

    def suite_ended(self, document: SuiteDocument, output: Path) -> None:
        """Several tasks ended; `document` is suite.json, in the folder `output`."""

    def session_ended(self, output: Path, interrupted: bool) -> None:
        """The session ended. output: folder of the results; interrupted: a resume can continue."""


class GuardedWatcher(Watcher):
    """A wrapper of a watcher that was handed in: if it fails, a warning is shown once and it gets no more
    events."""

    def __init__(self, watcher: Watcher, warn: Callable[[str], None]) -> None:
        self._watcher, self._warn, self._failed = watcher, warn, False

    def hear(self, event: str, *values: Any) -> None:
        if self._failed:
            return
        try:
            getattr(self._watcher, event)(*values)
        except Exception as error:
            self._failed = True
            self._warn(
                f"{type(self._watcher).__name__} failed and gets no more events: {describe_error(error)}"
            )


def notify(watchers: Sequence[Watcher], event: str, *values: Any) -> None:
    """Send an event to every watcher, by the name of its method."""
    for watcher in watchers:
        watcher.hear(event, *values)


def describe_error(error: Exception) -> str:
    """Return an error's type and message on one line, without secrets."""
    return f"{type(error).__name__}: {redact_secrets(sanitise_line(error))[:200]}"
