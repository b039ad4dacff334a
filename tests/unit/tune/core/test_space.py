"""Search spaces: ranges by model and steps, parameters that only some methods have."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dps.errors import InputError
from dps.methods import METHODS, make_method
from dps.selection import StageSchedule
from dps.tasks.registry import get_task
from tests.unit.tune.helpers import FakeTune, strategy
from tune.core.space import Choice, Range, SearchSpace, encode_configurations
from tune.planning.space_options import (
    ModelSize,
    build_search_space,
    check_methods_and_sampler,
    refuse_regression,
)
from tune.records.ledger import Ledger
from tune.strategy.phases import SearchPhases

OF_DPS = {"selection_ratio", "update_ratio"}


def proposals(space: SearchSpace, count: int = 20) -> list[dict[str, object]]:
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
    assert build_search_space(("vanilla",), "gradient", parameters, 60).parameters == {
        "learning_rate": Range(low, high, log=True)
    }


@pytest.mark.parametrize(
    ("steps", "floor"), [(4, 0.25), (10, 0.2), (30, 0.1), (120, 0.025), (300, 0.01), (5000, 0.01)]
)
def test_short_runs_have_a_higher_floor_of_update_ratio(steps: int, floor: float) -> None:
    space = build_search_space(("dps-mix",), "gradient", 22_000_000, steps)
    assert space.parameters["update_ratio"] == Range(pytest.approx(floor), 0.25, log=True)  # type: ignore[arg-type]


@given(st.integers(min_value=4, max_value=200_000))
def test_both_stages_fit_at_either_end_of_update_ratio(max_steps: int) -> None:
    ratio = build_search_space(("dps-dense",), "gradient", 22_000_000, max_steps).parameters["update_ratio"]
    assert isinstance(ratio, Range)
    for end in (ratio.low, ratio.high):
        interval = StageSchedule(max_steps, end).interval
        assert interval >= 1
        assert 2 * interval <= max_steps


@pytest.mark.parametrize("steps", [1, 3])
def test_too_few_steps_for_dps_are_refused(steps: int) -> None:
    with pytest.raises(InputError, match=f"--max-steps: DPS needs at least 4 steps.*has {steps}"):
        build_search_space(("dps-dense", "vanilla"), "gradient", 22_000_000, steps)
    build_search_space(("vanilla",), "gradient", 22_000_000, steps)


def test_only_dps_methods_have_dps_parameters() -> None:
    space = build_search_space(("dps-dense", "vanilla", "dps-mix"), "search", 22_000_000, 60)
    seen = proposals(space)
    assert {str(one["method"]) for one in seen} == {"dps-dense", "vanilla", "dps-mix"}
    for one in seen:
        dps = {*OF_DPS, "freeze"} if str(one["method"]).startswith("dps-") else set()
        assert one.keys() == {"method", "learning_rate", *dps}


def test_one_method_is_not_searched_for() -> None:
    space = build_search_space(("dps-dense",), "gradient", 22_000_000, 60)
    trial = optuna.create_study().ask()
    assert space.suggest(trial)["method"] == "dps-dense"
    assert set(trial.params) == {"learning_rate", *OF_DPS}


def test_every_proposal_lies_in_its_range_and_makes_a_method() -> None:
    space = build_search_space(("dps-dense", "vanilla", "dps-mix"), "search", 22_000_000, 60)
    for one in proposals(space):
        for name, value in one.items():
            bounds = space.parameters.get(name)
            if isinstance(bounds, Range):
                assert isinstance(value, float)
                assert bounds.low <= value <= bounds.high
        hyper = {k: v for k, v in one.items() if k not in ("method", "learning_rate")}
        assert make_method(str(one["method"]), **hyper).name == one["method"]


def test_freeze_is_searched_only_when_asked_for() -> None:
    assert "freeze" not in build_search_space(("dps-dense",), "gradient", 22_000_000, 60).parameters
    assert build_search_space(("dps-dense",), "update", 22_000_000, 60).parameters["freeze"] == Choice(
        ("update",)
    )


def test_freeze_search_tries_both() -> None:
    space = build_search_space(("dps-dense",), "search", 22_000_000, 60)
    assert space.parameters["freeze"] == Choice(("gradient", "update"))
    assert {str(one["freeze"]) for one in proposals(space)} == {"gradient", "update"}


@pytest.mark.parametrize("freeze", ["gradient", "update"])
def test_a_fixed_freeze_reaches_the_method(freeze: str) -> None:
    space = build_search_space(("dps-dense", "vanilla"), freeze, 22_000_000, 60)
    for one in proposals(space, 8):
        hyper = {k: v for k, v in one.items() if k not in ("method", "learning_rate")}
        assert getattr(make_method(str(one["method"]), **hyper), "freeze", freeze) == freeze


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (("magic",), "choose one of dps-dense, dps-mix, vanilla, "),
        (("dps-dense", "magic"), "choose one of dps-dense"),
        (("",), "choose one of dps-dense"),
        (("DPS-Dense",), r"did you mean dps-dense\?"),
        (("dps_dense",), r"did you mean dps-dense\?"),
    ],
)
def test_an_unknown_method_is_refused(names: tuple[str, ...], advice: str) -> None:
    with pytest.raises(InputError, match=rf"--method: there is no method .*; {advice}"):
        build_search_space(names, "gradient", 22_000_000, 60)


def test_spaces_that_differ_are_described_differently() -> None:
    described = [
        build_search_space(methods, freeze, size, steps).to_description()
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


@pytest.mark.parametrize("sampler", ["gp", "latin", "grid"])
def test_what_cannot_search_several_methods_is_refused(sampler: str) -> None:
    with pytest.raises(InputError, match=f"--sampler: {sampler} cannot search several methods"):
        check_methods_and_sampler(("dps-dense", "vanilla"), sampler)
    check_methods_and_sampler(("dps-dense",), sampler)


def one_of(method: str, named: dict[str, Any] | None = None, layers: int = 12) -> SearchSpace:
    """The space of one method for a small model and 300 steps."""
    return build_search_space((method,), "gradient", 22_000_000, 300, layers, named)


def place(domain: Range, value: float) -> float:
    """Where a value lies in its range, from 0 to 1, on the range's own scale."""
    if domain.log:
        return float(np.log(value / domain.low) / np.log(domain.high / domain.low))
    return (value - domain.low) / (domain.high - domain.low)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [1, 4, 7])
