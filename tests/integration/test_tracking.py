"""MLflow as it is: a parent run a search, a child run a trial, and no way to fail a search."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR

from dps.training.result import Evaluation, Outcome, RunResult
from tests.bad_inputs import stock
from tests.unit.tune.helpers import (
    PROVENANCE,
    make_plan,
    make_record,
    make_replicate,
    make_space,
    restore_old_search,
    track_plan,
)
from tests.unit.tune.reporting.test_document import proven, told
from tune import report as report_command
from tune.records.ledger import Ledger, TrialRecord
from tune.records.replicates import Confirmation
from tune.records.schema import DifferenceSection, SpentSection
from tune.records.search_document import BaselineSection, SearchDocument, WinnerSection
from tune.records.stores import format_view_command, resolve_tracking_uri
from tune.tracking import delivery, mlflow, sync
from tune.tracking.mlflow import MlflowTracker

pytestmark = pytest.mark.integration
DENSE = {"method": "dps-dense", "learning_rate": 2e-4, "selection_ratio": 0.7}
METRIC = "matthews_correlation"
FILTERS = Path(__file__).parents[2] / "docs/howto/mlflow.md"


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made: they take seconds."""
    folder = tmp_path_factory.mktemp("store")
    MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> str:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The results of a search."""
    folder = tmp_path / "cola-1"
    (folder / "best").mkdir(parents=True)
    for name in ("config.yaml", "search.json", "report.html", "study.db", "best/model.safetensors"):
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def track(uri: str, search_id: str = "s1", warn: Callable[[str], None] = print, **plan: Any) -> MlflowTracker:
    search = track_plan(make_plan(method="dps-dense,vanilla", **plan))
    return MlflowTracker(uri, search, PROVENANCE, search_id, "cola-1", warn)


def report(tracker: MlflowTracker, record: TrialRecord, *scores: tuple[int, float]) -> None:
    for step, score in scores:
        evaluation = Evaluation(step, 60, {METRIC: score}, 0.3, 1.0, [(step, score)])
        tracker.trial_reported(record, evaluation)


def begin(tracker: MlflowTracker) -> None:
    """Trial 0 completes, trial 1 fails, trial 2 is stopped, trial 3 is still running."""
    for number in range(4):
        record = make_record(number, Outcome.RUNNING, configuration=DENSE)
        tracker.trial_started(record)
        report(tracker, record, (20, 0.1), (40, 0.2))
    tracker.trial_ended(
        make_record(
            0, configuration=DENSE, scores=[(20, 0.1), (40, 0.2), (60, 0.3)], selected_share=0.7, seconds=9.0
        )
    )
    tracker.trial_ended(make_record(1, Outcome.FAILED, configuration=DENSE, error="RuntimeError: no"))
    tracker.trial_ended(make_record(2, Outcome.STOPPED, configuration=DENSE, scores=[(40, 0.2)]))


def confirm(tracker: MlflowTracker) -> None:
    """Trial 3 completes; one replicate; the end."""
    tracker.trial_ended(make_record(3, configuration=DENSE, scores=[(60, 0.25)]))
    replicate = replace(make_replicate(1, 0.61), configuration=DENSE)
    tracker.trial_started(replace(replicate, outcome=Outcome.RUNNING, final={}))
    report(tracker, replicate, (75, 0.61))
    tracker.trial_ended(replicate)
    difference = DifferenceSection.model_construct(points=2.5, adjusted_p=0.04, probability_better=0.97)
    tracker.search_ended(
        SearchDocument.model_construct(
            metric=METRIC,
            confirmation=Confirmation({1: 0.61}, 0.61, 0.02),
            evidence=SimpleNamespace(mean=0.61, interval=(0.58, 0.64), answers=None, diverged=0),
            baselines=[
                BaselineSection.model_construct(name="vanilla", difference=difference, verdict="better")
            ],
            spent=SpentSection(seconds=60.0, slot_seconds=50.0, trials=4),
            winner=WinnerSection(trial=0, configuration=DENSE),
            sentence="Trial 0 won.",
        )
    )


def runs(uri: str) -> dict[str, Run]:
    """Every run of the store's one experiment, by trial."""
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    found = client.search_runs([experiment.experiment_id])
    by_trial = {run.data.tags["dps.trial"]: run for run in found}
    assert len(by_trial) == len(found)
    return by_trial


