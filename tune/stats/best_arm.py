"""The race: which configurations are still in it, who runs next on which seed, and when it is over.

Everything is asked of the posterior of `tune.stats.surrogate`, in which the effects of shared seeds are taken
out of the differences, and a lucky score is shrunk towards what the neighbours say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tune.stats.gaussian_process import Float64Array
from tune.stats.surrogate import Posterior

SIGNIFICANCE_LEVEL = 0.05
NEGLIGIBLE_PROBABILITY_RATIO = 0.05  # of the largest probability to be best
THOMPSON_DRAWS = 256  # until the challenger is taken from the odds
REPLICATE_BATCH_SIZES = (1, 2, 4, 8, 16)  # of replicates whose gain is looked ahead to
_NORMAL_QUANTILES = np.asarray(stats.norm.ppf((np.arange(400) + 0.5) / 400))


def find_leader(posterior: Posterior, candidates: Sequence[int]) -> int:
    """The candidate with the highest posterior mean, the lowest index of equals."""
    return max(sorted(candidates), key=lambda c: posterior.mean[c])


def choose_candidates(
    posterior: Posterior,
    most: int,
    among: Sequence[int] | None = None,
    negligible: float = NEGLIGIBLE_PROBABILITY_RATIO,
) -> list[int]:
    """Who enters the race: at most `most`, the likeliest to be best first, none whose probability is below
    `negligible` (5 %) of the largest. among: all, but for the configurations that cannot be run."""
    chosen = range(len(posterior.mean)) if among is None else sorted(set(among))
    probability = posterior.best_probability(chosen)
    order = sorted(chosen, key=lambda c: (-probability[c], -posterior.mean[c], c))
    least = negligible * probability.max()
    return [c for c in order[:most] if probability[c] >= least]


def drop_inferior_candidates(
    posterior: Posterior, candidates: Sequence[int], looks: int, level: float = SIGNIFICANCE_LEVEL
) -> list[int]:
    """The candidates that are not yet worse than the leader beyond the noise, in their order.

    One is dropped where P(f >= f of the leader) is below level / ((m - 1) k (k + 1)) at look k of m
    candidates: by Bonferroni over them, and because the sum of 1 / (k (k + 1)) is 1, a candidate that is
    truly best is dropped in less than `level` of the races, however often one looks. looks: k, from 1.
    """
    if looks < 1:
        raise ValueError(f"looks: must be at least 1, but got {looks}")
    if len(candidates) < 2:
        return list(candidates)
    first = find_leader(posterior, candidates)
    threshold = level / ((len(candidates) - 1) * looks * (looks + 1))
    return [c for c in candidates if c == first or compute_win_probability(posterior, c, first) >= threshold]


def compute_win_probability(posterior: Posterior, one: int, other: int) -> float:
    """P(f of one >= f of the other), 1/2 where they are known to be equal."""
    covariance = posterior.covariance
    variance = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
    difference = posterior.mean[one] - posterior.mean[other]
    if variance <= 1e-12 * (covariance[one, one] + covariance[other, other]):
        return 0.5 if difference == 0 else float(difference > 0)
    return float(stats.norm.cdf(difference / math.sqrt(variance)))


def choose_next_replicate(
    posterior: Posterior,
    candidates: Sequence[int],
    done: Mapping[int, set[int]],
    pending: Mapping[int, set[int]],
    seeds: Sequence[int],
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """The configuration and the seed to run next; None where every candidate has had all seeds.

    Top-two Thompson sampling: the best of one draw of f, and the best of the first further draw in which
    another is best; of these two the one that has been given fewer seeds, so that pairs get complete (a coin
    where equal). done, pending: seeds by configuration. seeds: in the order in which all configurations get
    them.

    Source: Russo, "Simple Bayesian Algorithms for Best-Arm Identification", Operations Research 2020.
    """
    given = {c: done.get(c, set()) | pending.get(c, set()) for c in candidates}
    left = {c: [seed for seed in seeds if seed not in given[c]] for c in candidates}
    if not any(left.values()):
        return None
    draws = posterior.sample(rng, THOMPSON_DRAWS)
    coin = rng.random(len(candidates))
    pair = [c for c in _draw_top_two(draws, candidates) if left[c]]
    if not pair:
        probability = posterior.best_probability(candidates)
        pair = [max((c for c in candidates if left[c]), key=lambda c: (probability[c], -c))]
    tossed = dict(zip(candidates, coin, strict=True))
    chosen = min(pair, key=lambda c: (len(given[c]), tossed[c]))
    return chosen, left[chosen][0]


def _draw_top_two(draws: Float64Array, candidates: Sequence[int]) -> list[int]:
    order = np.asarray(candidates)
    best = order[np.argmax(draws[:, order], axis=1)]
    others = best[best != best[0]]
    if len(others):
        return [int(best[0]), int(others[0])]
    rest = order[order != best[0]]
    if not len(rest):
        return [int(best[0])]
    behind = draws[:, rest] - draws[:, [best[0]]]
    odds = behind.mean(axis=0) / np.maximum(behind.std(axis=0), 1e-300)
    return [int(best[0]), int(rest[np.argmax(odds)])]


def compute_expected_gain(posterior: Posterior, candidates: Sequence[int]) -> float:
    """By how much one more replicate raises f of the final choice, in expectation; >= 0, metric's scale.

    The largest over candidates and batches of (E[max mean after the batch] - max mean now) / batch size:
    one replicate alone may be too little to change the choice where a few together are not. What all
    candidates share is known from their paired seeds and is left out.

    Source: Frazier and Powell, "Paradoxes in Learning and the Marginal Value of Information", Decision
    Analysis 2010 (KG(*)).
    """
    index = np.asarray(candidates)
    if len(index) < 2:
        return 0.0
    contrast = np.eye(len(index)) - 1 / len(index)
    covariance = contrast @ posterior.covariance[np.ix_(index, index)] @ contrast
    variance = np.diag(covariance) * len(index) / (len(index) - 1)  # exact where f are exchangeable
    mean, noise = posterior.mean[index], posterior.noises[index]
    gains = [
        _batch_gain(mean, covariance[:, c], variance[c] + noise[c] ** 2 / batch) / batch
        for c in range(len(index))
        for batch in REPLICATE_BATCH_SIZES
    ]
    return max(0.0, *gains)


def _batch_gain(mean: Float64Array, covariance: Float64Array, variance: float) -> float:
    """E[max(mean + covariance / sqrt(variance) * Z)] - max(mean), Z standard normal, by quantiles."""
    if variance <= 0:
        return 0.0
    after = mean[:, None] + (covariance / math.sqrt(variance))[:, None] * _NORMAL_QUANTILES
    return float(after.max(axis=0).mean() - mean.max())


@dataclass(frozen=True)
class ReplicateDecision:
    """Whether one more replicate is worth its cost, and why. True as a condition where it is.

    gain: see `compute_expected_gain`; best: the probability of the leader to be the best candidate.
    """

    worth: bool
    gain: float
    best: float
    reason: str

    def __bool__(self) -> bool:
        return self.worth


def weigh_replicate(posterior: Posterior, candidates: Sequence[int], cost: float) -> ReplicateDecision:
    """Weigh the expected gain of one more replicate against its cost.

    cost: what a replicate must bring to be worth it, in the metric's scale: the caller's price of an hour
    times its hours.
    """
    gain = compute_expected_gain(posterior, candidates)
    best = float(posterior.best_probability(candidates)[find_leader(posterior, candidates)])
    worth = gain > cost
    reason = (
        f"one more replicate is expected to raise the choice by {100 * gain:.2g} points, "
        f"{'more than' if worth else 'not more than'} its cost of {100 * cost:.2g}; "
        f"the leader is the best of {len(candidates)} with probability {best:.2f}"
    )
    return ReplicateDecision(worth, gain, best, reason)
