"""Several searches at once over the same slots: the arms of a comparison, or a search and its baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tune.core.run import Job, RunReport
from tune.records.events import Watcher
from tune.records.ledger import Ledger
from tune.strategy.budget import SlotCount, SpentResources
from tune.strategy.phases import NoJob, SearchPhases
from tune.strategy.strategy import Strategy


class Arms:
    """Share the slots among several searches, so that none runs ahead of the others.

    owners: the search of each running run, by the key under which the caller asked for it.
    """

    def __init__(self, searches: Sequence[SearchPhases]) -> None:
        self.searches = searches
        self.owners: dict[str, SearchPhases] = {}
        self._has_baselines = any(search.strategy.is_baseline for search in searches)
        for search in searches:  # what fails in one may well fail in another
            search.failure_streak = searches[0].failure_streak

    @property
    def slots(self) -> SlotCount:
        """The number of runs at once, over all searches."""
        return self.searches[0].strategy.slots

    def next_job(self, key: str) -> Job | NoJob:
        """Return the next job, or why there is none: first one left unfinished by an earlier session, then
        from the search with the fewest started. A baseline's trials and confirmations fill what those of the
        search leave, and no confirmation goes before a trial."""
        if len(self.owners) >= self.slots.now:
            return NoJob.YET
        answers = []
        for search in sorted(self.searches, key=self._rank):
            answer = search.next_job(key)
            if isinstance(answer, Job):
                self.owners[key] = search
                return answer
            answers.append(answer)
        return NoJob.EVER if all(answer == NoJob.EVER for answer in answers) else NoJob.YET

    def _rank(self, search: SearchPhases) -> tuple[bool, bool, bool, int]:
        """Return what orders the searches: the smallest is asked first."""
        confirms = self._has_baselines and search.confirmed_winner is not None
        return not search.unfinished, confirms, search.strategy.is_baseline, search.started_count

    def is_behind(self, key: str, job: Job, report: RunReport) -> bool:
        """Return whether a trial falls behind the others of its search; see `SearchPhases.is_behind`."""
        return self.owners[key].is_behind(job, report)

    def take_report(self, key: str, report: RunReport) -> None:
        """Forward an evaluation to the search that owns the run."""
        self.owners[key].take_report(key, report)

    def end_run(self, key: str, report: RunReport | None, lost: bool = False) -> None:
        """Forward the end of a run to its search; an end reported twice counts once."""
        owner = self.owners.pop(key, None)
        if owner is not None:
            owner.end_run(key, report, lost)

    def raise_first_error(self) -> None:
        """Raise the first error that a search stored, if any."""
        for search in self.searches:
            search.raise_first_error()

    def spent(self) -> SpentResources:
        """Return what all searches have spent together."""
        each = [search.spent() for search in self.searches]
        return SpentResources(
            trials=sum(spent.trials for spent in each),
            seconds=max(spent.seconds for spent in each),
            slot_seconds=sum(spent.slot_seconds for spent in each),
        )


def make_arms(
    ledgers: Mapping[str, Ledger],
    strategies: Mapping[str, Strategy],
    watchers: Sequence[Watcher],
    is_interrupted: Callable[[], bool],
    spent_before_s: float,
) -> Arms:
    """Make the searches of these ledgers, by arm, each where earlier sessions left it.

    is_interrupted, spent_before_s: see `SearchPhases`.
    """
    return Arms(
        [
            SearchPhases(ledger, strategies[arm], watchers, is_interrupted, spent_before_s)
            for arm, ledger in ledgers.items()
        ]
    )
