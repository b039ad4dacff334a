"""compare.html: one offline page on one comparison or on several. Writes all files of a comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dps.paths import write_text_file
from tune.core.wording import describe_generated_data
from tune.records.comparison_document import ComparisonDocument
from tune.reporting import tables
from tune.reporting.figures.canvas import Plot
from tune.reporting.figures.plots import draw_differences, draw_scores, make_difference_row, make_score_row
from tune.reporting.page import PageFigures, render_template


def render_comparison_page(comparisons: Sequence[ComparisonDocument]) -> str:
    """Render one page: for each comparison its sentences, how far the methods are from the baseline, the
    scores of every seed and the tables."""
    figures = PageFigures()
    for index, document in enumerate(comparisons):
        figures.add(f"differences-{index}", partial(plot_method_differences, document))
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
        generated=lambda document: describe_generated_data(document.data.source, document.task),
    )


def plot_method_differences(document: ComparisonDocument) -> Plot | None:
    """Plot by how many points each method is better than the baseline: each seed, the mean, its interval."""
    methods = document.main_result.methods
    base = methods[document.baseline].scores
    rows = [
        make_difference_row(
            method, row.difference, {s: 100 * (v - base[s]) for s, v in row.scores.items() if s in base}
        )
        for method, row in methods.items()
        if row.difference is not None
    ]
    return draw_differences(rows, f"points better than {document.baseline}") if rows else None


def plot_seed_scores(document: ComparisonDocument) -> Plot:
    """Plot the scores of every method, its mean and interval, the baseline on top, and the chance level."""
    result, title = document.main_result, f"{document.main_result.metric} on {document.evaluation_sets[0]}"
    rows = []
    for method, row in result.methods.items():
        kind = "baseline" if method == document.baseline else "winner"
        rows.append(make_score_row(method, row.scores, row.mean, row.interval, kind))
    return draw_scores(rows, result.metric, title, result.chance)


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
