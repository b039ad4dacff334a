"""IA3: vectors rescale keys, values and the inner activations of the blocks; they and the head are trained.

    keys and values: l * (W0 x + b);  inner activations x: W0 (l * x) + b;  W0 and b frozen, l = 1 at first

The model that is scored and saved is a plain one with l merged into its weights. All other parameters of the
encoder are frozen. PEFT knows these layers of each family of models. The learning rates that are searched are
50 times those of full fine-tuning.

Source: Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning",
NeurIPS 2022 (arXiv 2205.05638); from the PEFT library, pip install 'dps-tune[peft]'. Values to try: learning
rate 3e-3. Costs: less memory than full fine-tuning; a copy of those layers while they are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dps.attachment.adapters import AdapterMethod


@dataclass(frozen=True)
class IA3(AdapterMethod):
    """IA3."""

    name: ClassVar[str] = "ia3"
    learning_rate_factor: ClassVar[float] = 50.0

    def make_adapter_config(self, peft: Any, family: str, layers: Sequence[str]) -> Any:
        constants = peft.utils.constants
        known = constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
        if family not in known:
            raise ValueError(f"ia3: PEFT names no layers for the family {family!r}; use lora")
        inner = constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING[family]
        return peft.IA3Config(
            target_modules=_find_ending(layers, known[family]),
            feedforward_modules=_find_ending(layers, inner),
        )


def _find_ending(layers: Sequence[str], endings: Sequence[str]) -> list[str]:
    return [layer for layer in layers if any(layer.endswith(f".{ending}") for ending in endings)]
