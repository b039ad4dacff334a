"""The tables of a comparison: for the terminal, for compare.md, compare.html and compare.tex."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dps.text import sanitise_text
from dps.training.config import STEP_PARAMETERS
from dps.wording import format_hundredths, format_share, list_names
from tune.core.wording import (
    format_code_span,
    format_configuration,
    format_number,
    format_p_value,
    format_probability,
    format_usage,
)
from tune.records.comparison_document import ComparisonDocument, EvaluationSetResult, MethodResult
from tune.records.schema import DifferenceSection
from tune.reporting.summary import describe_cut_texts
from tune.stats import verdict

if TYPE_CHECKING:
    from rich.table import Table

_MARKUP_START = re.compile(r"<(?=[A-Za-z/!?])|\](?=[(\[:])")
RESULT_COLUMNS = (
    "method", "mean", "std", "median", "worst to best", "log loss", "calibration error", "not above chance",
    "collapsed", "difference", "p", "P(better)",
)  # fmt: skip
ENSEMBLE_COLUMNS = ("method", "models", "score", "95 % interval", "log loss", "calibration error")
COST_COLUMNS = ("method", "passes a run", "seconds a run", "peak memory", "seconds in all", "configuration")
NARROW_COLUMNS = ("method", "mean", "std", "log loss", "difference", "p")  # fit 80
COLUMNS_NOTE = (
    "Log loss, calibration error (ECE): means over the completed runs, lower is better. Not above chance: "
    "share of runs no better than the best constant prediction. Collapsed: share of runs that gave one "
    "answer to all examples, and how large their rate may still be (exact upper 95 % bound); an interval "
    "accounts only for collapses that occurred. Difference: paired difference from the baseline over shared "
    "seeds, in hundredths of the metric, with its 95 % interval over seeds and examples. p: two-sided, "
    "corrected by Holm within each table and for looking again with more seeds. P(better): probability that "
    "the true mean difference is above 0, under a flat prior; not corrected. The interval of an ensemble is "
    "over examples, with its models given."
)


class TextTable(NamedTuple):
    """A table of text under a title; the first cell of a row is its method."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def transpose(self) -> TextTable:
        """Return the table with a row for each column but the first."""
        heads, *rows = zip(self.columns, *self.rows, strict=True)
        return TextTable(self.title, heads, rows)


def format_heading(document: ComparisonDocument) -> str:
    """Name the comparison by its task and training examples."""
    return f"{document.task}, {document.plan.examples['train']:,} training examples"


def summarise_comparison(document: ComparisonDocument) -> list[str]:
    """Return the sentences, then what they are based on and what they do not cover."""
    name, *others = document.evaluation_sets
    result = document.results[name]
    row = result.methods[document.baseline]
    within = "95 % interval {:.4f} to {:.4f}, ".format(*row.interval) if row.interval else ""
    lines = [
        *document.sentences,
        f"{document.baseline}: mean {result.metric} {row.mean:.4f} ({within}"
        f"over {row.n} seeds and the {result.examples:,} examples of {name}; "
        f"chance {result.chance:.4f}).",
        *_budget_lines(document),
        *_test_lines(name, document),
    ]
    return [*lines, f"Also tested on {', '.join(others)}: see compare.md."] if others else lines


