"""Is a method better than the baseline, and how sure is that?

Two things are uncertain: a run depends on its seed, and an evaluation set is a finite sample of
examples. Both are reported. Runs are paired (the k-th run of every method has the k-th seed: the same
head and data order) and all are scored on the same examples. Metrics are better when higher, on
their own scale.

The variance of a mean over K seeds and n examples, the two crossed, is
  seeds      var(scores over the seeds) / K, in which the interplay of seeds and examples is contained, plus
  examples   the covariance between two seeds' scores over resamples of the examples: what the choice
             of examples moves in all seeds alike.
Adding the whole bootstrap variance over the examples in place of that covariance would count the
interplay twice, and the joint bootstrap counts it three times (Owen, "The pigeonhole bootstrap",
Annals of Applied Statistics 2007). This is the model of readers and cases by Obuchowski and Rockette,
Communications in Statistics 1995, as in Hillis, Statistics in Medicine 2007. With few seeds the
observed spread can be small by luck, so it is never taken as less than the noise that the finite
evaluation set forces on each seed by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dps.tasks.chance import predict_constant
from dps.tasks.metrics import get_metric_range
from dps.tasks.task import Task
from tune.stats.distributions import bound_proportion, compute_t_tail, find_normal_bound, find_t_bound
from tune.stats.resampling import AnyArray, FloatArray, bootstrap_scores, score_runs

CONFIDENCE_LEVEL = 0.95
BOOTSTRAP_RESAMPLES = 2000
BOOTSTRAP_SEED = 0
MIN_SEEDS = 4  # with an interval: of fewer, or fewer pairs, the spread is as good as unknown
_ROUNDING = 1e-12


@dataclass(frozen=True)
class ScoreSummary:
    """Summary of one method's scores over seeds.

    std: ddof 1, None with one seed. n: seeds.
    not_above_chance: share of the runs that are no better than chance.
    collapsed: share of those that gave one answer to all examples.
    collapsed_at_most: upper end of the exact one-sided 95 % interval of the rate of such runs.
    """

    mean: float
    median: float
    std: float | None
    worst: float
    best: float
    not_above_chance: float
    collapsed: float
    collapsed_at_most: float
    n: int


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over seeds with its uncertainty, on the metric's own scale.

    interval: at `level`, over seeds and examples together, within the metric's range. None where it would say
        more than is known: with fewer than MIN_SEEDS seeds, and without any spread to go by.
    standard_error: root of seeds_part² + examples_part².
    seeds_part, examples_part: standard errors from seeds (None with one seed) and from examples.
    df: degrees of freedom (Welch-Satterthwaite) of Student's t.
    std: over the seeds, ddof 1, None with one.
    seeds, examples: how many there are.
    """

    mean: float
    interval: tuple[float, float] | None
    standard_error: float
    seeds_part: float | None
    examples_part: float
    df: float
    std: float | None
    seeds: int
    examples: int
    level: float


@dataclass(frozen=True)
class PairedDifference(MeanEstimate):
    """Mean paired difference over seeds, method minus baseline.

    p: two-sided p-value, from t = mean / standard_error.
    probability_better: that the true mean difference is above 0, under a flat prior.
    Both are None without an interval. They take the mean to follow Student's t, which is rough where a few
    runs collapsed; the interval keeps such a skew.
    """

    p: float | None
    probability_better: float | None

    @property
    def points(self) -> float:
        """Return the difference times 100."""
        return 100 * self.mean


def summarise_scores(scores: AnyArray, chance: float, collapsed: int) -> ScoreSummary:
    """Summarise one method's scores (K,) over seeds. chance: see `dps.tasks.chance.chance_level`. collapsed:
    how many of the runs gave one answer to all examples."""
    if len(scores) == 0:
        raise ValueError("scores: there must be one run, but got none")
    return ScoreSummary(
        mean=float(np.mean(scores)),
        median=float(np.median(scores)),
        std=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        worst=float(np.min(scores)),
        best=float(np.max(scores)),
        not_above_chance=float(np.mean(scores <= chance + 1e-9)),
        collapsed=collapsed / len(scores),
        collapsed_at_most=bound_rate(collapsed, len(scores)),
        n=len(scores),
    )


def bound_rate(count: int, total: int, level: float = CONFIDENCE_LEVEL) -> float:
    """Return the exact one-sided upper bound of a rate of which `count` of `total` draws were seen."""
    return bound_proportion(count, total, 1 - level)[1]


def fill_missing_runs(
    task: Task, labels: AnyArray, predicted: Mapping[int, AnyArray], seeds: Sequence[int]
) -> AnyArray:
    """Return the predictions of each seed's run, (seeds, n, ...); a missing run gets the constant."""
    constant = predict_constant(task, labels)
    repeated = np.full((len(labels), *np.shape(constant)), constant)
    return np.stack([predicted.get(seed, repeated) for seed in seeds])


