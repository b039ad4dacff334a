"""YAML as plain data: nothing multiplies, nothing is lost, text stays as it stands."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml

from dps.errors import InputError
from dps.text import quote_value
from dps.yaml_text import parse_yaml
from tests.bad_inputs import LAUGHS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", "010"), ("1:30", "1:30"), ("1:30.5", "1:30.5"), ("1_000", "1_000"), ("0x1F", "0x1F"),
        ("0b1", "0b1"), ("2026-11-29", "2026-11-29"), ("2026-11-29 10:00:00", "2026-11-29 10:00:00"),
        ("1e-5", "1e-5"), ("12", 12), ("-3", -3), ("+3", 3), ("0", 0), ("0.5", 0.5), (".5", 0.5), ("1.", 1.0),
        ("1.5e-3", 0.0015), (".inf", float("inf")), ("yes", True), ("no", False), ("~", None), ("null", None),
    ],
)  # fmt: skip
def test_a_value_is_what_is_written(text: str, value: Any) -> None:
    assert parse_yaml(f"key: {text}") == {"key": value}


@pytest.mark.parametrize("value", ["010", "1:30", "1e5", "1.5", "yes", "2026-11-29", "~", "x: y", "a\nb"])
def test_what_was_written_by_pyyaml_is_read_back(value: str) -> None:
    assert parse_yaml(yaml.safe_dump({"key": value})) == {"key": value}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "line 2: *a is an alias; write out what it stands for"),
        ("a: 1\nb: {c: 1, c: 2}", "line 2: the key 'c' stands twice; leave one out"),
        ("a: 1\n'a': 2", "line 2: the key 'a' stands twice"),
        ("a: [", "while parsing"),
        ("[" * 5000, "it is nested too deep"),
        ("a: " + "1" * 5000, "digits"),
        ("a: !!timestamp 2026-99-99", "month"),
        ("a: !!python/object/apply:os.system [x]", "python/object"),
        ("? [1]\n: 2", "unhashable key"),
    ],
)
def test_anything_else_is_refused_at_once_in_one_line(text: str, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as refusal:
        parse_yaml(text)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert time.monotonic() - began < 2


def test_a_hostile_value_is_quoted_without_looking_at_the_whole() -> None:
    node: list[Any] = ["x"]
    for _ in range(60):
        node = [node] * 9
    assert len(quote_value(node)) == 60
    assert quote_value({"name": ["a", 1]}) == "{'name': ['a', 1]}"
