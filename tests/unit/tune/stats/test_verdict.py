"""What may be said of a difference, and how many more seeds would tell it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.unit.tune.stats.test_evidence import RTE, replay
from tune.stats.evidence import PairedDifference, estimate_difference
from tune.stats.verdict import (
    adjust_p_values,
    compute_look_share,
    describe_difference,
    estimate_more_seeds,
    find_detectable_difference,
)


def make_difference(mean: float, **changes: Any) -> PairedDifference:
    """A difference whose standard error is 1 point, nearly all of it from 5 seeds."""
    base = PairedDifference(
        mean=mean, interval=(mean - 0.02, mean + 0.02), standard_error=0.01, seeds_part=0.01,
        examples_part=0.0, df=4.0, std=0.0224, seeds=5, examples=RTE, level=0.95,
        p=0.3, probability_better=0.85,
    )  # fmt: skip
    return replace(base, **changes)


def test_holm_by_hand_at_the_first_look() -> None:
    assert adjust_p_values([0.008, 0.032, 0.024, 0.004]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_p_values([0.6, 0.5]) == [1.0, 1.0]
    assert adjust_p_values([]) == []


def test_all_looks_together_have_the_level() -> None:
    shares = [compute_look_share(look) for look in range(1, 60)]
    assert shares[:3] == pytest.approx([0.8, 0.1, 0.05])
    assert sum(shares) == pytest.approx(1)
    assert adjust_p_values([0.004], look=2) == pytest.approx([0.04])


def test_whoever_follows_the_advice_is_hardly_ever_told_a_difference_that_is_none() -> None:
    """Five seeds, then as many more as were advised (200 in all at most), two times; the first look's false
    alarms are those of a t-test at 4 %, the later ones add less than the 1 % that is left of 5."""
    rng, told, replays = np.random.default_rng(5), [0, 0, 0], 1000
    for _ in range(replays):
        scores = rng.normal(size=5)
        for look in (1, 2, 3):
            error = scores.std(ddof=1) / math.sqrt(len(scores))
            df, mean = len(scores) - 1, float(scores.mean())
            p = 2 * stats.t.sf(abs(mean) / error, df)
            if adjust_p_values([p], look)[0] < 0.05:
                told[look - 1] += 1
                break
            parts = {"standard_error": error, "seeds_part": error, "seeds": len(scores), "df": float(df)}
            more = estimate_more_seeds(make_difference(mean, p=p, **parts), look=look)
            if more is None or len(scores) + more[0] > 200:
                break
            scores = np.concatenate([scores, rng.normal(size=more[0])])
    assert 0.025 < told[0] / replays < 0.055
    assert 0 < sum(told[1:]) / replays < 0.014


def test_the_advice_is_a_range_that_shrinks_with_the_difference() -> None:
    found = [estimate_more_seeds(make_difference(mean)) for mean in (0.02, 0.03, -0.03)]
    assert found[0] is not None
    assert found[1] == found[2] is not None
    assert found[0][0] > found[1][0] < (found[1][1] or 0) < (found[0][1] or math.inf)
    stricter = estimate_more_seeds(make_difference(0.03), comparisons=4)
    later = estimate_more_seeds(make_difference(0.03), look=2)
    assert min((stricter or (0, 0))[0], (later or (0, 0))[0]) > found[1][0]
    assert estimate_more_seeds(make_difference(0.001)) == (pytest.approx(112, abs=2), None)
    assert estimate_more_seeds(make_difference(0.001, examples_part=0.05)) is None
    assert estimate_more_seeds(make_difference(0.03, p=None)) is None


def test_half_of_the_ranges_hold_the_number_that_is_needed() -> None:
    """The true difference is half a standard deviation of a pair; its number, by the noncentral t."""
    power = [1 - stats.nct.cdf(stats.t.isf(0.0025, n - 1), n - 1, 0.5 * math.sqrt(n)) for n in range(4, 80)]
    true = 4 + int(np.argmax(np.array(power) >= 0.8))
    rng, held = np.random.default_rng(3), []
    for _ in range(1500):
        scores = 0.5 + rng.normal(size=5)
        error = scores.std(ddof=1) / math.sqrt(5)
        more = estimate_more_seeds(make_difference(scores.mean(), standard_error=error, seeds_part=error))
        held.append(more is not None and more[0] <= true - 5 <= (more[1] or math.inf))
    assert 0.42 < np.mean(held) < 0.58


def test_that_many_seeds_have_about_the_power_asked_for() -> None:
    rng, true = np.random.default_rng(21), 0.05

    def estimate(seeds: int) -> PairedDifference:
        return estimate_difference("accuracy", *replay(rng, seeds, 0.7, 0.7 + true), seed=0, resamples=200)

    known = [estimate(8) for _ in range(100)]
    by_seeds, by_examples = np.mean([(d.seeds_part**2, d.examples_part**2) for d in known], axis=0)
    many = {"mean": true, "standard_error": 1e-9 + math.sqrt(by_seeds + by_examples), "df": 1e6}
    parts = {"seeds_part": math.sqrt(by_seeds), "examples_part": math.sqrt(by_examples)}
    fewest, most = estimate_more_seeds(replace(known[0], **many, **parts)) or (0, 0)
    needed = 8 + (fewest + (most or 0)) // 2
    assert (
        0.6 <= np.mean([adjust_p_values([estimate(needed).p or 1], 2)[0] < 0.05 for _ in range(200)]) <= 0.99
    )


@pytest.mark.parametrize(
    ("found", "p", "says"),
    [
        (make_difference(0.018, interval=(0.004, 0.032), p=0.01), 0.02,
         "better than vanilla by 1.8 points over 5 shared seeds (95 % interval 0.4 to 3.2, p 0.02)"),
        (make_difference(-0.018, interval=(-0.032, -0.0004)), 0.0004,
         "worse than vanilla by 1.80 points over 5 shared seeds (95 % interval 0.04 to 3.20, p < 0.001)"),
        (make_difference(0.02, interval=(-0.001, 0.041), p=0.1), 0.1,
         "not distinguishable from vanilla over 5 shared seeds (difference 2.0 points, 95 % interval -0.1 to "
         "4.1, p 0.1); between 8 and 59 more seeds would be needed to detect such a difference"),
        (make_difference(0.006, interval=(-0.01, 0.022), p=0.3), 0.3,
         "not distinguishable from vanilla over 5 shared seeds (difference 0.6 points, 95 % interval -1.0 to "
         "2.2, p 0.3); at least 42 more seeds would be needed to detect such a difference"),
        (make_difference(0.01, examples_part=0.01), 0.9,
         "not distinguishable from vanilla over 5 shared seeds (difference 1.0 points, 95 % interval -1.0 to "
         "3.0, p 0.9); more seeds would hardly help: even 1,000 would be too few to detect such a "
             "difference on the 277 examples of the evaluation set"),
        (make_difference(0.018, interval=(0.004, 0.032), p=0.0499), 0.0499,
         "better than vanilla by 1.8 points over 5 shared seeds (95 % interval 0.4 to 3.2, p 0.0499)"),
        (make_difference(0.031, interval=None, p=None, seeds=2), None,
         "not distinguishable from vanilla (difference 3.1 points; 2 pairs: too few to tell)"),
        (make_difference(0.0, interval=None, p=None), None,
         "not distinguishable from vanilla (difference 0.0 points; the same in all 5 pairs)"),
    ],
)  # fmt: skip
def test_the_words_follow_the_numbers(found: PairedDifference, p: float | None, says: str) -> None:
    assert describe_difference(found, p, "vanilla") == says


def test_better_needs_both_the_corrected_p_and_the_interval() -> None:
    beside = make_difference(0.018, interval=(0.004, 0.032), p=0.02)
    assert describe_difference(beside, 0.06, "vanilla", comparisons=3).startswith("not distinguishable")
    across = make_difference(0.018, interval=(-0.004, 0.032), p=0.02)
    assert describe_difference(across, 0.02, "vanilla").startswith("not distinguishable")
    with pytest.raises(ValueError, match="adjusted_p: must be None where p is, but got None"):
        describe_difference(beside, None, "vanilla")


@pytest.mark.parametrize(
    ("look", "says"), [(1, "p 0.02)"), (2, "p 0.02, second look)"), (3, "p 0.02, look 3)")]
)
def test_a_later_look_is_named(look: int, says: str) -> None:
    told = make_difference(0.018, interval=(0.004, 0.032))
    assert describe_difference(told, 0.02, "vanilla", look=look).endswith(says)


def test_the_smallest_difference_that_pairs_tell_is_told_with_that_power() -> None:
    """By simulation: of three tests at the strictest step, at a first look."""
    assert find_detectable_difference(3) is None
    size = find_detectable_difference(5, comparisons=3)
    assert size is not None
    pairs = size + np.random.default_rng(0).standard_normal((20_000, 5))
    t = pairs.mean(axis=1) / pairs.std(axis=1, ddof=1) * 5**0.5
    told = np.mean(2 * stats.t.sf(t, 4) < 0.04 / 3)
    assert told == pytest.approx(0.8, abs=0.01)
