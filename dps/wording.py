"""Wording of figures: counts with their noun, and shares in percent."""

from __future__ import annotations


def format_count(count: float, noun: str) -> str:
    """Format a count with its noun: "1 trial", "1,200 trials", "0.5 GPUs"."""
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {noun}{'' if count == 1 else 's'}"


def format_share(share: float, digits: int = 0) -> str:
    """Format a share in percent: 0.95 as "95 %"."""
    return f"{share:.{digits}%}".replace("%", " %")
