"""What a method costs beyond vanilla fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass


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

    def passes(self, steps: int, steps_per_epoch: int) -> float:
        """Return the forward-backward passes over a batch that a run of `steps` steps takes."""
        return steps * (1 + self.extra_passes) + self.calibration_epochs * steps_per_epoch
