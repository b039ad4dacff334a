"""Agreement of a model with its tokenizer: padding, vocabulary, positions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from dps.text import quote_value

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POSITION_TABLE = re.compile(r"(.*\.)?(\w*position_embeddings?|wpe|embed_positions)")
MAX_DEFAULT_TOKENS = 512  # that a text is cut at where nobody said how many
PADDING_TOLERANCE = 1e-3  # in logits, relative to the largest


def agree_on_padding(name: str, tokenizer: PreTrainedTokenizerBase, config: Any) -> None:
    """Give model and tokenizer the same padding token, where one of them knows it or the text has an end.

    name: of the model. Raises InputError if they name different tokens, or if neither has any.
    """
    asked = getattr(config, "pad_token_id", None)
    asked = None if asked is None or asked < 0 else int(asked)
    if tokenizer.pad_token_id is None:
        token = tokenizer.eos_token if asked is None else tokenizer.convert_ids_to_tokens(asked)
        if token is None:
            raise InputError(
                f"model: {name!r} has no padding token, neither in config.json nor in its tokenizer; set "
                f"pad_token in its tokenizer_config.json"
            )
        tokenizer.pad_token = token
    padding = int(tokenizer.pad_token_id)
    if asked not in (None, padding):
        raise InputError(
            f"model: {name!r} pads with token {asked} in config.json, but its tokenizer with {padding} "
            f"({quote_value(tokenizer.pad_token, 30)}), and predictions would depend on which texts share a "
            f"batch; write the one that it was trained with into both"
        )
    config.pad_token_id = padding


def check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase, model: nn.Module) -> None:
    """Raise InputError if the tokenizer knows tokens that the model has no embedding for."""
    try:
        embedding = model.get_input_embeddings()  # type: ignore[operator]
        rows = int(embedding.num_embeddings)
        largest = max(tokenizer.get_vocab().values(), default=0)
    except (AttributeError, NotImplementedError):  # a model of hashed or raw characters
        return
    if largest >= rows:
        token = quote_value(tokenizer.convert_ids_to_tokens(largest), 30)
        raise InputError(
            f"model: the tokenizer of {name!r} has tokens up to {largest} ({token}), but the model embeds "
            f"{rows:,}; give the tokenizer that it was trained with, or save it after resize_token_embeddings"
        )


def count_max_tokens(model: nn.Module) -> int | None:
    """Return the tokens that an example may have at most, where positions are learned; else None."""
    from torch import nn

    sizes = [
        module.num_embeddings - _count_reserved_positions(module)
        for path, module in model.named_modules()
        if isinstance(module, nn.Embedding) and POSITION_TABLE.fullmatch(path)
    ]
    if not sizes:
        return None
    declared = read_declared_positions(model)
    return min(sizes) if declared is None else min(*sizes, declared)


def count_readable_tokens(model: nn.Module) -> int:
    """Return the tokens that a model was made to read: as many as it has learned positions for, else as its
    configuration declares, else `MAX_DEFAULT_TOKENS`."""
    return count_max_tokens(model) or read_declared_positions(model) or MAX_DEFAULT_TOKENS


def read_declared_positions(model: nn.Module) -> int | None:
    """Return max_position_embeddings of a model's configuration, None where it has none."""
    declared = getattr(model.config, "max_position_embeddings", None)
    return declared if isinstance(declared, int) and declared > 0 else None


def _count_reserved_positions(table: nn.Embedding) -> int:
    """Return the rows of a table of positions that no token uses: RoBERTa's, BART's and OPT's first two."""
    offset = getattr(table, "offset", None)
    if isinstance(offset, int):
        return offset
    return 0 if table.padding_idx is None else table.padding_idx + 1


def settle_padding_side(name: str, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Let the tokenizer pad on the side on which padding changes no logit: its own, else the other one.

    name: of the model, which must be in evaluation mode. Raises InputError if logits change on both sides, so
    that predictions would depend on which texts share a batch.
    """
    side = tokenizer.padding_side
    effect = _measure_padding_effect(tokenizer, model)
    if effect <= PADDING_TOLERANCE:
        return
    tokenizer.padding_side = "left" if side == "right" else "right"
    if _measure_padding_effect(tokenizer, model) > PADDING_TOLERANCE:
        raise InputError(
            f"model: predictions of {name!r} depend on which texts share a batch (padding moves a logit by "
            f"{effect:.2g}); take another model, or mend padding and attention_mask of its tokenizer"
        )


def _measure_padding_effect(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> float:
    """Return how far a logit of a short text moves beside a longer one, relative to the largest logit.

    Returns 0 for a model that cannot read texts that short, or whose logits are not finite without padding.
    """
    import torch

    short, long = (tokenizer(text, truncation=True, max_length=16) for text in ("a b", "a b c d e f g h"))
    try:
        with torch.inference_mode():
            alone, together = (
                model(**tokenizer.pad(rows, return_tensors="pt").to(model.device)).logits[0].float()
                for rows in ([short], [short, long])
            )
    except (IndexError, RuntimeError, ValueError):
        return 0.0
    if not alone.isfinite().all():
        return 0.0
    moved = (alone - together).abs().nan_to_num(torch.inf)
    return float(moved.max()) / max(1.0, float(alone.abs().max()))
