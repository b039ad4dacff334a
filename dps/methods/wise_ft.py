"""WiSE-FT: an interpolation of the pre-trained and the fine-tuned weights is scored and saved.

    scored and saved: (1 - a) * W0 + a * W;  W0 the pre-trained weights, W the trained ones

The head has no pre-trained value and keeps the trained one. Training itself is vanilla fine-tuning. At its
end a is chosen from 0, 0.1, ..., 1: the best on the held-out slice, of equal ones the nearest to 0.5. Before
that, and without a held-out slice, a is 0.5. With patience each evaluation chooses. Fresh seeds of a search
use the median of the values that its runs of the same configuration chose.

Source: Wortsman et al., "Robust Fine-tuning of Zero-shot Models", CVPR 2022 (arXiv 2109.01903).
Values to try: alpha 0.5 to 0.9, instead of the choice. Costs: a copy of the pre-trained weights, another
while they are scored, and 11 evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from dps.attachment import Attachment, Method, MethodCost
from dps.attachment.weights import exchange_weights
from dps.depth import require_known_head
from dps.distributed import split_like
from dps.lazy import torch, without_gradients
from dps.ranges import Rule, hyper_parameter, is_number

OFFERED_ALPHAS = tuple(tenths / 10 for tenths in range(11))
USUAL_ALPHA = 0.5
ALPHA = Rule("in [0, 1] or None", lambda value: value is None or (is_number(value) and 0 <= value <= 1))


@dataclass(frozen=True)
class WiSEFT(Method):
    """WiSE-FT. alpha: a, in [0, 1]; None: chosen on the held-out slice."""

    name: ClassVar[str] = "wise-ft"
    takes_shards: ClassVar[bool] = True
    needs_pretrained: ClassVar[bool] = True
    chooses_alpha: ClassVar[bool] = True
    alpha: float | None = hyper_parameter(None, ALPHA)

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4, evaluations=len(OFFERED_ALPHAS) if self.alpha is None else 0)


class WiSEFTAttachment(Attachment, method_class=WiSEFT):
    """Attachment of WiSE-FT."""

    method: WiSEFT

    def set_up(self) -> None:
        head = require_known_head(self.model, self.method.name)
        self.parameters = {name: p for name, p in self.trained_parameters() if name not in head}
        self.pretrained = {name: p.detach().clone() for name, p in self.parameters.items()}
        is_chosen = self.method.alpha is None
        self.offered_alphas = OFFERED_ALPHAS if is_chosen else ()
        self.alpha = USUAL_ALPHA if is_chosen else self.method.alpha

    @without_gradients
    def take_evaluated(self) -> Callable[[], None]:
        values = [torch.lerp(self.pretrained[n], p, self.alpha or 0.0) for n, p in self.parameters.items()]
        return exchange_weights([*self.parameters.values()], values)

    def state(self) -> dict[str, Any]:
        return {"pretrained": self.pretrained}

    def load(self, state: dict[str, Any]) -> None:
        for name, pretrained in self.pretrained.items():
            pretrained.copy_(split_like(state["pretrained"][name], pretrained))
