"""What noisy replicates say about every configuration: a Gaussian process with effects of the seeds.

A run of configuration c with seed s scores f(c) + b_s + e: the true score, an effect of the seed that all
configurations share, noise. f is a constant, a smooth part (Matern-5/2, a length for each column) that
borrows from neighbours, and a small part of each configuration's own. At a share r of its steps the run
stood at its later score + gap_r + w_r, and from rung to rung so on: w_r of variance drift² log(1 / r). By
that a run's last score says all that it has to say about f, and its earlier ones inform the gaps, in one
likelihood with the runs that were stopped at the rung, so that the gaps are not biased by who was stopped.

Collapsed runs are no outliers but what a configuration does. Where chance lies so far below the other
scores that a collapse cannot be taken for noise, f is (1 - p) * mean of the runs that learn + p * chance,
with p(c) the probability of a collapse, smoothed over neighbours; so they count in full, for their
configuration, and do not pass for noise of all the others. Anything else that lies more than 4 standard
deviations from what all other scores predict is moved there: very bad (or good) luck, but not more.

Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006 (2.2, 5.4); Kennedy and
O'Hagan, Biometrika 2000 (fidelities as steps).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from tune.stats.gaussian_process import (
    COMMON_HYPERPARAMETER_COUNT,
    Float64Array,
    GaussianPrediction,
    Hyperparameters,
    ObservationRows,
    compute_correlations,
    compute_squared_differences,
    fit_hyperparameters,
    make_default_theta,
    predict_true_scores,
)

PRIOR_SCORE_SPREAD = 0.05  # a usual spread of scores, worth one observation
COLLAPSE_SEPARATION = 3.0  # robust standard deviations from the median of the learning runs to chance
POSTERIOR_SAMPLES = 4096  # for a probability
COLLAPSE_LENGTH_FACTORS = (0.25, 0.5, 1.0)  # of collapses, as multiples of lengths


@dataclass(frozen=True)
class Observation:
    """A score, higher is better. configuration: its row; step_share: of a full trial's steps, (0, 1]."""

    configuration: int
    seed: int
    score: float
    step_share: float = 1.0


@dataclass(frozen=True)
class Posterior:
    """What is known of f, the true full-length scores of n configurations, in the metric's scale.

    mean: (n,); covariance: (n, n). noise: standard deviation of a full-length replicate that learns about
    f + its seed's effect; noises: (n,) the same with collapses; seed_sd: of the seeds' effects.
    collapse: (n,) probabilities. shares, gaps: (K,) ascending, and the expected score at each less the
    full-length one. drift: see the head. hyper: of the fit, for `like`.
    """

    mean: Float64Array
    covariance: Float64Array
    noise: float
    noises: Float64Array
    seed_sd: float
    collapse: Float64Array
    shares: Float64Array
    gaps: Float64Array
    drift: float
    hyper: Hyperparameters = field(repr=False)

    def noise_at(self, share: float) -> float:
        """Standard deviation of the score at a share of the steps about f + seed's effect + gap."""
        _check_step_share(share)
        return math.hypot(self.noise, self.drift * math.sqrt(-math.log(share)))

    def sample(self, rng: np.random.Generator, k: int) -> Float64Array:
        """k draws of f: (k, n)."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        draws: Float64Array = self.mean + rng.standard_normal((k, len(self.mean))) @ root.T
        return draws

    def best_probability(self, among: Sequence[int] | None = None) -> Float64Array:
        """The probability of each configuration to be the best of `among` (all), 0 for the others: (n,).

        From the same 4096 draws each time, so to about 0.01; exact ties are shared."""
        chosen = np.arange(len(self.mean)) if among is None else np.asarray(sorted(set(among)), dtype=int)
        draws = self.sample(np.random.default_rng(0), POSTERIOR_SAMPLES)[:, chosen]
        best = draws >= draws.max(axis=1, keepdims=True)
        probability = np.zeros(len(self.mean))
        probability[chosen] = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
        return probability


def fit_posterior(
    x: Float64Array,
    observations: Sequence[Observation],
    chance: float | None = None,
    like: Posterior | None = None,
    scale: float = PRIOR_SCORE_SPREAD,
) -> Posterior:
    """The posterior of f over the rows of x, given scores of some of them.

    x: (n, d) as of `tune.core.space.encode_configurations`. chance: the score of a run that learnt nothing;
    lower ones are raised
    to it. like: take its hyper-parameters in place of fitting them. scale: a usual spread of scores, which
    matters where there are very few. Hyper-parameters are the mode under weak priors and steps to its sides,
    weighted by their posterior: the mode alone is too sure of itself where scores are few. The same input
    gives the same output. Raises ValueError where there is no observation or one does not fit.
    """
    _check_observations(x, observations)
    with _thread_controller().limit(limits=1):
        return _fit_single_threaded(x, observations, chance, like, scale)


@cache
def _thread_controller() -> ThreadpoolController:
    """Of linear algebra; one is enough here, the others are the slots'."""
    return ThreadpoolController()


