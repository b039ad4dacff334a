"""compare.html: one offline page on one comparison or on several. Writes all files of a comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dps.paths import write_text_file
from tune.records.comparison_document import ComparisonDocument
from tune.reporting import tables
from tune.reporting.page import PageFigures, escape_texts, render_template
from tune.reporting.plots import Plot, make_axis, make_layout


def render_comparison_page(comparisons: Sequence[ComparisonDocument]) -> str:
    """Render one page: for each comparison its sentences, the scores of every seed and the tables."""
    figures = PageFigures()
    for index, document in enumerate(comparisons):
        figures.add(f"scores-{index}", partial(plot_seed_scores, document))
    return render_template(
        "compare.html.j2",
        figures,
        comparisons=comparisons,
        heading_of=tables.format_heading,
        summary_of=tables.summarise_comparison,
        result_tables_of=tables.make_result_tables,
        cost_tables_of=tables.make_cost_tables,
        columns_note=tables.COLUMNS_NOTE,
    )


def plot_seed_scores(document: ComparisonDocument) -> Plot:
    """Plot the scores of every method as a box with one point per seed, the baseline on top.

    The chance level is a dashed line, or a number in the axis title where a line would squeeze the rest.
    """
    result = document.main_result
    boxes = [
        _box_trace(escape_texts(method), row.scores, method == document.baseline)
        for method, row in result.methods.items()
    ]
    scores = [score for box in boxes for score in box["x"]]
    chance, is_near = result.chance, result.chance > 2 * min(scores) - max(scores)
    far_note = "" if is_near else f"; chance {chance:.3g}"
    title = f"{result.metric} on {document.evaluation_sets[0]}{far_note}"
    layout = make_layout(
        make_axis(escape_texts(title)),
        make_axis("", type="category", autorange="reversed"),
        showlegend=False,
        **(_chance_line(chance) if is_near else {}),
    )
    alt = f"Scores of {len(boxes)} methods, one point per seed; the table below has the numbers."
    return Plot(boxes, layout, alt, 110 + 46 * len(boxes))


def _box_trace(method: str, scores: dict[int, float], is_baseline: bool) -> dict[str, Any]:
    """Return a horizontal box of quartiles with all its points."""
    colour, symbol = ("cool", "square") if is_baseline else ("accent", "circle")
    return {
        "type": "box", "orientation": "h", "name": method, "x": [*scores.values()],
        "y": [method] * len(scores), "boxpoints": "all", "pointpos": 0, "jitter": 0.5, "width": 0.6,
        "line": {"color": "muted", "width": 1}, "fillcolor": "rgba(0,0,0,0)",
        "marker": {"color": colour, "symbol": symbol, "size": 8}, "hoveron": "points",
        "text": [f"{method}, seed {seed}" for seed in scores],
        "hovertemplate": "%{text}: %{x:.4f}<extra></extra>",
    }  # fmt: skip


def _chance_line(chance: float) -> dict[str, Any]:
    """Return the parts of a layout that draw a dashed line at the chance level, with its name above."""
    line = {"type": "line", "x0": chance, "x1": chance, "yref": "paper", "y0": 0, "y1": 1}
    name = {"x": chance, "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False}
    return {
        "shapes": [{**line, "line": {"color": "muted", "dash": "dash"}}],
        "annotations": [{**name, "text": f"chance {chance:.3g}", "font": {"color": "muted"}}],
    }


def write_comparisons(comparisons: Sequence[ComparisonDocument], output: Path) -> None:
    """Write compare.json, compare.md, compare.tex and compare.html, each in one piece."""
    documents = [document.to_json() for document in comparisons]
    content = documents[0] if len(documents) == 1 else {"comparisons": documents}
    for name, text in (
        ("compare.json", json.dumps(content, indent=2, allow_nan=False)),
        ("compare.md", "\n".join(map(tables.render_markdown, comparisons))),
        ("compare.tex", tables.render_latex(comparisons)),
        ("compare.html", render_comparison_page(comparisons)),
    ):
        write_text_file(output / name, text)
