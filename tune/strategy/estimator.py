"""Estimates of the full-length score of every configuration that ran to its end.

Everything is computed from the records of the runs, so a resumed search reaches the same estimates. A run
that diverged or collapsed (`RunResult.top_share`) counts as one at the chance level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dps.training.result import Outcome
from tune.core.direction import Direction
from tune.core.run import RunPurpose
from tune.records.ledger import TrialRecord
from tune.stats.shrinkage import ShrunkMeans, shrink_means

INFORMATIVE_OUTCOMES = (Outcome.COMPLETED, Outcome.STOPPED, Outcome.DIVERGED)
MIN_RUNS = 4  # ended runs before anything is estimated


class RecordSource(Protocol):
    """What an estimator reads: a ledger, or the runs of a search.json."""

    def records(self, purpose: RunPurpose, /) -> list[TrialRecord]:
        """Return the runs of a purpose, ordered by number."""
        ...


@dataclass(frozen=True)
class Estimates:
    """Expected scores of the configurations that ran to their end.

    trials: one search record for each configuration.
    full_scores: for each of `trials`, its full-length scores by seed (chance where it diverged).
    means: of `trials`, by index.
    """

    trials: Sequence[TrialRecord]
    full_scores: Sequence[Mapping[int, float]]
    means: ShrunkMeans


class Estimator:
    """Estimate configurations from their runs; anew after each run that ends.

    direction: of the metric; inside, higher is better.
    evaluations: of a full trial, spread evenly over its steps.
    chance: score of a run that learnt nothing, None if unknown.
    """

    def __init__(
        self, source: RecordSource, direction: str, evaluations: int, chance: float | None = None
    ) -> None:
        self.source, self.evaluations = source, evaluations
        self.sign = Direction(direction).sign
        self.chance = None if chance is None else self.sign * chance
        self._ended_counts: tuple[int, int] | None = None
        self._estimates: Estimates | None = None

    def estimate(self) -> Estimates | None:
        """Return the estimates from all ended runs, or None while there are fewer than MIN_RUNS."""
        explored, raced = self.source.records(RunPurpose.SEARCH), self.source.records(RunPurpose.RACE)
        counts = _count_informative(explored), _count_informative(raced)
        if self._ended_counts != counts:
            self._ended_counts = counts
            self._estimates = self._estimate(explored, raced) if sum(counts) >= MIN_RUNS else None
        return self._estimates

    def _estimate(self, explored: Sequence[TrialRecord], raced: Sequence[TrialRecord]) -> Estimates | None:
        trials: dict[str, TrialRecord] = {}
        scores: dict[str, dict[int, float]] = {}
        collapsed: dict[str, dict[int, bool]] = {}
        for trial in explored:
            trials.setdefault(trial.configuration_key, trial)
        for run in (*explored, *raced):
            key, score = run.configuration_key, self._full_score(run)
            if score is not None and key in trials:
                scores.setdefault(key, {})[run.seed] = score
                collapsed.setdefault(key, {})[run.seed] = self._is_lost(run)
        if not scores:
            return None
        chosen = sorted(scores, key=lambda key: trials[key].number)
        full = [scores[key] for key in chosen]
        lost = [[*collapsed[key].values()] for key in chosen]
        means = shrink_means([[*each.values()] for each in full], lost, self.chance or 0.0)
        return Estimates([trials[key] for key in chosen], full, means)

    def _full_score(self, run: TrialRecord) -> float | None:
        """Return the score at the end of a run, higher is better; None of a run that was not seen there."""
        if self._is_lost(run):  # the slice of one that collapsed may be a hair above chance
            return self.chance
        if run.outcome != Outcome.COMPLETED or not run.scores:
            return None
        return self.sign * run.scores[-1][1]

    def _is_lost(self, run: TrialRecord) -> bool:
        """Return whether a run came out at chance: it diverged, or went to its end and collapsed."""
        collapsed = run.outcome == Outcome.COMPLETED and bool(run.scores) and bool(run.is_collapsed)
        return self.chance is not None and (run.outcome == Outcome.DIVERGED or collapsed)

    def expected_scores(self) -> dict[int, float]:
        """Return the expected full-length score of each trial that has one by its number, in the metric's own
        direction."""
        estimates = self.estimate()
        if estimates is None:
            return {}
        return {
            trial.number: self.sign * float(mean)
            for trial, mean in zip(estimates.trials, estimates.means.mean, strict=True)
        }

    def rank_trials(self) -> list[TrialRecord]:
        """Return the trials with a full-length run, highest expected score first."""
        estimates = self.estimate()
        if estimates is None:
            return []
        mean = estimates.means.mean
        return [estimates.trials[index] for index in sorted(range(len(mean)), key=lambda n: (-mean[n], n))]

    def best_expected_score(self) -> float | None:
        """Return the expected score of the best trial of `rank_trials`, in the metric's own direction."""
        best = next(iter(self.rank_trials()), None)
        return None if best is None else self.expected_scores()[best.number]

    def expected_improvement(self) -> float | None:
        """Return by how much a new configuration is expected to exceed the best, in the metric's scale."""
        estimates = self.estimate()
        return None if estimates is None else estimates.means.compute_improvement()


def _count_informative(runs: Sequence[TrialRecord]) -> int:
    return sum(run.outcome in INFORMATIVE_OUTCOMES for run in runs)
