"""Top-K tuning: only the top K transformer blocks, and what lies above them, are trained.

    frozen: every parameter of depth d < L - K + 1; d is 0 for embeddings, 1 to L for the blocks from
    bottom to top, L + 1 for pooler and head

Source: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019 (arXiv 1902.00751), where
it is the baseline. Values to try: K 3, 6, 12. Costs: cheaper than vanilla, as there is no
backward pass below the K blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Method
from dps.attachment.freezing import FreezingAttachment
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


class TopKAttachment(FreezingAttachment, method_class=TopK):
    """Attachment of Top-K."""

    method: TopK

    def set_up(self) -> None:
        self.depths, self.count = require_parameter_depths(self.model, self.method.name)

    def is_trained(self, name: str) -> bool:
        return self.depths[name] > self.count - self.method.layers
