"""The time that is left: the race is part of it, and it follows what was measured."""

from __future__ import annotations

from typing import Any

import pytest

from dps.methods import MethodCost
from dps.training.result import Outcome
from tests.unit.tune.helpers import make_plan, make_record
from tune.console.outlook import count_phases, estimate_left, measure_work
from tune.core.run import Progress
from tune.planning.estimate import STARTUP_S, estimate_run
from tune.planning.plan import Plan
from tune.records.ledger import TrialRecord

SLOTS = 2


def expect(
    plan: Plan, records: list[TrialRecord], passed: float, earlier: tuple[str, ...] = (), **at: Progress
) -> float:
    """The seconds that are left by the estimate. at: how far runs are, by "run" and their number."""
    progress = {name.removeprefix("run"): each for name, each in at.items()}
    left = estimate_left([measure_work(plan, records, progress, earlier)], SLOTS, passed)
    assert left is not None
    return left


def simulate(slowness: float, **options: Any) -> list[tuple[float, float]]:
    """(seconds passed, seconds left by the estimate) at the end of each run of a search on two busy slots,
    where everything takes so many times as long as planned."""
    plan = make_plan(scheduler="none", **options)
    predicted = estimate_run(plan.options, plan.preview, plan.first.speed, MethodCost())
    total = {str(phase).split()[0]: phase.total for phase in count_phases(plan, [])}
    runs = [("", "search", n) for n in range(total["explore"])]
    runs += [("race-", "race", n) for n in range(total.get("race", 0))]
    runs += [("confirm-", "confirmation", n) for n in range(total["confirm"])]
    records: list[TrialRecord] = []
    passed, seen = STARTUP_S, []
    for at in range(0, len(runs), SLOTS):
        for prefix, purpose, number in runs[at : at + SLOTS]:
            seconds = slowness * (predicted.confirmation if prefix == "confirm-" else predicted.trial)
            rate = {"method": "vanilla", "learning_rate": 1e-5 * (1 + number)}
            values = {"seconds": seconds, "scores": [(20, 0.1), (40, 0.2), (60, 0.3)], "configuration": rate}
            records.append(make_record(number, id=f"{prefix}{number}", purpose=purpose, seed=0, **values))
        passed += seconds
        seen.append((passed, expect(plan, records, passed)))
    return seen


@pytest.mark.parametrize("slowness", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("race", [0, 3])
def test_what_is_left_is_right_soon_however_wrong_the_plan_was(slowness: float, race: int) -> None:
    seen = simulate(slowness, trials=8, race=race, confirm=4, baseline="none")
    end = seen[-1][0]
    for passed, left in seen[1:]:
        assert passed + left == pytest.approx(end, rel=0.25), (passed, left, end)


@pytest.mark.parametrize(("completed", "race"), [(8, "race 0/9"), (2, "race 0/6"), (1, None)])
def test_fewer_race_where_fewer_trials_went_to_their_end(completed: int, race: str | None) -> None:
    plan = make_plan(trials=8)
    trials = [
        make_record(n, Outcome.COMPLETED if n < completed else Outcome.STOPPED, scores=[(60, 0.5)])
        for n in range(8)
    ]
    phases = [str(phase) for phase in count_phases(plan, trials)]
    assert phases[1:-1] == ([] if race is None else [race])
    running = [*trials[:7], make_record(7, Outcome.RUNNING)]  # may still be one of them
    assert (len(count_phases(plan, running)) > 2) or completed == 0


def test_trials_that_were_never_begun_do_not_race() -> None:
    """A budget or --target ended the exploration with two trials at their end."""
    plan = make_plan(trials=8)
    trials = [make_record(n, scores=[(60, 0.5)]) for n in range(2)]
    race = make_record(0, Outcome.RUNNING, id="race-0", purpose="race", seed=1000)
    assert [str(phase) for phase in count_phases(plan, [*trials, race])][:2] == ["explore 2/2", "race 0/6"]
    more = [*trials, make_record(2, Outcome.RUNNING), race]  # of a resume with --trials 8
    assert [str(phase) for phase in count_phases(plan, more)][:2] == ["explore 2/8", "race 0/9"]


def test_a_run_under_way_counts_by_its_steps() -> None:
    plan = make_plan(baseline="none")
    runs = [make_record(n, Outcome.RUNNING, seconds=3.0) for n in range(2)]
    early = expect(plan, runs, 20.0, run0=Progress(6, 60), run1=Progress(6, 60))
    late = expect(plan, runs, 20.0, run0=Progress(54, 60), run1=Progress(54, 60))
    assert late < early / 2  # the same seconds for nine times the steps


def test_earlier_sessions_say_nothing_of_this_one() -> None:
    plan, before = make_plan(baseline="none"), ("0", "1", "2", "3")
    slow = [make_record(int(n), seconds=9999.0, scores=[(60, 0.5)]) for n in before]
    assert estimate_left([measure_work(plan, slow, {}, before)], SLOTS, 10.0) is None
    now = make_record(4, seconds=6.6, scores=[(60, 0.5)])
    assert expect(plan, [*slow, now], 21.6, before) < plan.estimate.seconds


def test_searches_that_share_the_slots_end_together() -> None:
    plan = make_plan(baseline="none")
    work = measure_work(plan, [make_record(0, seconds=7.1, scores=[(60, 0.5)])], {}, ())
    alone, both = (estimate_left([work] * number, SLOTS, STARTUP_S + 3.6 * number) for number in (1, 2))
    assert alone is not None
    assert both == pytest.approx(2 * alone, rel=0.1)
