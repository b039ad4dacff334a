"""suite.html: one offline page on several tasks. Writes all files of a suite, and reads their folders."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dps.paths import write_text_file
from dps.text import redact_addresses
from tune.core.wording import describe_generated_data, format_difference
from tune.records.suite_document import SuiteDocument
from tune.reporting.figures.canvas import Plot
from tune.reporting.figures.plots import draw_differences
from tune.reporting.figures.rows import Line, Mark, Row
from tune.reporting.page import PageFigures, render_template
from tune.reporting.suite import tables
from tune.reporting.suite.document import SCOPE, list_sentences

SUITE_PAGE = "suite.html"
TASK_PAGES = {"search": "report.html", "comparison": "compare.html"}


def render_suite_page(document: SuiteDocument, folder: Path) -> str:
    """Render the page: sentences, a forest plot of the averages, the tables, and folded a forest plot of the
    tasks for each average. folder: the page's own, from which the tasks' reports are linked."""
    figures = PageFigures()
    figures.add("averages", partial(plot_averages, document))
    for place, name in enumerate(document.averages):
        figures.add(f"tasks-{place}", partial(plot_tasks, document, name))
    return render_template(
        "suite.html.j2",
        figures,
        document=document,
        sentences=list_sentences(document) or [document.sentence],
        tables=[
            tables.make_difference_table(document),
            tables.make_score_table(document),
            tables.make_remainder_table(document),
        ],
        note=tables.describe_table(document),
        scope=SCOPE,
        links={task.task: _find_page(Path(task.folder), document.kind, folder) for task in document.tasks},
        generated=[
            task.task for task in document.tasks if describe_generated_data(task.data.source, task.task)
        ],
    )


def _find_page(task: Path, kind: str, folder: Path) -> str:
    """Return the link to a task's own page."""
    return Path(os.path.relpath(task / TASK_PAGES[kind], folder)).as_posix()


def plot_averages(document: SuiteDocument) -> Plot | None:
    """Plot all averages, one a row, with the mean of each task; None of a single one, see `plot_tasks`."""
    if len(document.averages) < 2:
        return None
    rows = []
    for name, average in document.averages.items():
        means = {task.task: task.differences[name].mean for task in document.tasks}
        dots = [
            Mark(100 * mean, "dot", "muted", f"{task}: {format_difference(mean)}", loose=True)
            for task, mean in means.items()
        ]
        said = tables.format_average(average)
        rows.append(_make_row(name, average.mean, average.interval, dots, said))
    won = document.kind == "search"
    against = "by which the winner is better" if won else f"better than {document.baseline}"
    return draw_differences(rows, f"points {against}", "a size" if document.is_of_sizes else "a task")


def plot_tasks(document: SuiteDocument, name: str) -> Plot:
    """Plot a difference: a row a task with each pair, and the average."""
    rows = []
    for task in document.tasks:
        found = task.differences[name]
        pairs = [
            Mark(100 * value, "dot", "muted", f"seed {seed}: {format_difference(value)}", loose=True)
            for seed, value in found.by_seed.items()
        ]
        rows.append(
            _make_row(task.task, found.mean, found.interval, pairs, tables.format_task_difference(found))
        )
    average = document.averages[name]
    said = tables.format_average(average)
    rows.append(_make_row(tables.AVERAGE, average.mean, average.interval, [], said, strong=True))
    return draw_differences(rows, f"{document.name_difference(name)}, points")


def _make_row(
    label: str,
    mean: float,
    interval: tuple[float, float] | None,
    pairs: Sequence[Mark],
    value: str,
    strong: bool = False,
) -> Row:
    lines = [Line(100 * interval[0], 100 * interval[1], "accent", 3)] if interval else []
    shape = "diamond" if interval else "ring"
    mark = Mark(100 * mean, shape, "accent", f"mean {format_difference(mean)}")
    return Row(label, value, [*pairs, mark], lines, strong)


def write_suite(document: SuiteDocument, page: Path) -> None:
    """Write the page, and the JSON, Markdown and LaTeX of the same name beside it, each in one piece."""
    content = redact_addresses(document.to_json())
    for suffix, text in (
        (".json", json.dumps(content, indent=2, allow_nan=False)),
        (".md", tables.render_suite_markdown(document)),
        (".tex", tables.render_suite_latex(document)),
        (".html", render_suite_page(document, page.resolve().parent)),
    ):
        write_text_file(page.with_suffix(suffix), text)
