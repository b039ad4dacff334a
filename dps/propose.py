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
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from dps.data_checks import DataFile, TaskProposal, Texts, list_data_warnings
from dps.errors import InputError
from dps.paths import write_text_file
from dps.sources.labels import (
    DECIMAL_COMMA_PATTERN,
    INDICATORS,
    THOUSANDS_PATTERN,
    find_indicator_length,
    find_label_separator,
    format_label,
    is_list_text,
    parse_number,
    split_labels,
)
from dps.sources.readers import explain_separator
from dps.sources.task_files import DEV_SHARE
from dps.tasks.definition import format_task_file, parse_definition
from dps.tasks.registry import TASKS
from dps.tasks.task import LABEL_COLUMN, LABEL_SEPARATOR, Task
from dps.text import quote_value
from dps.wording import format_count, format_share, list_names
from dps.yaml_text import parse_yaml

DEV_FILE_NAMES = ("dev", "validation", "valid", "val")
LABEL_COLUMN_NAMES = (
    LABEL_COLUMN, "labels", "class", "category", "target", "gold", "score", "rating", "sentiment", "y",
)  # fmt: skip
TEXT_COLUMN_NAMES = ("text", "sentence", "sentence1", "premise", "question", "question1", "title")
MAX_GUESSED_CLASSES = 50  # of a column that is not called like a label; more where values repeat
MIN_REPEATS = 3  # mean number of rows of each of many classes
MIN_NUMBER_SHARE = 0.9  # of the labels of a regression; a search refuses the others, none of which repeats
MIN_PAIR_WORDS, MIN_PAIR_SHARE = 3, 0.1  # mean words of a second text, also as a share of the first's


def inspect_data(
    path: Path, texts: Sequence[str] | None = None, label: str | None = None, dev_path: Path | None = None
) -> TaskProposal:
    """Infer a task from a data file, and from its dev file.

    texts, label: columns; found by their values if they are None. dev_path: None for the file beside it, see
    `find_dev_file`.

    Raises InputError for unusable files, a column that is not there, or where none looks like a label or like
    text.
    """
    train = DataFile.read(path)
    sibling = dev_path or find_dev_file(path)
    dev = DataFile.read(sibling) if sibling else None
    columns = list(dict.fromkeys(name for row in train.rows for name in row.values))
    if missing := [name for name in (*(texts or ()), *((label,) if label else ())) if name not in columns]:
        raise InputError(f"--init-task: there is no column {missing[0]!r}; there are {', '.join(columns)}")
    label = label or find_label_column(columns, train)
    texts = tuple(
        texts or find_text_columns([name for name in columns if name and name != label], train, label)
    )
    unused = tuple(name for name in columns if name and name not in (label, *texts))
    task, notes = _propose_task(path, texts, label, train.values(label))
    proposal = TaskProposal(train, dev, task, unused, notes)
    _ = proposal.checked  # raises InputError where no row is usable
    return proposal


def find_dev_file(path: Path) -> Path | None:
    """Return the dev file beside a file whose name contains "train", or None."""
    if "train" not in path.stem:
        return None
    files = [path.with_name(path.stem.replace("train", name) + path.suffix) for name in DEV_FILE_NAMES]
    return next((file for file in files if file.is_file()), None)


