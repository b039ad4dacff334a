"""Averages of the weights, which are scored and saved in place of those that are trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from dps.attachment import Attachment
from dps.attachment.weights import exchange_weights
from dps.distributed import split_like
from dps.lazy import torch, without_gradients


class AveragingAttachment(Attachment):
    """Attachment that keeps A, an average of every trained parameter, the head included.

    averages: A by parameter name, in float32 or wider, 0 before the first step.
    """

    def set_up(self) -> None:
        self.parameters = dict(self.trained_parameters())
        self.averages = {
            name: torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
            for name, parameter in self.parameters.items()
        }

    @abstractmethod
    def find_share(self) -> float:
        """Return s in A <- A + s (W - A), for the step that was just done; 0 leaves A as it is."""

    @abstractmethod
    def find_weight(self) -> float:
        """Return how much of the weights is in A so far, of 1: A is divided by it. 0: W is scored."""

    @without_gradients
    def after_step(self) -> None:
        if not (share := self.find_share()):
            return
        averages = [*self.averages.values()]
        weights = [p.to(a.dtype) for p, a in zip(self.parameters.values(), averages, strict=True)]
        torch._foreach_lerp_(averages, weights, share)

    @without_gradients
    def take_evaluated(self) -> Callable[[], None]:
        if not (weight := self.find_weight()):
            return super().take_evaluated()
        values = [(self.averages[name] / weight).to(p.dtype) for name, p in self.parameters.items()]
        return exchange_weights([*self.parameters.values()], values)

    def state(self) -> dict[str, Any]:
        return {"averages": self.averages}

    def load(self, state: dict[str, Any]) -> None:
        for name, average in self.averages.items():
            average.copy_(split_like(state["averages"][name], average))
