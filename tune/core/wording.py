"""Wording of figures: numbers, durations, costs and configurations, as every output shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dps.text import sanitise_line
from dps.wording import format_hundredths


def get_last_line(message: object) -> str:
    """Return the last line with any text, where errors of Ray have their cause; without one the repr."""
    lines = [line.strip() for line in str(message).splitlines() if re.search(r"\w", line)]
    return lines[-1] if lines else repr(message)


def format_p_value(p: float | None) -> str:
    return "<0.001" if p is not None and p < 0.001 else format_number(p, ".3f")


def format_probability(value: float | None) -> str:
    """Format a probability with two digits, but never as a certainty."""
    if value is None or 0.005 <= value < 0.995:
        return format_number(value, ".2f")
    return "<0.01" if value < 0.5 else ">0.99"


def format_number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def format_difference(mean: float, interval: tuple[float, float] | None = None) -> str:
    """Format a difference in hundredths of the metric, with its interval: "+1.2 (-0.4 to +2.8)"."""
    size, *ends = format_hundredths(mean, *(interval or ()), sign="+")
    return "{} ({} to {})".format(size, *ends) if ends else size


def format_code_span(text: str) -> str:
    """Format any text as a Markdown code span, so that nothing in it is markup."""
    text = sanitise_line(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"{fence}{text}{fence}"


def format_clock(seconds: float) -> str:
    """Format seconds as 1:02:03, or 02:03 below an hour."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes:02}:{left:02}"


def format_configuration(configuration: dict[str, Any]) -> str:
    """Format a configuration in one short line."""
    short = {"learning_rate": "lr"}
    parts = [str(configuration["method"])]
    for name, value in configuration.items():
        if name != "method":
            said = f"{value:.3g}" if isinstance(value, float) else str(value)
            parts.append(said if isinstance(value, str) else f"{short.get(name, name)} {said}")
    return "  ".join(parts)


def format_usage(usage: Mapping[str, float]) -> str:
    """Return what was used in words, to append; empty for results that do not say."""
    forms = {"gpu_hours": ", {} GPU-hours", "cpu_hours": ", {} CPU-hours", "cost": ", cost {}"}
    return "".join(form.format(_format_amount(usage[key])) for key, form in forms.items() if key in usage)


def _format_amount(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.2g}"


def describe_generated_data(source: str, task: str) -> str:
    """Say that scores are of the built-in, generated data; empty for any other source."""
    if source != "builtin":
        return ""
    return f"Generated data, built in for trying out: scores are not results on the real {task}."


def format_objective(objective: str, value: float | None) -> str:
    """Format the value of an objective with its unit."""
    if value is None:
        return "-"
    return {
        "score": f"{value:.4f}",
        "seconds": f"{value:.1f} s",
        "memory": f"{value / 2**30:.2f} GiB",
        "stability": f"{value:.4f}",
    }[objective]
