"""NoisyTune: noise is added to the pre-trained weights before fine-tuning.

    W + U(-noise/2, noise/2) * std(W), once, for each parameter tensor of the encoder

Source: Wu et al., "NoisyTune: A Little Noise Can Help You Finetune Pretrained Language Models Better",
ACL 2022 (arXiv 2202.12024). Values to try: noise 0.1, 0.15, 0.2. Costs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dps.attachment import Attachment, Method
from dps.attachment.draws import SharedSeed, make_generator
from dps.attachment.guards import may_change_weights
from dps.depth import require_known_head
from dps.lazy import torch, without_gradients
from dps.ranges import NON_NEGATIVE, Choice, hyper_parameter


@dataclass(frozen=True)
class NoisyTune(Method):
    """NoisyTune. noise: the paper's lambda, at least 0."""

    name: ClassVar[str] = "noisytune"
    noise: float = hyper_parameter(0.15, NON_NEGATIVE, Choice((0.1, 0.15, 0.2)))


class NoisyTuneAttachment(Attachment, method_class=NoisyTune):
    """Attachment of NoisyTune, which acts at the start only."""

    method: NoisyTune

    def set_up(self) -> None:
        self.head = require_known_head(self.model, self.method.name)

    @without_gradients
    def start(self) -> None:
        seed = SharedSeed().value
        encoder = [p for name, p in self.trained_parameters() if name not in self.head]
        if not self.method.noise or not may_change_weights(self.method.name, encoder):
            return
        for number, (name, parameter) in enumerate(self.trained_parameters()):
            if name in self.head or parameter.numel() < 2:
                continue
            random = make_generator(seed, number, parameter.device)
            uniform = torch.rand(parameter.shape, generator=random, device=parameter.device) - 0.5
            parameter.add_(uniform.to(parameter.dtype) * parameter.std(), alpha=self.method.noise)
