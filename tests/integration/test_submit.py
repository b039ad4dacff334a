"""Three nodes on this machine, and searches submitted to them: as cluster/README.md says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.integration.cli import ROOT, SMALL
from tests.integration.test_cluster import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

STARTS_WITHIN_S = 600
ENDS_WITHIN_S = 60
TOKEN = "fedcba9876543210fedcba9876543210"
SECRET = "a-password-that-nobody-prints"
ENV = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))},
    "RAY_AUTH_TOKEN": TOKEN,
    "HF_HUB_OFFLINE": "1",
    "SECRET": SECRET,
}


@dataclass
class Command:
    """A command of this project that runs, and what it printed so far."""

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, picks: Callable[[str], bool], within_s: float) -> str:
        """The first line that `picks` picks."""
        deadline = time.monotonic() + within_s
        while True:
            if found := [line for line in self.lines if picks(line)]:
                return found[0]
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)

    def status(self, within_s: float = 280) -> int:
        """Its exit status, once all that it printed is here."""
        status = self.process.wait(timeout=within_s)
        for thread in threading.enumerate():
            if thread.name == f"reader-{self.process.pid}":
                thread.join(timeout=30)
        return status


def start(*command: str) -> Command:
    process = subprocess.Popen(
        [sys.executable, "-u", *command],
        cwd=ROOT,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run behind a &
    )
    started = Command(process, [])

    def read() -> None:
        assert process.stdout is not None
        started.lines.extend(line.rstrip("\n") for line in process.stdout)

    threading.Thread(target=read, name=f"reader-{process.pid}", daemon=True).start()
    return started


@dataclass
class Nodes:
    """Three nodes that run, and how to submit to them."""

    command: Command
    jobs: str

    def submit(self, *options: str) -> Command:
        return start("cluster/submit.py", "--address", self.jobs, *options)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with three_nodes() as started:
        yield started


@contextmanager
def three_nodes() -> Iterator[Nodes]:
    """`cluster/local.py` with three nodes of one core, until the block ends."""
    port = free_port()
    command = start("cluster/local.py", "--nodes", "3", "--cpus-per-node", "1", "--port", str(port))
    try:
        command.until(lambda line: "submit.py" in line, STARTS_WITHIN_S)
        yield Nodes(command, f"http://127.0.0.1:{port}")
    finally:
        if command.process.poll() is None:
            command.process.send_signal(signal.SIGTERM)
            command.process.wait(timeout=ENDS_WITHIN_S)


def test_a_preflight_asks_every_node(nodes: Nodes, tmp_path: Path) -> None:
    storage = tmp_path / "shared"
    done = nodes.submit("--task", "rte", "--preflight", "--storage", str(storage), "--tracking-uri", "none")
    assert done.status() == 0, done.text
    assert "3 x 1 worker" in done.text
    assert "preflight    passed" in done.text
    assert done.lines[-1].endswith(" succeeded")
    assert list(storage.iterdir()) == []


def test_a_group_of_jobs_ends_with_their_own_exit_status(nodes: Nodes, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = nodes.submit(
        *("--matrix", "task=stsb,rte", "method=vanilla", "--preflight", "--tracking-uri", nowhere),
        *("--storage", str(tmp_path)),
    )
    assert done.status() == 3, done.text
    assert len(re.findall(r"(?:stsb|rte)-vanilla-\S+ failed: exit status 3", "\n".join(done.lines[-2:]))) == 2
    group = re.search(r"--experiment (matrix-\S+)", done.text)
    assert group is not None
    again = nodes.submit("--follow", group[1])
    assert again.status() == 3, again.text
    (job,) = {line.split()[0] for line in again.lines if line.startswith("rte-vanilla-")} - {""}
    log = nodes.submit("--follow", job)
    assert log.status() == 3, log.text
    assert f"error: --tracking-uri: MlflowException: API request to {nowhere}" in log.text


def test_a_search_is_let_go_of_stopped_and_gone_on_with(nodes: Nodes, tmp_path: Path) -> None:
    output, storage = tmp_path / "rte", tmp_path / "shared"
    options = ("--storage", str(storage), "--env", "SECRET")
    first = nodes.submit(
        *("--task", "rte", "--trials", "3", "--confirm", "1", "--scheduler", "none", *SMALL),
        *("--output", str(output), *options),
    )
    first.until(lambda line: "step 6/18" in line, STARTS_WITHIN_S)
    first.process.send_signal(signal.SIGINT)
    assert first.status(within_s=60) == 130, first.text
    stop = re.search(r"stop: +\S+ \S+/cluster/submit.py --address (\S+) --stop (\S+)", first.text)
    assert stop is not None, first.text
    assert stop[1] == nodes.jobs

    stopped = nodes.submit("--stop", stop[2])
    assert stopped.status() == 0, stopped.text
    assert stopped.lines[-1] == f"{stop[2]} stopped"
    assert not (output / "search.json").exists()
    assert nodes.submit("--follow", stop[2]).status() == 130

    resumed = nodes.submit("--resume", str(output), *options)
    assert resumed.status() == 0, resumed.text
    found = json.loads((output / "search.json").read_text(encoding="utf-8"))
    assert [trial["outcome"] for trial in found["trials"]] == ["completed"] * 3
    assert (output / "best" / "model.safetensors").is_file()
    for command in (first, stopped, resumed):
        assert SECRET not in command.text
        assert TOKEN not in command.text


def test_an_unknown_job_is_named(nodes: Nodes) -> None:
    done = nodes.submit("--stop", "nothing")
    assert done.status() == 2
    assert "error: --stop: " in done.text
    assert "has no job or group 'nothing'" in done.text


def test_ctrl_c_takes_every_node_down(nodes: Nodes) -> None:
    process = psutil.Process(nodes.command.process.pid)
    below = process.children(recursive=True)
    assert sum("raylet" in child.name() for child in below) >= 3
    process.send_signal(signal.SIGINT)
    assert nodes.command.status(within_s=ENDS_WITHIN_S) == 0, nodes.command.text
    _, alive = psutil.wait_procs(below, timeout=ENDS_WITHIN_S)
    assert alive == []
