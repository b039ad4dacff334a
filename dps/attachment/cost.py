"""What a method costs beyond vanilla fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from statistics import fmean


@dataclass(frozen=True)
class MethodCost:
    """Cost of a method beyond vanilla fine-tuning.

    extra_passes: forward-backward passes of a step beyond the first.
    calibration_epochs: passes over the training set before the first step.
    evaluations: those that choose the weights that are scored, at the end, or at each one with patience.
    extra_bytes: upper bound of the memory kept for each trained weight.
    """

    extra_passes: float = 0.0
    calibration_epochs: float = 0.0
    evaluations: float = 0.0
    extra_bytes: float = 0.0

    @classmethod
    def average(cls, costs: Sequence[MethodCost]) -> MethodCost:
        """Return the mean of the costs of several methods, one at least."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: fmean(getattr(cost, name) for cost in costs) for name in names})

    def passes(self, steps: int, steps_per_epoch: int) -> float:
        """Return the forward-backward passes over a batch that a run of `steps` steps takes."""
        return steps * (1 + self.extra_passes) + self.calibration_epochs * steps_per_epoch
