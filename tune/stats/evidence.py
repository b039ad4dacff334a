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
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from dps.tasks.metrics import get_metric_range
from tune.stats.resampling import AnyArray, FloatArray, bootstrap_scores, score_runs

CONFIDENCE_LEVEL = 0.95
BOOTSTRAP_RESAMPLES = 2000
BOOTSTRAP_SEED = 0
TEST_POWER = 0.8
MAX_SEEDS_NEEDED = 10_000


@dataclass(frozen=True)
class ScoreSummary:
    """Summary of one method's scores over seeds.

    std: ddof 1, None with one seed. collapsed: share of the runs that are no better than chance. n: seeds.
    """

    mean: float
    median: float
    std: float | None
    worst: float
    best: float
    collapsed: float
    n: int


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over seeds with its uncertainty, on the metric's own scale.

    interval: at `level`, over seeds and examples together; with one seed over the examples alone.
    standard_error: root of seeds_part² + examples_part².
    seeds_part, examples_part: standard errors from seeds (None with one seed) and from examples.
    df: degrees of freedom (Welch-Satterthwaite) of Student's t.
    std: over the seeds, ddof 1, None with one.
    seeds, examples: how many there are.
    """

    mean: float
    interval: tuple[float, float]
    standard_error: float
    seeds_part: float | None
    examples_part: float
    df: float
    std: float | None
    seeds: int
    examples: int
    level: float

    @property
    def seeds_known(self) -> bool:
        """Return whether the spread over seeds is known; with one seed it is not."""
        return self.seeds_part is not None

    @property
    def interval_over_seeds(self) -> tuple[float, float] | None:
        """Return Student's t interval of the mean over seeds, the examples held fixed; None with one seed."""
        return None if self.std is None else bound_mean(self.mean, self.std, self.seeds, self.level)


@dataclass(frozen=True)
class PairedDifference(MeanEstimate):
    """Mean paired difference over seeds, method minus baseline.

    p: two-sided p-value, from t = mean / standard_error.
    probability_better: that the true mean difference is above 0, under a flat prior.
    Both are None with one seed. They take the mean to follow Student's t, which is rough where a few runs
    collapsed; the interval keeps such a skew.
    """

    p: float | None
    probability_better: float | None

    @property
    def points(self) -> float:
        """Return the difference times 100."""
        return 100 * self.mean


def summarise_scores(scores: AnyArray, chance: float) -> ScoreSummary:
    """Summarise one method's scores (K,) over seeds. chance: see `dps.tasks.chance.chance_level`."""
    if len(scores) == 0:
        raise ValueError("scores: there must be one run, but got none")
    return ScoreSummary(
        mean=float(np.mean(scores)),
        median=float(np.median(scores)),
        std=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        worst=float(np.min(scores)),
        best=float(np.max(scores)),
        collapsed=float(np.mean(scores <= chance + 1e-9)),
        n=len(scores),
    )


def estimate_mean(
    metric: str,
    labels: AnyArray,
    predictions: AnyArray,
    seed: int,
    resamples: int = BOOTSTRAP_RESAMPLES,
    level: float = CONFIDENCE_LEVEL,
) -> MeanEstimate:
    """Estimate one method's mean score, with an interval over seeds and examples.

    labels: (n,), n >= 2. predictions: (K, n). The others: see `estimate_difference`.
    """
    _check_bootstrap_inputs(labels, resamples, level)
    scores = score_runs(metric, labels, predictions)
    resampled = bootstrap_scores(metric, labels, predictions, seed, resamples)
    estimate = _estimate_crossed_mean(scores, resampled, len(labels), seed, level)
    worst, best = get_metric_range(metric)
    low, high = estimate.interval
    return replace(estimate, interval=(max(low, worst), min(high, best)))


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
    if baseline.shape != method.shape:
        raise ValueError(f"method: must be shaped like the baseline {baseline.shape}, but got {method.shape}")
    runs, count = np.concatenate([baseline, method]), len(baseline)
    observed = score_runs(metric, labels, runs)
    bootstrapped = bootstrap_scores(metric, labels, runs, seed, resamples)
    # Equal predictions differ by 0, not by rounding.
    differs = (baseline != method).reshape(count, -1).any(axis=1)
    values = np.where(differs, observed[count:] - observed[:count], 0.0)
    resampled = np.where(differs, bootstrapped[:, count:] - bootstrapped[:, :count], 0.0)
    estimate = _estimate_crossed_mean(values, resampled, len(labels), seed, level)
    if not estimate.seeds_known:
        return PairedDifference(**vars(estimate), p=None, probability_better=None)
    t = _t_statistic(estimate.mean, estimate.standard_error)
    return PairedDifference(
        **vars(estimate),
        p=float(2 * stats.t.sf(abs(t), estimate.df)),
        probability_better=float(stats.t.cdf(t, estimate.df)),
    )


