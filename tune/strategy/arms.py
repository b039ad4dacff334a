"""Several searches at once over the same slots: the arms of a comparison, or the one of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tune.core.run import Job, RunReport
from tune.records.events import Watcher
from tune.records.ledger import Ledger
from tune.strategy.budget import SlotCount, SpentResources
from tune.strategy.phases import NoJob, SearchPhases
from tune.strategy.strategy import Strategy


class Arms:
    """Searches that take turns, so that none runs ahead of the others.

    owners: the search that each live run belongs to, by the key under which the caller asked for it.
    """

    def __init__(self, searches: Sequence[SearchPhases]) -> None:
        self.searches = searches
        self.owners: dict[str, SearchPhases] = {}
        self._by_arm = {search.ledger.arm: search for search in searches}
        for search in searches:
            search.failures = searches[0].failures  # what fails in one may well go in another

    @property
    def slots(self) -> SlotCount:
        """How many runs there may be at once, of all searches together."""
        return self.searches[0].strategy.slots

    def next_job(self, key: str) -> Job | NoJob:
        """Return the next job, or why there is none: first what an earlier session left open, then a run of
        the search that was given the fewest."""
        if len(self.owners) >= self.slots.now:
            return NoJob.YET
        answers = []
        for search in sorted(self.searches, key=lambda search: (not search.open_runs, search.given)):
            answer = search.next_job(key)
            if isinstance(answer, Job):
                self.owners[key] = search
                return answer
            answers.append(answer)
        return NoJob.EVER if all(answer == NoJob.EVER for answer in answers) else NoJob.YET

    def is_behind(self, job: Job, report: RunReport) -> bool:
        """Return whether the run falls behind the others of its arm; see `SearchPhases.is_behind`."""
        return self._by_arm[job.arm].is_behind(job, report)

    def take_report(self, key: str, report: RunReport) -> None:
        """Hand an evaluation to the search that it belongs to."""
        self.owners[key].take_report(key, report)

    def end_run(self, key: str, report: RunReport | None, lost: bool = False) -> None:
        """Hand the end of a run to its search; an end that is told twice counts once."""
        owner = self.owners.pop(key, None)
        if owner is not None:
            owner.end_run(key, report, lost)

    def raise_failure(self) -> None:
        """Raise what a search met with while it took in an end, if anything."""
        for search in self.searches:
            search.raise_failure()

    def spent(self) -> SpentResources:
        """Return what all searches have used together."""
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
    interrupted: Callable[[], bool],
    earlier_seconds: float,
    kind: type[SearchPhases] = SearchPhases,
) -> Arms:
    """Return the searches of these ledgers, by arm, each where the sessions before left it.

    earlier_seconds: wall time of the sessions before. interrupted: whether no further run is to start.
    """
    return Arms(
        [
            kind(ledger, strategies[arm], watchers, interrupted, earlier_seconds)
            for arm, ledger in ledgers.items()
        ]
    )