def estimate_mean(
    metric: str,
    labels: AnyArray,
    predictions: AnyArray,
    seed: int,
    resamples: int = BOOTSTRAP_RESAMPLES,
    level: float = CONFIDENCE_LEVEL,
) -> MeanEstimate:
    """Estimate one method's mean score, with an interval over seeds and examples.

    labels: (n,), n >= 2. predictions: (K, n). The others: see `estimate_difference`. Where every run is right
    on every example, or on none, the interval of an accuracy is that of Clopper and Pearson, of n draws.
    """
    estimate = _estimate_scores(metric, labels, predictions, seed, resamples, level)
    return estimate if estimate.seeds >= MIN_SEEDS else replace(estimate, interval=None)


def estimate_model_score(
    metric: str,
    labels: AnyArray,
    predictions: AnyArray,
    seed: int,
    resamples: int = BOOTSTRAP_RESAMPLES,
    level: float = CONFIDENCE_LEVEL,
) -> MeanEstimate:
    """Estimate the score of one model with predictions (n,), with an interval over the examples alone.

    The others: see `estimate_mean`. It says nothing of models from other seeds.
    """
    return _estimate_scores(metric, labels, predictions[None], seed, resamples, level)


def _estimate_scores(
    metric: str, labels: AnyArray, predictions: AnyArray, seed: int, resamples: int, level: float
) -> MeanEstimate:
    _check_bootstrap_inputs(labels, resamples, level)
    scores = score_runs(metric, labels, predictions)
    resampled = bootstrap_scores(metric, labels, predictions, seed, resamples)
    estimate = _estimate_crossed_mean(scores, resampled, len(labels), seed, level)
    if metric == "accuracy" and estimate.mean in (0, 1):
        right = len(labels) * int(estimate.mean)
        return replace(estimate, interval=bound_proportion(right, len(labels), (1 - level) / 2))
    return _clip_interval(estimate, *get_metric_range(metric))


def _clip_interval(estimate: MeanEstimate, lowest: float, highest: float) -> MeanEstimate:
    if estimate.interval is None:
        return estimate
    low, high = max(estimate.interval[0], lowest), min(estimate.interval[1], highest)
    return replace(estimate, interval=(low, high) if low < high else None)


def estimate_difference(
    metric: str,
    labels: AnyArray,
    baseline: AnyArray,
    method: AnyArray,
    seed: int,
    resamples: int = BOOTSTRAP_RESAMPLES,
    level: float = CONFIDENCE_LEVEL,
) -> PairedDifference:
    """Estimate the mean paired difference between method and baseline.

    labels: (n,), n >= 2; (n, labels) with several labels an example.
    baseline, method: predictions (K, n) or (K, n, labels), row k of both with the same seed.
    seed: of the bootstrap; the same seed gives the same result.
    resamples: of the bootstrap, >= 100.
    level: of the interval, in (0, 1).

    The examples of a resample are the same for all seeds and both methods. The interval is that of the
    percentile bootstrap over seeds and examples together, widened about the observed mean by
    (quantile of t at df / normal quantile) * (standard error / bootstrap standard error): the correction
    for small samples in the spirit of Hesterberg, "What Teachers Should Know About the Bootstrap",
    The American Statistician 2015. Raises ValueError if shapes or values do not fit.
    """
    _check_bootstrap_inputs(labels, resamples, level)
    values, resampled = resample_differences(metric, labels, baseline, method, seed, resamples)
    lowest, highest = get_metric_range(metric)
    crossed = _estimate_crossed_mean(values, resampled, len(labels), seed, level)
    estimate = _clip_interval(crossed, lowest - highest, highest - lowest)
    if estimate.interval is None or len(values) < MIN_SEEDS:
        return PairedDifference(**vars(estimate) | {"interval": None}, p=None, probability_better=None)
    t = estimate.mean / estimate.standard_error
    return PairedDifference(
        **vars(estimate),
        p=2 * compute_t_tail(abs(t), estimate.df),
        probability_better=compute_t_tail(-t, estimate.df),
    )


