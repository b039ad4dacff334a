"""Hyper-parameters: the values that they may have, and those that a search draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Range:
    """Closed interval [low, high] of numbers, drawn on a linear or a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Both ends."""
        return self.low, self.high

    def scale(self, factor: float) -> Range:
        """Return the range of these values times a factor."""
        return Range(_scale(self.low, factor), _scale(self.high, factor), self.log)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", log scale" if self.log else "")


@dataclass(frozen=True)
class Choice:
    """List of values: names, or the few numbers that were published."""

    values: tuple[Any, ...]

    @property
    def extremes(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    def scale(self, factor: float) -> Choice:
        """Return these values, which are numbers, times a factor."""
        return Choice(tuple(_scale(value, factor) for value in self.values))

    def __str__(self) -> str:
        return " | ".join(map(str, self.values))


def _scale(value: float, factor: float) -> float:
    """Multiply to six digits, without what rounding adds; by 1 not at all."""
    return value if factor == 1 else float(f"{value * factor:.6g}")


Domain = Range | Choice


class Rule(NamedTuple):
    """Condition on the value of a hyper-parameter, in words and as a function."""

    words: str
    holds: Callable[[Any], bool]


def is_number(value: object) -> bool:
    """Return whether a value is a number, of Python or NumPy, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


SHARE = Rule("in (0, 1]", lambda value: is_number(value) and 0 < value <= 1)
PROBABILITY = Rule("in [0, 1)", lambda value: is_number(value) and 0 <= value < 1)
NON_NEGATIVE = Rule("at least 0 and finite", lambda value: is_number(value) and 0 <= value < float("inf"))
COUNT = Rule("a whole number of at least 1", lambda value: type(value) is int and value >= 1)


def hyper_parameter(default: Any, rule: Rule, searched: Domain | None = None) -> Any:
    """Declare a field of a method: its default, its rule, and the published values that a search draws."""
    return field(default=default, metadata={"rule": rule, "searched": searched})
