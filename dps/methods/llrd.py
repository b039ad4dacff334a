"""LLRD, layer-wise learning rate decay: lower layers have lower learning rates.

    learning rate of depth d: lr * decay^(L + 1 - d); d is 0 for embeddings, 1 to L for the blocks from
    bottom to top, L + 1 for pooler and head

Source: Zhang et al., "Revisiting Few-sample BERT Fine-tuning", ICLR 2021 (arXiv 2006.05987), after Howard
and Ruder, ACL 2018. Values to try: decay 0.8 to 0.95. Costs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dps.attachment import Attachment, Method
from dps.attachment.groups import require_no_scheduler, split_groups
from dps.depth import require_parameter_depths
from dps.ranges import SHARE, Range, hyper_parameter


@dataclass(frozen=True)
class LLRD(Method):
    """LLRD. decay: factor from one layer to the one below, in (0, 1]."""

    name: ClassVar[str] = "llrd"
    takes_split_weights: ClassVar[bool] = True
    goes_by_depth: ClassVar[bool] = True
    decay: float = hyper_parameter(0.9, SHARE, Range(0.8, 0.95))


class LLRDAttachment(Attachment, method_class=LLRD):
    """Attachment of LLRD: a parameter group for each depth, with the factor as "lr_scale"."""

    method: LLRD

    def set_up(self) -> None:
        if self.method.decay < 1:
            require_no_scheduler(self.method.name, self.optimizer)
            self.depths, self.count = require_parameter_depths(self.model, self.method.name)

    def start(self) -> None:
        if self.method.decay == 1:
            return
        top = self.count + 1
        depth_of = {id(parameter): self.depths[name] for name, parameter in self.trained_parameters()}

        def change(group: dict[str, Any], depth: int) -> dict[str, Any]:
            scale = self.method.decay ** (top - depth)
            return {"lr": group["lr"] * scale, "lr_scale": scale}

        # a parameter outside the model has the head's learning rate
        split_groups(self.optimizer, lambda parameter: depth_of.get(id(parameter), top), change)

    def detach(self) -> None:
        super().detach()
        for group in self.optimizer.param_groups:
            scale = group.pop("lr_scale", 1.0)
            group.update({key: group[key] / scale for key in ("lr", "initial_lr") if key in group})
