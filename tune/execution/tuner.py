"""TODO docstring."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import ray.tune

from tune.strategy.budget import SlotCount, SpentResources
from tune.strategy.phases import SearchPhases

CHECKPOINT_INTERVAL_S = 60.0
MAX_TRIAL_FAILURES = 5  # of one trial: so often one that lost its slot goes on in another


class TuneSearcher(ray.tune.search.Searcher):
    """Several searches at once over the same slots, turn by turn: none runs ahead of the others."""

    def __init__(self, searches: Sequence[SearchPhases], slots: SlotCount) -> None:
        first = searches[0]
        super().__init__(metric="score", mode=first.strategy.direction)
        self.searches, self.slots = searches, slots
        self.owner: dict[str, SearchPhases] = {}  # of each live trial, by the id that Tune gives
        for search in searches:
            search.row = first.row  # what fails in one may well go in another

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next job: what an earlier sitting left open, then of the search that was given the fewest."""
        if len(self.owner) >= self.slots.now:
            return None
        answers = []
        for search in sorted(self.searches, key=lambda search: (not search.open, search.given)):
            answer = search.suggest(trial_id)
            if isinstance(answer, dict):
                self.owner[trial_id] = search
                return answer
            answers.append(answer)
        over = all(answer == ray.tune.search.Searcher.FINISHED for answer in answers)
        return ray.tune.search.Searcher.FINISHED if over else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """To whom it belongs."""
        self.owner[trial_id].on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """To whom it belongs."""
        owner = self.owner.pop(trial_id, None)
        if owner is not None:
            owner.on_trial_complete(trial_id, result, error)

    def check(self) -> None:
        """Raises what one of them met with."""
        for search in self.searches:
            search.check()

    def spent(self) -> SpentResources:
        """By all of them together."""
        each = [search.spent() for search in self.searches]
        return SpentResources(
            trials=sum(spent.trials for spent in each),
            seconds=max(spent.seconds for spent in each),
            slot_seconds=sum(spent.slot_seconds for spent in each),
        )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledgers hold everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_metric": self._metric, "_mode": self._mode}


def forward_stop_signal(stop: threading.Event, switch: Any) -> None:
    """Throw the switch of the slots once the event is set."""
    stop.wait()
    switch.throw.remote()
