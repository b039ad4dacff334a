"""Losses of methods that make two passes over a batch agree."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dps.attachment.base import Attachment, attachment_of
from dps.attachment.method import Batch


class OwnLossAttachment(Attachment):
    """Attachment of a method whose loss is its own.

    had_loss: whether the method's loss was computed since the last step.
    """

    had_loss = False

    def before_step(self) -> None:
        gradients = (parameter.grad for _, parameter in self.trained_parameters())
        if self.method.has_own_loss and not self.had_loss and any(g is not None for g in gradients):
            raise ValueError(
                f"{self.method.name} has a loss of its own, but the gradients are those of another; call "
                f"attachment_of(optimizer).backward(model, batch) in place of loss.backward(), or take "
                f"method.loss(model, batch) for the loss"
            )

    def after_step(self) -> None:
        self.had_loss = False


def note_own_loss(model: nn.Module) -> None:
    """Note that the attached method's loss of this model was computed."""
    if isinstance(attachment := attachment_of(model), OwnLossAttachment):
        attachment.had_loss = True


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
