"""Gaussian-process posterior of the true score of every configuration, from noisy replicates.

The model of the scores stands in `tune.stats.gaussian_process`: a true score that borrows from neighbours, an
effect of the seed that all configurations share, noise, and a gap for every share of the steps. A run's last
score is therefore sufficient for its true score, and its earlier ones inform the gaps, in one likelihood with
the runs that were stopped there, so that the gaps are not biased by which runs were stopped.

A collapse (a run that ends at chance, where one with a constant prediction is put) is a property of a
configuration, not an outlier. If chance lies far below the other scores, the probability of a collapse is
modelled apart (`_add_collapses`); collapses then do not count as noise of all other runs. Any other score
that lies more than 4 standard deviations from what all others predict is clipped to that.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006 (2.2, 5.4); Kennedy and O'Hagan,
Biometrika 2000 (fidelities as steps).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

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

PRIOR_SCORE_SPREAD = 0.05  # prior spread of scores, in the metric's scale, weighted as one observation
COLLAPSE_SEPARATION = 3.0  # robust standard deviations from the median of the learning runs to chance
POSTERIOR_SAMPLES = 4096  # draws for a probability of being best
COLLAPSE_LENGTH_FACTORS = (0.25, 0.5, 1.0)  # lengths of collapses, as multiples of the lengths of f


@dataclass(frozen=True)
class Observation:
    """One score; higher is better. configuration: row of x. step_share: of a full trial's steps, (0, 1]."""

    configuration: int
    seed: int
    score: float
    step_share: float = 1.0


@dataclass(frozen=True)
class Posterior:
    """Posterior of f, the true full-length scores of n configurations, in the metric's scale.

    mean: (n,).
    covariance: (n, n).
    noise: standard deviation of a full-length run that learns around f + the effect of its seed.
    noise_with_collapses: (n,) the same for any full-length run, collapses included.
    seed_sd: standard deviation of the effects of seeds.
    collapse_probability: (n,).
    gaps: (K,) expected score at each observed share, ascending, less the full-length one.
    drift: standard deviation of a run's own change over log(1 / share) = 1.
    hyperparameters: of the fit, to reuse in another one.
    """

    mean: Float64Array
    covariance: Float64Array
    noise: float
    noise_with_collapses: Float64Array
    seed_sd: float
    collapse_probability: Float64Array
    gaps: Float64Array
    drift: float
    hyperparameters: Hyperparameters = field(repr=False)

    def noise_at(self, share: float) -> float:
        """Return the standard deviation of a score at a share of the steps around f + seed effect + gap.

        sqrt(noise² + drift² log(1 / share))
        """
        _check_step_share(share)
        return math.hypot(self.noise, self.drift * math.sqrt(-math.log(share)))

    def draw_scores(self, rng: np.random.Generator, count: int) -> Float64Array:
        """Draw f `count` times: (count, n)."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        draws: Float64Array = self.mean + rng.standard_normal((count, len(self.mean))) @ root.T
        return draws

    def best_probability(self, candidates: Sequence[int] | None = None) -> Float64Array:
        """Return each configuration's probability of being the best of the candidates (all), 0 for the
        others: (n,).

        Computed from the same 4096 draws each time, so exact to about 0.01; exact ties are shared.
        """
        chosen = np.asarray(sorted(range(len(self.mean)) if candidates is None else {*candidates}))
        draws = self.draw_scores(np.random.default_rng(0), POSTERIOR_SAMPLES)[:, chosen]
        best = draws >= draws.max(axis=1, keepdims=True)
        probability = np.zeros(len(self.mean))
        probability[chosen] = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
        return probability


def fit_posterior(
    x: Float64Array,
    observations: Sequence[Observation],
    chance: float | None = None,
    fitted: Posterior | None = None,
) -> Posterior:
    """Fit the posterior of f at the rows of x to scores of some of them.

    x: (n, d), from `tune.core.space.encode_configurations`.
    chance: score of a run that learnt nothing; lower scores are raised to it.
    fitted: an earlier posterior whose hyper-parameters are taken in place of fitting them.

    The hyper-parameters are the mode of their posterior under weak priors and its neighbours, weighted: the
    mode alone is overconfident with few scores. The same input gives the same output. Raises ValueError
    without an observation, or if one does not fit x.
    """
    _check_observations(x, observations)
    with _thread_controller().limit(limits=1):
        return _fit_single_threaded(x, observations, chance, fitted)


@cache
def _thread_controller() -> ThreadpoolController:
    """Return the controller that limits linear algebra to one thread, because the slots use the others."""
    return ThreadpoolController()


def _fit_single_threaded(
    x: Float64Array, observations: Sequence[Observation], chance: float | None, fitted: Posterior | None
) -> Posterior:
    runs = _group_runs(observations, chance)
    learning_runs, collapses_apart = _drop_collapsed_runs(runs, chance)
    raw = _build_rows(learning_runs)
    centre, scale = _score_centre(raw), fitted.hyperparameters.scale if fitted else _score_spread(raw)
    rows = replace(raw, y=(raw.y - raw.is_last * centre) / scale)
    squares = compute_squared_differences(x)
    hyper, rows = fit_hyperparameters(rows, squares, fitted.hyperparameters if fitted else None)
    posterior = _rescale_posterior(predict_true_scores(hyper, rows, squares), hyper, centre, scale)
    if not collapses_apart or chance is None:
        return posterior
    return _add_collapses(posterior, _count_collapses(runs, learning_runs, len(x)), squares, chance)


def _rescale_posterior(
    prediction: GaussianPrediction, hyper: Hyperparameters, centre: float, scale: float
) -> Posterior:
    """Return a prediction in the metric's scale."""
    noise, seed, drift = (
        scale * float(value)
        for value in hyper.weights @ np.exp(hyper.thetas[:, 2:COMMON_HYPERPARAMETER_COUNT])
    )
    return Posterior(
        mean=centre + scale * prediction.mean,
        covariance=scale**2 * prediction.covariance,
        noise=noise,
        noise_with_collapses=np.full(len(prediction.mean), noise),
        seed_sd=seed,
        collapse_probability=np.zeros(len(prediction.mean)),
        gaps=scale * np.append(np.cumsum(prediction.gap_steps[::-1])[::-1], 0.0),
        drift=drift,
        hyperparameters=replace(hyper, scale=scale),
    )


