"""Stop rules: the edge of each, and the first of several."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.tune_helpers import make_plan
from tune.budget import DeviceHours, Devices, Spent, StopRule, Trials, WallTime, bill, first_reached
from tune.plan import EXPLORE_SHARE


@pytest.mark.parametrize(
    ("rule", "below", "at"),
    [
        (Trials(4), Spent(trials=3, seconds=1e9, slot_seconds=1e9), Spent(trials=4)),
        (WallTime(90), Spent(trials=99, seconds=89.9, slot_seconds=1e9), Spent(seconds=90)),
        (DeviceHours("GPU", 2, 1.0), Spent(99, seconds=1e9, slot_seconds=7199), Spent(slot_seconds=7200)),
        (DeviceHours("GPU", 1, 0.5), Spent(slot_seconds=7199), Spent(slot_seconds=7200)),
        (DeviceHours("GPU", 1, 4.0), Spent(slot_seconds=899), Spent(slot_seconds=900)),
    ],
)
def test_a_rule_is_reached_at_its_limit_and_not_before(rule: StopRule, below: Spent, at: Spent) -> None:
    assert rule.reached(below) is None
    assert rule.reached(at)


def test_the_first_rule_that_is_reached_gives_the_reason() -> None:
    rules = [Trials(4), WallTime(10), DeviceHours("GPU", 1, 1)]
    assert first_reached(rules, Spent(3, 9, 100)) is None
    assert first_reached(rules, Spent(3, 10, 3600)) == "time budget of 10 s"
    assert first_reached(rules, Spent(4, 10, 3600)) == "4 trials"
    assert first_reached([], Spent(4, 10, 3600)) is None


def test_the_options_make_the_rules() -> None:
    assert make_plan().rules("") == [Trials(12)]
    plan = make_plan(trials=5, time_budget="1h30m", gpu_hours=2.5, cpu_hours=1, workers_per_trial=2)
    rules = [WallTime(5400), DeviceHours("GPU", 2.5, 0.0), DeviceHours("CPU", 1, 2)]
    assert plan.budgets() == rules
    exploring = [replace(rule, share=EXPLORE_SHARE) for rule in rules]
    assert plan.rules("") == [Trials(5), *exploring]
    assert replace(plan, options=plan.options.with_(race=0)).rules("") == [Trials(5), *rules]


@pytest.mark.parametrize(
    ("devices", "used", "words"),
    [
        (Devices("CPU", 4.0), {"cpu_hours": 2.0}, ", 2.00 CPU-hours"),
        (Devices("GPU", 2.0, 3.5), {"gpu_hours": 1.0, "cost": 3.5}, ", 1.00 GPU-hours, cost 3.50"),
        (Devices("GPU", 4000.0, 1.0), {"gpu_hours": 2000.0, "cost": 2000.0},
         ", 2,000.00 GPU-hours, cost 2,000.00"),
    ],
)  # fmt: skip
def test_hours_and_cost_of_half_an_hour_of_a_slot(
    devices: Devices, used: dict[str, float], words: str
) -> None:
    assert devices.used(1800.0) == used
    assert bill(used) == words


def test_results_of_before_say_nothing_of_hours() -> None:
    assert bill({"seconds": 61.5, "slot_seconds": 24.0, "trials": 5}) == ""


def test_a_price_is_of_what_the_slots_hold() -> None:
    plan = make_plan(price=2.0, workers_per_trial=3, cpus_per_worker=4)
    assert plan.devices == Devices("CPU", 12, 2.0)
    assert replace(plan, gpus_per_worker=0.5).devices == Devices("GPU", 1.5, 2.0)


def test_what_may_be_used_of_a_budget_leaves_the_rest_to_the_race() -> None:
    rule = WallTime(100, share=0.6)
    assert rule.reached(Spent(seconds=59)) is None
    assert rule.reached(Spent(seconds=60)) == "60% of the time budget of 100 s, the rest is for the race"
