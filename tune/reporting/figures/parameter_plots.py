"""The plots of what each parameter does, see `tune.reporting.figures.analysis` and `canvas`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from dps.ranges import Choice, Domain
from dps.tasks.metrics import get_metric_range
from dps.wording import format_share
from tune.core.space import make_configuration_key
from tune.core.wording import format_configuration
from tune.reporting.figures.analysis import (
    MIN_SURFACE_CONFIGURATIONS,
    ParameterEffect,
    ParameterSurface,
    SearchAnalysis,
)
from tune.reporting.figures.canvas import Canvas, Plot, Scale, make_scale
from tune.reporting.figures.plots import MIN_SPAN, make_share_scale
from tune.reporting.figures.rows import Line, Row, draw_rows

SHADES = 6  # of a line among the parallel coordinates
AXIS_WIDTH = 110  # pixels for each of these, at least


def plot_all_effects(analysis: SearchAnalysis) -> list[Plot]:
    """Plot the effect of each varied parameter, on one scale of scores."""
    effects, metric = analysis.compute_effects(), analysis.document.metric
    ends = [end for effect in effects for end in (*effect.lows, *effect.highs)]
    lowest, highest = get_metric_range(metric)
    ends = [min(max(end, lowest), highest) for end in ends] + [s for _, s in analysis.full_means]
    scale = make_scale(ends, metric, (lowest, highest), MIN_SPAN)
    return [plot_effect(analysis, effect, scale) for effect in effects]


def plot_effect(analysis: SearchAnalysis, effect: ParameterEffect, scale: Scale) -> Plot:
    """Plot the expected score over one parameter, with the configurations that ran to their end.

    scale: of the scores, the same for all parameters.
    """
    canvas = Canvas(make_parameter_scale(effect.name, effect.domain), scale, 260)
    xs = [_place_parameter(effect.domain, value) for value in effect.values]
    lows, highs = ([min(max(v, scale.low), scale.high) for v in ends] for ends in (effect.lows, effect.highs))
    means = [min(max(mean, scale.low), scale.high) for mean in effect.means]
    if isinstance(effect.domain, Choice):
        for x, low, mean, high in zip(xs, lows, means, highs, strict=True):
            canvas.add_whisker(x, low, high)
            canvas.add_mark((x, mean), "diamond", "accent", f"expected {mean:.4f}")
    else:
        canvas.add_band(xs, lows, highs)
        canvas.add_lines([[*zip(xs, means, strict=True)]], "accent")
    _mark_configurations(canvas, analysis, effect.name)
    best = max(range(len(effect.means)), key=lambda place: analysis.sign * effect.means[place])
    alt = (
        f"Expected {scale.title} over {effect.name}, the other parameters averaged: best near "
        f"{_format_value(effect.values[best])} with {effect.means[best]:.4f}, 95 % interval "
        f"{lows[best]:.4f} to {highs[best]:.4f}."
    )
    return canvas.draw_plot(alt)


def _mark_configurations(
    canvas: Canvas, analysis: SearchAnalysis, name: str, other: str | None = None
) -> None:
    """Mark the configurations that ran to their end, over one parameter by their score or over two; the
    winner is a star and lies above the others."""
    won = analysis.document.winner and make_configuration_key(analysis.document.winner.configuration)
    found = [
        (make_configuration_key(configuration) == won, configuration, score)
        for configuration, score in analysis.full_means
    ]
    for is_winner, configuration, score in sorted(found, key=lambda each: each[0]):
        values = analysis.space.to_study_values(configuration)
        if name not in values or (other is not None and other not in values):
            continue
        x = _place_parameter(analysis.varied[name], values[name])
        y = score if other is None else _place_parameter(analysis.varied[other], values[other])
        shape, colour = ("star", "accent") if is_winner else ("circle", "text")
        title = f"{format_configuration(configuration)}: {score:.4f}"
        canvas.add_mark((x, y), shape, colour, title, size=1.0 if is_winner else 0.7)


def make_parameter_scale(name: str, domain: Domain) -> Scale:
    """Return the scale of a parameter, which ends where its range does; values of a list stand side by
    side."""
    if isinstance(domain, Choice):
        ticks = tuple((float(place), str(value)) for place, value in enumerate(domain.values))
        return Scale(-0.5, len(ticks) - 0.5, name, ticks=ticks)
    return Scale(float(domain.low), float(domain.high), name, domain.log)


def _place_parameter(domain: Domain, value: Any) -> float:
    """Return a value on the scale of its parameter."""
    return float([*map(str, domain.values)].index(str(value))) if isinstance(domain, Choice) else float(value)


def _format_value(value: Any) -> str:
    return f"{value:.3g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def plot_all_surfaces(analysis: SearchAnalysis) -> list[Plot]:
    """Plot the maps of two parameters each, on one scale of colours; none that differs by less than its own
    standard deviation."""
    surfaces = [
        each for each in analysis.compute_surfaces() if np.ptp(each.means) > float(np.median(each.sds))
    ]
    ends = [mean for surface in surfaces for row in surface.means for mean in row]
    return [plot_surface(analysis, surface, (min(ends), max(ends))) for surface in surfaces]


def plot_surface(analysis: SearchAnalysis, surface: ParameterSurface, span: tuple[float, float]) -> Plot:
    """Plot the expected score over two parameters as a map. span: of the scores, from pale to strong where
    more is better."""
    metric, (x, y) = analysis.document.metric, surface.names
    scales = [make_parameter_scale(*each) for each in zip(surface.names, surface.domains, strict=True)]
    canvas, (low, high) = Canvas(scales[0], scales[1], 320), span
    columns, rows = (
        _find_cell_ends(scale, values) for scale, values in zip(scales, surface.values, strict=True)
    )
    for row, (means, sds) in zip(rows, zip(surface.means, surface.sds, strict=True), strict=True):
        for column, mean, sd in zip(columns, means, sds, strict=True):
            share = (mean - low) / (high - low) if high > low else 0.5
            title = f"expected {mean:.4f} ± {sd:.4f}"
            canvas.add_cell(column, row, share if analysis.sign > 0 else 1 - share, title)
    _mark_configurations(canvas, analysis, x, y)
    grid = np.array(surface.means)
    best = np.unravel_index(np.argmax(analysis.sign * grid), grid.shape)
    alt = (
        f"Map of the expected {metric} over {x} and {y}: best near {x} "
        f"{_format_value(surface.values[0][best[1]])} and {y} {_format_value(surface.values[1][best[0]])} "
        f"with {grid[best]:.4f} (standard deviation {surface.sds[best[0]][best[1]]:.4f}); colours from "
        f"{low:.3f} to {high:.3f}."
    )
    return canvas.draw_plot(alt)


def _find_cell_ends(scale: Scale, values: Sequence[float]) -> list[tuple[float, float]]:
    """Return both ends of a cell around each of these values, which lie evenly on the scale."""
    shares = [scale.place_value(value) for value in values]
    edges = [0.0, *((a + b) / 2 for a, b in itertools.pairwise(shares)), 1.0]
    if scale.log:
        ends = [scale.low * (scale.high / scale.low) ** edge for edge in edges]
    else:
        ends = [scale.low + edge * (scale.high - scale.low) for edge in edges]
    return [*itertools.pairwise(ends)]


def plot_importance(analysis: SearchAnalysis) -> Plot | None:
    """Plot a bar for each parameter, the most important on top."""
    importances, _ = analysis.importances
    if not importances:
        return None
    rows = [
        Row(
            each.name,
            f"{format_share(each.share)} ({format_share(each.low)} to {format_share(each.high)})",
            lines=[Line(0.0, each.share, "cool", 12), Line(each.low, each.high, "text", 1.5)],
        )
        for each in importances
    ]
    said = "; ".join(f"{row.label} {row.value}" for row in rows)
    scale = make_share_scale([each.high for each in importances], "share explained alone")
    return draw_rows(rows, scale, f"Importance: {said}.")


def plot_parallel_coordinates(analysis: SearchAnalysis) -> Plot | None:
    """Plot a line for each configuration over all parameters, to its mean score."""
    full = analysis.full_means
    if len(full) < MIN_SURFACE_CONFIGURATIONS or not analysis.varied:
        return None
    scores = [mean for _, mean in full]
    own = [make_parameter_scale(name, domain) for name, domain in analysis.varied.items()]
    axes = [*own, make_scale(scores, "mean score")]
    ticks = tuple((float(place), scale.title) for place, scale in enumerate(axes))
    canvas = Canvas(
        Scale(-0.3, len(axes) - 0.7, ticks=ticks), Scale(0.0, 1.0, ticks=((0.0, ""), (1.0, ""))), 340
    )
    groups: dict[int, list[list[tuple[float, float]]]] = {}
    order = np.argsort(np.argsort([analysis.sign * score for score in scores]))
    for (configuration, score), rank in zip(full, order, strict=True):
        values = analysis.space.to_study_values(configuration)
        line = [
            (
                float(place),
                scale.place_value(_place_parameter(domain, values[name])) if name in values else 0.5,
            )
            for place, (scale, (name, domain)) in enumerate(zip(own, analysis.varied.items(), strict=True))
        ]
        line.append((float(len(own)), axes[-1].place_value(score)))
        groups.setdefault(int(rank) * SHADES // len(scores), []).append(line)
    for shade in sorted(groups):
        colour, opacity = "accent" if shade == SHADES - 1 else "muted", 0.25 + 0.75 * shade / (SHADES - 1)
        canvas.add_lines(groups[shade], colour, 1 + shade / 4, "", opacity)
    for place, scale in enumerate(axes):
        canvas.add_whisker(place, 0.0, 1.0)
        marks = scale.list_ticks()
        for value, label in marks if len(marks) < 8 else [marks[0], marks[-1]]:
            canvas.add_note((place, scale.place_value(value)), label)
    alt = f"{len(scores)} configurations as lines over {', '.join(analysis.varied)} and the mean score."
    return canvas.draw_plot(alt, AXIS_WIDTH * len(axes))
