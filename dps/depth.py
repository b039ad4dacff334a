"""Depth of each parameter of a model: embeddings, transformer blocks, what comes after them.

The blocks are found by structure, not by name: the one `nn.ModuleList` of modules of one class under
`model.base_model`. In the families of `dps.coverage.TESTED_FAMILIES` every depth is tested. In any other,
what the encoder holds beside its blocks counts as embeddings where it is an `nn.Embedding` or is
registered before the blocks, and as coming after them where it is not.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from dps.coverage import get_model_family, get_transformers_classes, unwrap_model

# Class of transformers -> attribute -> depth, where the order of the modules would mislead: the norm of
# DeBERTa's relative-position embeddings, and the convolution whose output joins that of the first block.
DEPTH_EXCEPTIONS = {"DebertaV2Encoder": {"LayerNorm": 0, "conv": 1}}


def find_transformer_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks from bottom to top; none for a model outside transformers.

    Raises ValueError for a transformers model without a stack of blocks, or with several (an encoder and a
    decoder), whose depths would be ambiguous.
    """
    encoder = _encoder(unwrap_model(model))
    if encoder is None:
        return []
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
    stack, encoder = find_transformer_blocks(model), _encoder(model)
    known = {} if encoder is None else _find_known_depths(encoder, stack)
    encoder_ids = _ids(encoder)
    depths, below = {}, True
    for name, parameter in model.named_parameters():
        below = below and not known.get(id(parameter), 0)
        default = 0 if below and id(parameter) in encoder_ids else len(stack) + 1
        depths[name] = known.get(id(parameter), default)
    return depths


def get_head_parameters(model: nn.Module) -> set[str]:
    """Return the names of the classification head's parameters: those outside `model.base_model`.

    BERT's pooler is pre-trained and not part of the head; DeBERTa's is part of it. Empty for a model outside
    transformers.
    """
    model = unwrap_model(model)
    encoder = _encoder(model)
    encoder_ids = _ids(encoder)
    return set() if encoder is None else {n for n, p in model.named_parameters() if id(p) not in encoder_ids}


def require_parameter_depths(model: nn.Module, method: str) -> tuple[dict[str, int], int]:
    """Return (depth by parameter name, number of blocks), for a method that needs blocks.

    Raises ValueError for a model without blocks.
    """
    count = len(find_transformer_blocks(model))
    if not count:
        raise ValueError(
            f"{method} needs transformer blocks, but {type(unwrap_model(model)).__name__} has none"
        )
    return get_parameter_depths(model), count


def _encoder(model: nn.Module) -> nn.Module | None:
    """Return `model.base_model` of a transformers model: the model itself where it has no head."""
    return cast(nn.Module, model.base_model) if "PreTrainedModel" in get_transformers_classes(model) else None


def _find_known_depths(encoder: nn.Module, stack: list[nn.Module]) -> dict[int, int]:
    """Return the depths, by parameter id, of blocks, embeddings and what `DEPTH_EXCEPTIONS` names."""
    depths: dict[int, int] = {}
    for module in encoder.modules():
        if isinstance(module, nn.Embedding):
            depths.update(dict.fromkeys(_ids(module), 0))
        for kind in get_transformers_classes(module) & DEPTH_EXCEPTIONS.keys():
            for attribute, depth in DEPTH_EXCEPTIONS[kind].items():
                depths.update(dict.fromkeys(_ids(getattr(module, attribute, None)), depth))
    for depth, block in enumerate(stack, start=1):
        depths.update(dict.fromkeys(_ids(block), depth))
    return depths


def _ids(module: nn.Module | None) -> set[int]:
    return set() if module is None else {id(parameter) for parameter in module.parameters()}
