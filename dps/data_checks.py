"""Data files of a proposed task, and warnings of flaws in them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.paths import DATA_SUFFIXES
from dps.sources.multi_label import split_labels
from dps.sources.readers import DataRow, get_data_origin, read_rows
from dps.sources.task_files import DEV_SHARE, MIN_SPLIT_TEXTS
from dps.tasks.task import Task
from dps.text import quote_value

MIN_CLASS_EXAMPLES = 10  # of a class, or for each class in dev; with fewer a score is mostly luck
MAX_LABEL_MAGNITUDE = 10  # of a regression label; training starts at 0
RARE_CLASS_SHARE = 0.1  # of the most frequent class: accuracy hardly depends on a rarer one

Texts = tuple[str, ...]


@dataclass(frozen=True)
class DataFile:
    """Data file.

    rows: those that could be split into columns.
    problems: a message for each of the others.
    """

    path: Path
    rows: list[DataRow]
    problems: list[str]

    @classmethod
    def read(cls, path: Path) -> DataFile:
        """Read a file. Raises InputError if it is missing, unreadable or has no rows."""
        if not path.is_file():
            raise InputError(f"--init-task: there is no {path}; give a {', '.join(DATA_SUFFIXES)} file")
        rows, origin = list(read_rows(path)), get_data_origin(path)
        good_rows = [row for row in rows if not row.problem]
        if not good_rows:
            raise InputError(f"--init-task: {path} has no rows; at least one is needed")
        problems = [str(origin.make_error(row.number, row.problem)) for row in rows if row.problem]
        return cls(path, good_rows, problems)

    def values(self, column: str) -> list[Any]:
        """Return the values of a column; None for a row without it."""
        return [row.values.get(column) for row in self.rows]


@dataclass(frozen=True)
class TaskProposal:
    """Proposed task, with the files it was inferred from and the columns that it does not use."""

    train: DataFile
    dev: DataFile | None
    task: Task
    unused_columns: tuple[str, ...]

    @property
    def files(self) -> dict[str, DataFile]:
        """Data files by split."""
        return {"train": self.train} | ({"dev": self.dev} if self.dev else {})

    @cached_property
    def examples(self) -> dict[str, list[tuple[Texts, Texts]]]:
        """(texts, labels) of every usable row, by split; one label unless the task is multi-label."""
        task = self.task
        return {
            split: [
                (
                    tuple(str(row.values[column]).strip() for column in task.columns),
                    get_label_names(row.values[task.label], task),
                )
                for row in file.rows
                if is_usable_row(row, task)
            ]
            for split, file in self.files.items()
        }


def format_label(value: Any) -> str:
    """Return a label as text, as `Task.labels` has it."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def is_usable_row(row: DataRow, task: Task) -> bool:
    """Return whether a row has all its texts and a label."""
    texts = all(isinstance(row.values.get(c), str) and row.values[c].strip() for c in task.columns)
    label = row.values.get(task.label)
    if task.multi_label:
        return texts and split_labels(label, task.separator) is not None
    return texts and label is not None and format_label(label) != ""


