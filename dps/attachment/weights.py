"""Weights that a model holds for a while in place of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dps.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor


def assign_weights(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    """Let parameters hold other values, of their shapes, dtypes and devices."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data = value


def exchange_weights(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Callable[[], None]:
    """Let parameters hold other values; return what puts their own back, bit for bit."""
    own = [parameter.data for parameter in parameters]

    def hold(held: Sequence[Tensor]) -> None:
        assign_weights(parameters, held)
        torch.autograd.graph.increment_version(parameters)
        torch.clear_autocast_cache()

    hold(values)
    return lambda: hold(own)
