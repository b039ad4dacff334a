"""Losses: those in place of the model's own, and those of methods that make two passes over a batch agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps.attachment.base import Attachment, attachment_of
from dps.attachment.method import Batch, Method
from dps.coverage import unwrap_model
from dps.errors import InputError
from dps.lazy import nn, torch
from dps.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

LOSSES = ("plain", "balanced", "focal")
FOCAL_GAMMA = 2.0


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
        return nn.functional.mse_loss(first, second)
    p, q = (nn.functional.log_softmax(logits.float(), dim=-1) for logits in (first, second))
    return nn.functional.kl_div(p, q, reduction="batchmean", log_target=True) + nn.functional.kl_div(
        q, p, reduction="batchmean", log_target=True
    )


def compute_task_loss(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return the loss of transformers' classification heads, a mean.

    Cross entropy; for float labels (n,) the squared error; for labels (n, labels) the binary cross entropy.

    smoothing: share of the targets that is spread over all classes, or over yes and no of each label.
    reduction: "none" for that of each example, or of each label.
    """
    if labels.ndim == 2:
        targets = (1 - smoothing) * labels + smoothing / 2
        return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction=reduction)
    if labels.is_floating_point():
        return nn.functional.mse_loss(logits.squeeze(-1), labels, reduction=reduction)
    return nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction=reduction)


@dataclass(frozen=True)
class TaskLoss:
    """Loss of logits and labels that every method trains with in place of the model's own.

    plain: the model's own, see `compute_task_loss`.
    balanced: the same, each example times w(c) = n / (k n_c) of its class c: n examples of k classes, n_c of
        c. In multi-label tasks each label by itself, between yes and no. The mean weight is 1, and a batch is
        not divided by its weights, so that parts of it and ranks add up.
    focal: (1 - p)^gamma times the loss, gamma = 2; p: probability of what is right.

    name: one of LOSSES.
    weights: of "balanced": (classes,), or (2, labels) for no and yes; else None.
    smoothing: see `compute_task_loss`; in place of a method's own.

    Source: King and Zeng, "Logistic Regression in Rare Events Data", Political Analysis 2001; Lin et al.,
    "Focal Loss for Dense Object Detection", ICCV 2017 (arXiv 1708.02002), without its alpha.
    """

    name: str = "plain"
    weights: Tensor | None = None
    smoothing: float = 0.0

    @classmethod
    def fit(cls, name: str, task: Task, labels: NDArray[Any], smoothing: float = 0.0) -> TaskLoss:
        """Return the loss of a run. labels: of its training examples, (n,) or (n, labels)."""
        if name != "balanced":
            return cls(name, smoothing=smoothing)
        if task.multi_label:
            counts = np.stack([(labels == 0).sum(axis=0), (labels > 0).sum(axis=0)])
        else:
            counts = np.bincount(labels, minlength=len(task.labels))
        return cls(name, torch.from_numpy(balance_classes(counts)).float(), smoothing)

    def compute(self, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the mean loss of a batch, see `compute_task_loss`. smoothing: 0 for that of all methods."""
        smoothing = smoothing or self.smoothing
        if self.name == "plain":
            return compute_task_loss(logits, labels, smoothing)
        losses = compute_task_loss(logits, labels, smoothing, reduction="none")
        if self.name == "focal":
            return (losses * (-torch.expm1(-losses)) ** FOCAL_GAMMA).mean()
        assert self.weights is not None
        weights = self.weights.to(losses)
        return (
            losses
            * (torch.where(labels > 0, weights[1], weights[0]) if labels.ndim == 2 else weights[labels])
        ).mean()

    def apply(self, model: nn.Module) -> Callable[[], None]:
        """Let the model return this loss wherever it returns one; return what puts its own back."""
        model = unwrap_model(model)
        handle = model.register_forward_hook(self._replace_loss, with_kwargs=True)
        model.dps_loss = self  # type: ignore[assignment]

        def remove() -> None:
            handle.remove()
            del model.dps_loss

        return remove

    def _replace_loss(self, model: nn.Module, args: Any, inputs: dict[str, Any], output: Any) -> None:
        if (self.name != "plain" or self.smoothing) and inputs.get("labels") is not None:
            output.loss = self.compute(output.logits, inputs["labels"])


def get_task_loss(model: nn.Module) -> TaskLoss:
    """Return the loss that was applied to a model; else the plain one."""
    return getattr(unwrap_model(model), "dps_loss", TaskLoss())


def balance_classes(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the weights of the balanced loss from the examples of each class: (classes,), or (2, labels).

    A class that does not occur has the weight that it would have with one example.
    """
    occurring = (counts > 0).sum(axis=0)
    return np.asarray(counts.sum(axis=0) / (occurring * np.maximum(counts, 1)))


def check_loss(
    name: str, task: Task, methods: Sequence[type[Method]] = (), label_smoothing: float = 0.0
) -> None:
    """Raise InputError for a loss that the labels of the task, or one of the methods, cannot have."""
    asked = [
        *([f"--loss: {name}"] if name != "plain" else []),
        *(["label_smoothing"] if label_smoothing else []),
    ]
    if asked and task.is_regression:
        raise InputError(f"{asked[0]} needs classes, but the labels of {task.name} are numbers; leave it out")
    smoothing = [each.name for each in methods if each.smooths_labels]
    smooths = [*(["label_smoothing"] if label_smoothing else []), *smoothing]
    if name == "focal" and smooths:
        raise InputError(
            f"--loss, --method: focal needs labels that are certain, which {smooths[0]} smooths; leave "
            f"one of them out"
        )
    if len(smooths) > 1 and label_smoothing:
        raise InputError(
            f"label_smoothing: {smoothing[0]} smooths labels by itself; leave one of them out, or search "
            f"its smoothing"
        )