def test_a_latin_design_uses_each_part_of_each_range_once(method: str, count: int) -> None:
    space = one_of(method)
    design = space.draw_latin_hypercube(count, seed=3)
    assert len(design) == count
    for name, domain in space.parameters.items():
        column = [row[name] for row in design]
        if isinstance(domain, Range):
            assert sorted(int(place(domain, value) * count) for value in column) == list(range(count))
        else:
            uses = Counter(column)
            assert max(uses.values()) - min(uses.get(value, 0) for value in domain.values) <= 1


def test_a_latin_design_starts_with_any_value_of_a_list() -> None:
    first = {one_of("child-tuning-d").draw_latin_hypercube(1, seed)[0]["reserve_p"] for seed in range(30)}
    assert first == {0.1, 0.2, 0.3}


def test_a_latin_design_is_the_same_again_and_another_with_another_seed() -> None:
    space = one_of("dps-dense")
    assert space.draw_latin_hypercube(4, 1) == space.draw_latin_hypercube(4, 1)
    assert space.draw_latin_hypercube(4, 1) != space.draw_latin_hypercube(4, 2)


def test_a_parameter_of_a_latin_design_does_not_depend_on_the_others() -> None:
    rates = {
        name: [row["learning_rate"] / method.learning_rate_factor for row in design]
        for name, method in METHODS.items()
        if (design := one_of(name).draw_latin_hypercube(4, 1))
    }
    assert all(found == pytest.approx(rates["vanilla"]) for found in rates.values())
    ratios = [
        [row["selection_ratio"] for row in one_of(m).draw_latin_hypercube(4, 1)]
        for m in ("dps-dense", "dps-mix")
    ]
    assert ratios[0] == ratios[1]


