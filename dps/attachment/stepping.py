"""Steps of an optimizer, seen through torch's hooks, and what a GradScaler leaves for them to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from dps.distributed import join_parts

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle


class StepHooks:
    """Calls around each step of an optimizer.

    before: called with the optimizer when the gradients are there.
    after: called with the optimizer when the weights have moved.

    calls: how often `before` was called.

    A step that calls that of its base class runs torch's hooks twice, and counts once. A step that raised
    leaves no trace.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        before: Callable[[Optimizer], None],
        after: Callable[[Optimizer], None],
    ) -> None:
        self.optimizer, self.before, self.after = optimizer, before, after
        self._step: FrameType | None = None  # the call that is under way, or was when it raised
        self._nested = self.calls = 0

    def register(self) -> list[RemovableHandle]:
        """Register the hooks; return their handles."""
        return [
            self.optimizer.register_step_pre_hook(self._begin),
            self.optimizer.register_step_post_hook(self._end),
        ]

    @property
    def is_under_way(self) -> bool:
        """Whether a step is under way."""
        return self._step is not None and _is_running(self._step)

    def _begin(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        if self.is_under_way:
            self._nested += 1
            return None
        self._step, self._nested = sys._getframe(1), 0
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._act(optimizer)
            return None

        def backward() -> Any:  # the gradients are there only after the closure, as with Lightning
            loss = closure()
            self._act(optimizer)
            return loss

        return (optimizer,), {"closure": backward}

    def _act(self, optimizer: Optimizer) -> None:
        self.calls += 1
        self.before(optimizer)

    def _end(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._nested:
            self._nested -= 1
            return
        self._step = None
        self.after(optimizer)


def _is_running(frame: FrameType) -> bool:
    """Return whether a frame is one of the current calls."""
    caller: FrameType | None = sys._getframe(1)
    while caller is not None:
        if caller is frame:
            return True
        caller = caller.f_back
    return False


def has_overflowed(optimizer: Optimizer) -> bool:
    """Return whether a GradScaler found inf in this step.

    It skips the steps of most optimizers, but calls fused ones (`_step_supports_amp_scaling`) with
    `found_inf` set and lets the kernel skip.
    """
    found_inf = getattr(optimizer, "found_inf", None)
    return found_inf is not None and bool(found_inf)


def unscale_gradients(optimizer: Optimizer) -> None:
    """Divide the gradients by the loss scale that a GradScaler left to a fused kernel."""
    grad_scale = getattr(optimizer, "grad_scale", None)
    if grad_scale is None:
        return
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    for grad in grads:
        grad.div_(grad_scale.to(grad.device))
    optimizer.grad_scale = None  # type: ignore[attr-defined]


def is_warm_up(optimizer: Optimizer) -> bool:
    """Return whether a step moves nothing: torch.distributed.checkpoint takes one to create the state."""
    return all(float(group["lr"]) == 0 for group in optimizer.param_groups) and not any(
        bool(join_parts(p.grad.any()))
        for group in optimizer.param_groups
        for p in group["params"]
        if p.grad is not None
    )
