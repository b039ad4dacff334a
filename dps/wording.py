"""Wording of figures: counts with their noun, and shares in percent."""

from __future__ import annotations


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
    """Format a share in percent: 0.95 as "95 %"."""
    return f"{share:.{digits}%}".replace("%", " %")
