"""Looks at a file of examples, proposes the YAML of a task of one's own, and says what it found.

    found = look(Path("data.csv"))
    file = propose(found)          # data.yaml beside it; what is there is never overwritten
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

from dps import own
from dps.errors import InputError
from dps.sources.own import DEV_SHARE, FEWEST
from dps.sources.readers import SUFFIXES, Row, place_of, read, shown
from dps.sources.several import labels_in, separator_of
from dps.task import LABEL, Task

DEV_NAMES = ("dev", "validation", "valid", "val")
LABEL_NAMES = (LABEL, "labels", "class", "category", "target", "gold", "score", "rating", "sentiment", "y")
FIRST_NAMES = ("text", "sentence", "sentence1", "premise", "question", "question1", "title")
MOST_CLASSES = 50
FEW = 10  # examples of a class, or of dev, below which a score is mostly luck
FAR = 10  # of a regression's numbers from 0, where training begins
RARE = 0.1  # of the most frequent class: a class that accuracy hardly sees
PAIR_WORDS, PAIR_SHARE = 3, 0.1  # of a second text: words in the mean, beside the first one's

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """One file. rows: by column; problems: rows that cannot be split into columns, a message each."""

    path: Path
    rows: list[Row]
    problems: list[str]

    @classmethod
    def read(cls, path: Path) -> Part:
        """Raises InputError where there is no such file, or it cannot be read, or has no rows."""
        if not path.is_file():
            raise InputError(f"--init-task: there is no {path}; give a {', '.join(SUFFIXES)} file")
        rows, place = list(read(path)), place_of(path)
        whole = [row for row in rows if not row.problem]
        if not whole:
            raise InputError(f"--init-task: {path} has no rows; at least one is needed")
        problems = [str(place.error(row.number, row.problem)) for row in rows if row.problem]
        return cls(path, whole, problems)

    def values(self, column: str) -> list[Any]:
        """A column; None where a row lacks it."""
        return [row.values.get(column) for row in self.rows]


@dataclass(frozen=True)
class Look:
    """What was found: the files, the proposed task, the columns that it leaves out."""

    train: Part
    dev: Part | None
    task: Task
    others: tuple[str, ...]

    @property
    def parts(self) -> dict[str, Part]:
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
                    names_in(row.values[task.label], task),
                )
                for row in part.rows
                if usable(row, task)
            ]
            for split, part in self.parts.items()
        }


def look(path: Path) -> Look:
    """Read a file, and the dev set beside it where its name says so. Raises InputError."""
    train = Part.read(path)
    dev = Part.read(sibling) if (sibling := dev_beside(path)) else None
    columns = list(dict.fromkeys(name for row in train.rows for name in row.values))
    label = label_column(columns, train)
    texts = text_columns([name for name in columns if name != label], train)
    others = tuple(name for name in columns if name not in (label, *texts))
    return Look(train, dev, _task(path, texts, label, train.values(label)), others)


def dev_beside(path: Path) -> Path | None:
    """The dev set beside a file called train."""
    if "train" not in path.stem:
        return None
    names = [path.with_name(path.stem.replace("train", name) + path.suffix) for name in DEV_NAMES]
    return next((name for name in names if name.is_file()), None)


def named(value: Any) -> str:
    """A label as the task's `labels` name it."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def usable(row: Row, task: Task) -> bool:
    """Whether a row has its texts and its label."""
    texts = all(isinstance(row.values.get(c), str) and row.values[c].strip() for c in task.columns)
    label = row.values.get(task.label)
    if task.multi_label:
        return texts and labels_in(label, task.separator) is not None
    return texts and label is not None and named(label) != ""


def names_in(value: Any, task: Task) -> Texts:
    """The label of an example, or its several ones in the task's order, unknown ones last."""
    if not task.multi_label:
        return (named(value),)
    known = {name: place for place, name in enumerate(task.labels)}
    names = {named(label) for label in labels_in(value, task.separator) or ()}
    return tuple(sorted(names, key=lambda name: (known.get(name, len(known)), name)))


