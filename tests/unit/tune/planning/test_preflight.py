"""What a cluster's nodes say, judged; what one node says of itself."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from tests.unit.tune.helpers import make_plan
from tune.core import storage
from tune.core.options import SearchOptions
from tune.core.parsing import parse_options
from tune.planning import preflight, probe
from tune.planning.probe import Listener, NodeChecks, NodeReport
from tune.records import stores

HERE = {"python": "3.11.7", "ray": "2.60.0", "project": "abc"}
NODE = "node 10.0.0.2 (a1b2c3)"
SAME = "install the same on all nodes (constraints.txt, or one image)"
NOW = 1_000_000.0
FINE = NodeReport(versions=HERE, missing=(), storage_error=None, gpu_error=None, clock=NOW)


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
        ({"clock": NOW + 61}, "its clock is off by 60 s; keep time with chrony or ntpd on all nodes"),
        ({"clock": NOW - 61}, "its clock is off by 60 s; keep time with chrony or ntpd on all nodes"),
        ({"missing": ("/data/glue",)}, "/data/glue: missing; put it there, at the same path on every node"),
        (
            {"storage_error": "cannot write to /shared: Read-only file system"},
            "--storage: cannot write to /shared: Read-only file system; "
            "mount the same folder, writable, on every node",
        ),
        (
            {"door_error": "cannot connect to 10.0.0.1:43211: timed out"},
            "cannot connect to 10.0.0.1:43211: timed out; open the nodes' ports to one another",
        ),
        (
            {"gpu_error": "Ray offers 8, but torch sees 0"},
            "GPU: Ray offers 8, but torch sees 0; check nvidia-smi, the driver, the build of torch",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_fault_says_where_it_is_and_what_to_do(changes: dict[str, Any], said: str) -> None:
    assert judged(**changes) == [f"{NODE}: {said}"]


def test_a_clock_may_differ_by_what_asking_took() -> None:
    assert judged(clock=NOW + 1 + preflight.MAX_CLOCK_SKEW_S) == []
    assert len(judged(clock=NOW + 1.1 + preflight.MAX_CLOCK_SKEW_S)) == 1


def test_a_node_reads_the_drivers_note_and_leaves_its_own(tmp_path: Path) -> None:
    note = tmp_path / ".preflight-1"
    note.mkdir()
    (note / probe.DRIVER_NOTE_NAME).write_text("here", encoding="utf-8")
    said = probe.probe_node(
        "node-1", NodeChecks((str(tmp_path), "/no/such"), ("numpy", "no-such"), str(note)), 0
    )
    assert said.missing == ("/no/such", "no-such")
    assert (said.storage_error, said.gpu_error) == (None, None)
    assert (note / "node-1").read_text(encoding="utf-8") == "node-1"
    assert said.versions == probe.collect_versions()
    assert abs(said.clock - time.time()) < 60


def test_a_storage_that_this_node_does_not_see_is_told(tmp_path: Path) -> None:
    said = probe.check_node_storage(f"{tmp_path}/elsewhere/.preflight-1", "node-1")
    assert said == f"what the driver wrote to {tmp_path}/elsewhere is not seen"


def test_a_node_without_the_gpus_that_ray_offers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "GPU_CHECK_SCRIPT", "print('a warning'); print(1)")
    assert probe.check_gpus(1) is None
    assert probe.check_gpus(2) == "Ray offers 2, but torch sees 1"
    monkeypatch.setattr(probe, "GPU_CHECK_SCRIPT", "raise RuntimeError('no driver')")
    assert probe.check_gpus(1) == "RuntimeError: no driver"


def test_who_knows_the_knock_is_answered_and_a_stranger_hears_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "DRIVER_CONNECT_TIMEOUT_S", 0.2)
    with probe.open_listener("127.0.0.1") as door:
        address = (door.host, door.port)
        with socket.create_connection(address, timeout=10), socket.create_connection(address, 10) as other:
            assert probe.probe_node("node-1", NodeChecks(door=door), 0).door_error is None
            other.sendall(bytes(len(door.knock)))
            assert other.recv(100) == b""
        stranger = replace(door, knock=bytes(len(door.knock)))
        assert probe.check_listener(stranger) == f"at 127.0.0.1:{door.port} another than the driver answers"
    said = f"cannot connect to 127.0.0.1:{door.port}: Connection refused"
    assert probe.check_listener(door) == said


def test_a_door_that_is_walled_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DRIVER_CONNECT_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
        door = Listener(*full.getsockname(), b"knock", b"heard")
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        assert probe.check_listener(door) == f"cannot connect to 127.0.0.1:{door.port}: timed out"
        for one in waiting:
            one.close()


def test_where_no_interface_has_the_address_all_of_them_listen() -> None:
    with probe.open_listener("192.0.2.1") as door:
        assert door.host == "192.0.2.1"
        assert probe.check_listener(replace(door, host="127.0.0.1")) is None


def test_nodes_are_asked_to_reach_the_driver_where_there_are_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[NodeChecks, str | None]] = []
    monkeypatch.setattr(
        preflight, "query_nodes", lambda one, gpus, only: iter(asked.append((one, only)) or ())
    )
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": "a", "NodeManagerAddress": "127.0.0.1"}])
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "a"))
    plan = make_plan(storage=str(tmp_path))
    for number in (1, 2):
        preflight.check_nodes(
            replace(plan, cluster=replace(plan.cluster, each=plan.cluster.each * number)), tmp_path
        )
    preflight.check_nodes(plan, tmp_path, joined="b")
    told = [(one.door and one.door.host, only) for one, only in asked]
    assert told == [(None, None), ("127.0.0.1", None), ("127.0.0.1", "b")]


def test_the_check_of_gpus_runs_without_any() -> None:
    done = subprocess.run(
        [sys.executable, "-c", probe.GPU_CHECK_SCRIPT],
        env={"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0"]


def test_another_copy_of_the_project_is_told_apart(tmp_path: Path) -> None:
    for root, text in (("a", "x = 1"), ("b", "x = 2")):
        (tmp_path / root / "tune").mkdir(parents=True)
        (tmp_path / root / "tune" / "x.py").write_text(text, encoding="utf-8")
    assert probe._hash_project_code(tmp_path / "a") != probe._hash_project_code(tmp_path / "b")


def test_space_is_for_a_checkpoint_of_each_slot_and_a_model_of_each_confirmation() -> None:
    assert preflight.estimate_storage_bytes(10**9, 8, 10) == 4 * 10**9 * (3 * 8 + 10) + 2**30


def test_too_little_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "query_nodes", lambda asked, gpus, only: iter(()))
    monkeypatch.setattr(preflight, "_open_driver_listener", lambda several: nullcontext())
    plan = replace(make_plan(storage=str(tmp_path)), weights=10**13)
    (finding,) = preflight.check_nodes(plan, tmp_path)
    assert (finding.where, finding.do) == (
        str(tmp_path),
        "make room, name another folder, or lower --max-concurrent",
    )
    assert "GiB free, but up to" in finding.what
    assert preflight.check_nodes(replace(plan, weights=1000), tmp_path) == []
    assert preflight.check_nodes(plan, tmp_path, joined="a") == []  # the storage is not looked at again
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (finding,) = preflight.check_nodes(make_plan(storage=str(tmp_path / "file" / "folder")), tmp_path)
    assert str(finding).endswith("cannot write: Not a directory; name a place that can be written")


def test_a_node_that_did_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = TimeoutError("no answer within 180 s")
    monkeypatch.setattr(preflight, "query_nodes", lambda asked, gpus, only: iter([(NODE, silent)]))
    (finding,) = preflight.check_nodes(make_plan(storage=str(tmp_path)), tmp_path)
    assert str(finding).startswith(f"{NODE}: the probe failed: no answer within 180 s; ")


def test_what_a_node_wrote_must_be_seen_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = replace(FINE, versions=probe.collect_versions(), clock=time.time())
    monkeypatch.setattr(preflight, "query_nodes", lambda asked, gpus, only: iter([(NODE, said)]))
    monkeypatch.setattr(probe, "FILE_VISIBLE_TIMEOUT_S", 0.0)
    monkeypatch.setattr(probe, "wait_for_file", storage.location_exists)
    (finding,) = preflight.check_nodes(make_plan(storage=str(tmp_path)), tmp_path)
    assert finding.what == "--storage: what it wrote is not seen on the driver"


def test_a_tracker_that_does_not_answer_is_told_by_a_preflight_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(preflight, "check_nodes", lambda plan, output: [])
    uri = "http://127.0.0.1:1"
    (finding,) = preflight.run_preflight_checks(make_plan(tracking_uri=uri, preflight=True), tmp_path)
    assert finding.where == "--tracking-uri"
    assert "127.0.0.1" in finding.what
    assert preflight.run_preflight_checks(make_plan(tracking_uri=uri), tmp_path) == []
    assert stores.find_mlflow_error("sqlite:///nowhere/mlflow.db") is None


def test_a_store_without_a_model_registry_is_found_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    def none_here(client: Any, **asked: Any) -> None:
        raise MlflowException("Model registry features are not supported")

    monkeypatch.setattr("mlflow.MlflowClient.search_registered_models", none_here)
    uri = "http://127.0.0.1:1"
    (finding,) = preflight.run_preflight_checks(make_plan(tracking_uri=uri, register="tickets"), tmp_path)
    assert str(finding).startswith("--register: MlflowException: Model registry features are not supported;")
    assert preflight.run_preflight_checks(make_plan(tracking_uri=uri), tmp_path) == []


def test_preflight_is_no_part_of_what_reruns_a_search(tmp_path: Path) -> None:
    from tune.core.parsing import write_options

    write_options(parse_options(["--preflight"], SearchOptions), tmp_path / "config.yaml")
    assert "preflight" not in (tmp_path / "config.yaml").read_text(encoding="utf-8")
