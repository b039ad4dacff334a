"""EMA: an exponential moving average of the weights is scored and saved; training goes on from the weights.

    A <- d * A + (1 - d) * W after each step, from A = 0;  scored and saved: A / (1 - d^t) after step t

The division corrects for the start from 0. The average covers every trained parameter, the head included.

Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim.
1992; the correction: Kingma and Ba, ICLR 2015 (arXiv 1412.6980). Values to try: decay 0.99, 0.999, or 0.9 in
short runs: the average covers about 1 / (1 - d) steps, and at most a fifth of the run is searched.
Costs: a copy of the weights, and another while they are scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Method, MethodCost
from dps.methods.averages import AveragingAttachment
from dps.ranges import PROBABILITY, Choice, Domain, hyper_parameter

DECAYS = (0.9, 0.99, 0.999)
MAX_AVERAGED_SHARE = 0.2  # of the steps of a run, in the average


@dataclass(frozen=True)
class EMA(Method):
    """EMA. decay: d, in [0, 1)."""

    name: ClassVar[str] = "ema"
    takes_shards: ClassVar[bool] = True
    decay: float = hyper_parameter(0.99, PROBABILITY)

    @classmethod
    def search_space(cls, max_steps: int, layers: int) -> dict[str, Domain]:
        fitting = [decay for decay in DECAYS if round(1 / (1 - decay)) <= MAX_AVERAGED_SHARE * max_steps]
        return {"decay": Choice(tuple(fitting[-2:]) or DECAYS[:1])}

    @property
    def cost(self) -> MethodCost:
        return MethodCost(extra_bytes=4)


class EMAAttachment(AveragingAttachment, method_class=EMA):
    """Attachment of EMA."""

    method: EMA

    def find_share(self) -> float:
        return 1 - self.method.decay

    def find_weight(self) -> float:
        return 1 - self.method.decay**self.steps