def test_a_search_is_a_parent_run_with_a_child_a_trial(uri: str, output: Path) -> None:
    tracker = track(uri)
    begin(tracker)
    confirm(tracker)
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    found = runs(uri)
    assert set(found) == {"search", "0", "1", "2", "3", "confirm-1"}
    parent = found["search"]
    assert "mlflow.parentRunId" not in parent.data.tags
    children = [run for trial, run in found.items() if trial != "search"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}

    statuses = {trial: run.info.status for trial, run in found.items()}
    assert statuses == dict.fromkeys(found, "FINISHED") | {"1": "FAILED"}
    outcomes = {trial: run.data.tags.get("outcome") for trial, run in found.items()}
    assert outcomes == {
        "search": None,
        "0": "completed",
        "1": "failed",
        "2": "stopped",
        "3": "completed",
        "confirm-1": "completed",
    }
    assert found["1"].data.tags["error"] == "RuntimeError: no"
    assert found["0"].info.run_name == "trial-0"
    assert (found["0"].data.tags["purpose"], found["confirm-1"].data.tags["purpose"]) == (
        "search",
        "confirmation",
    )

    for run in found.values():
        tags = run.data.tags
        assert (tags["task"], tags["model"], tags["git_commit"]) == ("cola", "MiniLM", "0123abc (changed)")
        assert (tags["data"], tags["data_fingerprint"]) == ("built-in cola", "d" * 16)
        assert (tags["version.torch"], tags["version.ray"]) == ("2.13.0", "2.60.0")
    assert parent.data.tags["method"] == "dps-dense,vanilla"
    assert found["0"].data.tags["method"] == "dps-dense"

    assert found["0"].data.params == {
        "method": "dps-dense",
        "learning_rate": "0.0002",
        "selection_ratio": "0.7",
        "seed": "0",
    }
    assert parent.data.params["option.task"] == "cola"
    assert set(parent.data.params) == {key for key in parent.data.params if key.startswith("option.")}
    (data,) = parent.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("cola (generated)", "d" * 16)
    assert parent.data.tags["mlflow.source.name"] == "python tune/search.py"
    tags = parent.data.tags
    assert (tags["option.trials"], tags["winner.selection_ratio"]) == ("8", "0.7")
    assert {"score": 0.3, "seconds": 9.0, "selected_share": 0.7}.items() <= found["0"].data.metrics.items()
    assert found["confirm-1"].data.metrics[f"dev_{METRIC}"] == 0.61
    figures = {key: parent.data.metrics[f"dev_{METRIC}_{key}"] for key in ("mean", "std", "low", "high")}
    assert figures == {"mean": 0.61, "std": 0.02, "low": 0.58, "high": 0.64}
    assert parent.data.metrics["slot_seconds"] == 50.0
    assert parent.data.metrics["dev_vanilla_difference_points"] == 2.5
    assert parent.data.metrics["dev_vanilla_difference_p"] == 0.04
    assert parent.data.metrics["dev_vanilla_probability_better"] == 0.97
    note = "Trial 0 won.\n\nGenerated data, built in for trying out: scores are not results on the real cola."
    assert parent.data.tags["mlflow.note.content"] == note

    client = MlflowClient(tracking_uri=uri)
    curve = client.get_metric_history(found["0"].info.run_id, "score")
    assert [(point.step, point.value) for point in curve] == [(20, 0.1), (40, 0.2), (60, 0.3)]
    first = min(found["0"].data.metrics)
    assert first == "score", "MLflow compares runs by the first metric"
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"config.yaml", "search.json", "report.html", "study.db", "best"}
    (weights,) = client.list_artifacts(parent.info.run_id, "best")
    assert weights.path == "best/model.safetensors"


