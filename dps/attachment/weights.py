"""Weights that a model holds for a while in place of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dps.distributed import is_split
from dps.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor


def assign_weights(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    """Let parameters hold other values, of their shapes, dtypes and devices."""
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data = value


def exchange_weights(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Callable[[], None]:
    """Let parameters hold other values; return what puts their own back, bit for bit."""
    in_place = any(map(is_split, parameters))  # fully_shard reads the memory that it knows
    own = [parameter.data.clone() if in_place else parameter.data for parameter in parameters]

    def hold(held: Sequence[Tensor]) -> None:
        if in_place:
            for parameter, value in zip(parameters, held, strict=True):
                parameter.data.copy_(value)
        else:
            assign_weights(parameters, held)
        torch.autograd.graph.increment_version(parameters)
        torch.clear_autocast_cache()

    hold(values)
    return lambda: hold(own)