def bound_mean(mean: float, std: float, count: int, level: float = CONFIDENCE_LEVEL) -> tuple[float, float]:
    """Return Student's t interval of a mean over `count` seeds: mean ± t std / sqrt(count)."""
    half = float(stats.t.ppf(0.5 + level / 2, count - 1)) * std / math.sqrt(count)
    return mean - half, mean + half


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Return Holm-adjusted p-values in the order given.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return [float(value) for value in adjusted]


def estimate_seeds_needed(
    difference: PairedDifference,
    power: float = TEST_POWER,
    level: float = CONFIDENCE_LEVEL,
    comparisons: int = 1,
) -> int | None:
    """Estimate the total number of paired seeds needed to detect a true difference of the observed size.

    This is the smallest K at which |mean| reaches (t quantile of the test + t quantile of the power) standard
    errors, where the seeds' part shrinks with K and the examples' part is fixed.
    comparisons: how many tests are corrected for, at the strictest step of Holm.
    None with one seed, and if no number up to MAX_SEEDS_NEEDED is enough: the evaluation set is too small, or
    no difference was observed.
    """
    if difference.seeds_part is None or difference.mean == 0:
        return None
    seed_variance, by_examples = difference.seeds * difference.seeds_part**2, difference.examples_part**2

    def is_enough(seeds: int) -> bool:
        by_seeds = seed_variance / seeds
        df = _degrees_of_freedom(by_seeds, by_examples, seeds, difference.examples)
        quantiles = _standard_errors_needed(df, power, level, comparisons)
        return abs(difference.mean) >= quantiles * math.sqrt(by_seeds + by_examples)

    needed = 2 + bisect_left(range(2, MAX_SEEDS_NEEDED + 1), True, key=is_enough)
    return needed if needed <= MAX_SEEDS_NEEDED else None


def is_distinguishable(adjusted_p: float | None, interval: Sequence[float], level: float) -> bool:
    """Return whether a difference is significant: adjusted_p < 1 - level and 0 outside the interval."""
    low, high = interval
    return adjusted_p is not None and adjusted_p < round(1 - level, 9) and (low > 0 or high < 0)


def describe_difference(
    difference: PairedDifference,
    adjusted_p: float | None,
    baseline_name: str,
    units: str = "points",
    comparisons: int = 1,
) -> str:
    """Describe a difference in half a sentence: better, worse, or not distinguishable.

    adjusted_p: see `adjust_p_values`; None with one seed.
    units: the name of one hundredth of the metric, in the plural.
    comparisons: how many tests `adjusted_p` is corrected for.
    """
    if (adjusted_p is None) == difference.seeds_known:
        raise ValueError(
            f"adjusted_p: must be None with one seed and a number with more, but got {adjusted_p}"
        )
    low, high = difference.interval
    differs = is_distinguishable(adjusted_p, difference.interval, difference.level)
    worse = differs and difference.mean < 0
    shown = (-difference.mean, -high, -low) if worse else (difference.mean, low, high)
    size, lowest, highest = _format_hundredths(*shown)
    alone = "" if difference.seeds_known else " over the examples alone"
    within = f"{100 * difference.level:g} % interval{alone} {lowest} to {highest}"
    if adjusted_p is not None:
        corrected = " corrected" if comparisons > 1 or adjusted_p != difference.p else ""
        within += f", p {_format_p_value(adjusted_p, 1 - difference.level)}{corrected}"
    if differs:
        return f"{'worse' if worse else 'better'} than {baseline_name} by {size} {units} ({within})"
    budget = "at this budget" if difference.seeds_known else "with one seed"
    return (
        f"not distinguishable from {baseline_name} {budget} (difference {size} {units}, {within}); "
        f"{_describe_seeds_needed(difference, comparisons)}"
    )


