"""Direction of a metric: whether higher or lower scores are better."""

from __future__ import annotations

from enum import StrEnum


class Direction(StrEnum):
    """Direction of a metric, by the name that a task has for it."""

    MAX = "max"
    MIN = "min"

    @property
    def sign(self) -> int:
        """1 if higher scores are better, else -1: a score times its sign is better if higher."""
        return 1 if self is Direction.MAX else -1
