"""Covered weights of a model: those that a method selects among.

Covered are the weights of linear layers: `torch.nn.Linear` and what derives from it, transformers'
`Conv1D`, which stores its weight as (in, out), and the raw parameters with which XLNet's attention
multiplies. Biases, embeddings and normalisation layers are not covered; they are always trained.
So are a weight that an embedding also reads, the linear layer with which ELECTRA and DeBERTa widen
small embeddings (it belongs to them), DeBERTa's convolution, and raw parameters that no table here
names (the in_proj_weight of `torch.nn.MultiheadAttention`, experts in one tensor).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dps.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor


from dps.wording import format_share

# Families whose coverage and depths tests/unit/test_families.py writes out, by `config.model_type`.
TESTED_FAMILIES = (
    "bert", "deberta", "deberta-v2", "electra", "gpt2", "llama", "modernbert", "roberta", "xlnet",
)  # fmt: skip

# Below this share of the trained parameters outside the embeddings, what is covered says little of the model.
MIN_COVERED_SHARE = 0.1

# Classes of transformers that multiply by parameters of their own: attribute -> axes of the input neurons.
RAW_WEIGHTS: dict[str, dict[str, tuple[int, ...]]] = {
    "Conv1D": {"weight": (0,)},
    # all are (d_model, n_head, d_head); q, k, v and r enter as "ibh,hnd->ibnd", o as "ibnd,hnd->ibh"
    "XLNetRelativeAttention": {"q": (0,), "k": (0,), "v": (0,), "o": (1, 2), "r": (0,)},
}

# Linear layers that belong to the embeddings: class of transformers -> attribute.
EMBEDDING_PROJECTIONS = {
    "DebertaEmbeddings": "embed_proj",
    "DebertaV2Embeddings": "embed_proj",
    "ElectraModel": "embeddings_project",
}


@dataclass(frozen=True)
class CoveredWeight:
    """One covered weight.

    name: name in `model.state_dict()` without the prefix of a DDP wrapper; the first name of a tied weight.
    readers: (module, attribute) of every place where a forward pass reads it; several for a tied weight.
    parameter: the trained tensor.
    input_axes: axes of the input neurons: (1,) for Linear (out, in), (0,) for Conv1D (in, out).
    """

    name: str
    readers: tuple[tuple[nn.Module, str], ...]
    parameter: nn.Parameter
    input_axes: tuple[int, ...]

    @property
    def in_features(self) -> int:
        """Number of input neurons."""
        return self._broadcast_shape.numel()

    @property
    def _broadcast_shape(self) -> torch.Size:
        """Shape of the weight, with 1 for every axis that is not one of input neurons."""
        return torch.Size(n if axis in self.input_axes else 1 for axis, n in enumerate(self.parameter.shape))

    def broadcast_inputs(self, per_input: Tensor) -> Tensor:
        """Return a view of a tensor (in_features,) that broadcasts over the weight."""
        return per_input.view(self._broadcast_shape)


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside DistributedDataParallel, DataParallel or torch.compile, or `model` itself."""
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif isinstance(compiled := getattr(model, "_orig_mod", None), nn.Module):
            model = compiled
        else:
            return model


def get_transformers_classes(module: nn.Module) -> set[str]:
    """Return the names of the transformers classes that `module` is an instance of."""
    return {kind.__name__ for kind in type(module).__mro__ if kind.__module__.startswith("transformers.")}


def find_covered_weights(model: nn.Module, frozen: bool = False) -> list[CoveredWeight]:
    """Return the covered weights of `model` that require a gradient, in module order, each once.

    frozen: return those that require none instead.
    """
    model = unwrap_model(model)
    embeddings = _find_embedding_ids(model)
    covered: dict[int, CoveredWeight] = {}
    for prefix, module in model.named_modules():
        for attribute, axes in _find_linear_weights(module).items():
            weight = module._parameters.get(attribute)
            if weight is None or weight.requires_grad is frozen or id(weight) in embeddings:
                continue
            name, reader = f"{prefix}.{attribute}".lstrip("."), (module, attribute)
            if (tied := covered.get(id(weight))) is not None:
                covered[id(weight)] = replace(tied, readers=(*tied.readers, reader))
            else:
                covered[id(weight)] = CoveredWeight(name, (reader,), weight, axes)
    return list(covered.values())


def get_model_family(model: nn.Module) -> str:
    """Return `config.model_type` of a transformers model, the class name of any other."""
    model = unwrap_model(model)
    model_type = getattr(getattr(model, "config", None), "model_type", None)
    return model_type if isinstance(model_type, str) and model_type else type(model).__name__


def measure_coverage(model: nn.Module, covered: list[CoveredWeight]) -> float:
    """Return the share of the covered weights among the trained parameters outside the embeddings."""
    model = unwrap_model(model)
    embeddings = _find_embedding_ids(model)
    others = sum(p.numel() for p in model.parameters() if p.requires_grad and id(p) not in embeddings)
    return sum(weight.parameter.numel() for weight in covered) / max(1, others)


def describe_coverage(model: nn.Module, covered: list[CoveredWeight]) -> str:
    """Describe the covered weights in one line: family, number, share of the model's parameters.

    Says so if they are less than MIN_COVERED_SHARE of those outside the embeddings.
    """
    name = get_model_family(model)
    weights = f"{len(covered)} linear weight{'' if len(covered) == 1 else 's'}"
    share = f"{_format_count(w.parameter for w in covered)} of {_format_count(model.parameters())} parameters"
    if (part := measure_coverage(model, covered)) < MIN_COVERED_SHARE:
        share += f", only {format_share(part, 1)} of those outside the embeddings"
    if name in TESTED_FAMILIES:
        return f"{name}: {weights}, {share}"
    return f"unknown family {name!r}: its {weights}, {share}"


def _find_linear_weights(module: nn.Module) -> Mapping[str, tuple[int, ...]]:
    """Return the input axes of each linear weight that the module itself holds, by attribute."""
    if isinstance(module, nn.Linear):
        return {"weight": (1,)}
    classes = get_transformers_classes(module) & RAW_WEIGHTS.keys()
    return RAW_WEIGHTS[classes.pop()] if classes else {}


def _find_embedding_ids(model: nn.Module) -> set[int]:
    """Return the ids of the parameters of embeddings and of their linear layers."""
    modules: list[object] = []
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            modules.append(module)
        for kind in get_transformers_classes(module) & EMBEDDING_PROJECTIONS.keys():
            modules.append(getattr(module, EMBEDDING_PROJECTIONS[kind], None))
    return {id(p) for module in modules if isinstance(module, nn.Module) for p in module.parameters()}


def _format_count(parameters: Iterable[Tensor]) -> str:
    total = sum(parameter.numel() for parameter in parameters)
    return f"{total / 1e6:.1f} M" if total >= 1e5 else f"{total:,}"
