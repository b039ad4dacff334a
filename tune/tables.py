"""A comparison to look at: a table for the terminal, Markdown and LaTeX, a plot of every seed."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune.budget import bill

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

Found = dict[str, Any]
COLUMNS = ("method", "mean", "std", "median", "worst to best", "collapsed", "difference", "p", "P(better)")
COSTS = ("method", "passes a run", "seconds a run", "peak memory", "seconds in all", "configuration")
WIDE = 140  # characters that all columns take
NARROW = ("method", "mean", "std", "difference", "p")  # fits 80
EXPLAINED = (
    "Collapsed: the share of runs no better than the best constant prediction. Difference: to the baseline, "
    "seed by seed, in hundredths of the metric, with its 95 % interval over seeds and examples. p: "
    "two-sided, corrected by Holm within each table. P(better): that the true mean difference is above 0, "
    "under a flat prior; not corrected."
)
COLOURS = {"baseline": "#64748b", "other": "#0f766e"}


def heading(found: Found) -> str:
    """Which comparison it is."""
    return f"{found['task']}, {found['plan']['examples']['train']:,} training examples"


def summary_lines(found: Found) -> list[str]:
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


def _budget_lines(found: Found) -> list[str]:
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
    took = f"{spent['seconds']:.0f} s, {spent['slot_seconds']:.0f} slot seconds{bill(spent)}"
    return [*lines, f"All runs together: {took}."]


def _test_line(comparisons: int, name: str) -> str:
    corrected = (
        f"corrected for {comparisons} comparisons with the baseline on {name} (Holm); intervals are not "
        f"corrected"
        if comparisons > 1
        else "of one comparison"
    )
    return f"p is two-sided, {corrected}, and nothing is for other evaluation sets, tasks or tables."


def terminal(found: Found, width: int) -> Table:
    """The methods on the task's own evaluation set, and what they cost; fewer columns on a narrow screen."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns = (*COLUMNS, "passes", "seconds a run")
    kept = [number for number, column in enumerate(columns) if width >= WIDE or column in NARROW]
    for number in kept:
        table.add_column(columns[number], no_wrap=True, justify="right" if number else "left")
    for row in rows(found, found["evaluation_sets"][0]):
        cost = found["costs"][row[0]]
        costs = _number(cost["passes_per_run"], ".0f"), _number(cost["seconds_per_run"], ".1f")
        table.add_row(*([*row, *costs][number] for number in kept))
    return table


def rows(found: Found, name: str) -> Iterator[tuple[str, ...]]:
    """A row of text for each method on an evaluation set; see COLUMNS."""
    for method, row in found["results"][name]["methods"].items():
        difference = row["difference"]
        told: tuple[str, ...] = ("", "", "")
        if difference is not None:
            low, high = (100 * bound for bound in difference["interval"])
            told = (
                f"{difference['points']:+.1f} [{low:+.1f}, {high:+.1f}]",
                _p_value(difference["adjusted_p"]),
                probability(difference["probability_better"]),
            )
        yield (
            method,
            f"{row['mean']:.4f}",
            _number(row["std"], ".4f"),
            f"{row['median']:.4f}",
            f"{row['worst']:.4f} to {row['best']:.4f}",
            f"{row['collapsed']:.0%}",
            *told,
        )


def cost_rows(found: Found) -> Iterator[tuple[str, ...]]:
    """What each method cost; see COSTS."""
    from tune.terminal import brief

    for method in found["methods"]:
        cost = found["costs"][method["method"]]
        memory = cost["peak_memory"]
        yield (
            method["method"],
            _number(cost["passes_per_run"], ".0f"),
            _number(cost["seconds_per_run"], ".1f"),
            f"{memory / 2**30:.2f} GiB" if memory else "-",
            _number(cost["seconds"], ".0f"),
            brief(method["configuration"]),
        )


def _p_value(p: float | None) -> str:
    return "<0.001" if p is not None and p < 0.001 else _number(p, ".3f")