def _budget_lines(document: ComparisonDocument) -> list[str]:
    """Say what each method was given, and what the choice of its configuration leaves open."""
    budget, settings = document.budget, document.plan.settings
    tried = sorted({len(method.trials) for method in document.methods})
    steps = _list_confirmed_steps(document)
    arm, many = (
        ("arm", "arms") if any(method.differs for method in document.methods) else ("method", "methods")
    )
    trained = settings.confirmed_on
    if any("patience" in method.differs for method in document.methods):
        trained = "all training data but what patience holds out"
    confirming = (
        f"trained on {trained} for {_format_span(steps)} steps with {len(budget.seeds)} fresh seeds, the "
        f"same for all {many}"
    )
    stopping = "each run to its end" if budget.scheduler == "none" else f"{budget.scheduler} stops some"
    equal = "configurations and seeds, not of steps,"
    if len(steps) == 1:
        equal = "configurations, steps and seeds, not of"
    lines = [
        f"Each {arm}: {_format_span(tried)} configuration{'s' if tried[-1] > 1 else ''} ({budget.sampler}, "
        f"{stopping}) with one seed, ranked on {settings.select_on}; the best of them {confirming}. "
        f"{many.capitalize()} have equal numbers of {equal} passes or seconds.",
        f"Each {arm} is represented by one configuration; intervals and p do not include the uncertainty of "
        f"choosing it with one seed.",
    ]
    if budget.configurations is None:
        lines = [f"The runs that are compared were {confirming}."]
    elif tried[-1] == 0:
        lines = [f"Each {arm} is taken as given, not tuned; {confirming}."]
    if settings.select_on == "dev" and tried[-1]:
        lines.append("Configurations were ranked on dev, which is reported too: the means are optimistic.")
    spent = document.spent
    took = f"{spent.seconds:.0f} s, {spent.slot_seconds:.0f} slot seconds{format_usage(spent.to_json())}"
    return [*lines, f"All runs together: {took}."]


def _list_confirmed_steps(document: ComparisonDocument) -> list[int]:
    """Return the numbers of steps of the confirmations: where epochs are searched, those of the best."""
    steps: set[int] = set()
    for method in document.methods:
        made = {run.step for run in method.runs if run.step and STEP_PARAMETERS & method.space.keys()}
        steps |= made or {method.confirm_steps or document.budget.confirm_steps}
    return sorted(steps)


def _format_span(counts: Sequence[int]) -> str:
    """Format sorted counts as one, or as the first to the last."""
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def _test_lines(evaluation_set: str, document: ComparisonDocument) -> list[str]:
    """Say what the p-values are corrected for, where there are any."""
    looks, rows = document.looks, document.results[evaluation_set].methods.values()
    tested = sum(row.difference is not None and row.difference.p is not None for row in rows)
    if not tested:
        return []
    comparisons = tested + len(document.dropped)
    before = f", {list_names(document.dropped)} of an earlier look among them" if document.dropped else ""
    many = f"{comparisons} comparisons with the baseline on {evaluation_set} (Holm{before}) and for "
    look = "looking again with more seeds"
    if len(looks) > 1:
        look = f"looking {len(looks)} times (before with {', '.join(map(str, looks[:-1]))} seeds)"
    return [
        f"p is two-sided, corrected for {many if comparisons > 1 else ''}{look}; intervals are not "
        f"corrected; there is no correction across evaluation sets, tasks or tables."
    ]


def make_terminal_table(document: ComparisonDocument, width: int) -> Table:
    """Return the methods on the task's evaluation set and their costs: NARROW_COLUMNS, and what there is room
    for of the others."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    all_rows = []
    for row in format_result_rows(document, document.evaluation_sets[0]):
        cost, answers = document.costs[row[0]], document.main_result.methods[row[0]].answers
        together = None if answers is None or answers.ensemble is None else answers.ensemble.score
        figures = (together, ".4f"), (cost.passes_per_run, ".0f"), (cost.seconds_per_run, ".1f")
        all_rows.append((*row, *(format_number(*figure) for figure in figures)))
    columns, rows = _leave_out_unknown((*RESULT_COLUMNS, "ensemble", "passes", "seconds a run"), all_rows)
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    is_narrow = [column in NARROW_COLUMNS for column in columns]
    room = width + 2 - sum(each + 2 for each, needed in zip(widths, is_narrow, strict=True) if needed)
    shown = []
    for number, needed in enumerate(is_narrow):
        if needed or widths[number] + 2 <= room:
            shown.append(number)
            room -= 0 if needed else widths[number] + 2
    table = Table(box=None, pad_edge=False)
    for number in shown:
        table.add_column(columns[number], no_wrap=True, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(sanitise_text(row[number])) for number in shown))
    return table


def _leave_out_unknown(
    columns: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns, and the rows, without those of which no row knows anything."""
    known = [place for place in range(len(columns)) if {row[place] for row in rows} != {"-"}]
    return tuple(columns[place] for place in known), [tuple(row[place] for place in known) for row in rows]


