"""Stop rules: when no further trial is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Spent:
    """What a search has used so far. seconds: wall time; slot_seconds: summed over trials."""

    trials: int = 0
    seconds: float = 0.0
    slot_seconds: float = 0.0


class StopRule(Protocol):
    """Says why the search shall start no further trial, or None while it may. Must not change
    its mind: what was spent only grows."""

    def reached(self, spent: Spent) -> str | None:
        """The reason, in a few words."""
        ...


@dataclass(frozen=True)
class Trials:
    """A number of configurations."""

    most: int

    def reached(self, spent: Spent) -> str | None:
        return f"{self.most} trials" if spent.trials >= self.most else None


@dataclass(frozen=True)
class WallTime:
    """Seconds since the search began, earlier sittings of a resumed search counted in."""

    most_s: float

    def reached(self, spent: Spent) -> str | None:
        return f"time budget of {self.most_s:g} s" if spent.seconds >= self.most_s else None


@dataclass(frozen=True)
class GpuHours:
    """GPU-hours of the slots. gpus_per_slot: how many GPUs a slot holds."""

    most: float
    gpus_per_slot: float

    def reached(self, spent: Spent) -> str | None:
        used = spent.slot_seconds / 3600 * self.gpus_per_slot
        return f"{self.most:g} GPU-hours" if used >= self.most else None


def first_reached(rules: Sequence[StopRule], spent: Spent) -> str | None:
    """The reason of the first rule that is reached, or None."""
    return next((reason for rule in rules if (reason := rule.reached(spent))), None)
