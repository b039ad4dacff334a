"""A Ray cluster that others started: a submitted job, and RAY_ADDRESS. As the README documents it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import ROOT, SMALL, search

pytestmark = pytest.mark.integration

RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A head node with ports and a folder of its own; its processes are ended by their command lines."""
    folder = tmp_path_factory.mktemp("ray")
    port, dashboard = free_port(), free_port()
    env = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
    }
    env.pop("RAY_ADDRESS", None)
    command = [RAY, "start", "--head", "--num-cpus", "2", "--port", str(port)]
    command += ["--dashboard-port", str(dashboard), "--ray-client-server-port", str(free_port())]
    command += ["--temp-dir", str(folder), "--disable-usage-stats"]
    started = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        found = re.search(r"--address='([^']+)'", started.stdout)
        assert found, started.stdout
        yield {**env, "CLUSTER": found[1], "DASHBOARD": f"http://127.0.0.1:{dashboard}"}
    finally:
        end_processes_of(folder)


def end_processes_of(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while pids := [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and of(p, folder)]:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        assert time.monotonic() < deadline, pids


def of(process: Path, folder: Path) -> bool:
    try:
        return str(folder).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_ray_job_submit_runs_a_search(head: dict[str, str], tmp_path: Path) -> None:
    command = [RAY, "job", "submit", "--address", head["DASHBOARD"], "--working-dir", ".", "--"]
    command += ["python", "tune/search.py", "--task", "sst2", "--trials", "2", "--confirm", "1", *SMALL]
    command += ["--output", str(tmp_path / "sst2")]
    done = subprocess.run(command, cwd=ROOT, env=head, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout + done.stderr
    found = json.loads((tmp_path / "sst2" / "search.json").read_text(encoding="utf-8"))
    assert found["winner"] is not None
    assert (tmp_path / "sst2" / "best" / "model.safetensors").is_file()


def test_ray_address_is_used(head: dict[str, str], tmp_path: Path) -> None:
    named = {key: head[key] for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    done = search(
        tmp_path / "sst2",
        *("--task", "sst2", "--trials", "1", "--confirm", "1", "--method", "vanilla", *SMALL),
        env={**named, "RAY_ADDRESS": head["CLUSTER"]},
    )
    assert done.status == 0, done.text
    assert f"Ray at {head['CLUSTER']}" in done.text
    assert done.found["trials"][0]["configuration"]["method"] == "vanilla"


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = search(tmp_path / "none", "--task", "cola", env={"RAY_ADDRESS": f"127.0.0.1:{free_port()}"})
    assert done.status == 3, done.text
    assert "error: RAY_ADDRESS" in done.lines[-1]
