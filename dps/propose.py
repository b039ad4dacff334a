"""Propose the YAML file of a user-defined task from a file of examples, and warn of flaws in the data.

    proposal = inspect_data(Path("data.csv"))
    file = write_proposal(proposal)  # data.yaml beside it; an existing file is never overwritten
    print("\n".join(describe_proposal(proposal, file)))

The proposal is meant to be read, and changed where it is wrong.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dps.data_checks import DataFile, TaskProposal, Texts, format_label, list_data_warnings, parse_number
from dps.errors import InputError
from dps.sources.multi_label import find_label_separator, split_labels
from dps.sources.task_files import DEV_SHARE
from dps.tasks.definition import write_task_file
from dps.tasks.registry import TASKS
from dps.tasks.task import LABEL_COLUMN, Task
from dps.text import quote_value

DEV_FILE_NAMES = ("dev", "validation", "valid", "val")
LABEL_COLUMN_NAMES = (
    LABEL_COLUMN, "labels", "class", "category", "target", "gold", "score", "rating", "sentiment", "y",
)  # fmt: skip
TEXT_COLUMN_NAMES = ("text", "sentence", "sentence1", "premise", "question", "question1", "title")
MAX_CLASSES = 50
MIN_PAIR_WORDS, MIN_PAIR_SHARE = 3, 0.1  # mean words of a second text, also as a share of the first's


def inspect_data(path: Path) -> TaskProposal:
    """Infer a task from a data file, and from the dev file beside it (see `find_dev_file`).

    Raises InputError for unusable files, or where no column looks like a label or like text.
    """
    train = DataFile.read(path)
    dev = DataFile.read(sibling) if (sibling := find_dev_file(path)) else None
    columns = list(dict.fromkeys(name for row in train.rows for name in row.values))
    label = find_label_column(columns, train)
    texts = find_text_columns([name for name in columns if name != label], train)
    unused = tuple(name for name in columns if name not in (label, *texts))
    return TaskProposal(train, dev, _propose_task(path, texts, label, train.values(label)), unused)


def find_dev_file(path: Path) -> Path | None:
    """Return the dev file beside a file whose name contains "train", or None."""
    if "train" not in path.stem:
        return None
    files = [path.with_name(path.stem.replace("train", name) + path.suffix) for name in DEV_FILE_NAMES]
    return next((file for file in files if file.is_file()), None)


def find_label_column(columns: list[str], file: DataFile) -> str:
    """Return the label column: by its name, else the last one whose values repeat or are fractions.

    Raises InputError if there is none.
    """
    for name in LABEL_COLUMN_NAMES:
        if matches := [column for column in columns if column.lower() == name]:
            return matches[0]
    max_classes = max(2, min(MAX_CLASSES, len(file.rows) // 2))
    for column in reversed(columns):
        values = file.values(column)
        distinct = {format_label(value) for value in values if value is not None}
        if any(isinstance(value, list) for value in values):
            return column
        if 2 <= len(distinct) <= max_classes or _has_fractions(distinct):
            return column
    names = ", ".join(quote_value(name, 30) for name in columns)
    advice = f"call it {LABEL_COLUMN!r} in the file"
    if len(columns) == 1 and re.search(r"[;\t|]", columns[0]):
        advice = "its separators do not match its suffix; save it with commas"
    raise InputError(f"--init-task: no column looks like a label ({names}); {advice}")


def find_text_columns(columns: list[str], file: DataFile) -> Texts:
    """Return the text column with the longest texts, or two if the next one's are of some length too.

    Raises InputError if there is none.
    """
    lengths = {column: _count_mean_words(file.values(column)) for column in columns if column != LABEL_COLUMN}
    texts = {column: words for column, words in lengths.items() if words >= 2}
    named = {column for column in lengths if column.lower() in TEXT_COLUMN_NAMES}
    texts = texts or {column: words for column, words in lengths.items() if words > 0 and column in named}
    if not texts:
        names = ", ".join(quote_value(name, 30) for name in columns) or "none"
        raise InputError(f"--init-task: no column looks like text ({names}); call it 'text' in the file")
    first, *rest = sorted(texts, key=lambda column: -texts[column])
    second = [c for c in rest[:1] if texts[c] >= max(MIN_PAIR_WORDS, MIN_PAIR_SHARE * texts[first])]
    return tuple(column for column in columns if column in (first, *second))


def _count_mean_words(values: list[Any]) -> float:
    """Return the mean number of words; 0 if a value is not text."""
    texts = [value for value in values if value is not None]
    if not texts or not all(isinstance(value, str) for value in texts):
        return 0.0
    return float(np.mean([len(value.split()) for value in texts]))


def _propose_task(path: Path, columns: Texts, label: str, values: list[Any]) -> Task:
    present = [value for value in values if value is not None and format_label(value)]
    counts = Counter(map(format_label, present))
    stem = path.resolve().parent.name if path.stem == "train" else path.stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "mine"
    name = f"my-{name}" if name in TASKS else name
    separator = find_label_separator(values)
    if separator is not None:
        label_lists = (split_labels(value, separator) or () for value in present)
        counts = Counter(format_label(name) for names in label_lists for name in names)
    elif has_regression_labels(counts):
        return Task(name, columns, (), ("pearson",), label=label)
    if not 2 <= len(counts) <= MAX_CLASSES:
        rule = f"a classification has 2 to {MAX_CLASSES} classes, a regression has numbers"
        raise InputError(f"--init-task: column {label!r} has {len(counts)} different values; {rule}")
    names = tuple(sorted(counts, key=_natural_order_key))
    if separator is not None:
        return Task(name, columns, names, ("micro_f1",), label=label, multi_label=True, separator=separator)
    metric = "accuracy" if min(counts.values()) >= max(counts.values()) / 2 else "macro_f1"
    return Task(name, columns, names, (metric,), label=label)


def has_regression_labels(counts: Counter[str]) -> bool:
    """Return whether the labels are numbers that have fractions, or are too many to be classes."""
    numbers = all(math.isfinite(parse_number(label)) for label in counts)
    return numbers and (len(counts) > MAX_CLASSES or _has_fractions(counts))


def _has_fractions(labels: Iterable[str]) -> bool:
    """Return whether all labels are numbers and at least one is not whole."""
    numbers = [parse_number(label) for label in labels]
    return all(map(math.isfinite, numbers)) and any(number % 1 for number in numbers)


def _natural_order_key(label: str) -> tuple[float, str]:
    """Return a key that sorts numbers by value, then names."""
    number = parse_number(label)
    return (number if math.isfinite(number) else math.inf, label)


def write_proposal(proposal: TaskProposal) -> Path:
    """Write the YAML file beside the data file; return its path. Raises InputError if it exists."""
    file = proposal.train.path.with_suffix(".yaml")
    if file.exists():
        raise InputError(f"--init-task: {file} exists already; use it, or move it away")
    names = {split: data_file.path.name for split, data_file in proposal.files.items()}
    try:
        write_task_file(proposal.task, file, {"files": names})
    except OSError as error:
        raise InputError(f"--init-task: cannot write {file}: {error.strerror}") from None
    return file


def describe_proposal(proposal: TaskProposal, file: Path) -> list[str]:
    """Describe the proposal and its warnings, a line each. file: the YAML file."""
    task = proposal.task
    lines = [f"{split:<12} {data.path}: {len(data.rows):,} rows" for split, data in proposal.files.items()]
    if proposal.dev is None:
        lines.append(
            f"dev          none: a stratified {DEV_SHARE:.0%} of train will be split off, always the same"
        )
    lines.append(f"text         {', '.join(map(quote_value, task.columns))}: {_describe_lengths(proposal)}")
    lines.append(f"label        {quote_value(task.label)}: {_describe_label(proposal)}")
    lines.append(f"metric       {task.metric}")
    if proposal.unused_columns:
        names = ", ".join(quote_value(name, 30) for name in proposal.unused_columns[:12])
        lines.append(f"not used     {names}")
    lines += [f"check        {warning}" for warning in list_data_warnings(proposal)]
    return [*lines, "", f"Proposed: {file}. Read it, change what is wrong, then: --task {file}"]


def _describe_lengths(proposal: TaskProposal) -> str:
    words = np.array([sum(len(text.split()) for text in texts) for texts, _ in proposal.examples["train"]])
    if not len(words):
        return "no usable row"
    median, most, longest = (int(value) for value in np.quantile(words, (0.5, 0.95, 1.0), method="nearest"))
    return f"median {median} words, 95% have at most {most}, the longest {longest}"


def _describe_label(proposal: TaskProposal) -> str:
    labels = [name for _, names in proposal.examples["train"] for name in names]
    if proposal.task.is_regression:
        numbers = [parse_number(label) for label in labels]
        return f"a number from {min(numbers):g} to {max(numbers):g} (regression)" if numbers else "no number"
    counts, total = Counter(labels), max(1, len(proposal.examples["train"]))
    shares = [
        f"{quote_value(name, 30)} {counts[name]:,} ({counts[name] / total:.0%})"
        for name in proposal.task.labels
    ]
    if not proposal.task.multi_label:
        return f"{len(shares)} classes: {', '.join(shares)}"
    return f"{len(shares)} labels, {len(labels) / total:.1f} per example (multi-label): {', '.join(shares)}"
