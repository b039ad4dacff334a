"""Expected scores of configurations from few runs: means shrunk towards the mean of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

PRIOR_RUNS = 2.0  # runs at the common mean that every configuration is believed to have had
PRIOR_NOISE = 0.05  # standard deviation of a run, in the metric's scale
BATCH_SIZES = (1, 2, 4, 8)  # further runs that the gain looks ahead: one may be too few to change a choice


@dataclass(frozen=True)
class ShrunkMeans:
    """Expected scores of n configurations.

    mean: (n,), (sum of its scores + PRIOR_RUNS common means) / (its runs + PRIOR_RUNS).
    counts: (n,) runs of each. common: mean over configurations.
    noise: standard deviation of a run around its configuration's mean, pooled.
    spread: standard deviation of first runs, over configurations.
    """

    mean: NDArray[np.float64]
    counts: NDArray[np.int64]
    common: float
    noise: float
    spread: float

    def measure_sd(self, pending: NDArray[np.int64] | int = 0) -> NDArray[np.float64]:
        """Return the standard deviation of each expected score once so many further runs have ended: (n,)."""
        return np.asarray(self.noise / np.sqrt(self.counts + pending + PRIOR_RUNS))

    def compute_gains(self) -> NDArray[np.float64]:
        """Return how much a further run of each configuration is expected to raise the expected score of the
        choice: (n,).

        The knowledge gradient for independent normal beliefs, s (phi(z) - |z| Phi(-|z|)) with s the standard
        deviation of the change of the mean and z the distance to the best other one over s; of the best
        batch of BATCH_SIZES, a run.

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
            change = np.maximum(sd**2 / np.sqrt(sd**2 + self.noise**2 / batch), 1e-12)
            z = distance / change
            gains.append(change * (stats.norm.pdf(z) - z * stats.norm.cdf(-z)) / batch)
        return np.asarray(np.max(gains, axis=0))

    def compute_improvement(self) -> float:
        """Return the expected improvement of a new configuration over the best: N(common, spread²)."""
        distance = float(self.mean.max()) - self.common
        z = distance / max(self.spread, 1e-12)
        return float(self.spread * stats.norm.pdf(z) - distance * stats.norm.cdf(-z))


def shrink_means(scores: Sequence[Sequence[float]]) -> ShrunkMeans:
    """Estimate n configurations from the scores of their runs, at least one each.

    The noise is the pooled variance within configurations, with PRIOR_NOISE and the variance between their
    first runs as one further degree of freedom each, since few have had a second run. Raises ValueError
    without a score.
    """
    if not scores or not all(scores):
        raise ValueError("scores: every configuration needs one")
    counts = np.array([len(each) for each in scores])
    sums, first = np.array([sum(each) for each in scores]), np.array([each[0] for each in scores])
    common = float(first.mean())
    squares = sum(float(np.square(np.asarray(each) - np.mean(each)).sum()) for each in scores)
    noise = math.sqrt((squares + float(first.var()) + PRIOR_NOISE**2) / (float((counts - 1).sum()) + 2.0))
    mean = (sums + PRIOR_RUNS * common) / (counts + PRIOR_RUNS)
    return ShrunkMeans(mean, counts, common, noise, float(first.std()))
