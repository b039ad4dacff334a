"""Estimates of the full-length score of every configuration tried.

Everything is computed from the records of the runs, so a resumed search reaches the same estimates. A run
that diverged or collapsed (`RunResult.top_share`) counts as one at the chance level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from scipy import stats

from dps.training.result import Outcome
from tune.core.direction import Direction
from tune.core.run import RunPurpose
from tune.core.space import SearchSpace, encode_configurations, make_configuration_key
from tune.records.ledger import TrialRecord
from tune.stats.best_arm import find_leader
from tune.stats.surrogate import Observation, Posterior, fit_posterior

INFORMATIVE_OUTCOMES = (Outcome.COMPLETED, Outcome.STOPPED, Outcome.DIVERGED)
MAX_FITTED_CONFIGURATIONS = 150  # given to the Gaussian process: longest share first, then best scores
MIN_RUNS_TO_FIT = 4  # ended runs before a posterior is fitted
IMPROVEMENT_POINTS = 200  # points of the space over which the expected improvement is maximised


class RecordSource(Protocol):
    """What an estimator reads: a ledger, or the runs of a search.json."""

    def records(self, purpose: RunPurpose, /) -> list[TrialRecord]:
        """Return the runs of a purpose, ordered by number."""
        ...


@dataclass(frozen=True)
class Estimates:
    """Posterior over the configurations tried.

    trials: one search record for each configuration.
    posterior: of `trials`, by index.
    full_scores: for each of `trials`, its full-length scores by seed (chance where it diverged).
    """

    trials: Sequence[TrialRecord]
    posterior: Posterior
    full_scores: Sequence[Mapping[int, float]]

    @property
    def full_length_indices(self) -> list[int]:
        """The indices of configurations with a full-length run, or all indices if there is none."""
        full = [index for index, scores in enumerate(self.full_scores) if scores]
        return full or [*range(len(self.full_scores))]

    @property
    def full_length_observations(self) -> list[Observation]:
        """Every full-length score."""
        return [
            Observation(index, seed, score)
            for index, scores in enumerate(self.full_scores)
            for seed, score in scores.items()
        ]


class Estimator:
    """Estimate configurations from their runs; fit again after each run that ends.

    direction: of the metric; inside, higher is better.
    evaluations: of a full trial, spread evenly over its steps.
    chance: score of a run that learnt nothing, None if unknown.
    """

    def __init__(
        self,
        source: RecordSource,
        space: SearchSpace,
        direction: str,
        evaluations: int,
        chance: float | None = None,
    ) -> None:
        self.source, self.space, self.evaluations = source, space, evaluations
        self.sign = Direction(direction).sign
        self.chance = None if chance is None else self.sign * chance
        self._ended_counts: tuple[int, int] | None = None
        self._estimates: Estimates | None = None

    def estimate(self) -> Estimates | None:
        """Return the estimates from all ended runs, or None while there are fewer than MIN_RUNS_TO_FIT."""
        trials, race_runs = self.source.records(RunPurpose.SEARCH), self.source.records(RunPurpose.RACE)
        counts = _count_informative(trials), _count_informative(race_runs)
        if self._ended_counts != counts:
            self._ended_counts = counts
            self._estimates = self._estimate(trials, race_runs) if sum(counts) >= MIN_RUNS_TO_FIT else None
        return self._estimates

    def _estimate(self, trials: Sequence[TrialRecord], race_runs: Sequence[TrialRecord]) -> Estimates | None:
        chosen = self._choose_trials(trials)
        index_of = {make_configuration_key(trial.configuration): n for n, trial in enumerate(chosen)}
        observations: list[Observation] = []
        full_scores: list[dict[int, float]] = [{} for _ in chosen]
        for run in (*trials, *race_runs):
            index = index_of.get(make_configuration_key(run.configuration))
            if index is None or run.outcome not in INFORMATIVE_OUTCOMES:
                continue
            scores = self._scores_by_share(run)
            observations += [Observation(index, run.seed, score, share) for share, score in scores]
            if scores and scores[-1][0] == 1:
                full_scores[index][run.seed] = scores[-1][1]
        if not observations:
            return None
        x = encode_configurations(self.space, [trial.configuration for trial in chosen])
        return Estimates(chosen, fit_posterior(x, observations, self.chance), full_scores)

    def _choose_trials(self, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Return the MAX_FITTED_CONFIGURATIONS most promising trials, one a configuration, by number."""
        by_configuration: dict[str, TrialRecord] = {}
        for trial in sorted(trials, key=self._promise_key):
            if trial.outcome in INFORMATIVE_OUTCOMES:
                by_configuration.setdefault(make_configuration_key(trial.configuration), trial)
        promising = [*by_configuration.values()][:MAX_FITTED_CONFIGURATIONS]
        return sorted(promising, key=lambda trial: trial.number)

    def _promise_key(self, trial: TrialRecord) -> tuple[float, float]:
        """Return a sort key that puts the longest share first, then the best score."""
        return -trial.measure_share(self.evaluations), -self.sign * (
            trial.score if trial.score is not None else -math.inf
        )

    def _scores_by_share(self, run: TrialRecord) -> list[tuple[float, float]]:
        """Return (share of the run's own steps, score) pairs; higher scores are better."""
        if run.outcome == Outcome.DIVERGED:
            return [] if self.chance is None else [(1.0, self.chance)]
        scores = [
            (min(1.0, number / self.evaluations), self.sign * score)
            for number, (_, score) in enumerate(run.scores, start=1)
        ]
        if run.outcome == Outcome.COMPLETED:  # of fewer steps than evaluations
            scores[-1:] = [(1.0, score) for _, score in scores[-1:]]
        if run.is_collapsed and self.chance is not None:  # of its slice, which may be a hair above chance
            scores[-1:] = [(share, self.chance) for share, _ in scores[-1:]]
        return scores

    def noise_at(self, share: float) -> float | None:
        """Return the standard deviation of a score at a share of the steps around its configuration's mean.

        None before it can be estimated.
        """
        estimates = self.estimate()
        return None if estimates is None else estimates.posterior.noise_at(share)

    def expected_scores(self) -> dict[int, float]:
        """Return the expected full-length score of each ended trial by its number, in the metric's own
        direction."""
        estimates = self.estimate()
        if estimates is None:
            return {}
        return {
            trial.number: self.sign * float(mean)
            for trial, mean in zip(estimates.trials, estimates.posterior.mean, strict=True)
        }

    def rank_trials(self) -> list[TrialRecord]:
        """Return the trials with a full-length run, highest expected score first."""
        estimates = self.estimate()
        if estimates is None:
            return []
        mean = estimates.posterior.mean
        order = sorted(estimates.full_length_indices, key=lambda index: (-mean[index], index))
        return [estimates.trials[index] for index in order]

    def best_expected_score(self) -> float | None:
        """Return the expected score of the best trial of `rank_trials`, in the metric's own direction."""
        best = next(iter(self.rank_trials()), None)
        return None if best is None else self.expected_scores()[best.number]

    def expected_improvement(self, seed: int) -> float | None:
        """Return the largest expected improvement over the best configuration tried, among
        IMPROVEMENT_POINTS random points of the space, in the metric's scale."""
        estimates = self.estimate()
        if estimates is None or not (observations := estimates.full_length_observations):
            return None
        drawn = [
            self.space.from_study_values(row)
            for row in self.space.draw_latin_hypercube(IMPROVEMENT_POINTS, seed)
        ]
        tried = [trial.configuration for trial in estimates.trials]
        x = encode_configurations(self.space, [*tried, *drawn])
        posterior = fit_posterior(x, observations, self.chance, estimates.posterior)
        leader = find_leader(posterior, range(len(tried)))
        return max(_expected_improvement(posterior, index, leader) for index in range(len(tried), len(x)))


def _count_informative(runs: Sequence[TrialRecord]) -> int:
    return sum(run.outcome in INFORMATIVE_OUTCOMES for run in runs)


def _expected_improvement(posterior: Posterior, candidate: int, leader: int) -> float:
    """Return E[max(d, 0)] = m Phi(m / s) + s phi(m / s), d = f_candidate - f_leader ~ N(m, s²)."""
    covariance, mean = posterior.covariance, posterior.mean
    variance = (
        covariance[candidate, candidate] + covariance[leader, leader] - 2 * covariance[candidate, leader]
    )
    spread, difference = math.sqrt(max(variance, 1e-24)), mean[candidate] - mean[leader]
    z = difference / spread
    return float(difference * stats.norm.cdf(z) + spread * stats.norm.pdf(z))