def label_column(columns: list[str], part: Part) -> str:
    """The column of the label: by its name, else the last one whose values repeat or are fractions.

    Raises InputError where no column may be one.
    """
    for name in LABEL_NAMES:
        if found := [column for column in columns if column.lower() == name]:
            return found[0]
    most = max(2, min(MOST_CLASSES, len(part.rows) // 2))
    for column in reversed(columns):
        values = part.values(column)
        distinct = {named(value) for value in values if value is not None}
        if any(isinstance(value, list) for value in values):
            return column
        if 2 <= len(distinct) <= most or _fractions(distinct):
            return column
    there = ", ".join(shown(name, 30) for name in columns)
    advice = f"call it {LABEL!r} in the file"
    if len(columns) == 1 and re.search(r"[;\t|]", columns[0]):
        advice = "the file has other separators than its name says; save it with commas"
    raise InputError(f"--init-task: no column looks like a label ({there}); {advice}")


def text_columns(columns: list[str], part: Part) -> Texts:
    """One text column, or two of a pair: the longest one, and the next where it is a text of some length too.

    Raises InputError where there is none.
    """
    lengths = {column: _words(part.values(column)) for column in columns if column != LABEL}
    texts = {column: words for column, words in lengths.items() if words >= 2}
    texts = texts or {column: words for column, words in lengths.items() if words > 0 and _known(column)}
    if not texts:
        there = ", ".join(shown(name, 30) for name in columns) or "none"
        raise InputError(f"--init-task: no column looks like text ({there}); call it 'text' in the file")
    first, *others = sorted(texts, key=lambda column: -texts[column])
    paired = [c for c in others[:1] if texts[c] >= max(PAIR_WORDS, PAIR_SHARE * texts[first])]
    return tuple(column for column in columns if column in (first, *paired))


def _known(column: str) -> bool:
    return column.lower() in FIRST_NAMES


def _words(values: list[Any]) -> float:
    """Mean number of words; 0 where there are other values than texts."""
    texts = [value for value in values if value is not None]
    if not texts or not all(isinstance(value, str) for value in texts):
        return 0.0
    return float(np.mean([len(value.split()) for value in texts]))


def _task(path: Path, columns: Texts, label: str, values: list[Any]) -> Task:
    there = [value for value in values if value is not None and named(value)]
    counts = Counter(map(named, there))
    stem = path.resolve().parent.name if path.stem == "train" else path.stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "mine"
    separator = separator_of(values)
    if separator is not None:
        parts = (labels_in(value, separator) or () for value in there)
        counts = Counter(named(part) for labels in parts for part in labels)
    elif is_regression(counts):
        return Task(_free(name), columns, (), ("pearson",), label=label)
    if not 2 <= len(counts) <= MOST_CLASSES:
        rule = f"a classification has 2 to {MOST_CLASSES} classes, a regression numbers"
        raise InputError(f"--init-task: column {label!r} has {len(counts)} different values; {rule}")
    names = tuple(sorted(counts, key=_natural))
    if separator is not None:
        named_ = (_free(name), columns, names, ("micro_f1",))
        return Task(*named_, label=label, multi_label=True, separator=separator)
    metric = "accuracy" if min(counts.values()) >= max(counts.values()) / 2 else "macro_f1"
    return Task(_free(name), columns, names, (metric,), label=label)


def _free(name: str) -> str:
    """A name that no other task has."""
    from dps.tasks import TASKS

    return f"my-{name}" if name in TASKS else name


def is_regression(counts: Counter[str]) -> bool:
    """Whether labels are numbers, some of them with a fraction, or too many to be classes."""
    numbers = all(math.isfinite(_number(label)) for label in counts)
    return numbers and (len(counts) > MOST_CLASSES or _fractions(counts))


def _fractions(labels: Iterable[str]) -> bool:
    """Whether all are numbers, and one of them is not whole."""
    numbers = [_number(label) for label in labels]
    return all(map(math.isfinite, numbers)) and any(number % 1 for number in numbers)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _natural(label: str) -> tuple[float, str]:
    """Numbers in their order, then names."""
    number = _number(label)
    return (number if math.isfinite(number) else math.inf, label)


def propose(found: Look) -> Path:
    """Write the YAML beside the file; returns its path. Raises InputError where one is there."""
    file = found.train.path.with_suffix(".yaml")
    if file.exists():
        raise InputError(f"--init-task: {file} is there already; use it, or move it away")
    files = {split: part.path.name for split, part in found.parts.items()}
    try:
        own.write(found.task, file, {"files": files})
    except OSError as error:
        raise InputError(f"--init-task: cannot write {file}: {error.strerror}") from None
    return file


def report(found: Look, file: Path) -> list[str]:
    """What was found and what to look at, a line each."""
    task = found.task
    lines = [f"{split:<12} {part.path}: {len(part.rows):,} rows" for split, part in found.parts.items()]
    if found.dev is None:
        lines.append(
            f"dev          none: a stratified {DEV_SHARE:.0%} of train will be split off, always the same"
        )
    lines.append(f"text         {', '.join(map(shown, task.columns))}: {_lengths(found)}")
    lines.append(f"label        {shown(task.label)}: {_label(found)}")
    lines.append(f"metric       {task.metric}")
    if found.others:
        lines.append(f"not read     {', '.join(shown(name, 30) for name in found.others[:12])}")
    lines += [f"look at      {warning}" for warning in warnings(found)]
    return [*lines, "", f"Proposed: {file}. Read it, change what is wrong, then: --task {file}"]


def _lengths(found: Look) -> str:
    words = np.array([sum(len(text.split()) for text in texts) for texts, _ in found.examples["train"]])
    if not len(words):
        return "no usable row"
    middle, long, longest = (int(value) for value in np.quantile(words, (0.5, 0.95, 1.0), method="nearest"))
    return f"{middle} words in the middle, 95% have at most {long}, the longest {longest}"


def _label(found: Look) -> str:
    labels = [name for _, names in found.examples["train"] for name in names]
    if found.task.is_regression:
        numbers = [_number(label) for label in labels]
        return f"a number from {min(numbers):g} to {max(numbers):g} (regression)" if numbers else "no number"
    counts, total = Counter(labels), max(1, len(found.examples["train"]))
    shares = [
        f"{shown(name, 30)} {counts[name]:,} ({counts[name] / total:.0%})" for name in found.task.labels
    ]
    if not found.task.multi_label:
        return f"{len(shares)} classes: {', '.join(shares)}"
    several = f"{len(shares)} labels, {len(labels) / total:.1f} an example"
    return f"{several} (multi-label): {', '.join(shares)}"


def warnings(found: Look) -> list[str]:
    """What may be wrong with the data, a line each; empty where nothing was seen."""
    checks = (_unusable, _kind, _repeated, _contradicting, _shared, _few)
    return [line for check in checks for line in check(found)]


def _unusable(found: Look) -> list[str]:
    """Rows that a search would refuse."""
    said = []
    for part in found.parts.values():
        place = place_of(part.path)
        bad = [
            str(place.error(row.number, "")).rstrip(": ") for row in part.rows if not usable(row, found.task)
        ]
        if bad := [*part.problems, *(f"{where} lacks a text or the label" for where in bad)]:
            said.append(f"{_rows(len(bad))} that a search refuses, the first: {bad[0]}")
    known = set(found.task.labels)
    for split, examples in found.examples.items():
        new = sorted({name for _, names in examples for name in names} - known) if known else []
        if new:
            said.append(
                f"{split} has labels that train has not: {', '.join(shown(name, 30) for name in new[:5])}"
            )
    return said


def _kind(found: Look) -> list[str]:
    """Labels that may be meant in another way."""
    labels, said = found.task.labels, []
    given = (name for _, names in found.examples["train"] for name in names)
    furthest = max((abs(_number(name)) for name in given), default=0.0)
    if found.task.is_regression and furthest > FAR:
        said.append(
            f"numbers up to {furthest:g}: training starts near 0; scale them to about -{FAR} to {FAR}"
        )
    numbers = not found.task.multi_label and all(math.isfinite(_number(label)) for label in labels)
    if len(labels) > 2 and numbers:
        said.append("the classes are numbers; where their order matters, make it `kind: regression`")
    alike = Counter(label.casefold() for label in labels)
    if twice := [label for label in labels if alike[label.casefold()] > 1]:
        said.append(f"classes that differ in capitals alone: {', '.join(shown(name, 30) for name in twice)}")
    return said


def _repeated(found: Look) -> list[str]:
    said = []
    for split, examples in found.examples.items():
        if extra := len(examples) - len({texts for texts, _ in examples}):
            kept = "; they stay on one side of the split" if found.dev is None else ""
            said.append(f"{_rows(extra)} of {split} repeat the text of another{kept}")
    return said


def _contradicting(found: Look) -> list[str]:
    """The same text under different labels: at least one of them is wrong."""
    labels: dict[Texts, set[str]] = {}
    for examples in found.examples.values():
        for texts, names in examples:
            labels.setdefault(texts, set()).add(found.task.separator.join(names))
    torn = [(texts, sorted(said)) for texts, said in labels.items() if len(said) > 1]
    if not torn:
        return []
    texts, first = torn[0]
    what = f"{len(torn):,} text{'s stand' if len(torn) > 1 else ' stands'} there with different labels"
    return [f"{what}, the first: {shown(texts[0])} as {', '.join(shown(one, 30) for one in first)}"]


def _shared(found: Look) -> list[str]:
    if found.dev is None:
        return []
    train = {texts for texts, _ in found.examples["train"]}
    shared = sum(texts in train for texts, _ in found.examples["dev"])
    if not shared:
        return []
    return [f"{_rows(shared)} of dev are in train too: scores will be too good; remove them from one"]


def _few(found: Look) -> list[str]:
    """Too little to learn from, or to be measured on."""
    train, said = found.examples["train"], []
    distinct = len({texts for texts, _ in train})
    if found.dev is None and distinct < FEWEST:
        said.append(f"{distinct} different texts are too few to split off dev; {FEWEST} are needed")
    dev = round(DEV_SHARE * distinct) if found.dev is None else len(found.examples["dev"])
    if dev < FEW * max(2, len(found.task.labels)):
        said.append(f"dev has about {dev} examples: differences between models will hardly show")
    counts = Counter(name for _, names in train for name in names)
    usual = "micro_f1" if found.task.multi_label else "accuracy"
    rare = [name for name in found.task.labels if counts[name] < FEW]
    if rare:
        said.append(f"classes with fewer than {FEW} examples: {', '.join(shown(name, 30) for name in rare)}")
    elif found.task.labels and min(counts.values()) < RARE * max(counts.values()):
        said.append(f"classes differ in size by more than {1 / RARE:.0f}: {usual} hardly sees the small ones")
    return said


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
