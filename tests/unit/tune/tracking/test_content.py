"""What MLflow is told of a search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dps.ranges import Choice, Range
from tests.unit.tune.helpers import change_spaces, make_plan, make_space, track_plan
from tests.unit.tune.reporting.test_document import proven, told
from tune.tracking.content import collect_options, collect_search_metrics


def test_a_mean_that_counts_a_run_that_diverged_has_no_spread_of_the_others(tmp_path: Path) -> None:
    found = told(make_plan(), proven(tmp_path)[0], tmp_path)
    assert found.evidence is not None
    assert collect_search_metrics(found)["dev_matthews_correlation_std"] > 0
    found.evidence = replace(found.evidence, diverged=1)
    assert "dev_matthews_correlation_std" not in collect_search_metrics(found)


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
