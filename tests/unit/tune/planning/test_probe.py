"""Checks that run on one node of a cluster."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tune.planning import probe
from tune.planning.probe import Listener, NodeChecks


def test_a_node_reads_the_drivers_note_and_leaves_its_own(tmp_path: Path) -> None:
    note = tmp_path / ".preflight-1"
    note.mkdir()
    (note / probe.DRIVER_NOTE_NAME).write_text("here", encoding="utf-8")
    said = probe.probe_node(
        "node-1", NodeChecks((str(tmp_path), "/no/such"), ("numpy", "no-such"), str(note)), 0
    )
    assert said.missing_items == ("/no/such", "no-such")
    assert (said.storage_error, said.gpu_error) == (None, None)
    assert (note / "node-1").read_text(encoding="utf-8") == "node-1"
    assert said.versions == probe.collect_versions()
    assert abs(said.clock_seconds - time.time()) < 60


def test_a_storage_that_this_node_does_not_see_is_told(tmp_path: Path) -> None:
    said = probe.check_node_storage(f"{tmp_path}/elsewhere/.preflight-1", "node-1")
    assert said == f"the driver's file in {tmp_path}/elsewhere is not visible"


def test_a_node_without_the_gpus_that_ray_offers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "GPU_CHECK_SCRIPT", "print('a warning'); print(1)")
    assert probe.check_gpus(1) is None
    assert probe.check_gpus(2) == "Ray offers 2, but torch sees 1"
    monkeypatch.setattr(probe, "GPU_CHECK_SCRIPT", "raise RuntimeError('no driver')")
    assert probe.check_gpus(1) == "RuntimeError: no driver"


def test_a_node_reaches_the_driver_while_it_listens() -> None:
    with probe.open_listener("127.0.0.1") as listener:
        for _ in range(200):  # more nodes than connections that wait
            assert probe.check_listener(listener) is None
        assert probe.probe_node("node-1", NodeChecks(listener=listener), 0).listener_error is None
    error = f"cannot connect to 127.0.0.1:{listener.port}: Connection refused"
    assert probe.check_listener(listener) == error


def test_a_port_that_does_not_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DRIVER_CONNECT_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full, ExitStack() as waiting:
        listener = Listener(*full.getsockname())
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        assert probe.check_listener(listener) == f"cannot connect to 127.0.0.1:{listener.port}: timed out"


def test_all_interfaces_listen_if_none_has_the_address() -> None:
    with probe.open_listener("192.0.2.1") as listener:
        assert listener.host == "192.0.2.1"
        assert probe.check_listener(replace(listener, host="127.0.0.1")) is None


def test_another_copy_of_the_project_is_told_apart(tmp_path: Path) -> None:
    for root, text in (("a", "x = 1"), ("b", "x = 2")):
        (tmp_path / root / "tune").mkdir(parents=True)
        (tmp_path / root / "tune" / "x.py").write_text(text, encoding="utf-8")
    assert probe.hash_packages([tmp_path / "a/tune"]) != probe.hash_packages([tmp_path / "b/tune"])


def test_packages_that_are_shipped_each_into_its_own_folder_are_the_same_project(tmp_path: Path) -> None:
    for package in ("here/dps", "here/tune", "one/dps", "other/tune"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "x.py").write_text(Path(package).name, encoding="utf-8")
    together = probe.hash_packages([tmp_path / "here/dps", tmp_path / "here/tune"])
    assert probe.hash_packages([tmp_path / "one/dps", tmp_path / "other/tune"]) == together
    assert probe.hash_packages([tmp_path / "one/dps"]) != together
