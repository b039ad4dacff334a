"""Distributions, against `scipy.stats`, which takes three times as long to import."""

from __future__ import annotations

import pytest
from scipy import stats

from tune.stats import distributions


@pytest.mark.parametrize("df", [1.0, 3.7, 400.0])
def test_students_t(df: float) -> None:
    for t in (-3.0, 0.0, 0.2, 9.0):
        assert distributions.compute_t_tail(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-12)
    for tail in (1e-6, 0.025, 0.8):
        assert distributions.find_t_bound(tail, df) == pytest.approx(stats.t.isf(tail, df), rel=1e-9)


def test_the_normal_distribution() -> None:
    assert distributions.find_normal_bound(0.025) == pytest.approx(stats.norm.isf(0.025), rel=1e-12)


@pytest.mark.parametrize(("count", "total"), [(0, 5), (5, 5), (3, 40), (1043, 1043)])
def test_proportions(count: int, total: int) -> None:
    both = stats.binomtest(count, total).proportion_ci(0.95)
    assert distributions.bound_proportion(count, total, 0.025) == pytest.approx((both.low, both.high))
