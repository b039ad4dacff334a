"""Durations as users write them: 90s, 30m, 1h30m, 2d."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

MIN_TIMEOUT_S = 5
_SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as 90s, 30m, 1h30m, 2d. Raises ValueError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("must be a duration such as 90s, 30m or 1h30m")
    return sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in parts)


def _check_duration(text: str) -> str:
    parse_duration(text)
    return text


def _check_timeout(text: str) -> str:
    if parse_duration(text) < MIN_TIMEOUT_S:
        raise ValueError(f"must be at least {MIN_TIMEOUT_S}s")
    return text


Duration = Annotated[str, AfterValidator(_check_duration)]
TimeoutDuration = Annotated[str, AfterValidator(_check_timeout)]