def _describe_seeds_needed(difference: PairedDifference, comparisons: int) -> str:
    """Say how many more seeds would detect a difference of this size, or why none would."""
    if not difference.seeds_known:
        return "the spread over seeds is unknown"
    if difference.mean == 0:
        return f"{'all' if difference.standard_error == 0 else 'mean'} scores are the same"
    needed = estimate_seeds_needed(difference, level=difference.level, comparisons=comparisons)
    if needed is not None:
        more = max(1, needed - difference.seeds)
        return f"about {more:,} more {'seed' if more == 1 else 'seeds'} would detect such a difference"
    quantiles = _standard_errors_needed(difference.examples - 1, TEST_POWER, difference.level, comparisons)
    if abs(difference.mean) > quantiles * difference.examples_part:
        return f"not even {MAX_SEEDS_NEEDED:,} seeds would detect such a difference"
    return (
        "more seeds would not detect such a difference, "
        f"the evaluation set of {difference.examples:,} examples is too small"
    )


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
    mean = 0.0 if abs(mean) < 1e-12 else mean  # what rounding leaves of +1/277, +1/277, -2/277
    by_seeds, by_examples = _variance_parts(values, resampled, examples)
    standard_error = math.sqrt((by_seeds or 0.0) + by_examples)
    df = float(examples - 1)
    if by_seeds is not None:
        df = _degrees_of_freedom(by_seeds, by_examples, count, examples)
    draws = np.random.default_rng([seed, 1]).multinomial(count, np.full(count, 1 / count), len(resampled))
    bootstrap_means = (draws * resampled).sum(axis=1) / count
    return MeanEstimate(
        mean=mean,
        interval=_widened_interval(mean, bootstrap_means, standard_error, df, level),
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


def _degrees_of_freedom(by_seeds: float, by_examples: float, seeds: int, examples: int) -> float:
    """Return the Welch-Satterthwaite degrees of freedom; K - 1 without any variance.

    df = (by_seeds + by_examples)² / (by_seeds² / (K - 1) + by_examples² / (n - 1))
    """
    denominator = by_seeds**2 / (seeds - 1) + by_examples**2 / (examples - 1)
    return (by_seeds + by_examples) ** 2 / denominator if denominator > 0 else float(seeds - 1)


def _widened_interval(
    mean: float, bootstrap_means: FloatArray, standard_error: float, df: float, level: float
) -> tuple[float, float]:
    """Return the percentile interval of the bootstrap, widened as `estimate_difference` says."""
    tail = (1 - level) / 2
    low, high = (float(bound) for bound in np.quantile(bootstrap_means, [tail, 1 - tail]))
    spread = float(bootstrap_means.std(ddof=1))
    if spread == 0:
        return mean, mean
    factor = float(stats.t.isf(tail, df) / stats.norm.isf(tail)) * standard_error / spread
    return mean - factor * max(mean - low, 0.0), mean + factor * max(high - mean, 0.0)


def _t_statistic(mean: float, standard_error: float) -> float:
    """Return mean / standard_error; infinite without any variance, 0 if the mean is 0 as well."""
    if standard_error > 0:
        return mean / standard_error
    return math.copysign(math.inf, mean) if mean else 0.0


def _standard_errors_needed(df: float, power: float, level: float, comparisons: int) -> float:
    """Return how many standard errors a difference must exceed to be detected with this power."""
    return float(stats.t.isf((1 - level) / comparisons / 2, df) + stats.t.ppf(power, df))


def _format_hundredths(*values: float) -> list[str]:
    """Format values times 100 with 1 to 4 decimals, enough that no nonzero value reads 0."""
    scaled = [100 * value for value in values]
    decimals = next((d for d in (1, 2, 3) if all(round(v, d) or not v for v in scaled)), 4)
    return [f"{round(v, decimals) + 0.0:.{decimals}f}" for v in scaled]


def _format_p_value(p: float, threshold: float) -> str:
    """Format a p-value with two digits, or four where two would equal the threshold."""
    if p < 0.001:
        return "< 0.001"
    text = f"{p:.2g}"
    return f"{p:.4g}" if math.isclose(float(text), threshold) else text
