"""LLRD, layer-wise learning rate decay: lower layers have lower learning rates.

    learning rate of depth d: lr * decay^(L + 1 - d); d is 0 for embeddings, 1 to L for the blocks from
    bottom to top, L + 1 for pooler and head

Source: Zhang et al., "Revisiting Few-sample BERT Fine-tuning", ICLR 2021 (arXiv 2006.05987), after Howard
and Ruder, ACL 2018. Values to try: decay 0.8 to 0.95. Costs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import ClassVar

from dps.depth import require_parameter_depths
from dps.methods.base import Attachment, Method
from dps.ranges import SHARE, Range, hyper_parameter

PER_PARAMETER_KEYS = ("params", "param_names")  # lists of a parameter group, an item a parameter


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
        if self.method.decay < 1 and any("initial_lr" in group for group in self.optimizer.param_groups):
            raise ValueError("llrd splits the parameter groups; attach it before making the scheduler")
        if self.method.decay < 1:
            self.depths, self.count = require_parameter_depths(self.model, self.method.name)

    def start(self) -> None:
        if self.method.decay == 1:
            return
        count = self.count
        depth_of = {id(parameter): self.depths[name] for name, parameter in self.trained_parameters()}
        groups = []
        for group in self.optimizer.param_groups:
            # a parameter outside the model has the head's learning rate
            depths = [depth_of.get(id(p), count + 1) for p in group["params"]]
            for level in sorted(set(depths)):
                scale, members = self.method.decay ** (count + 1 - level), [d == level for d in depths]
                split = {key: [*compress(group[key], members)] for key in PER_PARAMETER_KEYS if key in group}
                groups.append({**group, **split, "lr": group["lr"] * scale, "lr_scale": scale})
        self.optimizer.param_groups[:] = groups

    def detach(self) -> None:
        super().detach()
        for group in self.optimizer.param_groups:
            scale = group.pop("lr_scale", 1.0)
            group.update({key: group[key] / scale for key in ("lr", "initial_lr") if key in group})
