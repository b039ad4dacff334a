"""Reading of label columns: what the values of a column mean to a task.

One value says little: 1 is the name of a class, the id of another or an indicator. `choose_label_reading`
looks at all values of a column, and takes a number for an id only where nothing else is possible.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal

from dps.errors import InputError
from dps.tasks.splits import normalise_text
from dps.tasks.task import LABEL_SEPARATOR, Task
from dps.text import quote_value
from dps.wording import list_names

CANDIDATE_SEPARATORS = (LABEL_SEPARATOR, ";", ",")
NUMBER_PATTERN = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,3})?")
DECIMAL_COMMA_PATTERN = re.compile(r"[-+]?\d*,\d+")
THOUSANDS_PATTERN = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
MAX_WHOLE_NUMBER = 10**18  # larger ones are written as they are
INDICATORS = {"0": 0, "1": 1, "false": 0, "true": 1}
READING_NOTES = {
    "names": "",
    "ids": "numbers are read as ids",
    "indicators": "lists of 0 and 1 are read as one place a label",
}


def format_label(value: object) -> str | None:
    """Return a label as a task names it: text, "true" or "false", a number (1.0 is "1").

    None for a missing value (empty, None, NaN), and for one that is neither text nor a number.
    """
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float | Decimal) or not math.isfinite(value):
        return None
    is_whole = -MAX_WHOLE_NUMBER < value < MAX_WHOLE_NUMBER and value == int(value)
    return str(int(value)) if is_whole else str(value)


def parse_number(text: str) -> Decimal | None:
    """Return the number that a text spells ("1", "1.0", "1e0"), exactly; None for any other text."""
    return Decimal(text) if NUMBER_PATTERN.fullmatch(text) else None


def split_labels(value: object, separator: str) -> list[object] | None:
    """Return the labels of one example: a list unchanged, a text split; None for anything else."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(separator)] if value.strip() else []
    return value if isinstance(value, list) else None


def is_list_text(value: object) -> bool:
    """Return whether a text looks like a list that was written as text: "['bug', 'praise']"."""
    return isinstance(value, str) and value.strip()[:1] == "[" and value.strip()[-1:] == "]"


def find_label_separator(values: Sequence[object]) -> str | None:
    """Infer the label separator of a column: the default one for lists, None for single labels.

    A separator is recognised if the texts have fewer distinct parts than there are distinct texts, because
    the parts recur alone or in other combinations.
    """
    if any(isinstance(value, list) for value in values):
        return LABEL_SEPARATOR
    texts = {
        value.strip()
        for value in values
        if isinstance(value, str) and not DECIMAL_COMMA_PATTERN.fullmatch(value)
    }
    for separator in CANDIDATE_SEPARATORS:
        parts = {part for text in texts for part in split_labels(text, separator) or ()}
        if any(separator in text for text in texts) and "" not in parts and 2 <= len(parts) < len(texts):
            return separator
    return None


def find_indicator_length(lists: Iterable[Sequence[object]]) -> int | None:
    """Return the length of lists that all hold 0 and 1 alone and are of one length; None for other lists.

    Empty lists do not count.
    """
    lengths = set()
    for values in filter(None, lists):
        if not all(format_label(value) in INDICATORS for value in values):
            return None
        lengths.add(len(values))
    return lengths.pop() if len(lengths) == 1 else None


@dataclass(frozen=True)
class LabelReading:
    """How the labels of a column are read.

    kind: as "names" of classes (equal numbers are the same name), as "ids" of classes, or, for multi-label
        tasks, as "indicators".
    """

    task: Task
    kind: Literal["names", "ids", "indicators"]

    @property
    def note(self) -> str:
        """What a user should know of it; empty for names."""
        return READING_NOTES[self.kind]

    def parse(self, value: object) -> float | list[int]:
        """Return the id of a class, a number, or 0 or 1 for each label. Raises InputError for others."""
        if self.task.is_regression:
            return _parse_score(self.task, value)
        return self._parse_list(value) if self.task.multi_label else self._find_id(value)

    def _parse_list(self, value: object) -> list[int]:
        parts = split_labels(value, self.task.separator)
        if parts is None:
            rule = f"must be a list of labels, or a text with {self.task.separator!r} between the labels"
            raise InputError(f"label {rule}, got {quote_value(value)}")
        if self.kind == "indicators":
            if not parts:
                rule = f"is empty, where others have 0 or 1 for each of the {len(self.task.labels)} labels"
                raise InputError(f"label {quote_value(value)} {rule}; write the zeros")
            return [INDICATORS[format_label(part) or ""] for part in parts]
        if is_list_text(value) and format_label(value) not in self.task.labels:
            rule = f"is a list written as text; put {self.task.separator!r} between the labels, or use .jsonl"
            raise InputError(f"label {quote_value(value)} {rule}")
        numbers = [number for part in parts if (number := parse_number(format_label(part) or "")) is not None]
        if len(set(numbers)) < len(numbers):
            rule = f"has a number twice; a list of 0 and 1 has {len(self.task.labels)}, one for each label"
            raise InputError(f"label {quote_value(value)} {rule}")
        ids = {self._find_id(part) for part in parts}
        return [int(number in ids) for number in range(len(self.task.labels))]

    def _find_id(self, value: object) -> int:
        key = format_label(value)
        number = self.names.find(key) if self.kind == "names" else _parse_id(key, len(self.task.labels))
        if number is None:
            raise self._make_error(value, key)
        return number

    def _make_error(self, value: object, key: str | None) -> InputError:
        task = self.task
        if key is None and isinstance(value, str | float | Decimal | None):
            return InputError(f"label is missing ({quote_value(value)}); give one or remove the row")
        alone = any(re.search(r"\d", name) for name in task.labels)  # no number is an id there
        known = list_names([name if alone else f"{name} or {n}" for n, name in enumerate(task.labels)])
        hint = " (the annotators did not agree; remove the row)" if key == "-" else ""
        if self.kind == "names" and _parse_id(key, len(task.labels)) is not None:
            known += "; numbers are ids only where every label is one and no name has a number"
        alike = [name for name in task.labels if key and _fold(name) == _fold(key) and name != key]
        if alike:
            known += f"; {key!a} only looks like {alike[0]!a}"
        if task.data_location is not None:  # it has a YAML file
            known += "; a class that is missing here belongs in labels: of its YAML file"
        return InputError(f"label {quote_value(value)}{hint} is not one of task {task.name}: {known}")

    @cached_property
    def names(self) -> ClassNames:
        """The names of the task's classes."""
        return ClassNames(self.task.labels)


