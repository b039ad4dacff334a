"""A comparison to look at: a table for the terminal, Markdown and LaTeX, a plot of every seed."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune.core.wording import (
    format_code_span,
    format_number,
    format_p_value,
    format_probability,
    format_usage,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

ComparisonDocument = dict[str, Any]
RESULT_COLUMNS = (
    "method",
    "mean",
    "std",
    "median",
    "worst to best",
    "collapsed",
    "difference",
    "p",
    "P(better)",
)
COST_COLUMNS = ("method", "passes a run", "seconds a run", "peak memory", "seconds in all", "configuration")
MIN_WIDE_TERMINAL = 140  # characters that all columns take
NARROW_COLUMNS = ("method", "mean", "std", "difference", "p")  # fits 80
COLUMNS_NOTE = (
    "Collapsed: the share of runs no better than the best constant prediction. Difference: to the baseline, "
    "seed by seed, in hundredths of the metric, with its 95 % interval over seeds and examples. p: "
    "two-sided, corrected by Holm within each table. P(better): that the true mean difference is above 0, "
    "under a flat prior; not corrected."
)
METHOD_COLOURS = {"baseline": "#64748b", "other": "#0f766e"}


def format_heading(found: ComparisonDocument) -> str:
    """Which comparison it is."""
    return f"{found['task']}, {found['plan']['examples']['train']:,} training examples"


def summarise_comparison(found: ComparisonDocument) -> list[str]:
    """What was found, the sentences first; then what they rest on, and what they do not cover."""
    name, *others = found["evaluation_sets"]
    result = found["results"][name]
    row = result["methods"][found["baseline"]]
    low, high = row["interval"]
    lines = [
        *found["sentences"],
        f"{found['baseline']}: mean {result['metric']} {row['mean']:.4f} (95 % interval {low:.4f} to "
        f"{high:.4f}, over {row['n']} seeds and the {result['examples']:,} examples of {name}; "
        f"chance {result['chance']:.4f}).",
        *_budget_lines(found),
        _test_line(len(result["methods"]) - 1, name),
    ]
    return [*lines, f"Also tested on {', '.join(others)}: see compare.md."] if others else lines


def _budget_lines(found: ComparisonDocument) -> list[str]:
    """What each method was given, and what the choice of its configuration leaves open."""
    budget, settings = found["budget"], found["plan"]["settings"]
    tried = sorted({len(method["trials"]) for method in found["methods"]})
    configurations = f"{tried[0]}" if len(tried) == 1 else f"{tried[0]} to {tried[-1]}"
    stopping = "each run to its end" if budget["scheduler"] == "none" else f"{budget['scheduler']} stops some"
    lines = [
        f"Each method: {configurations} configuration{'s' if tried[-1] > 1 else ''} ({budget['sampler']}, "
        f"{stopping}) with one seed, ranked on {settings['select_on']}; the best of them trained on all "
        f"training data for {budget['confirm_steps']:,} steps with {len(budget['seeds'])} fresh seeds, the "
        f"same for all methods. Equal are configurations, steps and seeds, not passes or seconds.",
        "A method stands for that one configuration: intervals and p do not cover the luck of choosing it "
        "by one seed.",
    ]
    if settings["select_on"] == "dev":
        lines.append("Configurations were ranked on dev, which is reported too: the means are optimistic.")
    spent = found["spent"]
    took = f"{spent['seconds']:.0f} s, {spent['slot_seconds']:.0f} slot seconds{format_usage(spent)}"
    return [*lines, f"All runs together: {took}."]


def _test_line(comparisons: int, name: str) -> str:
    corrected = (
        f"corrected for {comparisons} comparisons with the baseline on {name} (Holm); intervals are not "
        f"corrected"
        if comparisons > 1
        else "of one comparison"
    )
    return f"p is two-sided, {corrected}, and nothing is for other evaluation sets, tasks or tables."


def make_terminal_table(found: ComparisonDocument, width: int) -> Table:
    """The methods on the task's own evaluation set, and what they cost; fewer columns on a narrow screen."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns = (*RESULT_COLUMNS, "passes", "seconds a run")
    kept = [
        number
        for number, column in enumerate(columns)
        if width >= MIN_WIDE_TERMINAL or column in NARROW_COLUMNS
    ]
    for number in kept:
        table.add_column(columns[number], no_wrap=True, justify="right" if number else "left")
    for row in format_result_rows(found, found["evaluation_sets"][0]):
        cost = found["costs"][row[0]]
        costs = format_number(cost["passes_per_run"], ".0f"), format_number(cost["seconds_per_run"], ".1f")
        table.add_row(*([*row, *costs][number] for number in kept))
    return table


