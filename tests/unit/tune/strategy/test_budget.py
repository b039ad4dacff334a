"""Stop rules: the edge of each, and the first of several."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.tune.helpers import change_spaces, make_plan
from tune.core.wording import format_usage
from tune.planning.plan import Plan
from tune.strategy.budget import (
    MIN_EXPLORATION_SHARE,
    DeviceHoursLimit,
    SlotCount,
    SlotDevices,
    SpentResources,
    StopRule,
    TrialLimit,
    WallTimeLimit,
    find_exploration_share,
    find_stop_reason,
)
from tune.strategy.strategy import Strategy


@pytest.mark.parametrize(
    ("rule", "below", "at"),
    [
        (TrialLimit(4), SpentResources(trials=3, seconds=1e9, slot_seconds=1e9), SpentResources(trials=4)),
        (
            WallTimeLimit(90),
            SpentResources(trials=99, seconds=89.9, slot_seconds=1e9),
            SpentResources(seconds=90),
        ),
        (
            DeviceHoursLimit("GPU", 2, 1.0),
            SpentResources(99, seconds=1e9, slot_seconds=7199),
            SpentResources(slot_seconds=7200),
        ),
        (
            DeviceHoursLimit("GPU", 1, 0.5),
            SpentResources(slot_seconds=7199),
            SpentResources(slot_seconds=7200),
        ),
        (DeviceHoursLimit("GPU", 1, 4.0), SpentResources(slot_seconds=899), SpentResources(slot_seconds=900)),
    ],
)
def test_a_rule_is_reached_at_its_limit_and_not_before(
    rule: StopRule, below: SpentResources, at: SpentResources
) -> None:
    assert rule.reached(below) is None
    assert rule.reached(at)


def test_the_first_rule_that_is_reached_gives_the_reason() -> None:
    rules = [TrialLimit(4), WallTimeLimit(10), DeviceHoursLimit("GPU", 1, 1)]
    assert find_stop_reason(rules, SpentResources(3, 9, 100)) is None
    assert find_stop_reason(rules, SpentResources(3, 10, 3600)) == "time budget of 10 s"
    assert find_stop_reason(rules, SpentResources(4, 10, 3600)) == "4 trials"
    assert find_stop_reason([], SpentResources(4, 10, 3600)) is None


def test_the_options_make_the_rules() -> None:
    assert make_plan().get_stop_rules() == [TrialLimit(8)]
    plan = make_plan(trials=5, time_budget="1h30m", gpu_hours=2.5, cpu_hours=1, workers_per_trial=2)
    rules = [WallTimeLimit(5400), DeviceHoursLimit("GPU", 2.5, 0.0), DeviceHoursLimit("CPU", 1, 2)]
    made = make_rules(plan)
    assert made.race_stop_rules == rules
    (trials, *exploring), shares = made.stop_rules, {rule.share for rule in made.stop_rules[1:]}
    assert trials == TrialLimit(5)
    assert [replace(rule, share=1.0) for rule in exploring] == rules
    assert min(shares) == max(shares) == pytest.approx(0.88, abs=0.01)  # twice nine runs of 37 s or so
    short = make_rules(make_plan(time_budget="1m"))
    assert [rule.share for rule in short.stop_rules[1:]] == [MIN_EXPLORATION_SHARE]
    unraced = replace(plan, options=plan.options.copy_with(race=0))
    assert make_rules(unraced).stop_rules == [TrialLimit(5), *rules]


@pytest.mark.parametrize(("race_s", "share"), [(0.0, 1.0), (100.0, 0.8), (200.0, 0.6), (1e6, 0.6)])
def test_twice_what_the_race_is_expected_to_take_is_kept_for_it(race_s: float, share: float) -> None:
    assert find_exploration_share(race_s, 1000.0) == pytest.approx(share)


def make_rules(plan: Plan, arm: str = "") -> Strategy:
    return plan.make_strategy(arm, SlotCount(2), "work", [[], []])


def test_baselines_have_a_share_of_the_budget_and_one_trial_at_least() -> None:
    plan = make_plan(trials=5, time_budget="100s", cpu_hours=1)
    spaces = {name: plan.space.for_baseline(name or "vanilla") for name in ("", "top-k", "r-drop")}
    plan = change_spaces(plan, spaces)
    own, baseline = make_rules(plan), make_rules(plan, "top-k")
    assert own.race_stop_rules == [WallTimeLimit(100, 0.6), DeviceHoursLimit("CPU", 1, 1, 0.6)]
    assert [rule.share for rule in own.stop_rules[1:]] == pytest.approx([0.36, 0.36])
    spent = SpentResources(0, 1000.0, 1e6)
    assert find_stop_reason(own.stop_rules, spent)
    assert find_stop_reason(baseline.stop_rules, spent) is None
    assert find_stop_reason(baseline.stop_rules, replace(spent, trials=1))
    assert (baseline.race_seeds, baseline.raced_configurations) == (3, 2)
    roomy = replace(plan, options=plan.options.copy_with(time_budget="1d", cpu_hours=10.0))
    assert 1 > make_rules(roomy).race_stop_rules[1].share > 0.95  # twice what they should take
    within = SpentResources(1, 99.0, 0.199 * 3600)
    for rules in (baseline.stop_rules, baseline.race_stop_rules):
        assert find_stop_reason(rules, within) is None
        assert find_stop_reason(rules, replace(within, slot_seconds=0.2 * 3600))


@pytest.mark.parametrize(
    ("devices", "used", "words"),
    [
        (SlotDevices("CPU", 4.0), {"cpu_hours": 2.0}, ", 2.00 CPU-hours"),
        (SlotDevices("GPU", 2.0, 3.5), {"gpu_hours": 1.0, "cost": 3.5}, ", 1.00 GPU-hours, cost 3.50"),
        (SlotDevices("GPU", 4000.0, 1.0), {"gpu_hours": 2000.0, "cost": 2000.0},
         ", 2,000.00 GPU-hours, cost 2,000.00"),
    ],
)  # fmt: skip
def test_hours_and_cost_of_half_an_hour_of_a_slot(
    devices: SlotDevices, used: dict[str, float], words: str
) -> None:
    assert devices.used(1800.0) == used
    assert format_usage(used) == words


def test_results_of_before_say_nothing_of_hours() -> None:
    assert format_usage({"seconds": 61.5, "slot_seconds": 24.0, "trials": 5}) == ""


def test_a_price_is_of_what_the_slots_hold() -> None:
    plan = make_plan(price=2.0, workers_per_trial=3, cpus_per_worker=4)
    assert plan.slot_devices == SlotDevices("CPU", 12, 2.0)
    assert replace(plan, gpus_per_worker=0.5).slot_devices == SlotDevices("GPU", 1.5, 2.0)


def test_what_may_be_used_of_a_budget_leaves_the_rest_to_the_race() -> None:
    rule = WallTimeLimit(100, share=0.6)
    assert rule.reached(SpentResources(seconds=59)) is None
    assert rule.reached(SpentResources(seconds=60)) == "60 % of the time budget of 100 s"
    nearly = WallTimeLimit(1000, share=0.997)
    assert nearly.reached(SpentResources(seconds=998)) == "more than 99 % of the time budget of 1000 s"
