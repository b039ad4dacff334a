"""Reports of searches that ended: found in output folders and MLflow experiments, written as pages."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dps.errors import InputError
from tune.records.search_document import (
    SEARCH_DOCUMENT_FILE,
    SearchDocument,
    parse_search_document,
    read_search_document,
)
from tune.records.stores import (
    create_mlflow_client,
    open_tracking_store,
    resolve_tracking_uri,
    shorten_error,
)
from tune.reporting.page import render_overview_page, render_search_page
from tune.reporting.summary import format_certainty_lines

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DEFAULT_PAGE_FILE = "searches.html"
MLFLOW_PREFIX = "mlflow:"
MAX_EXPERIMENT_RUNS = 1000


@dataclass(frozen=True)
class ReportSource:
    """A search. name: a short one; whole: one that no other has. beside: where its page goes by default."""

    name: str
    whole: str
    document: SearchDocument
    beside: Path = Path()


def write_report(names: Sequence[str], output: Path | None, tracking_uri: str | None) -> Path:
    """Write the page of these searches; return its file. Raises InputError.

    names: output folders and MLflow experiments. output: where the page goes, None for the default.
    """
    sources = [source for name in names for source in _find_searches(name, tracking_uri)]
    labels = _choose_labels(sources)
    if len(sources) == 1:
        (only,) = sources
        file = output or only.beside / "report.html"
        text = render_search_page(only.document, format_certainty_lines(only.document))
    else:
        file = output or Path(DEFAULT_PAGE_FILE)
        text = render_overview_page([*zip(labels, (source.document for source in sources), strict=True)])
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
        ReportSource(run, f"{run} ({id_})", parse_search_document(text, f"EXPERIMENT: {name}, run {run}"))
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


def _choose_labels(sources: Sequence[ReportSource]) -> list[str]:
    """Their names; the whole ones where names are the same."""
    names = [source.name for source in sources]
    return names if len({*names}) == len(names) else [source.whole for source in sources]
