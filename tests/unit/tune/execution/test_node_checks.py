"""The preflight over the nodes of a cluster, whose answers are made up."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from tests.unit.tune.helpers import make_plan
from tune.core import storage
from tune.execution import node_checks
from tune.planning import probe
from tune.planning.probe import NodeChecks, NodeReport

NODE = "node 10.0.0.2 (a1b2c3)"


def test_nodes_are_asked_to_reach_the_driver_where_there_are_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[NodeChecks, str | None]] = []
    monkeypatch.setattr(
        node_checks, "query_nodes", lambda checks, gpus, only: iter(asked.append((checks, only)) or ())
    )
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": "a", "NodeManagerAddress": "127.0.0.1"}])
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "a"))
    plan = make_plan(storage=str(tmp_path))
    for number in (1, 2):
        node_checks.check_nodes(
            replace(plan, cluster=replace(plan.cluster, nodes=plan.cluster.nodes * number)), tmp_path
        )
    node_checks.check_nodes(plan, tmp_path, joined="b")
    told = [(checks.listener and checks.listener.host, only) for checks, only in asked]
    assert told == [(None, None), ("127.0.0.1", None), ("127.0.0.1", "b")]


def test_too_little_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_checks, "query_nodes", lambda asked, gpus, only: iter(()))
    monkeypatch.setattr(node_checks, "_open_driver_listener", nullcontext)
    plan = make_plan(storage=str(tmp_path)).change_arms(model_parameters=10**13)
    (finding,) = node_checks.check_nodes(plan, tmp_path)
    assert (finding.location, finding.remedy) == (
        str(tmp_path),
        "make room, name another folder, or lower --max-concurrent",
    )
    assert "GiB free, but up to" in finding.problem
    assert node_checks.check_nodes(plan.change_arms(model_parameters=1000), tmp_path) == []
    assert node_checks.check_nodes(plan, tmp_path, joined="a") == []  # the storage is not looked at again
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (finding,) = node_checks.check_nodes(make_plan(storage=str(tmp_path / "file" / "folder")), tmp_path)
    assert str(finding).endswith("cannot write: Not a directory; name a place that can be written")


def test_a_node_that_did_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = TimeoutError("no answer within 180 s")
    monkeypatch.setattr(node_checks, "query_nodes", lambda asked, gpus, only: iter([(NODE, silent)]))
    (finding,) = node_checks.check_nodes(make_plan(storage=str(tmp_path)), tmp_path)
    assert str(finding).startswith(f"{NODE}: the probe failed: no answer within 180 s; ")


def test_what_a_node_wrote_must_be_seen_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = NodeReport(probe.collect_versions(), (), None, None, time.time())
    monkeypatch.setattr(node_checks, "query_nodes", lambda asked, gpus, only: iter([(NODE, said)]))
    monkeypatch.setattr(probe, "FILE_VISIBLE_TIMEOUT_S", 0.0)
    monkeypatch.setattr(probe, "wait_for_file", storage.location_exists)
    (finding,) = node_checks.check_nodes(make_plan(storage=str(tmp_path)), tmp_path)
    assert finding.problem == "--storage: its file is not visible on the driver"
