"""Ordinary fine-tuning: AdamW over all weights. The control beside every other method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.optim import Optimizer

from dps.methods.base import Attachment, Method


@dataclass(frozen=True)
class Vanilla(Method):
    """All weights are updated at every step.

    dropout_ratio: dropout probability in [0, 1). 0.1 is the usual control; 0 is the fair one
    beside DPS, which trains without dropout.
    """

    name: ClassVar[str] = "vanilla"
    dropout_ratio: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.dropout_ratio < 1:
            raise ValueError(f"dropout_ratio must be in [0, 1), but got {self.dropout_ratio}")

    def dropout(self, max_steps: int) -> float:
        return self.dropout_ratio

    def attach(
        self, model: nn.Module, optimizer: Optimizer, max_steps: int, max_grad_norm: float | None = None
    ) -> Optimizer:
        Attachment(self, optimizer, max_grad_norm)
        return optimizer