def resample_differences(
    metric: str, labels: AnyArray, baseline: AnyArray, method: AnyArray, seed: int, resamples: int
) -> tuple[FloatArray, FloatArray]:
    """Return the difference of each pair of runs, (K,), and the same on resamples of the examples, (B, K).
    See `estimate_difference`."""
    if baseline.shape != method.shape:
        raise ValueError(f"method: must be shaped like the baseline {baseline.shape}, but got {method.shape}")
    runs, count = np.concatenate([baseline, method]), len(baseline)
    observed = score_runs(metric, labels, runs)
    bootstrapped = bootstrap_scores(metric, labels, runs, seed, resamples)
    # Equal predictions differ by 0, not by rounding.
    differs = (baseline != method).reshape(count, -1).any(axis=1)
    values = np.where(differs, observed[count:] - observed[:count], 0.0)
    return values, np.where(differs, bootstrapped[:, count:] - bootstrapped[:, :count], 0.0)


def draw_means(resampled: FloatArray, seed: int) -> FloatArray:
    """Draw the mean over seeds of values (B, K) on resamples of examples, with resampled seeds too: (B,)."""
    count = resampled.shape[1]
    draws = np.random.default_rng([seed, 1]).multinomial(count, np.full(count, 1 / count), len(resampled))
    means: FloatArray = (draws * resampled).sum(axis=1) / count
    return means


def _check_bootstrap_inputs(labels: AnyArray, resamples: int, level: float) -> None:
    if len(labels) < 2:
        raise ValueError(f"labels: there must be at least 2 examples, but got {len(labels)}")
    if resamples < 100:
        raise ValueError(f"resamples: must be at least 100, but got {resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level: must be in (0, 1), but got {level:g}")


def _estimate_crossed_mean(
    values: FloatArray, resampled: FloatArray, examples: int, seed: int, level: float
) -> MeanEstimate:
    """Estimate the mean of values (K,) over seeds. resampled: (B, K), the same on resamples of examples."""
    count, mean = len(values), float(values.mean())
    mean = 0.0 if abs(mean) < _ROUNDING else mean  # what rounding leaves of +1/277, +1/277, -2/277
    by_seeds, by_examples = _variance_parts(values, resampled, examples)
    standard_error = math.sqrt((by_seeds or 0.0) + by_examples)
    df = float(examples - 1)
    if by_seeds is not None:
        df = compute_degrees_of_freedom(by_seeds, by_examples, count, examples)
    varies = count == 1 or max(np.ptp(values), np.ptp(resampled, axis=1).max()) > _ROUNDING
    interval = (
        widen_interval(mean, draw_means(resampled, seed), standard_error, df, level) if varies else None
    )
    return MeanEstimate(
        mean=mean,
        interval=interval,
        standard_error=standard_error,
        seeds_part=None if by_seeds is None else math.sqrt(by_seeds),
        examples_part=math.sqrt(by_examples),
        df=df,
        std=float(values.std(ddof=1)) if count > 1 else None,
        seeds=count,
        examples=examples,
        level=level,
    )


def _variance_parts(values: FloatArray, resampled: FloatArray, examples: int) -> tuple[float | None, float]:
    """Return the variance of the mean due to seeds (None with one) and due to examples.

    C is the covariance (K, K) of the resampled scores, times n / (n - 1). Due to examples: its mean
    off-diagonal entry, at least 0. Due to seeds: 1 / K of the larger of var(values) and the mean diagonal
    entry of C less the mean off-diagonal one.
    """
    count = len(values)
    covariance = np.atleast_2d(np.cov(resampled, rowvar=False)) * examples / (examples - 1)
    own_variance = float(np.trace(covariance)) / count
    if count == 1:
        return None, own_variance
    shared = max(float(covariance.sum()) - count * own_variance, 0.0) / (count * (count - 1))
    return max(float(values.var(ddof=1)), own_variance - shared) / count, shared


def compute_degrees_of_freedom(by_seeds: float, by_examples: float, seeds: int, examples: int) -> float:
    """Return the Welch-Satterthwaite degrees of freedom; K - 1 without any variance.

    df = (by_seeds + by_examples)² / (by_seeds² / (K - 1) + by_examples² / (n - 1))
    """
    denominator = by_seeds**2 / (seeds - 1) + by_examples**2 / (examples - 1)
    return (by_seeds + by_examples) ** 2 / denominator if denominator > 0 else float(seeds - 1)


def widen_interval(
    mean: float, bootstrap_means: FloatArray, standard_error: float, df: float, level: float
) -> tuple[float, float] | None:
    """Return the percentile interval of the bootstrap, widened as `estimate_difference` says; None without
    any spread."""
    tail = (1 - level) / 2
    low, high = (float(bound) for bound in np.quantile(bootstrap_means, [tail, 1 - tail]))
    spread = float(bootstrap_means.std(ddof=1))
    if spread <= _ROUNDING:
        return None
    factor = find_t_bound(tail, df) / find_normal_bound(tail) * standard_error / spread
    return mean - factor * max(mean - low, 0.0), mean + factor * max(high - mean, 0.0)
