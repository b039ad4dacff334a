"""Looks at a file of examples, proposes the YAML of a task of one's own, and says what it found.

    found = look(Path("data.csv"))
    file = propose(proposal)          # data.yaml beside it; what is there is never overwritten
    print("\n".join(report(found, file)))

Nothing is decided here: the proposal is to be read, and changed where it is wrong.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dps.errors import InputError
from dps.paths import DATA_SUFFIXES
from dps.sources.multi_label import find_label_separator, split_labels
from dps.sources.readers import DataRow, get_data_origin, read_rows
from dps.sources.task_files import DEV_SHARE, MIN_SPLIT_TEXTS
from dps.tasks.definition import write_task_file
from dps.tasks.registry import TASKS
from dps.tasks.task import LABEL_COLUMN, Task
from dps.text import quote_value

DEV_FILE_NAMES = ("dev", "validation", "valid", "val")
LABEL_COLUMN_NAMES = (
    LABEL_COLUMN,
    "labels",
    "class",
    "category",
    "target",
    "gold",
    "score",
    "rating",
    "sentiment",
    "y",
)
TEXT_COLUMN_NAMES = ("text", "sentence", "sentence1", "premise", "question", "question1", "title")
MAX_CLASSES = 50
MIN_CLASS_EXAMPLES = 10  # examples of a class, or of dev, below which a score is mostly luck
MAX_LABEL_MAGNITUDE = 10  # of a regression's numbers from 0, where training begins
RARE_CLASS_SHARE = 0.1  # of the most frequent class: a class that accuracy hardly sees
MIN_PAIR_WORDS, MIN_PAIR_SHARE = 3, 0.1  # of a second text: words in the mean, beside the first one's

Texts = tuple[str, ...]


@dataclass(frozen=True)
class DataFile:
    """One file. rows: by column; problems: rows that cannot be split into columns, a message each."""

    path: Path
    rows: list[DataRow]
    problems: list[str]

    @classmethod
    def read(cls, path: Path) -> DataFile:
        """Raises InputError where there is no such file, or it cannot be read, or has no rows."""
        if not path.is_file():
            raise InputError(f"--init-task: there is no {path}; give a {', '.join(DATA_SUFFIXES)} file")
        rows, place = list(read_rows(path)), get_data_origin(path)
        whole = [row for row in rows if not row.problem]
        if not whole:
            raise InputError(f"--init-task: {path} has no rows; at least one is needed")
        problems = [str(place.make_error(row.number, row.problem)) for row in rows if row.problem]
        return cls(path, whole, problems)

    def values(self, column: str) -> list[Any]:
        """A column; None where a row lacks it."""
        return [row.values.get(column) for row in self.rows]


@dataclass(frozen=True)
class TaskProposal:
    """What was found: the files, the proposed task, the columns that it leaves out."""

    train: DataFile
    dev: DataFile | None
    task: Task
    unused_columns: tuple[str, ...]

    @property
    def files(self) -> dict[str, DataFile]:
        """The files by split."""
        return {"train": self.train} | ({"dev": self.dev} if self.dev else {})

    @cached_property
    def examples(self) -> dict[str, list[tuple[Texts, Texts]]]:
        """(texts, labels) of every usable row by split; one label unless the task has several an example."""
        task = self.task
        return {
            split: [
                (
                    tuple(str(row.values[column]).strip() for column in task.columns),
                    get_label_names(row.values[task.label], task),
                )
                for row in part.rows
                if is_usable_row(row, task)
            ]
            for split, part in self.files.items()
        }


def inspect_data(path: Path) -> TaskProposal:
    """Read a file, and the dev set beside it where its name says so. Raises InputError."""
    train = DataFile.read(path)
    dev = DataFile.read(sibling) if (sibling := find_dev_file(path)) else None
    columns = list(dict.fromkeys(name for row in train.rows for name in row.values))
    label = find_label_column(columns, train)
    texts = find_text_columns([name for name in columns if name != label], train)
    others = tuple(name for name in columns if name not in (label, *texts))
    return TaskProposal(train, dev, _propose_task(path, texts, label, train.values(label)), others)


def find_dev_file(path: Path) -> Path | None:
    """The dev set beside a file called train."""
    if "train" not in path.stem:
        return None
    names = [path.with_name(path.stem.replace("train", name) + path.suffix) for name in DEV_FILE_NAMES]
    return next((name for name in names if name.is_file()), None)


def format_label(value: Any) -> str:
    """A label as the task's `labels` name it."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def is_usable_row(row: DataRow, task: Task) -> bool:
    """Whether a row has its texts and its label."""
    texts = all(isinstance(row.values.get(c), str) and row.values[c].strip() for c in task.columns)
    label = row.values.get(task.label)
    if task.multi_label:
        return texts and split_labels(label, task.separator) is not None
    return texts and label is not None and format_label(label) != ""


