"""Is the search fooled by luck? Whole searches in simulation, with fixed seeds."""

from __future__ import annotations

import math
import statistics
from functools import cache

import pytest

from benchmarks.replays import Result, replay

REPLAYS, RUNS = 30, 32.0


@cache
def results(strategy: str) -> list[Result]:
    return [replay(strategy, None, number, RUNS) for number in range(REPLAYS)]


def regret(strategy: str) -> float:
    return statistics.fmean(result.regret for result in results(strategy))


@pytest.mark.parametrize(("other", "share"), [("random", 0.8), ("grid", 0.7)])
def test_its_regret_is_a_part_of_that_of_others_at_the_same_cost(other: str, share: float) -> None:
    ours, theirs = regret("ours"), regret(other)
    assert ours < share * theirs, f"{ours:.4f} against {theirs:.4f}"


@pytest.mark.parametrize("strategy", ["ours", "tpe + asha", "random", "repeater"])
def test_what_is_compared_costs_the_same(strategy: str) -> None:
    assert statistics.fmean(result.runs for result in results(strategy)) < RUNS + 3


def test_the_score_that_it_reports_is_not_optimistic() -> None:
    """That of the best of one seed is, by several points."""
    ours = [result.optimism for result in results("ours")]
    assert abs(statistics.fmean(ours)) < 3 * statistics.stdev(ours) / math.sqrt(REPLAYS)
    assert statistics.fmean(result.optimism for result in results("random")) > 0.04


def test_its_interval_holds_the_truth() -> None:
    """Where few runs collapse: Student's t knows nothing of a tail that five seeds did not show."""
    covered = [result.covered for result in results("ours")]
    assert statistics.fmean(map(bool, covered)) >= 0.85
