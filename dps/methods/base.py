"""Base classes of the methods.

A method is a frozen dataclass of hyper-parameters. `Method.attach` makes an `Attachment`, which holds the
state, and returns the same optimizer: torch's own hooks call the attachment around each `optimizer.step()`,
so schedulers, GradScaler, transformers.Trainer, Accelerate and Lightning work unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from dps.coverage import CoveredWeight, find_covered_weights, unwrap_model
from dps.ranges import Domain

STATE_KEY = "method"  # of the method's state in optimizer.state_dict()
DEFAULT_DROPOUT = 0.1
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class MethodCost:
    """Cost of a method beyond vanilla fine-tuning.

    extra_passes: forward-backward passes of a step beyond the first.
    calibration_epochs: passes over the training set before the first step.
    extra_bytes: upper bound of the memory kept for each trained weight.
    """

    extra_passes: float = 0.0
    calibration_epochs: float = 0.0
    extra_bytes: float = 0.0

    def passes(self, steps: int, steps_per_epoch: int) -> float:
        """Return the forward-backward passes over a batch that a run of `steps` steps takes."""
        return steps * (1 + self.extra_passes) + self.calibration_epochs * steps_per_epoch


@dataclass(frozen=True)
class Method:
    """Way of fine-tuning: what happens around each optimizer step.

    name: as on the command line.
    needs_pretrained: whether it keeps a copy of the pre-trained weights.
    selects_weights: whether it masks weights in stages; a run in which no mask acted is then a mistake.
    attachment_class: class that holds its state and acts around each step.
    """

    name: ClassVar[str]
    needs_pretrained: ClassVar[bool] = False
    selects_weights: ClassVar[bool] = False
    attachment_class: ClassVar[type[Attachment]]

    def __post_init__(self) -> None:
        for field in fields(self):
            value, rule = getattr(self, field.name), field.metadata.get("rule")
            if rule is not None and not rule.holds(value):
                raise ValueError(f"{field.name} must be {rule.words}, but got {value!r}")

    @classmethod
    def search_space(cls, max_steps: int, layers: int) -> dict[str, Domain]:
        """Return the published search space, without the learning rate.

        Values that a run of `max_steps` or a model of `layers` transformer blocks cannot take are left out.
        """
        searched = {field.name: field.metadata.get("searched") for field in fields(cls)}
        return {name: domain for name, domain in searched.items() if domain is not None}

    @property
    def cost(self) -> MethodCost:
        """Cost of the method beyond vanilla fine-tuning."""
        return MethodCost()

    def dropout(self, max_steps: int) -> float:
        """Return the dropout probability that the method trains with, in [0, 1)."""
        return DEFAULT_DROPOUT

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the training loss of one batch, a scalar; by default the model's own."""
        return cast(Tensor, model(**batch).loss)

    def attach(
        self, model: nn.Module, optimizer: Optimizer, max_steps: int, max_grad_norm: float | None = None
    ) -> Optimizer:
        """Attach the method to `model` and `optimizer`; return `optimizer` itself.

        model: a torch.nn.Module, plain or in DistributedDataParallel; its current weights count as
            pre-trained.
        max_steps: optimizer steps of the whole run.
        max_grad_norm: norm that the (masked) gradient is clipped to; None for no clipping.

        The method's state becomes part of `optimizer.state_dict()`. Raises ValueError if a hyper-parameter
        does not fit `max_steps` or the model, the model has no covered weight, or a method is attached
        already.
        """
        self.attachment_class(self, model, optimizer, max_steps, max_grad_norm)
        return optimizer


