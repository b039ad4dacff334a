"""Durations as users write them: 90s, 30m, 1h30m, 2d."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

MIN_TIMEOUT_S = 5
_SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as 90s, 30m, 1h30m, 2d. Raises ValueError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("must be a duration such as 90s, 30m or 1h30m")
    return sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in parts)


def _check_text(value: Any) -> Any:
    """Raise ValueError for what YAML takes for a number."""
    if isinstance(value, int | float):
        raise ValueError("must be a duration with its unit, such as 90s, 30m or 1h30m")
    return value


def _check_duration(text: str) -> str:
    if not parse_duration(text) > 0:
        raise ValueError("must be longer than 0s")
    return text


def _check_timeout(text: str) -> str:
    if parse_duration(text) < MIN_TIMEOUT_S:
        raise ValueError(f"must be at least {MIN_TIMEOUT_S}s")
    return text


Duration = Annotated[str, BeforeValidator(_check_text), AfterValidator(_check_duration)]
TimeoutDuration = Annotated[str, BeforeValidator(_check_text), AfterValidator(_check_timeout)]
