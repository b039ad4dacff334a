"""Masks that are fixed before the first step: controls for what DPS selects again and again.

    gradient * M,  M: selection_ratio of each covered weight, for the whole run
    random-mask      at random
    magnitude-mask   where |W0| is largest
    gradient-mask    where the squared gradient, summed over the batches of the training set, is largest

Weights that are not covered are trained whole. Dropout is that of DPS Dense, so that what is left to differ
is when and by what the weights are chosen.

Source: sparse fine-tuning as in SHiRA (arXiv 2406.13175) and SPEFT (arXiv 2412.13488), which reports no
substantial benefit of dynamic masks over static ones.
Values to try: selection_ratio 0.2 to 0.9. Costs: a mask; gradient-mask also one pass over the training set
before the first step, and a squared gradient as long as it takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dps.distributed import get_world_size
from dps.methods.base import DEFAULT_DROPOUT, Attachment, Batch, Method
from dps.methods.cost import MethodCost
from dps.methods.dps import MIN_DROPOUT_STEPS
from dps.methods.draws import SharedSeed, make_generator
from dps.ranges import SHARE, Range, hyper_parameter
from dps.selection import accumulate_gam, select_mask


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
        self.seed = SharedSeed()
        self.masks: list[Tensor] = []

    def start(self) -> None:
        self.masks = [self._select(self.score(number)) for number in range(len(self.weights))]

    def score(self, number: int) -> Tensor:
        """Return the score that ranks the elements of a covered weight, of its shape."""
        raise NotImplementedError

    def _select(self, score: Tensor) -> Tensor:
        return select_mask(score, self.method.selection_ratio)

    def before_step(self) -> None:
        for weight, mask in zip(self.weights, self.masks, strict=True):
            if weight.parameter.grad is not None:
                weight.parameter.grad.mul_(mask)

    def state(self) -> dict[str, Any]:
        return {"masks": {w.name: mask for w, mask in zip(self.weights, self.masks, strict=False)}}

    def load(self, state: dict[str, Any]) -> None:
        saved = state["masks"]
        self.masks = [saved[w.name].to(w.parameter.device, copy=True) for w in self.weights] if saved else []


class RandomMaskAttachment(_FixedMaskAttachment, method_class=RandomMask):
    """Attachment of a random mask."""

    def score(self, number: int) -> Tensor:
        """Return a random score, drawn from the seed and the number of the weight."""
        weight = self.weights[number].parameter
        random = make_generator(self.seed.value, number, weight.device)
        return torch.rand(weight.shape, generator=random, device=weight.device)

    def before_step(self) -> None:
        if self.seed.agree():  # the ranks have one seed now
            self.start()
        super().before_step()

    def state(self) -> dict[str, Any]:
        return {**super().state(), "seed": self.seed.value}

    def load(self, state: dict[str, Any]) -> None:
        self.seed.value = state.get("seed", self.seed.value)
        super().load(state)


class MagnitudeMaskAttachment(_FixedMaskAttachment, method_class=MagnitudeMask):
    """Attachment of a mask by magnitude."""

    def score(self, number: int) -> Tensor:
        """Return the size of each element at attach."""
        return self.weights[number].parameter.detach().abs()

    def before_step(self) -> None:
        if self.steps == 0 and get_world_size() > 1:  # a wrapper may have shared rank 0's weights since
            self.start()
        super().before_step()


class GradientMaskAttachment(_FixedMaskAttachment, method_class=GradientMask):
    """Attachment of a mask by gradients. masks is empty before `calibrate`."""

    def start(self) -> None:
        """Leave the masks to `calibrate`."""

    def calibrate(self, model: nn.Module, batches: Iterable[Batch], micro_batch: int | None = None) -> None:
        squares = [torch.zeros_like(w.parameter, dtype=torch.float32) for w in self.weights]
        for batch in batches:
            self.optimizer.zero_grad(set_to_none=True)
            self.accumulate(model, batch, micro_batch)
            pairs = [
                (s, w.parameter.grad.float())
                for s, w in zip(squares, self.weights, strict=True)
                if w.parameter.grad is not None
            ]
            accumulate_gam([square for square, _ in pairs], [grad for _, grad in pairs])
        self.optimizer.zero_grad(set_to_none=True)
        self.masks = [self._select(square) for square in squares]

    def before_step(self) -> None:
        if not self.masks:
            raise ValueError(
                "gradient-mask reads the training set first: "
                "call attachment_of(optimizer).calibrate(model, batches) before the first step"
            )
        super().before_step()
