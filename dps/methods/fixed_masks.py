"""Masks that are fixed before the first step: controls for what DPS selects again and again.

    gradient * M,  M: selection_ratio of each covered weight, for the whole run
    random-mask      at random
    magnitude-mask   where |W0| is largest
    gradient-mask    where the squared gradient, summed over the batches of the training set, is largest

Weights that are not covered are trained whole. Dropout is that of DPS Dense, so that only when and how the
weights are chosen differs.

Source: sparse fine-tuning as in SHiRA (arXiv 2406.13175) and SPEFT (arXiv 2412.13488), which reports no
substantial benefit of dynamic masks over static ones.
Values to try: selection_ratio 0.2 to 0.9. Costs: a mask; gradient-mask also one pass over the training set
before the first step, during which it keeps squared gradients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dps.attachment import DEFAULT_DROPOUT, Attachment, Batch, Method, MethodCost
from dps.attachment.calibration import require_calibration, sum_squared_gradients
from dps.attachment.draws import SharedSeed, make_generator
from dps.distributed import get_world_size
from dps.lazy import nn, torch
from dps.methods.dps import MIN_DROPOUT_STEPS
from dps.ranges import SHARE, Range, hyper_parameter
from dps.selection import select_mask

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _FixedMask(Method):
    """Fine-tuning under one mask. selection_ratio: share of a covered weight that is updated, in (0, 1]."""

    selection_ratio: float = hyper_parameter(0.7, SHARE, Range(0.2, 0.9))

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=1)

    def dropout(self, max_steps: int) -> float:
        return DEFAULT_DROPOUT if max_steps >= MIN_DROPOUT_STEPS else 0.0


@dataclass(frozen=True)
class RandomMask(_FixedMask):
    """Fine-tuning of a random part of each weight. selection_ratio: that share, in (0, 1]."""

    name: ClassVar[str] = "random-mask"


@dataclass(frozen=True)
class MagnitudeMask(_FixedMask):
    """Fine-tuning of the largest pre-trained elements. selection_ratio: their share, in (0, 1]."""

    name: ClassVar[str] = "magnitude-mask"


@dataclass(frozen=True)
class GradientMask(_FixedMask):
    """Fine-tuning of the elements with the largest gradients. selection_ratio: their share, in (0, 1]."""

    name: ClassVar[str] = "gradient-mask"

    @property
    def cost(self) -> MethodCost:
        return MethodCost(calibration_epochs=1, extra_bytes=1)


class _FixedMaskAttachment(Attachment):
    """Attachment of a fixed mask. masks: bool, one for each covered weight, of its shape."""

    method: _FixedMask

    def set_up(self) -> None:
        self.weights = self.find_trained_weights()
        self.parameters = [weight.parameter for weight in self.weights]
        self.masks: list[Tensor] = []

    def select(self, scores: Iterable[Tensor]) -> None:
        """Make the masks from scores that rank the elements of each covered weight, of its shape."""
        self.masks = [select_mask(score, self.method.selection_ratio) for score in scores]

    def before_step(self) -> None:
        for parameter, mask in zip(self.parameters, self.masks, strict=True):
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    def state(self) -> dict[str, Any]:
        return {"masks": {w.name: mask for w, mask in zip(self.weights, self.masks, strict=False)}}

    def load(self, state: dict[str, Any]) -> None:
        saved = state["masks"]
        self.masks = [saved[w.name].to(w.parameter.device, copy=True) for w in self.weights] if saved else []


class RandomMaskAttachment(_FixedMaskAttachment, method_class=RandomMask):
    """Attachment of a random mask, drawn from the seed and the number of each weight."""

    def set_up(self) -> None:
        super().set_up()
        self.seed = SharedSeed()

    def start(self) -> None:
        self.select(self._draw(number, value) for number, value in enumerate(self.parameters))

    def _draw(self, number: int, value: Tensor) -> Tensor:
        random = make_generator(self.seed.value, number, value.device)
        return torch.rand(value.shape, generator=random, device=value.device)

    def before_step(self) -> None:
        if self.seed.agree():  # the ranks have one seed now
            self.start()
        super().before_step()

    def state(self) -> dict[str, Any]:
        return {**super().state(), "seed": self.seed.value}

    def load(self, state: dict[str, Any]) -> None:
        self.seed.value = state["seed"]
        super().load(state)


class MagnitudeMaskAttachment(_FixedMaskAttachment, method_class=MagnitudeMask):
    """Attachment of a mask by the size of each element at attach."""

    def start(self) -> None:
        self.select(parameter.detach().abs() for parameter in self.parameters)

    def before_step(self) -> None:
        if self.steps == 0 and get_world_size() > 1:  # a wrapper may have shared rank 0's weights since
            self.start()
        super().before_step()


class GradientMaskAttachment(_FixedMaskAttachment, method_class=GradientMask):
    """Attachment of a mask by gradients. masks is empty before `calibrate`."""

    def calibrate(self, model: nn.Module, batches: Iterable[Batch], micro_batch: int | None = None) -> None:
        self.select(sum_squared_gradients(self, model, batches, self.parameters, micro_batch))

    def before_step(self) -> None:
        require_calibration(self, self.masks)
        super().before_step()
