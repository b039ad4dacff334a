"""Reading of multi-label columns: lists, or texts with a separator between the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dps.tasks.task import LABEL_SEPARATOR

CANDIDATE_SEPARATORS = (LABEL_SEPARATOR, ";", ",")
DECIMAL_COMMA_PATTERN = re.compile(r"[-+]?\d*,\d+")  # a number with a decimal comma


def split_labels(value: object, separator: str) -> list[object] | None:
    """Return the labels of one example: a list unchanged, a text split; None for anything else."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(separator)] if value.strip() else []
    return value if isinstance(value, list) else None


def find_label_separator(values: Sequence[object]) -> str | None:
    """Infer the label separator of a column: the default one for lists, None for single labels.

    A separator is recognised if the texts have fewer distinct parts than there are distinct texts, because
    the parts recur alone or in other combinations.
    """
    if any(isinstance(value, list) for value in values):
        return LABEL_SEPARATOR
    texts = {
        value.strip()
        for value in values
        if isinstance(value, str) and not DECIMAL_COMMA_PATTERN.fullmatch(value)
    }
    for separator in CANDIDATE_SEPARATORS:
        parts = {part for text in texts for part in split_labels(text, separator) or ()}
        if any(separator in text for text in texts) and "" not in parts and 2 <= len(parts) < len(texts):
            return separator
    return None