# --- runs and rows


class ScorePoint(NamedTuple):
    """A score of a run at a share of the steps."""

    share: float
    score: float


Runs = dict[tuple[int, int], list[ScorePoint]]  # by configuration and seed; shares ascending


def _check_step_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"step_share: must be in (0, 1], but got {share:g}")


def _check_observations(x: Float64Array, observations: Sequence[Observation]) -> None:
    if x.ndim != 2:
        raise ValueError(f"x: must be (configurations, columns), but got {x.shape}")
    if not observations:
        raise ValueError("observations: there must be one, but got none")
    for observation in observations:
        _check_step_share(observation.step_share)
        if not 0 <= observation.configuration < len(x):
            raise ValueError(
                f"configuration: must be in 0 to {len(x) - 1}, but got {observation.configuration}"
            )
        if not math.isfinite(observation.score):
            raise ValueError(
                f"score: must be finite, but got {observation.score}; give chance for a diverged run"
            )


def _group_runs(observations: Sequence[Observation], chance: float | None) -> Runs:
    """Group scores by configuration and seed in a fixed order; of two at one share the later one counts."""
    lowest = -math.inf if chance is None else chance
    scores: dict[tuple[int, int], dict[float, float]] = {}
    for observation in observations:
        run = scores.setdefault((observation.configuration, observation.seed), {})
        run[round(observation.step_share, 6)] = max(observation.score, lowest)
    return {key: [ScorePoint(*point) for point in sorted(scores[key].items())] for key in sorted(scores)}


def _drop_collapsed_runs(runs: Runs, chance: float | None) -> tuple[Runs, bool]:
    """Return the runs that did not collapse, and whether collapses are modelled apart.

    They are if chance lies more than COLLAPSE_SEPARATION robust standard deviations (1.4826 times the median
    absolute deviation) below the median of the full-length scores above chance; else all runs are returned.
    """
    full_scores = np.array([run[-1].score for run in runs.values() if run[-1].share == 1])
    if chance is None or not (full_scores > chance).any() or not (full_scores <= chance).any():
        return runs, False
    above = full_scores[full_scores > chance]
    median = float(np.median(above))
    if median - COLLAPSE_SEPARATION * 1.4826 * float(np.median(np.abs(above - median))) <= chance:
        return runs, False
    return {key: run for key, run in runs.items() if run[-1].share < 1 or run[-1].score > chance}, True


def _build_rows(runs: Runs) -> ObservationRows:
    """Return the runs as a linear model, in the metric's scale."""
    configurations = np.array(sorted({configuration for configuration, _ in runs}))
    seeds = sorted({seed for _, seed in runs})
    shares = np.array(sorted({1.0} | {point.share for run in runs.values() for point in run}))
    gap_lengths, first_gap = np.diff(np.log(shares)), len(configurations) + len(seeds)
    y, design, last = [], [], []
    for (configuration, seed), run in runs.items():
        rungs = [*np.searchsorted(shares, [point.share for point in run]), len(shares) - 1]
        for k, point in enumerate(run):
            is_last = k == len(run) - 1
            row = np.zeros(first_gap + len(gap_lengths))
            row[first_gap + rungs[k] : first_gap + rungs[k + 1]] = 1
            if is_last:
                column = int(np.searchsorted(configurations, configuration))
                row[[column, len(configurations) + seeds.index(seed)]] = 1
            y.append(point.score if is_last else point.score - run[k + 1].score)
            design.append(row)
            last.append(float(is_last))
    matrix = np.array(design)
    return ObservationRows(
        y=np.array(y),
        design=matrix,
        is_last=np.array(last),
        drift_variance=matrix[:, first_gap:] @ gap_lengths,
        configurations=configurations,
        seed_count=len(seeds),
        gap_lengths=gap_lengths,
    )


