"""Data handed over in Python: read as they are meant, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from dps.errors import InputError
from dps.tasks.definition import read_task_file
from tune.own_data import write_own_task

TEAMS = [("It crashes.", "bug"), ("The invoice is wrong.", "billing"), ("I love it.", "praise")] * 20
FRAME = pd.DataFrame(
    [(f"{text} {n}", team) for n, (text, team) in enumerate(TEAMS)], columns=["text", "team"]
)
MIXED = [1 if n % 2 else "x" for n in range(len(FRAME))]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_names_of_classes_are_kept() -> None:
    """Those of a data set whose labels are numbers with names, as most of the hub's are."""
    data = Dataset.from_pandas(FRAME).class_encode_column("team")
    assert isinstance(data[0]["team"], int)
    assert read_task_file(write_own_task(data, text="text", label="team")).labels == (
        "billing",
        "bug",
        "praise",
    )


def test_the_names_of_several_labels_are_kept() -> None:
    data = Dataset.from_pandas(FRAME)
    features = Features({"text": Value("string"), "team": List(ClassLabel(names=["bug", "ui"]))})
    several = Dataset.from_dict({"text": data["text"], "team": [[0], [1], [0, 1]] * 20}, features=features)
    task = read_task_file(write_own_task(several, text="text", label="team"))
    assert (task.labels, task.multi_label) == (("bug", "ui"), True)


def test_columns_that_nobody_named_may_hold_anything() -> None:
    odd = FRAME.assign(mixed=MIXED, period=pd.Period("2026-01"), object=object())
    task = read_task_file(write_own_task(odd, text="text", label="team"))
    assert task.labels == ("billing", "bug", "praise")


@pytest.mark.parametrize(
    ("frame", "named", "said"),
    [
        (FRAME.assign(team=MIXED), {"text": "text", "label": "team"}, "train: a column cannot be read"),
        (FRAME.assign(z=MIXED), {}, "or give text= and label="),
        (pd.concat([FRAME, FRAME], axis=1), {}, "train: has several columns of one name"),
        (FRAME, {"text": ["text", "text"], "label": "team"}, "must be names of different columns"),
        (FRAME, {"text": 5, "label": "team"}, "must be names of different columns"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    frame: pd.DataFrame, named: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        write_own_task(frame, **named)
    assert "\n" not in str(refused.value)