def _fit_single_threaded(
    x: Float64Array,
    observations: Sequence[Observation],
    chance: float | None,
    like: Posterior | None,
    scale: float,
) -> Posterior:
    runs = _group_runs(observations, chance)
    learnt, separate = _drop_collapsed_runs(runs, chance)
    raw, shares = _build_rows(learnt)
    centre, scale = _score_centre(raw), like.hyper.scale if like else _score_spread(raw, scale)
    rows = replace(raw, y=(raw.y - raw.last * centre) / scale)
    squares = compute_squared_differences(x)
    hyper, rows = fit_hyperparameters(rows, squares, like.hyper if like else None)
    posterior = _rescale_posterior(predict_true_scores(hyper, rows, squares), hyper, shares, centre, scale)
    if not separate or chance is None:
        return posterior
    return _add_collapses(posterior, _count_collapses(runs, learnt, len(x)), squares, chance)


def _rescale_posterior(
    predicted: GaussianPrediction, hyper: Hyperparameters, shares: Float64Array, centre: float, scale: float
) -> Posterior:
    noise, seed, drift = (
        scale * float(value)
        for value in hyper.weights @ np.exp(hyper.thetas[:, 2:COMMON_HYPERPARAMETER_COUNT])
    )
    return Posterior(
        mean=centre + scale * predicted.mean,
        covariance=scale**2 * predicted.covariance,
        noise=noise,
        noises=np.full(len(predicted.mean), noise),
        seed_sd=seed,
        collapse=np.zeros(len(predicted.mean)),
        shares=shares,
        gaps=scale * np.append(np.cumsum(predicted.steps[::-1])[::-1], 0.0),
        drift=drift,
        hyper=replace(hyper, scale=scale),
    )


# --- runs and rows


ScoreCurve = list[tuple[float, float]]  # (share, score), ascending


def _check_step_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"step_share: must be in (0, 1], but got {share:g}")


def _check_observations(x: Float64Array, observations: Sequence[Observation]) -> None:
    if x.ndim != 2:
        raise ValueError(f"x: must be (configurations, columns), but got {x.shape}")
    if not observations:
        raise ValueError("observations: there must be one, but got none")
    for one in observations:
        _check_step_share(one.step_share)
        if not 0 <= one.configuration < len(x):
            raise ValueError(f"configuration: must be in 0 to {len(x) - 1}, but got {one.configuration}")
        if not math.isfinite(one.score):
            raise ValueError(f"score: must be finite, but got {one.score}; give chance for a diverged run")


def _group_runs(
    observations: Sequence[Observation], chance: float | None
) -> dict[tuple[int, int], ScoreCurve]:
    """By configuration and seed, in a fixed order; of two scores at one share the later given counts."""
    lowest = -math.inf if chance is None else chance
    found: dict[tuple[int, int], dict[float, float]] = {}
    for one in observations:
        run = found.setdefault((one.configuration, one.seed), {})
        run[round(one.step_share, 6)] = max(one.score, lowest)
    return {key: sorted(found[key].items()) for key in sorted(found)}


def _drop_collapsed_runs(
    runs: dict[tuple[int, int], ScoreCurve], chance: float | None
) -> tuple[dict[tuple[int, int], ScoreCurve], bool]:
    """The runs that did not collapse, and whether collapses are set apart at all: only full-length ones,
    and only where chance is far below the others."""
    full = np.array([run[-1][1] for run in runs.values() if run[-1][0] == 1])
    if chance is None or not (full > chance).any() or not (full <= chance).any():
        return runs, False
    above = full[full > chance]
    middle = float(np.median(above))
    if middle - COLLAPSE_SEPARATION * 1.4826 * float(np.median(np.abs(above - middle))) <= chance:
        return runs, False
    return {key: run for key, run in runs.items() if run[-1][0] < 1 or run[-1][1] > chance}, True