def _score_centre(rows: ObservationRows) -> float:
    """Return the mean of the last scores at the largest share."""
    last = rows.is_last == 1
    return float(rows.y[last & (rows.drift_variance == rows.drift_variance[last].min())].mean())


def _score_spread(rows: ObservationRows) -> float:
    """Return the standard deviation of last scores within groups of equal share and seed, with
    PRIOR_SCORE_SPREAD as one pseudo-observation."""
    total, degrees = PRIOR_SCORE_SPREAD**2, 1.0
    last, first_seed = rows.is_last == 1, len(rows.configurations)
    seeds = rows.design[:, first_seed : first_seed + rows.seed_count]
    groups = np.column_stack([rows.drift_variance, seeds])[last]
    for group in np.unique(groups, axis=0):
        scores = rows.y[last][(groups == group).all(axis=1)]
        total += float(((scores - scores.mean()) ** 2).sum())
        degrees += len(scores) - 1
    return math.sqrt(total / degrees)


# --- collapses


def _count_collapses(runs: Runs, learning_runs: Runs, count: int) -> NDArray[np.int64]:
    """Return, for each configuration, the counts of full-length runs and of collapsed ones: (2, n)."""
    table = np.zeros((2, count), dtype=np.int64)
    for key, run in runs.items():
        table[0, key[0]] += run[-1].share == 1
        table[1, key[0]] += key not in learning_runs
    return table


def _add_collapses(
    posterior: Posterior, table: NDArray[np.int64], squares: Float64Array, chance: float
) -> Posterior:
    """Add collapses to the posterior g of runs that learn.

        f = chance + (1 - p) (g - chance)
        Cov(f, f') = (1 - p) (1 - p') Cov(g, g') + h h' s s' M + [c = c'] Var(g) s²,  h = E[g] - chance
        Var(score) = (1 - p) noise² + p (1 - p) h²

    p(c), the probability of a collapse, is Beta-distributed with the mean and count of `_collapse_rates`,
    hence the deviation s = sqrt(p (1 - p) / (count + 1)), and correlated between neighbours by M.
    """
    correlation = _choose_collapse_correlation(table, squares, posterior.hyperparameters.thetas[0])
    p, counts = _collapse_rates(table, correlation)
    spread = np.sqrt(p * (1 - p) / (counts + 1))
    above_chance, learn_probability = posterior.mean - chance, 1 - p
    from_rates = np.outer(above_chance * spread, above_chance * spread) * correlation
    from_both = np.diag(np.diag(posterior.covariance) * spread**2)
    return replace(
        posterior,
        mean=chance + learn_probability * above_chance,
        covariance=np.outer(learn_probability, learn_probability) * posterior.covariance
        + from_rates
        + from_both,
        noise_with_collapses=np.sqrt(
            learn_probability * posterior.noise**2 + p * learn_probability * above_chance**2
        ),
        collapse_probability=p,
    )


def _collapse_rates(table: NDArray[np.int64], weights: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return mean and total count of the Beta distribution of each configuration: (n,), (n,).

    The counts are those of all configurations times `weights` (n, n), and one pseudo-run at the overall rate.
    """
    rate = (table[1].sum() + 0.5) / (table[0].sum() + 1)
    counts = 1 + weights @ table[0]
    return (rate + weights @ table[1]) / counts, counts


def _choose_collapse_correlation(
    table: NDArray[np.int64], squares: Float64Array, theta: Float64Array
) -> Float64Array:
    """Return the correlations that best predict collapses from other configurations' runs.

    Candidates have COLLAPSE_LENGTH_FACTORS times the lengths of theta, or of the prior; the best has the
    lowest negative log likelihood of each configuration's collapses given those of the others.
    """
    best, lowest = np.eye(table.shape[1]), math.inf
    for lengths in (theta, make_default_theta(len(squares))):
        for factor in COLLAPSE_LENGTH_FACTORS:
            correlation = compute_correlations(squares, lengths + math.log(factor))
            p, _ = _collapse_rates(table, correlation - np.eye(len(correlation)))
            surprise = -float(table[1] @ np.log(p) + (table[0] - table[1]) @ np.log(1 - p))
            if surprise < lowest:
                best, lowest = correlation, surprise
    return best
