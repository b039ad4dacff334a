"""Which scores are better: the higher or the lower ones."""

from __future__ import annotations

from enum import StrEnum


class Direction(StrEnum):
    """Name of the direction of a metric, as a task has it."""

    MAX = "max"
    MIN = "min"

    @property
    def sign(self) -> int:
        """1 where higher scores are better, else -1: times it, higher is better."""
        return 1 if self is Direction.MAX else -1
