"""Methods compared on several tasks: one Markdown report from finished comparisons.

    python benchmarks/methods.py runs/compare-rte runs/compare-mrpc ... > benchmarks/methods_2-cores_DATE.md

The figures are read off each folder's compare.json and predictions, which `python tune/compare.py` wrote;
nothing is written by hand. A comparison of uncommitted code, or one that did not finish, is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from tune.core.options import CompareOptions
from tune.core.parsing import read_options
from tune.records.comparison_document import ComparisonDocument, MethodResult
from tune.reporting import comparison, tables

NOT_SHOWN = """\
## What this does not show

- The built-in model is a sentence encoder of 22.7 million weights, not BERT-large; the paper's gains are for
  large models, where runs collapse more often.
- With so few seeds an interval of the difference is several points wide; a gain of one or two points, the
  size that the paper reports, cannot be told from nothing here. The sentences say how many more seeds would.
- Every method was tuned over a few configurations with one seed each: a method with more hyper-parameters is
  less well tuned than one with fewer, and a lucky choice carries over to all its confirmations.
- Seconds were measured while other work ran on the same cores; passes count what was computed.
- Peak memory is that of the whole worker process, libraries and data included."""


def report(folders: list[Path]) -> str:
    """The whole report on the comparisons in these output folders."""
    comparisons = comparison.join_comparisons(folders, allow_dirty=False)
    origin = comparisons[0].provenance
    packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
    commands = "\n".join(f"    {_command(folder)}" for folder in folders)
    seconds = sum(found.spent.seconds for found in comparisons)
    slots = sum(found.spent.slot_seconds for found in comparisons)
    return "\n\n".join(
        [
            "# Methods of fine-tuning on small data",
            f"{origin.cores} cores, {origin.platform}, Python {origin.python}, {packages}; "
            f"commit {', '.join(sorted({(f.provenance.git_commit or 'none')[:10] for f in comparisons}))}. "
            f"{seconds / 3600:.1f} hours of wall time, {slots / 3600:.1f} hours of slots. Made with "
            f"`python benchmarks/methods.py` over the output folders of",
            commands,
            "## All tasks",
            "Mean of the primary metric times 100 on dev over the paired seeds (standard deviation); the "
            f"difference to {comparisons[0].baseline} in points with its 95 % interval over seeds and "
            "examples. Bold: better or worse, with p < 0.05 corrected for the number of methods.",
            _overview(comparisons),
            "\n".join([*_verdicts(comparisons), *_collapsed(comparisons)]),
            _passes(comparisons),
            *(tables.render_markdown(found) for found in comparisons),
            NOT_SHOWN,
        ]
    )


def _command(folder: Path) -> str:
    """The command that makes the comparison, without the folder that its data lie in."""
    words = [CompareOptions.command]
    for name, value in read_options(folder / "config.yaml").items():
        field = CompareOptions.model_fields[name]
        if name == "task" or value != field.get_default(call_default_factory=True):
            words.append(f"--{name.replace('_', '-')} {Path(value).name if name == 'data' else value}")
    return " ".join(words)


def _overview(comparisons: list[ComparisonDocument]) -> str:
    heads = ["method"]
    for found in comparisons:
        result = found.main_result
        heads += [f"{found.task} ({result.metric})", "difference"]
    lines = []
    for method in _methods(comparisons):
        line = [method]
        for found in comparisons:
            line += _cells(found.main_result.methods.get(method))
        lines.append(line)
    return tables.format_markdown_table(heads, lines)


def _cells(row: MethodResult | None) -> list[str]:
    if row is None:
        return ["-", "-"]
    score = f"{100 * row.mean:.1f} ({100 * (row.std or 0):.1f})"
    difference = row.difference
    if difference is None:
        return [score, "-"]
    text = tables.format_difference(difference)
    return [score, f"**{text}**" if tables.is_distinguishable(difference) else text]


def _verdicts(comparisons: list[ComparisonDocument]) -> list[str]:
    """Where each method was better or worse than the baseline, and where nothing can be told."""
    lines, baseline = [], comparisons[0].baseline
    for method in _methods(comparisons):
        where: dict[str, list[str]] = {"better": [], "worse": [], "not distinguishable": []}
        for found in comparisons:
            row = found.main_result.methods.get(method)
            if row is not None and row.difference is not None:
                verdict = row.difference.points > 0 if tables.is_distinguishable(row.difference) else None
                key = {True: "better", False: "worse", None: "not distinguishable"}[verdict]
                where[key].append(found.task)
        told = [f"{key} on {', '.join(names)}" for key, names in where.items() if names]
        if told:
            lines.append(f"- {method} against {baseline}: {'; '.join(told)}.")
    return lines


def _collapsed(comparisons: list[ComparisonDocument]) -> list[str]:
    """Where so many runs learnt nothing that there is little to compare."""
    lines = []
    for found in comparisons:
        rows = found.main_result.methods.values()
        share = float(np.mean([row.not_above_chance or 0.0 for row in rows]))
        if share:
            lines.append(
                f"- On {found.task} {share:.0%} of the runs are no better than the best constant prediction, "
                f"whatever the method; {np.mean([row.collapsed for row in rows]):.0%} gave one answer to all."
            )
    return lines


def _methods(comparisons: list[ComparisonDocument]) -> list[str]:
    return list(dict.fromkeys(method.method for found in comparisons for method in found.methods))


def _passes(comparisons: list[ComparisonDocument]) -> str:
    """What everything cost together, by method."""
    lines = []
    for method in _methods(comparisons):
        costs = [found.costs[method] for found in comparisons if method in found.costs]
        passes = float(np.sum([cost.passes for cost in costs]))
        seconds = float(np.sum([cost.seconds for cost in costs]))
        lines.append([method, f"{passes:,.0f}", f"{seconds:,.0f}"])
    return "Cost of everything, tuning and confirmations:\n\n" + tables.format_markdown_table(
        ["method", "forward-backward passes of a batch", "slot seconds"], lines
    )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(report([Path(folder) for folder in sys.argv[1:]]))
