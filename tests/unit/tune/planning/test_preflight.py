"""Preflight checks: reports of nodes, space and MLflow, judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tune.helpers import make_plan
from tune.core.options import SearchOptions
from tune.core.parsing import parse_options
from tune.planning import preflight
from tune.planning.probe import NodeReport
from tune.records import stores

HERE = {"python": "3.11.7", "ray": "2.60.0", "project": "abc"}
NODE = "node 10.0.0.2 (a1b2c3)"
SAME = "install the same on all nodes (constraints.txt, or one image)"
NOW = 1_000_000.0
FINE = NodeReport(versions=HERE, missing_items=(), storage_error=None, gpu_error=None, clock_seconds=NOW)


def judged(**changes: Any) -> list[str]:
    found = preflight.judge_node_report(NODE, replace(FINE, **changes), HERE, (NOW - 1, NOW + 1))
    return [str(finding) for finding in found]


def test_nodes_that_agree_leave_nothing_to_say() -> None:
    assert judged() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"versions": {**HERE, "ray": "2.59.1"}},
            f"ray is 2.59.1, but 2.60.0 on the driver; {SAME}",
        ),
        (
            {"versions": {"python": "3.11.7", "project": "abc"}},
            f"ray is missing, but 2.60.0 on the driver; {SAME}",
        ),
        (
            {"versions": {**HERE, "project": "old"}},
            "project is old, but abc on the driver; another copy of this project comes first there; "
            "pip uninstall dps-tune",
        ),
        ({"clock_seconds": NOW + 61}, "its clock is off by 60 s; synchronise all nodes with chrony or ntpd"),
        ({"clock_seconds": NOW - 61}, "its clock is off by 60 s; synchronise all nodes with chrony or ntpd"),
        (
            {"missing_items": ("/data/glue",)},
            "/data/glue: missing; put it there, at the same path on every node",
        ),
        (
            {"storage_error": "cannot write to /shared: Read-only file system"},
            "--storage: cannot write to /shared: Read-only file system; "
            "mount the same folder, writable, on every node",
        ),
        (
            {"listener_error": "cannot connect to 10.0.0.1:43211: timed out"},
            "cannot connect to 10.0.0.1:43211: timed out; open the nodes' ports to one another",
        ),
        (
            {"gpu_error": "Ray offers 8, but torch sees 0"},
            "GPU: Ray offers 8, but torch sees 0; check nvidia-smi, the driver, the build of torch",
        ),
        (
            {"lacks_bf16": True},
            "its CPU lacks bf16 in hardware, which the others have; take CPUs of one kind, or start the "
            "search with --precision fp32",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_fault_says_where_it_is_and_what_to_do(changes: dict[str, Any], said: str) -> None:
    assert judged(**changes) == [f"{NODE}: {said}"]


@pytest.mark.parametrize(
    ("precision", "has_joined", "needed"),
    [("auto", True, True), ("auto", False, False), ("bf16", True, False)],
)
def test_a_node_that_joins_must_have_the_precision_that_was_chosen(
    precision: str, has_joined: bool, needed: bool
) -> None:
    plan = make_plan(precision=precision)
    plan = plan.change_arms(settings=replace(plan.settings, precision="bf16"))
    assert preflight.build_node_checks(plan, None, None, has_joined).needs_bf16 == needed


def test_a_clock_may_differ_by_what_asking_took() -> None:
    assert judged(clock_seconds=NOW + 1 + preflight.MAX_CLOCK_SKEW_S) == []
    assert len(judged(clock_seconds=NOW + 1.1 + preflight.MAX_CLOCK_SKEW_S)) == 1


@pytest.mark.parametrize(("options", "models"), [({}, 5), ({"ensemble": True}, 6)])
def test_space_is_for_a_checkpoint_of_each_slot_and_a_model_of_each_confirmation(
    options: dict[str, Any], models: int
) -> None:
    plan = make_plan(confirm=5, **options)
    wanted = 4 * plan.model_parameters * (3 * plan.slots + models) + 2**30
    assert preflight.estimate_storage_bytes(plan) == wanted


def test_a_tracker_that_does_not_answer_is_told_by_a_preflight_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = "http://127.0.0.1:1"
    (finding,) = preflight.check_mlflow(make_plan(tracking_uri=uri, preflight=True), tmp_path)
    assert finding.location == "--tracking-uri"
    assert "127.0.0.1" in finding.problem
    assert preflight.check_mlflow(make_plan(tracking_uri=uri), tmp_path) == []
    assert stores.find_mlflow_error("sqlite:///nowhere/mlflow.db") is None


def test_an_experiment_that_was_deleted_is_found_before_anything_starts(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    plan = make_plan(tracking_uri=uri)
    assert preflight.check_mlflow(plan, tmp_path) == []
    client = stores.create_mlflow_client(uri)
    number = client.create_experiment("cola-builtin-dddddddd")
    assert preflight.check_mlflow(plan, tmp_path) == []
    client.delete_experiment(number)
    (finding,) = preflight.check_mlflow(plan, tmp_path)
    assert str(finding) == (
        f"--tracking-uri: the experiment 'cola-builtin-dddddddd' was deleted in MLflow; restore it (mlflow "
        f"experiments restore --experiment-id {number}), or choose another --experiment"
    )
    assert preflight.check_mlflow(make_plan(tracking_uri=uri, experiment="mine"), tmp_path) == []


def test_a_store_without_a_model_registry_is_found_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    def none_here(client: Any, **asked: Any) -> None:
        raise MlflowException("Model registry features are not supported")

    monkeypatch.setattr("mlflow.MlflowClient.search_registered_models", none_here)
    uri = "http://127.0.0.1:1"
    (finding,) = preflight.check_mlflow(make_plan(tracking_uri=uri, register="tickets"), tmp_path)
    assert str(finding).startswith("--register: MlflowException: Model registry features are not supported;")
    assert preflight.check_mlflow(make_plan(tracking_uri=uri), tmp_path) == []


def test_preflight_is_no_part_of_what_reruns_a_search(tmp_path: Path) -> None:
    from tune.core.parsing import write_options

    write_options(parse_options(["--preflight"], SearchOptions), tmp_path / "config.yaml")
    assert "preflight" not in (tmp_path / "config.yaml").read_text(encoding="utf-8")