def format_result_rows(found: ComparisonDocument, name: str) -> Iterator[tuple[str, ...]]:
    """A row of text for each method on an evaluation set; see COLUMNS."""
    for method, row in found["results"][name]["methods"].items():
        difference = row["difference"]
        told: tuple[str, ...] = ("", "", "")
        if difference is not None:
            low, high = (100 * bound for bound in difference["interval"])
            told = (
                f"{difference['points']:+.1f} [{low:+.1f}, {high:+.1f}]",
                format_p_value(difference["adjusted_p"]),
                format_probability(difference["probability_better"]),
            )
        yield (
            method,
            f"{row['mean']:.4f}",
            format_number(row["std"], ".4f"),
            f"{row['median']:.4f}",
            f"{row['worst']:.4f} to {row['best']:.4f}",
            f"{row['collapsed']:.0%}",
            *told,
        )


def format_cost_rows(found: ComparisonDocument) -> Iterator[tuple[str, ...]]:
    """What each method cost; see COSTS."""
    from tune.core.wording import format_configuration

    for method in found["methods"]:
        cost = found["costs"][method["method"]]
        memory = cost["peak_memory"]
        yield (
            method["method"],
            format_number(cost["passes_per_run"], ".0f"),
            format_number(cost["seconds_per_run"], ".1f"),
            f"{memory / 2**30:.2f} GiB" if memory else "-",
            format_number(cost["seconds"], ".0f"),
            format_configuration(method["configuration"]),
        )


def render_markdown(found: ComparisonDocument) -> str:
    """One comparison: sentences, a table for each evaluation set, costs, where it comes from."""
    parts = [
        f"## {format_heading(found)}",
        "\n".join(f"- {line}" for line in summarise_comparison(found)),
    ]
    for name, result in found["results"].items():
        others = sorted({key for row in result["methods"].values() for key in row["others"]})
        lines = [(*row, *_other_metrics(result, row[0], others)) for row in format_result_rows(found, name)]
        parts += [
            f"### {name}: {result['metric']}, {result['examples']:,} examples, chance {result['chance']:.4f}",
            format_markdown_table((*RESULT_COLUMNS, *others), lines),
        ]
    parts += [COLUMNS_NOTE, "### Costs", format_markdown_table(COST_COLUMNS, list(format_cost_rows(found)))]
    if found["probe"]:
        keys = list(next(iter(found["probe"].values())))
        shown = [key for key in keys if key.endswith("_last") or key.startswith("probe")]
        parts += [
            "### Features: how far they moved, and what a linear probe still finds (means over seeds)",
            format_markdown_table(
                ("method", *shown),
                [(name, *(f"{row[key]:.4f}" for key in shown)) for name, row in found["probe"].items()],
            ),
        ]
    return "\n\n".join([*parts, _format_origin(found)]) + "\n"


def _format_origin(found: ComparisonDocument) -> str:
    """Where it comes from: data, model, settings, code."""
    settings, model = found["plan"]["settings"], found["model"]
    made = found.get("joined") or [{**found["provenance"], "methods": []}]
    commits = [
        f"{', '.join(one['methods'])}{': ' if one['methods'] else ''}commit "
        f"`{(one['git_commit'] or 'none')[:10]}`{' (changed)' if one['git_dirty'] else ''}"
        for one in made
    ]
    return (
        f"Data {found['data']['source']} (`{found['data']['fingerprint'][:8]}`), "
        f"model {format_code_span(model['name'])} (`{model['fingerprint'][:8]}`), batch "
        f"{settings['batch_size']}, "
        f"{settings['max_length']} tokens, {found['budget']['confirm_steps']:,} steps, ranked on "
        f"{settings['select_on']}; {'; '.join(commits)}."
    )


