"""Stop rules: the edge of each, and the first of several."""

from __future__ import annotations

import pytest

from tests.unit.tune_helpers import make_plan
from tune.budget import GpuHours, Spent, StopRule, Trials, WallTime, first_reached


@pytest.mark.parametrize(
    ("rule", "below", "at"),
    [
        (Trials(4), Spent(trials=3, seconds=1e9, slot_seconds=1e9), Spent(trials=4)),
        (WallTime(90), Spent(trials=99, seconds=89.9, slot_seconds=1e9), Spent(seconds=90)),
        (GpuHours(2, 1.0), Spent(trials=99, seconds=1e9, slot_seconds=7199), Spent(slot_seconds=7200)),
        (GpuHours(1, 0.5), Spent(slot_seconds=7199), Spent(slot_seconds=7200)),
        (GpuHours(1, 4.0), Spent(slot_seconds=899), Spent(slot_seconds=900)),
    ],
)
def test_a_rule_is_reached_at_its_limit_and_not_before(rule: StopRule, below: Spent, at: Spent) -> None:
    assert rule.reached(below) is None
    assert rule.reached(at)


def test_the_first_rule_that_is_reached_gives_the_reason() -> None:
    rules = [Trials(4), WallTime(10), GpuHours(1, 1)]
    assert first_reached(rules, Spent(3, 9, 100)) is None
    assert first_reached(rules, Spent(3, 10, 3600)) == "time budget of 10 s"
    assert first_reached(rules, Spent(4, 10, 3600)) == "4 trials"
    assert first_reached([], Spent(4, 10, 3600)) is None


def test_the_options_make_the_rules() -> None:
    assert make_plan().rules("") == [Trials(12)]
    plan = make_plan(trials=5, time_budget="1h30m", gpu_hours=2.5, workers_per_trial=2)
    assert plan.rules("") == [Trials(5), WallTime(5400), GpuHours(2.5, 0.0)]
