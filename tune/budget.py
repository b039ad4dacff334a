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
    """Seconds since the search began, earlier sittings of a resumed search counted in. share: of them that
    may be used; the rest is for what comes after."""

    most_s: float
    share: float = 1.0

    def reached(self, spent: Spent) -> str | None:
        return _of(self.share, f"time budget of {self.most_s:g} s", spent.seconds, self.most_s)


@dataclass(frozen=True)
class DeviceHours:
    """GPU-hours or CPU-hours of the slots. per_slot: how many GPUs or CPU cores a slot holds; share: as
    above."""

    device: str
    most: float
    per_slot: float
    share: float = 1.0

    def reached(self, spent: Spent) -> str | None:
        used = spent.slot_seconds / 3600 * self.per_slot
        return _of(self.share, f"{self.most:g} {self.device}-hours", used, self.most)


def _of(share: float, budget: str, used: float, most: float) -> str | None:
    if used < share * most:
        return None
    return budget if share == 1 else f"{share:.0%} of the {budget}, the rest is for the race"


def first_reached(rules: Sequence[StopRule], spent: Spent) -> str | None:
    """The reason of the first rule that is reached, or None."""
    return next((reason for rule in rules if (reason := rule.reached(spent))), None)
