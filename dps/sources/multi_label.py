"""The labels of examples that have several, or none: as lists, or as texts with a separator between them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dps.tasks.task import LABEL_SEPARATOR

CANDIDATE_SEPARATORS = (LABEL_SEPARATOR, ";", ",")  # that are looked for
DECIMAL_COMMA_PATTERN = re.compile(r"[-+]?\d*,\d+")  # with a comma for the point


def split_labels(value: object, separator: str) -> list[object] | None:
    """The labels of one example: a list as it is, a text at its separators; None for anything else."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(separator)] if value.strip() else []
    return value if isinstance(value, list) else None


def find_label_separator(values: Sequence[object]) -> str | None:
    """What stands between the labels of an example, the usual one where they are lists; None where each has
    one label.

    A text is split where its parts come again, alone or beside others, so that there are fewer of them than
    of their combinations.
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