def test_the_parameters_of_a_latin_design_are_not_in_step() -> None:
    design = one_of("dps-dense").draw_latin_hypercube(40, 0)
    columns = [[row[name] for row in design] for name in ("learning_rate", "selection_ratio", "update_ratio")]
    ranks = np.argsort(np.argsort(columns))
    assert np.abs(np.corrcoef(ranks) - np.eye(3)).max() < 0.5


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"p": [0.1, 0.8]}, Choice((0.1, 0.8))),
        ({"p": 0.3}, Choice((0.3,))),
        ({"p": ["1e-1", "0.8"]}, Choice((0.1, 0.8))),
        ({"p": [0.3, 0.3, "0.3"]}, Choice((0.3,))),
        ({"p": {"low": 0.2, "high": 0.4}}, Range(0.2, 0.4)),
        ({"p": {"low": "2e-1", "high": 0.4, "log": True}}, Range(0.2, 0.4, log=True)),
    ],
)
def test_space_puts_its_own_domain_in_place_of_the_default(named: dict[str, Any], expected: object) -> None:
    space = one_of("mixout", named)
    assert space.parameters["p"] == expected
    assert space.parameters["learning_rate"] == one_of("mixout").parameters["learning_rate"]


@pytest.mark.parametrize("named", [{}, {"learning_rate": [1e-5, 2e-5]}], ids=["default", "given"])
def test_a_method_has_learning_rates_of_its_own_unless_they_are_given(named: dict[str, Any]) -> None:
    space = build_search_space(("vanilla", "lora", "dora", "ia3"), "gradient", 110_000_000, 60, 0, named)
    rates = {m: space.parameters[names["learning_rate"]] for m, names in space.study_names.items()}
    if named:
        assert {*rates.values()} == {Choice((1e-5, 2e-5))}
        return
    assert rates == {
        "vanilla": Range(1e-5, 1e-4, log=True),
        "lora": Range(1e-4, 1e-3, log=True),
        "dora": Range(1e-4, 1e-3, log=True),
        "ia3": Range(5e-4, 5e-3, log=True),
    }
    for one in proposals(space, 40):
        rate = rates[str(one["method"])]
        assert isinstance(rate, Range)
        assert rate.low <= one["learning_rate"] <= rate.high  # type: ignore[operator]
        assert space.from_study_values(space.to_study_values(one)) == one
    first = {one["method"]: one["learning_rate"] for one in space.list_published()}
    assert first["lora"] == pytest.approx(10 * first["vanilla"])


def test_a_method_that_needs_classes_is_refused_for_a_regression() -> None:
    refuse_regression(("vanilla", "label-smoothing"), get_task("cola"))
    refuse_regression(("vanilla",), get_task("stsb"))
    with pytest.raises(InputError, match="label-smoothing needs classes, but the labels of stsb are numbers"):
        refuse_regression(("vanilla", "label-smoothing"), get_task("stsb"))


def test_space_sets_the_learning_rate_of_every_method() -> None:
    named = {"learning_rate": ["1e-5", 2e-5]}
    space = build_search_space(("vanilla", "dps-dense"), "gradient", 22_000_000, 60, 0, named)
    assert space.parameters["learning_rate"] == Choice((1e-5, 2e-5))
    assert {one["learning_rate"] for one in proposals(space)} == {1e-5, 2e-5}


def test_how_long_and_on_what_batches_is_searched_by_all_methods() -> None:
    named = {"epochs": "2..8", "batch_size": [8, 32], "weight_decay": "1e-3..1e-1:log", "warmup_ratio": 0.06}
    values = {"epochs": 3, "batch_size": 16, "weight_decay": 0.01, "warmup_ratio": 0.1}
    space = build_search_space(("vanilla", "mixout"), "gradient", 22_000_000, 60, 0, named, values)
    assert {name: space.parameters[name] for name in named} == {
        "epochs": Range(2.0, 8.0),
        "batch_size": Choice((8, 32)),
        "weight_decay": Range(1e-3, 1e-1, log=True),
        "warmup_ratio": Choice((0.06,)),
    }
    assert {one["method"] for one in proposals(space) if named.keys() <= one.keys()} == {"vanilla", "mixout"}
    first = space.list_published()[0]  # as the options say, or the nearest value that is searched
    assert {name: first[name] for name in named} == {**values, "batch_size": 8, "warmup_ratio": 0.06}
    outside = space.for_method("dps-dense").parameters
    assert outside == {name: space.parameters[name] for name in ("learning_rate", *named)}


def test_published_values_are_written_as_the_list_writes_them() -> None:
    """0 and 0.0 are one value, and would be two configurations."""
    named = {"learning_rate": [1e-4], "dropout_ratio": [0, 0.1]}
    space = build_search_space(("vanilla-no-dropout",), "gradient", 22_000_000, 60, 0, named)
    published = {json.dumps(one) for one in space.list_published()}
    assert published < {json.dumps(space.from_study_values(values)) for values in space.shuffle_grid(0)}


