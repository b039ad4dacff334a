"""The race: further seeds for promising configurations, until none is worth one or the budget is used.

The leader has the highest expected score; the promise of another one is its expected score and one standard
deviation more. Of the leader and the most promising, the one with fewer seeds runs next. The estimates are
those of `tune.strategy.estimator`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dps.methods import METHODS
from dps.wording import format_share
from tune.core.run import RunPurpose
from tune.records.ledger import TrialRecord
from tune.strategy.estimator import Estimates, Estimator

RACE_SEED_OFFSET = 1000  # first race seed, from the search's own seed, which the confirmation's follow


@dataclass(frozen=True)
class RaceSettings:
    """Settings of the race.

    max_seeds: further seeds that a configuration may get, 0 for no race.
    max_cost_ratio: forward-backward passes that the race may take for each one that the exploration took.
    min_gain: expected gain below which another run is not worth it, in the metric's scale.
    model_costs: of an example on each model, in any unit, where several are searched.
    """

    max_seeds: int = 0
    max_cost_ratio: float = 1.5
    min_gain: float = 0.0
    model_costs: Mapping[str, float] = field(default_factory=dict)


class Race:
    """Choose further seeds for promising configurations.

    seed: of the search.
    end_reason: why the race is over, None while it goes on.
    """

    def __init__(self, estimator: Estimator, settings: RaceSettings, seed: int) -> None:
        self.estimator, self.settings, self.seed = estimator, settings, seed
        self.end_reason: str | None = None
        self._work: dict[str, tuple[float, float]] = {}  # of ended runs, by id: see `_measure_work`

    def next_replicate(self, running: Sequence[TrialRecord]) -> tuple[dict[str, Any], int] | None:
        """Return the configuration and seed to run next; None if there is none now, or none at all when
        `end_reason` is set.

        running: race runs in progress.
        """
        estimates = self.estimator.estimate()
        if estimates is None:
            self.end_reason = "too few runs"
            return None
        self.end_reason = self._budget_reason(running) or self._gain_reason(estimates)
        return None if self.end_reason else self._choose_replicate(estimates, running)

    def _choose_replicate(
        self, estimates: Estimates, running: Sequence[TrialRecord]
    ) -> tuple[dict[str, Any], int] | None:
        """Return the leader or the most promising other one, whichever has fewer seeds (the leader if equal);
        who has them all is passed over. A run in progress counts as ended, with the expected score."""
        under_way = defaultdict[str, set[int]](set)
        for run in running:
            under_way[run.configuration_key].add(run.seed)
        used = [
            scores.keys() | under_way.get(trial.configuration_key, ())
            for trial, scores in zip(estimates.trials, estimates.full_scores, strict=True)
        ]
        pending = np.array([len(seeds) for seeds in used]) - estimates.means.counts
        promise = estimates.means.mean + estimates.means.measure_sd(pending)
        order = [int(index) for index in np.argsort(-promise, kind="stable")]
        leader = int(estimates.means.mean.argmax())
        order.remove(leader)
        pair = sorted([leader, *order[:1]], key=lambda index: len(used[index]))
        for index in [*pair, *order[1:]]:
            seed = next((seed for seed in self._seeds if seed not in used[index]), None)
            if seed is not None:
                return estimates.trials[index].configuration, seed
        self.end_reason = None if running else "every configuration has run with every seed"
        return None

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
        work = [self._measure_work(trial) for trial in trials]
        explored, shares = (sum(column) for column in zip(*work, strict=True)) if work else (0.0, 0.0)
        raced = sum(self._measure_work(run)[0] for run in race_runs if run.id not in under_way)
        full_run = explored / max(1 / self.estimator.evaluations, shares)
        raced += len(running) * full_run
        if raced + full_run / 2 >= self.settings.max_cost_ratio * explored:
            return f"{format_share(self.settings.max_cost_ratio)} of the exploration's training is used"
        return None

    def _gain_reason(self, estimates: Estimates) -> str | None:
        """Return why no further run is worth it."""
        gain = float(estimates.means.compute_gains().max())
        if gain > self.settings.min_gain:
            return None
        return (
            f"one more run is expected to improve the choice by {100 * gain:.2g} points, not more than its "
            f"cost of {100 * self.settings.min_gain:.2g}"
        )

    def _measure_work(self, run: TrialRecord) -> tuple[float, float]:
        """Return the passes of a run and the share of its steps up to its last score."""
        if (known := self._work.get(run.id)) is not None:
            return known
        work = self._count_passes(run), run.measure_share(self.estimator.evaluations)
        if run.outcome.is_final:
            self._work[run.id] = work
        return work

    def _count_passes(self, run: TrialRecord) -> float:
        """Return the examples that went forward and backward in a run up to its last score, in batches of the
        search, times the cost of its model. Unlike seconds, they are the same whenever and wherever it runs,
        so that the same seed leads to the same race."""
        batch_size: int = run.configuration.get("batch_size", 1)
        cost = self.settings.model_costs.get(run.configuration.get("model", ""), 1.0)
        return (
            cost
            * batch_size
            * METHODS[run.configuration["method"]]().cost.passes(run.step, steps_per_epoch=0)
        )
