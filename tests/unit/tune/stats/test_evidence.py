"""Differences between methods, with both uncertainties: seeds and a finite evaluation set."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dps.tasks import registry
from dps.tasks.chance import chance_level, predict_constant
from dps.tasks.metrics import METRICS
from tests.timing import measure_cpu_seconds
from tests.unit.tune.stats.test_resampling import example_data, expected
from tune.stats.evidence import (
    bound_rate,
    estimate_difference,
    estimate_mean,
    estimate_model_score,
    summarise_scores,
)
from tune.stats.resampling import score_runs
from tune.stats.verdict import adjust_p_values, describe_difference

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


def test_a_summary_counts_runs_at_chance_apart_from_those_that_collapsed() -> None:
    labels = np.array([1, 0, 1] * 3)
    at_chance = score_runs("accuracy", labels, np.ones((1, 9), int))[0]
    found = summarise_scores(
        np.array([0.9, at_chance, 0.8, 0.5]), chance_level(registry.get_task("rte"), labels), 1
    )
    assert (found.worst, found.best, found.n) == (0.5, 0.9, 4)
    assert (found.not_above_chance, found.collapsed) == (0.5, 0.25)
    assert found.collapsed_at_most == pytest.approx(stats.beta.ppf(0.95, 2, 3))
    assert found.mean == pytest.approx((2.2 + 2 / 3) / 4)
    assert found.median == pytest.approx((0.8 + 2 / 3) / 2)
    assert found.std == pytest.approx(np.std([0.9, 2 / 3, 0.8, 0.5], ddof=1))
    assert summarise_scores(np.array([0.9]), 0.5, 0).std is None
    with pytest.raises(ValueError, match="there must be one run"):
        summarise_scores(np.array([]), 0.5, 0)


@pytest.mark.parametrize(("count", "total", "bound"), [(0, 5, 1 - 0.05**0.2), (0, 10, 0.2589), (5, 5, 1.0)])
def test_how_often_runs_may_still_collapse(count: int, total: int, bound: float) -> None:
    assert bound_rate(count, total) == pytest.approx(bound, abs=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_a_difference_swapped_is_negated(metric: str) -> None:
    labels, predictions = example_data(metric)
    predictions = predictions[[0, 1, 2, 0, 1]]
    other = predictions[[1, 2, 0, 0, 2]]
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
    predictions = predictions[[0, 1, 2, 0]]
    found = estimate_difference(metric, labels, predictions, predictions.copy(), seed=0, resamples=200)
    assert (found.mean, found.p, found.probability_better, found.interval) == (0, None, None, None)
    assert describe_difference(found, None, "vanilla").endswith("the same in all 4 pairs)")


def test_gains_and_losses_that_cancel_are_no_difference() -> None:
    labels, baseline = np.zeros(RTE, dtype=int), np.zeros((4, RTE), dtype=int)
    baseline[:, :100] = 1
    method = baseline.copy()
    method[0, 0] = method[1, 1] = 0
    method[2, 200:202] = 1
    found = estimate_difference("accuracy", labels, baseline, method, seed=0)
    assert (found.mean, found.p, found.probability_better) == (0, 1, 0.5)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_few_seeds_have_no_interval(seeds: int) -> None:
    """Two seeds whose scores are equal have a spread of 0, which says nothing."""
    labels, baseline, method = replay(np.random.default_rng(0), seeds, 0.6, 0.8)
    found = estimate_difference("accuracy", labels, baseline, method, seed=0)
    assert (found.interval, found.p, found.probability_better) == (None, None, None)
    assert estimate_mean("accuracy", labels, method, seed=0).interval is None
    assert estimate_mean("accuracy", labels, np.repeat(labels[None], seeds, axis=0), seed=0).interval is None
    assert (found.std is None) == (seeds == 1)


def test_one_model_has_an_interval_over_the_examples() -> None:
    labels, method = replay(np.random.default_rng(0), 1, 0.8)
    found = estimate_model_score("accuracy", labels, method[0], seed=0)
    error = (method[0] == labels).std(ddof=1) / math.sqrt(RTE)
    half = stats.t.ppf(0.975, RTE - 1) * error
    assert found.interval == pytest.approx([found.mean - half, found.mean + half], abs=0.1 * half)
    assert found.seeds == 1


@pytest.mark.parametrize(
    ("right", "interval"), [(True, (0.025 ** (1 / 24), 1)), (False, (0, 1 - 0.025 ** (1 / 24)))]
)
def test_all_right_or_none_is_bounded_exactly(right: bool, interval: tuple[float, float]) -> None:
    """24 of 24 right is compatible with 14 % errors; no resample differs from any other."""
    labels = np.array([0, 1] * 12)
    runs = np.repeat(labels[None] if right else 1 - labels[None], 5, axis=0)
    assert estimate_mean("accuracy", labels, runs, seed=0).interval == pytest.approx(interval)
    assert estimate_model_score("accuracy", labels, runs[0], seed=0).interval == pytest.approx(interval)


@pytest.mark.parametrize("metric", ["f1", "macro_f1", "matthews_correlation", "balanced_accuracy", "pearson"])
def test_without_any_spread_there_is_no_interval(metric: str) -> None:
    labels = np.array([0, 1] * 12)
    runs = np.repeat(labels[None], 5, axis=0)
    assert estimate_mean(metric, labels, runs, seed=0).interval is None
    assert estimate_model_score(metric, labels, runs[0], seed=0).interval is None


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
    labels, shifts = np.zeros(100, dtype=int), (0, 35, 50, 70)
    baseline = np.stack([np.roll(np.arange(100) < 30, shift) for shift in shifts]).astype(int)
    method = np.stack([np.roll(np.arange(100) < 20, shift + 40) for shift in shifts]).astype(int)
    found = estimate_difference("accuracy", labels, baseline, method, seed=0)
    assert found.std == pytest.approx(0)
    assert found.seeds_part is not None
    assert found.seeds_part > 0.02
    assert found.interval is not None


def test_runs_that_do_not_depend_on_the_seed_have_no_interval() -> None:
    """Five runs that all answer the same say nothing of what a sixth would do."""
    labels, baseline, method = replay(np.random.default_rng(0), 1, 0.6, 0.8)
    five = [np.repeat(runs, 5, axis=0) for runs in (baseline, method)]
    found = estimate_difference("accuracy", labels, *five, seed=0)
    assert found.seeds_part == pytest.approx(0, abs=1e-6)
    assert (found.interval, found.p) == (None, None)
    assert estimate_mean("accuracy", labels, five[1], seed=0).interval is None


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
    assert found.mean == pytest.approx((runs == labels).mean())
    assert found.interval[0] < found.mean < found.interval[1]
    wider = estimate_mean("accuracy", labels, runs, seed=0, level=0.99)
    assert wider.interval[0] < found.interval[0] < found.interval[1] < wider.interval[1]


def test_no_interval_leaves_the_range_of_the_metric() -> None:
    labels, runs = np.zeros(40, dtype=int), np.zeros((4, 40), dtype=int)
    runs[0, :5] = runs[1, 0] = 1
    found = estimate_mean("accuracy", labels, runs, seed=0)
    assert found.mean + 2 * found.standard_error > 1
    assert found.interval is not None
    assert found.interval[1] == 1.0
    worse = np.ones((4, 40), dtype=int)
    worse[0, :20] = 0
    gain = estimate_difference("accuracy", labels, worse, runs, seed=0)
    assert gain.mean + 2 * gain.standard_error > 1
    assert gain.interval is not None
    assert gain.interval[1] == 1.0


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    rng, replays, true = np.random.default_rng(11), 300, 0.04
    found = [
        estimate_difference("accuracy", *replay(rng, 5, 0.7, 0.7 + true), seed=i, resamples=300)
        for i in range(replays)
    ]
    covered = np.mean([d.interval is not None and d.interval[0] <= true <= d.interval[1] for d in found])
    assert 0.90 <= covered <= 0.99


def test_without_a_difference_few_are_told() -> None:
    rng, replays = np.random.default_rng(12), 250
    found = [
        estimate_difference("accuracy", *replay(rng, 5, 0.7, 0.7), seed=i, resamples=300)
        for i in range(replays)
    ]
    assert np.mean([d.p < 0.05 for d in found]) <= 0.07
    assert 0.4 < np.mean([d.probability_better for d in found]) < 0.6


def test_the_interval_of_a_mean_covers_the_true_mean() -> None:
    rng, replays = np.random.default_rng(13), 200
    found = []
    for i in range(replays):
        labels, runs = replay(rng, 5, 0.7)
        found.append(estimate_mean("accuracy", labels, runs, seed=i, resamples=300))
    assert 0.90 <= np.mean([e.interval[0] <= 0.7 <= e.interval[1] for e in found]) <= 0.99


def test_a_large_difference_is_told() -> None:
    found = estimate_difference("accuracy", *replay(np.random.default_rng(0), 5, 0.65, 0.85), seed=0)
    adjusted = adjust_p_values([found.p])[0]
    assert describe_difference(found, adjusted, "vanilla").startswith("better than vanilla by ")
    assert found.probability_better > 0.99


def test_a_difference_takes_well_below_a_second() -> None:
    data = replay(np.random.default_rng(0), 5, 0.7, 0.73, n=1500)
    seconds = measure_cpu_seconds(
        lambda: estimate_difference("accuracy", *data, seed=0, resamples=2000), times=3
    )
    assert seconds < 1.0
