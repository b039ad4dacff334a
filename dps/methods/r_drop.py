"""R-Drop: the loss penalises disagreement of two passes over a batch under different dropout masks.

    CE + alpha * (KL(p||q) + KL(q||p)) / 2,  p, q: predictions of the two passes; CE: mean of both

KL is a mean over examples, and over labels in multi-label tasks; regression has the mean squared difference
in its place. Both passes go through the model as one batch of twice the size.

The paper's equation adds the cross entropies of both passes, where CE is their mean: its alpha is twice this
one. The released code for GLUE sums KL over the batch: its alpha of 0.1 to 1 at a batch size of 16 is 1.6 to
16 here. The search covers both.

Source: Liang et al., "R-Drop: Regularized Dropout for Neural Networks", NeurIPS 2021 (arXiv 2106.14448).
Values to try: alpha 0.05 to 16. Costs: one more forward-backward pass a step, and its activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from dps.attachment import Batch, Method, MethodCost
from dps.attachment.losses import OwnLossAttachment, compute_disagreement, note_own_loss, repeat_batch
from dps.lazy import nn
from dps.ranges import NON_NEGATIVE, Range, hyper_parameter

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RDrop(Method):
    """R-Drop. alpha: weight of the disagreement, at least 0."""

    name: ClassVar[str] = "r-drop"
    takes_split_weights: ClassVar[bool] = True
    alpha: float = hyper_parameter(0.5, NON_NEGATIVE, Range(0.05, 16.0, log=True))

    @property
    def has_own_loss(self) -> bool:
        return self.alpha > 0

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_passes=1 if self.alpha else 0)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if not self.alpha:
            return super().loss(model, batch)
        note_own_loss(model)
        output = model(**repeat_batch(batch))
        first, second = output.logits.chunk(2)
        disagreement = compute_disagreement(first, second, batch["labels"])
        return cast("Tensor", output.loss + self.alpha / 2 * disagreement)


class RDropAttachment(OwnLossAttachment, method_class=RDrop):
    """Attachment of R-Drop."""
