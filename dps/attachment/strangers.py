"""Steps that an optimizer without the method takes on weights that have one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from dps.attachment.stepping import StepHooks

if TYPE_CHECKING:
    from torch.optim import Optimizer


class Attached(Protocol):
    """What is read of an attachment.

    _parameters: what its optimizer trained at attach, by id().
    """

    step_hooks: StepHooks
    method: Any
    _parameters: dict[int, Any]


class StrangerWatch:
    """Refuses the steps of optimizers that train attached weights without the method.

    An optimizer may be the inner or the outer part of the attached one (SAM, Lookahead): then the method acts
    within its step, or around it.

    attachments: those that are alive; an optimizer that has one carries it as `dps_attachment`.
    """

    def __init__(self, attachments: Iterable[Attached]) -> None:
        self.attachments = attachments
        self._calls: WeakKeyDictionary[Optimizer, int] = WeakKeyDictionary()
        self._is_registered = False

    def register(self) -> None:
        """Watch the steps of all optimizers, from now on."""
        if self._is_registered:
            return
        from torch.optim import optimizer

        optimizer.register_optimizer_step_pre_hook(self._begin)
        optimizer.register_optimizer_step_post_hook(self._end)
        self._is_registered = True

    def _find(self, optimizer: Optimizer) -> list[Attached]:
        """Return the attachments that have weights of an optimizer without one."""
        if getattr(optimizer, "dps_attachment", None) is not None or not (attached := [*self.attachments]):
            return []
        keys = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        return [each for each in attached if not keys.isdisjoint(each._parameters.keys())]

    def _begin(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._calls[optimizer] = sum(each.step_hooks.calls for each in self._find(optimizer))

    def _end(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        found = self._find(optimizer)
        if not found or any(each.step_hooks.is_under_way for each in found):
            return
        if sum(each.step_hooks.calls for each in found) == self._calls.get(optimizer):
            name = found[0].method.name
            raise ValueError(
                f"{name} is attached to this model by another optimizer, and this one, "
                f"{type(optimizer).__name__}, trains it without the method; attach to this one, or detach "
                f"the method first: attachment_of(model).detach()"
            )
