"""Which trials fall behind: the multi-fidelity rules, as plain state that a ledger can rebuild.

The fidelity is the optimizer step. Higher scores are better: who minimizes flips the sign.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

Noise = Callable[
    [float], float | None
]  # of a score within its configuration, by share of the steps, if known


def unknown(share: float) -> None:
    """The noise of which nothing was measured."""


KINDS = ("asha", "pasha", "median", "none")
REDUCTION = 3  # at each rung about one in three goes on
SLACK = 2.0  # standard deviations: what luck alone does 19 times in 20
LEAST_OTHERS = 5  # before a median says something
REPEATABILITY = 2.8  # 1.96 √2: two scores of one configuration differ by less 19 times in 20 (ISO 5725-6)
CROSSING_PERCENTILE = 90  # of the paper's own estimate of noise
MOST_CURVES = 50  # that this estimate compares


class StopPolicy(Protocol):
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


class Recorded(Protocol):
    """What `replay` reads of a `tune.ledger.Record`."""

    @property
    def id(self) -> str: ...
    @property
    def scores(self) -> Sequence[tuple[int, float]]: ...


def make(kind: str, max_steps: int, evaluations: int, noise: Noise = unknown) -> StopPolicy:
    """The policy of this name for trials of `max_steps`, evaluated so many times, evenly spread.

    With one evaluation there is nothing to stop. Raises ValueError for another name.
    """
    if kind not in KINDS:
        raise ValueError(f"scheduler: must be one of {', '.join(KINDS)}, but got {kind!r}")
    if kind == "none" or evaluations <= 1:
        return Never()
    grace = max(1, max_steps // evaluations)
    if kind == "median":
        return Median(max_steps, grace)
    return Pasha(max_steps, grace, noise) if kind == "pasha" else Asha(max_steps, grace, slack=noise)


def replay(policy: StopPolicy, records: Iterable[Recorded], direction: str = "max") -> None:
    """Bring a new policy to where it was when these trials of the search had reported these scores.

    direction: of the scores in the records, "max" or "min".
    """
    sign = 1.0 if direction == "max" else -1.0
    for record in records:
        for step, score in record.scores:
            policy.recall(record.id, step, sign * score)


def levels(max_steps: int, grace: int, reduction: float = REDUCTION) -> list[float]:
    """Steps of the rungs: grace, grace · reduction, grace · reduction², ... below max_steps."""
    if grace < 1 or reduction <= 1:
        raise ValueError(f"rungs: need grace >= 1 and reduction > 1, but got {grace} and {reduction}")
    made: list[float] = []
    while (level := grace * reduction ** len(made)) < max_steps:
        made.append(level)
    return made


class Never:
    """Stops what diverged and nothing else."""

    def report(self, trial: str, step: int, score: float | None) -> bool:
        return not is_usable(score)

    def completed(self, trial: str, score: float | None) -> None:
        """Nothing to keep."""

    def recall(self, trial: str, step: int, score: float | None) -> None:
        """Nothing to keep."""


class Rule(ABC):
    """What the rules below share: each evaluation is taken in once, no failed one ever."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps
        self._last_step: dict[str, int] = {}
        self._behind: set[str] = set()

    def report(self, trial: str, step: int, score: float | None) -> bool:
        """See `StopPolicy`."""
        if not is_usable(score):
            return True
        if self._is_news(trial, step) and self._take(trial, step, score) and step < self.max_steps:
            self._behind.add(trial)
        return trial in self._behind

    def completed(self, trial: str, score: float | None) -> None:
        """See `StopPolicy`."""
        self.recall(trial, self.max_steps, score)

    def recall(self, trial: str, step: int, score: float | None) -> None:
        """See `StopPolicy`."""
        if is_usable(score) and self._is_news(trial, step):
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
        return quantile(self._ascending, (1 - 1 / reduction) * 100 / 100)  # rounded as Ray rounds it

    def best(self, count: int) -> list[str]:
        """The trials with the highest scores."""
        least = self._ascending[-count:][0]
        return [trial for _, trial in sorted((s, t) for t, s in self.scores.items() if s >= least)[-count:]]


