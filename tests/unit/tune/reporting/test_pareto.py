"""Several objectives: what the points are, and which of them no other one beats."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dps.errors import InputError
from dps.training.result import Outcome
from tests.unit.tune.helpers import make_record
from tune.core.common_options import OBJECTIVES, parse_objectives
from tune.core.wording import format_objective
from tune.records.ledger import TrialRecord
from tune.reporting.pareto import ParetoPoint, build_pareto_points, find_pareto_front, is_dominating

STEPS, EVALUATIONS = 60, 2
numbers = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(-1, 1)


def run(rate: float, score: float | None = 0.5, step: int = STEPS, **changes: Any) -> TrialRecord:
    """A run of the configuration with this learning rate."""
    changes = {"number": int(rate), "seconds": 10.0, "peak_memory": 2**30, **changes}
    scores = [] if score is None else [*([(STEPS // 2, 0.9)] if step == STEPS else []), (step, score)]
    configuration = {"method": "vanilla", "learning_rate": rate}
    return make_record(configuration=configuration, scores=scores, **changes)


def raced(rate: float, seed: int, score: float | None, **changes: Any) -> TrialRecord:
    return run(rate, score, seed=seed, purpose="race", id=f"race-{seed}", **{"number": seed, **changes})


def point(*costs: float) -> ParetoPoint:
    return ParetoPoint(0, {}, 1, {}, costs)


def only(records: list[TrialRecord], *objectives: str, direction: str = "max") -> dict[str, float | None]:
    (found,) = build_pareto_points(records, objectives or OBJECTIVES, direction, EVALUATIONS)
    return found.values


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ("score", ("score",)),
        ("score,seconds", ("score", "seconds")),
        (" stability , score,memory,seconds", ("stability", "score", "memory", "seconds")),
    ],
)
def test_objectives_are_named_with_commas(named: str, names: tuple[str, ...]) -> None:
    assert parse_objectives(named) == names


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("score,speed", "--objectives: there is no objective 'speed'; choose one of score, seconds, memory"),
        ("", "--objectives: there is no objective ''"),
        ("score,", "--objectives: there is no objective ''"),
        ("seconds,memory", "--objectives: 'seconds,memory' lacks score"),
    ],
)
def test_other_objectives_are_refused_in_one_line(named: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_objectives(named)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_point_is_a_mean_over_the_seeds_of_a_configuration() -> None:
    records = [
        run(3, 0.5, number=7, seconds=12.0),
        raced(3, 1, 0.6, seconds=18.0, peak_memory=3 * 2**30),
        raced(3, 2, 0.1, seconds=15.0),
    ]
    (found,) = build_pareto_points(records, OBJECTIVES, "max", EVALUATIONS)
    assert (found.trial, found.seeds, found.configuration["learning_rate"]) == (7, 3, 3)
    assert found.values == {
        "score": pytest.approx(0.4),
        "seconds": pytest.approx(15.0),
        "memory": 3 * 2**30,
        "stability": pytest.approx(statistics.stdev([0.5, 0.6, 0.1])),
    }
    assert found.costs == pytest.approx((-0.4, 15.0, 3 * 2**30, found.values["stability"]))


def test_the_score_of_an_error_is_minimised() -> None:
    (found,) = build_pareto_points([run(1, 0.3)], ("seconds", "score"), "min", EVALUATIONS)
    assert found.costs == (10.0, 0.3)
    assert list(found.values) == ["seconds", "score"]


def test_only_what_went_to_its_end_is_a_point() -> None:
    records = [
        run(1, 0.9, 20, outcome=Outcome.STOPPED),
        run(2, None, outcome=Outcome.FAILED),
        run(3, 0.9, 20, outcome=Outcome.DIVERGED),
        run(4, 0.5),
        run(5, 0.6, 20, outcome=Outcome.STOPPED),
        raced(5, 1, 0.7),
    ]
    assert [
        p.configuration["learning_rate"] for p in build_pareto_points(records, ("score",), "max", EVALUATIONS)
    ] == [4, 5]
    assert only(records[4:], "score") == {"score": 0.7}
    assert build_pareto_points([], OBJECTIVES, "max", EVALUATIONS) == []


def test_the_seconds_of_a_stopped_run_count_by_its_share() -> None:
    stopped = run(5, 0.6, 30, outcome=Outcome.STOPPED, seconds=9.0)  # after the first of two evaluations
    assert only([stopped, raced(5, 1, 0.7, seconds=12.0)], "score", "seconds")["seconds"] == pytest.approx(14)


def test_one_seed_has_no_stability_and_two_have() -> None:
    assert only([run(1, 0.5)])["stability"] is None
    assert only([run(1, 0.5), run(1, 0.5, number=8)])["stability"] is None  # the same seed again
    assert only([run(1, 0.5), raced(1, 1, 0.5)])["stability"] == 0.0


def test_where_the_system_does_not_tell_memory_is_not_known() -> None:
    (found,) = build_pareto_points([run(1, peak_memory=None)], ("score", "memory"), "max", EVALUATIONS)
    assert found.values["memory"] is None
    assert math.isnan(found.costs[1])
    assert find_pareto_front([found]) == []


def test_a_run_that_diverged_leaves_no_mean_and_never_stands_on_the_front() -> None:
    bad = [run(1, 0.99), raced(1, 1, None, outcome=Outcome.DIVERGED), raced(1, 2, 0.99)]
    both = build_pareto_points([*bad, run(2, 0.1, seconds=99.0)], OBJECTIVES[:3], "max", EVALUATIONS)
    assert [p.values["score"] for p in both] == [None, 0.1]
    assert both[0].seeds == 3
    assert find_pareto_front(both) == [both[1]]
    assert only(bad)["stability"] is None


def test_a_run_that_was_lost_says_nothing() -> None:
    assert only([run(1, 0.5), raced(1, 1, 0.9, outcome=Outcome.LOST)], "score") == {"score": 0.5}


def test_the_front_by_hand() -> None:
    field = [point(-0.9, 10), point(-0.8, 5), point(-0.8, 6), point(-0.7, 7), point(-0.1, 1)]
    assert find_pareto_front(field) == [field[0], field[1], field[4]]


def test_equal_points_all_stay_and_a_tie_in_one_does_not_save_the_worse() -> None:
    twins = [point(-0.5, 3), point(-0.5, 3), point(-0.5, 4)]
    assert find_pareto_front(twins) == twins[:2]
    assert find_pareto_front([point(math.nan, 0.0), point(-0.5, 3)]) == [point(-0.5, 3)]
    assert find_pareto_front([]) == []


@given(st.lists(st.tuples(numbers | st.just(math.nan), numbers, numbers), max_size=30))
def test_no_point_of_the_front_is_dominated_and_every_other_is(costs: list[tuple[float, ...]]) -> None:
    field = [point(*each) for each in costs]
    best = find_pareto_front(field)
    for one in field:
        known = all(map(math.isfinite, one.costs))
        better = [
            other
            for other in field
            if all(a <= b for a, b in zip(other.costs, one.costs, strict=True)) and other.costs != one.costs
        ]
        on_front = any(one is kept for kept in best)
        assert on_front == (known and not better)
        if known and not on_front:
            assert any(is_dominating(kept, one) for kept in best)  # by one that stands on the front
    assert bool(best) == any(math.isfinite(each[0]) for each in costs)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20), st.randoms())
def test_the_front_does_not_depend_on_the_order(costs: list[tuple[float, ...]], random: Any) -> None:
    shuffled = random.sample(costs, len(costs))
    fronts = [find_pareto_front([point(*each) for each in order]) for order in (costs, shuffled)]
    assert sorted(p.costs for p in fronts[0]) == sorted(p.costs for p in fronts[1])
    assert find_pareto_front(fronts[0]) == fronts[0]


def test_values_are_shown_with_their_unit() -> None:
    values = {"score": 0.63214, "seconds": 12.34, "memory": 1.5 * 2**30, "stability": 0.012345}
    assert [format_objective(name, value) for name, value in values.items()] == [
        "0.6321",
        "12.3 s",
        "1.50 GiB",
        "0.0123",
    ]
    assert {format_objective(name, None) for name in OBJECTIVES} == {"-"}