def format_result_rows(document: ComparisonDocument, name: str) -> Iterator[tuple[str, ...]]:
    """Yield a row of RESULT_COLUMNS for each method on an evaluation set."""
    for method, row in document.results[name].methods.items():
        difference, answers = row.difference, row.answers
        losses = (None, None) if answers is None else (answers.log_loss, answers.calibration_error)
        difference_cells: tuple[str, ...] = ("", "", "")
        if difference is not None:
            difference_cells = (
                _format_difference(difference),
                format_p_value(difference.adjusted_p),
                format_probability(difference.probability_better),
            )
        yield (
            method,
            f"{row.mean:.4f}",
            format_number(row.std, ".4f"),
            f"{row.median:.4f}",
            f"{row.worst:.4f} to {row.best:.4f}",
            *(format_number(loss, ".4f") for loss in losses),
            "-" if row.not_above_chance is None else format_share(row.not_above_chance),
            _format_collapsed(row),
            *difference_cells,
        )


def format_ensemble_rows(result: EvaluationSetResult) -> Iterator[tuple[str, ...]]:
    """Yield a row of ENSEMBLE_COLUMNS for each method of which several runs completed."""
    for method, row in result.methods.items():
        if row.answers is not None and (together := row.answers.ensemble) is not None:
            yield (
                method,
                f"{together.runs}",
                f"{together.score:.4f}",
                "{:.4f} to {:.4f}".format(*together.interval) if together.interval else "-",
                format_number(together.log_loss, ".4f"),
                format_number(together.calibration_error, ".4f"),
            )


def _format_difference(difference: DifferenceSection) -> str:
    """Format a difference in points, with its interval if it has one, in few characters."""
    size, *ends = format_hundredths(difference.mean, *(difference.interval or ()), sign="+")
    return "{} [{}, {}]".format(size, *ends) if ends else size


def _format_collapsed(row: MethodResult) -> str:
    """Return the share of runs that collapsed, with the bound of their rate where it is known."""
    bound = "" if row.collapsed_at_most is None else f" (up to {format_share(row.collapsed_at_most)})"
    return f"{format_share(row.collapsed)}{bound}"


def format_cost_rows(document: ComparisonDocument) -> Iterator[tuple[str, ...]]:
    """Yield a row of COST_COLUMNS for each method."""
    for method in document.methods:
        cost = document.costs[method.method]
        memory = cost.peak_memory
        yield (
            method.method,
            format_number(cost.passes_per_run, ".0f"),
            format_number(cost.seconds_per_run, ".1f"),
            f"{memory / 2**30:.2f} GiB" if memory else "-",
            format_number(cost.seconds, ".0f"),
            format_configuration(method.configuration),
        )


def make_result_tables(document: ComparisonDocument) -> list[TextTable]:
    """Return one table for each evaluation set, the means of further metrics in its last columns, and one of
    the ensembles on the task's own sets."""
    tables = []
    for name, result in document.results.items():
        others = sorted({metric for row in result.methods.values() for metric in row.others})
        rows = [
            (*row, *(f"{result.methods[row[0]].others[metric]:.4f}" for metric in others))
            for row in format_result_rows(document, name)
        ]
        title = f"{name}: {result.metric}, {result.examples:,} examples, chance {result.chance:.4f}"
        tables.append(TextTable(title, *_leave_out_unknown((*RESULT_COLUMNS, *others), rows)))
        if ensembles := list(format_ensemble_rows(result)):
            title = (
                f"{name}: {result.metric} of the ensemble of each method's models (mean of their predictions)"
            )
            tables.append(TextTable(title, *_leave_out_unknown(ENSEMBLE_COLUMNS, ensembles)))
    return tables


def make_cost_tables(document: ComparisonDocument) -> list[TextTable]:
    """Return the table of costs, and that of the feature probe if there was one."""
    tables = [TextTable("Costs", COST_COLUMNS, list(format_cost_rows(document)))]
    if document.probe:
        figures = [
            name
            for name in next(iter(document.probe.values()))
            if name.endswith("_last") or name.startswith("probe")
        ]
        rows = [
            (method, *(f"{values[name]:.4f}" for name in figures))
            for method, values in document.probe.items()
        ]
        title = "Features: how far they moved, and what a linear probe still finds (means over seeds)"
        tables.append(TextTable(title, ("method", *figures), rows))
    return tables


