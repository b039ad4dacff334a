"""Gaussian process with effects of seeds: the model of scores behind `tune.stats.surrogate`.

Scores are in units of their spread, less a centre. A run of configuration c with seed s scores

    score(1) = f_c + b_s + e                                   at full length,
    score(r) = score(r') + gap_r + w_r,  r < r'                at a share r of its steps, r' the next rung,

    f   ~ N(0, k)                        true scores: `_prior_covariance`
    b_s ~ N(0, seed²)                    effect of a seed, shared by all configurations
    e   ~ N(0, noise²)                   noise of one run
    gap_r ~ N(0, _GAP_SD² log(r' / r))   expected change between two rungs, shared by all runs
    w_r ~ N(0, drift² log(r' / r))       the run's own change between two rungs

`ObservationRows` holds this as linear rows, theta the logarithms of the hyper-parameters: smooth, own, noise,
seed, drift, and one length for each column of x.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006; its equations as "GPML (n)".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.linalg import solve_triangular

Float64Array = NDArray[np.float64]

OUTLIER_DEVIATIONS = 4.0  # standard deviations of a leave-one-out prediction
COMMON_HYPERPARAMETER_COUNT = 5  # hyper-parameters before the lengths

# Log-normal priors: (median, standard deviation of the logarithm).
_SMOOTH_PRIOR = 0.3, 1.2
_OWN_PRIOR = 0.2, 0.7
_NOISE_PRIOR = 0.6, 1.0
_SEED_PRIOR = 0.6, 1.0
_DRIFT_PRIOR = 0.5, 1.0
_LENGTH_PRIOR = 0.35, 0.7  # the median times the root of the number of columns
_CONSTANT_SD, _GAP_SD = 2.0, 3.0  # standard deviations of normal priors
_START_SHIFTS = ((0.0, 0.0), (math.log(3), math.log(0.5)), (math.log(0.3), math.log(0.5)))  # length, noise
_LENGTH_SLICE = slice(COMMON_HYPERPARAMETER_COUNT, None)
_MODE_STEPS = (_LENGTH_SLICE, 1.0), (0, 0.7), (1, 1.0), (2, 0.2)  # from the mode: lengths, smooth, own, noise


@dataclass(frozen=True)
class ObservationRows:
    """Observations as a linear model: y = design @ z + error, z = (f, b, gaps).

    A row is the last score of a run (is_last 1.0) or the difference between two successive rungs (0.0).

    y: (rows,) scores in units of their spread, the last ones less a centre.
    design: (rows, configurations + seeds + R).
    is_last: (rows,), adds noise² to the variance of the error.
    drift_variance: (rows,) sum of log(r' / r) over the rungs that the row spans, adds drift² times itself.
    configurations: rows of x that were observed.
    seed_count: number of seeds.
    gap_lengths: (R,) log(r' / r) of successive shares.
    """

    y: Float64Array
    design: Float64Array
    is_last: Float64Array
    drift_variance: Float64Array
    configurations: NDArray[np.int64]
    seed_count: int
    gap_lengths: Float64Array


@dataclass(frozen=True)
class Hyperparameters:
    """Hyper-parameters, averaged over several values of theta.

    thetas: (k, 5 + d), the mode first.
    weights: (k,), with sum 1.
    scale: unit of y, in the metric's scale.
    """

    thetas: Float64Array
    weights: Float64Array
    scale: float


@dataclass(frozen=True)
class GaussianPrediction:
    """Posterior of f and of the gaps. mean: (n,); covariance: (n, n); gap_steps: (R,) means of the gaps."""

    mean: Float64Array
    covariance: Float64Array
    gap_steps: Float64Array


def compute_squared_differences(x: Float64Array) -> Float64Array:
    """Return squared differences of the rows of x by column: (d, n, n)."""
    columns = x.T
    squares: Float64Array = (columns[:, :, None] - columns[:, None, :]) ** 2
    return squares


def compute_correlations(squares: Float64Array, theta: Float64Array) -> Float64Array:
    """Return the Matérn-5/2 correlations of the smooth part of f: (n, n).

        M(r) = (1 + sqrt(5) r + 5 r² / 3) exp(-sqrt(5) r),  r² = sum_j (x_j - x'_j)² / length_j²

    Source: GPML (4.17).
    """
    return _matern(squares, theta)[0]


def _matern(squares: Float64Array, theta: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the Matérn-5/2 correlations (n, n) and the factors of their derivatives by log length: slope
    (n, n) and scaled (d, n, n), with dM / d log length_j = slope * scaled_j."""
    scaled = squares * np.exp(-2 * theta[_LENGTH_SLICE])[:, None, None]
    root = np.sqrt(5 * scaled.sum(axis=0))
    decay = np.exp(-root)
    return (1 + root + root**2 / 3) * decay, (5 / 3) * (1 + root) * decay, scaled


def _prior_covariance(squares: Float64Array, theta: Float64Array) -> Float64Array:
    """Return the prior covariance of f, including its constant: (n, n).

        k(x, x') = smooth² M(r) + own² [x = x'] + _CONSTANT_SD²

    The smooth part borrows from neighbours, the small second part is a configuration's own.
    """
    smooth, own = np.exp(2 * theta[:2])
    correlation = compute_correlations(squares, theta)
    prior: Float64Array = smooth * correlation + own * np.eye(len(correlation)) + _CONSTANT_SD**2
    return prior


def _hyperparameter_priors(columns: int) -> tuple[Float64Array, Float64Array]:
    """Return the prior means and standard deviations of theta: (5 + d,) each."""
    length = _LENGTH_PRIOR[0] * math.sqrt(max(columns, 1)), _LENGTH_PRIOR[1]
    pairs = np.array(
        [_SMOOTH_PRIOR, _OWN_PRIOR, _NOISE_PRIOR, _SEED_PRIOR, _DRIFT_PRIOR, *[length] * columns]
    )
    return np.log(pairs[:, 0]), pairs[:, 1]


def make_default_theta(columns: int) -> Float64Array:
    """Return the prior median of theta: (5 + d,)."""
    return _hyperparameter_priors(columns)[0]


def _negative_log_prior(theta: Float64Array) -> tuple[float, Float64Array]:
    """Return the negative log prior of theta, up to a constant, and its gradient."""
    mean, spread = _hyperparameter_priors(len(theta) - COMMON_HYPERPARAMETER_COUNT)
    deviation = (theta - mean) / spread
    return 0.5 * float(deviation @ deviation), deviation / spread


@dataclass(frozen=True)
class _LinearSolution:
    """Linear algebra at one theta, with V = Cov(y) and Z = design.

    negative_log_likelihood: -log p(y | theta).
    design_weights: Z' V⁻¹ y.
    precision: Z' V⁻¹ Z.
    inverse_times_y: V⁻¹ y.
    inverse_diagonal: diagonal of V⁻¹.
    """

    negative_log_likelihood: float
    design_weights: Float64Array
    precision: Float64Array
    inverse_times_y: Float64Array
    inverse_diagonal: Float64Array


def _solve_linear_model(
    rows: ObservationRows, prior_covariance: Float64Array, theta: Float64Array
) -> _LinearSolution:
    """Solve the linear model in z, which has fewer entries than there are rows.

        V = Cov(y) = Z P Z' + E,  P = diag(K, seed² I, _GAP_SD² diag(gap_lengths)),
                                  E = diag(is_last noise² + drift_variance drift²)
        -log p(y | theta) = (y' V⁻¹ y + log|V| + rows log 2π) / 2
        V⁻¹ = E⁻¹ - E⁻¹ Z L (I + L' Z' E⁻¹ Z L)⁻¹ L' Z' E⁻¹,  P = L L'   (Woodbury)
        log|V| = log|E| + log|I + L' Z' E⁻¹ Z L|

    prior_covariance: K, of f of the observed configurations.

    Source: GPML (5.8), (A.9), (A.10).
    """
    noise, seed, drift = np.exp(2 * theta[2:COMMON_HYPERPARAMETER_COUNT])
    count, latent = len(rows.configurations), rows.design.shape[1]
    prior = np.zeros((latent, latent))
    prior[:count, :count] = prior_covariance
    effects = np.concatenate([np.full(rows.seed_count, seed), _GAP_SD**2 * rows.gap_lengths])
    prior[range(count, latent), range(count, latent)] = effects
    error = rows.is_last * noise + rows.drift_variance * drift
    scaled = rows.design / error[:, None]
    information = rows.design.T @ scaled
    root = np.linalg.cholesky(prior)
    inner = np.linalg.cholesky(np.eye(latent) + root.T @ information @ root)
    half = solve_triangular(inner, root.T, lower=True, check_finite=False)
    reached, half_information = rows.design @ half.T, half @ information
    inverse_times_y = (rows.y - reached @ (half @ (scaled.T @ rows.y))) / error
    determinant = np.log(error).sum() + 2 * np.log(np.diag(inner)).sum()
    total = rows.y @ inverse_times_y + determinant + len(rows.y) * math.log(2 * math.pi)
    return _LinearSolution(
        negative_log_likelihood=0.5 * float(total),
        design_weights=rows.design.T @ inverse_times_y,
        precision=information - half_information.T @ half_information,
        inverse_times_y=inverse_times_y,
        inverse_diagonal=1 / error - (reached**2).sum(axis=1) / error**2,
    )


def compute_negative_log_posterior(
    theta: Float64Array, rows: ObservationRows, squares: Float64Array
) -> tuple[float, Float64Array]:
    """Return the negative log posterior of theta, up to a constant, and its gradient.

        -log p(theta | y) = -log p(y | theta) - log p(theta) + constant
        d(-log p(y | theta)) / d theta_j = tr((V⁻¹ - V⁻¹ y y' V⁻¹) dV / d theta_j) / 2

    squares: (d, n, n) of the observed configurations.

    Source: GPML (5.9).
    """
    smooth, own, noise, seed, drift = np.exp(2 * theta[:COMMON_HYPERPARAMETER_COUNT])
    correlation, slope, scaled = _matern(squares, theta)
    count = len(rows.configurations)
    solved = _solve_linear_model(rows, smooth * correlation + own * np.eye(count) + _CONSTANT_SD**2, theta)
    change = solved.precision - np.outer(solved.design_weights, solved.design_weights)
    change_of_f, change_of_effects = change[:count, :count], np.diag(change)
    change_of_error = solved.inverse_diagonal - solved.inverse_times_y**2
    gradient = np.empty_like(theta)
    gradient[0] = smooth * (change_of_f * correlation).sum()
    gradient[1] = own * change_of_effects[:count].sum()
    gradient[2] = noise * (change_of_error * rows.is_last).sum()
    gradient[3] = seed * change_of_effects[count : count + rows.seed_count].sum()
    gradient[4] = drift * (change_of_error * rows.drift_variance).sum()
    gradient[_LENGTH_SLICE] = 0.5 * smooth * np.tensordot(scaled, change_of_f * slope, axes=2)
    penalty, penalty_gradient = _negative_log_prior(theta)
    return solved.negative_log_likelihood + penalty, gradient + penalty_gradient


def _negative_log_posterior(theta: Float64Array, rows: ObservationRows, squares: Float64Array) -> float:
    """Return the negative log posterior of theta without its gradient."""
    solved = _solve_linear_model(rows, _prior_covariance(squares, theta), theta)
    return solved.negative_log_likelihood + _negative_log_prior(theta)[0]


def _find_mode(rows: ObservationRows, squares: Float64Array, start: Float64Array | None) -> Float64Array:
    """Return the theta of the highest posterior; without a start, from the best of _START_SHIFTS."""
    middle, spread = _hyperparameter_priors(len(squares))
    if start is None:
        starts = [
            _shift_theta(_shift_theta(middle, _LENGTH_SLICE, length), 2, noise)
            for length, noise in _START_SHIFTS
        ]
        start = min(starts, key=lambda theta: _negative_log_posterior(theta, rows, squares))
    result = optimize.minimize(
        compute_negative_log_posterior,
        start,
        (rows, squares),
        "L-BFGS-B",
        jac=True,
        bounds=list(zip(middle - 5 * spread, middle + 5 * spread, strict=True)),
        options={"maxiter": 40, "ftol": 1e-4, "gtol": 1e-2},
    )
    return np.asarray(result.x)


def _shift_theta(theta: Float64Array, index: int | slice, step: float) -> Float64Array:
    shifted = theta.copy()
    shifted[index] += step
    return shifted


def fit_hyperparameters(
    rows: ObservationRows, squares: Float64Array, fitted: Hyperparameters | None
) -> tuple[Hyperparameters, ObservationRows]:
    """Fit the hyper-parameters (or take those given) and pull outliers in to OUTLIER_DEVIATIONS.

    squares: (d, n, n) of all configurations.
    fitted: hyper-parameters to take over. The scale of the result is theirs, or 1.
    """
    observed = squares[:, rows.configurations[:, None], rows.configurations]
    theta = fitted.thetas[0] if fitted else _find_mode(rows, observed, None)
    for _ in range(3):
        excess = _outlier_excess(rows, observed, theta)
        if not excess.any():
            break
        rows = replace(rows, y=rows.y - excess)
        theta = theta if fitted else _find_mode(rows, observed, theta)
    return fitted or _weigh_around_mode(theta, rows, observed), rows


def _outlier_excess(rows: ObservationRows, squares: Float64Array, theta: Float64Array) -> Float64Array:
    """Return how far each row lies beyond OUTLIER_DEVIATIONS of its leave-one-out prediction.

        y_i - mean_i = [V⁻¹ y]_i / [V⁻¹]_ii,  variance_i = 1 / [V⁻¹]_ii

    An excess of less than 5 % of the limit counts as none. Source: GPML (5.12).
    """
    solved = _solve_linear_model(rows, _prior_covariance(squares, theta), theta)
    residual = solved.inverse_times_y / solved.inverse_diagonal
    limit = OUTLIER_DEVIATIONS / np.sqrt(solved.inverse_diagonal)
    excess = residual - np.clip(residual, -limit, limit)
    return np.where(np.abs(excess) > 0.05 * limit, excess, 0.0)


def _weigh_around_mode(theta: Float64Array, rows: ObservationRows, squares: Float64Array) -> Hyperparameters:
    """Return the mode and its neighbours at _MODE_STEPS, weighted by their posterior p(theta | y); those of
    less than 1 % are dropped."""
    steps = [(index, sign * size) for index, size in _MODE_STEPS for sign in (1, -1)]
    thetas = [theta, *(_shift_theta(theta, index, step) for index, step in steps)]
    values = np.array([_negative_log_posterior(shifted, rows, squares) for shifted in thetas])
    weights = np.exp(values.min() - values)
    kept = weights > 0.01 * weights.sum()
    kept[0] = True
    return Hyperparameters(np.array(thetas)[kept], weights[kept] / weights[kept].sum(), 1.0)


def predict_true_scores(
    hyper: Hyperparameters, rows: ObservationRows, squares: Float64Array
) -> GaussianPrediction:
    """Average the prediction over the hyper-parameters; the covariance includes the spread between them.

        mean = sum_k w_k m_k,  covariance = sum_k w_k (C_k + (m_k - mean)(m_k - mean)')

    with m_k and C_k the posterior mean and covariance of f at theta_k.
    """
    predictions = [_predict_at_theta(theta, rows, squares) for theta in hyper.thetas]
    means = np.array([prediction.mean for prediction in predictions])
    mean = hyper.weights @ means
    deviations = np.sqrt(hyper.weights)[:, None] * (means - mean)
    within = sum(w * each.covariance for w, each in zip(hyper.weights, predictions, strict=True))
    gap_steps = hyper.weights @ np.array([prediction.gap_steps for prediction in predictions])
    return GaussianPrediction(mean, within + deviations.T @ deviations, gap_steps)


def _predict_at_theta(
    theta: Float64Array, rows: ObservationRows, squares: Float64Array
) -> GaussianPrediction:
    """Return the posterior of f and of the gaps at one theta.

        mean = C Z' V⁻¹ y,  covariance = k - C (Z' V⁻¹ Z) C',  gap = _GAP_SD² gap_lengths Z' V⁻¹ y

    with k the prior covariance of f and C its columns of the observed configurations; of Z its columns of f
    (of the gaps in the last). Source: GPML (2.23), (2.24).
    """
    prior, count = _prior_covariance(squares, theta), len(rows.configurations)
    cross = prior[:, rows.configurations]
    solved = _solve_linear_model(rows, cross[rows.configurations], theta)
    covariance = prior - cross @ solved.precision[:count, :count] @ cross.T
    gap_steps = _GAP_SD**2 * rows.gap_lengths * solved.design_weights[count + rows.seed_count :]
    return GaussianPrediction(
        cross @ solved.design_weights[:count], (covariance + covariance.T) / 2, gap_steps
    )
