"""The Gaussian process of `tune.surrogate`: rows of scores in, the posterior of f and its parts out.

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

Array = NDArray[np.float64]

OUTLIER = 4.0  # standard deviations of prediction
COMMON = 5  # hyper-parameters before the lengths

# Log-normal priors: (median, standard deviation of the logarithm).
_SMOOTH, _OWN, _NOISE, _SEED, _DRIFT = (1.0, 0.7), (0.2, 0.7), (0.6, 1.0), (0.6, 1.0), (0.5, 1.0)
_LENGTH = 0.35, 0.7  # times the root of the number of columns
_CONSTANT, _GAP = 2.0, 3.0  # standard deviations of normal priors
_STARTS = ((0.0, 0.0), (math.log(3), math.log(0.5)), (math.log(0.3), math.log(0.5)))  # length, noise
_LENGTHS = slice(COMMON, None)
_STEPS = (_LENGTHS, 1.0), (0, 0.7), (1, 1.0), (2, 0.2)  # from the mode: lengths, smooth, own, noise


@dataclass(frozen=True)
class Rows:
    """Rows y = design @ (f of the configurations seen, effects of the seeds, steps of the gaps) + error.

    A row is a run's last score (last: 1.0) or what it had at a rung less what at its next one (0.0). Its
    error has variance last * noise² + reach * drift². y is in units of the spread, the last scores less a
    centre. seen: rows of x; seeds: how many; steps: (R,) log ratios of successive shares.
    """

    y: Array
    design: Array
    last: Array
    reach: Array
    seen: NDArray[np.int64]
    seeds: int
    steps: Array


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters. thetas: (k, 5 + d), the mode first; weights: (k,), of the average over them, with
    the sum 1; scale: the unit in the metric's scale."""

    thetas: Array
    weights: Array
    scale: float


@dataclass(frozen=True)
class Predicted:
    """mean (n,) and covariance (n, n) of f; steps (R,): of the gaps, from each share to the next."""

    mean: Array
    covariance: Array
    steps: Array


def squared_differences(x: Array) -> Array:
    """By column: (d, n, n)."""
    columns = x.T
    squares: Array = (columns[:, :, None] - columns[:, None, :]) ** 2
    return squares


def correlations(squares: Array, theta: Array) -> Array:
    """Of the smooth part of f: (n, n)."""
    return _matern(squares, theta)[0]


def _matern(squares: Array, theta: Array) -> tuple[Array, Array, Array]:
    """Matern-5/2 (n, n), and its derivatives by log length: slope (n, n) * scaled (d, n, n)."""
    scaled = squares * np.exp(-2 * theta[_LENGTHS])[:, None, None]
    root = np.sqrt(5 * scaled.sum(axis=0))
    decay = np.exp(-root)
    return (1 + root + root**2 / 3) * decay, (5 / 3) * (1 + root) * decay, scaled


def _covariance(squares: Array, theta: Array) -> Array:
    """Prior covariance of f, with that of its constant."""
    smooth, own = np.exp(2 * theta[:2])
    correlation = correlations(squares, theta)
    prior: Array = smooth * correlation + own * np.eye(len(correlation)) + _CONSTANT**2
    return prior


def _priors(columns: int) -> tuple[Array, Array]:
    """Means and standard deviations of theta."""
    length = _LENGTH[0] * math.sqrt(max(columns, 1)), _LENGTH[1]
    pairs = np.array([_SMOOTH, _OWN, _NOISE, _SEED, _DRIFT, *[length] * columns])
    return np.log(pairs[:, 0]), pairs[:, 1]


def usual(columns: int) -> Array:
    """theta before any score was seen."""
    return _priors(columns)[0]


def _penalty(theta: Array) -> tuple[float, Array]:
    """Minus the log prior of theta, up to a constant, and its gradient."""
    middle, spread = _priors(len(theta) - COMMON)
    off = (theta - middle) / spread
    return 0.5 * float(off @ off), off / spread


@dataclass(frozen=True)
class _Solved:
    """The linear algebra at one theta, with V = Cov(y). value: minus the log marginal likelihood. weights:
    design' V^-1 y; precision: design' V^-1 design; inverse_y: V^-1 y; inverse: the diagonal of V^-1."""

    value: float
    weights: Array
    precision: Array
    inverse_y: Array
    inverse: Array


def _solve(rows: Rows, of_f: Array, theta: Array) -> _Solved:
    """By the latent values (Woodbury), of which there are fewer than rows. of_f: prior covariance of f of
    the configurations seen."""
    noise, seed, drift = np.exp(2 * theta[2:COMMON])
    seen, latent = len(rows.seen), rows.design.shape[1]
    prior = np.zeros((latent, latent))
    prior[:seen, :seen] = of_f
    effects = np.concatenate([np.full(rows.seeds, seed), _GAP**2 * rows.steps])
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
    return _Solved(
        value=0.5 * float(rows.y @ inverse_y + determinant + len(rows.y) * math.log(2 * math.pi)),
        weights=rows.design.T @ inverse_y,
        precision=information - half_information.T @ half_information,
        inverse_y=inverse_y,
        inverse=1 / error - (reached**2).sum(axis=1) / error**2,
    )


