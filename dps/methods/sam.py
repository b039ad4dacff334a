"""SAM, sharpness-aware minimisation: the gradient is taken at the worst point of a small ball.

    W' = W + rho * g / |g|,  g: gradient at W of all trained parameters;  step from W: the gradient at W'

The ball is that of the whole batch of a step. With gradient accumulation, the second passes over its parts
follow all the first ones, with the same dropout masks.

Source: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021
(arXiv 2010.01412); on language models: Bahri et al., ACL 2022 (arXiv 2110.08529). Values to try: rho 0.02,
0.05, 0.1, 0.15. Costs: one more forward-backward pass a step, a copy of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from dps.attachment import Attachment, Batch, Method, MethodCost
from dps.attachment.weights import exchange_weights
from dps.lazy import nn, torch
from dps.ranges import NON_NEGATIVE, Choice, hyper_parameter

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SAM(Method):
    """SAM. rho: radius of the ball, at least 0."""

    name: ClassVar[str] = "sam"
    rho: float = hyper_parameter(0.05, NON_NEGATIVE, Choice((0.02, 0.05, 0.1, 0.15)))

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_passes=1, extra_bytes=4) if self.rho else MethodCost()


class SAMAttachment(Attachment, method_class=SAM):
    """Attachment of SAM. second_passes: of the step under way, one for each part of its batch."""

    method: SAM

    def set_up(self) -> None:
        self.second_passes: list[Callable[[], object]] = []

    def backward(
        self,
        model: nn.Module,
        batch: Batch,
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
        autocast: AbstractContextManager[Any] | None = None,
    ) -> Tensor:
        compute = partial(super().backward, model, batch, scale, autocast)
        if not self.method.rho:
            return compute()
        parameters = [parameter for _, parameter in self.trained_parameters()]
        device = parameters[0].device
        if self.steps == 0 and float(scale(torch.ones((), device=device))) > 1:
            raise ValueError("sam takes no scaled loss, which fp16 needs; use bf16 or fp32")
        if all(parameter.grad is None for parameter in parameters):  # the last step was left out
            self.second_passes.clear()
        self.second_passes.append(partial(_compute_again, compute, _get_random_states(device), device))
        return compute()

    def before_step(self) -> None:
        if not self.method.rho:
            return
        parameters = [p for _, p in self.trained_parameters() if p.grad is not None]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if not self.second_passes and gradients:
            raise ValueError(
                "sam needs a second pass of each batch: use attachment_of(optimizer).backward(model, batch)"
            )
        step = self.method.rho / nn.utils.get_total_norm(gradients).clamp_min(torch.finfo(torch.float32).tiny)
        worst = [p + step.to(p.dtype) * g for p, g in zip(parameters, gradients, strict=True)]
        put_back = exchange_weights(parameters, worst)
        try:
            for parameter in parameters:
                parameter.grad = None
            with torch.enable_grad():
                for compute in self.second_passes:
                    compute()
        finally:
            put_back()
            self.second_passes = []


def _get_random_states(device: torch.device) -> list[Tensor]:
    """Return the states that dropout draws from: of the CPU, and of the device if it is another."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _compute_again(compute: Callable[[], object], states: list[Tensor], device: torch.device) -> None:
    """Call `compute` with the random draws that it had before; leave the random states as they are."""
    now = _get_random_states(device)
    try:
        _set_random_states(states, device)
        compute()
    finally:
        _set_random_states(now, device)


def _set_random_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)
