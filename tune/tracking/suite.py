"""The run of several tasks in MLflow: the parent of the tasks' own runs, with the averages over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tune.records import stores
from tune.records.events import describe_error
from tune.records.suite_document import SuiteDocument
from tune.tracking.mlflow import PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SUITE_FILES = ("config.yaml", "suite.json", "suite.md", "suite.tex", "suite.html")
SUITE = "suite"  # the tag dps.trial of the run


def track_suite(
    uri: str, experiment: str, search_ids: Sequence[str], document: SuiteDocument, folder: Path
) -> str:
    """Write the run of several tasks, made new or again, after the tasks have written theirs.

    experiment: that all tasks are in. search_ids: of the tasks; the first names the suite. folder: of
    suite.json and its pages. Returns what failed, in a line; empty if nothing did.
    """
    try:
        client = stores.create_mlflow_client(uri)
        place = stores.find_experiment(client, experiment)
        if place is None:
            return f"there is no experiment {experiment}"
        run = _open_run(client, place, f"suite-{search_ids[0]}", folder.name)
        for search in search_ids:
            for member in _find_runs(client, place, search, PARENT):
                client.set_tag(member.info.run_id, "mlflow.parentRunId", run)
        for name, value in collect_suite_metrics(document).items():
            client.log_metric(run, name, value)
        client.set_tag(run, "mlflow.note.content", document.sentence)
        client.set_tag(run, "task", ",".join(task.task for task in document.tasks))
        stores.check_artifact_place(client.get_run(run))
        for file in (folder / name for name in SUITE_FILES):
            if file.is_file():
                client.log_artifact(run, str(file))
        client.set_terminated(run)
    except Exception as error:  # of MLflow, its store or the network: no result depends on it
        return describe_error(error)
    return ""


def _open_run(client: MlflowClient, experiment: str, suite: str, name: str) -> str:
    """Return the id of the suite's run, made if there is none yet."""
    if found := _find_runs(client, experiment, suite, SUITE):
        return str(found[0].info.run_id)
    tags = {"dps.search": suite, "dps.trial": SUITE}
    return str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)


def _find_runs(client: MlflowClient, experiment: str, search: str, trial: str) -> list[Run]:
    query = f"tags.`dps.search` = '{search}' and tags.`dps.trial` = '{trial}'"
    return list(client.search_runs([experiment], query))


def collect_suite_metrics(document: SuiteDocument) -> dict[str, float]:
    """Return the MLflow metrics of several tasks: averages by name."""
    values: dict[str, float | None] = {"tasks": float(len(document.tasks))}
    for name, average in document.averages.items():
        low, high = average.interval or (None, None)
        values |= {
            f"average_{name}_difference_points": 100 * average.mean,
            f"average_{name}_difference_low": None if low is None else 100 * low,
            f"average_{name}_difference_high": None if high is None else 100 * high,
            f"average_{name}_difference_p": average.adjusted_p,
            f"average_{name}_better": float(average.better),
            f"average_{name}_worse": float(average.worse),
        }
    values |= {f"average_{name}_score": score.mean for name, score in document.scores.items()}
    return {key: value for key, value in values.items() if value is not None}
