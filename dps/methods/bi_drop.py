"""Bi-Drop: at each step, several dropout sub-networks of one batch select the weights to update.

    g_1 .. g_k    gradients of k passes over the batch, each under dropout masks of its own
    score         |mean of g_i| / standard deviation of g_i: agreement of the sub-networks
    M             score >= that of rank ceil(numel * selection_ratio), per covered weight
    gradient      mean of g_i * M; weights that are not covered are updated whole

Source: Tong et al., "Bi-Drop: Enhancing Fine-tuning Generalization via Synchronous sub-net Estimation and
Optimization", Findings of EMNLP 2023 (arXiv 2305.14760). The paper scores a weight by the stability of its
gradient over sub-networks and by the gradient's size relative to the weight; this is the stability alone,
written from the paper's description without its code.
Values to try: 2 passes, selection_ratio 0.3 to 0.9. Costs: k - 1 more passes a step, k gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dps.attachment import Attachment, Batch, Method, MethodCost
from dps.lazy import nn, torch
from dps.ranges import SHARE, Range, Rule, hyper_parameter
from dps.selection import select_mask

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BiDrop(Method):
    """Bi-Drop.

    selection_ratio: share of each covered weight that is updated, in (0, 1].
    passes: k, at least 2.
    """

    name: ClassVar[str] = "bi-drop"
    selection_ratio: float = hyper_parameter(0.5, SHARE, Range(0.3, 0.9))
    passes: int = hyper_parameter(2, Rule("at least 2", lambda passes: passes >= 2))

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_passes=self.passes - 1, extra_bytes=4 * self.passes)


class BiDropAttachment(Attachment, method_class=BiDrop):
    """Attachment of Bi-Drop. gradients: (passes, *shape) of the current step, a tensor a covered weight."""

    method: BiDrop

    def set_up(self) -> None:
        self.weights = [weight.parameter for weight in self.find_trained_weights()]
        self.gradients: list[Tensor] = []

    def backward(
        self,
        model: nn.Module,
        batch: Batch,
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
        autocast: AbstractContextManager[Any] | None = None,
    ) -> Tensor:
        parameters = [p for _, p in self.trained_parameters()]
        earlier_grads = [p.grad for p in parameters]  # of the micro-batches before
        if not self.gradients or not any(grad is not None and grad.any() for grad in earlier_grads):
            self.gradients = [
                torch.zeros((self.method.passes, *w.shape), device=w.device) for w in self.weights
            ]
        total: list[Tensor | None] = [None] * len(parameters)
        losses = []
        for number in range(self.method.passes):
            for parameter in parameters:
                parameter.grad = None
            losses.append(super().backward(model, batch, scale, autocast))
            for weight, gradients in zip(self.weights, self.gradients, strict=True):
                if weight.grad is not None:
                    gradients[number] += weight.grad
            total = [_add_gradients(t, p.grad) for t, p in zip(total, parameters, strict=True)]
        for parameter, earlier, summed in zip(parameters, earlier_grads, total, strict=True):
            mean = None if summed is None else summed.div_(self.method.passes)
            parameter.grad = _add_gradients(earlier, mean)
        return torch.stack(losses).mean()

    def before_step(self) -> None:
        if not self.gradients:
            raise ValueError(
                "bi-drop needs several passes a step: use attachment_of(optimizer).backward(model, batch)"
            )
        for weight, gradients in zip(self.weights, self.gradients, strict=True):
            if weight.grad is not None:
                weight.grad.mul_(select_mask(score_agreement(gradients), self.method.selection_ratio))
        self.gradients = []


def score_agreement(gradients: Tensor) -> Tensor:
    """Return mean² / variance of the gradients (k, *shape) over their k passes: (*shape).

    It orders the weights as |mean| / standard deviation does.
    """
    mean = gradients.mean(dim=0)
    variance = (gradients - mean).square_().mean(dim=0)
    return mean.square_() / variance.add_(torch.finfo(variance.dtype).tiny)


def _add_gradients(total: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    if total is None or gradient is None:
        return gradient if total is None else total
    return total.add_(gradient)
