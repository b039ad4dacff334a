"""Depth of each parameter of a model: embeddings, transformer blocks, what comes after them.

The blocks are found by structure, not by name: the one `nn.ModuleList` of modules of one class under
`model.base_model`. In the families of `dps.coverage.TESTED_FAMILIES` every depth is tested. In any other,
what the encoder holds beside its blocks counts as embeddings where it is an `nn.Embedding` or is
registered before the blocks, and as coming after them where it is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import cast

from dps.coverage import get_model_family, get_transformers_classes, unwrap_model
from dps.lazy import nn

# Class of transformers -> attribute -> depth, where the order of the modules would mislead: the norm of
# DeBERTa's relative-position embeddings, and the convolution whose output joins that of the first block.
DEPTH_EXCEPTIONS = {"DebertaV2Encoder": {"LayerNorm": 0, "conv": 1}}


def find_transformer_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks from bottom to top; none for a model outside transformers.

    Raises ValueError for a transformers model without a stack of blocks, or with several (an encoder and a
    decoder), whose depths would be ambiguous.
    """
    encoders = find_encoders(model)
    if not encoders:
        return []
    if len(encoders) > 1:
        raise ValueError(
            f"model: {get_model_family(model)!r} must have one pre-trained encoder, but has {len(encoders)}; "
            f"use a method that needs no depths"
        )
    (encoder,) = encoders
    lists = {name: list(m) for name, m in encoder.named_modules() if isinstance(m, nn.ModuleList)}
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    stack = lists[outer[0]] if len(outer) == 1 else []
    if len({type(block) for block in stack}) != 1:
        raise ValueError(
            f"model: {get_model_family(model)!r} must have one stack of layers of one class, but has "
            f"{', '.join(outer) or 'no nn.ModuleList'}; use a method that needs no depths"
        )
    return stack


def get_parameter_depths(model: nn.Module) -> dict[str, int]:
    """Return the depth of every parameter by its name (without the prefix of a DDP wrapper).

    0: embeddings, with their projections and norms, and relative-position embeddings.
    1 to L: the L blocks from bottom to top. L + 1: final norm, pooler, classification head.
    A model outside transformers has L = 0: all its parameters lie at depth 1.

    Raises ValueError as `find_transformer_blocks` does.
    """
    model = unwrap_model(model)
    stack, encoders = find_transformer_blocks(model), find_encoders(model)
    known = _find_known_depths(encoders[0], stack) if encoders else {}
    encoder_ids = _find_ids(encoders)
    depths, below = {}, True
    for name, parameter in model.named_parameters():
        below = below and not known.get(id(parameter), 0)
        default = 0 if below and id(parameter) in encoder_ids else len(stack) + 1
        depths[name] = known.get(id(parameter), default)
    return depths


def get_head_parameters(model: nn.Module) -> set[str]:
    """Return the names of the classification head's parameters: those outside the pre-trained encoders.

    BERT's pooler is pre-trained and not part of the head; DeBERTa's is part of it. Empty for a model without
    an encoder of transformers.
    """
    model = unwrap_model(model)
    encoders = find_encoders(model)
    encoder_ids = _find_ids(encoders)
    return {n for n, p in model.named_parameters() if id(p) not in encoder_ids} if encoders else set()


def require_known_head(model: nn.Module, method: str) -> set[str]:
    """Return the names of the head's parameters, for a method that leaves the head alone.

    Warns if the model has no encoder of transformers, so that nothing tells its head.
    """
    if not find_encoders(model):
        warnings.warn(
            f"{method}: {type(unwrap_model(model)).__name__} holds no model of transformers: every weight "
            f"counts as pre-trained, that of a new head too",
            stacklevel=2,
        )
    return get_head_parameters(model)


def require_parameter_depths(
    model: nn.Module, method: str, takes_shared: bool = False
) -> tuple[dict[str, int], int]:
    """Return (depth by parameter name, number of blocks), for a method that needs blocks.

    takes_shared: whether the method works if layers share a block.

    Raises ValueError for a model without blocks, or with shared ones.
    """
    count = len(find_transformer_blocks(model))
    if not count:
        raise ValueError(
            f"{method} needs transformer blocks, but {type(unwrap_model(model)).__name__} has none"
        )
    config = getattr(find_encoders(model)[0], "config", None)
    layers = getattr(config, "num_hidden_layers", count)
    if layers > count and not takes_shared:
        raise ValueError(describe_shared_layers(method, layers, count))
    return get_parameter_depths(model), count


def describe_shared_layers(method: str, layers: int, blocks: int) -> str:
    """Describe why a method that goes by depth cannot take a model whose layers share blocks, as ALBERT's."""
    return (
        f"{method} treats layers by their depth, but the {layers} layers of this model share the weights of "
        f"{blocks}; use a method that needs no depths"
    )


def find_encoders(model: nn.Module) -> list[nn.Module]:
    """Return the encoders of the outermost transformers models in `model`: their `base_model`, which is the
    model itself where it has no head."""
    encoders: dict[int, nn.Module] = {}
    inner: set[int] = set()
    for module in unwrap_model(model).modules():
        if id(module) not in inner and "PreTrainedModel" in get_transformers_classes(module):
            encoders[id(module)] = cast(nn.Module, module.base_model)
            inner.update(id(child) for child in module.modules())
    return list(encoders.values())


def _find_known_depths(encoder: nn.Module, stack: list[nn.Module]) -> dict[int, int]:
    """Return the depths, by parameter id, of blocks, embeddings and what `DEPTH_EXCEPTIONS` names."""
    depths: dict[int, int] = {}
    for module in encoder.modules():
        if isinstance(module, nn.Embedding):
            depths.update(dict.fromkeys(_find_ids([module]), 0))
        for kind in get_transformers_classes(module) & DEPTH_EXCEPTIONS.keys():
            for attribute, depth in DEPTH_EXCEPTIONS[kind].items():
                if (child := getattr(module, attribute, None)) is not None:
                    depths.update(dict.fromkeys(_find_ids([child]), depth))
    for depth, block in enumerate(stack, start=1):
        depths.update(dict.fromkeys(_find_ids([block]), depth))
    return depths


def _find_ids(modules: Iterable[nn.Module]) -> set[int]:
    return {id(parameter) for module in modules for parameter in module.parameters()}