def test_mlflow_prints_nothing_amid_what_is_shown(
    uri: str, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a server's run that ends MLflow prints the address, unless it is told not to."""
    from mlflow.tracking._tracking_service import client

    monkeypatch.setattr(client, "RestStore", object)  # every store is taken for a server
    monkeypatch.delenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", raising=False)
    tracker = track(uri)
    begin(tracker)
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    assert capsys.readouterr() == ("", "")


def test_every_filter_of_the_documentation_finds_what_it_says(uri: str, output: Path) -> None:
    tracker = track(uri)
    begin(tracker)
    confirm(tracker)
    tracker.session_ended(output, interrupted=False)
    client = MlflowClient(tracking_uri=uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (block,) = re.findall(r"^```filters\n(.*?)^```", FILTERS.read_text(encoding="utf-8"), re.M | re.S)
    found = [len(client.search_runs(experiments, line)) for line in block.splitlines()]
    assert found == [2, 1, 1, 1, 1, 1, 1, 2, 4, 6, 6]


def test_a_resumed_search_goes_on_in_its_runs(uri: str, output: Path) -> None:
    first = track(uri)
    begin(first)
    first.session_ended(output, interrupted=True)
    assert first.error == ""
    before = runs(uri)
    assert (before["search"].info.status, before["3"].info.status) == ("KILLED", "KILLED")
    assert (before["0"].info.status, before["1"].info.status) == ("FINISHED", "FAILED")
    assert before["3"].data.tags["outcome"] == "running"

    again = track(uri)
    record = make_record(3, Outcome.RUNNING, configuration=DENSE)
    again.trial_started(record)
    report(again, record, (60, 0.25))
    confirm(again)
    again.session_ended(output, interrupted=False)
    assert again.error == ""
    after = runs(uri)
    assert set(after) == {*before, "confirm-1"}
    assert {t: run.info.run_id for t, run in after.items() if t in before} == {
        t: run.info.run_id for t, run in before.items()
    }
    assert (after["search"].info.status, after["3"].info.status) == ("FINISHED", "FINISHED")
    curve = MlflowClient(tracking_uri=uri).get_metric_history(after["3"].info.run_id, "score")
    assert [point.step for point in curve] == [20, 40, 60]


@pytest.mark.parametrize("evaluates_again", [True, False])
def test_a_score_that_an_earlier_session_sent_stands_once(
    uri: str, output: Path, evaluates_again: bool
) -> None:
    """Interrupted after its last evaluation: the run is resumed, and makes that again or not."""
    first = track(uri)
    record = make_record(0, Outcome.RUNNING, configuration=DENSE)
    first.trial_started(record)
    report(first, record, (20, 0.1))
    first.session_ended(output, interrupted=True)

    again = track(uri)
    again.trial_started(record)
    if evaluates_again:
        report(again, record, (20, 0.1))  # it went on from a checkpoint before that
    again.trial_ended(make_record(0, configuration=DENSE, scores=[(20, 0.1)]))
    again.session_ended(output, interrupted=False)
    assert again.error == ""
    curve = MlflowClient(tracking_uri=uri).get_metric_history(runs(uri)["0"].info.run_id, "score")
    assert [(point.step, point.value) for point in curve] == [(20, 0.1)]


def test_a_run_that_scores_otherwise_when_it_goes_on_has_its_new_score(uri: str, output: Path) -> None:
    """As on another machine, without its checkpoint."""
    for score in (0.1, 0.2):
        tracker = track(uri)
        record = make_record(0, Outcome.RUNNING, configuration=DENSE)
        tracker.trial_started(record)
        report(tracker, record, (20, score))
        tracker.session_ended(output, interrupted=True)
        assert tracker.error == ""
    assert runs(uri)["0"].data.metrics["score"] == 0.2


def test_what_mlflow_missed_before_a_kill_is_told_again(uri: str, output: Path) -> None:
    """The driver died with one trial over in the ledger, running in MLflow, and one unheard of."""
    killed = track(uri)
    over = make_record(0, configuration=DENSE, scores=[(20, 0.1), (40, 0.2)], seconds=9.0)
    killed.trial_started(make_record(0, Outcome.RUNNING, configuration=DENSE))
    killed._delivery.close(60)

    resumed = track(uri)
    resumed.session_started([over, make_record(1, Outcome.STOPPED, configuration=DENSE, scores=[(20, 0.05)])])
    resumed.session_ended(output, interrupted=False)
    assert resumed.error == ""
    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    by_trial = {run.data.tags["dps.trial"]: run for run in runs}
    assert set(by_trial) == {"search", "0", "1"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert by_trial["0"].data.tags["outcome"] == "completed"
    assert by_trial["0"].data.metrics["score"] == 0.2
    assert by_trial["1"].data.tags["outcome"] == "stopped"


def test_two_searches_on_the_same_data_share_an_experiment_and_no_run(uri: str, output: Path) -> None:
    for search_id in ("s1", "s2"):
        tracker = track(uri, search_id)
        tracker.trial_started(make_record(0, Outcome.RUNNING, configuration=DENSE))
        tracker.session_ended(output, interrupted=True)
        assert tracker.error == ""
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    found = client.search_runs([experiment.experiment_id])
    assert sorted((r.data.tags["dps.search"], r.data.tags["dps.trial"]) for r in found) == [
        ("s1", "0"),
        ("s1", "search"),
        ("s2", "0"),
        ("s2", "search"),
    ]


def test_a_store_named_by_a_relative_path(
    empty_store: Path, tmp_path: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, tmp_path / "here.db")
    monkeypatch.chdir(tmp_path)
    tracker = track("sqlite:///here.db")
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    parent = runs("sqlite:///here.db")["search"]
    assert MlflowClient(tracking_uri="sqlite:///here.db").list_artifacts(parent.info.run_id)


class Idle:
    """Enough of a tracker to ask for the experiment's name."""

    def __init__(self, **plan: Any) -> None:
        self._search = track_plan(plan.pop("plan", None) or make_plan(**plan))

    experiment = MlflowTracker.experiment


def test_the_experiment_tells_data_apart() -> None:
    plan = make_plan()
    other = plan.change_arms(data=replace(plan.data, fingerprint="e" * 16))
    hub = plan.change_arms(data=replace(plan.data, source="hub"))
    names = [Idle(plan=one).experiment for one in (plan, other, hub, make_plan(task="rte"))]
    assert names == [
        "cola-builtin-dddddddd",
        "cola-builtin-eeeeeeee",
        "cola-hub-dddddddd",
        "rte-builtin-dddddddd",
    ]
    assert Idle(experiment="mine").experiment == "mine"


def test_which_store_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_tracking_uri(None, tmp_path) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert resolve_tracking_uri(None, tmp_path) == "http://somewhere:5000"
    assert resolve_tracking_uri("http://named:1", tmp_path) == "http://named:1"
    assert resolve_tracking_uri("none", tmp_path) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    assert resolve_tracking_uri(None, tmp_path) is None
    assert format_view_command("http://named:1") == "open http://named:1"
    assert format_view_command("sqlite:///x.db").endswith(
        "mlflow ui --workers 1 --backend-store-uri sqlite:///x.db"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(format_view_command("sqlite:///x.db").split()[0]).is_absolute()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nothing answers, and which nothing else takes meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_a_store_that_does_not_answer_is_an_error_and_no_exception(
    nobody: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    asked, connect = threading.Event(), MlflowTracker.connect

    def connect_once_asked(tracker: MlflowTracker) -> None:
        asked.wait()
        connect(tracker)

    monkeypatch.setattr(MlflowTracker, "connect", connect_once_asked)
    tracker = track(nobody)
    begin(tracker)
    confirm(tracker)  # nobody waits for MLflow: not even the connection is tried yet
    asked.set()
    began = time.monotonic()
    tracker.session_ended(output, interrupted=False)
    assert time.monotonic() - began < 20.0
    assert "\n" not in tracker.error
    assert "127.0.0.1" in tracker.error


def test_a_store_that_hangs_is_left_when_its_time_is_over(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "FLUSH_TIMEOUT_S", 0.2)
    released = threading.Event()
    monkeypatch.setattr(MlflowTracker, "connect", lambda self: released.wait(30.0))
    tracker = track("sqlite:///never.db")
    began = time.monotonic()
    tracker.session_ended(output, interrupted=False)
    assert time.monotonic() - began < 5.0
    assert tracker.error == "MLflow did not finish in time"
    released.set()


def test_what_mlflow_refuses_is_told_at_once_and_the_rest_goes_on(uri: str, output: Path) -> None:
    warnings: list[str] = []
    tracker = track(uri, warn=warnings.append)
    tracker.trial_started(make_record(4, Outcome.RUNNING, configuration={"method": "x", "no\x00name": 1}))
    begin(tracker)
    tracker.session_ended(output, interrupted=False)
    assert tracker.error.startswith("trial 4: MlflowException: ")
    (said,) = warnings
    assert said.startswith("MLflow refused trial 4 (MlflowException: ")
    found = runs(uri)
    assert {trial: found[trial].info.status for trial in ("search", "0", "1", "2")} == {
        "search": "FINISHED", "0": "FINISHED", "1": "FAILED", "2": "FINISHED"
    }  # fmt: skip


def end_search(tracker: MlflowTracker, trial: int, configuration: dict[str, Any], sentence: str) -> None:
    tracker.search_ended(
        SearchDocument.model_construct(
            metric=METRIC,
            confirmation=Confirmation({1: 0.61}, 0.61, 0.02),
            evidence=None,
            baselines=[],
            spent=SpentSection(seconds=60.0, slot_seconds=50.0, trials=4),
            winner=WinnerSection(trial=trial, configuration=configuration),
            sentence=sentence,
        )
    )


def test_a_later_session_may_have_another_winner(uri: str, output: Path) -> None:
    for trials, winner in ((1, DENSE), (3, {"method": "vanilla", "learning_rate": 1e-4})):
        tracker = track(uri, trials=trials)
        end_search(tracker, trials - 1, winner, f"Trial {trials - 1} won.")
        tracker.session_ended(output, interrupted=False)
        assert tracker.error == ""
    parent = runs(uri)["search"]
    tags = parent.data.tags
    assert parent.info.status == "FINISHED"
    assert {key: value for key, value in tags.items() if key.startswith("winner.")} == {
        "winner.method": "vanilla",
        "winner.learning_rate": "0.0001",
    }
    assert (tags["mlflow.note.content"][:12], tags["option.trials"]) == ("Trial 2 won.", "3")


def test_a_run_that_is_deleted_meanwhile_is_restored_and_the_others_go_on(uri: str, output: Path) -> None:
    warnings: list[str] = []
    tracker = track(uri, warn=warnings.append)
    for number in range(2):
        tracker.trial_started(make_record(number, Outcome.RUNNING, configuration=DENSE))
    client = MlflowClient(tracking_uri=uri)
    wait_until(lambda: "1" in tracker._runs)
    client.delete_run(tracker._runs["0"])
    for number in range(2):
        tracker.trial_ended(make_record(number, configuration=DENSE, scores=[(60, 0.25)]))
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    assert warnings == ["MLflow: restored the runs of this search that had been deleted there: 1"]
    assert {trial: run.info.status for trial, run in runs(uri).items()} == dict.fromkeys(
        ("search", "0", "1"), "FINISHED"
    )


def test_a_parent_that_was_deleted_is_restored_with_its_children(uri: str, output: Path) -> None:
    ended = make_record(0, configuration=DENSE, scores=[(60, 0.25)])
    for session in range(2):
        tracker = track(uri)
        tracker.session_started([ended])
        tracker.session_ended(output, interrupted=False)
        assert tracker.error == ""
        found = runs(uri)
        assert set(found) == {"search", "0"}
        assert found["0"].data.tags["mlflow.parentRunId"] == found["search"].info.run_id
        if not session:
            MlflowClient(tracking_uri=uri).delete_run(found["search"].info.run_id)


def test_what_was_half_heard_is_completed_once(uri: str, output: Path) -> None:
    """Runs that MLflow made, and heard no parameter, no figure or one of two scores of."""
    record = make_record(0, configuration=DENSE, scores=[(20, 0.1), (40, 0.2)], seconds=9.0)
    first = track(uri)
    first.trial_started(replace(record, outcome=Outcome.RUNNING))
    report(first, record, (20, 0.1))
    first.session_ended(output, interrupted=True)
    client = MlflowClient(tracking_uri=uri)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as store, store:
        store.execute("DELETE FROM params")
    client.set_terminated(runs(uri)["0"].info.run_id, "FINISHED")
    for _ in range(2):
        tracker = track(uri)
        tracker.session_started([record])
        tracker.session_ended(output, interrupted=False)
        assert tracker.error == ""
        found = runs(uri)
        assert found["search"].data.params["option.task"] == "cola"
        assert found["0"].data.params == {**{k: str(v) for k, v in DENSE.items()}, "seed": "0"}
        assert (found["0"].data.metrics["seconds"], found["0"].info.status) == (9.0, "FINISHED")
        curve = client.get_metric_history(found["0"].info.run_id, "score")
        assert [point.step for point in curve] == [20, 40]


def test_a_diverged_run_has_its_last_finite_score_once(uri: str, output: Path) -> None:
    tracker = track(uri)
    record = make_record(0, Outcome.RUNNING, configuration=DENSE)
    tracker.trial_started(record)
    report(tracker, record, (20, 0.1), (40, math.nan))
    tracker.trial_ended(make_record(0, Outcome.DIVERGED, configuration=DENSE, scores=[(20, 0.1)]))
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    run = runs(uri)["0"]
    assert (run.data.metrics["score"], run.data.tags["outcome"]) == (0.1, "diverged")
    curve = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "score")
    assert [(point.step, point.value) for point in curve] == [(20, 0.1)]


@pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated", "update_run"])
@pytest.mark.parametrize("is_heard", [True, False])
def test_one_lost_request_or_answer_loses_and_doubles_nothing(
    method: str, is_heard: bool, uri: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is lost once, or its answer, also while the queue is flushed at the end."""
    monkeypatch.setattr(delivery, "RETRY_WAIT_S", 0.001)
    call, calls = getattr(MlflowClient, method), itertools.count()

    def lose_every_third(*given: Any, **named: Any) -> Any:
        is_lost = next(calls) % 3 == 0
        answer = None if is_lost and not is_heard else call(*given, **named)
        if is_lost:
            raise ConnectionError("reset by peer")
        return answer

    monkeypatch.setattr(MlflowClient, method, lose_every_third)
    tracker = track(uri)
    begin(tracker)
    confirm(tracker)
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    found = runs(uri)
    assert set(found) == {"search", "0", "1", "2", "3", "confirm-1"}
    assert {run.info.status for run in found.values()} == {"FINISHED", "FAILED"}
    assert found["0"].data.params["seed"] == "0"
    history = MlflowClient(tracking_uri=uri).get_metric_history(found["0"].info.run_id, "score")
    assert [metric.step for metric in history] == [20, 40, 60]


def test_an_event_that_a_server_fails_at_for_ever_is_left_out(
    uri: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_WAIT_S", 0.001)
    log_end = MlflowTracker._log_trial_end

    def fail(self: MlflowTracker, record: TrialRecord, time_ms: int) -> None:
        if record.id == "0":
            raise MlflowException("500", error_code=INTERNAL_ERROR)
        log_end(self, record, time_ms)

    monkeypatch.setattr(MlflowTracker, "_log_trial_end", fail)
    tracker = track(uri)
    begin(tracker)
    wait_until(lambda: tracker.error != "")
    tracker.session_ended(output, interrupted=False)
    assert tracker.error.startswith("trial 0: MlflowException: ")
    assert {t: r.info.status for t, r in runs(uri).items() if t in "12"} == {"1": "FAILED", "2": "FINISHED"}


def test_an_experiment_that_was_deleted_is_told_at_once_with_the_remedy(uri: str, output: Path) -> None:
    client = MlflowClient(tracking_uri=uri)
    number = client.create_experiment("mine")
    client.delete_experiment(number)
    warnings: list[str] = []
    tracker = track(uri, warn=warnings.append, experiment="mine")
    begin(tracker)
    wait_until(lambda: warnings != [])
    tracker.session_ended(output, interrupted=False)
    said = f"'mine' was deleted in MLflow; restore it (mlflow experiments restore --experiment-id {number})"
    assert said in warnings[0]
    assert said in tracker.error


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_sqlite_store_puts_its_files_beside_itself(uri: str, output: Path, tmp_path: Path) -> None:
    tracker = track(uri)
    (output / "search.json").write_text(json.dumps({"task": "cola"}), encoding="utf-8")
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    (kept,) = (tmp_path / "mlartifacts").rglob("search.json")
    assert json.loads(kept.read_text(encoding="utf-8")) == {"task": "cola"}


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE runs;--", "<script>", "../../up", "--x", "größe \u202e数", "$(touch x)"]
)
def test_hostile_names_are_names(name: str, uri: str, output: Path, tmp_path: Path) -> None:
    tracker = track(uri, experiment=name)
    tracker.trial_started(make_record(0, Outcome.RUNNING, configuration={**DENSE, "note": name}))
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    assert set(runs(uri)) == {"search", "0"}
    assert not (tmp_path / "x").exists()
    kept = [file for file in tmp_path.rglob("search.json") if file.parent != output]
    assert [file.relative_to(tmp_path).parts[0] for file in kept] == ["mlartifacts"]


def test_no_secret_reaches_the_store(uri: str, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "plantedToken")
    given = "http://me:planted@somewhere:5000"
    tracker = track(uri, tracking_uri=given, storage=given)
    record = make_record(0, Outcome.FAILED, configuration=DENSE, error=f"401 for {given} with plantedToken")
    tracker.trial_started(replace(record, outcome=Outcome.RUNNING, error=None))
    tracker.trial_ended(record)
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    assert runs(uri)["search"].data.tags["option.tracking_uri"] == "http://***@somewhere:5000"
    assert b"planted" not in Path(uri.removeprefix("sqlite:///")).read_bytes()


def test_why_it_gave_up_is_said_without_secrets(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = track("http://me:planted@127.0.0.1:1")
    tracker.session_ended(output, interrupted=False)
    assert tracker.error
    assert "planted" not in tracker.error


def test_what_happens_while_mlflow_is_away_is_delivered_in_order_when_it_is_back(
    uri: str, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RETRY_WAIT_S", 0.01)
    away, tried = threading.Event(), threading.Event()
    away.set()
    log_evaluation = MlflowTracker._log_evaluation

    def when_there(self: MlflowTracker, trial: str, given: Evaluation, time_ms: int) -> None:
        if away.is_set():
            tried.set()
            raise ConnectionError("nobody answers")
        log_evaluation(self, trial, given, time_ms)

    monkeypatch.setattr(MlflowTracker, "_log_evaluation", when_there)
    tracker = track(uri)
    begin(tracker)
    assert tried.wait(60)
    away.clear()
    confirm(tracker)
    tracker.session_ended(output, interrupted=False)
    assert tracker.error == ""
    found = runs(uri)
    assert set(found) == {"search", "0", "1", "2", "3", "confirm-1"}
    history = MlflowClient(tracking_uri=uri).get_metric_history(found["0"].info.run_id, "score")
    assert [metric.step for metric in history] == [20, 40, 60]


def test_what_mlflow_never_heard_is_delivered_from_the_ledger(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good").mkdir()
    monkeypatch.chdir(stock(tmp_path / "good"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert sync.main(["sync", "old"]) == 2
    assert "was run without MLflow" in capsys.readouterr().err
    held = Ledger(Path("old/study.db"), "max")
    held.note("search_id", "abc")
    plain, space = {"method": "vanilla"}, make_space(("vanilla",))
    for number in range(2):
        record = held.replicate({**plain, "learning_rate": 1e-4 * (1 + number)}, space, 0, "search")
        held.report(record.id, RunResult(scores=[(20, 0.25)]))
        held.finish(record.id, RunResult(outcome=Outcome.COMPLETED, scores=[(60, 0.5)]))
    for _ in range(2):  # the second time there is nothing new
        assert sync.main(["sync", "old"]) == 0, capsys.readouterr().err
        found = runs(uri)
        assert set(found) == {"search", "0", "1"}
        assert {found[trial].info.status for trial in "01"} == {"FINISHED"}
        assert found["1"].data.params["learning_rate"] == "0.0002"
    assert sync.main(["sync", "nowhere"]) == 2
    assert sync.main([]) == 2
    assert sync.main(["sync", "x" * 256]) == 2
    assert capsys.readouterr().err.count("error: ") == 3


@pytest.mark.parametrize(
    ("name", "experiment"),
    [("search", "stsb-builtin-"), ("own", "tickets-task-"), ("interrupted", "stsb-builtin-")],
)
def test_a_search_is_delivered_when_its_data_and_model_are_gone(
    name: str,
    experiment: str,
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the folder alone, of commit 521c27d too: no data is opened, no model, no cluster."""
    folder = restore_old_search(name, tmp_path / "old")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for module, opens in (("dps.sources", "open_data_source"), ("dps.models.folder", "locate_model")):
        monkeypatch.delattr(f"{module}.{opens}")
    assert sync.main(["sync", str(folder)]) == 0, capsys.readouterr().err
    client = MlflowClient(tracking_uri=uri)
    (found,) = [e for e in client.search_experiments() if e.name != "Default"]
    assert found.name.startswith(experiment)
    delivered = {run.data.tags["dps.trial"] for run in client.search_runs([found.experiment_id])}
    over = [r for r in Ledger(folder / "study.db", "max").records() if r.outcome.is_final]
    assert {record.id for record in over} <= delivered
    assert len(over) >= 1


def tracked(uri: str, output: Path, search_id: str, found: SearchDocument | dict[str, Any] | None) -> None:
    """A search in MLflow that left this search.json, or was interrupted."""
    output.mkdir()
    if found is not None:
        (output / "search.json").write_text(
            json.dumps(found if isinstance(found, dict) else found.to_json()), encoding="utf-8"
        )
    tracker = MlflowTracker(uri, track_plan(make_plan()), PROVENANCE, search_id, output.name)
    tracker.session_ended(output, interrupted=found is None)
    assert tracker.error == ""


def test_the_searches_of_an_experiment_make_a_page(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    found = told(make_plan(), proven(tmp_path / "one")[0], tmp_path / "one")
    tracked(uri, tmp_path / "a", "s1", None)
    experiment = "cola-builtin-dddddddd"
    assert report_command.main([experiment]) == 2
    assert f"EXPERIMENT: {experiment} is no folder, and holds no search that ended" in capsys.readouterr().err
    tracked(uri, tmp_path / "b", "s2", found)
    assert report_command.main([experiment]) == 0
    said = capsys.readouterr()
    assert said.out == "left out: 1 of 2 runs, which have no search.json\nreport: report.html\n"
    assert said.err == ""
    assert found.sentence in Path("report.html").read_text(encoding="utf-8").replace("\u00a0", " ")

    assert found.winner is not None
    other = found.model_copy(update={"winner": found.winner.model_copy(update={"trial": 99})})
    tracked(uri, tmp_path / "c", "s3", other)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    argv = [f"mlflow:{experiment}", str(tmp_path / "b"), "--tracking-uri", uri]
    assert report_command.main([*argv, "--output", "all.html"]) == 0
    text = Path("all.html").read_text(encoding="utf-8")
    labels = re.findall(r"<strong>(.*?)</strong>", text)
    assert [re.sub(r"\(\w{8}\)$", "(id)", label) for label in labels] == [
        "b (id)",
        "c (id)",
        str(tmp_path / "b"),
    ]
    assert text.count("<p>Trial 99 won:") == 1
    assert text.count(f"<p>Trial {found.winner.trial} won:") == 2
    tracked(uri, tmp_path / "d", "s4", {"schema_version": 99})
    before = Path("mlflow.db").read_bytes()
    capsys.readouterr()
    assert report_command.main([experiment, "--tracking-uri", uri]) == 2
    assert f"error: EXPERIMENT: {experiment}, run d has version 99" in capsys.readouterr().err
    assert Path("mlflow.db").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "at", "said"),
    [
        ("none", "mlflow.db", "none is no folder, and names no experiment of sqlite:///"),
        ("mlflow:none", "mlflow.db", "mlflow:none names no experiment of sqlite:///"),
        ("none", "nowhere.db", "none is no folder, and names an experiment of sqlite:///"),
    ],
)
def test_what_is_no_experiment_is_refused_in_one_line(
    name: str, at: str, said: str, uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_command.main([name, "--tracking-uri", f"sqlite:///{tmp_path / at}"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: EXPERIMENT: {said}")
    assert line.count("\n") == 1
    assert not (tmp_path / "nowhere.db").exists()


SILENT = """
from tune.records import stores
stores.create_mlflow_client("sqlite:///mlflow.db")
from mlflow.telemetry.utils import is_telemetry_disabled
assert is_telemetry_disabled()
"""


def test_mlflow_reports_nothing_to_its_makers(tmp_path: Path) -> None:
    """Asked of MLflow itself, which reports nothing in tests anyway."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SILENT]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