def get_label_names(value: Any, task: Task) -> Texts:
    """Return the labels of an example in the task's order, unknown ones last; one unless multi-label."""
    if not task.multi_label:
        return (format_label(value),)
    order = {name: index for index, name in enumerate(task.labels)}
    names = {format_label(label) for label in split_labels(value, task.separator) or ()}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def parse_number(text: str) -> float:
    """Return the number that a text holds, NaN for any other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def list_data_warnings(proposal: TaskProposal) -> list[str]:
    """Return what may be wrong with the data, a line each."""
    checks = (
        _warn_unusable_rows,
        _warn_label_kind,
        _warn_repeated_texts,
        _warn_contradictions,
        _warn_shared_texts,
        _warn_few_examples,
    )
    return [line for check in checks for line in check(proposal)]


def _warn_unusable_rows(proposal: TaskProposal) -> list[str]:
    """Warn of rows that a search would refuse."""
    warnings = []
    for file in proposal.files.values():
        origin = get_data_origin(file.path)
        unusable = (row.number for row in file.rows if not is_usable_row(row, proposal.task))
        incomplete = [origin.make_error(number, "a text or the label is missing") for number in unusable]
        if problems := [*file.problems, *map(str, incomplete)]:
            warnings.append(f"{_count_rows(len(problems))} that a search refuses, the first: {problems[0]}")
    known = set(proposal.task.labels)
    for split, examples in proposal.examples.items():
        new = sorted({name for _, names in examples for name in names} - known) if known else []
        if new:
            quoted = ", ".join(quote_value(name, 30) for name in new[:5])
            warnings.append(f"{split} has labels that train does not have: {quoted}")
    return warnings


def _warn_label_kind(proposal: TaskProposal) -> list[str]:
    """Warn of labels that may have another meaning."""
    labels, warnings = proposal.task.labels, []
    train_names = (name for _, names in proposal.examples["train"] for name in names)
    magnitude = max((abs(parse_number(name)) for name in train_names), default=0.0)
    if proposal.task.is_regression and magnitude > MAX_LABEL_MAGNITUDE:
        warnings.append(
            f"numbers up to {magnitude:g}: training starts near 0; scale them to about "
            f"-{MAX_LABEL_MAGNITUDE} to {MAX_LABEL_MAGNITUDE}"
        )
    are_numbers = all(math.isfinite(parse_number(label)) for label in labels)
    if len(labels) > 2 and are_numbers and not proposal.task.multi_label:
        warnings.append("the classes are numbers; if their order matters, change it to `kind: regression`")
    counts = Counter(label.casefold() for label in labels)
    if similar := [quote_value(label, 30) for label in labels if counts[label.casefold()] > 1]:
        warnings.append(f"classes that differ only in capitals: {', '.join(similar)}")
    return warnings


def _warn_repeated_texts(proposal: TaskProposal) -> list[str]:
    warnings = []
    for split, examples in proposal.examples.items():
        if repeated := len(examples) - len({texts for texts, _ in examples}):
            note = "; they stay on one side of the split" if proposal.dev is None else ""
            warnings.append(f"{_count_rows(repeated)} of {split} repeat the text of another{note}")
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
    train = {texts for texts, _ in proposal.examples["train"]}
    shared = sum(texts in train for texts, _ in proposal.examples["dev"])
    if not shared:
        return []
    return [
        f"{_count_rows(shared)} of dev are in train too: scores will be too good; remove them from either"
    ]


def _warn_few_examples(proposal: TaskProposal) -> list[str]:
    """Warn of too few examples to learn from or to measure on."""
    train, warnings = proposal.examples["train"], []
    distinct = len({texts for texts, _ in train})
    if proposal.dev is None and distinct < MIN_SPLIT_TEXTS:
        warnings.append(
            f"{distinct} different texts are too few to split off dev; at least {MIN_SPLIT_TEXTS} are needed"
        )
    dev = round(DEV_SHARE * distinct) if proposal.dev is None else len(proposal.examples["dev"])
    if dev < MIN_CLASS_EXAMPLES * max(2, len(proposal.task.labels)):
        warnings.append(f"dev has about {dev} examples: differences between models will hardly show")
    counts = Counter(name for _, names in train for name in names)
    metric = "micro_f1" if proposal.task.multi_label else "accuracy"
    rare = [quote_value(name, 30) for name in proposal.task.labels if counts[name] < MIN_CLASS_EXAMPLES]
    if rare:
        warnings.append(f"classes with fewer than {MIN_CLASS_EXAMPLES} examples: {', '.join(rare)}")
    elif proposal.task.labels and min(counts.values()) < RARE_CLASS_SHARE * max(counts.values()):
        factor = f"a factor of more than {1 / RARE_CLASS_SHARE:.0f}"
        warnings.append(f"class sizes differ by {factor}: {metric} hardly depends on the small ones")
    return warnings


def _count_rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
