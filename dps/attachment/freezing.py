"""Methods that train a part of the model."""

from __future__ import annotations

from abc import abstractmethod

from dps.attachment.base import Attachment
from dps.coverage import unwrap_model
from dps.lazy import nn


class FreezingAttachment(Attachment):
    """Attachment of a method that leaves parameters as they are, for the whole run.

    Frozen parameters get no gradient, unless DDP waits for one.
    """

    @abstractmethod
    def is_trained(self, name: str) -> bool:
        """Return whether the method trains the parameter of this name."""

    def start(self) -> None:
        left = [p for name, p in self.trained_parameters() if not self.is_trained(name)]
        self.frozen: list[nn.Parameter] = [parameter for parameter in left if parameter.requires_grad]
        if self.model is unwrap_model(self.model):
            for parameter in self.frozen:
                parameter.requires_grad_(False)

    def before_step(self) -> None:
        for parameter in self.frozen:
            parameter.grad = None

    def detach(self) -> None:
        super().detach()
        for parameter in self.frozen:
            parameter.requires_grad_(True)
