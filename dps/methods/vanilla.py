"""Vanilla fine-tuning, AdamW over all weights: the controls for every other method.

Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
NAACL 2019 (arXiv 1810.04805). Values to try: learning rate 1e-5 to 4e-5 for BERT-large; dropout 0.1 and 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import DEFAULT_DROPOUT, Method
from dps.ranges import PROBABILITY, hyper_parameter


@dataclass(frozen=True)
class Vanilla(Method):
    """Vanilla fine-tuning: every step updates all weights. dropout_ratio: dropout probability, in [0, 1)."""

    name: ClassVar[str] = "vanilla"
    takes_split_weights: ClassVar[bool] = True
    dropout_ratio: float = hyper_parameter(DEFAULT_DROPOUT, PROBABILITY)

    def dropout(self, max_steps: int) -> float:
        return self.dropout_ratio


@dataclass(frozen=True)
class VanillaNoDropout(Vanilla):
    """Vanilla without dropout: the fair control for methods that train without it, as DPS does."""

    name: ClassVar[str] = "vanilla-no-dropout"
    dropout_ratio: float = hyper_parameter(0.0, PROBABILITY)
