"""Which trials fall behind: the multi-fidelity rules, as plain state that a ledger can rebuild.

The fidelity is the optimizer step. Higher scores are better: who minimizes flips the sign.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeGuard

from tune.core.direction import Direction

NoiseByShare = Callable[
    [float], float | None
]  # of a score within its configuration, by share of the steps, if known


def unknown_noise(share: float) -> None:
    """The noise of which nothing was measured."""


EARLY_STOPPING_NAMES = ("asha", "median", "none")
REDUCTION_FACTOR = 3  # at each rung about one in three goes on
NOISE_SLACK = 2.0  # standard deviations: what luck alone does 19 times in 20
MIN_MEDIAN_TRIALS = 5  # before a median says something


class EarlyStoppingPolicy(Protocol):
    """Says after each evaluation whether the trial falls behind.

    A trial is known by its id; its steps grow. A step that it reported before, as after a restart from
    a checkpoint, changes nothing and is answered as before. A trial that was told to stop reports no more.
    `recall` does to the state what `report` does, and the order of the trials does not matter to it.
    """

    def report(self, trial: str, step: int, score: float | None) -> bool:
        """An evaluation of a trial of the search; True: stop it. None, NaN or infinity: it diverged,
        is stopped and counts nowhere. A trial that has done all its steps is never behind."""
        ...

    def completed(self, trial: str, score: float | None) -> None:
        """The trial has done all its steps, with this score."""
        ...

    def recall(self, trial: str, step: int, score: float | None) -> None:
        """An evaluation of an earlier sitting, which the trial survived or not: nothing is decided."""
        ...


class ScoredTrial(Protocol):
    """What `replay_records` reads of a `tune.records.ledger.TrialRecord`."""

    @property
    def id(self) -> str: ...
    @property
    def scores(self) -> Sequence[tuple[int, float]]: ...


def make_early_stopping(
    kind: str, max_steps: int, evaluations: int, noise: NoiseByShare = unknown_noise
) -> EarlyStoppingPolicy:
    """The policy of this name for trials of `max_steps`, evaluated so many times, evenly spread.

    With one evaluation there is nothing to stop. Raises ValueError for another name.
    """
    if kind not in EARLY_STOPPING_NAMES:
        raise ValueError(f"scheduler: must be one of {', '.join(EARLY_STOPPING_NAMES)}, but got {kind!r}")
    if kind == "none" or evaluations <= 1:
        return NoEarlyStopping()
    grace = max(1, max_steps // evaluations)
    if kind == "median":
        return MedianStopping(max_steps, grace)
    return Asha(max_steps, grace, slack=noise)


def replay_records(
    policy: EarlyStoppingPolicy, records: Iterable[ScoredTrial], direction: str = "max"
) -> None:
    """Bring a new policy to where it was when these trials of the search had reported these scores.

    direction: of the scores in the records, "max" or "min".
    """
    sign = Direction(direction).sign
    for record in records:
        for step, score in record.scores:
            policy.recall(record.id, step, sign * score)


def compute_rung_levels(max_steps: int, grace: int, reduction: float = REDUCTION_FACTOR) -> list[float]:
    """Steps of the rungs: grace, grace · reduction, grace · reduction², ... below max_steps."""
    if grace < 1 or reduction <= 1:
        raise ValueError(f"rungs: need grace >= 1 and reduction > 1, but got {grace} and {reduction}")
    made: list[float] = []
    while (level := grace * reduction ** len(made)) < max_steps:
        made.append(level)
    return made


class NoEarlyStopping:
    """Stops what diverged and nothing else."""

    def report(self, trial: str, step: int, score: float | None) -> bool:
        return not is_finite_score(score)

    def completed(self, trial: str, score: float | None) -> None:
        """Nothing to keep."""

    def recall(self, trial: str, step: int, score: float | None) -> None:
        """Nothing to keep."""


class BaseEarlyStopping(ABC):
    """What the rules below share: each evaluation is taken in once, no failed one ever."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps
        self._last_step: dict[str, int] = {}
        self._behind: set[str] = set()

    def report(self, trial: str, step: int, score: float | None) -> bool:
        """See `EarlyStoppingPolicy`."""
        if not is_finite_score(score):
            return True
        if self._is_news(trial, step) and self._take(trial, step, score) and step < self.max_steps:
            self._behind.add(trial)
        return trial in self._behind

    def completed(self, trial: str, score: float | None) -> None:
        """See `EarlyStoppingPolicy`."""
        self.recall(trial, self.max_steps, score)

    def recall(self, trial: str, step: int, score: float | None) -> None:
        """See `EarlyStoppingPolicy`."""
        if is_finite_score(score) and self._is_news(trial, step):
            self._take(trial, step, score)

    def _is_news(self, trial: str, step: int) -> bool:
        if step <= self._last_step.get(trial, -1):
            return False
        self._last_step[trial] = step
        return True

    @abstractmethod
    def _take(self, trial: str, step: int, score: float) -> bool:
        """Take a new finite score in; whether the trial is behind."""


