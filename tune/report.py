"""Make report.html again from search.json: of one search, of several side by side, or a table of tasks.

A search is an output folder, or a run of an MLflow experiment, which keeps its search.json.

python tune/report.py DIR...
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tune import report as package

    sys.exit(package.main(sys.argv[1:]))

from collections.abc import Sequence

from dps.command import CommandParser, parse_path
from dps.errors import InputError
from dps.text import sanitise_line, sanitise_text

REPORT_DESCRIPTION = """\
Make the report of a search again from its search.json. Several searches of one task give one page that
compares them; a search of each of several tasks, or the folder of all of them, gives a table with the average
over the tasks.

examples:
    python tune/report.py runs/cola-20261126-090000
    python tune/report.py runs/cola-20261126-090000 --output cola.html
    python tune/report.py runs/cola-* runs/rte-20261126-120000 --output both.html
    python tune/report.py rte-builtin-1a2b3c4d --tracking-uri http://127.0.0.1:5000

The page is one file that opens offline: DIR/report.html for one folder; in the working directory report.html
for one search of an experiment, searches.html for several, suite.html (with .json, .md and .tex) for several
tasks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or 2 for wrong options or input, said in one line."""
    try:
        options = _make_parser().parse_args(argv)
        if options.tracking_uri == "":
            raise InputError("--tracking-uri: must not be empty; give a value, or leave the option out")
        from tune.search_report import write_report  # it imports Optuna and NumPy, which --help needs not

        page = write_report(options.sources, options.output, options.tracking_uri)
        print(f"report: {sanitise_text(str(page))}")
    except InputError as error:
        print(f"error: {sanitise_line(error)}", file=sys.stderr)
        return 2
    return 0


def _make_parser() -> CommandParser:
    parser = CommandParser("python tune/report.py", REPORT_DESCRIPTION)
    add = parser.add_argument
    add(
        "sources", type=parse_path, metavar="DIR|EXPERIMENT", nargs="+",
        help="output folder of a search, or an MLflow experiment (mlflow:NAME if a folder has the same name)",
    )  # fmt: skip
    add("--output", metavar="FILE", type=lambda text: Path(parse_path(text)), help="where to write the page")
    add(
        "--tracking-uri", metavar="URI",
        help="MLflow of the experiments (default: MLFLOW_TRACKING_URI, else runs/mlflow.db)",
    )  # fmt: skip
    return parser