def probability(value: float | None) -> str:
    """Two digits, but never a certainty."""
    if value is None or 0.005 <= value < 0.995:
        return _number(value, ".2f")
    return "<0.01" if value < 0.5 else ">0.99"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def markdown(found: Found) -> str:
    """One comparison: sentences, a table for each evaluation set, costs, where it comes from."""
    parts = [
        f"## {heading(found)}",
        "\n".join(f"- {line}" for line in summary_lines(found)),
    ]
    for name, result in found["results"].items():
        others = sorted({key for row in result["methods"].values() for key in row["others"]})
        lines = [(*row, *_others(result, row[0], others)) for row in rows(found, name)]
        parts += [
            f"### {name}: {result['metric']}, {result['examples']:,} examples, chance {result['chance']:.4f}",
            table((*COLUMNS, *others), lines),
        ]
    parts += [EXPLAINED, "### Costs", table(COSTS, list(cost_rows(found)))]
    if found["probe"]:
        keys = list(next(iter(found["probe"].values())))
        shown = [key for key in keys if key.endswith("_last") or key.startswith("probe")]
        parts += [
            "### Features: how far they moved, and what a linear probe still finds (means over seeds)",
            table(
                ("method", *shown),
                [(name, *(f"{row[key]:.4f}" for key in shown)) for name, row in found["probe"].items()],
            ),
        ]
    return "\n\n".join([*parts, _origin(found)]) + "\n"


def _origin(found: Found) -> str:
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
        f"model {code(model['name'])} (`{model['fingerprint'][:8]}`), batch {settings['batch_size']}, "
        f"{settings['max_length']} tokens, {found['budget']['confirm_steps']:,} steps, ranked on "
        f"{settings['select_on']}; {'; '.join(commits)}."
    )


def code(text: str) -> str:
    """A name that may hold anything, as a code span: nothing in it is markup."""
    text = " ".join(text.split())
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}" if longest else f"{fence}{text}{fence}"


def _others(result: Found, method: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{result['methods'][method]['others'][name]:.4f}" for name in names)


def table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([row(columns), "|" + "---|" * len(columns), *map(row, lines)])


def latex(comparisons: Sequence[Found]) -> str:
    """Mean and standard deviation times 100, a row a method, a column a task (booktabs)."""
    methods = list(dict.fromkeys(m["method"] for found in comparisons for m in found["methods"]))
    heads = [f"{_escaped(found['task'])} ({found['plan']['examples']['train']})" for found in comparisons]
    lines = []
    for method in methods:
        cells = []
        for found in comparisons:
            result = found["results"][found["evaluation_sets"][0]]["methods"].get(method)
            cells.append("--" if result is None else _cell(result))
        lines.append(f"{_escaped(method)} & {' & '.join(cells)} \\\\")
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


def _cell(row: Found) -> str:
    star = "*" if row["difference"] and differs(row["difference"]) else ""
    spread = f" ({100 * row['std']:.1f})" if row["std"] is not None else ""
    return f"{100 * row['mean']:.1f}{spread}{star}"


def differs(difference: Found) -> bool:
    """Whether it is told, as in `evidence.words`."""
    p, (low, high) = difference["adjusted_p"], difference["interval"]
    return p is not None and p < round(1 - difference["level"], 9) and (low > 0 or high < 0)


def _escaped(text: str) -> str:
    words = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    words |= {character: f"\\{character}" for character in "&%$#_{}"}
    return "".join(words.get(character, character) for character in text)


def plot(comparisons: Sequence[Found]) -> str:
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
            _panel(axes, found)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _panel(axes: Axes, found: Found) -> None:
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
        colour = COLOURS["baseline" if method == found["baseline"] else "other"]
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
    axes.set_title(heading(found), fontsize="medium")
    axes.grid(axis="x", alpha=0.25)


def write(comparisons: Sequence[Found], output: Path) -> None:
    """compare.json, compare.md, compare.tex and compare.svg, each in one piece."""
    content = comparisons[0] if len(comparisons) == 1 else {"comparisons": list(comparisons)}
    for name, text in (
        ("compare.json", json.dumps(content, indent=2, allow_nan=False)),
        ("compare.md", "\n".join(markdown(found) for found in comparisons)),
        ("compare.tex", latex(comparisons)),
        ("compare.svg", plot(comparisons)),
    ):
        part = output / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(output / name)