class Attachment:
    """State and actions of a method on one optimizer. Subclasses override what they need.

    steps: optimizer steps done; a step that a GradScaler skips does not count.
    substituted_modules: modules whose forward pass reads other weights while they train.

    A subclass names its method: `class MixoutAttachment(Attachment, method_class=Mixout)`.
    """

    def __init_subclass__(cls, method_class: type[Method] | None = None) -> None:
        if method_class is not None:
            method_class.attachment_class = cls

    def __init__(
        self,
        method: Method,
        model: nn.Module,
        optimizer: Optimizer,
        max_steps: int,
        max_grad_norm: float | None,
    ) -> None:
        if attachment_of(optimizer) is not None:
            raise ValueError("attach: this optimizer already has a method attached; make a new optimizer")
        if not hasattr(optimizer, "_optimizer_step_pre_hooks"):  # such as Accelerate's
            wrapper = type(optimizer).__name__
            raise ValueError(f"attach: {wrapper} wraps an optimizer; attach the method before wrapping it")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm must be above 0 or None, but got {max_grad_norm}")
        self.method = method
        self.model, self.optimizer = model, optimizer
        self.max_steps, self.max_grad_norm = max_steps, max_grad_norm
        self.steps = 0
        self.handles: list[RemovableHandle] = []
        self.substituted_modules: list[nn.Module] = []
        self.set_up()
        self.handles += [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
            optimizer.register_state_dict_post_hook(self._save),
            optimizer.register_load_state_dict_pre_hook(self._load),
        ]
        optimizer.dps_attachment = self  # type: ignore[attr-defined]

    def set_up(self) -> None:
        """Set the method up, once. Raises ValueError, before anything is changed, for what does not fit."""

    def calibrate(self, model: nn.Module, batches: Iterable[Batch], micro_batch: int | None = None) -> None:
        """Read the training set before the first step, if `cost.calibration_epochs` is above 0.

        model: the attached one, which may have been wrapped since.
        micro_batch: see `accumulate`.
        """

    def backward(
        self,
        model: nn.Module,
        batch: Batch,
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
        autocast: AbstractContextManager[Any] | None = None,
    ) -> Tensor:
        """Add the gradients of one batch to `.grad`; return the loss, detached.

        scale: applied to the loss before the backward pass (a GradScaler's, or a share of the step).
        autocast: context of each forward pass.
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
        """Add the gradients of one batch, at most `micro_batch` rows at a time (None: all at once).

        Each part counts by its share of the rows, as losses are means over rows. The gradient is that of the
        whole batch up to rounding and random draws of the model, such as dropout. See `backward`.
        """
        if micro_batch is None or micro_batch >= (rows := len(batch["labels"])):
            return self.backward(model, batch, scale, autocast)
        losses = []
        for start in range(0, rows, micro_batch):
            part = {key: value[start : start + micro_batch] for key, value in batch.items()}
            share = len(part["labels"]) / rows
            weighted = partial(lambda share, loss: scale(loss * share), share)
            losses.append(self.backward(model, part, weighted, autocast) * share)
        return torch.stack(losses).sum()

    def find_trained_weights(self, skipped: Container[str] = ()) -> list[CoveredWeight]:
        """Return the covered weights that the optimizer trains, without the `skipped` names.

        Raises ValueError if there is none.
        """
        trained = {id(parameter) for _, parameter in self.trained_parameters()}
        covered = [weight for weight in find_covered_weights(self.model) if id(weight.parameter) in trained]
        if not (weights := [weight for weight in covered if weight.name not in skipped]):
            raise ValueError(
                f"{self.method.name} needs at least one trained linear weight, but "
                f"{type(self.model).__name__} has none among the optimizer's parameters"
            )
        return weights

    def trained_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that the optimizer trains, with their names in the unwrapped model."""
        trained_ids = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        for name, parameter in unwrap_model(self.model).named_parameters():
            if id(parameter) in trained_ids:
                yield name, parameter

    @property
    def selected_share(self) -> float | None:
        """Mean share of the covered weights that the masks selected; None if no mask acted."""
        return None

    def before_step(self) -> None:
        """Act before optimizer step `steps + 1`; the gradients are raw and unscaled."""

    def after_step(self) -> None:
        """Act after an optimizer step, which `steps` already counts."""

    def state(self) -> dict[str, Any]:
        """Return the state that a resume needs: tensors, numbers and strings in nested dicts."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""

    def detach(self) -> None:
        """Remove every hook from the optimizer and the model."""
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
                f"{self.method.name} needs the model in training mode, but it is in evaluation mode; "
                f"call model.train()"
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
            saved = "no method" if state is None else f"the method {state['name']!r}"
            raise ValueError(
                f"load_state_dict: the state holds {saved}, but {self.method.name!r} is attached; "
                f"attach the method that the state was saved with"
            )
        self.steps = state["steps"]
        self.load(state)
        return {key: value for key, value in state_dict.items() if key != STATE_KEY}


Method.attachment_class = Attachment


def attachment_of(optimizer: Optimizer) -> Attachment | None:
    """Return the attachment of this optimizer, or None."""
    return getattr(optimizer, "dps_attachment", None)


def _has_overflowed(optimizer: Optimizer) -> bool:
    """Return whether a GradScaler found inf in this step.

    It skips the steps of most optimizers, but calls fused ones (`_step_supports_amp_scaling`) with
    `found_inf` set and lets the kernel skip.
    """
    found_inf = getattr(optimizer, "found_inf", None)
    return found_inf is not None and bool(found_inf)


def _unscale(optimizer: Optimizer) -> None:
    """Divide the gradients by the loss scale that a GradScaler left to a fused kernel."""
    grad_scale = getattr(optimizer, "grad_scale", None)
    if grad_scale is None:
        return
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    for grad in grads:
        grad.div_(grad_scale.to(grad.device))
    optimizer.grad_scale = None  # type: ignore[attr-defined]


class _StraightThrough(torch.autograd.Function):
    """Function that returns `value` and passes the gradient to `weight` unchanged."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


def substitute_parameter(
    module: nn.Module, attribute: str, value_of: Callable[[Tensor], Tensor | None]
) -> list[RemovableHandle]:
    """Substitute a parameter: in training mode the forward pass of `module` reads `value_of(parameter)`.

    value_of: returns a tensor of the parameter's shape, or None for the parameter itself.

    The gradient reaches the parameter unchanged. Names, `state_dict` and evaluation stay as they were. Works
    with gradient checkpointing and with deep copies of the module (the parameter is looked up at each call).
    """
    originals: dict[int, Tensor] = {}

    def before(module: nn.Module, args: Any) -> None:
        parameter = module._parameters[attribute]
        value = value_of(parameter.detach()) if module.training and parameter is not None else None
        if parameter is not None and value is not None:
            originals[id(module)] = parameter
            module._parameters[attribute] = _StraightThrough.apply(parameter, value)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        parameter = originals.pop(id(module), None)
        if parameter is not None:
            module._parameters[attribute] = cast(nn.Parameter, parameter)

    return [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=True)]
