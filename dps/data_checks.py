"""Data files of a proposed task, and warnings of flaws in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dps.errors import InputError
from dps.models.lengths import measure_for_builtin_model
from dps.paths import DATA_SUFFIXES
from dps.sources.examples import CheckedRows, check_rows, describe_unusable_rows
from dps.sources.labels import ClassNames, parse_number
from dps.sources.readers import DataRow, check_suffix, get_data_origin, read_rows
from dps.sources.task_files import DEV_SHARE, split_off_dev
from dps.tasks.chance import check_labels_differ, check_metrics_rank
from dps.tasks.examples import ExampleTable
from dps.tasks.splits import (
    HOLDOUT_NAME,
    HOLDOUT_SHARE,
    fold_texts,
    hold_out_texts,
    normalise_text,
    number_examples,
)
from dps.tasks.task import LABEL_COLUMN, Task
from dps.text import quote_value
from dps.wording import format_count, list_names

MIN_CLASS_EXAMPLES = 10  # of a class, or for each class in dev; with fewer a score is mostly luck
MAX_LABEL_MAGNITUDE = 10  # of a regression label; training starts at 0
RARE_CLASS_SHARE = 0.1  # of the most frequent class: accuracy hardly depends on a rarer one

Texts = tuple[str, ...]


@dataclass(frozen=True)
class DataFile:
    """Data file.

    rows: those that could be split into columns.
    broken_rows: the others.
    """

    path: Path
    rows: list[DataRow]
    broken_rows: list[DataRow]

    @classmethod
    def read(cls, path: Path) -> DataFile:
        """Read a file. Raises InputError if it is missing, unreadable or has no usable rows."""
        if not path.is_file():
            raise InputError(f"--init-task: there is no {path}; give a {', '.join(DATA_SUFFIXES)} file")
        check_suffix(path)
        rows, origin = list(read_rows(path)), get_data_origin(path)
        good_rows, broken_rows = (
            [row for row in rows if bool(row.problem) == broken] for broken in (False, True)
        )
        if not rows:
            raise InputError(f"--init-task: {path} has no rows; at least one is needed")
        if not good_rows:
            first = origin.make_error(broken_rows[0].number, broken_rows[0].problem)
            raise InputError(f"--init-task: {describe_unusable_rows(first, len(rows))}")
        return cls(path, good_rows, broken_rows)

    def values(self, column: str) -> list[Any]:
        """Return the values of a column; None for a row without it."""
        return [row.values.get(column) for row in self.rows]


@dataclass(frozen=True)
class TaskProposal:
    """Proposed task.

    train, dev: files that it was inferred from.
    unused_columns: columns of them that it does not use.
    notes: what a user must know of the proposal itself.
    """

    train: DataFile
    dev: DataFile | None
    task: Task
    unused_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> dict[str, DataFile]:
        """Data files by split."""
        return {"train": self.train} | ({"dev": self.dev} if self.dev else {})

    @cached_property
    def checked(self) -> dict[str, CheckedRows]:
        """Rows by split, as a search reads them. Raises InputError if a split has no usable row."""
        checked = {}
        for split, file in self.files.items():
            rows = check_rows(self.task, get_data_origin(file.path), [*file.broken_rows, *file.rows])
            if not rows.labels:
                raise InputError(f"--init-task: {describe_unusable_rows(rows.defects[0], len(rows.defects))}")
            checked[split] = rows
        return checked

    @cached_property
    def examples(self) -> dict[str, list[tuple[Texts, Texts]]]:
        """(texts, labels) of every usable row, by split; one label unless the task is multi-label.

        Texts are normalised, see `normalise_text`.
        """
        examples = {}
        for split, rows in self.checked.items():
            texts = zip(*(map(normalise_text, rows.columns[name]) for name in self.task.columns), strict=True)
            labels = (_name_labels(self.task, label) for label in rows.labels)
            examples[split] = list(zip(texts, labels, strict=True))
        return examples

    @cached_property
    def keys(self) -> dict[str, list[Texts]]:
        """Key of the texts of each of `examples`, see `fold_texts`."""
        return {
            split: [fold_texts(texts) for texts, _ in examples] for split, examples in self.examples.items()
        }


def _name_labels(task: Task, label: Any) -> Texts:
    """Return the names of the labels of an example in the task's order; one if it is not multi-label."""
    if task.multi_label:
        return tuple(name for name, has in zip(task.labels, label, strict=True) if has)
    return (f"{label:g}" if task.is_regression else task.labels[label],)


def list_data_warnings(proposal: TaskProposal) -> list[str]:
    """Return what may be wrong with the data, a line each."""
    checks = (
        _warn_unusable_rows,
        _warn_refused_labels,
        _warn_label_kind,
        _warn_repeated_texts,
        _warn_contradictions,
        _warn_shared_texts,
        _warn_few_examples,
        _warn_long_texts,
    )
    return [line for check in checks for line in check(proposal)]


def _warn_unusable_rows(proposal: TaskProposal) -> list[str]:
    """Warn of rows that a search would refuse, and of a header that may be one of the rows."""
    warnings = list(proposal.notes)
    for rows in proposal.checked.values():
        if rows.defects:
            warnings.append(
                f"{_count_rows(len(rows.defects))} that a search refuses, the first: {rows.defects[0]}"
            )
    task = proposal.task
    header = ClassNames(task.labels).find(task.label) is not None
    if header or (task.is_regression and parse_number(task.label) is not None):
        rule = "is one of the classes" if header else "is a number"
        warnings.append(
            f"the header looks like a row: its label {quote_value(task.label)} {rule}; add a header"
        )
    return warnings


