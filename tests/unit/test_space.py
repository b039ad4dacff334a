"""Search spaces: ranges by model and steps, parameters that only some methods have."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dps.errors import InputError
from dps.methods import make
from dps.selection import StageSchedule
from tune.space import Choice, Range, Space, build, check

OF_DPS = {"selection_ratio", "update_ratio"}


def proposals(space: Space, count: int = 20) -> list[dict[str, object]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


@pytest.mark.parametrize(
    ("parameters", "low", "high"),
    [
        (22_000_000, 3e-5, 5e-4),
        (110_000_000, 1e-5, 1e-4),
        (340_000_000, 5e-6, 5e-5),
        (50_000_000, 1e-5, 1e-4),
        (200_000_000, 5e-6, 5e-5),
    ],
)
def test_the_learning_rate_shrinks_as_models_grow(parameters: int, low: float, high: float) -> None:
    assert build(("vanilla",), "gradient", parameters, 60).parameters == {
        "learning_rate": Range(low, high, log=True)
    }


@pytest.mark.parametrize(
    ("steps", "floor"), [(4, 0.25), (10, 0.2), (30, 0.1), (120, 0.025), (300, 0.01), (5000, 0.01)]
)
def test_short_runs_have_a_higher_floor_of_update_ratio(steps: int, floor: float) -> None:
    space = build(("dps-mix",), "gradient", 22_000_000, steps)
    assert space.parameters["update_ratio"] == Range(pytest.approx(floor), 0.25, log=True)  # type: ignore[arg-type]


@given(st.integers(min_value=4, max_value=200_000))
def test_both_stages_fit_at_either_end_of_update_ratio(max_steps: int) -> None:
    ratio = build(("dps-dense",), "gradient", 22_000_000, max_steps).parameters["update_ratio"]
    assert isinstance(ratio, Range)
    for end in (ratio.low, ratio.high):
        interval = StageSchedule(max_steps, end).interval
        assert interval >= 1
        assert 2 * interval <= max_steps


@pytest.mark.parametrize("steps", [1, 3])
def test_too_few_steps_for_dps_are_refused(steps: int) -> None:
    with pytest.raises(InputError, match=f"--max-steps: DPS needs at least 4 steps.*has {steps}"):
        build(("dps-dense", "vanilla"), "gradient", 22_000_000, steps)
    build(("vanilla",), "gradient", 22_000_000, steps)


def test_only_dps_methods_have_dps_parameters() -> None:
    space = build(("dps-dense", "vanilla", "dps-mix"), "search", 22_000_000, 60)
    seen = proposals(space)
    assert {str(one["method"]) for one in seen} == {"dps-dense", "vanilla", "dps-mix"}
    for one in seen:
        dps = {*OF_DPS, "freeze"} if str(one["method"]).startswith("dps-") else set()
        assert one.keys() == {"method", "learning_rate", *dps}


def test_one_method_is_not_searched_for() -> None:
    space = build(("dps-dense",), "gradient", 22_000_000, 60)
    trial = optuna.create_study().ask()
    assert space.suggest(trial)["method"] == "dps-dense"
    assert set(trial.params) == {"learning_rate", *OF_DPS}


def test_every_proposal_lies_in_its_range_and_makes_a_method() -> None:
    space = build(("dps-dense", "vanilla", "dps-mix"), "search", 22_000_000, 60)
    for one in proposals(space):
        for name, value in one.items():
            bounds = space.parameters.get(name)
            if isinstance(bounds, Range):
                assert isinstance(value, float)
                assert bounds.low <= value <= bounds.high
        hyper = {k: v for k, v in one.items() if k not in ("method", "learning_rate")}
        assert make(str(one["method"]), **hyper).name == one["method"]


def test_freeze_is_searched_only_when_asked_for() -> None:
    assert "freeze" not in build(("dps-dense",), "gradient", 22_000_000, 60).parameters
    assert build(("dps-dense",), "update", 22_000_000, 60).parameters["freeze"] == Choice(("update",))


def test_freeze_search_tries_both() -> None:
    space = build(("dps-dense",), "search", 22_000_000, 60)
    assert space.parameters["freeze"] == Choice(("gradient", "update"))
    assert {str(one["freeze"]) for one in proposals(space)} == {"gradient", "update"}


@pytest.mark.parametrize("freeze", ["gradient", "update"])
def test_a_fixed_freeze_reaches_the_method(freeze: str) -> None:
    space = build(("dps-dense", "vanilla"), freeze, 22_000_000, 60)
    for one in proposals(space, 8):
        hyper = {k: v for k, v in one.items() if k not in ("method", "learning_rate")}
        assert getattr(make(str(one["method"]), **hyper), "freeze", freeze) == freeze


@pytest.mark.parametrize("names", [("magic",), ("dps-dense", "magic"), ("",), ("DPS-Dense",)])
def test_an_unknown_method_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(
        InputError, match=r"--method: there is no .*choose among dps-dense, dps-mix, vanilla, "
    ):
        build(names, "gradient", 22_000_000, 60)


def test_spaces_that_differ_are_described_differently() -> None:
    described = [
        build(methods, freeze, size, steps).describe()
        for methods, freeze, size, steps in [
            (("dps-dense",), "gradient", 22_000_000, 60),
            (("dps-mix",), "gradient", 22_000_000, 60),
            (("dps-dense",), "update", 22_000_000, 60),
            (("dps-dense",), "search", 22_000_000, 60),
            (("dps-dense",), "gradient", 110_000_000, 60),
            (("dps-dense",), "gradient", 22_000_000, 40),
        ]
    ]
    assert all(described.count(one) == 1 for one in described)


def test_qmc_cannot_search_several_methods() -> None:
    with pytest.raises(InputError, match="--sampler: qmc cannot search several methods"):
        check(("dps-dense", "vanilla"), "qmc")
    check(("dps-dense",), "qmc")
