"""Checks rows against a task and turns them into the data set that a Source returns."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from dps.sources.labels import choose_label_reading, format_label
from dps.sources.readers import DataOrigin, DataRow, explain_separator
from dps.tasks.definition import SURROGATE_PATTERN, make_definition
from dps.tasks.examples import ExampleTable
from dps.tasks.task import GROUP_COLUMN, LABEL_COLUMN
from dps.text import quote_value

if TYPE_CHECKING:
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

# Largest share of unusable rows that are left out, with a warning, instead of refused. The published QQP has
# about 25 in 363,870: rows broken in two by a line end, and two empty questions
# (github.com/huggingface/datasets/issues/277).
MAX_DEFECT_SHARES = {"qqp": 1e-4}


@dataclass(frozen=True)
class CheckedRows:
    """Rows of a file or data set, checked against a task.

    columns: values of the usable rows by column: texts, the group if the task has one (empty where a row has
        none), and the label as a task has it.
    defects: errors of the other rows, each with its number; in their order.
    label_note: how the labels were read, if that is not by their names.
    """

    columns: dict[str, list[Any]]
    defects: list[InputError]
    label_note: str

    @property
    def labels(self) -> list[Any]:
        """Labels of the usable rows."""
        return self.columns[LABEL_COLUMN]


def check_rows(task: Task, origin: DataOrigin, rows: Iterable[DataRow]) -> CheckedRows:
    """Check every row against a task: the one rule for searches, `dps.finetune` and proposals of tasks.

    A column is found under the task's name for it or, failing that, under GLUE's.

    Raises InputError naming origin, row and value for a missing column, and for labels that could mean
    different things.
    """
    names: dict[str, str] = {}
    read: list[tuple[int, list[str], object]] = []
    defects: list[tuple[int, InputError]] = []
    for row in rows:
        if not names and not row.problem:
            names = _match_columns(task, origin, row)
        try:
            read.append((row.number, *_read_row(task, origin, row, names)))
        except InputError as error:
            defects.append((row.number, error.with_traceback(None)))
    try:
        reading = choose_label_reading(task, [value for _, _, value in read])
    except InputError as error:
        raise InputError(f"{origin.name}: {error}") from None
    columns: dict[str, list[Any]] = {name: [] for name in (*_list_text_columns(task), LABEL_COLUMN)}
    for number, texts, value in read:
        try:
            label = reading.parse(value)
        except InputError as error:
            defects.append((number, origin.make_error(number, str(error))))
            continue
        for column, field in zip(columns, (*texts, label), strict=True):
            columns[column].append(field)
    ordered = [error for _, error in sorted(defects, key=lambda defect: defect[0])]
    return CheckedRows(columns, ordered, reading.note)


def make_dataset(task: Task, origin: DataOrigin, rows: Iterable[DataRow]) -> ExampleTable:
    """Make the data set of `rows`, as the contract of `dps.sources.base.Source` requires.

    Raises InputError naming origin, row and value: a missing column, a row that is not split into columns, a
    text that is empty or not text, a label outside the task's set or range; or no rows at all.
    """
    checked = check_rows(task, origin, rows)
    _judge_defects(task, origin, checked)
    return ExampleTable(checked.columns, checked.label_note)


def fingerprint_examples(task: Task, examples: ExampleTable) -> str:
    """Return 16 hex digits of the SHA-256 of a split as `task` reads it: its definition, texts and labels.

    Everything that decides the numbers of a run is in it; what a file looks like is not.
    """
    digest = hashlib.sha256(json.dumps(make_definition(task)).encode())
    for batch in examples.iter(batch_size=1000):
        digest.update(json.dumps(batch, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def describe_unusable_rows(first: InputError, count: int) -> str:
    """Describe rows of which none is usable. first: what is wrong with the first of them."""
    return str(first) if count == 1 else f"{first} (none of {count:,} rows is usable)"


def _judge_defects(task: Task, origin: DataOrigin, checked: CheckedRows) -> None:
    """Raise InputError if there are no rows, or more unusable ones than a task may have."""
    defects, usable = checked.defects, len(checked.labels)
    if len(defects) > MAX_DEFECT_SHARES.get(task.name, 0.0) * (usable + len(defects)):
        raise defects[0] if usable else InputError(describe_unusable_rows(defects[0], len(defects)))
    if not usable:
        raise InputError(f"{origin.name}: no rows; at least one is needed")
    if defects:
        log.warning("task %s: %d unusable rows left out, the first: %s", task.name, len(defects), defects[0])


def _list_text_columns(task: Task) -> tuple[str, ...]:
    """Return the columns of examples beside the label."""
    return (*task.columns, GROUP_COLUMN) if task.group else task.columns


def _match_columns(task: Task, origin: DataOrigin, row: DataRow) -> dict[str, str]:
    """Map each column of the task to its name in the file."""
    aliases = GLUE_COLUMN_NAMES.get(task.name, {})
    names = {}
    own_names = {LABEL_COLUMN: task.label, GROUP_COLUMN: task.group}
    for column in (*_list_text_columns(task), LABEL_COLUMN):
        name = own_names.get(column, column)
        candidates = [alias for alias in (name, aliases.get(column, name)) if alias in row.values]
        if not candidates:
            raise make_column_error(origin, row, name)
        names[column] = candidates[0]
    return names


def make_column_error(origin: DataOrigin, row: DataRow, column: str) -> InputError:
    """Return the error of a row that lacks a column, with the likely reason where one is known."""
    present = ", ".join(quote_value(name, 30) for name in row.values if name) or "none"
    reason = explain_separator(origin.name, [*row.values])
    advice = f"; {reason}" if reason else ""
    return origin.make_error(row.number, f"no column {column!r}; the columns are {present}{advice}")


def _read_row(
    task: Task, origin: DataOrigin, row: DataRow, names: dict[str, str]
) -> tuple[list[str], object]:
    """Return (the checked texts of one row, its group behind them if the task has one, the value of its
    label)."""
    if row.problem:
        raise origin.make_error(row.number, row.problem)
    absent = [name for name in names.values() if name not in row.values]
    if absent:
        raise make_column_error(origin, row, absent[0])
    try:
        texts = [check_text(names[column], row.values[names[column]]) for column in task.columns]
    except InputError as error:
        raise origin.make_error(row.number, str(error)) from None
    if task.group:
        texts.append(format_label(row.values[names[GROUP_COLUMN]]) or "")
    return texts, row.values[names[LABEL_COLUMN]]


def check_text(column: str, value: object) -> str:
    """Return a value that is a non-empty text. Raises InputError naming the column for any other."""
    if not isinstance(value, str):
        raise InputError(f"column {column!r} must be text, got {quote_value(value)}")
    if not value.strip():
        raise InputError(f"column {column!r} is empty ({quote_value(value)}); give a text or remove the row")
    if SURROGATE_PATTERN.search(value):
        raise InputError(f"column {column!r} has half a surrogate pair: {quote_value(value)}")
    return value