def find_label_column(columns: list[str], file: DataFile) -> str:
    """Return the label column: by its name, else the last one whose values repeat or are fractions.

    Raises InputError if there is none, or if there seem to be several with a 0 or 1 each.
    """
    for name in LABEL_COLUMN_NAMES:
        if matches := [column for column in columns if column.lower() == name]:
            return matches[0]
    named = [column for column in columns if column]
    distinct = {
        column: {label for value in file.values(column) if (label := format_label(value)) is not None}
        for column in named
    }
    flags = [column for column in named if distinct[column] and distinct[column] <= {*INDICATORS}]
    if len(flags) > 1:
        names = list_names([quote_value(name, 30) for name in flags])
        raise InputError(
            f"--init-task: columns {names} hold 0 and 1 alone: if each is a label, put their names in one "
            f"column ({LABEL_SEPARATOR.join(flags[:2])}); if one is the label, call it {LABEL_COLUMN!r}"
        )
    max_classes = max(2, min(MAX_GUESSED_CLASSES, len(file.rows) // 2), len(file.rows) // MIN_REPEATS)
    for column in reversed(named):
        if any(isinstance(value, list) for value in file.values(column)):
            return column
        if 2 <= len(distinct[column]) <= max_classes or _has_fractions(distinct[column]):
            return column
    names = ", ".join(quote_value(name, 30) for name in named)
    advice = f"call it {LABEL_COLUMN!r} in the file"
    if "" in columns:
        advice = "a column has no name: give it one in the header"
    advice = explain_separator(file.path.name, columns) or advice
    raise InputError(f"--init-task: no column looks like a label ({names}); {advice}")


def find_text_columns(columns: list[str], file: DataFile, label: str = LABEL_COLUMN) -> Texts:
    """Return the text column with the longest texts, or two if the next one's are of some length too.

    A second text that is the label in other words ("label_text") is none.

    Raises InputError if there is none.
    """
    lengths = {column: _count_mean_words(file.values(column)) for column in columns if column != LABEL_COLUMN}
    texts = {column: words for column, words in lengths.items() if words >= 2}
    named = {column for column in lengths if column.lower() in TEXT_COLUMN_NAMES}
    texts = texts or {column: words for column, words in lengths.items() if words > 0 and column in named}
    if not texts:
        names = ", ".join(quote_value(name, 30) for name in columns) or "none"
        for column in sorted(
            lengths.keys() & {name for name in columns if name.lower() in TEXT_COLUMN_NAMES}
        ):
            kinds = {type(value).__name__ for value in file.values(column) if value is not None} - {"str"}
            if kinds:
                held = ", ".join(sorted(kinds))
                raise InputError(f"--init-task: column {column!r} holds {held}, where texts must be")
        raise InputError(f"--init-task: no column looks like text ({names}); call it 'text' in the file")
    first, *rest = sorted(texts, key=lambda column: -texts[column])
    rest = [column for column in rest if not _has_same_classes(file.values(column), file.values(label))]
    second = [c for c in rest[:1] if texts[c] >= max(MIN_PAIR_WORDS, MIN_PAIR_SHARE * texts[first])]
    return tuple(column for column in columns if column in (first, *second))


def _has_same_classes(values: list[Any], labels: list[Any]) -> bool:
    """Return whether values repeat, and each stands for one label and the label for it."""
    pairs = {(repr(value), repr(label)) for value, label in zip(values, labels, strict=True)}
    sides = [{pair[side] for pair in pairs} for side in (0, 1)]
    return 2 * len(pairs) <= len(values) and all(len(side) == len(pairs) for side in sides)


def _count_mean_words(values: list[Any]) -> float:
    """Return the mean number of words; 0 if less than half of the values are text."""
    texts = [value for value in values if isinstance(value, str)]
    if 2 * len(texts) < len(values) or not texts:
        return 0.0
    return float(np.mean([len(value.split()) for value in texts]))


def _propose_task(path: Path, columns: Texts, label: str, values: list[Any]) -> tuple[Task, Texts]:
    """Return the task, and what a user must know of it."""
    stem = path.resolve().parent.name if path.stem == "train" else path.stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "mine"
    name = f"my-{name}" if name in TASKS else name
    separator = find_label_separator(values)
    texts = [value for value in values if is_list_text(value)]
    if 2 * len(texts) > len(values):
        first = quote_value(texts[0])
        rule = "put a | between the labels (bug|praise), or use .jsonl"
        raise InputError(
            f"--init-task: column {label!r} has lists that were written as text ({first}); {rule}"
        )
    if separator is None:
        return _propose_single_label(name, columns, label, values), ()
    lists = [each for value in values if (each := split_labels(value, separator)) is not None]
    length = find_indicator_length(lists)
    if length is not None and length > 1 and any(len({*map(str, each)}) < length for each in lists):
        names = tuple(f"{label}-{number}" for number in range(1, length + 1))
        note = f"{label!r} has lists of 0 and 1, one place a label: name the labels, in the same order"
    else:
        names = _count_classes([part for each in lists for part in each], label)
        note = ""
    task = Task(name, columns, names, ("micro_f1",), label=label, multi_label=True, separator=separator)
    return task, (note,) if note else ()


def _propose_single_label(name: str, columns: Texts, label: str, values: list[Any]) -> Task:
    present = [key for value in values if (key := format_label(value)) is not None]
    with_comma = (DECIMAL_COMMA_PATTERN, THOUSANDS_PATTERN)
    numbers = [key for key in present if parse_number(key) is not None]
    commas = [key for key in present if any(pattern.fullmatch(key) for pattern in with_comma)]
    if commas and len(numbers) + len(commas) == len(present):
        first, whole, point = commas[0], commas[0].replace(",", ""), commas[0].replace(",", ".")
        rule = f"write {point!r}"
        if all(THOUSANDS_PATTERN.fullmatch(key) for key in commas):
            clear = any(not DECIMAL_COMMA_PATTERN.fullmatch(key) for key in commas)
            rule = f"write {whole!r}" + ("" if clear else f", or {point!r} if the comma is a decimal one")
        raise InputError(f"--init-task: column {label!r} has commas in numbers, such as {first!r}; {rule}")
    others = Counter(key for key in present if parse_number(key) is None)
    are_slips = len(numbers) >= MIN_NUMBER_SHARE * len(present) and max(others.values(), default=0) <= 1
    if (are_slips or not others) and has_regression_labels(numbers):
        return Task(name, columns, (), ("pearson",), label=label)
    counts = Counter(_join_equal_numbers(present))
    names = _count_classes(values, label)
    metric = "accuracy" if min(counts.values()) >= max(counts.values()) / 2 else "macro_f1"
    return Task(name, columns, names, (metric,), label=label)


def _count_classes(values: list[Any], label: str) -> Texts:
    """Return the names of the classes in their natural order. Raises InputError if they are no classes."""
    present = [key for value in values if (key := format_label(value)) is not None]
    if values and not present:
        kinds = sorted({type(value).__name__ for value in values if value is not None}) or ["nothing"]
        rule = "where text, numbers or lists must be"
        raise InputError(f"--init-task: column {label!r} holds {', '.join(kinds)}, {rule}")
    names = set(_join_equal_numbers(present))
    if len(names) < 2 or len(names) > max(2, len(present) / 2):
        rule = "a classification has two classes or more, which repeat; a regression has numbers"
        empty = len(values) - len(present)
        found = format_count(len(names), "different value") + (f" and {empty:,} empty cells" if empty else "")
        raise InputError(f"--init-task: column {label!r} has {found}; {rule}")
    return tuple(sorted(names, key=_natural_order_key))


def _join_equal_numbers(labels: list[str]) -> list[str]:
    """Return labels of which equal numbers have one spelling, the most frequent one."""
    spellings: dict[Decimal | str, Counter[str]] = {}
    for label, count in Counter(labels).items():
        number = parse_number(label)
        spellings.setdefault(label if number is None else number, Counter())[label] += count
    names = {label: each.most_common(1)[0][0] for each in spellings.values() for label in each}
    return [names[label] for label in labels]


def has_regression_labels(labels: Iterable[str]) -> bool:
    """Return whether labels are numbers that have fractions, or that hardly repeat."""
    counts = Counter(map(parse_number, labels))
    if None in counts:
        return False
    rare = len(counts) > MAX_GUESSED_CLASSES and counts.total() < MIN_REPEATS * len(counts)
    return rare or _has_fractions(map(str, counts))


def _has_fractions(labels: Iterable[str]) -> bool:
    """Return whether all labels are numbers and at least one is not whole."""
    numbers = [parse_number(label) for label in labels]
    return None not in numbers and any(n != n.to_integral_value() for n in numbers if n is not None)


def _natural_order_key(label: str) -> tuple[float, str]:
    """Return a key that sorts numbers by value, then names."""
    number = parse_number(label)
    return (math.inf if number is None else float(number), label)


def write_proposal(proposal: TaskProposal, dry_run: bool = False) -> Path:
    """Write the YAML file beside the data file, unless that is a dry run; return its path.

    Raises InputError if it exists, or if what would be in it is not read as the proposed task.
    """
    file = proposal.train.path.with_suffix(".yaml")
    if file.exists():
        raise InputError(f"--init-task: {file} exists already; use it, or move it away")
    text = _format_file(proposal)
    try:
        read = parse_definition(parse_yaml(text), file)
        if replace(read, data_location=None) != proposal.task:
            raise InputError("YAML cannot hold its names; call columns and labels otherwise")
    except InputError as error:
        raise InputError(f"--init-task: no task can be made of {proposal.train.path}: {error}") from None
    try:
        if not dry_run:
            write_text_file(file, text)
    except OSError as error:
        raise InputError(f"--init-task: cannot write {file}: {error.strerror}") from None
    return file


def _format_file(proposal: TaskProposal) -> str:
    files = {"files": {split: data_file.path.name for split, data_file in proposal.files.items()}}
    return format_task_file(proposal.task, files)


def describe_proposal(proposal: TaskProposal, file: Path, dry_run: bool = False) -> list[str]:
    """Describe the proposal and its warnings, a line each. file: the YAML file, whose content is shown where
    a dry run has not written it."""
    task = proposal.task
    lines = [
        f"{split:<12} {data.path}: {format_count(len(data.rows), 'row')}"
        for split, data in proposal.files.items()
    ]
    if proposal.dev is None:
        share = format_share(DEV_SHARE)
        lines.append(f"dev          none: a stratified {share} of train will be held out, always the same")
    lines.append(f"text         {', '.join(map(quote_value, task.columns))}: {_describe_lengths(proposal)}")
    lines.append(f"label        {quote_value(task.label)}: {_describe_label(proposal)}")
    lines.append(f"metric       {task.metric}")
    if proposal.unused_columns:
        names = list_names([quote_value(name, 30) for name in proposal.unused_columns])
        lines.append(f"not used     {names}")
    lines += [f"check        {warning}" for warning in list_data_warnings(proposal)]
    if dry_run:
        said = f"Not written, as this is a dry run: {file}, with"
        return [*lines, "", said, *_format_file(proposal).splitlines()]
    return [*lines, "", f"Proposed: {file}. Read it, change what is wrong, then: --task {file}"]


def _describe_lengths(proposal: TaskProposal) -> str:
    words = np.array([sum(len(text.split()) for text in texts) for texts, _ in proposal.examples["train"]])
    median, most, longest = (int(value) for value in np.quantile(words, (0.5, 0.95, 1.0), method="nearest"))
    return f"median {format_count(median, 'word')}, 95 % have at most {most}, the longest {longest}"


def _describe_label(proposal: TaskProposal) -> str:
    labels = [name for _, names in proposal.examples["train"] for name in names]
    if proposal.task.is_regression:
        numbers = proposal.checked["train"].labels
        return f"a number from {min(numbers):g} to {max(numbers):g} (regression)"
    counts, total = Counter(labels), len(proposal.examples["train"])
    shares = [
        f"{quote_value(name, 30)} {counts[name]:,} ({format_share(counts[name] / total)})"
        for name in proposal.task.labels
    ]
    if not proposal.task.multi_label:
        return f"{len(shares)} classes: {list_names(shares)}"
    return f"{len(shares)} labels, {len(labels) / total:.1f} per example (multi-label): {list_names(shares)}"
