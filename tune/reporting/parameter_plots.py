"""The plots of what each parameter does, see `tune.reporting.analysis` and `tune.reporting.plots`."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

import numpy as np

from dps.ranges import Choice, Domain, Range
from tune.core.space import make_configuration_key
from tune.core.wording import format_configuration
from tune.reporting import plots
from tune.reporting.analysis import ParameterEffect, ParameterSurface, SearchAnalysis


def plot_all_effects(analysis: SearchAnalysis) -> list[plots.Plot]:
    """Plot the effect of each varied parameter, on one scale of scores."""
    effects = analysis.compute_effects()
    ends = [end for effect in effects for end in (*effect.lows, *effect.highs)]
    ends += [score for _, score in analysis.collect_full_means()]
    edge = 0.05 * (max(ends) - min(ends)) if effects else 0.0
    return [plot_effect(analysis, effect, (min(ends) - edge, max(ends) + edge)) for effect in effects]


def plot_effect(analysis: SearchAnalysis, effect: ParameterEffect, span: tuple[float, float]) -> plots.Plot:
    """Plot the expected score over one parameter, with the configurations that ran to their end.

    span: of the score's axis, the same for all parameters.
    """
    metric = analysis.document.metric
    line = plots.make_line_trace(effect.values, effect.means, "expected, others averaged", "accent")
    if isinstance(effect.domain, Choice):
        x = [str(value) for value in effect.values]
        up = [high - mean for high, mean in zip(effect.highs, effect.means, strict=True)]
        more: dict[str, Any] = {"error_y": {"array": up, "color": "text"}, "marker": {"size": 12}}
        data = [plots.make_marker_trace(x, effect.means, line["name"], "accent", "diamond", **more)]
    else:
        data = [plots.make_band_trace(effect.values, effect.lows, effect.highs), line]
    data += _configuration_marks(analysis, effect.name)
    best = max(range(len(effect.means)), key=lambda place: analysis.sign * effect.means[place])
    alt = (
        f"Expected {metric} over {effect.name}, the other parameters averaged: best near "
        f"{_format_value(effect.values[best])} with {effect.means[best]:.4f}, 95 % interval "
        f"{effect.lows[best]:.4f} to {effect.highs[best]:.4f}."
    )
    axes = _parameter_axis(effect.name, effect.domain), plots.make_axis(metric, range=[*span])
    return plots.Plot(data, plots.make_layout(*axes, showlegend=False), alt, 300)


def _configuration_marks(analysis: SearchAnalysis, name: str, other: str | None = None) -> list[plots.Trace]:
    """Return marks of the configurations that ran to their end, over one parameter by their score or over
    two; the winner is a star."""
    won = analysis.document.winner and make_configuration_key(analysis.document.winner.configuration)
    groups: dict[bool, list[tuple[Any, Any, str]]] = {False: [], True: []}
    for configuration, score in analysis.collect_full_means():
        values = analysis.space.to_study_values(configuration)
        if name not in values or (other is not None and other not in values):
            continue
        x = str(values[name]) if isinstance(analysis.varied[name], Choice) else values[name]
        text = f"{format_configuration(configuration)}<br>{score:.4f}"
        groups[make_configuration_key(configuration) == won].append(
            (x, score if other is None else values[other], text)
        )
    traces = []
    for is_winner, points in groups.items():
        if points:
            xs, ys, texts = zip(*points, strict=True)
            symbol, size = ("star", 14) if is_winner else ("circle", 7)
            edge = {"size": size, "line": {"color": "paper", "width": 1.2}}
            colour = "accent" if is_winner else "text"
            traces.append(
                plots.make_marker_trace(
                    xs, ys, "winner" if is_winner else "configurations", colour, symbol, marker=edge,
                    text=texts, hovertemplate="%{text}<extra></extra>",
                )
            )  # fmt: skip
    return traces


def _parameter_axis(name: str, domain: Domain, tight: bool = False) -> dict[str, Any]:
    """Return an axis. tight: it ends where the range does."""
    if isinstance(domain, Choice):
        return plots.make_axis(name, type="category")
    ends = [domain.low, domain.high]
    if not domain.log:
        return plots.make_axis(name, **({"range": ends} if tight else {}))
    marks = _log_marks(domain)
    more: dict[str, Any] = {"range": [*map(log10, ends)]} if tight else {}
    return plots.make_axis(
        name, type="log", tickvals=marks, ticktext=[*map(_format_value, marks)], tickangle=0, **more
    )


def _log_marks(domain: Range) -> list[float]:
    """Return 1, 2 and 5 times powers of ten within the range, or its ends and middle if these are few."""
    marks = [base * 10.0**power for power in range(-12, 6) for base in (1, 2, 5)]
    inside = [mark for mark in marks if domain.low <= mark <= domain.high]
    ends = [domain.low, (domain.low * domain.high) ** 0.5, domain.high]
    return inside if len(inside) > 2 else ends


def _format_value(value: Any) -> str:
    return f"{value:.3g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def plot_surface(analysis: SearchAnalysis, surface: ParameterSurface) -> plots.Plot:
    """Plot the expected score over two parameters as a map."""
    metric, (x, y) = analysis.document.metric, surface.names
    means = np.array(surface.means)
    row, column = np.unravel_index(np.argmax(analysis.sign * means), means.shape)
    contour = {
        "type": "contour", "x": surface.values[0], "y": surface.values[1], "z": surface.means,
        "colorscale": "Cividis", "customdata": surface.sds, "line": {"width": 0.5}, "showlegend": False,
        "colorbar": {"title": {"text": metric, "side": "right"}, "thickness": 12},
        "hovertemplate": f"{x} %{{x:.3g}}, {y} %{{y:.3g}}<br>expected %{{z:.4f}} ± %{{customdata:.4f}}"
        "<extra></extra>",
    }  # fmt: skip
    alt = (
        f"Map of the expected {metric} over {x} and {y}: best near {x} "
        f"{_format_value(surface.values[0][column])} and {y} {_format_value(surface.values[1][row])} with "
        f"{means[row, column]:.4f} (standard deviation {surface.sds[row][column]:.4f})."
    )
    axes = (
        _parameter_axis(x, surface.domains[0], tight=True),
        _parameter_axis(y, surface.domains[1], tight=True),
    )
    return plots.Plot(
        [contour, *_configuration_marks(analysis, x, y)], plots.make_layout(*axes, showlegend=False), alt, 340
    )


def plot_importance(analysis: SearchAnalysis) -> plots.Plot | None:
    """Plot a bar for each parameter, the most important on top."""
    importances, _ = analysis.importances
    if not importances:
        return None
    shares, names = [each.share for each in importances], [each.name for each in importances]
    ups = [each.high - each.share for each in importances]
    downs = [each.share - each.low for each in importances]
    bar = {
        "type": "bar", "orientation": "h", "x": shares, "y": names, "marker": {"color": "cool"},
        "error_x": {"symmetric": False, "array": ups, "arrayminus": downs, "color": "text"},
        "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
    }  # fmt: skip
    said = "; ".join(
        f"{each.name} {each.share:.0%} ({each.low:.0%} to {each.high:.0%})" for each in importances
    )
    x = plots.make_axis("share explained alone", tickformat=".0%", rangemode="tozero")
    y = plots.make_axis("", autorange="reversed")
    return plots.Plot([bar], plots.make_layout(x, y), f"Importance: {said}.", 120 + 36 * len(importances))


def plot_parallel_coordinates(analysis: SearchAnalysis) -> plots.Plot | None:
    """Plot a line for each configuration over all parameters, to its expected score."""
    estimates = analysis.estimates
    if estimates is None or len(estimates.trials) < 2 or not analysis.varied:
        return None
    rows = [analysis.space.to_study_values(trial.configuration) for trial in estimates.trials]
    scores = [analysis.sign * float(mean) for mean in estimates.means.mean]
    dimensions = [_parallel_axis(name, domain, rows) for name, domain in analysis.varied.items()]
    dimensions.append({"label": "expected score", "values": scores})
    line = {"color": scores, "colorscale": "scale", "showscale": False}
    if analysis.document.direction == "min":
        line["reversescale"] = True
    fonts = {f"{part}font": {"color": "text"} for part in ("label", "tick", "range")}
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line, **fonts}
    alt = f"{len(rows)} configurations as lines over {', '.join(analysis.varied)} and the expected score."
    margin = {"l": 60, "r": 60, "t": 75, "b": 30}
    return plots.Plot([trace], {"margin": margin}, alt, 380, 90 * len(dimensions) + 120)


def _parallel_axis(name: str, domain: Domain, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return an axis of the parallel coordinates; a value that a configuration lacks is in the middle."""
    if isinstance(domain, Choice):
        names = [str(value) for value in domain.values]
        values = [names.index(str(row[name])) if name in row else (len(names) - 1) / 2 for row in rows]
        return {"label": name, "values": values, "tickvals": [*range(len(names))], "ticktext": names}
    low, high = domain.low, domain.high
    if not domain.log:
        values = [row.get(name, (low + high) / 2) for row in rows]
        return {"label": name, "values": values, "range": [low, high]}
    values = [log10(row[name]) if name in row else log10(low * high) / 2 for row in rows]
    marks = _log_marks(domain)
    ticks = {"tickvals": [*map(log10, marks)], "ticktext": [*map(_format_value, marks)]}
    return {"label": name, "values": values, "range": [log10(low), log10(high)], **ticks}
