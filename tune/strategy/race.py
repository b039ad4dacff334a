"""TODO docstring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tune.core.run import RunPurpose
from tune.core.space import make_configuration_key
from tune.records.ledger import TrialRecord
from tune.stats.best_arm import (
    choose_candidates,
    choose_next_replicate,
    drop_inferior_candidates,
    weigh_replicate,
)
from tune.strategy.belief import Estimates, Estimator

MAX_RACE_CANDIDATES = 8  # configurations that race
MIN_RACE_CONFIGURATIONS, MIN_RACE_SEEDS = (
    2,
    3,
)  # so many configurations have so many full-length runs before a race is decided
RACE_SEED_OFFSET = 1000  # after the search's own seed; confirmations use those right after it


@dataclass(frozen=True)
class RaceSettings:
    """How configurations race. seeds: most further ones of each, 0 for no race. share: most slot seconds of
    the race for each one of the exploration. worth: what one more run must be expected to add, in the
    metric's scale."""

    seeds: int = 0
    share: float = 1.5
    worth: float = 0.0005


class Race:
    """The race over one search's ledger."""

    def __init__(self, belief: Estimator, racing: RaceSettings, seed: int) -> None:
        self.belief, self.racing, self.seed = belief, racing, seed
        self.over: str | None = None  # why

    def next(self, live: Sequence[TrialRecord]) -> tuple[dict[str, Any], int] | None:
        """The configuration and seed to run next; None where there is none for now or, with `over`, at all.

        live: the race's runs under way.
        """
        view = self.belief.view()
        self.over = self._spent(live) if view is not None else "too few runs"
        if view is None or self.over:
            return None
        pending = self._pending(view, live)
        found = self._unproven(view, pending) or self._raced(view, pending)
        return found and (view.trials[found[0]].configuration, found[1])

    def _pending(self, view: Estimates, live: Sequence[TrialRecord]) -> dict[int, set[int]]:
        index = {
            make_configuration_key(trial.configuration): place for place, trial in enumerate(view.trials)
        }
        pending: dict[int, set[int]] = {}
        for record in live:
            if (place := index.get(make_configuration_key(record.configuration))) is not None:
                pending.setdefault(place, set()).add(record.seed)
        return pending

    def _unproven(self, view: Estimates, pending: Mapping[int, set[int]]) -> tuple[int, int] | None:
        """The most promising get a few seeds each before anything is decided: one seed tells next to nothing
        of the noise."""
        first = choose_candidates(view.posterior, MIN_RACE_CONFIGURATIONS, negligible=0.0)
        for count, seed in enumerate(self._seeds()[: 1 + self.racing.seeds][:MIN_RACE_SEEDS]):
            for place in first:
                given = view.runs[place].keys() | pending.get(place, set())
                if len(given) <= count and seed not in given:
                    return place, seed
        return None

    def _raced(self, view: Estimates, pending: Mapping[int, set[int]]) -> tuple[int, int] | None:
        candidates = self.candidates(view)
        self.over = self._decided(view, candidates)
        if self.over:
            return None
        done = {place: set(runs) for place, runs in enumerate(view.runs)}
        rng = np.random.default_rng([self.seed, len(self.belief.ledger.records(RunPurpose.RACE))])
        found = choose_next_replicate(view.posterior, candidates, done, pending, self._seeds(), rng)
        if found is None:
            self.over = "every candidate has had every seed"
        return found

    def candidates(self, view: Estimates) -> list[int]:
        """Who may still be best beyond the noise."""
        entered = choose_candidates(view.posterior, MAX_RACE_CANDIDATES)
        looks = max(1, len(self.belief.ledger.records(RunPurpose.RACE)))
        return drop_inferior_candidates(view.posterior, entered, looks)

    def _seeds(self) -> list[int]:
        """The search's own, on which some were stopped early, and the further ones."""
        return [self.seed, *(self.seed + RACE_SEED_OFFSET + k for k in range(self.racing.seeds))]

    def _spent(self, live: Sequence[TrialRecord]) -> str | None:
        ledger = self.belief.ledger
        trials = ledger.records(RunPurpose.SEARCH)
        explored = sum(trial.seconds for trial in trials)
        raced = sum(record.seconds for record in ledger.records(RunPurpose.RACE))
        usual = explored / max(1, sum(trial.step for trial in trials)) * self.belief.max_steps
        raced += sum(max(0.0, usual - record.seconds) for record in live)
        if raced + usual / 2 >= self.racing.share * explored:
            return f"{self.racing.share:.0%} of what the exploration took"
        return None

    def _decided(self, view: Estimates, candidates: Sequence[int]) -> str | None:
        if len(candidates) < 2:
            return "one configuration is left"
        verdict = weigh_replicate(view.posterior, candidates, self.racing.worth)
        return None if verdict else verdict.reason