def _fold(name: str) -> str:
    """Return what names have in common that look alike, capitals and small letters too."""
    return normalise_text(name).casefold()


class ClassNames:
    """Names of classes, found by their text or, if they are numbers, by any spelling of the number."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._ids = {name: number for number, name in enumerate(labels)}
        values = [parse_number(name) for name in labels]
        counts = Counter(values)
        self._ids_by_value = {
            value: number for number, value in enumerate(values) if value is not None and counts[value] == 1
        }

    @property
    def has_numbers(self) -> bool:
        """Whether a name is a number."""
        return bool(self._ids_by_value)

    def find(self, key: str | None) -> int | None:
        """Return the id of the class of this name; None if there is none."""
        if key is None or key in self._ids:
            return self._ids.get(key or "")
        value = parse_number(key)
        return None if value is None else self._ids_by_value.get(value)


def choose_label_reading(task: Task, values: Sequence[object]) -> LabelReading:
    """Choose how all values of a label column are read.

    As names if any of them is one; as ids if all could be, and no name has one of the numbers in it ("1
    star"), unless it is its id; of multi-label tasks as indicators if every one is a list of 0 and 1 with a
    place for each of the task's labels.

    Raises InputError if the ids of three or more classes begin at 1.
    """
    if task.is_regression:
        return LabelReading(task, "names")
    parts: list[object] = list(values)
    if task.multi_label:
        lists = [split_labels(value, task.separator) for value in values]
        if find_indicator_length(each for each in lists if each is not None) == len(task.labels):
            return LabelReading(task, "indicators")
        parts = [part for each in lists for part in each or ()]
    keys = {format_label(part) for part in parts} - {None}
    names = ClassNames(task.labels)
    if names.has_numbers or any(names.find(key) is not None for key in keys):
        return LabelReading(task, "names")
    ids = {number for key in keys if (number := _parse_id(key, len(task.labels))) is not None}
    if any(ids & (_find_numbers(name) - {number}) for number, name in enumerate(task.labels)):
        return LabelReading(task, "names")
    if len(task.labels) > 2 and ids and 0 not in ids:
        numbers, known = list_names([*map(str, sorted(ids))]), list_names(task.labels)
        raise InputError(
            f"column {task.label!r} has the numbers {numbers}, but ids begin at 0, which no row has; write "
            f"the names ({known}), or numbers from 0 on"
        )
    return LabelReading(task, "ids" if ids else "names")


def _parse_id(key: str | None, classes: int) -> int | None:
    """Return the id of a class that a text spells, below `classes`; None for other texts."""
    number = parse_number(key or "")
    return int(number) if number is not None and number in range(classes) else None


def _find_numbers(name: str) -> set[int]:
    """Return the whole numbers that occur in a name, but for very long ones."""
    return {int(digits) for digits in re.findall(r"\d+", name) if len(digits) < 10}


def _parse_score(task: Task, value: object) -> float:
    low, high = task.score_range or (-math.inf, math.inf)
    key = None if isinstance(value, bool) else format_label(value)
    number = parse_number(key or "")
    score = math.nan if number is None else float(number)
    if not (math.isfinite(score) and low <= score <= high):
        hint = "give one or remove the row"
        if DECIMAL_COMMA_PATTERN.fullmatch(key or ""):
            hint = "write the decimals after a point"
        limits = f" in [{low:g}, {high:g}]" if task.score_range else ""
        raise InputError(f"label must be a number{limits}, got {quote_value(value)}; {hint}")
    return score
