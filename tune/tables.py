"""A comparison to look at: a table for the terminal, Markdown and LaTeX, a plot of every seed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Found = dict[str, Any]
COLUMNS = ("method", "mean", "std", "median", "worst to best", "collapsed", "difference", "p", "P(better)")
COSTS = ("method", "passes a run", "seconds a run", "peak memory", "seconds in all", "configuration")
WIDE = 140  # characters that all columns take
NARROW = ("method", "mean", "std", "difference", "p")  # fits 80
COLOURS = {"baseline": "#64748b", "other": "#0f766e"}


def summary_lines(found: Found) -> list[str]:
    """What was found, the sentences first."""
    name = found["evaluation_sets"][0]
    result, budget = found["results"][name], found["budget"]
    row = result["methods"][found["baseline"]]
    low, high = row["interval"]
    return [
        *found["sentences"],
        f"{found['baseline']}: {result['metric']} {row['mean']:.4f} (95 % interval {low:.4f} to {high:.4f}, "
        f"over {row['n']} seeds and the {result['examples']:,} examples of {name}; "
        f"chance {result['chance']:.4f}).",
        f"Each method: {budget['configurations']} configurations with one seed, then its best with "
        f"{len(budget['seeds'])} paired seeds of {budget['confirm_steps']} steps. p is corrected for the "
        f"number of methods (Holm).",
    ]


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
                _number(difference["adjusted_p"], ".3f"),
                _number(difference["probability_better"], ".2f"),
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


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def markdown(found: Found) -> str:
    """One comparison: sentences, a table for each evaluation set, costs, where it comes from."""
    settings, budget = found["plan"]["settings"], found["budget"]
    size = f"{found['plan']['examples']['train']:,} training examples"
    parts = [
        f"## {found['task']}, {size}",
        "\n".join(f"- {line}" for line in summary_lines(found)),
    ]
    for name, result in found["results"].items():
        others = sorted({key for row in result["methods"].values() for key in row["others"]})
        table = [(*row, *_others(result, row[0], others)) for row in rows(found, name)]
        parts += [
            f"### {name}: {result['metric']}, {result['examples']:,} examples, chance {result['chance']:.4f}",
            _table((*COLUMNS, *others), table),
        ]
    parts += ["### Costs", _table(COSTS, list(cost_rows(found)))]
    if found["probe"]:
        keys = list(next(iter(found["probe"].values())))
        shown = [key for key in keys if key.endswith("_last") or key.startswith("probe")]
        parts += [
            "### Features: how far they moved, and what a linear probe still finds (means over seeds)",
            _table(
                ("method", *shown),
                [(name, *(f"{row[key]:.4f}" for key in shown)) for name, row in found["probe"].items()],
            ),
        ]
    origin = found["provenance"]
    parts.append(
        f"Data {found['data']['source']} `{found['data']['fingerprint'][:8]}`, "
        f"model {found['model']['name']} `{found['model']['fingerprint'][:8]}`, "
        f"batch {settings['batch_size']}, {settings['max_length']} tokens, "
        f"{budget['confirm_steps']} steps, selected on {settings['select_on']}; commit "
        f"`{(origin['git_commit'] or 'none')[:10]}`{' (changed)' if origin['git_dirty'] else ''}."
    )
    return "\n\n".join(parts) + "\n"


def _others(result: Found, method: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{result['methods'][method]['others'][name]:.4f}" for name in names)


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *("| " + " | ".join(line) + " |" for line in lines)])


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
            "% mean (standard deviation) over paired seeds, times 100",
            "% * differs from the baseline, p < 0.05 (Holm)",
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
    difference = row["difference"]
    p = difference["adjusted_p"] if difference else None
    star = "*" if p is not None and p < 0.05 else ""
    spread = f" ({100 * row['std']:.1f})" if row["std"] is not None else ""
    return f"{100 * row['mean']:.1f}{spread}{star}"


def _escaped(text: str) -> str:
    for character in "\\&%$#_{}":
        text = text.replace(character, f"\\{character}")
    return text


def plot(comparisons: Sequence[Found]) -> str:
    """An SVG: every seed of every method as a point over its box, the chance level as a line."""
    from matplotlib.figure import Figure

    most = max(len(found["methods"]) for found in comparisons)
    figure = Figure(figsize=(4.6 * len(comparisons), 1.4 + 0.42 * most), layout="constrained")
    for axes, found in zip(figure.subplots(1, len(comparisons), squeeze=False)[0], comparisons, strict=True):
        result = found["results"][found["evaluation_sets"][0]]
        names = list(result["methods"])[::-1]
        values = [list(result["methods"][name]["scores"].values()) for name in names]
        axes.boxplot(
            values, orientation="horizontal", showfliers=False, widths=0.5, medianprops={"color": "#c2410c"}
        )
        for at, (name, scores) in enumerate(zip(names, values, strict=True), start=1):
            colour = COLOURS["baseline" if name == found["baseline"] else "other"]
            axes.scatter(scores, [at] * len(scores), color=colour, s=18, zorder=3)
        axes.axvline(result["chance"], color="#94a3b8", lw=1, ls="--", label="chance")
        axes.set_yticks(range(1, len(names) + 1), names)
        axes.set_xlabel(f"{result['metric']} on {found['evaluation_sets'][0]}, a point a seed")
        axes.set_title(f"{found['task']}, {found['plan']['examples']['train']:,} training examples")
        axes.legend(loc="lower right", fontsize="small", frameon=False)
        axes.grid(axis="x", alpha=0.25)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()


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
