"""The names of runs, and which scores are better."""

from __future__ import annotations

import pytest

from tune.core.direction import Direction
from tune.core.run import RunId


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("3", RunId("search", 3)),
        ("race-0", RunId("race", 0)),
        ("confirm-12", RunId("confirmation", 12)),
        ("dps-dense:3", RunId("search", 3, "dps-dense")),
        ("child-tuning-d:confirm-1", RunId("confirmation", 1, "child-tuning-d")),
    ],
)
def test_the_name_of_a_run_is_read_back(text: str, run: RunId) -> None:
    assert (RunId.parse(text), str(run)) == (run, text)


@pytest.mark.parametrize("text", ["", "race-", "confirm", "-1", "x-1", "confirmation-1", "1.5", "vanilla:"])
def test_what_is_no_name_of_a_run_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="run id"):
        RunId.parse(text)


def test_times_its_sign_the_higher_score_is_better() -> None:
    assert (Direction("max").sign, Direction("min").sign) == (1, -1)