def get_label_names(value: Any, task: Task) -> Texts:
    """The label of an example, or its several ones in the task's order, unknown ones last."""
    if not task.multi_label:
        return (format_label(value),)
    known = {name: place for place, name in enumerate(task.labels)}
    names = {format_label(label) for label in split_labels(value, task.separator) or ()}
    return tuple(sorted(names, key=lambda name: (known.get(name, len(known)), name)))


def find_label_column(columns: list[str], part: DataFile) -> str:
    """The column of the label: by its name, else the last one whose values repeat or are fractions.

    Raises InputError where no column may be one.
    """
    for name in LABEL_COLUMN_NAMES:
        if found := [column for column in columns if column.lower() == name]:
            return found[0]
    most = max(2, min(MAX_CLASSES, len(part.rows) // 2))
    for column in reversed(columns):
        values = part.values(column)
        distinct = {format_label(value) for value in values if value is not None}
        if any(isinstance(value, list) for value in values):
            return column
        if 2 <= len(distinct) <= most or _has_fractions(distinct):
            return column
    there = ", ".join(quote_value(name, 30) for name in columns)
    advice = f"call it {LABEL_COLUMN!r} in the file"
    if len(columns) == 1 and re.search(r"[;\t|]", columns[0]):
        advice = "the file has other separators than its name says; save it with commas"
    raise InputError(f"--init-task: no column looks like a label ({there}); {advice}")


def find_text_columns(columns: list[str], part: DataFile) -> Texts:
    """One text column, or two of a pair: the longest one, and the next where it is a text of some length too.

    Raises InputError where there is none.
    """
    lengths = {column: _mean_words(part.values(column)) for column in columns if column != LABEL_COLUMN}
    texts = {column: words for column, words in lengths.items() if words >= 2}
    texts = texts or {
        column: words for column, words in lengths.items() if words > 0 and _is_text_column_name(column)
    }
    if not texts:
        there = ", ".join(quote_value(name, 30) for name in columns) or "none"
        raise InputError(f"--init-task: no column looks like text ({there}); call it 'text' in the file")
    first, *others = sorted(texts, key=lambda column: -texts[column])
    paired = [c for c in others[:1] if texts[c] >= max(MIN_PAIR_WORDS, MIN_PAIR_SHARE * texts[first])]
    return tuple(column for column in columns if column in (first, *paired))


def _is_text_column_name(column: str) -> bool:
    return column.lower() in TEXT_COLUMN_NAMES


def _mean_words(values: list[Any]) -> float:
    """Mean number of words; 0 where there are other values than texts."""
    texts = [value for value in values if value is not None]
    if not texts or not all(isinstance(value, str) for value in texts):
        return 0.0
    return float(np.mean([len(value.split()) for value in texts]))


def _propose_task(path: Path, columns: Texts, label: str, values: list[Any]) -> Task:
    there = [value for value in values if value is not None and format_label(value)]
    counts = Counter(map(format_label, there))
    stem = path.resolve().parent.name if path.stem == "train" else path.stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "mine"
    separator = find_label_separator(values)
    if separator is not None:
        parts = (split_labels(value, separator) or () for value in there)
        counts = Counter(format_label(part) for labels in parts for part in labels)
    elif has_regression_labels(counts):
        return Task(_make_unique_name(name), columns, (), ("pearson",), label=label)
    if not 2 <= len(counts) <= MAX_CLASSES:
        rule = f"a classification has 2 to {MAX_CLASSES} classes, a regression numbers"
        raise InputError(f"--init-task: column {label!r} has {len(counts)} different values; {rule}")
    names = tuple(sorted(counts, key=_natural_order_key))
    if separator is not None:
        named_ = (_make_unique_name(name), columns, names, ("micro_f1",))
        return Task(*named_, label=label, multi_label=True, separator=separator)
    metric = "accuracy" if min(counts.values()) >= max(counts.values()) / 2 else "macro_f1"
    return Task(_make_unique_name(name), columns, names, (metric,), label=label)


def _make_unique_name(name: str) -> str:
    """A name that no other task has."""
    return f"my-{name}" if name in TASKS else name


def has_regression_labels(counts: Counter[str]) -> bool:
    """Whether labels are numbers, some of them with a fraction, or too many to be classes."""
    numbers = all(math.isfinite(_parse_number(label)) for label in counts)
    return numbers and (len(counts) > MAX_CLASSES or _has_fractions(counts))


def _has_fractions(labels: Iterable[str]) -> bool:
    """Whether all are numbers, and one of them is not whole."""
    numbers = [_parse_number(label) for label in labels]
    return all(map(math.isfinite, numbers)) and any(number % 1 for number in numbers)


def _parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _natural_order_key(label: str) -> tuple[float, str]:
    """Numbers in their order, then names."""
    number = _parse_number(label)
    return (number if math.isfinite(number) else math.inf, label)


def write_proposal(proposal: TaskProposal) -> Path:
    """Write the YAML beside the file; returns its path. Raises InputError where one is there."""
    file = proposal.train.path.with_suffix(".yaml")
    if file.exists():
        raise InputError(f"--init-task: {file} is there already; use it, or move it away")
    files = {split: part.path.name for split, part in proposal.files.items()}
    try:
        write_task_file(proposal.task, file, {"files": files})
    except OSError as error:
        raise InputError(f"--init-task: cannot write {file}: {error.strerror}") from None
    return file


def describe_proposal(proposal: TaskProposal, file: Path) -> list[str]:
    """What was found and what to look at, a line each."""
    task = proposal.task
    lines = [f"{split:<12} {part.path}: {len(part.rows):,} rows" for split, part in proposal.files.items()]
    if proposal.dev is None:
        lines.append(
            f"dev          none: a stratified {DEV_SHARE:.0%} of train will be split off, always the same"
        )
    lines.append(f"text         {', '.join(map(quote_value, task.columns))}: {_describe_lengths(proposal)}")
    lines.append(f"label        {quote_value(task.label)}: {_describe_label(proposal)}")
    lines.append(f"metric       {task.metric}")
    if proposal.unused_columns:
        lines.append(
            f"not read     {', '.join(quote_value(name, 30) for name in proposal.unused_columns[:12])}"
        )
    lines += [f"look at      {warning}" for warning in list_data_warnings(proposal)]
    return [*lines, "", f"Proposed: {file}. Read it, change what is wrong, then: --task {file}"]


def _describe_lengths(proposal: TaskProposal) -> str:
    words = np.array([sum(len(text.split()) for text in texts) for texts, _ in proposal.examples["train"]])
    if not len(words):
        return "no usable row"
    middle, long, longest = (int(value) for value in np.quantile(words, (0.5, 0.95, 1.0), method="nearest"))
    return f"{middle} words in the middle, 95% have at most {long}, the longest {longest}"


def _describe_label(proposal: TaskProposal) -> str:
    labels = [name for _, names in proposal.examples["train"] for name in names]
    if proposal.task.is_regression:
        numbers = [_parse_number(label) for label in labels]
        return f"a number from {min(numbers):g} to {max(numbers):g} (regression)" if numbers else "no number"
    counts, total = Counter(labels), max(1, len(proposal.examples["train"]))
    shares = [
        f"{quote_value(name, 30)} {counts[name]:,} ({counts[name] / total:.0%})"
        for name in proposal.task.labels
    ]
    if not proposal.task.multi_label:
        return f"{len(shares)} classes: {', '.join(shares)}"
    several = f"{len(shares)} labels, {len(labels) / total:.1f} an example"
    return f"{several} (multi-label): {', '.join(shares)}"


def list_data_warnings(proposal: TaskProposal) -> list[str]:
    """What may be wrong with the data, a line each; empty where nothing was seen."""
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
    """Rows that a search would refuse."""
    said = []
    for part in proposal.files.values():
        place = get_data_origin(part.path)
        bad = [
            str(place.make_error(row.number, "")).rstrip(": ")
            for row in part.rows
            if not is_usable_row(row, proposal.task)
        ]
        if bad := [*part.problems, *(f"{where} lacks a text or the label" for where in bad)]:
            said.append(f"{_count_rows(len(bad))} that a search refuses, the first: {bad[0]}")
    known = set(proposal.task.labels)
    for split, examples in proposal.examples.items():
        new = sorted({name for _, names in examples for name in names} - known) if known else []
        if new:
            said.append(
                f"{split} has labels that train has not: "
                f"{', '.join(quote_value(name, 30) for name in new[:5])}"
            )
    return said


def _warn_label_kind(proposal: TaskProposal) -> list[str]:
    """Labels that may be meant in another way."""
    labels, said = proposal.task.labels, []
    given = (name for _, names in proposal.examples["train"] for name in names)
    furthest = max((abs(_parse_number(name)) for name in given), default=0.0)
    if proposal.task.is_regression and furthest > MAX_LABEL_MAGNITUDE:
        said.append(
            f"numbers up to {furthest:g}: training starts near 0; scale them to about "
            f"-{MAX_LABEL_MAGNITUDE} to {MAX_LABEL_MAGNITUDE}"
        )
    numbers = not proposal.task.multi_label and all(math.isfinite(_parse_number(label)) for label in labels)
    if len(labels) > 2 and numbers:
        said.append("the classes are numbers; where their order matters, make it `kind: regression`")
    alike = Counter(label.casefold() for label in labels)
    if twice := [label for label in labels if alike[label.casefold()] > 1]:
        said.append(
            f"classes that differ in capitals alone: {', '.join(quote_value(name, 30) for name in twice)}"
        )
    return said


def _warn_repeated_texts(proposal: TaskProposal) -> list[str]:
    said = []
    for split, examples in proposal.examples.items():
        if extra := len(examples) - len({texts for texts, _ in examples}):
            kept = "; they stay on one side of the split" if proposal.dev is None else ""
            said.append(f"{_count_rows(extra)} of {split} repeat the text of another{kept}")
    return said


def _warn_contradictions(proposal: TaskProposal) -> list[str]:
    """The same text under different labels: at least one of them is wrong."""
    labels: dict[Texts, set[str]] = {}
    for examples in proposal.examples.values():
        for texts, names in examples:
            labels.setdefault(texts, set()).add(proposal.task.separator.join(names))
    torn = [(texts, sorted(said)) for texts, said in labels.items() if len(said) > 1]
    if not torn:
        return []
    texts, first = torn[0]
    what = f"{len(torn):,} text{'s stand' if len(torn) > 1 else ' stands'} there with different labels"
    return [
        f"{what}, the first: {quote_value(texts[0])} as {', '.join(quote_value(one, 30) for one in first)}"
    ]


def _warn_shared_texts(proposal: TaskProposal) -> list[str]:
    if proposal.dev is None:
        return []
    train = {texts for texts, _ in proposal.examples["train"]}
    shared = sum(texts in train for texts, _ in proposal.examples["dev"])
    if not shared:
        return []
    return [f"{_count_rows(shared)} of dev are in train too: scores will be too good; remove them from one"]


def _warn_few_examples(proposal: TaskProposal) -> list[str]:
    """Too little to learn from, or to be measured on."""
    train, said = proposal.examples["train"], []
    distinct = len({texts for texts, _ in train})
    if proposal.dev is None and distinct < MIN_SPLIT_TEXTS:
        said.append(f"{distinct} different texts are too few to split off dev; {MIN_SPLIT_TEXTS} are needed")
    dev = round(DEV_SHARE * distinct) if proposal.dev is None else len(proposal.examples["dev"])
    if dev < MIN_CLASS_EXAMPLES * max(2, len(proposal.task.labels)):
        said.append(f"dev has about {dev} examples: differences between models will hardly show")
    counts = Counter(name for _, names in train for name in names)
    usual = "micro_f1" if proposal.task.multi_label else "accuracy"
    rare = [name for name in proposal.task.labels if counts[name] < MIN_CLASS_EXAMPLES]
    if rare:
        said.append(
            f"classes with fewer than {MIN_CLASS_EXAMPLES} examples: "
            f"{', '.join(quote_value(name, 30) for name in rare)}"
        )
    elif proposal.task.labels and min(counts.values()) < RARE_CLASS_SHARE * max(counts.values()):
        said.append(
            f"classes differ in size by more than {1 / RARE_CLASS_SHARE:.0f}: {usual} hardly sees the "
            f"small ones"
        )
    return said


def _count_rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
