"""Checks rows against a task and turns them into the data set that a Source returns."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from dps.sources.multi_label import split_labels
from dps.sources.readers import DataOrigin, DataRow
from dps.tasks.definition import make_definition
from dps.tasks.task import LABEL_COLUMN
from dps.text import quote_value

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.tasks.task import Task

log = logging.getLogger(__name__)

# Column names of the GLUE files (for SNLI, of its authors'), where they differ from the task's.
INFERENCE_COLUMN_NAMES = {"premise": "sentence1", "hypothesis": "sentence2", LABEL_COLUMN: "gold_label"}
GLUE_COLUMN_NAMES: dict[str, dict[str, str]] = {
    "mrpc": {"sentence1": "#1 String", "sentence2": "#2 String", LABEL_COLUMN: "Quality"},
    "stsb": {LABEL_COLUMN: "score"},
    "qqp": {LABEL_COLUMN: "is_duplicate"},
    "mnli": INFERENCE_COLUMN_NAMES,
    "snli": INFERENCE_COLUMN_NAMES,
}

SURROGATE_PATTERN = re.compile("[\ud800-\udfff]")

# Largest share of unusable rows that are left out, with a warning, instead of refused. The published QQP has
# about 25 in 363,870: rows broken in two by a line end, and two empty questions
# (github.com/huggingface/datasets/issues/277).
MAX_DEFECT_SHARES = {"qqp": 1e-4}


def make_dataset(task: Task, origin: DataOrigin, rows: Iterable[DataRow]) -> Dataset:
    """Make the data set of `rows`, as the contract of `dps.sources.base.Source` requires.

    The label is an int64, a float64 for regression, a list of int64 for multi-label tasks. A column is found
    under the task's name for it or, failing that, under GLUE's.

    Raises InputError naming origin, row and value: a missing column, a row that is not split into columns, a
    text that is empty or not text, a label outside the task's set or range; or no rows at all.
    """
    from datasets import Dataset, Features, List, Value

    types = {name: Value("string") for name in task.columns}
    label: Any = Value("float64" if task.is_regression else "int64")
    if task.multi_label:
        label = List(label, length=len(task.labels))
    features = Features({**types, LABEL_COLUMN: label})
    return Dataset.from_dict(_collect_columns(task, origin, rows), features=features)


def fingerprint_examples(task: Task, examples: Dataset) -> str:
    """Return 16 hex digits of the SHA-256 of a split as `task` reads it: its definition, texts and labels.

    Everything that decides the numbers of a run is in it; what a file looks like is not.
    """
    digest = hashlib.sha256(json.dumps(make_definition(task)).encode())
    for batch in examples.iter(batch_size=1000):
        digest.update(json.dumps(batch, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _collect_columns(task: Task, origin: DataOrigin, rows: Iterable[DataRow]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in (*task.columns, LABEL_COLUMN)}
    names: dict[str, str] = {}
    defects: list[InputError] = []
    for row in rows:
        if not names and not row.problem:
            names = _match_columns(task, origin, row)
        try:
            example = _make_example(task, origin, row, names)
        except InputError as error:
            if task.name not in MAX_DEFECT_SHARES:
                raise
            defects.append(error.with_traceback(None))
            continue
        for column, value in example.items():
            columns[column].append(value)
    _check_defects(task, len(columns[LABEL_COLUMN]), defects)
    if not columns[LABEL_COLUMN]:
        raise InputError(f"{origin.name}: no rows; at least one is needed")
    return columns


def _check_defects(task: Task, usable: int, defects: list[InputError]) -> None:
    if not defects:
        return
    if len(defects) > MAX_DEFECT_SHARES[task.name] * (usable + len(defects)):
        raise defects[0]
    log.warning("task %s: %d unusable rows left out, the first: %s", task.name, len(defects), defects[0])


def _match_columns(task: Task, origin: DataOrigin, row: DataRow) -> dict[str, str]:
    """Map each column of the task to its name in the file."""
    aliases = GLUE_COLUMN_NAMES.get(task.name, {})
    names = {}
    for column in (*task.columns, LABEL_COLUMN):
        name = task.label if column == LABEL_COLUMN else column
        candidates = [alias for alias in (name, aliases.get(column, name)) if alias in row.values]
        if not candidates:
            raise _missing_column_error(origin, row, name)
        names[column] = candidates[0]
    return names


def _missing_column_error(origin: DataOrigin, row: DataRow, column: str) -> InputError:
    present = ", ".join(quote_value(name, 30) for name in row.values) or "none"
    return origin.make_error(row.number, f"no column {column!r}; the columns are {present}")


def _make_example(task: Task, origin: DataOrigin, row: DataRow, names: dict[str, str]) -> dict[str, Any]:
    """Return one checked example: a text for each of `task.columns`, and the label."""
    if row.problem:
        raise origin.make_error(row.number, row.problem)
    absent = [name for name in names.values() if name not in row.values]
    if absent:
        raise _missing_column_error(origin, row, absent[0])
    example: dict[str, Any] = {}
    try:
        for column in task.columns:
            example[column] = check_text(names[column], row.values[names[column]])
        example[LABEL_COLUMN] = _parse_label(task, row.values[names[LABEL_COLUMN]])
    except InputError as error:
        raise origin.make_error(row.number, str(error)) from None
    return example


def check_text(column: str, value: object) -> str:
    """Return a value that is a non-empty text. Raises InputError naming the column for any other."""
    if not isinstance(value, str):
        raise InputError(f"column {column!r} must be text, got {quote_value(value)}")
    if not value.strip():
        raise InputError(f"column {column!r} is empty ({quote_value(value)}); give a text or remove the row")
    if SURROGATE_PATTERN.search(value):
        raise InputError(f"column {column!r} has half a surrogate pair: {quote_value(value)}")
    return value


def _parse_label(task: Task, value: object) -> float | list[int]:
    if task.multi_label:
        return _parse_label_list(task, value)
    return _parse_score(task, value) if task.is_regression else _find_class_id(task, value)


def _parse_label_list(task: Task, value: object) -> list[int]:
    """Return 0 or 1 for each of the task's labels."""
    labels = split_labels(value, task.separator)
    if labels is None:
        rule = f"must be a list of labels, or a text with {task.separator!r} between the labels"
        raise InputError(f"label {rule}, got {quote_value(value)}")
    ids = {_find_class_id(task, label) for label in labels}
    return [int(number in ids) for number in range(len(task.labels))]


def _find_class_id(task: Task, value: object) -> int:
    """Return the id of a class that is given by name or, unless a name is a number, by id."""
    key = _format_class_key(value)
    ids = tuple(map(str, range(len(task.labels))))
    for keys in (task.labels, () if any(map(str.isdecimal, task.labels)) else ids):
        if key in keys:
            return keys.index(key)
    hint = " (the annotators did not agree; remove the row)" if key == "-" else ""
    known = ", ".join(f"{name} or {number}" for number, name in enumerate(task.labels))
    raise InputError(f"label {quote_value(value)}{hint} is not one of task {task.name}: {known}")


def _format_class_key(value: object) -> str | None:
    """Return a label as a task names it: a text, a whole number, true or false; None for anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.strip() if isinstance(value, str) else str(value) if isinstance(value, int) else None


def _parse_score(task: Task, value: object) -> float:
    low, high = task.score_range or (-math.inf, math.inf)
    score = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            score = float(value)
    if not (math.isfinite(score) and low <= score <= high):
        raise InputError(f"label must be a number in [{low:g}, {high:g}], got {quote_value(value)}")
    return score
