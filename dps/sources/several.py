"""The labels of examples that have several, or none: as lists, or as texts with a separator between them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dps.task import SEPARATOR

SEPARATORS = (SEPARATOR, ";", ",")  # that are looked for
NUMBER = re.compile(r"[-+]?\d*,\d+")  # with a comma for the point


def labels_in(value: object, separator: str) -> list[object] | None:
    """The labels of one example: a list as it is, a text at its separators; None for anything else."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(separator)] if value.strip() else []
    return value if isinstance(value, list) else None


def separator_of(values: Sequence[object]) -> str | None:
    """What stands between the labels of an example, the usual one where they are lists; None where each has
    one label.

    A text is split where its parts come again, alone or beside others, so that there are fewer of them than
    of their combinations.
    """
    if any(isinstance(value, list) for value in values):
        return SEPARATOR
    texts = {value.strip() for value in values if isinstance(value, str) and not NUMBER.fullmatch(value)}
    for separator in SEPARATORS:
        parts = {part for text in texts for part in labels_in(text, separator) or ()}
        if any(separator in text for text in texts) and "" not in parts and 2 <= len(parts) < len(texts):
            return separator
    return None
