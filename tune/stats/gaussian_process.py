"""The Gaussian process of `tune.stats.surrogate`: rows of scores in, the posterior of f and its parts out.

Everything is in units of the spread of the scores. theta: logarithms of the hyper-parameters smooth, own,
noise, seed, drift and the lengths by column.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006 (2.2, 5.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.linalg import solve_triangular

Float64Array = NDArray[np.float64]

OUTLIER_DEVIATIONS = 4.0  # standard deviations of prediction
COMMON_HYPERPARAMETER_COUNT = 5  # hyper-parameters before the lengths

# Log-normal priors: (median, standard deviation of the logarithm).
_SMOOTH_PRIOR, _OWN_PRIOR, _NOISE_PRIOR, _SEED_PRIOR, _DRIFT_PRIOR = (
    (1.0, 0.7),
    (0.2, 0.7),
    (0.6, 1.0),
    (0.6, 1.0),
    (0.5, 1.0),
)
_LENGTH_PRIOR = 0.35, 0.7  # times the root of the number of columns
_CONSTANT_SD, _GAP_SD = 2.0, 3.0  # standard deviations of normal priors
_START_SHIFTS = ((0.0, 0.0), (math.log(3), math.log(0.5)), (math.log(0.3), math.log(0.5)))  # length, noise
_LENGTH_SLICE = slice(COMMON_HYPERPARAMETER_COUNT, None)
_MODE_STEPS = (_LENGTH_SLICE, 1.0), (0, 0.7), (1, 1.0), (2, 0.2)  # from the mode: lengths, smooth, own, noise


@dataclass(frozen=True)
class ObservationRows:
    """Rows y = design @ (f of the configurations seen, effects of the seeds, steps of the gaps) + error.

    A row is a run's last score (last: 1.0) or what it had at a rung less what at its next one (0.0). Its
    error has variance last * noise² + reach * drift². y is in units of the spread, the last scores less a
    centre. seen: rows of x; seeds: how many; steps: (R,) log ratios of successive shares.
    """

    y: Float64Array
    design: Float64Array
    last: Float64Array
    reach: Float64Array
    seen: NDArray[np.int64]
    seeds: int
    steps: Float64Array


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters. thetas: (k, 5 + d), the mode first; weights: (k,), of the average over them, with
    the sum 1; scale: the unit in the metric's scale."""

    thetas: Float64Array
    weights: Float64Array
    scale: float


@dataclass(frozen=True)
class GaussianPrediction:
    """mean (n,) and covariance (n, n) of f; steps (R,): of the gaps, from each share to the next."""

    mean: Float64Array
    covariance: Float64Array
    steps: Float64Array


def compute_squared_differences(x: Float64Array) -> Float64Array:
    """By column: (d, n, n)."""
    columns = x.T
    squares: Float64Array = (columns[:, :, None] - columns[:, None, :]) ** 2
    return squares


def compute_correlations(squares: Float64Array, theta: Float64Array) -> Float64Array:
    """Of the smooth part of f: (n, n)."""
    return _matern(squares, theta)[0]


