"""The plots of what each parameter does, see `tune.reporting.analysis` and `tune.reporting.plots`."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

import numpy as np

from dps.ranges import Choice, Domain, Range
from tune.core.space import make_configuration_key
from tune.core.wording import format_configuration
from tune.reporting.analysis import ParameterEffect, ParameterSurface, SearchAnalysis
from tune.reporting.plots import (
    Plot,
    Trace,
    make_axis,
    make_band_trace,
    make_layout,
    make_line_trace,
    make_marker_trace,
)


def plot_all_effects(insight: SearchAnalysis) -> list[Plot]:
    """A plot for each parameter that was varied, on one scale of scores."""
    made = insight.effects()
    ends = [end for one in made for end in (*one.lows, *one.highs)] + [score for _, score in insight.full()]
    edge = 0.05 * (max(ends) - min(ends)) if made else 0.0
    return [plot_effect(insight, one, (min(ends) - edge, max(ends) + edge)) for one in made]


def plot_effect(insight: SearchAnalysis, one: ParameterEffect, span: tuple[float, float]) -> Plot:
    """The expected score over one parameter, with the configurations that ran to their end. span: of the
    scores, the same for all parameters."""
    metric = insight.document.metric
    line = make_line_trace(one.values, one.means, "expected, others averaged", "accent")
    if isinstance(one.domain, Choice):
        x = [str(value) for value in one.values]
        up = [high - mean for high, mean in zip(one.highs, one.means, strict=True)]
        more: dict[str, Any] = {"error_y": {"array": up, "color": "text"}, "marker": {"size": 12}}
        data = [make_marker_trace(x, one.means, line["name"], "accent", "diamond", **more)]
    else:
        data = [make_band_trace(one.values, one.lows, one.highs), line]
    data += _configuration_marks(insight, one.name)
    best = max(range(len(one.means)), key=lambda place: insight.sign * one.means[place])
    alt = (
        f"Expected {metric} over {one.name}, the other parameters averaged: best near "
        f"{_format_value(one.values[best])} with {one.means[best]:.4f}, 95 % interval "
        f"{one.lows[best]:.4f} to "
        f"{one.highs[best]:.4f}."
    )
    axes = _parameter_axis(one.name, one.domain), make_axis(metric, range=[*span])
    return Plot(data, make_layout(*axes, showlegend=False), alt, 300)


def _configuration_marks(insight: SearchAnalysis, name: str, other: str | None = None) -> list[Trace]:
    """The configurations that ran to their end, over one parameter by their score or over two; the winner
    is a star."""
    won = insight.document.winner and make_configuration_key(insight.document.winner.configuration)
    groups: dict[bool, list[tuple[Any, Any, str]]] = {False: [], True: []}
    for configuration, score in insight.full():
        values = insight.space.to_study_values(configuration)
        if name not in values or (other is not None and other not in values):
            continue
        x = str(values[name]) if isinstance(insight.varied[name], Choice) else values[name]
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
                make_marker_trace(
                    xs, ys, "winner" if is_winner else "configurations", colour, symbol, marker=edge,
                    text=texts, hovertemplate="%{text}<extra></extra>",
                )
            )  # fmt: skip
    return traces


def _parameter_axis(name: str, domain: Domain, tight: bool = False) -> dict[str, Any]:
    """An axis. tight: it ends where the range does."""
    if isinstance(domain, Choice):
        return make_axis(name, type="category")
    ends = [domain.low, domain.high]
    if not domain.log:
        return make_axis(name, **({"range": ends} if tight else {}))
    marks = _log_marks(domain)
    more: dict[str, Any] = {"range": [*map(log10, ends)]} if tight else {}
    return make_axis(
        name, type="log", tickvals=marks, ticktext=[*map(_format_value, marks)], tickangle=0, **more
    )


def _log_marks(domain: Range) -> list[float]:
    """1, 2 and 5 times powers of ten within the range, or its ends and middle where these are few."""
    marks = [base * 10.0**power for power in range(-12, 6) for base in (1, 2, 5)]
    inside = [mark for mark in marks if domain.low <= mark <= domain.high]
    ends = [domain.low, (domain.low * domain.high) ** 0.5, domain.high]
    return inside if len(inside) > 2 else ends


def _format_value(value: Any) -> str:
    return f"{value:.3g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def plot_surface(insight: SearchAnalysis, one: ParameterSurface) -> Plot:
    """The expected score over two parameters as a map."""
    metric, (x, y) = insight.document.metric, one.names
    row, column = np.unravel_index(np.argmax(insight.sign * np.array(one.means)), np.shape(one.means))
    contour = {
        "type": "contour", "x": one.values[0], "y": one.values[1], "z": one.means, "colorscale": "Cividis",
        "customdata": one.sds, "line": {"width": 0.5}, "showlegend": False,
        "colorbar": {"title": {"text": metric, "side": "right"}, "thickness": 12},
        "hovertemplate": f"{x} %{{x:.3g}}, {y} %{{y:.3g}}<br>expected %{{z:.4f}} ± %{{customdata:.4f}}"
        "<extra></extra>",
    }  # fmt: skip
    alt = (
        f"Map of the expected {metric} over {x} and {y}: best near {x} "
        f"{_format_value(one.values[0][column])} "
        f"and {y} {_format_value(one.values[1][row])} with {one.means[row][column]:.4f} (standard deviation "
        f"{one.sds[row][column]:.4f})."
    )
    axes = _parameter_axis(x, one.domains[0], tight=True), _parameter_axis(y, one.domains[1], tight=True)
    return Plot(
        [contour, *_configuration_marks(insight, x, y)], make_layout(*axes, showlegend=False), alt, 340
    )


def plot_importance(insight: SearchAnalysis) -> Plot | None:
    """A bar a parameter, the most important on top."""
    made, _ = insight.importances
    if not made:
        return None
    shares, names = [one.share for one in made], [one.name for one in made]
    ups = [one.high - one.share for one in made]
    downs = [one.share - one.low for one in made]
    bar = {
        "type": "bar", "orientation": "h", "x": shares, "y": names, "marker": {"color": "cool"},
        "error_x": {"symmetric": False, "array": ups, "arrayminus": downs, "color": "text"},
        "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
    }  # fmt: skip
    said = "; ".join(f"{one.name} {one.share:.0%} ({one.low:.0%} to {one.high:.0%})" for one in made)
    x = make_axis("share explained alone", tickformat=".0%", rangemode="tozero")
    y = make_axis("", autorange="reversed")
    return Plot([bar], make_layout(x, y), f"Importance: {said}.", 120 + 36 * len(made))


def plot_parallel_coordinates(insight: SearchAnalysis) -> Plot | None:
    """A line a configuration over all parameters, to its expected score."""
    view = insight.view
    if view is None or len(view.trials) < 2 or not insight.varied:
        return None
    rows = [insight.space.to_study_values(trial.configuration) for trial in view.trials]
    scores = [insight.sign * float(mean) for mean in view.posterior.mean]
    dimensions = [_parallel_axis(name, domain, rows) for name, domain in insight.varied.items()]
    dimensions.append({"label": "expected score", "values": scores})
    line = {"color": scores, "colorscale": "scale", "showscale": False}
    if insight.document.direction == "min":
        line["reversescale"] = True
    fonts = {f"{part}font": {"color": "text"} for part in ("label", "tick", "range")}
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line, **fonts}
    alt = f"{len(rows)} configurations as lines over {', '.join(insight.varied)} and the expected score."
    margin = {"l": 60, "r": 60, "t": 75, "b": 30}
    return Plot([trace], {"margin": margin}, alt, 380, 90 * len(dimensions) + 120)


def _parallel_axis(name: str, domain: Domain, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """An axis of the parallel coordinates; a parameter that a configuration does not have sits in the
    middle."""
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
