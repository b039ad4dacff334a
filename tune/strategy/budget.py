"""Stop rules: when no further trial is started."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class SpentResources:
    """What a search has used so far. seconds: wall time; slot_seconds: summed over trials."""

    trials: int = 0
    seconds: float = 0.0
    slot_seconds: float = 0.0


class StopRule(Protocol):
    """Says why the search shall start no further trial, or None while it may. Must not change
    its mind: what was spent only grows."""

    def reached(self, spent: SpentResources) -> str | None:
        """The reason, in a few words."""
        ...


@dataclass(frozen=True)
class TrialLimit:
    """A number of configurations."""

    most: int

    def reached(self, spent: SpentResources) -> str | None:
        return f"{self.most} trials" if spent.trials >= self.most else None


@dataclass(frozen=True)
class WallTimeLimit:
    """Seconds since the search began, earlier sittings of a resumed search counted in. share: of them that
    may be used; the rest is for what comes after."""

    most_s: float
    share: float = 1.0

    def reached(self, spent: SpentResources) -> str | None:
        return _reason_if_reached(self.share, f"time budget of {self.most_s:g} s", spent.seconds, self.most_s)


@dataclass(frozen=True)
class SlotDevices:
    """What a slot holds. kind: GPUs, or CPU cores where it has none; per_slot: how many of them; price: of
    one for an hour, in any currency, if known."""

    kind: Literal["GPU", "CPU"]
    per_slot: float
    price: float | None = None

    def used(self, slot_seconds: float) -> dict[str, float]:
        """ "gpu_hours" or "cpu_hours" of so much work, and its "cost" where there is a price."""
        hours = slot_seconds / 3600 * self.per_slot
        found = {f"{self.kind.lower()}_hours": hours}
        return found if self.price is None else {**found, "cost": hours * self.price}


@dataclass(frozen=True)
class DeviceHoursLimit:
    """GPU-hours or CPU-hours of the slots. per_slot: how many GPUs or CPU cores a slot holds; share: as
    above."""

    device: str
    most: float
    per_slot: float
    share: float = 1.0

    def reached(self, spent: SpentResources) -> str | None:
        used = spent.slot_seconds / 3600 * self.per_slot
        return _reason_if_reached(self.share, f"{self.most:g} {self.device}-hours", used, self.most)


def _reason_if_reached(share: float, budget: str, used: float, most: float) -> str | None:
    if used < share * most:
        return None
    return budget if share == 1 else f"{share:.0%} of the {budget}, the rest is for the race"


def find_stop_reason(rules: Sequence[StopRule], spent: SpentResources) -> str | None:
    """The reason of the first rule that is reached, or None."""
    return next((reason for rule in rules if (reason := rule.reached(spent))), None)


class SlotCount:
    """The slots of a sitting. now: how many there may be."""

    def __init__(self, now: int) -> None:
        self.now = now
        self._since = [(-math.inf, now)]

    def become(self, number: int, at: float | None = None) -> None:
        """From now on (or from a moment, in seconds since the epoch) there are so many."""
        self.now = number
        self._since.append((time.time() if at is None else at, number))

    def seconds(self, first: float, last: float) -> float:
        """Of all slots between two moments, which are in seconds since the epoch."""
        ends = [at for at, _ in self._since[1:]] + [math.inf]
        spans = zip(self._since, ends, strict=True)
        return sum(number * max(0.0, min(end, last) - max(at, first)) for (at, number), end in spans)
