"""The average over tasks, against a few lines of numpy and in a small world whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tune.stats.evidence import estimate_difference
from tune.stats.suite import TaskMean, average_tasks, draw_difference_means, leave_each_out, make_exact_mean


def make_task(values: np.ndarray, place: int = 0, noise: float = 0.0) -> TaskMean:
    """A task of these differences over seeds, whose examples add nothing to their noise."""
    error, draws = values.std(ddof=1) / np.sqrt(len(values)), np.random.default_rng(place)
    means = values[draws.integers(0, len(values), (2000, len(values)))].mean(axis=1)
    return TaskMean(float(values.mean()), float(error), len(values) - 1, len(values), means)


def test_the_average_is_that_of_independent_means() -> None:
    rng = np.random.default_rng(3)
    seeds = [rng.normal(place, 1 + place, 5 + place) for place in range(4)]
    found = average_tasks([make_task(values, place) for place, values in enumerate(seeds)])
    errors = np.array([values.var(ddof=1) / len(values) for values in seeds])
    df = errors.sum() ** 2 / sum(e**2 / (len(v) - 1) for e, v in zip(errors, seeds, strict=True))
    error = np.sqrt(errors.sum()) / 4
    mean = np.mean([values.mean() for values in seeds])
    assert (found.mean, found.standard_error, found.df) == pytest.approx((mean, error, df))
    assert found.p == pytest.approx(2 * stats.t.sf(mean / error, df))
    assert found.interval == pytest.approx(stats.t.interval(0.95, df, mean, error), abs=0.25 * error)


def test_one_task_alone_has_the_interval_of_its_own_report() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 150)
    baseline, method = (np.where(rng.random((6, 150)) < right, labels, 1 - labels) for right in (0.6, 0.7))
    own = estimate_difference("accuracy", labels, baseline, method, 0)
    draws = draw_difference_means("accuracy", labels, baseline, method, 0)
    found = average_tasks([TaskMean(own.mean, own.standard_error, own.df, own.seeds, draws)])
    assert (found.interval, found.p) == (pytest.approx(own.interval), pytest.approx(own.p))
    two_pairs = TaskMean(own.mean, own.standard_error, own.df, 2, draws)
    assert average_tasks([two_pairs]).interval is None  # as in its own report


def test_a_task_whose_difference_is_known_to_be_none_halves_the_rest() -> None:
    task = make_task(np.array([1.0, 2.0, 3.0, 4.0]))
    alone, both = average_tasks([task]), average_tasks([task, make_exact_mean(0.0)])
    assert (both.mean, both.p) == (alone.mean / 2, alone.p)
    assert [each.mean for each in leave_each_out([task, make_exact_mean(0.0)])] == [0.0, alone.mean]
    assert leave_each_out([task]) == []


@pytest.mark.parametrize(
    ("pairs", "tasks", "known"), [(1, 8, False), (2, 2, False), (2, 8, True), (4, 1, True)]
)
def test_few_pairs_of_many_tasks_are_enough_together(pairs: int, tasks: int, known: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (tasks, pairs))
    if pairs == 1:
        made = [TaskMean(float(v[0]), 1.0, 99.0, 1, rng.normal(v[0], 1, 2000)) for v in values]
    else:
        made = [make_task(v / v.std(ddof=1), place) for place, v in enumerate(values)]
    assert (average_tasks(made).interval is not None) == known


@pytest.mark.parametrize("pairs", [3, 5])
def test_the_interval_covers_and_no_difference_is_seldom_told(pairs: int) -> None:
    """Four tasks, each of 60 examples and few seeds, with noise of both; in one task the truth is +0.2."""
    rng, told, covered, worlds = np.random.default_rng(pairs), 0, 0, 120
    for _ in range(worlds):
        made = []
        for place in range(4):
            labels = np.ones(60, int)
            seeds = rng.normal(0.7, 0.08, (2, pairs, 1)) + np.array([0.0, 0.2 * (place == 0)])[:, None, None]
            runs = (rng.random((2, pairs, 60)) < np.clip(seeds + rng.normal(0, 0.1, 60), 0, 1)).astype(int)
            own = estimate_difference("accuracy", labels, runs[0], runs[1], 0, 200)
            draws = draw_difference_means("accuracy", labels, runs[0], runs[1], place, 200)
            made.append(TaskMean(own.mean, own.standard_error, own.df, own.seeds, draws))
        found = average_tasks(made)
        assert found.interval is not None
        covered += found.interval[0] <= 0.05 <= found.interval[1]
        rest = average_tasks(made[1:])
        told += rest.p is not None and rest.p < 0.05
    assert covered >= 0.9 * worlds
    assert told <= 0.1 * worlds
