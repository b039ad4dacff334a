"""Early stopping (ASHA) as plain state that a ledger can rebuild.

The fidelity is the number of the evaluation. Each trial has as many, spread evenly over its steps, so that
trials of different length are compared at the same share of their learning rate's schedule. Higher scores are
better; callers that minimise negate them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeGuard

from dps.training.result import Outcome
from tune.core.direction import Direction

EARLY_STOPPING_NAMES = ("asha", "none")
REDUCTION_FACTOR = 3  # about one trial in three continues past a rung


class EarlyStoppingPolicy(ABC):
    """Decide after each evaluation whether to stop a trial.

    Trials are identified by id and their evaluations are numbered from 1. Each number of a trial counts once:
    reporting it again, as after a restart from a checkpoint, changes nothing and gives the same answer.
    Scores that are not finite never count. A stopped trial reports nothing further. `record_earlier` changes
    the state as `should_stop` does, and the order of the trials does not matter to it.
    """

    def __init__(self, evaluations: int) -> None:
        self.evaluations = evaluations
        self._latest: dict[str, int] = {}
        self._stopped_trials: set[str] = set()

    def should_stop(self, trial: str, number: int, score: float | None) -> bool:
        """Return whether to stop the trial after this evaluation; never after its last one.

        A score that is None, NaN or infinite means that the trial diverged: it is stopped and ignored.
        """
        if not is_finite_score(score):
            return True
        if self._is_new(trial, number) and self._update(trial, number, score) and number < self.evaluations:
            self._stopped_trials.add(trial)
        return trial in self._stopped_trials

    def record_completion(self, trial: str, score: float | None) -> None:
        """Record that the trial went to its end, with this score."""
        self.record_earlier(trial, self.evaluations, score)

    def record_earlier(self, trial: str, number: int, score: float | None) -> None:
        """Record an evaluation of an earlier session without deciding anything."""
        if is_finite_score(score) and self._is_new(trial, number):
            self._update(trial, number, score)

    def _is_new(self, trial: str, number: int) -> bool:
        if number <= self._latest.get(trial, -1):
            return False
        self._latest[trial] = number
        return True

    @abstractmethod
    def _update(self, trial: str, number: int, score: float) -> bool:
        """Add a new finite score; return whether the trial falls behind."""


class ScoredTrial(Protocol):
    """What `replay_records` reads of a `tune.records.ledger.TrialRecord`."""

    @property
    def id(self) -> str: ...
    @property
    def scores(self) -> Sequence[tuple[int, float]]: ...
    @property
    def outcome(self) -> Outcome: ...


def make_early_stopping(name: str, evaluations: int) -> EarlyStoppingPolicy:
    """Make the policy of this name for trials of so many evaluations.

    With a single evaluation nothing can be stopped. Raises ValueError for an unknown name.
    """
    if name not in EARLY_STOPPING_NAMES:
        raise ValueError(f"scheduler: must be one of {', '.join(EARLY_STOPPING_NAMES)}, but got {name!r}")
    if name == "none" or evaluations <= 1:
        return NoEarlyStopping(evaluations)
    return Asha(evaluations, 1)


def replay_records(
    policy: EarlyStoppingPolicy, records: Iterable[ScoredTrial], direction: str = "max"
) -> None:
    """Restore a new policy's state from the scores of earlier trials.

    direction: "max" or "min", of the scores in the records.
    """
    sign = Direction(direction).sign
    for record in records:
        for number, (_, score) in enumerate(record.scores, start=1):
            policy.record_earlier(record.id, number, sign * score)
        if record.outcome == Outcome.COMPLETED and record.scores:
            policy.record_completion(record.id, sign * record.scores[-1][1])


class NoEarlyStopping(EarlyStoppingPolicy):
    """Stop only diverged trials."""

    def _update(self, trial: str, number: int, score: float) -> bool:
        return False


class Rung:
    """Scores of the trials that reached evaluation `level`, one a trial."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.scores: dict[str, float] = {}
        self._ascending: list[float] = []

    def add(self, trial: str, score: float) -> None:
        """Add the trial's score at this rung."""
        self.scores[trial] = score
        insort(self._ascending, score)

    def cutoff(self, reduction: float) -> float:
        """Return the score needed to be in the top 1 / reduction so far; -inf without any score."""
        # Multiply and divide by 100 as Ray does, so that rounding agrees.
        return compute_sorted_quantile(self._ascending, (1 - 1 / reduction) * 100 / 100)


class Asha(EarlyStoppingPolicy):
    """ASHA in its stopping form, as Ray has it.

    Rungs lie at the evaluations grace * reduction^k. A trial's first score at or after a rung enters it, and
    the trial is stopped there if

        score < Q(1 - 1 / reduction)

    with Q the quantile of the scores that entered before. The first trial passes all rungs. A score beyond
    several new rungs enters only the highest; Ray would put a later one into the others.

    Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020.
    """

    def __init__(self, evaluations: int, grace: int, reduction: float = REDUCTION_FACTOR) -> None:
        super().__init__(evaluations)
        self.reduction = reduction
        self.rungs = [Rung(level) for level in compute_rung_levels(evaluations, grace, reduction)]

    def _update(self, trial: str, number: int, score: float) -> bool:
        index = self._rung_index(number)
        if index < 0 or trial in self.rungs[index].scores:
            return False
        rung = self.rungs[index]
        falls_behind = score < rung.cutoff(self.reduction)
        rung.add(trial, score)
        return falls_behind

    def _rung_index(self, number: int) -> int:
        """Return the index of the highest rung at or below this evaluation; -1 before the first."""
        return sum(rung.level <= number for rung in self.rungs) - 1


def compute_rung_levels(evaluations: int, grace: int, reduction: float = REDUCTION_FACTOR) -> list[float]:
    """Return the rungs' evaluations: grace, grace * reduction, grace * reduction², ... before the last."""
    levels: list[float] = []
    while (level := grace * reduction ** len(levels)) < evaluations:
        levels.append(level)
    return levels


def compute_sorted_quantile(ascending: Sequence[float], share: float) -> float:
    """Return a quantile of sorted numbers, interpolated and rounded as `numpy.quantile`; -inf without any."""
    if not ascending:
        return -math.inf
    position = (len(ascending) - 1) * share
    index = int(position)
    low, high = ascending[index], ascending[min(index + 1, len(ascending) - 1)]
    part = position - index
    value = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return min(high, value)


def is_finite_score(score: float | None) -> TypeGuard[float]:
    """Return whether a run has a usable score: neither None, NaN nor infinite."""
    return score is not None and math.isfinite(score)