def render_markdown(document: ComparisonDocument) -> str:
    """Render one comparison: sentences, a table for each evaluation set, costs, provenance.

    Texts of the document, which may be another's, stay text: no HTML, no links, no control characters.
    """

    def format_titled(table: TextTable) -> str:
        return f"### {neutralise_markdown(table.title)}\n\n{format_markdown_table(table.columns, table.rows)}"

    parts = [
        f"## {neutralise_markdown(format_heading(document))}",
        "\n".join(f"- {neutralise_markdown(line)}" for line in summarise_comparison(document)),
        *map(format_titled, make_result_tables(document)),
        COLUMNS_NOTE,
        *map(format_titled, make_cost_tables(document)),
        _format_provenance(document),
    ]
    return "\n\n".join(parts) + "\n"


def _format_provenance(document: ComparisonDocument) -> str:
    """Say which data, model, settings and code the comparison comes from."""
    settings, model = document.plan.settings, document.model
    is_shared = not any(method.differs for method in document.methods)
    whose = "D" if is_shared else f"Of {neutralise_markdown(document.baseline)}: d"
    ranked = f", ranked on {settings.select_on}" if document.budget.configurations is not None else ""
    commits = [
        f"{neutralise_markdown(', '.join(origin.methods))}{': ' if origin.methods else ''}commit "
        f"{format_code_span((origin.git_commit or 'none')[:10])}{' (changed)' if origin.git_dirty else ''}"
        for origin in document.origins
    ]
    return (
        f"{whose}ata {neutralise_markdown(document.data.source)} "
        f"({format_code_span(document.data.fingerprint[:8])}), "
        f"model {format_code_span(model.name)} ({format_code_span(model.fingerprint[:8])}), batch "
        f"{settings.batch_size}, "
        f"{settings.max_length} tokens; {_format_span(_list_confirmed_steps(document))} steps"
        f"{neutralise_markdown(ranked)}; {'; '.join(commits)}."
        f"{neutralise_markdown(''.join(f' {line}' for line in describe_cut_texts(document.plan)))}"
    )


def format_markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table; a bar in a cell is escaped."""

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(neutralise_markdown(cell).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([row(columns), "|" + "---|" * len(columns), *map(row, rows)])


def neutralise_markdown(text: str) -> str:
    """Return a text as a part of Markdown in which it begins no tag, no link and no other line."""
    return _MARKUP_START.sub(lambda found: "&lt;" if found[0] == "<" else "&#93;", sanitise_text(text))


def render_latex(comparisons: Sequence[ComparisonDocument]) -> str:
    """Render means and standard deviations times 100: one row per method, one column per task (booktabs)."""
    methods = list(dict.fromkeys(method.method for document in comparisons for method in document.methods))
    heads = [f"{escape_latex(document.task)} ({document.plan.examples['train']})" for document in comparisons]
    lines = []
    for method in methods:
        cells = []
        for document in comparisons:
            result = document.main_result.methods.get(method)
            cells.append("--" if result is None else _latex_cell(result))
        lines.append(f"{escape_latex(method)} & {' & '.join(cells)} \\\\")
    return "\n".join(
        [
            "% needs booktabs; mean (standard deviation) over paired seeds, times 100",
            "% * differs from the baseline of its column: p < 0.05 (Holm) and an interval on one side of 0",
            f"\\begin{{tabular}}{{l{'r' * len(comparisons)}}}",
            "\\toprule",
            f"method & {' & '.join(heads)} \\\\",
            "\\midrule",
            *lines,
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def _latex_cell(row: MethodResult) -> str:
    """Format mean and standard deviation, with a star if the difference is distinguishable."""
    star = "*" if row.difference and is_distinguishable(row.difference) else ""
    spread = f" ({100 * row.std:.1f})" if row.std is not None else ""
    return f"{100 * row.mean:.1f}{spread}{star}"


def is_distinguishable(difference: DifferenceSection) -> bool:
    """Return whether a difference is significant, by the rule of `describe_difference`."""
    return verdict.is_distinguishable(difference.adjusted_p, difference.interval, difference.level)


def escape_latex(text: str) -> str:
    """Escape what LaTeX would read as a command."""
    words = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    words |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(words.get(character, character) for character in sanitise_text(text))
