"""Stop rules: decide when no further trial starts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dps.wording import format_count, format_share

MIN_EXPLORATION_SHARE = 0.6  # share of what trials and race have of a budget that the trials may use at least
RACE_MARGIN = 2.0  # so many times what the race is expected to take is kept for it: runs may be slower


@dataclass(frozen=True)
class SpentResources:
    """Resources used so far. seconds: wall time; slot_seconds: summed over runs."""

    trials: int = 0
    seconds: float = 0.0
    slot_seconds: float = 0.0


NOTHING_SPENT = SpentResources()


class StopRule(Protocol):
    """A rule that ends a phase of the search. Once it gives a reason it must keep giving one."""

    def reached(self, spent: SpentResources) -> str | None:
        """Return why no further run starts, in a few words, or None while one may."""
        ...


@dataclass(frozen=True)
class TrialLimit:
    """Limit on the number of trials."""

    max_trials: int

    def reached(self, spent: SpentResources) -> str | None:
        return format_count(self.max_trials, "trial") if spent.trials >= self.max_trials else None


@dataclass(frozen=True)
class WallTimeLimit:
    """Limit on the seconds since the search began, earlier sessions included. share: usable part."""

    max_s: float
    share: float = 1.0

    def reached(self, spent: SpentResources) -> str | None:
        return _reason_if_reached(self.share, f"time budget of {self.max_s:g} s", spent.seconds, self.max_s)


@dataclass(frozen=True)
class SlotDevices:
    """Devices of a slot.

    kind: GPU, or CPU without GPUs.
    per_slot: number of devices.
    price: per device-hour in any currency, None if unknown.
    """

    kind: Literal["GPU", "CPU"]
    per_slot: float
    price: float | None = None

    def used(self, slot_seconds: float) -> dict[str, float]:
        """Return "gpu_hours" or "cpu_hours" of so many slot seconds, and their "cost" if a price is known."""
        hours = slot_seconds / 3600 * self.per_slot
        usage = {f"{self.kind.lower()}_hours": hours}
        return usage if self.price is None else {**usage, "cost": hours * self.price}


@dataclass(frozen=True)
class DeviceHoursLimit:
    """Limit on the GPU-hours or CPU-hours of the slots. per_slot: devices of a slot; share: usable part."""

    device: str
    max_hours: float
    per_slot: float
    share: float = 1.0

    def reached(self, spent: SpentResources) -> str | None:
        hours = spent.slot_seconds / 3600 * self.per_slot
        return _reason_if_reached(
            self.share, f"{self.max_hours:g} {self.device}-hours", hours, self.max_hours
        )


@dataclass(frozen=True)
class AfterFirstTrial:
    """A rule that holds from the second trial on."""

    rule: StopRule

    def reached(self, spent: SpentResources) -> str | None:
        return self.rule.reached(spent) if spent.trials else None


def _reason_if_reached(share: float, budget: str, used: float, limit: float) -> str | None:
    if used < share * limit:
        return None
    return budget if share == 1 else f"{format_share(share)} of the {budget}"


def find_stop_reason(rules: Sequence[StopRule], spent: SpentResources) -> str | None:
    """Return the reason of the first rule reached, or None."""
    return next((reason for rule in rules if (reason := rule.reached(spent))), None)


@dataclass(frozen=True)
class Budgets:
    """The budgets of a search.

    limits: seconds of "time", hours of "GPU" and "CPU". devices_per_slot: of "GPU" and "CPU". slots: one
        search's part of them.
    """

    limits: Mapping[str, float]
    devices_per_slot: Mapping[str, float]
    slots: float

    def make_rules(self, of_hours: float, of_time: float | None = None) -> list[StopRule]:
        """Return the rules of the budgets, limited to these shares; of_time: None for the same."""
        rules = list[StopRule]()
        for resource, limit in self.limits.items():
            if resource == "time":
                rules.append(WallTimeLimit(limit, of_hours if of_time is None else of_time))
            else:
                rules.append(DeviceHoursLimit(resource, limit, self.devices_per_slot[resource], of_hours))
        return rules

    def count_hours(self, slot_seconds: float) -> dict[str, float]:
        """Return the hours of "GPU" and "CPU" of so many slot seconds."""
        return {name: slot_seconds / 3600 * devices for name, devices in self.devices_per_slot.items()}

    def measure_slot_seconds(
        self, share: float = 1.0, spent: SpentResources = NOTHING_SPENT, baselines: int = 0
    ) -> float:
        """Return the slot seconds that are left of a share of the tightest budget; infinite without one.

        spent: seconds of all searches, slot seconds of the one that has the share. baselines: of a baseline,
        how many there are: to its end they share the time that the search leaves.
        """
        left = []
        for resource, limit in self.limits.items():
            if resource == "time" and baselines:
                left.append(min(share * limit, (limit - spent.seconds) / baselines) * self.slots)
            elif resource == "time":
                left.append((share * limit - spent.seconds) * self.slots)
            elif devices := self.devices_per_slot[resource]:
                left.append(share * limit * 3600 / devices - spent.slot_seconds)
        return max(0.0, min(left, default=math.inf))


def find_exploration_share(race_seconds: float, budget: float) -> float:
    """Return the share of a budget that the trials may use: all but RACE_MARGIN times what the race is
    expected to take, and no less than MIN_EXPLORATION_SHARE. Both arguments are slot seconds."""
    return max(MIN_EXPLORATION_SHARE, 1 - RACE_MARGIN * race_seconds / budget)


class SlotCount:
    """The number of slots over time. now: the number allowed now."""

    def __init__(self, now: int) -> None:
        self.now = now
        self._since = [(-math.inf, now)]

    def become(self, number: int, at: float | None = None) -> None:
        """Change the number of slots, now or at a time in seconds since the epoch."""
        self.now = number
        self._since.append((time.time() if at is None else at, number))

    def seconds(self, first: float, last: float) -> float:
        """Return the slot seconds between two times (seconds since the epoch)."""
        ends = [at for at, _ in self._since[1:]] + [math.inf]
        spans = zip(self._since, ends, strict=True)
        return sum(number * max(0.0, min(end, last) - max(at, first)) for (at, number), end in spans)
