"""SWA: the mean of the weights over the last steps of a run is scored and saved.

    A <- A + (W - A) / k  after the k-th of the last a T steps of T;  scored and saved: A, before those W

Training itself is vanilla fine-tuning. Published SWA holds the learning rate high while it averages, and
averages once an epoch; here the rate follows the schedule of the run, and every step counts: runs are short.

Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018 (arXiv
1803.05407); of the latest weights under the usual schedule: Kaddour, arXiv 2209.14981. Values to try:
averaged_share 0.1 to 0.5. Costs: a copy of the weights, and another while they are scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Method, MethodCost
from dps.methods.averages import AveragingAttachment
from dps.ranges import PROBABILITY, Range, hyper_parameter


@dataclass(frozen=True)
class SWA(Method):
    """SWA. averaged_share: a, the share of the steps that the mean is over, in [0, 1)."""

    name: ClassVar[str] = "swa"
    takes_shards: ClassVar[bool] = True
    counts_steps: ClassVar[bool] = True
    plans_length: ClassVar[bool] = True
    averaged_share: float = hyper_parameter(0.25, PROBABILITY, Range(0.1, 0.5))

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4)


class SWAAttachment(AveragingAttachment, method_class=SWA):
    """Attachment of SWA."""

    method: SWA

    def count_averaged(self) -> int:
        """Return k, how many steps are in the mean."""
        return max(0, self.steps - (self.max_steps - round(self.method.averaged_share * self.max_steps)))

    def find_share(self) -> float:
        return 1 / averaged if (averaged := self.count_averaged()) else 0.0

    def find_weight(self) -> float:
        return float(self.count_averaged() > 0)
