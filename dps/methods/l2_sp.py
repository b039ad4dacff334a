"""L2-SP: weights are pulled towards their pre-trained values.

    loss + s/2 * |W - W0|²: the gradient gets s * (W - W0); W0 the pre-trained weights

The term applies to the parameters of the pre-trained encoder, and takes the place of the optimizer's decay
towards zero there; the new head, which has no pre-trained value, keeps that decay. The term is added
to the gradient before clipping.

Source: Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", ICML 2018
(arXiv 1802.01483). Values to try: strength 1e-3 to 1e-1. Costs: a copy of the pre-trained weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dps.attachment import Attachment, Method, MethodCost
from dps.attachment.groups import require_no_scheduler, split_groups
from dps.depth import require_known_head
from dps.distributed import split_like
from dps.lazy import without_gradients
from dps.ranges import NON_NEGATIVE, Range, hyper_parameter

REPLACED_KEY = "replaced_weight_decay"  # of a parameter group: what it had before


@dataclass(frozen=True)
class L2SP(Method):
    """L2-SP. strength: s, at least 0."""

    name: ClassVar[str] = "l2-sp"
    takes_split_weights: ClassVar[bool] = True
    needs_pretrained: ClassVar[bool] = True
    strength: float = hyper_parameter(1e-2, NON_NEGATIVE, Range(1e-3, 1e-1, log=True))

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4)


class L2SPAttachment(Attachment, method_class=L2SP):
    """Attachment of L2-SP."""

    method: L2SP

    def set_up(self) -> None:
        head = require_known_head(self.model, self.method.name)
        self.anchored_parameters = {name: p for name, p in self.trained_parameters() if name not in head}
        self.pretrained = {name: p.detach().clone() for name, p in self.anchored_parameters.items()}
        self.replaces_decay = self.method.strength > 0 and any(
            group.get("weight_decay") for group in self.optimizer.param_groups
        )
        if self.replaces_decay:
            require_no_scheduler(self.method.name, self.optimizer)

    def start(self) -> None:
        if not self.replaces_decay:
            return
        anchored = {id(parameter) for parameter in self.anchored_parameters.values()}

        def change(group: dict[str, Any], is_anchored: int) -> dict[str, Any]:
            return {"weight_decay": 0.0, REPLACED_KEY: group["weight_decay"]} if is_anchored else {}

        split_groups(self.optimizer, lambda parameter: id(parameter) in anchored, change)

    @without_gradients
    def before_step(self) -> None:
        strength = self.method.strength
        for name, parameter in self.anchored_parameters.items():
            if strength and parameter.grad is not None:
                parameter.grad.add_(parameter - self.pretrained[name], alpha=strength)

    def detach(self) -> None:
        super().detach()
        for group in self.optimizer.param_groups:
            group["weight_decay"] = group.pop(REPLACED_KEY, group.get("weight_decay", 0.0))

    def state(self) -> dict[str, Any]:
        return {"pretrained": self.pretrained}

    def load(self, state: dict[str, Any]) -> None:
        for name, pretrained in self.pretrained.items():
            pretrained.copy_(split_like(state["pretrained"][name], pretrained))
