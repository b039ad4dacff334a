"""Durations as users write them: 90s, 30m, 1h30m, 2d."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

LEAST_PATIENCE_S = 5
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Seconds of a duration such as 90s, 30m, 1h30m, 2d. Raises ValueError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("must be a duration such as 90s, 30m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _duration(text: str) -> str:
    seconds(text)
    return text


def _patience(text: str) -> str:
    if seconds(text) < LEAST_PATIENCE_S:
        raise ValueError(f"must be at least {LEAST_PATIENCE_S}s")
    return text


Duration = Annotated[str, AfterValidator(_duration)]
Patience = Annotated[str, AfterValidator(_patience)]
