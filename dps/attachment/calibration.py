"""Masks that are made from the training set, before the first step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import TYPE_CHECKING

from dps.attachment.base import Attachment
from dps.attachment.method import Batch
from dps.lazy import nn, torch
from dps.selection import accumulate_gam

if TYPE_CHECKING:
    from torch import Tensor


def sum_squared_gradients(
    attachment: Attachment,
    model: nn.Module,
    batches: Iterable[Batch],
    parameters: Sequence[nn.Parameter],
    micro_batch: int | None = None,
    max_norm: float | None = None,
) -> list[Tensor]:
    """Return the sum over the batches of each parameter's squared gradient, of its shape, in float32.

    model: the attached one, which may have been wrapped since; no gradient is left on it.
    micro_batch: see `Attachment.accumulate`.
    max_norm: norm that the gradient of each parameter is clipped to before it is squared; None: not clipped.
    """
    squares = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]
    for batch in batches:
        attachment.optimizer.zero_grad(set_to_none=True)
        attachment.accumulate(model, batch, micro_batch)
        for square, parameter in zip(squares, parameters, strict=True):
            if parameter.grad is not None:
                if max_norm is not None:
                    nn.utils.clip_grad_norm_(parameter, max_norm)
                accumulate_gam([square], [parameter.grad.float()])
    attachment.optimizer.zero_grad(set_to_none=True)
    return squares


def require_calibration(attachment: Attachment, masks: Sized) -> None:
    """Raise ValueError if there is no mask yet."""
    if not masks:
        raise ValueError(
            f"{attachment.method.name} reads the training set first: "
            "call attachment_of(optimizer).calibrate(model, batches) before the first step"
        )
