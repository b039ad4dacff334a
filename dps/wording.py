"""Wording of figures: counts with their noun, and shares in percent; and of lists of names."""

from __future__ import annotations

from collections.abc import Sequence

MAX_LISTED_NAMES = 12


def format_count(count: float, noun: str) -> str:
    """Format a count with its noun: "1 trial", "1,200 trials", "0.5 GPUs"."""
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {noun}{'' if count == 1 else 's'}"


def format_hundredths(*values: float, sign: str = "") -> list[str]:
    """Format values times 100, all with as many decimals: 1, or up to 4 so that no nonzero value reads 0.

    sign: "+" for that of positive values.
    """
    scaled = [100 * value for value in values]
    decimals = next((d for d in (1, 2, 3) if all(round(v, d) or not v for v in scaled)), 4)
    return [f"{round(v, decimals) + 0.0:{sign}.{decimals}f}" for v in scaled]


def format_share(share: float, digits: int = 0) -> str:
    """Format a share in percent: 0.95 as "95 %". Without decimals, what is neither none nor all does not read
    as if it were: 0.004 is "less than 1 %", 0.996 "more than 99 %"."""
    if not digits and 0 < share < 0.005:
        return "less than 1 %"
    if not digits and 0.995 < share < 1:
        return "more than 99 %"
    return f"{share:.{digits}%}".replace("%", " %")


def list_names(names: Sequence[str]) -> str:
    """Return the first names, and how many there are beside them."""
    more = [f"and {len(names) - MAX_LISTED_NAMES:,} more"] if len(names) > MAX_LISTED_NAMES else []
    return ", ".join([*names[:MAX_LISTED_NAMES], *more])
