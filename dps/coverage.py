"""Which weights of a model a method selects among.

Covered are the weights of linear layers: `torch.nn.Linear`, and transformers' `Conv1D`,
which stores its weight as (in, out). Biases, embeddings and normalisation layers are not
covered; they are always trained.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class CoveredWeight:
    """One covered weight.

    name: its name in `model.state_dict()` (without the prefix of a DDP wrapper).
    module, attribute: where the forward pass reads it.
    parameter: the trained tensor, two-dimensional.
    input_axis: the axis of the input neurons, 1 for Linear (out, in), 0 for Conv1D (in, out).
    """

    name: str
    module: nn.Module
    attribute: str
    parameter: nn.Parameter
    input_axis: int

    @property
    def in_features(self) -> int:
        """Number of input neurons."""
        return self.parameter.shape[self.input_axis]

    def by_input(self, per_input: Tensor) -> Tensor:
        """A tensor (in_features,) viewed so that it broadcasts over the weight."""
        return per_input.unsqueeze(1 - self.input_axis)


def _input_axis(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return 1
    is_conv1d = type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils"
    return 0 if is_conv1d else None


def covered_weights(model: nn.Module) -> list[CoveredWeight]:
    """The covered weights of `model` that are trained, in the order of its modules."""
    if isinstance(model, DistributedDataParallel):
        model = model.module
    found: list[CoveredWeight] = []
    for prefix, module in model.named_modules():
        axis = _input_axis(module)
        if axis is None:
            continue
        weight = module._parameters.get("weight")
        if weight is not None and weight.requires_grad:
            name = f"{prefix}.weight".lstrip(".")
            found.append(CoveredWeight(name, module, "weight", weight, axis))
    return found
