"""Stop rules: when no further trial is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


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
class Devices:
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


def bill(used: Mapping[str, float]) -> str:
    """In words, to append; empty of results that do not say."""
    forms = {"gpu_hours": ", {} GPU-hours", "cpu_hours": ", {} CPU-hours", "cost": ", cost {}"}
    return "".join(form.format(_amount(used[key])) for key, form in forms.items() if key in used)


def _amount(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.2g}"


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