SIZES = {"small": ModelSize(22_000_000, 6), "large": ModelSize(340_000_000, 24)}


def build_over_models(named: dict[str, Any], *methods: str) -> SearchSpace:
    values = {"epochs": 4.0, "max_length": 128}
    return build_search_space(methods, "gradient", 0, 60, 0, named, values, SIZES)


def test_each_model_has_learning_rates_of_its_own_and_a_space_of_its_own_on_request() -> None:
    named = {
        "model": {"small": None, "large": {"epochs": [2, 3]}},
        "epochs": "2..10",
        "max_length": [64, 128],
    }
    space = build_over_models(named, "top-k", "lora")
    own = {
        "top-k": {
            "small": (Range(3e-5, 5e-4, log=True), 3, 6),
            "large": (Range(5e-6, 5e-5, log=True), 3, 12),
        },
        "lora": {
            "small": (Range(3e-4, 5e-3, log=True), 8, 16),
            "large": (Range(5e-5, 5e-4, log=True), 8, 16),
        },
    }
    seen = set()
    for one in proposals(space, 60):
        method, model = str(one["method"]), str(one["model"])
        rate, fewest, most = own[method][model]
        assert rate.low <= float(one["learning_rate"]) <= rate.high  # type: ignore[arg-type]
        assert fewest <= int(one["layers" if method == "top-k" else "rank"]) <= most  # type: ignore[call-overload]
        assert (one["epochs"] in (2, 3)) is (model == "large")
        assert space.from_study_values(space.to_study_values(one)) == one
        assert space.for_method(method).from_study_values(space.to_study_values(one)) == one
        seen.add((method, model, one["max_length"]))
    assert len(seen) == 8
    assert [(each["method"], each["model"], each["epochs"]) for each in space.list_published()] == [
        *(("top-k", "small", 4.0), ("top-k", "large", 3), ("lora", "small", 4.0), ("lora", "large", 3))
    ]
    published = space.get_published("lora", "large")
    assert published is not None
    assert (published["model"], published["rank"]) == ("large", 8)
    assert published["learning_rate"] == pytest.approx(math.sqrt(5e-5 * 5e-4))


def test_what_one_model_searches_alone_is_as_usual_on_the_others() -> None:
    named = {
        "model": {"small": None, "large": {"epochs": [2, 3], "max_length": [32], "freeze": ["update"]}},
        "learning_rate": [1e-4],
    }
    space = build_over_models(named, "dps-dense")
    usual = {"epochs": 4.0, "max_length": SIZES["small"].max_length, "freeze": "gradient"}
    for one in [*proposals(space, 20), *space.list_published()]:
        found = {name: one[name] for name in usual}
        assert found == (
            usual if one["model"] == "small" else {**found, "max_length": 32, "freeze": "update"}
        )
        assert one["model"] == "small" or one["epochs"] in (2, 3)
    assert space.for_baseline("vanilla").count_open("vanilla") == 2  # model and epochs


def test_a_baseline_is_tuned_over_the_models_too_and_a_design_gives_all_the_same_places() -> None:
    space = build_over_models({"model": ["small", "large"]}, "dps-dense")
    baseline = space.for_baseline("lora")
    assert baseline.parameters == {
        "model": Choice(("small", "large")),
        "small.learning_rate": Range(3e-4, 5e-3, log=True),
        "large.learning_rate": Range(5e-5, 5e-4, log=True),
    }
    rows = baseline.draw_latin_hypercube(8, 0)
    places = {
        name: sorted(math.log(row[name] / domain.low) / math.log(domain.high / domain.low) for row in rows)
        for name, domain in baseline.parameters.items()
        if isinstance(domain, Range)
    }
    assert places["small.learning_rate"] == pytest.approx(places["large.learning_rate"])
    assert Counter(row["model"] for row in rows) == {"small": 4, "large": 4}


def test_a_method_named_in_the_space_may_have_a_space_of_its_own() -> None:
    named = {"method": {"vanilla": {"learning_rate": [1e-5]}, "lora": {"rank": [4], "epochs": [9]}}}
    space = build_search_space(("vanilla", "lora"), "gradient", 22_000_000, 60, 0, named)
    found = {one["method"]: one for one in proposals(space, 30)}
    assert found["vanilla"] == {"method": "vanilla", "learning_rate": 1e-5}
    assert (found["lora"]["rank"], found["lora"]["epochs"]) == (4, 9)


