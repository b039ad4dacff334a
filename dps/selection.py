"""Mathematics of Dynamic Parameter Selection: when a stage begins, which weights it updates.

Pure functions, tensors in and tensors out; state lives in `dps.methods`.

Source: Zhang et al., "Fine-Tuning Pre-Trained Language Models Effectively by
Optimizing Subnetworks Adaptively", NeurIPS 2022 (arXiv 2211.01642). The paper's
p is the share of weights left out; `selection_ratio` is 1 - p, the share updated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dps.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

MIN_PENALISED_INTERVAL = 50  # intervals shorter than this do not penalise frequency


@dataclass(frozen=True)
class StageSchedule:
    """Schedule of the two stages, which alternate every `interval` steps.

    max_steps: optimizer steps of the whole run, >= 1.
    update_ratio: interval as a share of max_steps, in (0, 1].

    Raises ValueError if a value is outside its range or the interval is below one step.
    """

    max_steps: int
    update_ratio: float

    def __post_init__(self) -> None:
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, but got {self.max_steps}")
        if not 0 < self.update_ratio <= 1:
            raise ValueError(f"update_ratio must be in (0, 1], but got {self.update_ratio}")
        if self.interval < 1:
            raise ValueError(
                f"max_steps * update_ratio must be at least 1, but got {self.max_steps} * "
                f"{self.update_ratio} = {self.max_steps * self.update_ratio:g}; "
                f"use an update_ratio of at least {math.ceil(1e6 / self.max_steps) / 1e6:g}"
            )

    @property
    def interval(self) -> int:
        """Steps of one stage: U = int(max_steps * update_ratio)."""
        return int(self.max_steps * self.update_ratio)

    def stage(self, step: int) -> int:
        """Return the stage of `step` (from 1): 1 while ceil(step/U) is odd, else 2."""
        return 1 if math.ceil(step / self.interval) % 2 else 2

    def starts_stage(self, step: int) -> bool:
        """Return whether `step` (from 1) is the first of its stage."""
        return (step - 1) % self.interval == 0


def accumulate_gam(gams: list[Tensor], grads: list[Tensor]) -> None:
    """Add the squared gradients to the accumulation matrices in place: GAM += gradient².

    gams, grads: one tensor a weight, of its shape. DPS Mix passes gradients already multiplied by n.
    """
    torch._foreach_addcmul_(gams, grads, grads)


def accumulate_fam(fam: Tensor, active: Tensor) -> Tensor:
    """Count the draws of each input neuron in place: FAM += n. fam, active: (in_features,)."""
    return fam.add_(active)


def compute_mix_score(gam: Tensor, fam: Tensor, interval: int) -> Tensor:
    """Return the score of DPS Mix: GAM / max(FAM, 1), times exp(-FAM / U) if U >= 50.

    gam: of the weight's shape, which the score has too. fam: broadcastable to it. interval: U, in steps.
    """
    score = gam / fam.clamp(min=1)
    return score * torch.exp(-fam / interval) if interval >= MIN_PENALISED_INTERVAL else score


def select_mask(score: Tensor, selection_ratio: float) -> Tensor:
    """Return the mask M: True where the score reaches that of rank ceil(numel * selection_ratio), ties kept.

    score: any shape, finite; M is a bool tensor of the same shape.
    selection_ratio: share of the tensor to update, in (0, 1].

    Raises ValueError for a ratio outside (0, 1].
    """
    if not 0 < selection_ratio <= 1:
        raise ValueError(f"selection_ratio must be in (0, 1], but got {selection_ratio}")
    rank = max(1, math.ceil(round(score.numel() * selection_ratio, 6)))  # 10 * (1 - 0.7) is rank 3, not 4
    return score >= _find_ranked_value(score.detach().flatten(), rank)


def _find_ranked_value(values: Tensor, rank: int) -> Tensor:
    """Return the `rank`-th highest of `values` (n,), exactly and without a full sort."""
    below = values.numel() - rank
    if values.is_cuda:  # 30 to 100 times faster there than kthvalue
        return values.topk(below + 1, largest=False, sorted=False).values.max()
    if values.is_cpu and values.dtype in (torch.float32, torch.float64):  # 25 times faster than kthvalue
        return values.new_tensor(np.partition(values.numpy(), below)[below])
    return values.kthvalue(below + 1).values


def compute_mixed_weight(weight: Tensor, anchor: Tensor, active: Tensor, selection_ratio: float) -> Tensor:
    """Return the weight that the forward pass of DPS Mix reads: ((1-m)*A + m*W - p*A) / (1-p).

    This equals A + m/(1-p) * (W-A); p is 1 - selection_ratio.

    weight: W.
    anchor: A, of the same shape: in Stage I the pre-trained weight, in Stage II that at the stage's start.
    active: m, bool, broadcastable: n in Stage I, M in Stage II.
    """
    return torch.lerp(anchor, weight, active * torch.tensor(1 / selection_ratio, dtype=weight.dtype))
