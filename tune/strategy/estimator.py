"""Estimates of the full-length score of every configuration that ran to its end.

Everything is computed from the records of the runs, so a resumed search reaches the same estimates. A run
that diverged or collapsed (`RunResult.top_share`) counts as one at the chance level.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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


class _EndedRun(NamedTuple):
    """A run with a score. Sorted, so that estimates do not depend on which run ended first.

    purpose: 0 of a trial, 1 of the race. is_lost: see `Estimator._is_lost`.
    """

    purpose: int
    number: int
    seed: int
    score: float
    is_lost: bool


class Estimator:
    """Estimate configurations from their runs; anew after each run that ends, which is read once.

    The source only grows, in the order of its numbers, and a run that has ended stays as it is.

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
        self._estimates: Estimates | None = None
        self._taken: set[str] = set()  # ids of the runs that the estimates are of
        self._explored = 0  # trials that were seen, ended or not
        self._places: dict[str, int] = {}  # of the first trial of each configuration, by its key
        self._runs: dict[str, list[_EndedRun]] = {}  # with a score, in the order of `_EndedRun`, by key
        self._order: list[tuple[int, str]] = []  # (place, key) of the configurations with a score

    def estimate(self) -> Estimates | None:
        """Return the estimates from all ended runs, or None while there are fewer than MIN_RUNS."""
        explored, raced = self.source.records(RunPurpose.SEARCH), self.source.records(RunPurpose.RACE)
        for place in range(self._explored, len(explored)):
            self._places.setdefault(explored[place].configuration_key, place)
        self._explored = len(explored)
        ended = [
            (purpose, run)
            for purpose, runs in enumerate((explored, raced))
            for run in runs
            if run.outcome in INFORMATIVE_OUTCOMES and run.id not in self._taken
        ]
        for purpose, run in ended:
            self._take(purpose, run)
        if ended and len(self._taken) >= MIN_RUNS and self._order:
            self._estimates = self._estimate(explored)
        return self._estimates

    def _take(self, purpose: int, run: TrialRecord) -> None:
        """Take up a run that has ended."""
        self._taken.add(run.id)
        key, score = run.configuration_key, self._full_score(run)
        if score is None or key not in self._places:
            return
        if key not in self._runs:
            bisect.insort(self._order, (self._places[key], key))
        ended = _EndedRun(purpose, run.number, run.seed, score, self._is_lost(run))
        bisect.insort(self._runs.setdefault(key, []), ended)

    def _estimate(self, explored: Sequence[TrialRecord]) -> Estimates:
        runs = [{run.seed: run for run in self._runs[key]} for _, key in self._order]
        scores = [{seed: run.score for seed, run in each.items()} for each in runs]
        lost = [[run.is_lost for run in each.values()] for each in runs]
        means = shrink_means([[*each.values()] for each in scores], lost, self.chance or 0.0)
        return Estimates([explored[place] for place, _ in self._order], scores, means)

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
        numbers = (trial.number for trial in estimates.trials)
        return dict(zip(numbers, (self.sign * estimates.means.mean).tolist(), strict=True))

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
