"""DPS Dense with masks drawn at random: a control for what DPS selects.

    Stage I    W is trained whole
    Stage II   gradient * M,  M: selection_ratio of each covered weight, redrawn at random in each cycle

Schedule, dropout and selection ratio are those of DPS Dense, so that what DPS Dense gains over it comes from
the gradients.

Source: a control of this project; see Zhang et al., NeurIPS 2022 (arXiv 2211.01642) for DPS.
Values to try: those of dps-dense. Costs: a mask; with freeze="update" the weight at the start of Stage II.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dps.attachment import MethodCost
from dps.attachment.draws import SharedSeed, make_generator
from dps.attachment.weight_state import WeightState
from dps.lazy import torch
from dps.methods.dps import DPSDense, DPSDenseAttachment

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DPSRandom(DPSDense):
    """DPS Dense with random masks. Hyper-parameters as of DPS Dense."""

    name: ClassVar[str] = "dps-random"

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=1 + (4 if self.freeze == "update" else 0))


class DPSRandomAttachment(DPSDenseAttachment, method_class=DPSRandom):
    """Attachment of DPS Dense with random masks."""

    def set_up(self) -> None:
        self.seed = SharedSeed()
        super().set_up()

    def begin_stage_one(self, weight: WeightState) -> None:
        """Let the whole weight be trained."""
        weight.active = weight.anchor = None
        weight.used = False

    def score(self, weight: WeightState) -> Tensor:
        """Return a random score of a weight, drawn from the seed, the step and the weight's number."""
        self.seed.agree()
        draw = (self.steps + 1) * len(self.weights) + self.weights.index(weight)
        random = make_generator(self.seed.value, draw, weight.value.device)
        return torch.rand(weight.value.shape, generator=random, device=weight.value.device)

    def state(self) -> dict[str, Any]:
        return {**super().state(), "seed": self.seed.value}

    def load(self, state: dict[str, Any]) -> None:
        self.seed.value = state["seed"]
        super().load(state)
