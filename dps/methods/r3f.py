"""R3F: the loss penalises predictions that change under noise on the embeddings.

    CE + weight * (KL(p||q) + KL(q||p)),  p = f(x), q = f(x + z), z ~ N(0, sigma²); CE of p

KL is a mean over examples, and over labels in multi-label tasks; regression has the mean squared difference
in its place. Both passes go through the model as one batch of twice the size, under different dropout masks.

Source: Aghajanyan et al., "Better Fine-Tuning by Reducing Representational Collapse", ICLR 2021
(arXiv 2008.03156), whose lambda is `weight` here.
Values to try: weight 0.1, 0.5, 1.0 with sigma 1e-5. Costs: one more forward-backward pass a step, and its
activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from dps.attachment import Batch, Method, MethodCost
from dps.attachment.losses import (
    OwnLossAttachment,
    compute_disagreement,
    get_task_loss,
    note_own_loss,
    repeat_batch,
)
from dps.coverage import get_model_family, unwrap_model
from dps.lazy import nn, torch
from dps.ranges import NON_NEGATIVE, Choice, hyper_parameter

if TYPE_CHECKING:
    from torch import Tensor

LENGTH_FIRST_FAMILIES = ("xlnet",)  # families whose embeddings are (length, rows, hidden)
_noised = [0]  # forward passes of embeddings with noise in this process


@dataclass(frozen=True)
class R3F(Method):
    """R3F.

    weight: factor of the disagreement, at least 0.
    sigma: standard deviation of the noise, at least 0.
    """

    name: ClassVar[str] = "r3f"
    takes_split_weights: ClassVar[bool] = True
    weight: float = hyper_parameter(0.5, NON_NEGATIVE, Choice((0.1, 0.5, 1.0)))
    sigma: float = hyper_parameter(1e-5, NON_NEGATIVE)

    @property
    def has_own_loss(self) -> bool:
        return self.weight > 0

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_passes=1 if self.weight else 0)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if not self.weight:
            return super().loss(model, batch)
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        rows = 1 if get_model_family(model) in LENGTH_FIRST_FAMILIES else 0
        note_own_loss(model)
        before = _noised[0]
        hook = get_token_embeddings(model).register_forward_hook(partial(self._add_noise, rows))
        try:
            logits = model(**repeat_batch(inputs)).logits
        finally:
            hook.remove()
        if _noised[0] == before:
            raise ValueError(
                "r3f: the forward pass left the noise on the embeddings out, as torch.compile compiled it "
                "without; take a model that was not compiled"
            )
        clean, noisy = logits.chunk(2)
        loss = get_task_loss(model).compute(clean, batch["labels"])
        return loss + self.weight * compute_disagreement(clean, noisy, batch["labels"])

    def _add_noise(self, rows: int, module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
        """Add noise to the second half of the batch, along axis `rows`."""
        _noised[0] += 1
        clean, copied = embedded.chunk(2, dim=rows)
        return torch.cat([clean, copied + self.sigma * torch.randn_like(copied)], dim=rows)


class R3FAttachment(OwnLossAttachment, method_class=R3F):
    """Attachment of R3F, which checks that the model has token embeddings."""

    def set_up(self) -> None:
        get_token_embeddings(self.model)


def get_token_embeddings(model: nn.Module) -> nn.Module:
    """Return the token embeddings. Raises ValueError for a model without `get_input_embeddings`."""
    find = getattr(unwrap_model(model), "get_input_embeddings", None)
    embeddings = find() if find is not None else None
    if not isinstance(embeddings, nn.Module):
        raise ValueError(
            f"r3f needs token embeddings, but {type(model).__name__} has no get_input_embeddings()"
        )
    return embeddings
