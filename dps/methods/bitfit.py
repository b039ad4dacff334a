"""BitFit: the biases and the head are trained, everything else keeps its pre-trained value.

The biases are those of linear layers, of normalisation and of attention. The learning rates that are searched
are 20 times those of full fine-tuning.

Source: Ben Zaken et al., "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked
Language-models", ACL 2022 (arXiv 2106.10199). Values to try: learning rate 1e-4 to 1e-2. Costs: less
memory than vanilla, as frozen weights have neither gradient nor optimizer state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Method
from dps.attachment.freezing import FreezingAttachment
from dps.coverage import get_model_family
from dps.depth import require_known_head


@dataclass(frozen=True)
class BitFit(Method):
    """BitFit."""

    name: ClassVar[str] = "bitfit"
    takes_split_weights: ClassVar[bool] = True
    learning_rate_factor: ClassVar[float] = 20.0


class BitFitAttachment(FreezingAttachment, method_class=BitFit):
    """Attachment of BitFit."""

    def set_up(self) -> None:
        self.head = require_known_head(self.model, self.method.name)
        names = {name for name, _ in self.trained_parameters()} - self.head
        if not any(name.endswith("bias") for name in names):
            family = get_model_family(self.model)
            raise ValueError(f"bitfit needs biases, but the encoder of {family!r} has none; use lora")

    def is_trained(self, name: str) -> bool:
        return name in self.head or name.endswith("bias")
