"""A node of a cluster that is taken away with notice, as a spot instance is: no failure of any run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.chaos.test_lost_node import SEARCH
from tests.integration import test_submit
from tests.integration.test_submit import Command

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1800)]

NOTICE_S = 20
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # every port is there; Ray reads it as it is imported
RAY = str(Path(sys.executable).with_name("ray"))
WITHOUT_RETRIES = (
    "import sys; from tune import search; from tune.execution import tuner; tuner.MAX_TRIAL_FAILURES = 0; "
    "sys.exit(search.main(sys.argv[1:]))"
)


def id_of(cluster: Command, name: str) -> str:
    """Ray's id of the node whose files lie in a folder of this name: its agent is told of it."""
    below = psutil.Process(cluster.process.pid).children(recursive=True)
    lines = [" ".join(process.cmdline()) for process in below]
    found = {
        match[1] for line in lines if f"/{name}/" in line if (match := re.search(r"--node-id=(\w+)", line))
    }
    (node,) = found
    return node


def give_notice(address: str, node: str) -> None:
    """What a cloud's autoscaler tells Ray."""
    words = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot")
    deadline = ("--deadline-remaining-seconds", str(NOTICE_S))
    command = [RAY, "drain-node", "--address", address, "--node-id", node, *words, *deadline]
    subprocess.run(command, env=test_submit.ENV, check=True, timeout=120)


def end_when_due(cluster: Command, name: str, due: float) -> None:
    """The raylet of the node, which may have left before."""
    below = psutil.Process(cluster.process.pid).children(recursive=True)
    (raylet,) = [p for p in below if p.name() == "raylet" and f"/{name}/" in " ".join(p.cmdline())]
    while raylet.status() != psutil.STATUS_ZOMBIE and time.monotonic() < due:
        time.sleep(0.2)
    if raylet.status() != psutil.STATUS_ZOMBIE:
        raylet.kill()


def test_a_run_whose_node_goes_with_notice_goes_on_without_a_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "cola"
    with test_submit.three_nodes() as cluster:
        (address,) = re.findall(r"RAY_ADDRESS +(\S+:\d+)", cluster.command.text)
        env = {**test_submit.ENV, **LOOPBACK, "RAY_AUTH_MODE": "token", "RAY_ADDRESS": address}
        monkeypatch.setattr(test_submit, "ENV", env)
        places = ("--storage", str(tmp_path / "shared"), "--output", str(output), "--tracking-uri", "none")
        search = test_submit.start("-c", WITHOUT_RETRIES, *SEARCH, *places)
        search.until(lambda line: " completed" in line, test_submit.STARTS_WITHIN_S)
        give_notice(address, id_of(cluster.command, "node-2"))
        search.until(lambda line: line.startswith("slots        2"), 60)
        end_when_due(
            cluster.command, "node-2", time.monotonic() + NOTICE_S + 1
        )  # sooner it is a failure to Ray
        assert search.status(within_s=900) == 0, search.text
    found = json.loads((output / "search.json").read_text(encoding="utf-8"))
    assert [trial["id"] for trial in found["trials"]] == [*range(6)]
    assert {trial["outcome"] for trial in found["trials"]} <= {"completed", "stopped"}
    assert len(found["confirmation"]["scores"]) == 3
