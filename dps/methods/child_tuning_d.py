"""Child-Tuning-D (task-driven): only the "child" network that matters most to the task is updated.

    gradient * M,  M fixed before training: the share r of the encoder layers' weights whose squared
                   gradient, summed over the batches of the training set, is highest; one threshold
                   for all layers together

r is `reserve_p`, the share that is updated: the opposite of DPS's p. M covers what lies in the
transformer blocks; embeddings, pooler and head are trained whole. As in the released code, the gradient of
each tensor is clipped to norm 1 before it is squared, and in training the mask comes after clipping.

Source: Xu et al., "Raise a Child in Large Language Model: Towards Effective and Generalizable
Fine-tuning", EMNLP 2021 (arXiv 2109.05687), and its released code.
Values to try: reserve_p 0.1, 0.2, 0.3. Costs: one pass over the training set before the first step; a mask.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dps.attachment import Attachment, Batch, Method, MethodCost
from dps.attachment.calibration import require_calibration, sum_squared_gradients
from dps.depth import require_parameter_depths
from dps.lazy import nn, torch
from dps.ranges import SHARE, Choice, hyper_parameter
from dps.selection import select_mask

if TYPE_CHECKING:
    from torch import Tensor

MAX_CALIBRATION_NORM = 1.0  # of the gradient of one tensor


@dataclass(frozen=True)
class ChildTuningD(Method):
    """Child-Tuning-D. reserve_p: share of the encoder layers' weights that is updated, in (0, 1]."""

    name: ClassVar[str] = "child-tuning-d"
    clips_first: ClassVar[bool] = True
    reserve_p: float = hyper_parameter(0.2, SHARE, Choice((0.1, 0.2, 0.3)))

    @property
    def cost(self) -> MethodCost:
        return MethodCost(calibration_epochs=1, extra_bytes=1)


class ChildTuningDAttachment(Attachment, method_class=ChildTuningD):
    """Attachment of Child-Tuning-D.

    masks: bool tensors by parameter name; empty before `calibrate`.
    """

    method: ChildTuningD

    def set_up(self) -> None:
        depth, count = require_parameter_depths(self.model, self.method.name, takes_shared=True)
        self.masked_parameters = {
            name: p for name, p in self.trained_parameters() if 1 <= depth[name] <= count
        }
        self.masks: dict[str, Tensor] = {}

    def calibrate(self, model: nn.Module, batches: Iterable[Batch], micro_batch: int | None = None) -> None:
        names, parameters = [*self.masked_parameters], [*self.masked_parameters.values()]
        squares = sum_squared_gradients(
            self, model, batches, parameters, micro_batch, max_norm=MAX_CALIBRATION_NORM
        )
        merged = torch.cat([square.flatten() for square in squares])  # one threshold for all
        masks = select_mask(merged, self.method.reserve_p).split([square.numel() for square in squares])
        self.masks = {n: mask.view_as(s) for n, s, mask in zip(names, squares, masks, strict=True)}

    def before_step(self) -> None:
        require_calibration(self, self.masks)
        for name, parameter in self.masked_parameters.items():
            if parameter.grad is not None:
                parameter.grad.mul_(self.masks[name])

    def state(self) -> dict[str, Any]:
        return {"masks": self.masks}

    def load(self, state: dict[str, Any]) -> None:
        devices = {name: parameter.device for name, parameter in self.masked_parameters.items()}
        self.masks = {name: mask.to(devices[name], copy=True) for name, mask in state["masks"].items()}
