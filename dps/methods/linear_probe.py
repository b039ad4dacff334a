"""Linear probe: only the head is trained, on features of the frozen encoder; LP-FT: first only the head.

    linear-probe: the encoder keeps its pre-trained weights, without dropout
    lp-ft: the same for the first steps, a share s of the run, then all weights are trained

In its first steps LP-FT multiplies the learning rate by 10, as the head starts from random weights; the
encoder gets no gradient then. The range of the learning rate of a linear probe is 100 times that of full
fine-tuning.

Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR
2022 (arXiv 2202.10054). Values to try: head_share 0.1 to 0.3. Costs: a linear probe is cheaper than
vanilla, as it has no backward pass through the encoder; LP-FT costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Attachment, Method
from dps.attachment.freezing import FreezingAttachment
from dps.coverage import unwrap_model
from dps.depth import get_head_parameters
from dps.lazy import nn
from dps.ranges import PROBABILITY, Choice, hyper_parameter

HEAD_RATE_FACTOR = 10  # of the learning rate, while the head alone is trained


@dataclass(frozen=True)
class LinearProbe(Method):
    """Linear probe."""

    name: ClassVar[str] = "linear-probe"
    takes_split_weights: ClassVar[bool] = True
    learning_rate_factor: ClassVar[float] = 100.0

    def dropout(self, max_steps: int) -> float:
        return 0.0


class LinearProbeAttachment(FreezingAttachment, method_class=LinearProbe):
    """Attachment of the linear probe."""

    def set_up(self) -> None:
        self.head = _require_head(self.model, self.method.name)

    def is_trained(self, name: str) -> bool:
        return name in self.head


@dataclass(frozen=True)
class LPFT(Method):
    """LP-FT. head_share: s, in [0, 1)."""

    name: ClassVar[str] = "lp-ft"
    takes_split_weights: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = True
    plans_length: ClassVar[bool] = True
    head_share: float = hyper_parameter(0.2, PROBABILITY, Choice((0.1, 0.2, 0.3)))


class LPFTAttachment(Attachment, method_class=LPFT):
    """Attachment of LP-FT. rates: of the parameter groups, while a step has others."""

    method: LPFT

    def set_up(self) -> None:
        self.head = _require_head(self.model, self.method.name)
        self.head_steps = round(self.method.head_share * self.max_steps)
        self.rates: list[float] = []

    def before_step(self) -> None:
        if self.steps >= self.head_steps:
            return
        for name, parameter in self.trained_parameters():
            if name not in self.head:
                parameter.grad = None
        groups = self.optimizer.param_groups
        self.rates = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] = group["lr"] * HEAD_RATE_FACTOR

    def after_step(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=False):
            group["lr"] = rate
        self.rates = []


def _require_head(model: nn.Module, method: str) -> set[str]:
    """Return the names of the head's parameters. Raises ValueError for a model that has no head."""
    if head := get_head_parameters(model):
        return head
    raise ValueError(
        f"{method} needs a head on a model of transformers, but {type(unwrap_model(model)).__name__} has none"
    )
