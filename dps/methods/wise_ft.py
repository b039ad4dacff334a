"""WiSE-FT: weights between the pre-trained and the fine-tuned ones are scored and saved.

    scored and saved: (1 - a) * W0 + a * W;  W0 the pre-trained weights, W the trained ones

The head has no pre-trained value, and stays as it is trained. Training itself is vanilla fine-tuning.

Source: Wortsman et al., "Robust Fine-tuning of Zero-shot Models", CVPR 2022 (arXiv 2109.01903).
Values to try: alpha 0.5 to 0.9. Costs: a copy of the pre-trained weights, and another while they are scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from dps.attachment import Attachment, Method, MethodCost
from dps.attachment.weights import exchange_weights
from dps.depth import require_known_head
from dps.lazy import torch, without_gradients
from dps.ranges import SHARE, Range, hyper_parameter


@dataclass(frozen=True)
class WiSEFT(Method):
    """WiSE-FT. alpha: a, in (0, 1]."""

    name: ClassVar[str] = "wise-ft"
    needs_pretrained: ClassVar[bool] = True
    alpha: float = hyper_parameter(0.5, SHARE, Range(0.5, 0.9))

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4)


class WiSEFTAttachment(Attachment, method_class=WiSEFT):
    """Attachment of WiSE-FT."""

    method: WiSEFT

    def set_up(self) -> None:
        head = require_known_head(self.model, self.method.name)
        self.parameters = {name: p for name, p in self.trained_parameters() if name not in head}
        self.pretrained = {name: p.detach().clone() for name, p in self.parameters.items()}

    @without_gradients
    def take_evaluated(self) -> Callable[[], None]:
        values = [torch.lerp(self.pretrained[n], p, self.method.alpha) for n, p in self.parameters.items()]
        return exchange_weights([*self.parameters.values()], values)

    def state(self) -> dict[str, Any]:
        return {"pretrained": self.pretrained}

    def load(self, state: dict[str, Any]) -> None:
        for name, pretrained in self.pretrained.items():
            pretrained.copy_(state["pretrained"][name])
