"""Best-arm identification: which configurations remain in the race, which one runs next with which seed, and
when to stop.

Decisions rest on the posterior of `tune.stats.surrogate`, which removes the effect of shared seeds from
differences and shrinks a lucky score towards its neighbours.
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
NEGLIGIBLE_PROBABILITY_RATIO = 0.05  # candidates below this share of the largest probability do not race
THOMPSON_DRAWS = 256  # draws of top-two Thompson sampling before the challenger is chosen by its odds
REPLICATE_BATCH_SIZES = (1, 2, 4, 8, 16)  # batch sizes over which the knowledge gradient looks ahead
_NORMAL_QUANTILES = np.asarray(stats.norm.ppf((np.arange(400) + 0.5) / 400))


def find_leader(posterior: Posterior, candidates: Sequence[int]) -> int:
    """Return the candidate with the highest posterior mean; the lowest index wins a tie."""
    return max(sorted(candidates), key=lambda c: posterior.mean[c])


def choose_candidates(
    posterior: Posterior, max_candidates: int, negligible: float = NEGLIGIBLE_PROBABILITY_RATIO
) -> list[int]:
    """Return the candidates of the race: at most `max_candidates`, the most likely best first, without those
    whose probability of being best is below `negligible` times the largest.

    This saves runs and proves nothing: in about one race of ten the truly best one is among those left out
    (`benchmarks/calibration_of_claims.py`).
    """
    probability = posterior.best_probability()
    order = sorted(range(len(probability)), key=lambda c: (-probability[c], -posterior.mean[c], c))
    threshold = negligible * probability.max()
    return [c for c in order[:max_candidates] if probability[c] >= threshold]


def drop_inferior_candidates(posterior: Posterior, candidates: Sequence[int], look: int) -> list[int]:
    """Return the candidates that are not yet significantly worse than the leader, in their order.

    Candidate c is dropped if P(f_c >= f_leader) < alpha / ((m - 1) k (k + 1)), with alpha =
    SIGNIFICANCE_LEVEL, m candidates and look k: Bonferroni over the m - 1 comparisons, and over the looks,
    because the sum of 1 / (k (k + 1)) over k = 1, 2, ... is 1. So this rule alone drops the truly best one of
    the candidates in less than alpha of the races, if the posterior is right. look: k, from 1.
    """
    if look < 1:
        raise ValueError(f"look: must be at least 1, but got {look}")
    if len(candidates) < 2:
        return list(candidates)
    leader = find_leader(posterior, candidates)
    threshold = SIGNIFICANCE_LEVEL / ((len(candidates) - 1) * look * (look + 1))
    return [
        c for c in candidates if c == leader or compute_win_probability(posterior, c, leader) >= threshold
    ]


def compute_win_probability(posterior: Posterior, candidate: int, rival: int) -> float:
    """Return P(f_candidate >= f_rival), which is Phi(E[d] / sqrt(Var d)) for the difference d of the two; 1/2
    if they are known to be equal."""
    covariance = posterior.covariance
    total = covariance[candidate, candidate] + covariance[rival, rival]
    variance = total - 2 * covariance[candidate, rival]
    difference = posterior.mean[candidate] - posterior.mean[rival]
    if variance <= 1e-12 * total:
        return 0.5 if difference == 0 else float(difference > 0)
    return float(stats.norm.cdf(difference / math.sqrt(variance)))


def choose_next_replicate(
    posterior: Posterior,
    candidates: Sequence[int],
    finished_seeds: Mapping[int, set[int]],
    pending_seeds: Mapping[int, set[int]],
    seeds: Sequence[int],
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """Return the configuration and seed to run next, or None if every candidate has run with all seeds.

    Top-two Thompson sampling: the leader is the best of one draw of f, the challenger the best of the first
    further draw in which another configuration is best. Of the two, the one with fewer seeds runs, so that
    pairs become complete; a coin decides between equals.

    finished_seeds, pending_seeds: seeds by configuration.
    seeds: in the order in which all configurations get them.

    Source: Russo, "Simple Bayesian Algorithms for Best-Arm Identification", Operations Research 2020.
    """
    used = {c: finished_seeds.get(c, set()) | pending_seeds.get(c, set()) for c in candidates}
    unused = {c: [seed for seed in seeds if seed not in used[c]] for c in candidates}
    if not any(unused.values()):
        return None
    draws = posterior.draw_scores(rng, THOMPSON_DRAWS)
    coins = dict(zip(candidates, rng.random(len(candidates)), strict=True))
    top_two = [c for c in _draw_top_two(draws, candidates) if unused[c]]
    if not top_two:
        probability = posterior.best_probability(candidates)
        top_two = [max((c for c in candidates if unused[c]), key=lambda c: (probability[c], -c))]
    chosen = min(top_two, key=lambda c: (len(used[c]), coins[c]))
    return chosen, unused[chosen][0]


def _draw_top_two(draws: Float64Array, candidates: Sequence[int]) -> list[int]:
    """Return the best candidate of the first draw, and of the first draw in which another one is best; if
    there is none, the other one with the highest odds (mean of the difference over its deviation)."""
    index = np.asarray(candidates)
    best = index[np.argmax(draws[:, index], axis=1)]
    challengers = best[best != best[0]]
    if len(challengers):
        return [int(best[0]), int(challengers[0])]
    rivals = index[index != best[0]]
    if not len(rivals):
        return [int(best[0])]
    difference = draws[:, rivals] - draws[:, [best[0]]]
    odds = difference.mean(axis=0) / np.maximum(difference.std(axis=0), 1e-300)
    return [int(best[0]), int(rivals[np.argmax(odds)])]


def compute_expected_gain(posterior: Posterior, candidates: Sequence[int]) -> float:
    """Return the expected increase of f of the final choice from one more replicate; >= 0, metric's scale.

    The knowledge gradient KG(*): the largest, over candidates c and batches of n replicates, of

        (E[max_i m_i(c, n)] - max_i m_i) / n

    with m the posterior mean now and m(c, n) the one after n replicates of c, which is m + S[:, c] Z /
    sqrt(S[c, c] + noise_c² / n) for standard normal Z. One replicate alone may be too little to change the
    choice when a few together are not. S is the posterior covariance of the differences between the
    candidates: what they have in common is known from their paired seeds and left out.

    Source: Frazier and Powell, "Paradoxes in Learning and the Marginal Value of Information", Decision
    Analysis 2010.
    """
    index = np.asarray(candidates)
    if len(index) < 2:
        return 0.0
    contrast = np.eye(len(index)) - 1 / len(index)
    covariance = contrast @ posterior.covariance[np.ix_(index, index)] @ contrast
    variance = np.diag(covariance) * len(index) / (len(index) - 1)  # exact if the f are exchangeable
    mean, noise = posterior.mean[index], posterior.noise_with_collapses[index]
    gains = [
        _batch_gain(mean, covariance[:, c], variance[c] + noise[c] ** 2 / batch) / batch
        for c in range(len(index))
        for batch in REPLICATE_BATCH_SIZES
    ]
    return max(0.0, *gains)


def _batch_gain(mean: Float64Array, covariance: Float64Array, variance: float) -> float:
    """Return E[max(mean + covariance / sqrt(variance) * Z)] - max(mean), Z standard normal, by quantiles."""
    if variance <= 0:
        return 0.0
    after = mean[:, None] + (covariance / math.sqrt(variance))[:, None] * _NORMAL_QUANTILES
    return float(after.max(axis=0).mean() - mean.max())


@dataclass(frozen=True)
class ReplicateDecision:
    """Decision on one more replicate, with its reason; true if the replicate is worth its cost.

    gain: see `compute_expected_gain`.
    best_probability: of the leader, among the candidates.
    """

    worthwhile: bool
    gain: float
    best_probability: float
    reason: str

    def __bool__(self) -> bool:
        return self.worthwhile


def weigh_replicate(posterior: Posterior, candidates: Sequence[int], cost: float) -> ReplicateDecision:
    """Weigh the expected gain of one more replicate against its cost.

    cost: gain that a replicate must bring to be worth it, in the metric's scale.
    """
    gain = compute_expected_gain(posterior, candidates)
    best_probability = float(posterior.best_probability(candidates)[find_leader(posterior, candidates)])
    worthwhile = gain > cost
    reason = (
        f"one more replicate is expected to improve the final choice by {100 * gain:.2g} points, "
        f"{'more than' if worthwhile else 'not more than'} its cost of {100 * cost:.2g}; "
        f"the leader is the best of {len(candidates)} with probability {best_probability:.2f}"
    )
    return ReplicateDecision(worthwhile, gain, best_probability, reason)
