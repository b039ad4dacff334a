"""A Ray cluster of two nodes that others started: a submitted job, and RAY_ADDRESS. As documented."""

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
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Two nodes of one core, with ports and a folder of their own; ended by their command lines."""
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
    try:
        options = ["--head", "--port", str(port), "--dashboard-port", str(dashboard)]
        options += ["--ray-client-server-port", str(free_port()), "--temp-dir", str(folder)]
        found = re.search(r"--address='([^']+)'", ray_start(env, *options))
        assert found
        ray_start(env, "--address", found[1])
        yield {**env, "CLUSTER": found[1], "DASHBOARD": f"http://127.0.0.1:{dashboard}"}
    finally:
        end_processes_of(folder)


def ray_start(env: dict[str, str], *options: str) -> str:
    command = [RAY, "start", "--num-cpus", "1", "--disable-usage-stats", *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


def test_ray_job_submit_runs_a_search(cluster: dict[str, str], tmp_path: Path) -> None:
    command = [RAY, "job", "submit", "--address", cluster["DASHBOARD"], "--working-dir", ".", "--"]
    command += ["python", "tune/search.py", "--task", "sst2", "--trials", "2", "--confirm", "1", *SMALL]
    command += ["--output", str(tmp_path / "sst2"), "--storage", str(tmp_path / "shared")]
    done = subprocess.run(command, cwd=ROOT, env=cluster, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout + done.stderr
    found = json.loads((tmp_path / "sst2" / "search.json").read_text(encoding="utf-8"))
    assert found["winner"] is not None
    assert (tmp_path / "sst2" / "best" / "model.safetensors").is_file()
    assert "slots        2 x 1 worker(s)" in done.stdout


def named(cluster: dict[str, str]) -> dict[str, str]:
    return {
        **{key: cluster[key] for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")},
        "RAY_ADDRESS": cluster["CLUSTER"],
    }


def test_one_trial_spans_both_nodes(cluster: dict[str, str], tmp_path: Path) -> None:
    done = search(
        tmp_path / "sst2",
        *("--task", "sst2", "--trials", "1", "--confirm", "1", "--method", "vanilla", *SMALL),
        *("--workers-per-trial", "2", "--storage", str(tmp_path / "shared")),
        env=named(cluster),
    )
    assert done.status == 0, done.text
    assert f"Ray at {cluster['CLUSTER']}" in done.text
    assert "slots        1 x 2 worker(s)" in done.text
    assert done.found["trials"][0]["configuration"]["method"] == "vanilla"


def test_two_nodes_need_a_folder_that_both_see(cluster: dict[str, str], tmp_path: Path) -> None:
    done = search(tmp_path / "sst2", "--task", "sst2", env=named(cluster))
    assert done.status == 3, done.text
    assert "error: --storage: the cluster has 2 nodes" in done.lines[-1]
    assert not (tmp_path / "sst2").exists()


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = search(tmp_path / "none", "--task", "cola", env={"RAY_ADDRESS": f"127.0.0.1:{free_port()}"})
    assert done.status == 3, done.text
    assert "error: RAY_ADDRESS" in done.lines[-1]
