"""A search over three nodes, an object store and an MLflow server; one of the nodes goes in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import mlflow_server, object_store
from tests.integration import test_submit
from tests.integration.test_submit import Command, Nodes
from tune.core import storage

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1800)]

DATA = os.environ.get("DPS_DATA_DIR", "builtin")
SEARCH = (
    *("--task", "cola", "--data", DATA, "--train-size", "500", "--max-length", "64", "--max-steps", "30"),
    *("--trials", "6", "--race", "0", "--confirm", "3", "--cpus-per-worker", "1", "--evaluations", "3"),
)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Nodes, dict[str, str]]]:
    """Three nodes, and how the environment names the store."""
    with object_store.served() as store:
        monkeypatch.setattr(test_submit, "ENV", {**test_submit.ENV, **store})
        with test_submit.three_nodes() as started:
            yield started, store


def take_away(cluster: Command, name: str) -> None:
    """SIGKILL to the raylet of the node whose files lie in a folder of this name."""
    below = psutil.Process(cluster.process.pid).children(recursive=True)
    raylets = [p for p in below if p.name() == "raylet" and f"/{name}/" in " ".join(p.cmdline())]
    assert len(raylets) == 1, [p.cmdline()[:3] for p in below]
    raylets[0].send_signal(signal.SIGKILL)


def test_everything_arrives_though_a_node_goes(
    nodes: tuple[Nodes, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, store = nodes
    place, output = f"s3://{object_store.BUCKET}/searches", tmp_path / "cola"
    with mlflow_server.served(tmp_path) as (tracking, _):
        places = ("--storage", place, "--output", str(output), "--tracking-uri", tracking)
        job = cluster.submit(*SEARCH, *places, "--env", ",".join(store))
        job.until(lambda line: " completed" in line, test_submit.STARTS_WITHIN_S)
        take_away(cluster.command, "node-2")
        assert job.status(within_s=900) == 0, job.text
        found = json.loads((output / "search.json").read_text(encoding="utf-8"))
        statuses = [run.info.status for run in runs(tracking)]
    assert "slots        3 x 1 worker" in job.text
    assert [trial["id"] for trial in found["trials"]] == [*range(6)]
    assert {trial["outcome"] for trial in found["trials"]} <= {"completed", "stopped"}
    assert len(found["confirmation"]["scores"]) == 3
    assert (output / "best" / "model.safetensors").is_file()
    confirmed = [found["confirmation_runs"], *(baseline["runs"] for baseline in found["baselines"])]
    assert [len(runs) for runs in confirmed] == [3] * (1 + len(found["baselines"]))
    assert len([*(output / "predictions").iterdir()]) == 3 * len(confirmed)
    tuned = sum(len(baseline["trials"]) for baseline in found["baselines"])
    assert statuses.count("FINISHED") == len(statuses) == 1 + 6 + tuned + 3 * len(confirmed)
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    assert storage.list_location(place) == []


def runs(tracking: str) -> list[Any]:
    """Every run of every experiment there."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking)
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
