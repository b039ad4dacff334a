"""What may be said of differences: corrected p-values, better or worse or neither, and how many more seeds.

Whoever is told "not distinguishable" may go on with more seeds and look again, and each further look is one
more chance of a false alarm. So the looks share the level: the first one is tested at 4 / 5 of it, each
further one at half of what is left, in the manner of Lan and DeMets, "Discrete Sequential Boundaries for
Clinical Trials", Biometrika 1983. Pocock's constant levels do not hold it here, because how many seeds are
added depends on what was seen (`benchmarks/calibration_of_claims.py` measures it).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy import special

from dps.wording import format_count, format_hundredths
from tune.stats.distributions import find_t_bound
from tune.stats.evidence import CONFIDENCE_LEVEL, MIN_SEEDS, PairedDifference, compute_degrees_of_freedom

TEST_POWER = 0.8
MAX_SEEDS_NEEDED = 1000
FIRST_LOOK_SHARE = 0.8  # of the level


def compute_look_share(look: int) -> float:
    """Return the share of the level at which a look is tested; of all looks together they come to 1.

    look: 1 for the first verdict, 2 for the one after more seeds were added, and so on.
    """
    return FIRST_LOOK_SHARE if look == 1 else (1 - FIRST_LOOK_SHARE) / 2 ** (look - 1)


def adjust_p_values(p_values: Sequence[float], look: int = 1, dropped: int = 0) -> list[float]:
    """Return p-values corrected for their number (Holm) and for the look, in the order given.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 1979. look: see `compute_look_share`. dropped: further tests that were seen and then left out;
    they count as those with the largest p-values.
    """
    p = np.asarray(p_values, dtype=np.float64) / compute_look_share(look)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(
        np.maximum.accumulate(p[order] * np.arange(len(p) + dropped, dropped, -1)), 1
    )
    return [float(value) for value in adjusted]


def estimate_more_seeds(
    difference: PairedDifference, comparisons: int = 1, look: int = 1
) -> tuple[int, int | None] | None:
    """Estimate between which numbers of further paired seeds a true difference of such a size would be told.

    The observed size is itself uncertain: the numbers are those for the sizes at which a t as large as the
    observed one would come up in 3 of 4 and in 1 of 4 cases (noncentral t), the middle half of what is
    compatible with it. A size is told with TEST_POWER at the level of the next look, where the seeds' part of
    the standard error shrinks with their number and the examples' part is fixed.

    comparisons: how many tests are corrected for, at the strictest step of Holm. look: of this verdict.
    None if not even the larger size would be told with MAX_SEEDS_NEEDED; (number, None) if the smaller one
    would not, or None without p.
    """
    if difference.p is None:
        return None
    t, error = abs(difference.mean) / difference.standard_error, difference.standard_error
    large, small = (float(special.nctdtrinc(difference.df, p, t)) * error for p in (0.25, 0.75))
    fewest, most = (_count_seeds_needed(difference, size, comparisons, look + 1) for size in (large, small))
    if fewest is None:
        return None
    return max(1, fewest - difference.seeds), None if most is None else max(1, most - difference.seeds)


def _count_seeds_needed(difference: PairedDifference, size: float, comparisons: int, look: int) -> int | None:
    """Return the smallest number of seeds that tells a difference of this size; None above
    MAX_SEEDS_NEEDED."""
    seed_variance = difference.seeds * (difference.seeds_part or 0.0) ** 2
    by_examples, level = difference.examples_part**2, (1 - difference.level) * compute_look_share(look)

    def is_enough(seeds: int) -> bool:
        by_seeds = seed_variance / seeds
        df = compute_degrees_of_freedom(by_seeds, by_examples, seeds, difference.examples)
        errors = find_t_bound(level / comparisons / 2, df) + find_t_bound(1 - TEST_POWER, df)
        return size >= errors * math.sqrt(by_seeds + by_examples)

    needed = MIN_SEEDS + bisect_left(range(MIN_SEEDS, MAX_SEEDS_NEEDED + 1), True, key=is_enough)
    return needed if needed <= MAX_SEEDS_NEEDED else None


def find_detectable_difference(pairs: int, comparisons: int = 1) -> float | None:
    """Return the smallest true difference that a first look at paired seeds tells with TEST_POWER, in
    standard deviations of the differences between pairs; None with fewer than MIN_SEEDS.

    comparisons: how many tests are corrected for, at the strictest step of Holm.
    """
    if pairs < MIN_SEEDS:
        return None
    level = (1 - CONFIDENCE_LEVEL) * compute_look_share(1)
    bound = find_t_bound(level / comparisons / 2, pairs - 1)
    return float(special.nctdtrinc(pairs - 1, 1 - TEST_POWER, bound)) / math.sqrt(pairs)


def is_distinguishable(adjusted_p: float | None, interval: Sequence[float] | None, level: float) -> bool:
    """Return whether a difference is significant: adjusted_p < 1 - level and 0 outside the interval."""
    if adjusted_p is None or interval is None:
        return False
    low, high = interval
    return adjusted_p < round(1 - level, 9) and (low > 0 or high < 0)


def describe_difference(
    difference: PairedDifference,
    adjusted_p: float | None,
    baseline_name: str,
    comparisons: int = 1,
    look: int = 1,
) -> str:
    """Describe a difference in half a sentence: better, worse, or not distinguishable.

    adjusted_p: see `adjust_p_values`, None where the difference has no p. comparisons: how many tests it is
    corrected for. look: see `compute_look_share`.
    """
    if (adjusted_p is None) != (difference.p is None):
        raise ValueError(f"adjusted_p: must be None where p is, but got {adjusted_p} for {difference.p}")
    if difference.interval is None or adjusted_p is None:
        (size,) = format_hundredths(difference.mean)
        return (
            f"not distinguishable from {baseline_name} (difference {size} points; "
            f"{_explain_missing_interval(difference)})"
        )
    low, high = difference.interval
    differs = is_distinguishable(adjusted_p, difference.interval, difference.level)
    worse = differs and difference.mean < 0
    shown = (-difference.mean, -high, -low) if worse else (difference.mean, low, high)
    size, lowest, highest = format_hundredths(*shown)
    within = (
        f"{100 * difference.level:g} % interval {lowest} to {highest}, "
        f"p {_format_p_value(adjusted_p, 1 - difference.level)}{', second look' if look == 2 else ''}"
        f"{f', look {look}' if look > 2 else ''}"
    )
    over = f"over {difference.seeds} shared seeds"
    if differs:
        return f"{'worse' if worse else 'better'} than {baseline_name} by {size} points {over} ({within})"
    return (
        f"not distinguishable from {baseline_name} {over} (difference {size} points, {within}); "
        f"{describe_more_seeds(estimate_more_seeds(difference, comparisons, look), difference.examples)}"
    )


def serialise_difference(
    difference: PairedDifference, adjusted_p: float | None, comparisons: int = 1, look: int = 1
) -> dict[str, Any]:
    """Return a difference as a dict for JSON. The others: see `describe_difference`."""
    return {
        **asdict(difference),
        "points": difference.points,
        "adjusted_p": adjusted_p,
        "look": look,
        "more_seeds": estimate_more_seeds(difference, comparisons, look),
    }


def _explain_missing_interval(difference: PairedDifference) -> str:
    """Say why a difference has no interval."""
    pairs = format_count(difference.seeds, "pair")
    return f"{pairs}: too few to tell" if difference.seeds < MIN_SEEDS else f"the same in all {pairs}"


def describe_more_seeds(more: tuple[int, int | None] | None, examples: int) -> str:
    """Say how many more seeds would detect a difference of such a size. more: see `estimate_more_seeds`."""
    if more is None:
        return (
            f"more seeds would hardly help: even {MAX_SEEDS_NEEDED:,} would be too few to detect such a "
            f"difference on the {examples:,} examples of the evaluation set"
        )
    fewest, most = _round_count(more[0]), None if more[1] is None else _round_count(more[1])
    if most is None:
        count = f"at least {format_count(fewest, 'more seed')}"
    elif fewest == most:
        count = f"about {format_count(fewest, 'more seed')}"
    else:
        count = f"between {fewest:,} and {most:,} more seeds"
    return f"{count} would be needed to detect such a difference"


def _round_count(count: int) -> int:
    """Round to two digits: there is no more to it."""
    return int(float(f"{count:.1e}"))


def _format_p_value(p: float, threshold: float) -> str:
    """Format a p-value with two digits, or four where two would equal the threshold."""
    if p < 0.001:
        return "< 0.001"
    text = f"{p:.2g}"
    return f"{p:.4g}" if math.isclose(float(text), threshold) else text
