"""Weight decay: weights are pulled towards zero, in addition to the optimizer's own decay.

    W * (1 - lr * s) before each update, for weights of two or more dimensions

Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019 (arXiv 1711.05101).
Values to try: strength 1e-2 to 1. Costs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Attachment, Method
from dps.lazy import without_gradients
from dps.ranges import NON_NEGATIVE, Range, hyper_parameter


@dataclass(frozen=True)
class WeightDecay(Method):
    """Weight decay. strength: s, at least 0."""

    name: ClassVar[str] = "weight-decay"
    takes_split_weights: ClassVar[bool] = True
    strength: float = hyper_parameter(0.1, NON_NEGATIVE, Range(1e-2, 1.0, log=True))


class WeightDecayAttachment(Attachment, method_class=WeightDecay):
    """Attachment of weight decay."""

    method: WeightDecay

    @without_gradients
    def before_step(self) -> None:
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.ndim > 1 and parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * self.method.strength)
