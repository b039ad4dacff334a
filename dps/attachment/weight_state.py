"""State of one covered weight under DPS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dps.coverage import CoveredWeight
from dps.distributed import split_like

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(eq=False)
class WeightState:
    """State of one covered weight in the current cycle; a tensor that is not in use is None.

    gam: Stage I, of the weight's shape.
    fam: Stage I of Mix, (in_features,).
    active: bool, broadcastable: n in Stage I of Mix, M in Stage II.
    anchor: Stage II: T, the weight at the start of the stage.
    pretrained: Mix: W0.
    used: whether it had a gradient in the last Stage I.
    """

    STATE_FIELDS: ClassVar = ("gam", "fam", "active", "anchor", "pretrained")

    covered: CoveredWeight
    gam: Tensor | None = None
    fam: Tensor | None = None
    active: Tensor | None = None
    anchor: Tensor | None = None
    pretrained: Tensor | None = None
    used: bool = True

    @property
    def value(self) -> Tensor:
        """The weight itself, without its graph."""
        return self.covered.parameter.detach()

    def clear(self) -> None:
        """Drop the state of the cycle."""
        self.gam = self.fam = self.active = self.anchor = None

    def state(self) -> dict[str, Tensor]:
        """Return the tensors in use by name."""
        return {key: value for key in self.STATE_FIELDS if (value := getattr(self, key)) is not None}

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned, on the weight's device."""
        for key in self.STATE_FIELDS:
            value = state.get(key)
            own = None if value is None else split_like(value.to(self.value.device, copy=True), self.value)
            setattr(self, key, own)
