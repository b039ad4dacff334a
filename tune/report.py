"""Make report.html again from the search.json of searches: of one, or of several side by side.

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

import json
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dps.command import CommandParser
from dps.errors import InputError
from dps.text import sanitise_line, sanitise_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DEFAULT_PAGE_FILE = "searches.html"
SEARCH_DOCUMENT_FILE = "search.json"
MLFLOW_PREFIX = "mlflow:"
MAX_EXPERIMENT_RUNS = 1000
REPORT_DESCRIPTION = """\
The report of a search, made again from its search.json; of several searches, one page that compares them.

examples:
    python tune/report.py runs/cola-20261126-090000
    python tune/report.py runs/cola-20261126-090000 --output cola.html
    python tune/report.py runs/cola-* runs/rte-20261126-120000 --output both.html
    python tune/report.py rte-builtin-1a2b3c4d --tracking-uri http://127.0.0.1:5000

The page is one file that opens offline: DIR/report.html of one folder; in the working directory report.html
of one search of an experiment, searches.html of several."""


@dataclass(frozen=True)
class ReportSource:
    """A search. name: a short one; whole: one that no other has. beside: where its page goes by default."""

    name: str
    whole: str
    found: dict[str, Any]
    beside: Path = Path()


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status: 0, or 2 for wrong options or input, said in one line."""
    try:
        print(f"report: {sanitise_text(str(_write_page(_parser().parse_args(argv))))}")
    except InputError as error:
        print(f"error: {sanitise_line(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> CommandParser:
    parser = CommandParser("python tune/report.py", REPORT_DESCRIPTION)
    add = parser.add_argument
    add(
        "sources", metavar="DIR|EXPERIMENT", nargs="+",
        help="the output folder of a search, or an MLflow experiment (mlflow:NAME if a folder is named so)",
    )  # fmt: skip
    add("--output", metavar="FILE", type=Path, help="where the page goes")
    add(
        "--tracking-uri", metavar="URI",
        help="of the experiments (default: MLFLOW_TRACKING_URI, else runs/mlflow.db)",
    )  # fmt: skip
    return parser


def _write_page(options: Namespace) -> Path:
    """The page, written. Raises InputError."""
    from tune.reporting.page import render_overview_page, render_search_page
    from tune.reporting.summary import format_certainty_lines

    sources = [one for name in options.sources for one in _find_searches(name, options.tracking_uri)]
    labels = _choose_labels(sources)
    try:
        if len(sources) == 1:
            (only,) = sources
            file = options.output or only.beside / "report.html"
            text = render_search_page(only.found, format_certainty_lines(only.found))
        else:
            file = options.output or Path(DEFAULT_PAGE_FILE)
            text = render_overview_page([*zip(labels, (source.found for source in sources), strict=True)])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"search.json of {', '.join(labels)} is not as a search writes it "
            f"({type(error).__name__}: {error}); resume the search to write it"
        ) from error
    try:
        part = file.with_name(f".{file.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise InputError(f"--output: {file} cannot be written ({error}); name another file") from None
    return Path(file)


def _find_searches(name: str, uri: str | None) -> list[ReportSource]:
    """The searches of this name: of a folder, or of an experiment."""
    folder = Path(name)
    if name.startswith(MLFLOW_PREFIX) or not folder.is_dir():
        return _read_experiment(name, uri)
    return [ReportSource(folder.resolve().name, name, read_search_document(folder), folder)]


def _read_experiment(name: str, named: str | None) -> list[ReportSource]:
    """The searches of an experiment that came to their end, the oldest first. Raises InputError."""
    from tune.records.stores import (
        create_mlflow_client,
        open_tracking_store,
        resolve_tracking_uri,
        shorten_error,
    )

    def refused(why: str) -> InputError:
        no_folder = "" if name.startswith(MLFLOW_PREFIX) else "is no folder, and "
        return InputError(f"EXPERIMENT: {name} {no_folder}{why}; name a folder, or see --tracking-uri")

    uri = resolve_tracking_uri(named, Path("runs"))
    if uri is None:
        raise refused("without MLflow there are no experiments")
    with open_tracking_store(uri, refused) as store:
        try:
            client = create_mlflow_client(store)
            experiment = client.get_experiment_by_name(name.removeprefix(MLFLOW_PREFIX))
            runs = [] if experiment is None else _list_runs(client, experiment.experiment_id)
        except Exception as error:  # of MLflow, SQLAlchemy, the store of artifacts or the network
            raise refused(f"cannot be read from {uri} ({shorten_error(error)})") from None
    if experiment is None:
        raise refused(f"names no experiment of {uri}")
    ended = [(run.info.run_name, run.info.run_id[:8], text) for run, text in runs if text is not None]
    if not ended:
        raise refused(f"holds no search that ended, in {uri}")
    if len(ended) < len(runs):
        print(f"left out: {len(runs) - len(ended)} of {len(runs)} runs, which have no {SEARCH_DOCUMENT_FILE}")
    return [
        ReportSource(run, f"{run} ({id_})", _parse_search_document(text, f"EXPERIMENT: {name}, run {run}"))
        for run, id_, text in ended
    ]


def _list_runs(client: MlflowClient, experiment: str) -> list[tuple[Run, str | None]]:
    """The searches and comparisons of an experiment, the oldest first, each with its search.json or None."""
    runs = client.search_runs(
        [experiment],
        "tags.`dps.trial` = 'search'",
        max_results=MAX_EXPERIMENT_RUNS,
        order_by=["start_time ASC"],
    )
    return [(run, _download_search_document(client, run.info.run_id)) for run in runs]


def _download_search_document(client: MlflowClient, run: str) -> str | None:
    if all(file.path != SEARCH_DOCUMENT_FILE for file in client.list_artifacts(run)):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run, SEARCH_DOCUMENT_FILE, folder)).read_text(encoding="utf-8")


def read_search_document(folder: Path) -> dict[str, Any]:
    """What the search.json of an output folder holds. Raises InputError where there is none that this program
    reads."""
    file = folder / SEARCH_DOCUMENT_FILE
    if not file.is_file():
        if (folder / "compare.json").is_file():
            raise InputError(
                f"DIR: {folder} holds a comparison; read its compare.md, or name a search's folder"
            )
        raise InputError(f"DIR: {folder} holds no search.json; name the output folder of a search that ended")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _make_unreadable_error(f"DIR: {file}", error) from None
    return _parse_search_document(text, f"DIR: {file}")


def _parse_search_document(text: str, where: str) -> dict[str, Any]:
    """What a search.json holds. Raises InputError."""
    from tune.records.ledger import SCHEMA_VERSION

    try:
        found = json.loads(text)
    except ValueError as error:
        raise _make_unreadable_error(where, error) from None
    version = found.get("schema_version") if isinstance(found, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{where} has version {version!r}, and this program reads {SCHEMA_VERSION}; use the version "
            "that made it"
        )
    return dict(found)


def _make_unreadable_error(where: str, error: Exception) -> InputError:
    return InputError(f"{where} cannot be read ({error}); resume the search to make it again")


def _choose_labels(sources: Sequence[ReportSource]) -> list[str]:
    """Their names; the whole ones where names are the same."""
    names = [source.name for source in sources]
    return names if len({*names}) == len(names) else [source.whole for source in sources]
