"""Connecting to a cluster that others started, and starting a local one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc
import pytest
import ray

from dps.errors import InputError
from tests.unit.tune.execution.test_addresses import run_control_store
from tune.core.run import RefusedError
from tune.execution import connection


@pytest.fixture(autouse=True)
def unchanged_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Undo what connecting sets for this process."""
    for name in (
        *connection.COMMON_ENVIRONMENT,
        *connection.DRIVER_ENVIRONMENT,
        *connection.LOCAL_ENVIRONMENT,
    ):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr("ray._private.worker.print_to_stdstream", print)
    monkeypatch.setattr("ray._private.services.ConsolePopen", None)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", "")
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "PYTHONWARNINGS"):
        monkeypatch.delenv(name, raising=False)


def fail_to_start(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(**options: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", fail)


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            grpc.StatusCode.UNAUTHENTICATED,
            r"cannot be joined \(no way\); it wants a token: set RAY_AUTH_MODE",
        ),
        (None, r"cannot be joined \(no way\); see its logs, or restart it"),
    ],
)
@pytest.mark.parametrize("kind", [ConnectionError, RuntimeError])
def test_a_cluster_that_cannot_be_joined(
    monkeypatch: pytest.MonkeyPatch, refusal: grpc.StatusCode | None, said: str, kind: type[Exception]
) -> None:
    fail_to_start(monkeypatch, kind("Failed.\nno way\n"))
    with run_control_store(refusal) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ConnectionError, match=f"{address} {said}"):
            connection.connect_to_cluster()


def test_a_local_ray_that_does_not_start_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_start(monkeypatch, OSError("AF_UNIX path length"))
    with pytest.raises(
        RefusedError, match=r"Ray does not start \(OSError: AF_UNIX path length\); .* RAY_TMPDIR"
    ):
        connection.connect_to_cluster()


def test_warnings_that_are_errors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "ignore::UserWarning,error")
    with pytest.raises(InputError, match=r"PYTHONWARNINGS: .* unset it"):
        connection.prepare_environment()


def test_a_short_folder_is_chosen_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    for temporary, parent in (("/tmp", "/tmp"), ("/dev/shm", "/dev/shm"), ("/tmp/" + "x" * 75, "/tmp")):
        monkeypatch.setattr("tempfile.gettempdir", lambda temporary=temporary: temporary)
        assert connection.choose_ray_folder() == f"{parent}/dps-ray-{os.getuid()}/r"


@pytest.mark.parametrize(
    ("folder", "said"),
    [("/proc/nope", "cannot be written"), ("/tmp/" + "x" * 75, "has 80 characters; .* leave room for [23]")],
)
def test_a_named_folder_that_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, folder: str, said: str
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", folder)
    with pytest.raises(
        RefusedError, match=f"RAY_TMPDIR: {folder} {said}.*; name another folder in RAY_TMPDIR"
    ):
        connection.choose_ray_folder()


def test_what_ray_opens_to_everybody_lies_where_nobody_else_can_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_RAY_FOLDER_BYTES", 1000)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    fail_to_start(monkeypatch, OSError("stop"))
    private = tmp_path / f"dps-ray-{os.getuid()}"
    for _ in range(2):
        with pytest.raises(RefusedError, match="Ray does not start"):
            connection.connect_to_cluster()
        assert private.stat().st_mode & 0o777 == 0o700
        private.chmod(0o777)  # as an earlier version left it
    private.rmdir()
    private.symlink_to("/tmp")
    with pytest.raises(
        RefusedError, match=r"RAY_TMPDIR: .*/dps-ray-\d+ is a link or of another user; remove it"
    ):
        connection.connect_to_cluster()


@pytest.mark.parametrize("before", ["/elsewhere", None])
def test_slots_run_this_copy_of_the_project(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    """Ray's processes inherit the path; what this process starts after that does not."""
    seen: list[str] = []

    def init(**_: object) -> None:
        seen.extend(os.environ["PYTHONPATH"].split(":"))
        raise OSError("stop")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setenv("PYTHONPATH", before or "")
    if before is None:
        monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(RefusedError):
        connection.connect_to_cluster()
    assert seen == [str(connection.SOURCE_ROOT), *([before] if before else [])]
    assert os.environ.get("PYTHONPATH") == before
