"""What the values of a label column mean: names, ids, indicators, numbers; or a refusal, never a guess."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dps.errors import InputError
from dps.sources.examples import check_rows
from dps.sources.labels import choose_label_reading, format_label
from dps.sources.readers import DataOrigin, DataRow
from dps.tasks.task import Task

STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
MOODS = ("negative", "neutral", "positive")
TOPICS = ("bug", "billing", "praise")
NUMBERS = ("1.0", "2.0", "3.0")


def read(labels: tuple[str, ...], values: list[Any], multi_label: bool = False) -> list[Any]:
    task = Task("own", ("text",), labels, ("macro_f1",), multi_label=multi_label)
    rows = [DataRow(number, {"text": f"w{number}", "label": value}) for number, value in enumerate(values, 1)]
    checked = check_rows(task, DataOrigin("a.csv"), rows)
    if checked.defects:
        raise checked.defects[0]
    return checked.labels


@pytest.mark.parametrize(
    ("labels", "values", "ids"),
    [
        (NUMBERS, [1, 2, "3", 1.0, "1.00", "1e0", "+1", Decimal("2.0"), " 2 "], [0, 1, 2, 0, 0, 0, 0, 1, 1]),
        (("0", "1"), [0.0, 1.0, "0.0", "01"], [0, 1, 0, 1]),
        (("1", "2", "10"), ["1.0", "10.0", 2], [0, 2, 1]),
        (("5", "0"), [5.0, 0.0], [0, 1]),
        (MOODS, [0, 1, 2, "1", 2.0, "0.0"], [0, 1, 2, 1, 2, 0]),
        (MOODS, ["neutral", " positive"], [1, 2]),
        (("LABEL_0", "LABEL_1"), [1, 0], [1, 0]),
        (("2D", "3D"), [0, 1], [0, 1]),
        (("covid-19", "flu", "cold"), [0, 2, 1], [0, 2, 1]),
        (("false", "true"), [True, False], [1, 0]),
        (("12345678901234567890", "12345678901234567891"), ["12345678901234567891"], [1]),
        (("1", "01"), ["01", "1"], [1, 0]),
    ],
)
def test_a_label_is_the_class_that_it_can_only_mean(
    labels: tuple[str, ...], values: list[Any], ids: list[int]
) -> None:
    assert read(labels, values) == ids


@pytest.mark.parametrize(
    ("labels", "values", "says"),
    [
        (STARS, [1, 2, 3, 4], "a.csv:1: label 1 is not one of task own: 1 star"),
        (STARS, [0, 1, 2, 3, 4], "a.csv:1: label 0 is not one of"),
        (MOODS, [1, 2], "a.csv: column 'label' has the numbers 1, 2, but ids begin at 0"),
        (MOODS, [1, 2, 3], "ids begin at 0"),
        (MOODS, ["negative", 1], "a.csv:2: label 1 is not one of task own: .*; numbers are ids only where"),
        (MOODS, [0, 1, 7], "a.csv:3: label 7 is not one of task own: negative or 0"),
        (MOODS, [0, -1], "a.csv:2: label -1 is not one of"),
        (MOODS, [0, 0.5], "a.csv:2: label 0.5 is not one of"),
        (("1", "2"), [1, 0], "a.csv:2: label 0 is not one of"),
        (("10", "20"), [0, 1], "a.csv:1: label 0 is not one of"),
        (("1", "01"), ["1.0"], "a.csv:1: label '1.0' is not one of"),
        (MOODS, ["neutral", math.nan], r"a.csv:2: label is missing \(nan\)"),
        (MOODS, ["neutral", None], r"a.csv:2: label is missing \(None\)"),
        (MOODS, ["neutral", " "], r"a.csv:2: label is missing \(' '\)"),
        (("a", "1_0"), ["10"], "a.csv:1: label '10' is not one of"),
        (("caf\u00e9", "bar"), ["cafe\u0301"], r"; 'cafe\\u0301' only looks like 'caf\\xe9'"),
        (("True", "False"), [True], "'true' only looks like 'True'"),
    ],
)
def test_a_label_that_may_mean_two_things_is_refused(
    labels: tuple[str, ...], values: list[Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        read(labels, values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1, 0, 0], [0, 1, 1]]),
        ([[True, False, False], [False, True, True]], [[1, 0, 0], [0, 1, 1]]),
        ([["1", "0", "0"], ["0", "1", "1"]], [[1, 0, 0], [0, 1, 1]]),
        (["1|0|0", "0|1|1"], [[1, 0, 0], [0, 1, 1]]),
        ([[0], [2], [0, 1], []], [[1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]]),
        ([["bug"], ["praise", "bug"], []], [[1, 0, 0], [1, 0, 1], [0, 0, 0]]),
        (["bug|praise", ""], [[1, 0, 1], [0, 0, 0]]),
    ],
)
def test_lists_of_0_and_1_are_indicators_and_never_ids(values: list[Any], expected: list[list[int]]) -> None:
    assert read(TOPICS, values, multi_label=True) == expected


def test_lists_of_labels_that_are_numbers() -> None:
    with pytest.raises(InputError, match=r"label \[0, 1, 1\] has a number twice"):
        read(("0", "1"), [[0, 1, 1], [1, 0, 0]], multi_label=True)
    assert read(("0", "1"), [[0, 1], [1, 0]], multi_label=True) == [[0, 1], [1, 0]]
    assert read(("0", "1"), [[0], [1], [0, 1]], multi_label=True) == [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([[1, 0], [0, 1], [0, 0]], r"a.csv:3: label \[0, 0\] has a number twice; a list of 0 and 1 has 3"),
        ([[1, 0, 0, 1], [0, 1, 1, 0]], r"a.csv:1: label \[1, 0, 0, 1\] has a number twice"),
        ([[1, 0, 0], ["bug"]], r"a.csv:1: label \[1, 0, 0\] has a number twice"),
        ([[1, 2], ["bug"]], "a.csv:1: label [12] is not one of"),
        ([[1, 0, 0], None], r"a.csv:2: label must be a list of labels"),
        ([[1, 2], [2]], "ids begin at 0"),
        ([[1, 0, 0], []], r"a.csv:2: label \[\] is empty, where others have 0 or 1 for each of the 3 labels"),
        (["['bug', 'praise']"], "is a list written as text; put '|' between the labels"),
        (['["bug"]', "bug"], "is a list written as text"),
    ],
)
def test_lists_that_may_mean_two_things_are_refused(values: list[Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(TOPICS, values, multi_label=True)


WORDS = st.text("ab1 2.", min_size=1, max_size=4).map(str.strip).filter(bool)
SPELLINGS = st.integers(-3, 12).flatmap(
    lambda number: st.sampled_from(
        [number, float(number), Decimal(number), str(number), f"{number}.0", f"{number}e0", f" {number} "]
    )
)


@given(st.lists(WORDS | SPELLINGS, max_size=8), st.lists(WORDS, min_size=2, max_size=4, unique=True))
def test_no_label_becomes_a_class_that_it_does_not_name(values: list[Any], names: list[str]) -> None:
    """A name is its class, equal numbers are equal classes, and an id comes with no doubt."""
    task = Task("own", ("text",), tuple(names), ("macro_f1",))
    try:
        reading = choose_label_reading(task, values)
        ids = [reading.parse(value) for value in values]
    except InputError:
        return
    for value, number in zip(values, ids, strict=True):
        assert isinstance(number, int)
        key = format_label(value)
        if key in names:
            assert names[number] == key
        if reading.kind == "names":
            assert names[number] == key or Decimal(names[number]) == Decimal(key or "")
        else:
            assert Decimal(key or "") == number
            assert key not in names
    if reading.kind == "ids" and len(names) > 2:
        assert 0 in ids


@given(st.lists(st.integers(0, 3), min_size=1), st.data())
def test_every_spelling_of_a_number_is_the_same_label(numbers: list[int], data: Any) -> None:
    spellings = [data.draw(st.sampled_from([n, float(n), f"{n}", f"{n}.0", f"{n}e0"])) for n in numbers]
    assert read(("0", "1", "2", "3"), spellings) == numbers
    task = Task("own", ("text",), (), ("pearson",))
    reading = choose_label_reading(task, spellings)
    assert [reading.parse(value) for value in spellings] == numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (1.0, "1"), (0.5, "0.5"), (-0.0, "0"), (Decimal("2.50"), "2.50"), (10**30, str(10**30)),
     (math.nan, None), (math.inf, None), ("", None), (b"a", None), ([1], None)],
)  # fmt: skip
def test_a_label_as_text(value: object, text: str | None) -> None:
    assert format_label(value) == text


@pytest.mark.parametrize(
    ("value", "says"),
    [("3,5", "write the decimals after a point"), ("1_0", "must be a number"), (True, "got True"),
     ("x", "got 'x'"),
     (math.nan, "got nan"), ("1e999", "got '1e999'"), (None, "got None")],
)  # fmt: skip
def test_a_score_that_is_none(value: object, says: str) -> None:
    reading = choose_label_reading(Task("own", ("text",), (), ("pearson",)), [value])
    with pytest.raises(InputError, match=says):
        reading.parse(value)