class Swaps:
    """Pairs of trials whose order at a rung is the reverse of their order in the rung below."""

    def __init__(self) -> None:
        self.largest = 0.0  # the difference, in the rung below, of the pair that differed most
        self._held = np.empty((64, 2))
        self._count = 0

    def add(self, below: float, here: float) -> None:
        """A trial's scores in the rung below and here."""
        if self._count == len(self._held):
            self._held = np.concatenate([self._held, np.empty_like(self._held)])
        apart = self._held[: self._count] - (below, here)
        swapped = np.sign(apart[:, 0]) * np.sign(apart[:, 1]) < 0
        self.largest = max(self.largest, float(np.abs(apart[swapped, 0]).max(initial=0.0)))
        self._held[self._count] = below, here
        self._count += 1


class Asha(Rule):
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
        self, max_steps: int, grace: int, reduction: float = REDUCTION, slack: Noise = unknown
    ) -> None:
        super().__init__(max_steps)
        self.reduction, self.slack = reduction, slack
        self.rungs = [Rung(level) for level in levels(max_steps, grace, reduction)]

    def _take(self, trial: str, step: int, score: float) -> bool:
        place = self._place(step)
        if place < 0 or trial in self.rungs[place].scores:
            return False
        allowed = SLACK * (self.slack(self.rungs[place].level / self.max_steps) or 0.0)
        behind = score < self.rungs[place].cutoff(self.reduction) - allowed
        self.rungs[place].add(trial, score)
        return behind

    def _place(self, step: int) -> int:
        """The highest rung at or below this step; -1 before the first."""
        return sum(rung.level <= step for rung in self.rungs) - 1


class Pasha(Asha):
    """ASHA whose longest budget, the cap, grows as long as the ranking is not settled (Bohdal et al.,
    PASHA: Efficient HPO and NAS with Progressive Resource Allocation, ICLR 2023).

    The cap is at first the second rung. It goes up by one rung, in the end to max_steps, while two
    trials in the rung at the cap stand in the reverse of their order in the rung below, where they
    differed by more than a tolerance. The tolerance is `multiple` times the measured noise; while that is
    unknown it is the paper's estimate, `crossing_noise` of the best curves in the rung at the cap.

    How it differs from the paper:
    - It stops trials in place of pausing and promoting them. One that reaches the cap is told to stop, its
      score there counts, and when the cap grows it does not go on; the trial whose score makes the cap
      grow does.
    - The paper compares positions: the trial in place i against the group within the tolerance of who
      was in place i. Pairs are at least as careful (the cap grows wherever the paper's would), and
      do not depend on the order in which trials came, so that a replay finds the same cap.
    - The cap is a function of the scores and of today's tolerance, and never below what a trial has
      gone on to. Under a tolerance that stays, it never shrinks; one that rises may take back a growth
      that no trial has used yet.
    """

    def __init__(
        self,
        max_steps: int,
        grace: int,
        noise: Noise = unknown,
        reduction: float = REDUCTION,
        multiple: float = REPEATABILITY,
    ) -> None:
        super().__init__(max_steps, grace, reduction)
        self.noise, self.multiple = noise, multiple
        self._swaps = [Swaps() for _ in self.rungs]  # of each rung with the one below
        self._used = 1  # the rung that a trial went on to
        self._curves: dict[str, dict[int, float]] = {}

    @property
    def cap(self) -> float:
        """Steps of the longest budget for now."""
        place = min(self._used, len(self.rungs))
        while place < len(self.rungs) and self._is_unsettled(place):
            place += 1
        return self.rungs[place].level if place < len(self.rungs) else self.max_steps

    def _take(self, trial: str, step: int, score: float) -> bool:
        place = self._place(step)
        went_on = place >= 0 and trial in self.rungs[place].scores
        behind = super()._take(trial, step, score)
        self._curves.setdefault(trial, {})[step] = score
        self._used = max(self._used, len(self.rungs) if step >= self.max_steps else place + went_on)
        if place > 0 and not went_on and trial in self.rungs[place - 1].scores:
            self._swaps[place].add(self.rungs[place - 1].scores[trial], score)
        return behind or (place > 0 and self.cap <= step)

    def _is_unsettled(self, place: int) -> bool:
        largest = self._swaps[place].largest
        return largest > 0 and largest > self._tolerance(place)

    def _tolerance(self, place: int) -> float:
        noise = self.noise(self.rungs[place].level / self.max_steps)
        if is_usable(noise):
            return self.multiple * noise
        return crossing_noise(self._matrix(self.rungs[place].best(MOST_CURVES)))

    def _matrix(self, trials: Sequence[str]) -> NDArray[np.float64]:
        """Scores (trials, steps), NaN where a trial was not evaluated."""
        curves = [self._curves[trial] for trial in trials]
        steps = sorted({step for curve in curves for step in curve})
        return np.array([[curve.get(step, math.nan) for step in steps] for curve in curves])


