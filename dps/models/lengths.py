"""Lengths of texts in tokens: how many tokens of each example a run reads, and which examples are longer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.models.agreement import MAX_DEFAULT_TOKENS
from dps.models.draft import load_tokenizer, silence_transformers
from dps.models.folder import locate_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

USUAL_TOKENS = 128  # of an example, where no text needs more
TOKEN_STEP = 8
MAX_ADDED_TOKENS = 8  # that a tokenizer puts around texts
MAX_MEASURED_SIZE = 16_000_000  # characters that are tokenised to count them; of more, evenly spread texts
CHUNK = 1000  # examples that are tokenised at once

Columns = Sequence[Sequence[str]]  # the texts of examples: one column or two


@dataclass(frozen=True)
class TextLengths:
    """Tokens of an example that a run reads, and the examples that have more.

    max_length: tokens at which an example is cut.
    counts: number of examples by set.
    cut: number of longer examples by set, without sets that have none; estimated where texts are very many.
    """

    max_length: int
    counts: dict[str, int]
    cut: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.cut:
            return f"none has more than {self.max_length} tokens"
        longer = ", ".join(f"{count:,} of {self.counts[name]:,} {name}" for name, count in self.cut.items())
        return f"cut at {self.max_length} tokens: {longer} have more"


def measure_lengths(
    sets: Mapping[str, Columns],
    load_tokenizer: Callable[[], PreTrainedTokenizerBase],
    readable: int,
    max_length: int | None,
) -> TextLengths:
    """Choose the tokens of an example, and count the examples that have more.

    Chosen are `USUAL_TOKENS`, or as many as the longest text needs, a multiple of `TOKEN_STEP`, at most
    `MAX_DEFAULT_TOKENS` and what the model can read.

    sets: texts by the name of their set.
    load_tokenizer: called only if a text may be too long, as no text has more tokens than bytes.
    readable: tokens that the model can read.
    max_length: tokens of an example; None to choose them.
    """
    counts = {name: len(columns[0]) for name, columns in sets.items()}
    limit = max_length or min(USUAL_TOKENS, readable)
    long = {name: rows for name, columns in sets.items() if (rows := _find_long(columns, limit))}
    if not long:
        return TextLengths(limit, counts)
    tokenizer, every = load_tokenizer(), _choose_spacing(long)
    lengths = {name: _count_tokens(rows[::every], tokenizer) for name, rows in long.items()}
    if max_length is None:
        longest = max(int(values.max()) for values in lengths.values())
        needed = math.ceil(longest / TOKEN_STEP) * TOKEN_STEP
        limit = min(max(limit, needed), readable, MAX_DEFAULT_TOKENS)
    cut = {name: int((values > limit).sum()) * every for name, values in lengths.items()}
    return TextLengths(limit, counts, {name: count for name, count in cut.items() if count})


def measure_for_builtin_model(sets: Mapping[str, Columns]) -> TextLengths | None:
    """Return what `measure_lengths` finds for the built-in model; None if that is not installed."""
    try:
        model = locate_model("builtin")
    except InputError:
        return None
    return measure_lengths(sets, lambda: load_tokenizer(model), MAX_DEFAULT_TOKENS, None)


def _find_long(columns: Columns, tokens: int) -> list[tuple[str, ...]]:
    """Return the examples that may have more than `tokens` tokens, longest first."""
    rows = list(zip(*columns, strict=True))
    sizes = np.array([sum(len(text.encode("utf-8", "surrogatepass")) for text in row) for row in rows])
    order = np.argsort(-sizes, kind="stable")
    return [rows[index] for index in order[sizes[order] + MAX_ADDED_TOKENS > tokens]]


def _choose_spacing(sets: Mapping[str, Sequence[tuple[str, ...]]]) -> int:
    """Return n, where every n-th example is tokenised so that there are not too many."""
    size = sum(len(text) for rows in sets.values() for row in rows for text in row)
    return max(1, math.ceil(size / MAX_MEASURED_SIZE))


def _count_tokens(rows: Sequence[tuple[str, ...]], tokenizer: PreTrainedTokenizerBase) -> NDArray[np.int64]:
    """Return the number of tokens of each example, those around the texts included."""
    counts: list[int] = []
    with silence_transformers():
        for start in range(0, len(rows), CHUNK):
            columns = [list(column) for column in zip(*rows[start : start + CHUNK], strict=True)]
            counts += map(len, tokenizer(*columns, truncation=False)["input_ids"])
    return np.array(counts)
