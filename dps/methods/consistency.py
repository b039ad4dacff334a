"""What methods share that ask two passes over the same batch to agree."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dps.methods.base import Batch


def repeat_batch(batch: Batch) -> Batch:
    """The batch and the batch again: (rows, ...) becomes (2 * rows, ...)."""
    return {key: torch.cat([value, value]) for key, value in batch.items()}


def compute_disagreement(one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    """KL(p||q) + KL(q||p) of logits (n, classes), a mean over n; the squared difference for one class.

    labels: of the batch. Where an example has several, (n, labels), each is a Bernoulli variable of its own,
    and the mean is over labels too, as that of the loss is.
    """
    if labels.ndim == 2:
        one, other = one.float(), other.float()
        return ((one.sigmoid() - other.sigmoid()) * (one - other)).mean()
    if one.shape[-1] == 1:
        return functional.mse_loss(one, other)
    p, q = (functional.log_softmax(logits.float(), dim=-1) for logits in (one, other))
    return functional.kl_div(p, q, reduction="batchmean", log_target=True) + functional.kl_div(
        q, p, reduction="batchmean", log_target=True
    )


def compute_task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """What transformers' classification heads compute: cross entropy, squared error of a float label, or
    binary cross entropy of several labels, (n, labels)."""
    if labels.ndim == 2:
        return functional.binary_cross_entropy_with_logits(logits, labels)
    if labels.is_floating_point():
        return functional.mse_loss(logits.squeeze(-1), labels)
    return functional.cross_entropy(logits, labels)
