"""Re-init: the top N blocks, and what lies above them in the encoder, are re-initialised.

    W of depth d > L - N is initialised by the model's own rule; d is 1 to L for the blocks from bottom to
    top, L + 1 for a pooler or a final normalisation

Source: Zhang et al., "Revisiting Few-sample BERT Fine-tuning", ICLR 2021 (arXiv 2006.05987).
Values to try: N 1 to 5. Costs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Attachment, Method
from dps.attachment.draws import SharedSeed
from dps.attachment.guards import may_change_weights
from dps.coverage import unwrap_model
from dps.depth import find_encoders, get_head_parameters, require_parameter_depths
from dps.lazy import torch
from dps.models import initialise_module
from dps.ranges import NON_NEGATIVE, Choice, Domain, hyper_parameter


@dataclass(frozen=True)
class ReInit(Method):
    """Re-init. layers: N, from 0 (everything stays pre-trained) to the number of the model's blocks."""

    name: ClassVar[str] = "re-init"
    goes_by_depth: ClassVar[bool] = True
    layers: int = hyper_parameter(1, NON_NEGATIVE)

    @classmethod
    def search_space(cls, max_steps: int, layers: int) -> dict[str, Domain]:
        max_layers = min(5, layers - 1) if layers else 5
        return {"layers": Choice(tuple(range(1, max(1, max_layers) + 1)))}


class ReInitAttachment(Attachment, method_class=ReInit):
    """Attachment of Re-init, which acts at the start only."""

    method: ReInit

    def set_up(self) -> None:
        layers = self.method.layers
        self.depths, self.count = require_parameter_depths(self.model, self.method.name)
        if layers > self.count:
            raise ValueError(f"layers must be at most the model's {self.count} blocks, but got {layers}")

    def start(self) -> None:
        model, lowest = unwrap_model(self.model), self.count - self.method.layers + 1
        head = get_head_parameters(model)
        names = {name for name, depth in self.depths.items() if depth >= lowest and name not in head}
        chosen = [parameter for name, parameter in model.named_parameters() if name in names]
        if not self.method.layers or not may_change_weights(self.method.name, chosen):
            return
        encoder, chosen_ids = find_encoders(model)[0], {id(parameter) for parameter in chosen}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SharedSeed().value)
            # Children first, as transformers does: an attention may have a rule for its layers.
            for module in reversed(list(model.modules())):
                parameters = [id(parameter) for parameter in module.parameters()]
                if parameters and chosen_ids.issuperset(parameters):
                    initialise_module(encoder, module)
