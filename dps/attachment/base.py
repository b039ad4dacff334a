"""Base class of what methods do around a step.

`Method.attach` makes an `Attachment`, which holds the method's state, and returns the same optimizer: torch's
own hooks call the attachment around each `optimizer.step()`, so schedulers, GradScaler, transformers.Trainer,
Accelerate and Lightning work unchanged.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from dps.attachment.guards import (
    refuse_join,
    require_coverage,
    require_fitting_state,
    require_same_parameters,
    require_whole_steps,
    require_whole_weights,
)
from dps.attachment.hooks import ModuleHook
from dps.attachment.method import Batch, Method
from dps.attachment.mixing import MixedWeights
from dps.attachment.stepping import StepHooks, has_overflowed, is_warm_up, unscale_gradients
from dps.attachment.strangers import StrangerWatch
from dps.coverage import CoveredWeight, find_covered_weights, unwrap_model
from dps.lazy import nn, torch, without_gradients
from dps.ranges import is_number

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

STATE_KEY = "method"  # of the method's state in optimizer.state_dict()


class Attachment:
    """State and actions of a method on one model and optimizer. Subclasses override what they need.

    steps: optimizer steps done; a step that a GradScaler skips does not count.
    mixed_weights: what the forward passes of training read in place of the trained weights, or None.
    superseded: whether a later attach took the weights over, with another optimizer.
    alpha: share of the trained weights in what is scored and saved, of a method that mixes them with others.
    offered_alphas: those that a run chooses among, on its held-out slice; none: alpha is given.
    adapter_config: PEFT's configuration of the adapter that is trained, or None.
    is_evaluated: whether the model holds the weights that are scored and saved, see `evaluated`.

    A subclass names its method: `class MixoutAttachment(Attachment, method_class=Mixout)`.
    """

    mixed_weights: MixedWeights | None = None
    alpha: float | None = None
    offered_alphas: tuple[float, ...] = ()
    adapter_config: Any = None

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
        if not hasattr(optimizer, "_optimizer_step_pre_hooks"):  # such as Accelerate's
            wrapper = type(optimizer).__name__
            raise ValueError(f"attach: {wrapper} wraps an optimizer; attach the method before wrapping it")
        if max_grad_norm is not None and not (is_number(max_grad_norm) and max_grad_norm > 0):
            raise ValueError(f"max_grad_norm must be above 0 or None, but got {max_grad_norm!r}")
        self.method = method
        self.model, self.optimizer = model, optimizer
        self.max_steps, self.max_grad_norm = require_whole_steps(max_steps), max_grad_norm
        self.steps = 0
        self.superseded = self.is_evaluated = False
        self.handles: list[RemovableHandle] = []
        self._counts = True  # whether the step under way is one
        self._warned = False
        self._uncovered: list[CoveredWeight] = []  # linear weights that were not trained at attach
        self.step_hooks = StepHooks(optimizer, self._prepare, self._after)
        self._note_trained()
        if not method.takes_split_weights:
            takes_shards = method.takes_shards and not method.adds_layers
            require_whole_weights(method.name, model, [p for p, _ in self._parameters.values()], takes_shards)
        earlier, replaced = self._find_earlier(), attachment_of(optimizer)
        for attachment in earlier:
            attachment.restore_weights()
        self.set_up()
        for attachment in earlier:
            attachment._supersede()
        if replaced is not None:
            replaced.detach()
        self.start()
        self._note_trained()
        self.handles += [
            *self.step_hooks.register(),
            optimizer.register_state_dict_post_hook(self._save),
            optimizer.register_load_state_dict_pre_hook(self._load),
        ]
        if self.mixed_weights is not None:
            self.mixed_weights.register()
        if method.counts_steps:
            refuse = ModuleHook(lambda *args: refuse_join(method.name))
            self.handles.append(unwrap_model(model).register_forward_pre_hook(refuse))
        optimizer.dps_attachment = self  # type: ignore[attr-defined]
        _attachments.add(self)
        _watch.register()

    def set_up(self) -> None:
        """Prepare the method's state. Raises ValueError for what does not fit; changes nothing yet."""

    def start(self) -> None:
        """Change what the method changes once, at attach: weights, parameter groups."""

    def _note_trained(self) -> None:
        """Note the parameters that the optimizer trains, by id, with their shapes."""
        self._parameters = {id(p): (p, p.shape) for _, p in self.trained_parameters()}

    def follow_parameters(self, successors: Mapping[int, nn.Parameter]) -> None:
        """Let optimizer and method have the parameters that took the place of others, by the id of those."""
        for group in self.optimizer.param_groups:
            group["params"] = [successors.get(id(p), p) for p in group["params"]]
        self._note_trained()

    def _find_earlier(self) -> list[Attachment]:
        """Return the attachments of this method to these weights, by other optimizers.

        Raises ValueError if another method is attached to the weights, or one to this optimizer.
        """
        own = attachment_of(self.optimizer)
        if own is not None and not own.superseded:
            raise ValueError(
                f"attach: this optimizer already has a method attached, {own.method.name}; make a new "
                f"optimizer, or detach the method first: attachment_of(optimizer).detach()"
            )
        earlier = [a for a in _attachments if a._parameters.keys() & self._parameters.keys()]
        for attachment in earlier:
            if attachment.method.name != self.method.name:
                raise ValueError(
                    f"attach: this model already has a method attached, {attachment.method.name}; "
                    f"detach it first: attachment_of(model).detach()"
                )
        return earlier

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

    def trained_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that the optimizer trains, with their names in the unwrapped model."""
        trained_ids = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        for name, parameter in unwrap_model(self.model).named_parameters():
            if id(parameter) in trained_ids:
                yield name, parameter

    def find_trained_weights(self, skipped: Container[str] = ()) -> list[CoveredWeight]:
        """Return the covered weights that the optimizer trains, without the `skipped` names.

        Warns if they are a small share of the model. Raises ValueError if there is none.
        """
        frozen, free = (find_covered_weights(self.model, frozen) for frozen in (True, False))
        trained = [weight for weight in free if id(weight.parameter) in self._parameters]
        self._uncovered = [*frozen, *(w for w in free if id(w.parameter) not in self._parameters)]
        weights = [weight for weight in trained if weight.name not in skipped]
        require_coverage(self.method.name, self.model, weights)
        return weights

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

    def restore_weights(self) -> None:
        """Let the parameters hold the trained weights, where the forward passes read mixed ones."""
        if self.mixed_weights is not None:
            self.mixed_weights.restore()

    def copy_adapter(self) -> dict[str, Tensor]:
        """Return copies of an adapter and the head on the CPU, by PEFT's names; empty without one."""
        return {}

    def take_evaluated(self) -> Callable[[], None]:
        """Let the model hold the weights that are scored and saved; return what puts the trained ones back.

        They are the trained ones, unless a method has others.
        """
        return lambda: None

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """Let the model hold the weights that are scored and saved, in this context, which takes no step."""
        if self.is_evaluated:
            yield
            return
        self.restore_weights()
        put_back, self.is_evaluated = self.take_evaluated(), True
        try:
            yield
        finally:
            self.is_evaluated = False
            put_back()

    def finish(self) -> None:
        """Detach after the last step, and leave the weights that are scored and saved in the model."""
        self.detach()
        self.take_evaluated()

    def detach(self) -> None:
        """Take the method off: remove every hook from the optimizer and the model."""
        if self.is_evaluated:
            raise ValueError(f"{self.method.name}: leave evaluated() before detach, finish or another attach")
        if self.mixed_weights is not None:
            self.mixed_weights.remove()
        for handle in self.handles:
            handle.remove()
        _attachments.discard(self)
        if getattr(self.optimizer, "dps_attachment", None) is self:
            self.optimizer.dps_attachment = None  # type: ignore[attr-defined]

    def _supersede(self) -> None:
        """Detach, and refuse further steps of this optimizer: another one has the method now."""
        self.detach()
        self.superseded = True
        self.handles = self.step_hooks.register()
        self.optimizer.dps_attachment = self  # type: ignore[attr-defined]

    @without_gradients
    def _prepare(self, optimizer: Optimizer) -> None:
        if self.superseded:
            raise ValueError(
                f"{self.method.name} was attached to this model again, with another optimizer; "
                f"step that one, or attach the method to this one again"
            )
        if self.is_evaluated:
            raise ValueError(f"{self.method.name}: a step within evaluated(), whose weights are not trained")
        self.restore_weights()
        self._counts = not (has_overflowed(optimizer) or (self.steps == 0 and is_warm_up(optimizer)))
        if not self._counts:
            return
        self._check_step()
        unscale_gradients(optimizer)
        parts = (self._clip_gradients, self.before_step)
        for act in parts if self.method.clips_first else reversed(parts):
            act()

    def _clip_gradients(self) -> None:
        if self.max_grad_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)

    def _check_step(self) -> None:
        """Raise ValueError, or warn, if the method cannot do its work in this step."""
        if self.mixed_weights is not None:
            self.mixed_weights.require_read()
        if self.steps == 0:
            require_same_parameters(self.method.name, self.optimizer, self._parameters)
        if self._warned:
            return
        uncovered = [weight for weight in self._uncovered if weight.parameter.requires_grad]
        trained = {name for name, _ in self.trained_parameters()} if uncovered else set()
        late = [weight.name for weight in uncovered if weight.name in trained]
        if self.method.selects_weights and self.steps >= self.max_steps:
            self._warn(
                f"step {self.steps + 1} is past max_steps={self.max_steps}: nothing is masked from here on; "
                f"pass the optimizer steps of the whole run as max_steps of attach"
            )
        elif late:
            self._warn(
                f"{len(late)} linear weights that were not trained at attach are trained now ({late[0]}, "
                f"...), and the method leaves them alone; detach it and attach it again to cover them"
            )

    def _warn(self, message: str) -> None:
        """Warn, once."""
        self._warned = True
        warnings.warn(f"{self.method.name}: {message}", stacklevel=2)

    def _after(self, optimizer: Optimizer) -> None:
        if self._counts:
            self.steps += 1
            self.after_step()
            if self.mixed_weights is not None:
                self.mixed_weights.end_step()

    def _save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        own = {"name": self.method.name, "steps": self.steps, "hyper": self._hyper_parameters()}
        return {**state_dict, STATE_KEY: {**own, **self.state()}}

    def _hyper_parameters(self) -> dict[str, Any]:
        """Return what a resume must have the same."""
        length = {"max_steps": self.max_steps} if self.method.plans_length else {}
        return {**asdict(self.method), **length}

    def _load(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
        state = require_fitting_state(self.method.name, state_dict.get(STATE_KEY), self._hyper_parameters())
        self.restore_weights()
        self.steps = state["steps"]
        self.load(state)
        return {key: value for key, value in state_dict.items() if key != STATE_KEY}


Method.attachment_class = Attachment
_attachments: WeakSet[Attachment] = WeakSet()
_watch = StrangerWatch(_attachments)


def attachment_of(target: Optimizer | nn.Module) -> Attachment | None:
    """Return the attachment of an optimizer, or of a model (wrapped or not, whole or in part), or None."""
    if isinstance(target, nn.Module):
        keys = {id(parameter) for parameter in target.parameters()}
        return next((a for a in _attachments if keys & a._parameters.keys()), None)
    return getattr(target, "dps_attachment", None)