def objective(theta: Array, rows: Rows, squares: Array) -> tuple[float, Array]:
    """Minus the log posterior of theta, up to a constant, and its gradient. squares: of the seen."""
    smooth, own, noise, seed, drift = np.exp(2 * theta[:COMMON])
    correlation, slope, scaled = _matern(squares, theta)
    seen = len(rows.seen)
    solved = _solve(rows, smooth * correlation + own * np.eye(seen) + _CONSTANT**2, theta)
    change = solved.precision - np.outer(solved.weights, solved.weights)
    of_f, by_effect = change[:seen, :seen], np.diag(change)
    of_error = solved.inverse - solved.inverse_y**2
    gradient = np.empty_like(theta)
    gradient[0] = smooth * (of_f * correlation).sum()
    gradient[1] = own * by_effect[:seen].sum()
    gradient[2] = noise * (of_error * rows.last).sum()
    gradient[3] = seed * by_effect[seen : seen + rows.seeds].sum()
    gradient[4] = drift * (of_error * rows.reach).sum()
    gradient[_LENGTHS] = 0.5 * smooth * np.tensordot(scaled, of_f * slope, axes=2)
    penalty, its_gradient = _penalty(theta)
    return solved.value + penalty, gradient + its_gradient


def _value(theta: Array, rows: Rows, squares: Array) -> float:
    """What `objective` gives, without the gradient."""
    return _solve(rows, _covariance(squares, theta), theta).value + _penalty(theta)[0]


def _optimise(rows: Rows, squares: Array, start: Array | None) -> Array:
    middle, spread = _priors(len(squares))
    if start is None:
        starts = [_shifted(_shifted(middle, _LENGTHS, far), 2, noise) for far, noise in _STARTS]
        start = min(starts, key=lambda theta: _value(theta, rows, squares))
    found = optimize.minimize(
        objective,
        start,
        (rows, squares),
        "L-BFGS-B",
        jac=True,
        bounds=list(zip(middle - 5 * spread, middle + 5 * spread, strict=True)),
        options={"maxiter": 40, "ftol": 1e-4, "gtol": 1e-2},
    )
    return np.asarray(found.x)


def _shifted(theta: Array, place: int | slice, step: float) -> Array:
    moved = theta.copy()
    moved[place] += step
    return moved


def optimise(rows: Rows, squares: Array, like: Hyper | None) -> tuple[Hyper, Rows]:
    """Hyper-parameters (`like` as they are), and the rows with outliers moved to where they are just not.

    squares: of all configurations. The scale of the result is that of `like`, or 1.
    """
    among = squares[:, rows.seen[:, None], rows.seen]
    theta = like.thetas[0] if like else _optimise(rows, among, None)
    for _ in range(3):
        moved = _beyond(rows, among, theta)
        if not moved.any():
            break
        rows = replace(rows, y=rows.y - moved)
        theta = theta if like else _optimise(rows, among, theta)
    return like or _around(theta, rows, among), rows


def _beyond(rows: Rows, squares: Array, theta: Array) -> Array:
    """By how much each row is beyond OUTLIER standard deviations of what the other rows predict."""
    solved = _solve(rows, _covariance(squares, theta), theta)
    residual, limit = solved.inverse_y / solved.inverse, OUTLIER / np.sqrt(solved.inverse)
    beyond = residual - np.clip(residual, -limit, limit)
    return np.where(np.abs(beyond) > 0.05 * limit, beyond, 0.0)


def _around(theta: Array, rows: Rows, squares: Array) -> Hyper:
    """The mode and steps to either side of it, without those of next to no weight."""
    steps = [(place, sign * size) for place, size in _STEPS for sign in (1, -1)]
    thetas = [theta, *(_shifted(theta, place, step) for place, step in steps)]
    values = np.array([_value(one, rows, squares) for one in thetas])
    weights = np.exp(values.min() - values)
    kept = weights > 0.01 * weights.sum()
    kept[0] = True
    return Hyper(np.array(thetas)[kept], weights[kept] / weights[kept].sum(), 1.0)


def predict(hyper: Hyper, rows: Rows, squares: Array) -> Predicted:
    """The average over the hyper-parameters; the covariance holds what is between them, too."""
    each = [_predict(theta, rows, squares) for theta in hyper.thetas]
    means = np.array([one.mean for one in each])
    mean = hyper.weights @ means
    off = np.sqrt(hyper.weights)[:, None] * (means - mean)
    within = sum(w * one.covariance for w, one in zip(hyper.weights, each, strict=True))
    return Predicted(mean, within + off.T @ off, hyper.weights @ np.array([one.steps for one in each]))


def _predict(theta: Array, rows: Rows, squares: Array) -> Predicted:
    prior, seen = _covariance(squares, theta), len(rows.seen)
    cross = prior[:, rows.seen]
    solved = _solve(rows, cross[rows.seen], theta)
    covariance = prior - cross @ solved.precision[:seen, :seen] @ cross.T
    steps = _GAP**2 * rows.steps * solved.weights[seen + rows.seeds :]
    return Predicted(cross @ solved.weights[:seen], (covariance + covariance.T) / 2, steps)
