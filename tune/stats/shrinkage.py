"""Expected scores of configurations from few runs: shrunk towards all of them, collapses apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tune.stats.distributions import compute_normal_density

PRIOR_RUNS = 2.0  # runs at the common mean that every configuration is believed to have had
PRIOR_NOISE = 0.05  # standard deviation of a run, in the metric's scale
COLLAPSE_PRIOR_RUNS = 8.0  # the same for the share of runs that collapse, which few runs tell
BATCH_SIZES = (1, 2, 4, 8)  # further runs that the gain looks ahead: one may be too few to change a choice


@dataclass(frozen=True)
class ShrunkMeans:
    """Expected scores of n configurations, each (1 - q) m + q chance.

    mean: (n,). counts: (n,) runs of each.
    collapse: (n,), q: the chance that a run collapses, (its collapses + COLLAPSE_PRIOR_RUNS common shares) /
        (its runs + COLLAPSE_PRIOR_RUNS).
    learnt: (n,), m: the expected score of a run that does not, (sum of their scores + PRIOR_RUNS common
        means) / (their number + PRIOR_RUNS). learnt_counts: (n,) their number.
    chance: score of a run that collapsed.
    common: expected score of a new configuration.
    noise: standard deviation of a run that did not collapse around its configuration's mean, pooled.
    spread: standard deviation of first runs, over configurations.
    """

    mean: NDArray[np.float64]
    counts: NDArray[np.int64]
    collapse: NDArray[np.float64]
    learnt: NDArray[np.float64]
    learnt_counts: NDArray[np.int64]
    chance: float
    common: float
    noise: float
    spread: float

    def measure_sd(self, pending: NDArray[np.int64] | int = 0) -> NDArray[np.float64]:
        """Return the standard deviation of each expected score once so many further runs have ended: (n,)."""
        q = self.collapse
        learnt = self.learnt_counts + pending * (1 - q) + PRIOR_RUNS
        shares = self.counts + pending + COLLAPSE_PRIOR_RUNS + 1
        score = (1 - q) ** 2 * self.noise**2 / learnt
        share = (self.learnt - self.chance) ** 2 * q * (1 - q) / shares
        return np.asarray(np.sqrt(score + share))

    def compute_gains(self) -> NDArray[np.float64]:
        """Return how much a further run of each configuration is expected to raise the expected score of the
        choice: (n,).

        The knowledge gradient for independent normal beliefs, s (phi(z) - |z| Phi(-|z|)) with s² the part of
        the mean's variance that the runs take away, and z the distance to the best other one over s; of the
        best batch of BATCH_SIZES, a run.

        Source: Frazier and Powell, Decision Analysis 2010.
        """
        if len(self.mean) < 2:
            return np.zeros(len(self.mean))
        second, first = np.sort(self.mean)[-2:]
        leads = np.arange(len(self.mean)) == self.mean.argmax()
        distance = np.abs(self.mean - np.where(leads, second, first))
        sd = self.measure_sd()
        gains = []
        for batch in BATCH_SIZES:
            change = np.sqrt(np.maximum(sd**2 - self.measure_sd(batch) ** 2, 1e-24))
            z = distance / change
            gains.append(change * (compute_normal_density(z) - z * special.ndtr(-z)) / batch)
        return np.asarray(np.max(gains, axis=0))

    def compute_improvement(self) -> float:
        """Return the expected improvement of a new configuration over the best: N(common, spread²)."""
        distance = float(self.mean.max()) - self.common
        z = distance / max(self.spread, 1e-12)
        return float(self.spread * compute_normal_density(z) - distance * special.ndtr(-z))


def shrink_means(
    scores: Sequence[Sequence[float]], collapsed: Sequence[Sequence[bool]] | None = None, chance: float = 0.0
) -> ShrunkMeans:
    """Estimate n configurations from the scores of their runs, at least one each.

    Whether a run collapses and what it scores if it does not are estimated apart, since collapses are far
    from any other score. The noise is the pooled variance within configurations, with PRIOR_NOISE and the
    variance between their first runs as one further degree of freedom each, since few have had a second run.

    collapsed: which of them did; None if none. chance: score of these, whatever stands for them in `scores`.
    Raises ValueError without a score.
    """
    if not scores or not all(scores):
        raise ValueError("scores: every configuration needs one")
    counts = np.array([len(each) for each in scores])
    starts = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(scores)), counts)  # of each run, by index
    is_lost = np.zeros(len(owner), bool) if collapsed is None else np.fromiter(chain(*collapsed), bool)
    every = np.where(is_lost, chance, np.fromiter(chain(*scores), float))
    lost = np.add.reduceat(is_lost.astype(np.int64), starts)
    learning, learning_owner = every[~is_lost], owner[~is_lost]
    sums = np.bincount(learning_owner, learning, len(counts))
    own_means = sums / np.maximum(counts - lost, 1)
    share = float(lost.sum() / (counts.sum() + 1))
    collapse = (lost + COLLAPSE_PRIOR_RUNS * share) / (counts + COLLAPSE_PRIOR_RUNS)
    first = learning[np.unique(learning_owner, return_index=True)[1]] if len(learning) else np.array([chance])
    squares = float(np.square(learning - own_means[learning_owner]).sum())
    degrees = float(np.maximum(counts - lost - 1, 0).sum())
    noise = math.sqrt((squares + float(first.var()) + PRIOR_NOISE**2) / (degrees + 2.0))
    learnt = (sums + PRIOR_RUNS * float(first.mean())) / (counts - lost + PRIOR_RUNS)
    return ShrunkMeans(
        mean=(1 - collapse) * learnt + collapse * chance,
        counts=counts,
        collapse=collapse,
        learnt=learnt,
        learnt_counts=counts - lost,
        chance=chance,
        common=(1 - share) * float(first.mean()) + share * chance,
        noise=noise,
        spread=float(every[starts].std()),
    )
