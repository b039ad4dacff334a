"""Methods compared on several tasks: one Markdown report of a finished comparison.

    python tune/compare.py --config configs/tables/methods.yaml --data DATA --output runs/methods
    python benchmarks/methods.py runs/methods > benchmarks/methods_2-cores_DATE.md

configs/tables/popular.yaml compares the methods in daily use. Where dps-random is among the methods, the
first line says whether what DPS selects is told apart from a random selection. The figures are read off the
compare.json and the predictions of each task; nothing is written by hand. A comparison of uncommitted code,
or one that did not finish, is refused.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from tune.core.options import CompareOptions
from tune.core.parsing import read_options
from tune.records.comparison_document import ComparisonDocument
from tune.reporting import tables
from tune.reporting.comparison import join_comparisons
from tune.reporting.suite.document import SCOPE
from tune.reporting.suite.folders import list_task_folders, make_comparison_suite
from tune.reporting.suite.tables import describe_table, make_difference_table, make_score_table

CONTROL = "dps-random"  # DPS but for what it selects
NOT_SHOWN = """\
## What this does not show

- The built-in model is a sentence encoder of 22.7 million weights, not BERT-large; the paper's gains are for
  large models, where runs collapse more often.
- With so few seeds an interval of the difference is several points wide; a gain of one or two points, the
  size that the paper reports, cannot be told from nothing here. The sentences say how many more seeds would.
- Every method was tuned over a few configurations with one seed each: a method with more hyper-parameters is
  less well tuned than one with fewer, and a lucky choice carries over to all its confirmations.
- Seconds are those of this machine, more where other work ran beside; passes count what was computed.
- Peak memory is that of the whole worker process, libraries and data included."""


def report_methods(suite: Path) -> str:
    """Return the whole report on the comparison in this output folder. Raises InputError as
    `join_comparisons` does."""
    documents = join_comparisons(list_task_folders(suite), allow_dirty=False)
    averaged = make_comparison_suite(documents)
    return "\n\n".join(
        [
            "# Methods of fine-tuning on small data",
            *([f"**{averaged.averages[CONTROL].sentence}**"] if CONTROL in averaged.averages else []),
            describe_origin(documents, suite),
            "## All tasks",
            "\n".join(f"- {average.sentence}" for average in averaged.averages.values()),
            " ".join([SCOPE, *averaged.notes]),
            *(
                tables.format_markdown_table(table.columns, table.rows)
                for table in (make_difference_table(averaged), make_score_table(averaged))
            ),
            describe_table(averaged),
            "\n".join(map(describe_unlearned, documents)),
            format_costs(documents),
            *(tables.render_markdown(document) for document in documents),
            NOT_SHOWN,
        ]
    )


def describe_origin(documents: list[ComparisonDocument], suite: Path) -> str:
    """Say what made the figures, and how long it took."""
    origin = documents[0].provenance
    packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
    commits = ", ".join(sorted({(each.provenance.git_commit or "none")[:10] for each in documents}))
    slots = sum(document.spent.slot_seconds for document in documents)
    return (
        f"{origin.cores} cores, {origin.platform}, Python {origin.python}, {packages}; commit {commits}. "
        f"{slots / 3600:.1f} hours of slots. Made with `python benchmarks/methods.py` over the output of\n\n"
        f"    {_format_command(suite)}"
    )


def _format_command(suite: Path) -> str:
    """Return the command that makes the comparison, without the folder that its data lie in."""
    words = CompareOptions.command.split()
    for name, value in read_options(suite / "config.yaml").items():
        field = CompareOptions.model_fields[name]
        if name == "task" or value != field.get_default(call_default_factory=True):
            text = value if isinstance(value, str) else json.dumps(value)
            if name == "data":
                text = Path(text).name
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def describe_unlearned(document: ComparisonDocument) -> str:
    """Say how many runs of a task learnt nothing."""
    rows = [*document.main_result.methods.values()]
    unlearned, collapsed = (
        np.mean([row.not_above_chance or 0.0 for row in rows]),
        np.mean([row.collapsed for row in rows]),
    )
    return (
        f"- On {document.task} {unlearned:.0%} of the runs are no better than the best constant prediction, "
        f"whatever the method; {collapsed:.0%} gave one answer to all."
    )


def format_costs(documents: list[ComparisonDocument]) -> str:
    """Return what everything cost together, by method."""
    lines = []
    for method in dict.fromkeys(name for document in documents for name in document.costs):
        costs = [document.costs[method] for document in documents if method in document.costs]
        passes, seconds = sum(cost.passes for cost in costs), sum(cost.seconds for cost in costs)
        lines.append([method, f"{passes:,.0f}", f"{seconds:,.0f}"])
    return "Cost of everything, tuning and confirmations:\n\n" + tables.format_markdown_table(
        ["method", "forward-backward passes of a batch", "slot seconds"], lines
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(report_methods(Path(sys.argv[1])))
