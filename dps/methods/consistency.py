"""Losses of methods that make two passes over a batch agree."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dps.methods.base import Batch


def repeat_batch(batch: Batch) -> Batch:
    """Return the batch twice over: (rows, ...) becomes (2 * rows, ...)."""
    return {key: torch.cat([value, value]) for key, value in batch.items()}


def compute_disagreement(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """Return KL(p||q) + KL(q||p) of two passes, a mean over examples; for regression (first - second)².

    first, second: logits (n, classes), or (n, 1) for regression.
    labels: (n,), or (n, labels) for multi-label tasks, whose labels are independent Bernoulli variables: the
        mean is then over labels too, as in the loss.
    """
    if labels.ndim == 2:
        first, second = first.float(), second.float()
        return ((first.sigmoid() - second.sigmoid()) * (first - second)).mean()
    if first.shape[-1] == 1:
        return functional.mse_loss(first, second)
    p, q = (functional.log_softmax(logits.float(), dim=-1) for logits in (first, second))
    return functional.kl_div(p, q, reduction="batchmean", log_target=True) + functional.kl_div(
        q, p, reduction="batchmean", log_target=True
    )


def compute_task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of transformers' classification heads, a mean.

    Cross entropy; for float labels (n,) the squared error; for labels (n, labels) the binary cross entropy.
    """
    if labels.ndim == 2:
        return functional.binary_cross_entropy_with_logits(logits, labels)
    if labels.is_floating_point():
        return functional.mse_loss(logits.squeeze(-1), labels)
    return functional.cross_entropy(logits, labels)
