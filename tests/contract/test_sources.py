"""What every source promises (`dps.sources.base.Source`), over all sources and the GLUE tasks that they
have."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from dps.errors import InputError
from dps.sources.base import Source
from dps.sources.builtin import EXAMPLE_GENERATORS, BuiltinSource
from dps.tasks.registry import GLUE_TASKS
from dps.tasks.task import LABEL_COLUMN, Task

FIXTURE_ROWS = 6


def folder_source(folder: Path) -> Source:
    """A folder with a TSV file for every split of every task."""
    from dps.sources.folder import FolderSource

    for task in GLUE_TASKS.values():
        for split in task.splits:
            path = folder / task.name / f"{split}.tsv"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(_lines(task, split)) + "\n", encoding="utf-8")
    return FolderSource(folder)


def _lines(task: Task, split: str) -> list[str]:
    def row(number: int) -> str:
        label = f"{number / 2}" if task.is_regression else task.labels[number % len(task.labels)]
        return "\t".join([*(f"{split} {number} of {column}" for column in task.columns), label])

    return ["\t".join([*task.columns, LABEL_COLUMN]), *map(row, range(FIXTURE_ROWS))]


def builtin_source(_: Path) -> Source:
    """The generated data, which needs no folder."""
    return BuiltinSource()


SOURCES: dict[str, Callable[[Path], Source]] = {"folder": folder_source, "builtin": builtin_source}
PAIRS = [
    (source, GLUE_TASKS[name])
    for source in SOURCES
    for name in (EXAMPLE_GENERATORS if source == "builtin" else GLUE_TASKS)
]
CASES = [(source, task, split) for source, task in PAIRS for split in task.splits]
every_split = pytest.mark.parametrize(
    ("make", "task", "split"), CASES, ids=[f"{s}-{t.name}-{p}" for s, t, p in CASES], indirect=["make"]
)
every_task = pytest.mark.parametrize(
    ("make", "task"), PAIRS, ids=[f"{s}-{t.name}" for s, t in PAIRS], indirect=["make"]
)


@pytest.fixture(params=SOURCES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Source]:
    """Makes the same source anew with every call."""
    return lambda: SOURCES[request.param](tmp_path)


def test_kind_and_name(make: Callable[[], Source]) -> None:
    source = make()
    assert source.kind in ("hub", "folder", "builtin")
    assert source.name


@every_split
def test_columns_and_rows(make: Callable[[], Source], task: Task, split: str) -> None:
    data = make().load(task, split)
    assert sorted(data.columns) == sorted([*task.columns, LABEL_COLUMN])
    assert len(data) > 0


@every_split
def test_texts_are_not_empty(make: Callable[[], Source], task: Task, split: str) -> None:
    data = make().load(task, split)
    for column in task.columns:
        assert all(isinstance(text, str) and text.strip() for text in data[column][:])


@every_split
def test_labels_have_their_type_and_range(make: Callable[[], Source], task: Task, split: str) -> None:
    labels = make().load(task, split)[LABEL_COLUMN][:]
    if task.is_regression:
        low, high = task.score_range or (-math.inf, math.inf)
        assert all(isinstance(label, float) and low <= label <= high for label in labels)
    else:
        assert all(type(label) is int and 0 <= label < len(task.labels) for label in labels)
        assert set(labels) == set(range(len(task.labels)))


@every_split
def test_same_rows_in_the_same_order(make: Callable[[], Source], task: Task, split: str) -> None:
    source = make()
    data = source.load(task, split).columns
    assert source.load(task, split).columns == data
    assert make().load(task, split).columns == data


@every_task
def test_splits_differ(make: Callable[[], Source], task: Task) -> None:
    source = make()
    contents = [str(source.load(task, split).columns) for split in task.splits]
    assert len(set(contents)) == len(contents)


@every_task
def test_fingerprint_is_stable(make: Callable[[], Source], task: Task) -> None:
    source = make()
    fingerprint = source.fingerprint(task)
    assert int(fingerprint, 16) >= 0
    assert source.fingerprint(task) == make().fingerprint(task) == fingerprint


def test_tasks_have_different_fingerprints(make: Callable[[], Source]) -> None:
    source = make()
    fingerprints = {source.fingerprint(GLUE_TASKS[name]) for name in EXAMPLE_GENERATORS}
    assert len(fingerprints) == len(EXAMPLE_GENERATORS)


def test_an_unknown_split_is_refused_in_one_line(make: Callable[[], Source]) -> None:
    with pytest.raises(InputError) as caught:
        make().load(GLUE_TASKS["cola"], "no such split")
    assert len(str(caught.value).splitlines()) == 1