class Median(Rule):
    """The median stopping rule (Golovin et al., Google Vizier, KDD 2017, section 3.2.1).

    A trial is behind at a step, from `grace` on, where its best score so far is below the median of the
    means, up to this step, of the other trials' scores, if at least `least` others were evaluated at
    it. Vizier takes completed trials alone; here all count that came as far, so that a short search
    can stop too. Every trial is to be evaluated at the same steps.
    """

    def __init__(self, max_steps: int, grace: int, least: int = LEAST_OTHERS) -> None:
        super().__init__(max_steps)
        self.grace, self.least = grace, least
        self._curves: dict[str, tuple[int, float, float]] = {}  # how many scores, their sum, the best
        self._means: dict[int, list[float]] = {}  # at each step, ascending

    def _take(self, trial: str, step: int, score: float) -> bool:
        count, total, best = self._curves.get(trial, (0, 0.0, -math.inf))
        count, total, best = count + 1, total + score, max(best, score)
        others = self._means.setdefault(step, [])
        behind = step >= self.grace and len(others) >= self.least and best < quantile(others, 0.5)
        self._curves[trial] = count, total, best
        insort(others, total / count)
        return behind


def quantile(ascending: Sequence[float], share: float) -> float:
    """The quantile of sorted numbers, interpolated and rounded as `numpy.quantile` does; -inf of none."""
    if not ascending:
        return -math.inf
    place = (len(ascending) - 1) * share
    index = int(place)
    low, high = ascending[index], ascending[min(index + 1, len(ascending) - 1)]
    part = place - index
    between = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
    return min(high, between)


def crossing_noise(curves: NDArray[np.float64]) -> float:
    """How far apart learning curves are that differ by noise alone; 0 where none tells.

    curves: (trials, steps), NaN where a trial was not evaluated. A pair tells that was in some order, then
    in the reverse, and is in the first order again at the last step: the 90th percentile of
    the differences there (Bohdal et al. 2023).
    """
    if min(curves.shape) == 0:
        return 0.0
    one, other = np.triu_indices(len(curves), 1)
    difference = curves[one] - curves[other]
    order = np.sign(difference) * np.sign(difference[:, -1:])  # 1: as at the last step, -1: reversed
    was = np.logical_or.accumulate(order > 0, axis=1)
    crossed = np.any(was & (order < 0), axis=1)
    distances = np.abs(difference[crossed, -1])
    return float(np.percentile(distances, CROSSING_PERCENTILE)) if distances.size else 0.0


def is_usable(score: float | None) -> TypeGuard[float]:
    return score is not None and math.isfinite(score)