def _other_metrics(result: ComparisonDocument, method: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{result['methods'][method]['others'][name]:.4f}" for name in names)


def format_markdown_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([row(columns), "|" + "---|" * len(columns), *map(row, lines)])


def render_latex(comparisons: Sequence[ComparisonDocument]) -> str:
    """Mean and standard deviation times 100, a row a method, a column a task (booktabs)."""
    methods = list(dict.fromkeys(m["method"] for found in comparisons for m in found["methods"]))
    heads = [
        f"{_escape_latex(found['task'])} ({found['plan']['examples']['train']})" for found in comparisons
    ]
    lines = []
    for method in methods:
        cells = []
        for found in comparisons:
            result = found["results"][found["evaluation_sets"][0]]["methods"].get(method)
            cells.append("--" if result is None else _latex_cell(result))
        lines.append(f"{_escape_latex(method)} & {' & '.join(cells)} \\\\")
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


def _latex_cell(row: ComparisonDocument) -> str:
    star = "*" if row["difference"] and is_distinguishable(row["difference"]) else ""
    spread = f" ({100 * row['std']:.1f})" if row["std"] is not None else ""
    return f"{100 * row['mean']:.1f}{spread}{star}"


def is_distinguishable(difference: ComparisonDocument) -> bool:
    """Whether it is told, as in `evidence.words`."""
    p, (low, high) = difference["adjusted_p"], difference["interval"]
    return p is not None and p < round(1 - difference["level"], 9) and (low > 0 or high < 0)


def _escape_latex(text: str) -> str:
    words = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    words |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(words.get(character, character) for character in text)


def plot_comparisons(comparisons: Sequence[ComparisonDocument]) -> str:
    """An SVG: every seed of every method as a point over its box, the chance level as a line."""
    from matplotlib.figure import Figure

    most = max(len(found["methods"]) for found in comparisons)
    columns = min(2, len(comparisons))
    lines = -(-len(comparisons) // columns)
    figure = Figure(figsize=(5.2 * columns, lines * (1.4 + 0.34 * most)), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for axes, found in itertools.zip_longest(panels, comparisons):
        if found is None:
            axes.set_axis_off()
        else:
            _draw_panel(axes, found)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw_panel(axes: Axes, found: ComparisonDocument) -> None:
    """The methods of one comparison on its own evaluation set, the first on top."""
    name, size = found["evaluation_sets"][0], found["plan"]["examples"]["train"]
    result = found["results"][name]
    names = list(result["methods"])[::-1]
    values = [list(result["methods"][method]["scores"].values()) for method in names]
    grey = {"color": "#94a3b8"}
    axes.boxplot(
        values, orientation="horizontal", showfliers=False, widths=0.55, medianprops={"color": "#c2410c"},
        boxprops=grey, whiskerprops=grey, capprops=grey,
    )  # fmt: skip
    for at, (method, scores) in enumerate(zip(names, values, strict=True), start=1):
        colour = METHOD_COLOURS["baseline" if method == found["baseline"] else "other"]
        points = axes.scatter(scores, [at] * len(scores), color=colour, alpha=0.75, s=22, zorder=3)
        points.set_gid(f"{found['task']}-{size}-{method}")
    lowest, chance = min(map(min, values)), result["chance"]
    near = chance > lowest - (max(map(max, values)) - lowest)  # else it would squeeze the rest
    if near:
        axes.axvline(chance, color="#94a3b8", lw=1, ls="--")
        axes.annotate(
            " chance", (chance, len(names) + 1), va="center", color="#64748b", fontsize="small", zorder=4
        )
    axes.set_yticks(range(1, len(names) + 1), names)
    axes.set_ylim(0.4, len(names) + (1.4 if near else 0.6))
    left = "" if near else f"; chance {chance:.2f}"
    axes.set_xlabel(f"{result['metric']} on {name}, a point a seed{left}")
    axes.set_title(format_heading(found), fontsize="medium")
    axes.grid(axis="x", alpha=0.25)


def write_comparisons(comparisons: Sequence[ComparisonDocument], output: Path) -> None:
    """compare.json, compare.md, compare.tex and compare.svg, each in one piece."""
    content = comparisons[0] if len(comparisons) == 1 else {"comparisons": list(comparisons)}
    for name, text in (
        ("compare.json", json.dumps(content, indent=2, allow_nan=False)),
        ("compare.md", "\n".join(render_markdown(found) for found in comparisons)),
        ("compare.tex", render_latex(comparisons)),
        ("compare.svg", plot_comparisons(comparisons)),
    ):
        part = output / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(output / name)
