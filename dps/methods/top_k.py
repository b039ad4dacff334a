"""Top-K tuning: only the top K transformer blocks, and what lies above them, are trained.

    frozen: every parameter of depth d < L - K + 1; d is 0 for embeddings, 1 to L for the blocks from
    bottom to top, L + 1 for pooler and head

Source: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019 (arXiv 1902.00751), where
it is the baseline. Values to try: K 3, 6, 12. Costs: nothing; there is no backward pass below the K blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Attachment, Method
from dps.coverage import unwrap_model
from dps.depth import require_parameter_depths
from dps.ranges import NON_NEGATIVE, Choice, Domain, hyper_parameter


@dataclass(frozen=True)
class TopK(Method):
    """Top-K tuning. layers: K, at least 0; above the number of blocks, the embeddings are trained too."""

    name: ClassVar[str] = "top-k"
    takes_split_weights: ClassVar[bool] = True
    goes_by_depth: ClassVar[bool] = True
    layers: int = hyper_parameter(3, NON_NEGATIVE)

    @classmethod
    def search_space(cls, max_steps: int, layers: int) -> dict[str, Domain]:
        fitting = tuple(k for k in (3, 6, 12) if not layers or k <= layers)
        return {"layers": Choice(fitting or (layers,))}


class TopKAttachment(Attachment, method_class=TopK):
    """Attachment of Top-K. Frozen parameters get no gradient, unless DDP waits for one."""

    method: TopK

    def set_up(self) -> None:
        self.depths, self.count = require_parameter_depths(self.model, self.method.name)

    def start(self) -> None:
        lowest = self.count - self.method.layers + 1
        low = [p for name, p in self.trained_parameters() if self.depths[name] < lowest]
        self.frozen = [parameter for parameter in low if parameter.requires_grad]
        if self.model is unwrap_model(self.model):
            for parameter in self.frozen:
                parameter.requires_grad_(False)

    def before_step(self) -> None:
        for parameter in self.frozen:
            parameter.grad = None

    def detach(self) -> None:
        super().detach()
        for parameter in self.frozen:
            parameter.requires_grad_(True)
