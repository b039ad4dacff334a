"""DPS Mix and Mixout in their slow form: each layer computes its mixed weight in every forward pass.

The forward pass of a layer reads a mixed tensor in place of the parameter, and a straight-through function
hands the gradient to the parameter. The product's fast form must equal it bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

import dps
from dps.attachment import Attachment
from dps.attachment.draws import derive_step_seed, draw_bernoulli, make_generator
from dps.coverage import find_covered_weights
from dps.depth import get_head_parameters
from dps.methods.dps import DPSDenseAttachment, WeightState
from dps.methods.mixout import MixConnect, Mixout
from dps.selection import accumulate_fam, accumulate_gam, compute_mix_score, compute_mixed_weight


class _StraightThrough(torch.autograd.Function):
    """Forward: `value`. Backward: the gradient goes to `weight` unchanged."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


def substitute_parameter(
    module: nn.Module, attribute: str, value_of: Callable[[Tensor], Tensor | None]
) -> list[RemovableHandle]:
    """Let the forward pass of `module` in training read `value_of(parameter)` in place of a parameter."""
    held: dict[int, Tensor] = {}

    def before(module: nn.Module, args: Any) -> None:
        parameter = module._parameters[attribute]
        value = value_of(parameter.detach()) if module.training and parameter is not None else None
        if parameter is not None and value is not None:
            held[id(module)] = parameter
            module._parameters[attribute] = _StraightThrough.apply(parameter, value)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        parameter = held.pop(id(module), None)
        if parameter is not None:
            module._parameters[attribute] = cast(nn.Parameter, parameter)

    return [
        module.register_forward_pre_hook(before),
        module.register_forward_hook(after, always_call=True),
    ]


class SlowDPSMix(DPSDenseAttachment):
    """DPS Mix, slow."""

    method: dps.DPSMix

    def set_up(self) -> None:
        self.seed = torch.initial_seed() % 2**62
        super().set_up()
        for weight in self.weights:
            weight.pretrained = weight.value.clone()
            for module, attribute in weight.covered.readers:
                self.handles += substitute_parameter(module, attribute, self._reader(weight))

    def _reader(self, weight: WeightState) -> Callable[[Tensor], Tensor | None]:
        def mixed(value: Tensor) -> Tensor | None:
            anchor = weight.pretrained if weight.anchor is None else weight.anchor
            if self.ratio == 1 or weight.active is None or anchor is None:
                return None
            return compute_mixed_weight(value, anchor, weight.active, self.ratio)

        return mixed

    def begin_step(self) -> None:
        super().begin_step()
        step = self.steps + 1
        if step <= self.schedule.max_steps and self.schedule.stage(step) == 1:
            generator = torch.Generator().manual_seed(derive_step_seed(self.seed, step))
            sizes = [weight.covered.in_features for weight in self.weights]
            drawn = (torch.rand(sum(sizes), generator=generator) < self.ratio).split(sizes)
            for weight, n in zip(self.weights, drawn, strict=True):
                weight.active = weight.covered.broadcast_inputs(n)

    def begin_stage_one(self, weight: WeightState) -> None:
        super().begin_stage_one(weight)
        assert weight.gam is not None
        weight.fam = torch.zeros(weight.covered.in_features, dtype=weight.gam.dtype)

    def begin_stage_two(self, weight: WeightState) -> None:
        super().begin_stage_two(weight)
        weight.anchor = weight.value.clone()

    def score(self, weight: WeightState) -> Tensor:
        assert weight.gam is not None
        assert weight.fam is not None
        return compute_mix_score(
            weight.gam, weight.covered.broadcast_inputs(weight.fam), self.schedule.interval
        )

    def before_step(self) -> None:
        for weight in self.weights:
            grad = weight.covered.parameter.grad
            if grad is None:
                continue
            weight.used = True
            if weight.active is not None:
                grad.mul_(weight.active)
            if weight.gam is not None:
                accumulate_gam([weight.gam], [grad.to(weight.gam.dtype)])
        for weight in self.weights:
            if weight.fam is not None and weight.active is not None:
                accumulate_fam(weight.fam, weight.active.view(-1))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "seed": self.seed}

    def load(self, state: dict[str, Any]) -> None:
        self.seed = state["seed"]
        super().load(state)


class SlowMixout(Attachment):
    """Mixout and Mixconnect, slow."""

    method: Mixout

    def set_up(self) -> None:
        self.seed = torch.initial_seed() % 2**62
        head = get_head_parameters(self.model)
        trained = {id(parameter) for _, parameter in self.trained_parameters()}
        self.weights = [
            weight
            for weight in find_covered_weights(self.model)
            if weight.name not in head and id(weight.parameter) in trained
        ]
        self.pretrained = [weight.parameter.detach().clone() for weight in self.weights]
        self.masks: list[Tensor] = []
        for number, weight in enumerate(self.weights):
            for module, attribute in weight.readers:
                self.handles += substitute_parameter(module, attribute, self._reader(number))
        self._draw()

    def _reader(self, number: int) -> Callable[[Tensor], Tensor]:
        return lambda value: compute_mixed_weight(
            value, self.pretrained[number], self.masks[number], 1 - self.method.p
        )

    def _draw(self) -> None:
        share = 1 - self.method.p
        if isinstance(self.method, MixConnect):
            random = make_generator(self.seed, self.steps + 1, self.weights[0].parameter.device)
            self.masks = [draw_bernoulli(weight.parameter, share, random) for weight in self.weights]
            return
        generator = torch.Generator().manual_seed(derive_step_seed(self.seed, self.steps + 1))
        sizes = [weight.in_features for weight in self.weights]
        drawn = (torch.rand(sum(sizes), generator=generator) < share).split(sizes)
        self.masks = [w.broadcast_inputs(m) for w, m in zip(self.weights, drawn, strict=True)]

    def before_step(self) -> None:
        by_chain_rule = isinstance(self.method, MixConnect)
        for weight, kept in zip(self.weights, self.masks, strict=True):
            if weight.parameter.grad is not None:
                weight.parameter.grad.mul_(kept)
                if by_chain_rule:
                    weight.parameter.grad.div_(1 - self.method.p)

    def after_step(self) -> None:
        self._draw()

    def state(self) -> dict[str, Any]:
        names = (weight.name for weight in self.weights)
        return {"seed": self.seed, "pretrained": dict(zip(names, self.pretrained, strict=True))}

    def load(self, state: dict[str, Any]) -> None:
        self.seed = state["seed"]
        for weight, pretrained in zip(self.weights, self.pretrained, strict=True):
            pretrained.copy_(state["pretrained"][weight.name])
        self._draw()


def attach_slow(
    method: dps.Method, model: nn.Module, optimizer: Optimizer, max_steps: int, max_grad_norm: float | None
) -> Optimizer:
    """Attach DPS Mix or Mixout in its slow form."""
    (SlowDPSMix if isinstance(method, dps.DPSMix) else SlowMixout)(
        method, model, optimizer, max_steps, max_grad_norm
    )
    return optimizer
