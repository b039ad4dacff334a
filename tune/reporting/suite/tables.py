"""The table of several tasks: for the terminal, for suite.md, suite.tex and suite.html."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dps.wording import format_count
from tune.core.wording import format_configuration, format_difference, format_p_value
from tune.records.suite_document import AverageSection, ScoreSection, SuiteDifference, SuiteDocument
from tune.reporting.suite.collect import WINNER
from tune.reporting.suite.document import SCOPE, list_sentences
from tune.reporting.tables import TextTable, escape_latex, format_markdown_table, neutralise_markdown
from tune.stats.evidence import MIN_SEEDS

if TYPE_CHECKING:
    from rich.table import Table

AVERAGE = "average"
STARS = {"better": "*", "worse": "*", "not told apart": ""}


def describe_table(document: SuiteDocument) -> str:
    """Say what the differences are, which have no interval, and for how many tests the p-values and stars are
    corrected."""
    cells = [cell for task in document.tasks for cell in task.differences.values()]
    tests = sum(cell.adjusted_p is not None for cell in cells)
    averages = sum(average.adjusted_p is not None for average in document.averages.values())
    again = "for looking again with more seeds"
    parts = [
        "Differences are paired over shared seeds, in hundredths of each task's metric, with 95 % intervals "
        "over seeds and examples, as in the report of each task."
    ]
    if any(cell.interval is None and not cell.exact for cell in cells):
        parts += [f"Without an interval are those with fewer than {MIN_SEEDS} pairs, or all pairs the same."]
    if tests:
        many = f"for {format_count(tests, 'difference')} of the table (Holm) and " if tests > 1 else ""
        parts += [f"* p < 0.05, corrected {many}{again}, and an interval on one side of 0."]
    if averages:
        many = f"for {format_count(averages, 'average')} (Holm) and " if averages > 1 else ""
        parts += [f"p of an average is corrected {many}{again}."]
    if document.averages:
        parts += [
            "The interval of an average resamples the seeds and the examples within each task; the tasks are "
            "fixed."
        ]
    return " ".join(parts)


def make_difference_table(document: SuiteDocument, brief: bool = False) -> TextTable:
    """Return the table of differences: a row a task, then their average, which sizes have not; where there
    are more differences than rows, a row a difference. brief: without metrics and winners."""
    names = list(dict.fromkeys(name for task in document.tasks for name in task.differences))
    first = WINNER if document.kind == "search" else document.baseline or ""
    heads = ["winner"] if document.kind == "search" and not brief else []
    metric = [] if brief else ["metric"]
    row_name = "size" if document.is_of_sizes else "task"
    columns = (row_name, *metric, *heads, f"score of {first}", *map(document.name_difference, names))
    rows = []
    for task in document.tasks:
        chosen = [format_configuration(task.winner or {"method": "-"})] if heads else []
        cells = [format_task_difference(task.differences.get(name)) for name in names]
        rows.append(
            (task.task, *(task.metric for _ in metric), *chosen, format_score(task.scores.get(first)), *cells)
        )
    if not document.is_of_sizes:
        cells = [format_average(document.averages.get(name)) for name in names]
        blank = ["-"] * len([*metric, *heads])
        rows.append((AVERAGE, *blank, format_score(document.scores.get(first)), *cells))
    table = TextTable("Differences", columns, rows)
    return table.transpose() if len(names) > len(rows) else table


def make_remainder_table(document: SuiteDocument) -> TextTable:
    """Return the table of the averages without each task, in rows and columns as the differences are."""
    columns = ("without", *map(document.name_difference, document.averages))
    rows = []
    for task in document.tasks:
        left = [average.without.get(task.task) for average in document.averages.values()]
        cells = ["-" if rest is None else format_difference(rest.mean, rest.interval) for rest in left]
        rows.append((task.task, *cells))
    table = TextTable("Without each task", columns, rows)
    return table.transpose() if len(document.averages) > len(rows) + 1 else table


def make_score_table(document: SuiteDocument) -> TextTable:
    """Return the table of mean scores: a row for each of what was confirmed, a column a task, the average,
    which sizes have not. A star where it is told apart."""
    names = list(dict.fromkeys(name for task in document.tasks for name in task.scores))
    average = () if document.is_of_sizes else (AVERAGE,)
    columns = ("", *(task.task for task in document.tasks), *average)
    rows = []
    for name in names:
        cells = [
            _format_hundred(task.scores.get(name), task.differences.get(name)) for task in document.tasks
        ]
        rows.append((name, *cells, *(_format_hundred(document.scores.get(name)) for _ in average)))
    return TextTable("Mean scores on dev, times 100", columns, rows)


def format_score(score: ScoreSection | None) -> str:
    """Format a score with its interval."""
    if score is None:
        return "-"
    return f"{score.mean:.4f}" + (" ({:.4f} to {:.4f})".format(*score.interval) if score.interval else "")


def _format_hundred(score: ScoreSection | None, difference: SuiteDifference | None = None) -> str:
    star = STARS[difference.verdict] if difference else ""
    return "-" if score is None else f"{100 * score.mean:.1f}{star}"


def format_task_difference(difference: SuiteDifference | None) -> str:
    """Format a difference in points, with its interval, and a star if it is distinguishable."""
    if difference is None:
        return "-"
    if difference.exact:
        return "0 (it won)"
    return format_difference(difference.mean, difference.interval) + STARS[difference.verdict]


def format_average(average: AverageSection | None) -> str:
    """Format an average in points, with its interval, p, and a star if it is distinguishable."""
    if average is None:
        return "-"
    said = format_difference(average.mean, average.interval)
    return said if average.adjusted_p is None else f"{said}, p {format_p_value(average.adjusted_p)}"


def summarise_suite(document: SuiteDocument) -> list[str]:
    """Return what the averages say, what they do not, and what is missing, a line each."""
    lines = list_sentences(document)
    return [*lines, SCOPE, *document.notes] if lines else [document.sentence]


def make_terminal_table(document: SuiteDocument) -> Table:
    """Return the table of differences for a terminal, whose cells wrap; of sizes, that of scores."""
    from rich.table import Table
    from rich.text import Text

    found = (
        make_score_table(document) if document.is_of_sizes else make_difference_table(document, brief=True)
    )
    table = Table(expand=False, pad_edge=False, box=None)
    for column in found.columns:
        table.add_column(Text(column), overflow="fold")
    for row in found.rows:
        table.add_row(*map(Text, row))
    return table


def render_suite_markdown(document: SuiteDocument) -> str:
    """Render suite.md: the sentence, the tables, what they say."""
    tables = [make_difference_table(document), make_score_table(document)]
    titled = [
        f"## {neutralise_markdown(table.title)}\n\n{format_markdown_table(table.columns, table.rows)}"
        for table in tables
    ]
    failed = [f"- {name}: {why}" for name, why in document.failed.items()]
    parts = [
        f"# {neutralise_markdown(', '.join(task.task for task in document.tasks))}",
        neutralise_markdown(document.sentence),
        titled[0],
        describe_table(document),
        titled[1],
        *([neutralise_markdown("Without a result:\n" + "\n".join(failed))] if failed else []),
    ]
    return "\n\n".join(parts) + "\n"


def render_suite_latex(document: SuiteDocument) -> str:
    """Render suite.tex: mean scores times 100, a column a task and their average (booktabs)."""
    table = make_score_table(document)
    lines = [" & ".join(map(escape_latex, row)) + r" \\" for row in table.rows]
    against = "the winner" if document.kind == "search" else document.baseline
    return "\n".join(
        [
            "% needs booktabs; mean scores over paired seeds, times 100",
            f"% * differs from {escape_latex(str(against))}: p < 0.05 (Holm), interval on one side of 0",
            f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule",
            " & ".join(map(escape_latex, table.columns)) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
