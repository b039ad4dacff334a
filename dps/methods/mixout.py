"""Mixout: at each step, the weights of random input neurons are replaced by their pre-trained values.

    forward of step t    ((1-m)*W0 + m*W - p*W0) / (1-p),  m ~ Bernoulli(1-p)
    gradient             * m            mixout: m for each input neuron of a layer, the same for all its rows
                         * m / (1-p)    mixconnect: m for each weight, the gradient by the chain rule

W0 is the pre-trained weight; the expectation of the weight read is W. The released code draws by input
neuron, and its backward pass leaves out the factor 1/(1-p); its README calls the other kind mixconnect. The
weights of the encoder's linear layers are mixed. Those of the classification head, which have no pre-trained
value, are not: the released code mixes them with their random initial values.

Source: Lee et al., "Mixout: Effective Regularization to Finetune Large-scale Pretrained Language
Models", ICLR 2020 (arXiv 1909.11299), and its released code. It replaces dropout, which is 0 as in the paper.
Values to try: p from 0.1 to 0.8. Costs: W0 and a mask; a mixed weight a forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dps.attachment import Attachment, Method, MethodCost
from dps.attachment.draws import (
    NeuronVector,
    SharedSeed,
    draw_bernoulli,
    draw_input_neurons,
    make_generator,
)
from dps.attachment.mixing import MixedWeights
from dps.depth import require_known_head
from dps.distributed import get_world_size
from dps.lazy import torch
from dps.ranges import PROBABILITY, Range, hyper_parameter
from dps.selection import compute_mixed_weight

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Mixout(Method):
    """Mixout. p: probability that an input neuron has its pre-trained weights, in [0, 1)."""

    name: ClassVar[str] = "mixout"
    needs_pretrained: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = True
    p: float = hyper_parameter(0.5, PROBABILITY, Range(0.1, 0.8))

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4 + 4)  # W0; W while it is mixed

    def dropout(self, max_steps: int) -> float:
        return 0.0


@dataclass(frozen=True)
class MixConnect(Mixout):
    """Mixconnect. p: probability that a weight is replaced by its pre-trained value, in [0, 1)."""

    name: ClassVar[str] = "mixconnect"

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4 + 4 + 1)  # a mask too


class MixoutAttachment(Attachment, method_class=Mixout):
    """Attachment of Mixout.

    masks: m of the current step by weight, bool tensors that broadcast over them; empty if p is 0.
    """

    method: Mixout

    def set_up(self) -> None:
        self.seed = SharedSeed()
        head = require_known_head(self.model, self.method.name)
        self.weights = self.find_trained_weights(skipped=head)
        self.pretrained = [weight.parameter.detach().clone() for weight in self.weights]
        self.masks: list[Tensor] = []
        self.follows_ranks = True
        if self.method.p > 0:
            self.mixed_weights = MixedWeights(self.method.name, self.model, self.weights, self._mix)

    def start(self) -> None:
        if self.method.p > 0:
            self._draw()

    def _mix(self, values: list[Tensor]) -> list[Tensor]:
        """Return the weights that the forward passes of step `steps + 1` read."""
        if self.seed.agree():
            self._draw()
        if self.follows_ranks and get_world_size() > 1:
            torch._foreach_copy_(self.pretrained, values)
        self.follows_ranks = False
        return [
            compute_mixed_weight(value, pretrained, kept, 1 - self.method.p)
            for value, pretrained, kept in zip(values, self.pretrained, self.masks, strict=True)
        ]

    def _draw(self) -> None:
        """Draw the masks of step `steps + 1`."""
        self.masks = self.draw_masks(1 - self.method.p)

    def draw_masks(self, share: float) -> list[Tensor]:
        """Draw which input neurons keep their weights, each with probability `share`."""
        neurons = NeuronVector(self.weights, torch.bool)
        device = neurons.flat.device
        drawn = draw_input_neurons(len(neurons.flat), share, self.seed.value, self.steps + 1, device)
        neurons.flat.copy_(drawn, non_blocking=True)
        return [view.to(w.parameter.device) for view, w in zip(neurons.views, self.weights, strict=True)]

    def before_step(self) -> None:
        for weight, kept in zip(self.weights, self.masks, strict=False):
            if weight.parameter.grad is not None:
                weight.parameter.grad.mul_(kept)

    def after_step(self) -> None:
        if self.method.p > 0:
            self._draw()

    def state(self) -> dict[str, Any]:
        names = (weight.name for weight in self.weights)
        return {"seed": self.seed.value, "pretrained": dict(zip(names, self.pretrained, strict=True))}

    def load(self, state: dict[str, Any]) -> None:
        self.seed.value = state["seed"]
        self.follows_ranks = False
        for weight, pretrained in zip(self.weights, self.pretrained, strict=True):
            pretrained.copy_(state["pretrained"][weight.name])
        if self.method.p > 0:
            self._draw()


class MixConnectAttachment(MixoutAttachment, method_class=MixConnect):
    """Attachment of Mixconnect."""

    def draw_masks(self, share: float) -> list[Tensor]:
        """Draw which weights are kept, each with probability `share`."""
        random = make_generator(self.seed.value, self.steps + 1, self.weights[0].parameter.device)
        return [draw_bernoulli(weight.parameter, share, random) for weight in self.weights]

    def before_step(self) -> None:
        super().before_step()
        for weight in self.weights:
            if weight.parameter.grad is not None:
                weight.parameter.grad.div_(1 - self.method.p)
