"""Files that searches and comparisons left in an MLflow experiment."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tune.records import stores

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_PREFIX = "mlflow:"
MAX_EXPERIMENT_RUNS = 1000


@dataclass(frozen=True)
class RunFile:
    """File of a search or comparison. path: None if its run keeps none, as before its end."""

    run_name: str
    run_id: str
    path: Path | None


@contextmanager
def open_experiment_files(
    experiment: str,
    tracking_uri: str | None,
    file_name: str,
    refuse: stores.ErrorFactory,
    trial: str = "search",
) -> Iterator[list[RunFile]]:
    """Yield a file of every search and comparison of an experiment, oldest first; gone afterwards.

    experiment: its name, with or without EXPERIMENT_PREFIX.
    tracking_uri: of --tracking-uri.
    trial: "suite" for that of the runs above several tasks.

    Raises refuse(reason) if the experiment cannot be read, or none of its runs keeps the file.
    """
    uri = stores.resolve_tracking_uri(tracking_uri, Path("runs"))
    if uri is None:
        raise refuse("needs MLflow, which --tracking-uri none turns off")
    name = experiment.removeprefix(EXPERIMENT_PREFIX)
    with stores.open_tracking_store(uri, refuse) as store, tempfile.TemporaryDirectory() as folder:
        try:
            files = _download_files(stores.create_mlflow_client(store), name, file_name, trial, Path(folder))
        except Exception as error:  # of MLflow, SQLAlchemy, the store of artifacts or the network
            raise refuse(f"cannot be read from {uri} ({stores.shorten_error(error)})") from None
        if files is None:
            raise refuse(f"names no experiment of {uri}")
        if all(file.path is None for file in files):
            raise refuse(f"holds no search that ended, in {uri}")
        yield files


def describe_left_out(files: Sequence[RunFile], file_name: str) -> str:
    """Return a line on the runs that keep no such file, or an empty string."""
    missing = sum(file.path is None for file in files)
    return f"left out: {missing} of {len(files)} runs, which have no {file_name}" if missing else ""


def _download_files(
    client: MlflowClient, experiment: str, file_name: str, trial: str, folder: Path
) -> list[RunFile] | None:
    """Download the file of every run, None without such an experiment."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs(
        [found.experiment_id],
        f"tags.`dps.trial` = '{trial}'",
        max_results=MAX_EXPERIMENT_RUNS,
        order_by=["start_time ASC"],
    )
    return [
        RunFile(info.run_name, info.run_id, _download_file(client, info.run_id, file_name, folder))
        for info in (run.info for run in runs)
    ]


def _download_file(client: MlflowClient, run_id: str, file_name: str, folder: Path) -> Path | None:
    if all(file.path != file_name for file in client.list_artifacts(run_id)):
        return None
    return Path(client.download_artifacts(run_id, file_name, tempfile.mkdtemp(dir=folder)))
