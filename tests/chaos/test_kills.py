"""Processes that are killed with SIGKILL in the middle of a search."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from tests.integration.cli import SMALL, search

pytestmark = pytest.mark.chaos


def kill_a_worker(process: subprocess.Popen[str]) -> None:
    """One process of a Ray Train worker group of this search."""
    below = psutil.Process(process.pid).children(recursive=True)
    workers = [p for p in below if "RayTrainWorker" in " ".join(p.cmdline())]
    assert workers, [p.cmdline()[:1] for p in below]
    workers[0].kill()


def test_a_killed_worker_costs_only_its_steps(tmp_path: Path) -> None:
    done = search(
        tmp_path / "cola",
        *("--task", "cola", "--trials", "3", "--confirm", "1", "--scheduler", "none", *SMALL),
        when=lambda line: "step 12/18" in line,
        then=kill_a_worker,
    )
    assert done.status == 0, done.text
    assert [trial["id"] for trial in done.found["trials"]] == [0, 1, 2]
    assert {trial["outcome"] for trial in done.found["trials"]} == {"completed"}
    for trial in done.found["trials"]:
        assert [step for step, _ in trial["scores"]] == [6, 12, 18]
    assert len(done.found["confirmation"]["scores"]) == 1


def test_a_killed_driver_leaves_a_ledger_that_resumes(tmp_path: Path) -> None:
    output = tmp_path / "cola"
    options = ("--task", "cola", "--trials", "2", "--confirm", "1", "--scheduler", "none", *SMALL)
    killed = search(
        output, *options, when=lambda line: "step 12/18" in line, then=lambda process: process.kill()
    )
    assert killed.status == -9, killed.text
    resumed = search(output, "--resume", str(output))
    assert resumed.status == 0, resumed.text
    assert [trial["outcome"] for trial in resumed.found["trials"]] == ["completed", "completed"]
    assert len(resumed.found["confirmation"]["scores"]) == 1
