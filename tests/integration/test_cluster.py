"""A Ray cluster that others started: a submitted job; RAY_ADDRESS, on two nodes. As documented."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import object_store
from tests.integration.cli import ROOT, SMALL, search
from tune.core import storage
from tune.execution import links

pytestmark = pytest.mark.integration

RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """An object store, as the environment names it."""
    with object_store.served() as env:
        yield env


@pytest.fixture(scope="module")
def head(store: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A head of two cores, with ports and a folder of its own; ended by its processes' command lines."""
    folder = tmp_path_factory.mktemp("ray")
    port, dashboard = free_port(), free_port()
    env = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        **store,
    }
    env.pop("RAY_ADDRESS", None)
    try:
        options = ["--head", "--num-cpus", "2", "--port", str(port), "--dashboard-port", str(dashboard)]
        options += ["--ray-client-server-port", str(free_port()), "--temp-dir", str(folder)]
        found = re.search(r"--address='([^']+)'", ray_start(env, *options))
        assert found
        jobs = f"http://127.0.0.1:{dashboard}"
        yield {**env, "CLUSTER": found[1], "DASHBOARD": jobs, "SECOND": str(folder / "2")}
    finally:
        end_processes_of(folder)


@pytest.fixture(scope="module")
def two_nodes(head: dict[str, str], store: dict[str, str]) -> dict[str, str]:
    """A second node of one core joins the head. Its files lie apart, as on another machine: in one folder it
    would delete those of a job on the head. It goes with the head's folder."""
    ray_start(head, "--address", head["CLUSTER"], "--num-cpus", "1", "--temp-dir", head["SECOND"])
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": head["RAY_AUTH_TOKEN"],
        "RAY_ADDRESS": head["CLUSTER"],
        **store,
    }


def ray_start(env: dict[str, str], *options: str) -> str:
    command = [RAY, "start", "--disable-usage-stats", *options]
    command += ["--dashboard-agent-listen-port", str(free_port())]  # any other Ray here has the usual one
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


def test_ray_job_submit_runs_a_search(head: dict[str, str], tmp_path: Path) -> None:
    command = [RAY, "job", "submit", "--address", head["DASHBOARD"], "--working-dir", ".", "--"]
    command += ["python", "tune/search.py", "--task", "rte", "--trials", "2", "--confirm", "1", *SMALL]
    command += ["--output", str(tmp_path / "rte")]
    done = submit(command, head)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout + done.stderr
    found = json.loads((tmp_path / "rte" / "search.json").read_text(encoding="utf-8"))
    assert found["winner"] is not None
    assert (tmp_path / "rte" / "best" / "model.safetensors").is_file()
    assert "slots        2 x 1 worker" in done.stdout


@pytest.mark.slow
def test_a_node_that_joins_takes_its_share(
    head: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command = [RAY, "job", "submit", "--address", head["DASHBOARD"], "--working-dir", ".", "--"]
    command += ["python", "tune/search.py", "--task", "rte", "--trials", "6", "--confirm", "1", *SMALL]
    command += ["--output", str(tmp_path / "rte"), "--storage", str(tmp_path / "shared")]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(submit, command, head)
        while not (tmp_path / "rte" / "study.db").exists() and not running.done():
            time.sleep(0.2)
        request.getfixturevalue("two_nodes")
        done = running.result()
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "rte" / "search.json").read_text(encoding="utf-8"))
    assert "slots        2 x 1 worker" in done.stdout
    assert "slots        3: a node joined" in done.stdout
    assert len({trial["slot"] for trial in found["trials"]}) == 3


def submit(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`ray start` returns before the head can take jobs: try until it can."""
    deadline = time.monotonic() + 90
    while True:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280)
        if "No available agent" not in done.stderr or time.monotonic() > deadline:
            return done


def test_one_trial_spans_both_nodes_and_an_object_store_holds_what_both_need(
    two_nodes: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"s3://{object_store.BUCKET}/searches"
    done = search(
        tmp_path / "rte",
        *("--task", "rte", "--trials", "1", "--confirm", "1", "--method", "vanilla", *SMALL),
        *("--workers-per-trial", "3", "--storage", place),
        env=two_nodes,
    )
    assert done.status == 0, done.text
    assert f"Ray at {two_nodes['RAY_ADDRESS']}" in done.text
    assert "slots        1 x 3 workers" in done.text  # the head has two cores
    assert "(auto: every node's CPU has bf16" in done.text or "(auto: not every node's CPU" in done.text
    assert done.found["trials"][0]["configuration"]["method"] == "vanilla"
    assert (tmp_path / "rte" / "best" / "model.safetensors").is_file()
    assert [file.name for file in (tmp_path / "rte" / "predictions").iterdir()] != []
    for name, value in two_nodes.items():
        monkeypatch.setenv(name, value)
    assert storage.list_location(place) == []
    kept = "".join(
        file.read_text(encoding="utf-8", errors="replace")
        for file in (tmp_path / "rte").rglob("*")
        if file.suffix in (".json", ".yaml", ".html", ".md", ".db")
    )
    assert two_nodes["AWS_SECRET_ACCESS_KEY"] not in kept


def test_the_head_greets_whoever_connects_as_the_watch_over_links_expects(head: dict[str, str]) -> None:
    (probes,) = asyncio.run(links.probe_addresses([head["CLUSTER"]])).values()
    assert all(probe.round_trip_s is not None for probe in probes)


def test_two_nodes_need_a_folder_that_both_see(two_nodes: dict[str, str], tmp_path: Path) -> None:
    done = search(tmp_path / "rte", "--task", "rte", env=two_nodes)
    assert done.status == 3, done.text
    assert "error: --storage: the cluster has 2 nodes" in done.lines[-1]
    assert not (tmp_path / "rte").exists()


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = search(tmp_path / "none", "--task", "cola", env={"RAY_ADDRESS": f"127.0.0.1:{free_port()}"})
    assert done.status == 3, done.text
    assert "error: RAY_ADDRESS" in done.lines[-1]