def test_space_sets_what_a_method_has_but_does_not_search() -> None:
    assert one_of("r3f", {"sigma": 1e-4}).parameters["sigma"] == Choice((1e-4,))
    assert one_of("dps-dense", {"freeze": ["update", "gradient"]}).parameters["freeze"] == Choice(
        ("update", "gradient")
    )
    assert one_of("top-k", {"layers": ["2", 4]}).parameters["layers"] == Choice((2, 4))


@pytest.mark.parametrize(
    ("method", "named", "says"),
    [
        ("mixout", {"q": 0.1}, "--space: mixout has no hyper-parameter 'q'"),
        ("vanilla", {"p": 0.1}, "--space: vanilla has no hyper-parameter 'p'"),
        ("mixout", {"p": []}, "--space: p has an empty list"),
        ("mixout", {"p": None}, "--space: p takes finite numbers.* but got None"),
        ("mixout", {"p": [[0.1]]}, r"--space: p takes finite numbers.* but got \[0.1\]"),
        ("mixout", {"p": "nan"}, "--space: p takes finite numbers.* but got nan"),
        ("mixout", {"p": 1.5}, "--space: mixout: p must be .* but got 1.5"),
        ("mixout", {"p": "high"}, "--space: mixout: "),
        ("mixout", {"p": [0.1, 1.5]}, "--space: mixout: p must be .* but got 1.5"),
        ("mixout", {"p": {"low": 0.5, "high": 1.5}}, "--space: mixout: p must be .* but got 1.5"),
        ("mixout", {"p": {"low": 0.5, "high": 0.5}}, "--space: p needs finite numbers with low < high"),
        ("mixout", {"p": {"low": 0.8, "high": 0.1}}, "--space: p needs finite numbers with low < high"),
        ("mixout", {"p": {"low": 0.1, "high": "inf"}}, "--space: p needs finite numbers"),
        ("mixout", {"p": {"low": "a", "high": 1}}, "--space: p needs finite numbers"),
        ("mixout", {"p": {"high": 0.5}}, "--space: p needs low and high, but has no low"),
        ("mixout", {"p": {"low": 0.1, "high": 0.5, "scale": "log"}}, "low, high and log, but got 'scale'"),
        ("mixout", {"p": {"low": 0.1, "high": 0.5, "log": "yes"}}, "log of p is true or false"),
        ("mixout", {"p": {"low": 0, "high": 0.5, "log": True}}, "p needs low above 0 on a log scale"),
        ("top-k", {"layers": {"low": 1, "high": 3}}, "--space: top-k: layers takes a list of whole numbers"),
        ("top-k", {"layers": [1.5]}, "--space: top-k: layers takes a list of whole numbers, but got 1.5"),
        ("vanilla", {"learning_rate": 0}, "--space: learning_rate must be above 0, but got 0"),
        ("vanilla", {"learning_rate": [1e-5, -1e-5]}, "--space: learning_rate must be above 0"),
        ("vanilla", {"learning_rate": "fast"}, "--space: learning_rate must be a number, but got 'fast'"),
        ("vanilla", {"learning_rate": {"low": 0, "high": 1e-4}}, "--space: learning_rate must be above 0"),
        ("vanilla", {"epoch": 3}, "vanilla has no hyper-parameter 'epoch'; did you mean epochs?"),
        ("vanilla", {"q": 3}, "no hyper-parameter 'q'; choose one of batch_size, dropout_ratio, epochs"),
        ("vanilla", {"epochs": [0, 3]}, "--space: epochs must be above 0, but got 0"),
        ("vanilla", {"epochs": "8..2"}, "--space: epochs needs finite numbers with low < high"),
        ("vanilla", {"batch_size": "8..32"}, "--space: batch_size takes a list of whole numbers"),
        ("vanilla", {"warmup_ratio": 1.5}, r"--space: warmup_ratio must be in \[0, 1\], but got 1.5"),
        ("vanilla", {"weight_decay": -1}, "--space: weight_decay must be at least 0, but got -1"),
        ("dps-dense", {"freeze": "never"}, "--space: dps-dense: "),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_searched_is_refused_in_one_line(
    method: str, named: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        one_of(method, named)
    assert "\n" not in str(refusal.value)


def test_two_methods_with_other_ranges_have_parameters_of_their_own() -> None:
    space = build_search_space(
        ("child-tuning-f", "child-tuning-d", "dps-dense", "dps-mix"), "gradient", 22_000_000, 60
    )
    assert set(space.parameters) == {
        "learning_rate", "reserve_p", "child-tuning-d.reserve_p", "selection_ratio", "update_ratio",
    }  # fmt: skip
    seen = {}
    for one in proposals(space, 80):
        seen.setdefault(one["method"], set()).add(one.get("reserve_p"))
    assert seen["child-tuning-f"] == {0.2, 0.3, 0.4}
    assert seen["child-tuning-d"] == {0.1, 0.2, 0.3}


@pytest.mark.parametrize("methods", [*((name,) for name in METHODS), tuple(METHODS)], ids="+".join)
def test_a_configuration_goes_into_the_study_and_comes_back(methods: tuple[str, ...]) -> None:
    space = build_search_space(methods, "search", 22_000_000, 60, 12)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for one in proposals(space, 4 * len(methods)):
        study.enqueue_trial(space.to_study_values(one))
        assert space.suggest(study.ask()) == one


GRID = {"learning_rate": [1e-5, 2e-5, 3e-5], "p": [0.1, 0.8]}
EVERY = set(itertools.product(GRID["learning_rate"], GRID["p"]))


def tried(trials: int, **changes: Any) -> list[tuple[float, float]]:
    """(learning rate, p) of every configuration that a search of the grid tries, in order."""
    ledger = Ledger(None, "max")
    plan = strategy(
        Path("work"), trials, space=one_of("mixout", GRID), sampler="grid", confirmation_seeds=1, **changes
    )
    tune = FakeTune(SearchPhases(ledger, plan, [], lambda: False))
    tune.run()
    assert tune.finished
    assert len(ledger.records("confirmation")) == 1
    return [(r.configuration["learning_rate"], r.configuration["p"]) for r in ledger.records("search")]


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("trials", [6, 50])
def test_a_grid_runs_every_combination_once_and_ends(trials: int, slots: int) -> None:
    seen = tried(trials, slots=slots)
    assert len(seen) == 6
    assert set(seen) == EVERY


def test_a_grid_that_is_cut_short_tries_different_combinations() -> None:
    seen = tried(4)
    assert len(seen) == len(set(seen)) == 4
    assert seen == tried(6)[:4]
    assert any(tried(6, seed=seed) != tried(6) for seed in (1, 2))


def test_a_grid_needs_a_list_for_every_parameter() -> None:
    with pytest.raises(
        InputError, match=r"grid needs a list for every parameter, but p of mixout is 0\.1 to 0\.8"
    ):
        one_of("mixout", {"learning_rate": [1e-5]}).list_grid()


MIXED = SearchSpace(
    methods=("a", "b"),
    parameters={
        "rate": Range(1e-5, 1e-3, log=True),
        "ratio": Range(0.0, 0.5),
        "kind": Choice(("x", "y", "z")),
        "fixed": Range(0.2, 0.2),
    },
    study_names={
        "a": {"rate": "rate", "ratio": "ratio", "kind": "kind"},
        "b": {"rate": "rate", "fixed": "fixed"},
    },
)


def test_configurations_become_rows() -> None:
    first = {"method": "a", "rate": 1e-4, "ratio": 0.1, "kind": "y"}
    second = {"method": "b", "rate": 1e-5, "fixed": 0.2}
    x = encode_configurations(MIXED, [first, second])
    root = np.sqrt(0.5)
    np.testing.assert_allclose(x[0], [root, 0, 0.5, 0.2, 0, root, 0, 0.5])
    np.testing.assert_allclose(x[1], [0, root, 0, 0.5, root / 3, root / 3, root / 3, 0.5])


def test_two_values_of_a_choice_are_one_apart() -> None:
    base = {"method": "a", "rate": 1e-4, "ratio": 0.1}
    x = encode_configurations(MIXED, [base | {"kind": kind} for kind in ("x", "y", "z")])
    assert np.linalg.norm(x[0] - x[1]) == pytest.approx(1)
    assert np.linalg.norm(x[1] - x[2]) == pytest.approx(1)


def test_rows_stay_within_0_and_1_and_there_may_be_none() -> None:
    outside = {"method": "a", "rate": 1.0, "ratio": -3.0, "kind": "an unknown one"}
    x = encode_configurations(MIXED, [outside])
    assert ((x >= 0) & (x <= 1)).all()
    assert encode_configurations(MIXED, []).shape == (0, 8)


def test_a_part_of_a_space_is_of_one_method() -> None:
    both = build_search_space(("dps-dense", "vanilla"), "gradient", 22_000_000, 60)
    assert both.for_method("vanilla").parameters == {"learning_rate": both.parameters["learning_rate"]}
    assert set(both.for_method("dps-dense").parameters) == {
        "learning_rate",
        "selection_ratio",
        "update_ratio",
    }
    foreign = build_search_space(("dps-dense",), "gradient", 22_000_000, 60).for_method("vanilla")
    configuration = {"method": "vanilla", "learning_rate": 1e-4}
    assert foreign.from_study_values(foreign.to_study_values(configuration)) == configuration


def test_the_size_of_a_space_counts_its_configurations() -> None:
    lists = {"learning_rate": [1e-5, 2e-5], "selection_ratio": [0.5, 0.7, 0.9], "update_ratio": 0.1}
    assert (
        build_search_space(("dps-dense", "vanilla"), "gradient", 22_000_000, 60, named=lists).size
        == 2 * 3 + 2
    )
    assert build_search_space(("vanilla",), "gradient", 22_000_000, 60).size == math.inf


@pytest.mark.parametrize("method", [*METHODS])
def test_a_search_begins_with_the_published_values_at_three_learning_rates(method: str) -> None:
    space = build_search_space((method,), "gradient", 22_000_000, 600, 6)
    found = space.list_published()
    rates = [configuration.pop("learning_rate") for configuration in found]
    low = 3e-5 * METHODS[method].learning_rate_factor
    assert [round(math.log(rate / low) / math.log(5e-4 / 3e-5), 6) for rate in rates] == [
        round(share, 6) for share in (1 / 2, 1 / 6, 5 / 6)
    ]
    defaults = vars(METHODS[method]())
    searched = [name for name in space.parameters if name != "learning_rate"]
    assert found == [{"method": method, **{name: defaults[name] for name in searched}}] * 3


def test_a_baseline_is_tuned_over_what_all_methods_share() -> None:
    named = {"epochs": [2, 4], "selection_ratio": [0.3, 0.6]}
    space = build_search_space(("dps-dense",), "gradient", 22_000_000, 60, named=named)
    for method in ("vanilla", "dps-dense"):
        baseline = space.for_baseline(method)
        assert baseline.methods == (method,)
        assert baseline.parameters == {name: space.parameters[name] for name in ("learning_rate", "epochs")}
    assert build_search_space(("lora",), "gradient", 22_000_000, 60).for_baseline("vanilla").parameters == {
        "learning_rate": Range(3e-5, 5e-4, log=True)
    }


def test_the_published_values_of_a_method_are_at_the_middle_learning_rate() -> None:
    space = build_search_space(("vanilla", "dps-dense"), "gradient", 22_000_000, 60)
    published = space.get_published("dps-dense")
    assert published in space.list_published()
    assert published is not None
    assert published.pop("learning_rate") == pytest.approx(math.sqrt(3e-5 * 5e-4))
    assert published == {"method": "dps-dense", "selection_ratio": 0.7, "update_ratio": 0.05}
    lacking = build_search_space(("top-k",), "gradient", 22_000_000, 60, named={"layers": [6]})
    assert lacking.get_published("top-k") is None


def test_published_values_stay_within_the_space() -> None:
    (one, *_) = build_search_space(("dps-dense",), "gradient", 22_000_000, 20).list_published()
    assert one["update_ratio"] == 0.15  # at least three steps a stage; the paper's 0.05 is one
    named = build_search_space(
        ("dps-dense",), "gradient", 22_000_000, 600, named={"selection_ratio": [0.2, 0.4]}
    )
    assert named.list_published() == []  # 0.7 is not on the list
    both = build_search_space(("dps-dense", "vanilla"), "gradient", 22_000_000, 600).list_published()
    assert [one["method"] for one in both] == ["dps-dense", "vanilla"]
    assert len({one["learning_rate"] for one in both}) == 1
