"""Data sets of the hub whose classes have names of their own."""

from __future__ import annotations

from typing import Any

import pytest

from dps.errors import InputError
from dps.sources.examples import make_dataset
from dps.sources.hub import iterate_rows
from dps.sources.readers import DataOrigin
from dps.tasks.task import Task

STARS = ("1 star", "2 stars", "3 stars")


def read(values: list[Any], multi_label: bool = False) -> list[Any]:
    """The labels of a data set that keeps ids, and has the names beside."""
    from datasets import ClassLabel, Dataset, Features, List, Value

    feature: Any = ClassLabel(names=list(STARS))
    features = Features({"text": Value("string"), "label": List(feature) if multi_label else feature})
    columns = {"text": [f"w{n}" for n in range(len(values))], "label": values}
    task = Task("own", ("text",), STARS, ("macro_f1",), multi_label=multi_label)
    rows = iterate_rows(Dataset.from_dict(columns, features=features), "label")
    made = make_dataset(task, DataOrigin("hub", ": row "), rows)
    assert made.label_note == ""
    return list(made["label"])


@pytest.mark.parametrize("ids", [[2, 1], [0, 1, 2], [1, 2, 1]])
def test_ids_of_a_data_set_that_names_its_classes_are_ids(ids: list[int]) -> None:
    assert read(ids) == ids


def test_lists_of_them() -> None:
    assert read([[0, 2], [1], []], multi_label=True) == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_a_hidden_label_is_refused() -> None:
    with pytest.raises(InputError, match="hub: row 2: label -1 is not one of task own"):
        read([0, -1])
