"""The shape that every method has.

A method is a frozen dataclass of hyper-parameters. `attach` puts it on a model and an
optimizer and returns that very optimizer: torch's own hooks call the method around each
`optimizer.step()`, so schedulers, GradScaler, transformers.Trainer, Accelerate and
Lightning need to know nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from dps.coverage import unwrap_model
from dps.ranges import Domain

STATE_KEY = "method"  # where the method's state stands in optimizer.state_dict()
DEFAULT_DROPOUT = 0.1
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class MethodCost:
    """What a method costs beside vanilla.

    extra_passes: forward-backward passes of a step beyond the one. calibration_epochs: passes over
    the training set before the first step. extra_bytes: kept for each trained weight, at most.
    """

    extra_passes: float = 0.0
    calibration_epochs: float = 0.0
    extra_bytes: float = 0.0

    def passes(self, steps: int, steps_per_epoch: int) -> float:
        """Forward-backward passes of a batch that a run of so many steps takes."""
        return steps * (1 + self.extra_passes) + self.calibration_epochs * steps_per_epoch


@dataclass(frozen=True)
class Method:
    """A way of fine-tuning: what happens around each optimizer step.

    name: as on the command line. needs_pretrained: whether a copy of the pre-trained weights is
    kept. selects_weights: whether it masks weights in stages, so that a run in which no mask acted is a
    mistake. attachment_class: the class that does the work.
    """

    name: ClassVar[str]
    needs_pretrained: ClassVar[bool] = False
    selects_weights: ClassVar[bool] = False
    attachment_class: ClassVar[type[Attachment]]

    @classmethod
    def search_space(cls, max_steps: int, layers: int) -> dict[str, Domain]:
        """The published search space, without the learning rate; fewer values where a run of
        `max_steps` or a model of `layers` transformer blocks cannot take them all."""
        return {}

    @property
    def cost(self) -> MethodCost:
        """What the method costs beside vanilla."""
        return MethodCost()

    def dropout(self, max_steps: int) -> float:
        """The dropout probability that the method trains with, in [0, 1)."""
        return DEFAULT_DROPOUT

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The training loss of one batch, a scalar. The default is the model's own."""
        return cast(Tensor, model(**batch).loss)

    def attach(
        self, model: nn.Module, optimizer: Optimizer, max_steps: int, max_grad_norm: float | None = None
    ) -> Optimizer:
        """Put the method on `model` and `optimizer`; returns `optimizer` itself.

        model: a torch.nn.Module, plain or wrapped in DistributedDataParallel; its weights at this
        moment are the pre-trained ones. max_steps: optimizer steps of the whole run.
        max_grad_norm: clip the (masked) gradient to this norm; None for no clipping.

        The method's state becomes part of `optimizer.state_dict()`. Raises ValueError where
        a hyper-parameter does not fit `max_steps` or the model, the model has no covered weight,
        or a method is attached already.
        """
        self.attachment_class(self, model, optimizer, max_steps, max_grad_norm)
        return optimizer

    def _require(self, name: str, holds: bool, rule: str) -> None:
        """Raises ValueError, with rule and value, where a hyper-parameter is outside its range."""
        if not holds:
            raise ValueError(f"{name} must be {rule}, but got {getattr(self, name)!r}")


