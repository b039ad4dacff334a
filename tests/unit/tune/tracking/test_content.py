"""What MLflow is told of a search."""

from __future__ import annotations

from dataclasses import replace

from dps.ranges import Choice, Range
from tests.unit.tune.helpers import change_spaces, make_plan, make_space, track_plan
from tune.tracking.content import collect_options


def test_an_option_that_is_searched_has_its_range() -> None:
    space = make_space()
    searched = {
        "epochs": Range(2, 10, log=True),
        "vanilla.batch_size": Choice((8, 32)),
        "max_length": Choice((64,)),
    }
    plan = change_spaces(
        make_plan(batch_size=16), {"": replace(space, parameters={**space.parameters, **searched})}
    )
    params, _ = collect_options(track_plan(plan))
    assert params["option.epochs"] == "searched: 2 to 10, log scale"
    assert params["option.batch_size"] == "searched: 8 | 32"
    assert params["option.task"] == "cola"
    assert "option.learning_rate" not in params
    assert params["option.max_length"] == "64"