class Rung:
    """The scores of the trials that got as far as `level` steps, each trial once."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.scores: dict[str, float] = {}
        self._ascending: list[float] = []

    def add(self, trial: str, score: float) -> None:
        """The trial's score at this rung."""
        self.scores[trial] = score
        insort(self._ascending, score)

    def cutoff(self, reduction: float) -> float:
        """What a trial needs to be in the upper 1 / reduction of the scores so far; -inf without any."""
        return compute_sorted_quantile(
            self._ascending, (1 - 1 / reduction) * 100 / 100
        )  # rounded as Ray rounds it


class Asha(BaseEarlyStopping):
    """ASHA in its stopping form (Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys
    2020), as Ray has it.

    A trial's first score at or after a rung's level enters that rung; it is behind where it is below
    the upper 1 / reduction of the scores that came before it. The first trial goes through all rungs.
    A score beyond several new rungs enters the highest alone (Ray would put a later one into the others).

    Unlike there, a trial may go on that is below by no more than SLACK times the measured noise of a score at
    the rung (`slack`): where early scores are luck, stopping by them is a lottery. While the noise is unknown
    nothing is allowed for.
    """

    def __init__(
        self,
        max_steps: int,
        grace: int,
        reduction: float = REDUCTION_FACTOR,
        slack: NoiseByShare = unknown_noise,
    ) -> None:
        super().__init__(max_steps)
        self.reduction, self.slack = reduction, slack
        self.rungs = [Rung(level) for level in compute_rung_levels(max_steps, grace, reduction)]

    def _take(self, trial: str, step: int, score: float) -> bool:
        place = self._place(step)
        if place < 0 or trial in self.rungs[place].scores:
            return False
        allowed = NOISE_SLACK * (self.slack(self.rungs[place].level / self.max_steps) or 0.0)
        behind = score < self.rungs[place].cutoff(self.reduction) - allowed
        self.rungs[place].add(trial, score)
        return behind

    def _place(self, step: int) -> int:
        """The highest rung at or below this step; -1 before the first."""
        return sum(rung.level <= step for rung in self.rungs) - 1


class MedianStopping(BaseEarlyStopping):
    """The median stopping rule (Golovin et al., Google Vizier, KDD 2017, section 3.2.1).

    A trial is behind at a step, from `grace` on, where its best score so far is below the median of the
    means, up to this step, of the other trials' scores, if at least `least` others were evaluated at
    it. Vizier takes completed trials alone; here all count that came as far, so that a short search
    can stop too. Every trial is to be evaluated at the same steps.
    """

    def __init__(self, max_steps: int, grace: int, least: int = MIN_MEDIAN_TRIALS) -> None:
        super().__init__(max_steps)
        self.grace, self.least = grace, least
        self._curves: dict[str, tuple[int, float, float]] = {}  # how many scores, their sum, the best
        self._means: dict[int, list[float]] = {}  # at each step, ascending

    def _take(self, trial: str, step: int, score: float) -> bool:
        count, total, best = self._curves.get(trial, (0, 0.0, -math.inf))
        count, total, best = count + 1, total + score, max(best, score)
        others = self._means.setdefault(step, [])
        behind = (
            step >= self.grace and len(others) >= self.least and best < compute_sorted_quantile(others, 0.5)
        )
        self._curves[trial] = count, total, best
        insort(others, total / count)
        return behind


def compute_sorted_quantile(ascending: Sequence[float], share: float) -> float:
    """The quantile of sorted numbers, interpolated and rounded as `numpy.quantile` does; -inf of none."""
    if not ascending:
        return -math.inf
    place = (len(ascending) - 1) * share
    index = int(place)
    low, high = ascending[index], ascending[min(index + 1, len(ascending) - 1)]
    part = place - index
    between = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return min(high, between)


def is_finite_score(score: float | None) -> TypeGuard[float]:
    return score is not None and math.isfinite(score)
