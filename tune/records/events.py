"""What happens in a search, told to those who watch: the terminal, MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tune.core.run import RunReport
from tune.records.ledger import TrialRecord


class Watcher(Protocol):
    """Events in, nothing out. The ledger has each event before a watcher hears of it."""

    def trial_started(self, record: TrialRecord) -> None:
        """A slot has been given this trial, for the first time or again."""

    def trial_reported(self, record: TrialRecord, report: RunReport) -> None:
        """An evaluation came in; `record` holds it already."""

    def trial_ended(self, record: TrialRecord) -> None:
        """The trial has its one outcome."""

    def phase_ended(self, why: str) -> None:
        """Of a search: no further trial, or no further run of the race, will be started."""

    def search_ended(self, document: dict[str, Any]) -> None:
        """The search is over; `document` is search.json."""

    def comparison_ended(self, document: dict[str, Any]) -> None:
        """The comparison is over; `document` is compare.json."""


def notify(watchers: Sequence[Watcher], event: str, *args: Any) -> None:
    """Tell every watcher."""
    for watcher in watchers:
        getattr(watcher, event)(*args)
