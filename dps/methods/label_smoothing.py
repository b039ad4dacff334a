"""Label smoothing: the targets are mixed with the uniform distribution.

    CE of (1 - s) * y + s / k,  y: the label as a distribution over k classes

In multi-label tasks each label is a distribution over two values. A regression has no classes, and is
refused. It is a method of its own, so that comparisons can measure its effect.

Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (arXiv
1512.00567). Values to try: smoothing 0.05, 0.1, 0.2. Costs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dps.attachment import Batch, Method
from dps.attachment.losses import OwnLossAttachment, get_task_loss, note_own_loss
from dps.lazy import nn
from dps.ranges import PROBABILITY, Choice, hyper_parameter

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LabelSmoothing(Method):
    """Label smoothing. smoothing: s, in [0, 1)."""

    name: ClassVar[str] = "label-smoothing"
    takes_split_weights: ClassVar[bool] = True
    needs_classes: ClassVar[bool] = True
    smooths_labels: ClassVar[bool] = True
    smoothing: float = hyper_parameter(0.1, PROBABILITY, Choice((0.05, 0.1, 0.2)))

    @property
    def has_own_loss(self) -> bool:
        return self.smoothing > 0

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if not self.smoothing:
            return super().loss(model, batch)
        note_own_loss(model)
        labels = batch["labels"]
        logits = model(**{key: value for key, value in batch.items() if key != "labels"}).logits
        if labels.ndim == 1 and labels.is_floating_point():
            raise ValueError("label-smoothing needs classes, but the labels are numbers; use another method")
        return get_task_loss(model).compute(logits, labels, self.smoothing)


class LabelSmoothingAttachment(OwnLossAttachment, method_class=LabelSmoothing):
    """Attachment of label smoothing."""
