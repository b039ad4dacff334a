"""Child-Tuning-F (task-free): at each step a random "child" network is updated.

    gradient * m / r,  m ~ Bernoulli(r), drawn for each weight and step

r is `reserve_p`, the share that is updated: the opposite of DPS's p. Every trained parameter is
masked, after clipping, as in the released code.

Source: Xu et al., "Raise a Child in Large Language Model: Towards Effective and Generalizable
Fine-tuning", EMNLP 2021 (arXiv 2109.05687), and its released code.
Values to try: reserve_p 0.2, 0.3, 0.4. Costs: a draw for each weight and step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dps.attachment import Attachment, Method
from dps.attachment.draws import SharedSeed, draw_bernoulli, make_generator
from dps.ranges import SHARE, Choice, hyper_parameter


@dataclass(frozen=True)
class ChildTuningF(Method):
    """Child-Tuning-F. reserve_p: share of the weights that is updated, in (0, 1]."""

    name: ClassVar[str] = "child-tuning-f"
    counts_steps: ClassVar[bool] = True
    clips_first: ClassVar[bool] = True
    reserve_p: float = hyper_parameter(0.3, SHARE, Choice((0.2, 0.3, 0.4)))


class ChildTuningFAttachment(Attachment, method_class=ChildTuningF):
    """Attachment of Child-Tuning-F."""

    method: ChildTuningF

    def set_up(self) -> None:
        self.seed = SharedSeed()

    def before_step(self) -> None:
        if self.method.reserve_p == 1:
            return
        gradients = [p.grad for _, p in self.trained_parameters() if p.grad is not None]
        if not gradients:
            return
        self.seed.agree()
        random = make_generator(self.seed.value, self.steps + 1, gradients[0].device)
        for gradient in gradients:
            gradient.mul_(draw_bernoulli(gradient, self.method.reserve_p, random)).div_(self.method.reserve_p)

    def state(self) -> dict[str, Any]:
        return {"seed": self.seed.value}

    def load(self, state: dict[str, Any]) -> None:
        self.seed.value = state["seed"]
