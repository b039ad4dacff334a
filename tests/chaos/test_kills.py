"""Processes that are killed with SIGKILL in the middle of a search."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from tests.integration.cli import SMALL, search

pytestmark = pytest.mark.chaos


def a_worker(process: subprocess.Popen[str]) -> psutil.Process:
    """One process of a Ray Train worker group of this search."""
    below = psutil.Process(process.pid).children(recursive=True)
    workers = [p for p in below if "RayTrainWorker" in " ".join(p.cmdline())]
    assert workers, [p.cmdline()[:1] for p in below]
    return workers[0]


def test_a_killed_worker_costs_only_its_steps(tmp_path: Path) -> None:
    done = search(
        tmp_path / "cola",
        *("--task", "cola", "--trials", "3", "--confirm", "1", "--scheduler", "none", *SMALL),
        when=lambda line: "step 12/18" in line,
        then=lambda process: a_worker(process).kill(),
    )
    assert done.status == 0, done.text
    assert [trial["id"] for trial in done.found["trials"]] == [0, 1, 2]
    assert {trial["outcome"] for trial in done.found["trials"]} == {"completed"}
    for trial in done.found["trials"]:
        assert [step for step, _ in trial["scores"]] == [6, 12, 18]
    assert len(done.found["confirmation"]["scores"]) == 1


@pytest.mark.slow
def test_a_worker_that_hangs_has_timed_out_and_the_search_goes_on(tmp_path: Path) -> None:
    options = ("--task", "cola", "--trials", "3", "--confirm", "1", "--scheduler", "none", *SMALL)
    done = search(
        tmp_path / "cola",
        *(*options, "--max-concurrent", "1", "--step-timeout", "10s"),
        when=lambda line: "step 6/18" in line,
        then=lambda process: a_worker(process).suspend(),
    )
    assert done.status == 0, done.text
    outcomes = [trial["outcome"] for trial in done.found["trials"]]
    assert outcomes == ["timed-out", "completed", "completed"]
    assert "--step-timeout" in done.found["trials"][0]["error"]
    assert done.found["failures"]["failed"] == 1
    assert any(line.startswith("Failures: 1 of 4 runs") for line in done.lines)
    assert done.left == []
