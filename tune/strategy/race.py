"""The race: further seeds for promising configurations, until one wins or the budget is used.

The decisions rest on the estimates of `tune.strategy.estimator`; their mathematics is `tune.stats.best_arm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dps.methods import METHODS
from tune.core.run import RunPurpose
from tune.core.space import make_configuration_key
from tune.records.ledger import TrialRecord
from tune.stats.best_arm import (
    choose_candidates,
    choose_next_replicate,
    drop_inferior_candidates,
    weigh_replicate,
)
from tune.strategy.estimator import Estimates, Estimator

MAX_RACE_CANDIDATES = 8
MIN_RACE_CONFIGURATIONS, MIN_RACE_SEEDS = 2, 3  # full-length runs of the best before anything is decided
RACE_SEED_OFFSET = 1000  # first race seed, from the search's own seed, which the confirmation's follow


@dataclass(frozen=True)
class RaceSettings:
    """Settings of the race.

    max_seeds: further seeds that a configuration may get, 0 for no race.
    max_cost_ratio: forward-backward passes that the race may take for each one that the exploration took.
    min_gain: expected gain below which another run is not worth it, in the metric's scale.
    """

    max_seeds: int = 0
    max_cost_ratio: float = 1.5
    min_gain: float = 0.0005


class Race:
    """Choose further seeds for promising configurations until one wins.

    seed: of the search.
    end_reason: why the race is over, None while it goes on.
    """

    def __init__(self, estimator: Estimator, settings: RaceSettings, seed: int) -> None:
        self.estimator, self.settings, self.seed = estimator, settings, seed
        self.end_reason: str | None = None

    def next_replicate(self, running: Sequence[TrialRecord]) -> tuple[dict[str, Any], int] | None:
        """Return the configuration and seed to run next; None if there is none now, or none at all when
        `end_reason` is set.

        running: race runs in progress.
        """
        estimates = self.estimator.estimate()
        self.end_reason = self._budget_reason(running) if estimates is not None else "too few runs"
        if estimates is None or self.end_reason:
            return None
        pending = self._pending_seeds(estimates, running)
        choice = self._choose_first_seed(estimates, pending) or self._choose_replicate(estimates, pending)
        return choice and (estimates.trials[choice[0]].configuration, choice[1])

    def _pending_seeds(self, estimates: Estimates, running: Sequence[TrialRecord]) -> dict[int, set[int]]:
        """Return the seeds in progress by the index of their configuration."""
        index_of = {
            make_configuration_key(trial.configuration): n for n, trial in enumerate(estimates.trials)
        }
        pending: dict[int, set[int]] = {}
        for record in running:
            if (index := index_of.get(make_configuration_key(record.configuration))) is not None:
                pending.setdefault(index, set()).add(record.seed)
        return pending

    def _choose_first_seed(
        self, estimates: Estimates, pending: Mapping[int, set[int]]
    ) -> tuple[int, int] | None:
        """Return a configuration that lacks its first MIN_RACE_SEEDS seeds, with the seed to run: one seed
        says almost nothing about the noise."""
        best = choose_candidates(estimates.posterior, MIN_RACE_CONFIGURATIONS, negligible=0.0)
        for count, seed in enumerate(self._seeds[:MIN_RACE_SEEDS]):
            for index in best:
                used = estimates.full_scores[index].keys() | pending.get(index, set())
                if len(used) <= count and seed not in used:
                    return index, seed
        return None

    def _choose_replicate(
        self, estimates: Estimates, pending: Mapping[int, set[int]]
    ) -> tuple[int, int] | None:
        look = len(self.estimator.source.records(RunPurpose.RACE))
        entered = choose_candidates(estimates.posterior, MAX_RACE_CANDIDATES)
        candidates = drop_inferior_candidates(estimates.posterior, entered, max(1, look))
        self.end_reason = self._decision_reason(estimates, candidates)
        if self.end_reason:
            return None
        finished = {index: set(scores) for index, scores in enumerate(estimates.full_scores)}
        rng = np.random.default_rng([self.seed, look])
        choice = choose_next_replicate(estimates.posterior, candidates, finished, pending, self._seeds, rng)
        if choice is None:
            self.end_reason = "every candidate has run with every seed"
        return choice

    @property
    def _seeds(self) -> list[int]:
        """The search's own seed, then the further race seeds."""
        return [self.seed, *(self.seed + RACE_SEED_OFFSET + k for k in range(self.settings.max_seeds))]

    def _budget_reason(self, running: Sequence[TrialRecord]) -> str | None:
        """Return why the race may not take another run: its share of the training is used, runs in progress
        counted in full, and half of another run."""
        trials, race_runs = (
            self.estimator.source.records(RunPurpose.SEARCH),
            self.estimator.source.records(RunPurpose.RACE),
        )
        under_way = {record.id for record in running}
        explored = sum(map(self._count_passes, trials))
        raced = sum(self._count_passes(run) for run in race_runs if run.id not in under_way)
        shares = sum(trial.measure_share(self.estimator.evaluations) for trial in trials)
        full_run = explored / max(1 / self.estimator.evaluations, shares)
        raced += len(running) * full_run
        if raced + full_run / 2 >= self.settings.max_cost_ratio * explored:
            return f"{self.settings.max_cost_ratio:.0%} of the exploration's training is used"
        return None

    def _decision_reason(self, estimates: Estimates, candidates: Sequence[int]) -> str | None:
        """Return why no further run can change the choice, or is worth it."""
        if len(candidates) < 2:
            return "one configuration is left"
        decision = weigh_replicate(estimates.posterior, candidates, self.settings.min_gain)
        return None if decision else decision.reason

    def _count_passes(self, run: TrialRecord) -> float:
        """Return the examples that went forward and backward in a run up to its last score, in batches of the
        search. Unlike seconds, they are the same whenever and wherever it runs, so that the same seed leads
        to the same race."""
        batch_size: int = run.configuration.get("batch_size", 1)
        return batch_size * METHODS[run.configuration["method"]]().cost.passes(run.step, steps_per_epoch=0)