def _build_rows(runs: dict[tuple[int, int], ScoreCurve]) -> tuple[ObservationRows, Float64Array]:
    """The rows in the metric's scale, and the shares seen, 1 among them."""
    seen = np.array(sorted({configuration for configuration, _ in runs}))
    seeds = sorted({seed for _, seed in runs})
    shares = np.array(sorted({1.0} | {share for run in runs.values() for share, _ in run}))
    steps, first_step = np.diff(np.log(shares)), len(seen) + len(seeds)
    y, design, last = [], [], []
    for (configuration, seed), run in runs.items():
        rungs = [*np.searchsorted(shares, [share for share, _ in run]), len(shares) - 1]
        for k, (_, score) in enumerate(run):
            is_last = k == len(run) - 1
            row = np.zeros(first_step + len(steps))
            row[first_step + rungs[k] : first_step + rungs[k + 1]] = 1
            if is_last:
                row[[int(np.searchsorted(seen, configuration)), len(seen) + seeds.index(seed)]] = 1
            y.append(score if is_last else score - run[k + 1][1])
            design.append(row)
            last.append(float(is_last))
    matrix = np.array(design)
    reach = matrix[:, first_step:] @ steps
    return ObservationRows(np.array(y), matrix, np.array(last), reach, seen, len(seeds), steps), shares


def _score_centre(rows: ObservationRows) -> float:
    """The mean of the last scores at the largest share."""
    lasts = rows.last == 1
    return float(rows.y[lasts & (rows.reach == rows.reach[lasts].min())].mean())


def _score_spread(rows: ObservationRows, scale: float) -> float:
    """Of the last scores about the mean of those at the same share with the same seed, `scale` counting as
    one of them."""
    total, degrees = scale**2, 1.0
    lasts = rows.last == 1
    kinds = np.column_stack([rows.reach, rows.design[:, len(rows.seen) : len(rows.seen) + rows.seeds]])[lasts]
    for kind in np.unique(kinds, axis=0):
        scores = rows.y[lasts][(kinds == kind).all(axis=1)]
        total += float(((scores - scores.mean()) ** 2).sum())
        degrees += len(scores) - 1
    return math.sqrt(total / degrees)


# --- collapses


def _count_collapses(
    runs: dict[tuple[int, int], ScoreCurve], learnt: dict[tuple[int, int], ScoreCurve], count: int
) -> NDArray[np.int64]:
    """Of each configuration the full-length runs, and those of them that collapsed: (2, n)."""
    table = np.zeros((2, count), dtype=np.int64)
    for key, run in runs.items():
        table[0, key[0]] += run[-1][0] == 1
        table[1, key[0]] += key not in learnt
    return table


def _add_collapses(
    posterior: Posterior, table: NDArray[np.int64], squares: Float64Array, chance: float
) -> Posterior:
    """f with collapses: p of each configuration is Beta, its counts those of its neighbours by correlation,
    and one run's worth of the rate over all."""
    correlation = _choose_collapse_correlation(table, squares, posterior.hyper.thetas[0])
    p, counts = _collapse_rates(table, correlation)
    spread = np.sqrt(p * (1 - p) / (counts + 1))
    height, kept = posterior.mean - chance, 1 - p
    by_p = np.outer(height * spread, height * spread) * correlation
    own = np.diag(np.diag(posterior.covariance) * spread**2)
    return replace(
        posterior,
        mean=chance + kept * height,
        covariance=np.outer(kept, kept) * posterior.covariance + by_p + own,
        noises=np.sqrt(kept * posterior.noise**2 + p * kept * height**2),
        collapse=p,
    )


def _collapse_rates(table: NDArray[np.int64], weights: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Mean and total count of Beta, of each configuration: (n,), (n,). weights: (n, n), of others' runs."""
    rate = (table[1].sum() + 0.5) / (table[0].sum() + 1)
    counts = 1 + weights @ table[0]
    return (rate + weights @ table[1]) / counts, counts


def _choose_collapse_correlation(
    table: NDArray[np.int64], squares: Float64Array, theta: Float64Array
) -> Float64Array:
    """The correlations by which other configurations' runs foretell best which runs collapse: at multiples
    of the lengths of f, and of the usual ones."""
    best, least = np.eye(table.shape[1]), math.inf
    for lengths in (theta, make_default_theta(len(squares))):
        for factor in COLLAPSE_LENGTH_FACTORS:
            correlation = compute_correlations(squares, lengths + math.log(factor))
            p, _ = _collapse_rates(table, correlation - np.eye(len(correlation)))
            surprise = -float(table[1] @ np.log(p) + (table[0] - table[1]) @ np.log(1 - p))
            if surprise < least:
                best, least = correlation, surprise
    return best
