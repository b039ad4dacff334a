"""The expected duration: budgets, small spaces and many evaluations count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dps.ranges import Choice
from tests.unit.tune.helpers import change_spaces, make_comparison, make_plan, make_space
from tune.console.plan import format_plan
from tune.core.run import RunPurpose
from tune.core.space import SearchSpace
from tune.planning.estimate import STARTUP_S
from tune.planning.plan import Plan

TRIAL_S = 60 * 0.1 + 6 * 160 * 0.0066  # of the made-up plan


def explore_only(**options: Any) -> float:
    """Return the expected slot-seconds of trials and race."""
    plan = make_plan(scheduler="none", baseline="none", **options)
    return plan.estimate.slot_seconds - make_confirmation_seconds(plan)


def make_confirmation_seconds(plan: Plan) -> float:
    return plan.options.confirm * (400 * 0.0066 + plan.preview.full_max_steps * 0.1)


def test_without_a_budget_all_trials_and_the_race_are_run() -> None:
    assert explore_only(trials=10, race=0) == pytest.approx(10 * TRIAL_S)
    assert explore_only(trials=10) == pytest.approx((10 + 9) * TRIAL_S)
    assert explore_only(trials=10, time_budget="1d") == pytest.approx((10 + 9) * TRIAL_S)


@pytest.mark.parametrize(
    ("budget", "slot_seconds"),
    [
        ({"time_budget": "1m"}, 2 * 60),
        ({"cpu_hours": 0.05}, 0.05 * 3600),
        ({"time_budget": "1m", "cpu_hours": 0.02}, 0.02 * 3600),
        ({"time_budget": "1s"}, 2 * TRIAL_S),  # what has started goes to its end
    ],
)
def test_no_more_is_run_than_the_budget_allows(budget: dict[str, Any], slot_seconds: float) -> None:
    assert explore_only(trials=100, **budget) == pytest.approx(slot_seconds)
    plan = make_plan(trials=100, **budget)
    assert plan.estimate.seconds > STARTUP_S + slot_seconds / 2
    assert any(line.startswith("budget  ") for line in format_plan(plan))


@pytest.mark.parametrize(
    ("hours", "slot_seconds"), [(None, (20 + 2 * 9) * TRIAL_S), (0.05, 180.0), (0.001, 4 * TRIAL_S)]
)
def test_baselines_take_no_more_than_their_share_of_the_budget(
    hours: float | None, slot_seconds: float
) -> None:
    """Without one: 11 trials and 9 race runs, and of each baseline 3 and 6; with almost none: what starts. So
    it is where the configurations train half as long on average."""
    plan = make_plan(trials=11, scheduler="none", cpu_hours=hours, baseline="vanilla,top-k")
    spaces = {arm: plan.space.for_baseline(arm) for arm in ("vanilla", "top-k")}
    plan = change_spaces(plan, {"": plan.space, **spaces})
    confirming = 3 * make_confirmation_seconds(plan)
    assert plan.estimate.slot_seconds - confirming == pytest.approx(slot_seconds)
    short = replace(plan.space, parameters={**plan.space.parameters, "epochs": Choice((0.0, 4.0))})
    halved = change_spaces(plan, {"": short, **spaces}).estimate.slot_seconds - confirming / 2
    assert halved == pytest.approx(slot_seconds if hours == 0.05 else slot_seconds / 2)


@pytest.mark.parametrize(("budget", "said"), [("5h", "1 %"), ("10h", "less than 1 %")])
def test_the_plan_says_what_is_kept_for_the_baselines_and_never_that_it_is_nothing(
    budget: str, said: str
) -> None:
    plan = make_plan(time_budget=budget)
    plan = change_spaces(plan, {"": plan.space, "vanilla": plan.space.for_baseline("vanilla")})
    (line,) = [line for line in format_plan(plan) if line.startswith("budget ")]
    assert line.endswith(f"no trial or race run starts after that, {said} of it is kept for the baselines")
    assert not any("is kept for" in line for line in format_plan(make_plan(time_budget=budget)))


def test_there_are_no_more_evaluations_than_steps() -> None:
    many, few = (make_plan(evaluations=count).estimate.seconds for count in (1000, 60))
    assert many == few


def test_a_run_is_as_long_as_its_methods_make_it() -> None:
    """r-drop has a second pass in each step; of two methods the mean counts."""
    seconds = {}
    for methods in (("vanilla",), ("r-drop",), ("vanilla", "r-drop")):
        plan = change_spaces(make_plan(baseline="none"), {"": make_space(methods)})
        seconds[methods] = plan.estimate.slot_seconds
    extra = seconds["r-drop",] - seconds["vanilla",]
    assert extra > 0.3 * seconds["vanilla",]
    assert seconds["vanilla", "r-drop"] == pytest.approx(seconds["vanilla",] + extra / 2)


def test_no_more_finalists_are_planned_than_trials() -> None:
    assert make_plan(trials=3, finalists=20).count_confirmations("") == (3 + 1) * 5


def test_a_small_space_ends_the_trials() -> None:
    space = SearchSpace(
        ("vanilla",), {"learning_rate": Choice((1e-5, 2e-5))}, {"vanilla": {"learning_rate": "learning_rate"}}
    )
    plan = change_spaces(make_plan(trials=12, sampler="grid"), {"": space})
    assert plan.trials == 2
    assert plan.planned_runs == make_plan(trials=2).planned_runs
    assert plan.estimate == change_spaces(make_plan(trials=2, sampler="grid"), {"": space}).estimate
    assert any("searching    2 trials" in line for line in format_plan(plan))


def resume(plan: Plan, seconds: float, slot_seconds: float = 0.0, **ended: int) -> Plan:
    """The plan of a search after sessions of so many seconds. slot_seconds: of its own runs. ended: by
    purpose."""
    counts = {RunPurpose(name): count for name, count in ended.items()}
    return replace(plan, ended={"": counts}, spent_seconds=seconds, spent_slot_seconds={"": slot_seconds})


def test_a_resumed_search_is_planned_for_what_is_left() -> None:
    """Of 10 trials, 9 race runs and 5 confirmations."""
    whole = make_plan(trials=10, confirm=5, baseline="none", scheduler="none")
    rest = resume(whole, 900.0, 1800.0, search=10, race=8)
    confirming = make_confirmation_seconds(whole)
    assert rest.estimate.slot_seconds == pytest.approx(TRIAL_S + confirming)
    assert rest.estimate.seconds == pytest.approx(STARTUP_S + TRIAL_S / 2 + 3 * confirming / 5)
    assert "resumed      18 of about 24 runs already done" in format_plan(rest)
    assert resume(whole, 900.0, search=10, race=9, confirmation=6).estimate.seconds == 0


@pytest.mark.parametrize(
    ("seconds", "slot_seconds", "ended", "left"),
    [
        (0.0, 0.0, {}, 1800.0 - 9 * TRIAL_S),  # twice what the race should take is kept, which takes that
        (600.0, 1200.0, {"search": 90}, 600.0 - 9 * TRIAL_S),
        (880.0, 1760.0, {"search": 140}, 40.0),  # no time for a trial, and for some of the race
        (880.0, 1760.0, {"search": 140, "race": 9}, 0.0),
        (1000.0, 2000.0, {"search": 140, "race": 3}, 0.0),
    ],
)
@pytest.mark.parametrize("budget", [{"time_budget": "15m"}, {"cpu_hours": 0.5}])
def test_what_earlier_sessions_took_of_a_budget_is_no_longer_left(
    budget: dict[str, Any], seconds: float, slot_seconds: float, ended: dict[str, int], left: float
) -> None:
    """Two slots, for both budgets 1800 slot-seconds; 1000 trials would take far more."""
    whole = make_plan(trials=1000, baseline="none", scheduler="none", **budget)
    rest = resume(whole, seconds, slot_seconds, **ended)
    assert rest.estimate.slot_seconds - make_confirmation_seconds(whole) == pytest.approx(left)


def test_baselines_share_the_time_that_the_search_leaves_and_their_own_hours() -> None:
    plan = make_plan(trials=11, scheduler="none", time_budget="100s", baseline="vanilla,top-k")
    spaces = {arm: plan.space.for_baseline(arm) for arm in ("vanilla", "top-k")}
    plan = change_spaces(plan, {"": plan.space, **spaces})
    done = {"": {RunPurpose.SEARCH: 7}, **{arm: {RunPurpose.SEARCH: 1} for arm in spaces}}
    confirming = 3 * make_confirmation_seconds(plan)
    late = replace(plan, ended=done, spent_seconds=80.0)
    assert late.estimate.slot_seconds - confirming == pytest.approx(2 * 20.0)
    new = replace(late, ended={"": done[""]}, spent_seconds=200.0)  # each has one trial, whatever the time
    assert new.estimate.slot_seconds - confirming == pytest.approx(2 * TRIAL_S)
    hours = replace(plan, options=plan.options.copy_with(time_budget=None, cpu_hours=200 / 3600))
    spent = {"": 110.0, "vanilla": 30.0, "top-k": 50.0}  # of 120, 40 and 40
    left = replace(hours, ended=done, spent_slot_seconds=spent).estimate.slot_seconds - confirming
    assert left == pytest.approx(10.0 + TRIAL_S)  # within 10 s one starts


def test_the_plan_says_what_was_spent_of_a_budget_and_whose_it_is() -> None:
    plan = make_plan(time_budget="2h", cpu_hours=3.0, baseline="none", cpus_per_worker=2)
    after = "no trial or race run starts after that"
    assert f"budget       2:00:00, 3 CPU-hours; {after}" in format_plan(plan)
    resumed = resume(plan, 4000.0, 4500.0, search=3)
    assert f"budget       2:00:00 (1:06:40 spent), 3 CPU-hours (2.5 spent); {after}" in format_plan(resumed)
    together, shared = replace(plan, tasks=2), "for all 2 together, 3 CPU-hours as the share of each of 2"
    assert f"budget       2:00:00 {shared}; {after}" in format_plan(together)


def test_a_comparison_counts_the_trials_of_every_method() -> None:
    assert make_comparison(["vanilla", "dps-dense"], trials=3).trials == 6
