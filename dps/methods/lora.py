"""LoRA, DoRA: low-rank updates of the encoder's linear layers are trained, and the head; the rest is frozen.

    W = W0 + alpha / r * B A,  A (r, in) random, B (out, r) zero at the start; W0 frozen; alpha = 2 r
    DoRA: W = m * (W0 + alpha / r * B A) / |W0 + alpha / r * B A|, the norm and m by output neuron

The model that is scored and saved is a plain one with the weights W. The learning rates that are searched are
ten times those of full fine-tuning.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022 (arXiv 2106.09685); Liu et
al., "DoRA: Weight-Decomposed Low-Rank Adaptation", ICML 2024 (arXiv 2402.09353); both from the PEFT library,
pip install 'dps-tune[peft]'. Values to try: rank 8, 16. Costs: less memory than full fine-tuning, as frozen
weights have neither gradient nor optimizer state; a copy of the linear layers while they are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dps.attachment.adapters import AdapterMethod
from dps.ranges import COUNT, Choice, hyper_parameter

ALPHA_BY_RANK = 2  # alpha / r


@dataclass(frozen=True)
class LoRA(AdapterMethod):
    """LoRA. rank: r, a whole number of at least 1."""

    name: ClassVar[str] = "lora"
    learning_rate_factor: ClassVar[float] = 10.0
    takes_shards: ClassVar[bool] = True
    decomposes: ClassVar[bool] = False
    rank: int = hyper_parameter(8, COUNT, Choice((8, 16)))

    def make_adapter_config(self, peft: Any, family: str, layers: Sequence[str]) -> Any:
        return peft.LoraConfig(
            r=self.rank,
            lora_alpha=ALPHA_BY_RANK * self.rank,
            target_modules=list(layers),
            use_dora=self.decomposes,
        )


@dataclass(frozen=True)
class DoRA(LoRA):
    """DoRA. rank: r, a whole number of at least 1."""

    name: ClassVar[str] = "dora"
    takes_shards: ClassVar[bool] = False
    decomposes: ClassVar[bool] = True