class Attachment:
    """A method at work on one optimizer. Subclasses override what they need.

    `steps` counts the optimizer steps done; a step that a GradScaler skips leaves no trace.
    """

    def __init__(
        self,
        method: Method,
        model: nn.Module,
        optimizer: Optimizer,
        max_steps: int,
        max_grad_norm: float | None,
    ) -> None:
        if attachment_of(optimizer) is not None:
            raise ValueError("attach: this optimizer has a method attached already; make a new optimizer")
        if not hasattr(optimizer, "_optimizer_step_pre_hooks"):  # such as Accelerate's
            wrapper = type(optimizer).__name__
            raise ValueError(f"attach: {wrapper} wraps an optimizer; attach the method before it is wrapped")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm must be above 0 or None, but got {max_grad_norm}")
        self.method = method
        self.model, self.optimizer = model, optimizer
        self.max_steps, self.max_grad_norm = max_steps, max_grad_norm
        self.steps = 0
        self.handles: list[RemovableHandle] = []
        self.substituted_modules: list[
            nn.Module
        ] = []  # while they train, their forward pass reads other weights
        self.set_up()
        self.handles += [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
            optimizer.register_state_dict_post_hook(self._save),
            optimizer.register_load_state_dict_pre_hook(self._load),
        ]
        optimizer.dps_attachment = self  # type: ignore[attr-defined]

    def set_up(self) -> None:
        """Get ready, once. What does not fit is refused here, before anything is changed."""

    def calibrate(self, model: nn.Module, batches: Iterable[Batch], micro_batch: int | None = None) -> None:
        """Look at the training set before the first step; called where `cost.calibration_epochs` is
        above 0. `model` may be the one that was wrapped since. micro_batch: see `accumulate`."""

    def backward(
        self,
        model: nn.Module,
        batch: Batch,
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
        autocast: AbstractContextManager[Any] | None = None,
    ) -> Tensor:
        """Add the gradients of one batch to `.grad`; returns the loss, detached.

        scale: of the loss before it goes backward (a GradScaler's, or a share of the step).
        autocast: around each forward pass.
        """
        with autocast or nullcontext():
            loss = self.method.loss(model, batch)
        scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def accumulate(
        self,
        model: nn.Module,
        batch: Batch,
        micro_batch: int | None = None,
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
        autocast: AbstractContextManager[Any] | None = None,
    ) -> Tensor:
        """As `backward`, with at most `micro_batch` rows in the model at a time; None for all.

        Losses are means over rows, so that each part counts by its share of the rows. The gradient is that
        of the whole batch up to rounding and to what the model draws, dropout for one.
        """
        if micro_batch is None or micro_batch >= (rows := len(batch["labels"])):
            return self.backward(model, batch, scale, autocast)
        losses = []
        for start in range(0, rows, micro_batch):
            part = {key: value[start : start + micro_batch] for key, value in batch.items()}
            share = len(part["labels"]) / rows
            weighted = partial(_scale_share, scale, share)
            losses.append(self.backward(model, part, weighted, autocast) * share)
        return torch.stack(losses).sum()

    def trained_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that the optimizer trains, by their name in the unwrapped model."""
        mine = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        for name, parameter in unwrap_model(self.model).named_parameters():
            if id(parameter) in mine:
                yield name, parameter

    @property
    def selected_share(self) -> float | None:
        """Mean share of the covered weights that a mask let through; None where no mask acted."""
        return None

    def before_step(self) -> None:
        """The gradients are raw and unscaled; the step's number is `steps + 1`."""

    def after_step(self) -> None:
        """The weights have moved; `steps` counts the step."""

    def state(self) -> dict[str, Any]:
        """What a resume needs: tensors, numbers, strings, in nested dicts."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""

    def detach(self) -> None:
        """Take every hook off the optimizer and the model."""
        for handle in self.handles:
            handle.remove()

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._prepare(optimizer)
            return None

        def backward() -> Any:  # the gradients are there only after the closure, as with Lightning
            loss = closure()
            self._prepare(optimizer)
            return loss

        return (optimizer,), {"closure": backward}

    def _prepare(self, optimizer: Optimizer) -> None:
        if _has_overflowed(optimizer):
            return
        if not all(module.training for module in self.substituted_modules):
            raise ValueError(
                f"{self.method.name} works on a model in training mode alone, but this one is in evaluation "
                f"mode; call model.train()"
            )
        _unscale(optimizer)
        self.before_step()
        if self.max_grad_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not _has_overflowed(optimizer):
            self.steps += 1
            self.after_step()

    def _save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        return {**state_dict, STATE_KEY: {"name": self.method.name, "steps": self.steps, **self.state()}}

    def _load(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        state = state_dict.get(STATE_KEY)
        if state is None or state["name"] != self.method.name:
            found = "no method" if state is None else f"the method {state['name']!r}"
            raise ValueError(
                f"load_state_dict: the state holds {found}, but {self.method.name!r} is attached; "
                f"attach the method that the state was saved with"
            )
        self.steps = state["steps"]
        self.load(state)
        return {key: value for key, value in state_dict.items() if key != STATE_KEY}


Method.attachment_class = Attachment


def attachment_of(optimizer: Optimizer) -> Attachment | None:
    """What `Method.attach` put on this optimizer, or None."""
    return getattr(optimizer, "dps_attachment", None)


def _scale_share(scale: Callable[[Tensor], Tensor], share: float, loss: Tensor) -> Tensor:
    return scale(loss * share)


def _has_overflowed(optimizer: Optimizer) -> bool:
    """Whether a GradScaler found inf in this step. It skips the steps of most optimizers, but
    calls fused ones (`_step_supports_amp_scaling`) with `found_inf` set and lets the kernel skip."""
    found_inf = getattr(optimizer, "found_inf", None)
    return found_inf is not None and bool(found_inf)


def _unscale(optimizer: Optimizer) -> None:
    """Divide by the loss scale that a GradScaler left for a fused kernel to divide by."""
    grad_scale = getattr(optimizer, "grad_scale", None)
    if grad_scale is None:
        return
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    for grad in grads:
        grad.div_(grad_scale.to(grad.device))
    optimizer.grad_scale = None  # type: ignore[attr-defined]


class _StraightThrough(torch.autograd.Function):
    """Forward: `value`. Backward: the gradient goes to `weight` as it is."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


def substitute_parameter(
    module: nn.Module, attribute: str, value_of: Callable[[Tensor], Tensor | None]
) -> list[RemovableHandle]:
    """While `module` trains, its forward pass reads `value_of(parameter)` in place of the parameter.

    None means the parameter itself. The gradient reaches the parameter unchanged. Names,
    `state_dict` and evaluation stay as they were. Works with gradient checkpointing, and with
    deep copies of the module (the parameter is looked up at each call).
    """
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
