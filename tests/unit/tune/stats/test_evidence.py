"""Differences between methods, with both uncertainties: seeds and a finite evaluation set."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dps.tasks import registry
from dps.tasks.chance import chance_level, predict_constant
from dps.tasks.metrics import METRICS
from tests.unit.tune.stats.test_resampling import example_data, expected
from tune.stats.evidence import (
    PairedDifference,
    adjust_p_values,
    describe_difference,
    estimate_difference,
    estimate_mean,
    estimate_seeds_needed,
    summarise_scores,
)
from tune.stats.resampling import score_runs

RTE = 277
SHARED, OWN = {"seed": 0.1, "example": 1.0}, {"seed": 0.08, "example": 0.3}
LATENT = math.sqrt(1 + sum(v**2 for v in (*SHARED.values(), *OWN.values())))


def replay(rng: np.random.Generator, seeds: int, *accuracies: float, n: int = RTE) -> list[np.ndarray]:
    """Labels, then the predictions (seeds, n) of one method for each true accuracy.

    A prediction is right where normal effects of its seed and its example, shared and of the method,
    and noise add up to more than a threshold: the true accuracy is exact.
    """
    labels = rng.integers(0, 2, n)
    shared = rng.normal(0, SHARED["seed"], (seeds, 1)) + rng.normal(0, SHARED["example"], n)
    methods = []
    for accuracy in accuracies:
        own = rng.normal(0, OWN["seed"], (seeds, 1)) + rng.normal(0, OWN["example"], n)
        right = stats.norm.ppf(accuracy) * LATENT + shared + own + rng.normal(size=(seeds, n)) > 0
        methods.append(np.where(right, labels, 1 - labels))
    return [labels, *methods]


def test_the_constant_prediction() -> None:
    assert predict_constant(registry.get_task("rte"), np.array([1, 0, 1])) == 1
    assert predict_constant(registry.get_task("mnli"), np.array([2, 0, 2, 1])) == 2
    assert predict_constant(registry.get_task("stsb"), np.array([1.0, 2.0, 4.5])) == 2.5


def test_chance_is_the_best_constant() -> None:
    assert chance_level(registry.get_task("rte"), np.array([1, 0, 1, 1])) == 0.75
    assert chance_level(registry.get_task("cola"), np.array([1, 0, 1, 1])) == 0.0
    assert chance_level(registry.get_task("stsb"), np.array([1.0, 2.0, 4.5])) == 0.0
    assert chance_level(registry.get_task("qqp"), np.array([1, 0, 0, 0])) == pytest.approx(2 / 5)


def test_a_summary_counts_runs_at_chance_as_collapsed() -> None:
    labels = np.array([1, 0, 1] * 3)
    at_chance = score_runs("accuracy", labels, np.ones((1, 9), int))[0]
    found = summarise_scores(
        np.array([0.9, at_chance, 0.8, 0.5]), chance_level(registry.get_task("rte"), labels)
    )
    assert (found.worst, found.best, found.collapsed, found.n) == (0.5, 0.9, 0.5, 4)
    assert found.mean == pytest.approx((2.2 + 2 / 3) / 4)
    assert found.median == pytest.approx((0.8 + 2 / 3) / 2)
    assert found.std == pytest.approx(np.std([0.9, 2 / 3, 0.8, 0.5], ddof=1))
    assert summarise_scores(np.array([0.9]), 0.5).std is None
    with pytest.raises(ValueError, match="there must be one run"):
        summarise_scores(np.array([]), 0.5)


@pytest.mark.parametrize("metric", METRICS)
def test_a_difference_swapped_is_negated(metric: str) -> None:
    labels, predictions = example_data(metric)
    other = predictions[[1, 2, 0]]
    forth = estimate_difference(metric, labels, predictions, other, seed=0, resamples=200)
    back = estimate_difference(metric, labels, other, predictions, seed=0, resamples=200)
    paired = np.subtract(expected(metric, labels, other), expected(metric, labels, predictions))
    assert forth.mean == pytest.approx(paired.mean(), abs=1e-6)
    assert forth.points == 100 * forth.mean
    assert back.mean == pytest.approx(-forth.mean)
    assert back.interval == pytest.approx([-forth.interval[1], -forth.interval[0]])
    assert back.p == pytest.approx(forth.p)
    assert back.probability_better == pytest.approx(1 - forth.probability_better)
    assert forth.standard_error**2 == pytest.approx(forth.seeds_part**2 + forth.examples_part**2)
    assert forth.interval[0] <= forth.mean <= forth.interval[1]


def test_the_same_seed_gives_the_same_result() -> None:
    data = replay(np.random.default_rng(0), 5, 0.7, 0.73)
    first = estimate_difference("accuracy", *data, seed=1)
    assert estimate_difference("accuracy", *data, seed=1) == first
    assert estimate_difference("accuracy", *data, seed=2).interval != first.interval


@pytest.mark.parametrize("metric", METRICS)
def test_identical_predictions_do_not_differ(metric: str) -> None:
    labels, predictions = example_data(metric)
    found = estimate_difference(metric, labels, predictions, predictions.copy(), seed=0, resamples=200)
    assert (found.mean, found.p, found.probability_better, found.interval) == (0, 1, 0.5, (0, 0))
    assert describe_difference(found, 1.0, "vanilla").endswith("; all scores are the same")


def test_gains_and_losses_that_cancel_are_no_difference() -> None:
    labels, baseline = np.zeros(RTE, dtype=int), np.zeros((3, RTE), dtype=int)
    baseline[:, :100] = 1
    method = baseline.copy()
    method[0, 0] = method[1, 1] = 0
    method[2, 200:202] = 1
    found = estimate_difference("accuracy", labels, baseline, method, seed=0)
    assert (found.mean, found.p, found.probability_better) == (0, 1, 0.5)
    assert describe_difference(found, 1.0, "vanilla").endswith("; mean scores are the same")


def test_with_one_seed_only_the_examples_are_known() -> None:
    labels, baseline, method = replay(np.random.default_rng(0), 1, 0.6, 0.8)
    found = estimate_difference("accuracy", labels, baseline, method, seed=0)
    by_example = (method == labels)[0].astype(float) - (baseline == labels)[0]
    error = by_example.std(ddof=1) / math.sqrt(RTE)
    assert (found.seeds_known, found.seeds_part, found.std, found.p) == (False, None, None, None)
    assert (found.probability_better, found.interval_over_seeds, estimate_seeds_needed(found)) == (
        None,
        None,
        None,
    )
    assert found.standard_error == found.examples_part == pytest.approx(error, rel=0.06)
    half = stats.t.ppf(0.975, RTE - 1) * error
    assert found.interval == pytest.approx([found.mean - half, found.mean + half], abs=0.1 * half)
    assert "with one seed (difference" in describe_difference(found, None, "vanilla")
    assert describe_difference(found, None, "vanilla").endswith("; the spread over seeds is unknown")
    with pytest.raises(ValueError, match="adjusted_p: must be None with one seed"):
        describe_difference(found, 0.01, "vanilla")


def test_the_parts_are_those_of_readers_and_cases() -> None:
    labels, baseline, method = replay(np.random.default_rng(3), 8, 0.65, 0.75, n=400)
    gain = (method == labels).astype(float) - (baseline == labels)  # (seeds, examples)
    covariance = np.cov(gain) / gain.shape[1]
    shared = covariance[~np.eye(8, dtype=bool)].mean()
    found = estimate_difference("accuracy", labels, baseline, method, seed=0)
    assert found.examples_part == pytest.approx(math.sqrt(shared), rel=0.1)
    assert found.std == pytest.approx(gain.mean(axis=1).std(ddof=1))
    assert found.seeds_part == pytest.approx(found.std / math.sqrt(8))
    by_seeds, by_examples = found.seeds_part**2, found.examples_part**2
    below = by_seeds**2 / 7 + by_examples**2 / 399
    assert found.df == pytest.approx((by_seeds + by_examples) ** 2 / below)
    t = found.mean / found.standard_error
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), found.df))
    assert found.probability_better == pytest.approx(stats.t.cdf(t, found.df))


def test_seeds_that_agree_by_luck_are_not_taken_as_certain() -> None:
    labels = np.zeros(100, dtype=int)
    baseline = np.stack([np.roll(np.arange(100) < 30, shift) for shift in (0, 35)]).astype(int)
    method = np.stack([np.roll(np.arange(100) < 20, shift) for shift in (50, 75)]).astype(int)
    found = estimate_difference("accuracy", labels, baseline, method, seed=0)
    assert found.std == pytest.approx(0)
    assert found.seeds_part > 0.03
    assert found.p > 0.05


def test_runs_that_do_not_depend_on_the_seed_leave_only_the_examples() -> None:
    labels, baseline, method = replay(np.random.default_rng(0), 1, 0.6, 0.8)
    four = [np.repeat(runs, 4, axis=0) for runs in (baseline, method)]
    found = estimate_difference("accuracy", labels, *four, seed=0)
    assert found.seeds_part == pytest.approx(0, abs=1e-6)
    assert found.examples_part == pytest.approx(
        estimate_difference("accuracy", labels, baseline, method, seed=0).examples_part
    )
    assert found.df == pytest.approx(RTE - 1, rel=1e-3)


def test_the_interval_keeps_the_skew_of_a_collapsed_run() -> None:
    labels, baseline, method = replay(np.random.default_rng(5), 5, 0.75, 0.78)
    baseline[2] = predict_constant(registry.get_task("rte"), labels)
    found = estimate_difference("accuracy", labels, baseline, method, seed=0)
    low, high = found.interval
    assert high - found.mean > 1.15 * (found.mean - low)
    assert low < 0


def test_what_a_difference_refuses() -> None:
    labels, baseline, method = replay(np.random.default_rng(0), 3, 0.6, 0.8)
    with pytest.raises(
        ValueError, match=r"method: must be shaped like the baseline \(3, 277\), but got \(2, 277\)"
    ):
        estimate_difference("accuracy", labels, baseline, method[:2], seed=0)
    with pytest.raises(ValueError, match="resamples: must be at least 100, but got 10"):
        estimate_difference("accuracy", labels, baseline, method, seed=0, resamples=10)
    with pytest.raises(ValueError, match=r"level: must be in \(0, 1\), but got 95"):
        estimate_difference("accuracy", labels, baseline, method, seed=0, level=95)
    with pytest.raises(ValueError, match="labels: there must be at least 2 examples, but got 1"):
        estimate_mean("accuracy", labels[:1], baseline[:, :1], seed=0)


def test_the_mean_of_one_method() -> None:
    labels, runs = replay(np.random.default_rng(2), 4, 0.7)
    found = estimate_mean("accuracy", labels, runs, seed=0)
    each = (runs == labels).mean(axis=1)
    t = stats.t.interval(0.95, 3, loc=each.mean(), scale=stats.sem(each))
    assert found.mean == pytest.approx(each.mean())
    assert found.interval_over_seeds == pytest.approx(t)
    assert found.interval[0] < found.mean < found.interval[1]
    wider = estimate_mean("accuracy", labels, runs, seed=0, level=0.99)
    assert wider.interval[0] < found.interval[0] < found.interval[1] < wider.interval[1]


def test_no_interval_of_a_mean_leaves_the_range_of_the_metric() -> None:
    labels, runs = np.zeros(40, dtype=int), np.zeros((3, 40), dtype=int)
    runs[0, :5] = runs[1, 0] = 1
    found = estimate_mean("accuracy", labels, runs, seed=0)
    assert found.mean + 2 * found.standard_error > 1
    assert found.interval[1] == 1.0


@pytest.mark.parametrize("seeds", [2, 5])
def test_the_interval_covers_the_true_difference_as_often_as_it_says(seeds: int) -> None:
    rng, replays, true = np.random.default_rng(11), 300, 0.04
    found = [
        estimate_difference("accuracy", *replay(rng, seeds, 0.7, 0.7 + true), seed=i, resamples=300)
        for i in range(replays)
    ]
    covered = np.mean([d.interval[0] <= true <= d.interval[1] for d in found])
    assert 0.90 <= covered <= (0.99 if seeds == 5 else 1)  # two seeds: wide rather than narrow


def test_without_a_difference_few_are_told() -> None:
    rng, replays = np.random.default_rng(12), 250
    found = [
        estimate_difference("accuracy", *replay(rng, 5, 0.7, 0.7), seed=i, resamples=300)
        for i in range(replays)
    ]
    assert np.mean([d.p < 0.05 for d in found]) <= 0.07
    assert np.mean([not describe_difference(d, d.p, "vanilla").startswith("not") for d in found]) <= 0.07
    assert 0.4 < np.mean([d.probability_better for d in found]) < 0.6


def test_the_interval_of_a_mean_covers_the_true_mean() -> None:
    rng, replays = np.random.default_rng(13), 200
    found = []
    for i in range(replays):
        labels, runs = replay(rng, 5, 0.7)
        found.append(estimate_mean("accuracy", labels, runs, seed=i, resamples=300))
    joint = np.mean([e.interval[0] <= 0.7 <= e.interval[1] for e in found])
    alone = np.mean([e.interval_over_seeds[0] <= 0.7 <= e.interval_over_seeds[1] for e in found])
    assert 0.90 <= joint <= 0.99
    assert alone < joint  # the examples held fixed, it speaks of this evaluation set


def test_a_large_difference_is_told() -> None:
    found = estimate_difference("accuracy", *replay(np.random.default_rng(0), 5, 0.65, 0.85), seed=0)
    assert describe_difference(found, found.p, "vanilla").startswith("better than vanilla by ")
    assert found.probability_better > 0.99


def test_the_seeds_needed_give_about_the_power_asked_for() -> None:
    rng, true = np.random.default_rng(21), 0.05

    def one(seeds: int) -> PairedDifference:
        return estimate_difference("accuracy", *replay(rng, seeds, 0.7, 0.7 + true), seed=0, resamples=200)

    known = [one(8) for _ in range(100)]
    by_seeds, by_examples = np.mean([(d.seeds_part**2, d.examples_part**2) for d in known], axis=0)
    parts = {"seeds_part": math.sqrt(by_seeds), "examples_part": math.sqrt(by_examples)}
    needed = estimate_seeds_needed(replace(known[0], mean=true, **parts))
    assert needed is not None
    assert 2 < needed < 30
    assert 0.7 <= np.mean([one(needed).p < 0.05 for _ in range(200)]) <= 0.9


def test_holm_by_hand() -> None:
    assert adjust_p_values([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_p_values([0.6, 0.5]) == [1.0, 1.0]
    assert adjust_p_values([0.02]) == [0.02]
    assert adjust_p_values([]) == []


def made(mean: float, **changes: object) -> PairedDifference:
    """A difference whose standard error is 1 point, nearly all of it from 5 seeds."""
    base = PairedDifference(
        mean=mean, interval=(mean - 0.02, mean + 0.02), standard_error=0.01, seeds_part=0.01,
        examples_part=0.0, df=4.0, std=0.0224, seeds=5, examples=RTE, level=0.95,
        p=0.3, probability_better=0.85,
    )  # fmt: skip
    return replace(base, **changes)


def test_fewer_seeds_are_needed_for_a_larger_difference() -> None:
    needed = [estimate_seeds_needed(made(mean)) for mean in (0.01, 0.02, 0.04, -0.04)]
    assert needed[0] > needed[1] > needed[2] == needed[3] > 1
    normal = 5 * (1.96 + 0.84) ** 2  # known variance, a difference of one standard error
    assert normal < needed[0] < normal + 4
    assert estimate_seeds_needed(made(0.01), power=0.9) > needed[0]
    assert estimate_seeds_needed(made(0.01), comparisons=4) > needed[0]


def test_no_number_of_seeds_makes_up_for_a_small_evaluation_set() -> None:
    assert estimate_seeds_needed(made(0.02, examples_part=0.01)) is None
    assert estimate_seeds_needed(made(0.03, examples_part=0.01)) is not None
    assert estimate_seeds_needed(made(0.0)) is None
    assert estimate_seeds_needed(made(1e-5)) is None


@pytest.mark.parametrize(
    ("found", "p", "says"),
    [
        (made(0.018, interval=(0.004, 0.032), p=0.01), 0.02,
         "better than vanilla by 1.8 points (95 % interval 0.4 to 3.2, p 0.02 corrected)"),
        (made(0.018, interval=(0.004, 0.032), p=0.02), 0.02,
         "better than vanilla by 1.8 points (95 % interval 0.4 to 3.2, p 0.02)"),
        (made(-0.018, interval=(-0.032, -0.0004)), 0.0004,
         "worse than vanilla by 1.80 points (95 % interval 0.04 to 3.20, p < 0.001 corrected)"),
        (made(0.006, interval=(-0.01, 0.022), p=0.3), 0.3,
         "not distinguishable from vanilla at this budget (difference 0.6 points, 95 % interval -1.0 to 2.2, "
         "p 0.3); about 106 more seeds would detect such a difference"),
        (made(0.033, interval=(-0.001, 0.067), p=0.08), 0.08,
         "not distinguishable from vanilla at this budget (difference 3.3 points, 95 % interval -0.1 to 6.7, "
         "p 0.08); about 1 more seed would detect such a difference"),
        (made(0.01, examples_part=0.01), 0.9,
         "not distinguishable from vanilla at this budget (difference 1.0 points, 95 % interval -1.0 to 3.0, "
         "p 0.9 corrected); more seeds would not detect such a difference, the evaluation set of 277 "
         "examples is too small"),
        (made(0.0003), 0.9,
         "not distinguishable from vanilla at this budget (difference 0.03 points, "
         "95 % interval -1.97 to 2.03, p 0.9 corrected); not even 10,000 seeds would detect such a "
         "difference"),
        (made(0.0), 1.0,
         "not distinguishable from vanilla at this budget (difference 0.0 points, 95 % interval -2.0 to 2.0, "
         "p 1 corrected); mean scores are the same"),
        (made(0.018, interval=(0.004, 0.032), p=0.0499), 0.0499,
         "better than vanilla by 1.8 points (95 % interval 0.4 to 3.2, p 0.0499)"),
    ],
)  # fmt: skip
def test_the_words_follow_the_numbers(found: PairedDifference, p: float, says: str) -> None:
    assert describe_difference(found, p, "vanilla", "points") == says


def test_better_needs_both_the_corrected_p_and_the_interval() -> None:
    beside = made(0.018, interval=(0.004, 0.032), p=0.02)
    assert describe_difference(beside, 0.06, "vanilla", comparisons=3).startswith("not distinguishable")
    across = made(0.018, interval=(-0.004, 0.032), p=0.02)
    assert describe_difference(across, 0.02, "vanilla").startswith("not distinguishable")
    assert "p 0.02 corrected" in describe_difference(beside, 0.02, "vanilla", comparisons=3)


def test_a_difference_takes_well_below_a_second() -> None:
    data = replay(np.random.default_rng(0), 5, 0.7, 0.73, n=1500)
    began = time.process_time()
    estimate_difference("accuracy", *data, seed=0, resamples=2000)
    assert time.process_time() - began < 1.0