def _matern(squares: Float64Array, theta: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Matern-5/2 (n, n), and its derivatives by log length: slope (n, n) * scaled (d, n, n)."""
    scaled = squares * np.exp(-2 * theta[_LENGTH_SLICE])[:, None, None]
    root = np.sqrt(5 * scaled.sum(axis=0))
    decay = np.exp(-root)
    return (1 + root + root**2 / 3) * decay, (5 / 3) * (1 + root) * decay, scaled


def _prior_covariance(squares: Float64Array, theta: Float64Array) -> Float64Array:
    """Prior covariance of f, with that of its constant."""
    smooth, own = np.exp(2 * theta[:2])
    correlation = compute_correlations(squares, theta)
    prior: Float64Array = smooth * correlation + own * np.eye(len(correlation)) + _CONSTANT_SD**2
    return prior


def _hyperparameter_priors(columns: int) -> tuple[Float64Array, Float64Array]:
    """Means and standard deviations of theta."""
    length = _LENGTH_PRIOR[0] * math.sqrt(max(columns, 1)), _LENGTH_PRIOR[1]
    pairs = np.array(
        [_SMOOTH_PRIOR, _OWN_PRIOR, _NOISE_PRIOR, _SEED_PRIOR, _DRIFT_PRIOR, *[length] * columns]
    )
    return np.log(pairs[:, 0]), pairs[:, 1]


def make_default_theta(columns: int) -> Float64Array:
    """theta before any score was seen."""
    return _hyperparameter_priors(columns)[0]


def _negative_log_prior(theta: Float64Array) -> tuple[float, Float64Array]:
    """Minus the log prior of theta, up to a constant, and its gradient."""
    middle, spread = _hyperparameter_priors(len(theta) - COMMON_HYPERPARAMETER_COUNT)
    off = (theta - middle) / spread
    return 0.5 * float(off @ off), off / spread


@dataclass(frozen=True)
class _LinearSolution:
    """The linear algebra at one theta, with V = Cov(y). value: minus the log marginal likelihood. weights:
    design' V^-1 y; precision: design' V^-1 design; inverse_y: V^-1 y; inverse: the diagonal of V^-1."""

    value: float
    weights: Float64Array
    precision: Float64Array
    inverse_y: Float64Array
    inverse: Float64Array


def _solve_linear_model(rows: ObservationRows, of_f: Float64Array, theta: Float64Array) -> _LinearSolution:
    """By the latent values (Woodbury), of which there are fewer than rows. of_f: prior covariance of f of
    the configurations seen."""
    noise, seed, drift = np.exp(2 * theta[2:COMMON_HYPERPARAMETER_COUNT])
    seen, latent = len(rows.seen), rows.design.shape[1]
    prior = np.zeros((latent, latent))
    prior[:seen, :seen] = of_f
    effects = np.concatenate([np.full(rows.seeds, seed), _GAP_SD**2 * rows.steps])
    prior[range(seen, latent), range(seen, latent)] = effects
    error = rows.last * noise + rows.reach * drift
    scaled = rows.design / error[:, None]
    information = rows.design.T @ scaled
    root = np.linalg.cholesky(prior)
    inner = np.linalg.cholesky(np.eye(latent) + root.T @ information @ root)
    half = solve_triangular(inner, root.T, lower=True, check_finite=False)
    reached, half_information = rows.design @ half.T, half @ information
    inverse_y = (rows.y - reached @ (half @ (scaled.T @ rows.y))) / error
    determinant = np.log(error).sum() + 2 * np.log(np.diag(inner)).sum()
    return _LinearSolution(
        value=0.5 * float(rows.y @ inverse_y + determinant + len(rows.y) * math.log(2 * math.pi)),
        weights=rows.design.T @ inverse_y,
        precision=information - half_information.T @ half_information,
        inverse_y=inverse_y,
        inverse=1 / error - (reached**2).sum(axis=1) / error**2,
    )


def compute_negative_log_posterior(
    theta: Float64Array, rows: ObservationRows, squares: Float64Array
) -> tuple[float, Float64Array]:
    """Minus the log posterior of theta, up to a constant, and its gradient. squares: of the seen."""
    smooth, own, noise, seed, drift = np.exp(2 * theta[:COMMON_HYPERPARAMETER_COUNT])
    correlation, slope, scaled = _matern(squares, theta)
    seen = len(rows.seen)
    solved = _solve_linear_model(rows, smooth * correlation + own * np.eye(seen) + _CONSTANT_SD**2, theta)
    change = solved.precision - np.outer(solved.weights, solved.weights)
    of_f, by_effect = change[:seen, :seen], np.diag(change)
    of_error = solved.inverse - solved.inverse_y**2
    gradient = np.empty_like(theta)
    gradient[0] = smooth * (of_f * correlation).sum()
    gradient[1] = own * by_effect[:seen].sum()
    gradient[2] = noise * (of_error * rows.last).sum()
    gradient[3] = seed * by_effect[seen : seen + rows.seeds].sum()
    gradient[4] = drift * (of_error * rows.reach).sum()
    gradient[_LENGTH_SLICE] = 0.5 * smooth * np.tensordot(scaled, of_f * slope, axes=2)
    penalty, its_gradient = _negative_log_prior(theta)
    return solved.value + penalty, gradient + its_gradient


def _negative_log_posterior(theta: Float64Array, rows: ObservationRows, squares: Float64Array) -> float:
    """What `compute_negative_log_posterior` gives, without the gradient."""
    return (
        _solve_linear_model(rows, _prior_covariance(squares, theta), theta).value
        + _negative_log_prior(theta)[0]
    )


def _find_mode(rows: ObservationRows, squares: Float64Array, start: Float64Array | None) -> Float64Array:
    middle, spread = _hyperparameter_priors(len(squares))
    if start is None:
        starts = [
            _shift_theta(_shift_theta(middle, _LENGTH_SLICE, far), 2, noise) for far, noise in _START_SHIFTS
        ]
        start = min(starts, key=lambda theta: _negative_log_posterior(theta, rows, squares))
    found = optimize.minimize(
        compute_negative_log_posterior,
        start,
        (rows, squares),
        "L-BFGS-B",
        jac=True,
        bounds=list(zip(middle - 5 * spread, middle + 5 * spread, strict=True)),
        options={"maxiter": 40, "ftol": 1e-4, "gtol": 1e-2},
    )
    return np.asarray(found.x)


def _shift_theta(theta: Float64Array, place: int | slice, step: float) -> Float64Array:
    moved = theta.copy()
    moved[place] += step
    return moved


def fit_hyperparameters(
    rows: ObservationRows, squares: Float64Array, like: Hyperparameters | None
) -> tuple[Hyperparameters, ObservationRows]:
    """Hyper-parameters (`like` as they are), and the rows with outliers moved to where they are just not.

    squares: of all configurations. The scale of the result is that of `like`, or 1.
    """
    among = squares[:, rows.seen[:, None], rows.seen]
    theta = like.thetas[0] if like else _find_mode(rows, among, None)
    for _ in range(3):
        moved = _outlier_excess(rows, among, theta)
        if not moved.any():
            break
        rows = replace(rows, y=rows.y - moved)
        theta = theta if like else _find_mode(rows, among, theta)
    return like or _weigh_around_mode(theta, rows, among), rows


def _outlier_excess(rows: ObservationRows, squares: Float64Array, theta: Float64Array) -> Float64Array:
    """By how much each row is beyond OUTLIER standard deviations of what the other rows predict."""
    solved = _solve_linear_model(rows, _prior_covariance(squares, theta), theta)
    residual, limit = solved.inverse_y / solved.inverse, OUTLIER_DEVIATIONS / np.sqrt(solved.inverse)
    beyond = residual - np.clip(residual, -limit, limit)
    return np.where(np.abs(beyond) > 0.05 * limit, beyond, 0.0)


def _weigh_around_mode(theta: Float64Array, rows: ObservationRows, squares: Float64Array) -> Hyperparameters:
    """The mode and steps to either side of it, without those of next to no weight."""
    steps = [(place, sign * size) for place, size in _MODE_STEPS for sign in (1, -1)]
    thetas = [theta, *(_shift_theta(theta, place, step) for place, step in steps)]
    values = np.array([_negative_log_posterior(one, rows, squares) for one in thetas])
    weights = np.exp(values.min() - values)
    kept = weights > 0.01 * weights.sum()
    kept[0] = True
    return Hyperparameters(np.array(thetas)[kept], weights[kept] / weights[kept].sum(), 1.0)


def predict_true_scores(
    hyper: Hyperparameters, rows: ObservationRows, squares: Float64Array
) -> GaussianPrediction:
    """The average over the hyper-parameters; the covariance holds what is between them, too."""
    each = [_predict_at_theta(theta, rows, squares) for theta in hyper.thetas]
    means = np.array([one.mean for one in each])
    mean = hyper.weights @ means
    off = np.sqrt(hyper.weights)[:, None] * (means - mean)
    within = sum(w * one.covariance for w, one in zip(hyper.weights, each, strict=True))
    return GaussianPrediction(
        mean, within + off.T @ off, hyper.weights @ np.array([one.steps for one in each])
    )


def _predict_at_theta(
    theta: Float64Array, rows: ObservationRows, squares: Float64Array
) -> GaussianPrediction:
    prior, seen = _prior_covariance(squares, theta), len(rows.seen)
    cross = prior[:, rows.seen]
    solved = _solve_linear_model(rows, cross[rows.seen], theta)
    covariance = prior - cross @ solved.precision[:seen, :seen] @ cross.T
    steps = _GAP_SD**2 * rows.steps * solved.weights[seen + rows.seeds :]
    return GaussianPrediction(cross @ solved.weights[:seen], (covariance + covariance.T) / 2, steps)
