"""What the runs so far say about every configuration tried, and so: who is best, who runs next on which seed.

Everything is worked out from the ledger's records, so that a search that is resumed believes what it
believed. A diverged run counts as one that learnt nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

from dps.training.result import Outcome
from tune.core.direction import Direction
from tune.core.run import RunPurpose
from tune.core.space import SearchSpace, encode_configurations, make_configuration_key
from tune.records.ledger import Ledger, TrialRecord
from tune.stats.best_arm import (
    find_leader,
)
from tune.stats.surrogate import Observation, Posterior, fit_posterior

INFORMATIVE_OUTCOMES = (Outcome.COMPLETED, Outcome.STOPPED, Outcome.DIVERGED)
MAX_FITTED_CONFIGURATIONS = 150  # configurations: those that went furthest, with the best scores
MIN_RUNS_TO_FIT = 4  # before anything is believed
IMPROVEMENT_POINTS = 200  # of the space at which a further trial is imagined


@dataclass(frozen=True)
class Estimates:
    """The posterior of `trials`, a search record for each configuration; runs: by index, its score by seed at
    full length (chance where it diverged)."""

    trials: Sequence[TrialRecord]
    posterior: Posterior
    runs: Sequence[Mapping[int, float]]

    @property
    def finishers(self) -> list[int]:
        """The configurations that were seen at full length; all, where none was."""
        return [i for i, runs in enumerate(self.runs) if runs] or [*range(len(self.runs))]

    @property
    def ends(self) -> list[Observation]:
        """Every full-length score."""
        return [
            Observation(index, seed, score)
            for index, runs in enumerate(self.runs)
            for seed, score in runs.items()
        ]


class Estimator:
    """The view of a ledger, brought up to date when a run ended.

    chance: the score of a run that learnt nothing; None where that is not known. max_steps: of a full trial.
    """

    def __init__(
        self, ledger: Ledger, space: SearchSpace, direction: str, max_steps: int, chance: float | None = None
    ) -> None:
        self.ledger, self.space, self.max_steps = ledger, space, max_steps
        self.sign = Direction(direction).sign
        self.chance = None if chance is None else self.sign * chance
        self._seen: tuple[int, int] | None = None
        self._view: Estimates | None = None

    def view(self) -> Estimates | None:
        """Of all runs that have ended; None while these are too few."""
        search, raced = self.ledger.records(RunPurpose.SEARCH), self.ledger.records(RunPurpose.RACE)
        ended = [sum(r.outcome in INFORMATIVE_OUTCOMES for r in records) for records in (search, raced)]
        if self._seen != (ended[0], ended[1]):
            self._seen = ended[0], ended[1]
            self._view = self._look(search, raced) if sum(ended) >= MIN_RUNS_TO_FIT else None
        return self._view

    def _look(self, search: Sequence[TrialRecord], raced: Sequence[TrialRecord]) -> Estimates | None:
        trials: dict[str, TrialRecord] = {}
        for record in sorted(search, key=self._promise):
            if record.outcome in INFORMATIVE_OUTCOMES:
                trials.setdefault(make_configuration_key(record.configuration), record)
        kept = dict([*trials.items()][:MAX_FITTED_CONFIGURATIONS])
        chosen = sorted(kept.values(), key=lambda record: record.number)
        place = {make_configuration_key(record.configuration): index for index, record in enumerate(chosen)}
        seen: list[Observation] = []
        runs: list[dict[int, float]] = [{} for _ in chosen]
        for record in (*search, *raced):
            index = place.get(make_configuration_key(record.configuration))
            if index is None or record.outcome not in INFORMATIVE_OUTCOMES:
                continue
            scores = self._scores(record)
            seen += [Observation(index, record.seed, score, share) for share, score in scores]
            if scores and scores[-1][0] == 1:
                runs[index][record.seed] = scores[-1][1]
        if not seen:
            return None
        places = encode_configurations(self.space, [record.configuration for record in chosen])
        return Estimates(chosen, fit_posterior(places, seen, self.chance), runs)

    def _promise(self, record: TrialRecord) -> tuple[float, float]:
        """To sort by: what went furthest with the best score is first."""
        return -record.step, -self.sign * (record.score if record.score is not None else -math.inf)

    def _scores(self, record: TrialRecord) -> list[tuple[float, float]]:
        """(share of the steps, score, higher is better)."""
        if record.outcome == Outcome.DIVERGED:
            return [] if self.chance is None else [(1.0, self.chance)]
        return [(min(1.0, step / self.max_steps), self.sign * score) for step, score in record.scores]

    def noise(self, share: float) -> float | None:
        """The standard deviation of a score at this share of the steps about its configuration's mean; None
        while too little has run to measure it."""
        view = self.view()
        return None if view is None else view.posterior.noise_at(share)

    def estimates(self) -> dict[int, float]:
        """The expected full-length score of each trial of the search that has ended, by its number, in the
        metric's own direction."""
        view = self.view()
        if view is None:
            return {}
        return {
            trial.number: self.sign * float(mean)
            for trial, mean in zip(view.trials, view.posterior.mean, strict=True)
        }

    def ranked(self) -> list[TrialRecord]:
        """The trials whose configurations were seen at full length, the one that is expected to be best
        first."""
        view = self.view()
        if view is None:
            return []
        order = sorted(view.finishers, key=lambda index: (-view.posterior.mean[index], index))
        return [view.trials[index] for index in order]

    def leader(self) -> TrialRecord | None:
        """The first of `ranked`."""
        return next(iter(self.ranked()), None)

    def best(self) -> float | None:
        """The leader's expected score."""
        leader = self.leader()
        return None if leader is None else self.estimates()[leader.number]

    def gain(self, seed: int) -> float | None:
        """How much higher than the leader's the best of one more trial is expected to be, in the metric's
        scale: the largest expected improvement over points of the space."""
        view = self.view()
        if view is None:
            return None
        drawn = [self.space.from_study(row) for row in self.space.latin(IMPROVEMENT_POINTS, seed)]
        tried = [trial.configuration for trial in view.trials]
        if not view.ends:
            return None
        posterior = fit_posterior(
            encode_configurations(self.space, [*tried, *drawn]), view.ends, self.chance, view.posterior
        )
        first = find_leader(posterior, range(len(tried)))
        return max(
            _expected_improvement(posterior, index, first) for index in range(len(tried), len(posterior.mean))
        )


def _expected_improvement(posterior: Posterior, one: int, other: int) -> float:
    """E[max(f of one - f of the other, 0)]."""
    covariance, mean = posterior.covariance, posterior.mean
    variance = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
    spread, difference = math.sqrt(max(variance, 1e-24)), mean[one] - mean[other]
    z = difference / spread
    return float(difference * stats.norm.cdf(z) + spread * stats.norm.pdf(z))