def _warn_refused_labels(proposal: TaskProposal) -> list[str]:
    """Warn of examples with which a search would refuse to start, as its preview does."""
    try:
        _check_labels(proposal)
    except InputError as error:
        return [f"a search refuses this: {error}"]
    return []


def _check_labels(proposal: TaskProposal) -> None:
    """Raise the InputError of a search with the usual options about labels that teach or measure nothing."""
    task = proposal.task
    tables = {split: ExampleTable(rows.columns) for split, rows in proposal.checked.items()}
    if proposal.dev is None:
        every = tables["train"]
        parts = split_off_dev(task, every, str(proposal.train.path))
        tables = dict(zip(("train", "dev"), map(every.select, parts), strict=True))
    labels = {split: np.asarray(table[LABEL_COLUMN]) for split, table in tables.items()}
    for split, values in labels.items():
        check_labels_differ(task, split, values)
    texts = number_examples(task, tables["train"])
    _, held_out = hold_out_texts(task, labels["train"], texts, HOLDOUT_SHARE, seed=0)
    for name, values in (("dev", labels["dev"]), (HOLDOUT_NAME, labels["train"][held_out])):
        check_metrics_rank(task, name, values)


def _warn_label_kind(proposal: TaskProposal) -> list[str]:
    """Warn of labels that may have another meaning."""
    task, warnings = proposal.task, []
    if task.is_regression:
        magnitude = max(map(abs, proposal.checked["train"].labels))
        if magnitude > MAX_LABEL_MAGNITUDE:
            warnings.append(
                f"numbers up to {magnitude:g}: training starts near 0; scale them to about "
                f"-{MAX_LABEL_MAGNITUDE} to {MAX_LABEL_MAGNITUDE}"
            )
    are_numbers = all(parse_number(label) is not None for label in task.labels)
    if len(task.labels) > 2 and are_numbers and not task.multi_label:
        warnings.append("the classes are numbers; if their order matters, change it to `kind: regression`")
    for difference, form in (
        ("only in capitals", lambda label: label.casefold()),
        ("in nothing that can be seen", normalise_text),
    ):
        counts = Counter(form(label) for label in task.labels)
        if similar := [ascii(label) for label in task.labels if counts[form(label)] > 1]:
            warnings.append(f"classes that differ {difference}: {', '.join(similar)}")
    return warnings


def _warn_repeated_texts(proposal: TaskProposal) -> list[str]:
    warnings = []
    for split, keys in proposal.keys.items():
        if repeated := len(keys) - len(set(keys)):
            note = "; they stay on one side of the split" if proposal.dev is None else ""
            verb = "repeats" if repeated == 1 else "repeat"
            warnings.append(f"{_count_rows(repeated)} of {split} {verb} the text of another{note}")
    return warnings


def _warn_contradictions(proposal: TaskProposal) -> list[str]:
    """Warn of texts with different labels, of which at least one is wrong."""
    labels: dict[Texts, set[str]] = {}
    for examples in proposal.examples.values():
        for texts, names in examples:
            labels.setdefault(texts, set()).add(proposal.task.separator.join(names))
    contradictory = [(texts, sorted(names)) for texts, names in labels.items() if len(names) > 1]
    if not contradictory:
        return []
    texts, first = contradictory[0]
    subject = f"{len(contradictory):,} text{'s have' if len(contradictory) > 1 else ' has'} different labels"
    quoted = ", ".join(quote_value(name, 30) for name in first)
    return [f"{subject}, the first: {quote_value(texts[0])} as {quoted}"]


def _warn_shared_texts(proposal: TaskProposal) -> list[str]:
    if proposal.dev is None:
        return []
    train = set(proposal.keys["train"])
    shared = sum(key in train for key in proposal.keys["dev"])
    if not shared:
        return []
    verb = "is" if shared == 1 else "are"
    said = f"{_count_rows(shared)} of dev {verb} in train too"
    return [f"{said}: scores will be too good; remove them from either"]


def _warn_few_examples(proposal: TaskProposal) -> list[str]:
    """Warn of too few examples to learn from or to measure on."""
    train, warnings = proposal.examples["train"], []
    distinct = len(set(proposal.keys["train"]))
    dev = round(DEV_SHARE * distinct) if proposal.dev is None else len(proposal.examples["dev"])
    if dev < MIN_CLASS_EXAMPLES * max(2, len(proposal.task.labels)):
        warnings.append(f"dev has about {dev} examples: differences between models will hardly show")
    counts = Counter(name for _, names in train for name in names)
    metric = "micro_f1" if proposal.task.multi_label else "accuracy"
    rare = [quote_value(name, 30) for name in proposal.task.labels if counts[name] < MIN_CLASS_EXAMPLES]
    if rare:
        warnings.append(f"classes with fewer than {MIN_CLASS_EXAMPLES} examples: {list_names(rare)}")
    elif proposal.task.labels and min(counts.values()) < RARE_CLASS_SHARE * max(counts.values()):
        factor = f"a factor of more than {1 / RARE_CLASS_SHARE:.0f}"
        warnings.append(f"class sizes differ by {factor}: {metric} hardly depends on the small ones")
    return warnings


def _count_rows(count: int) -> str:
    return format_count(count, "row")


def _warn_long_texts(proposal: TaskProposal) -> list[str]:
    """Warn of texts that a search reads in part."""
    sets = {
        split: [list(column) for column in zip(*(texts for texts, _ in examples), strict=True)]
        for split, examples in proposal.examples.items()
        if examples
    }
    lengths = measure_for_builtin_model(sets)
    advice = "as the built-in model counts; what comes after is not read"
    return [f"texts are {lengths}, {advice}"] if lengths is not None and lengths.cut else []
