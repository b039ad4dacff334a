"""Interrupted, killed, and taken up again."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.integration.cli import SMALL, search

pytestmark = pytest.mark.integration


def test_ctrl_c_stops_cleanly_a_killed_driver_loses_nothing_and_resume_finishes(tmp_path: Path) -> None:
    output = tmp_path / "cola"
    options = ("--task", "cola", "--trials", "3", "--confirm", "1", "--scheduler", "none", *SMALL)
    cut = search(
        output,
        *options,
        when=lambda line: "step 12/18" in line,
        then=lambda process: os.killpg(process.pid, signal.SIGTERM),  # as `timeout` and Slurm send it
    )
    assert cut.status == 130, cut.text
    assert cut.seconds_to_end < 10
    assert f"--resume {output}" in cut.text
    assert list(output.glob("work/trial-*/checkpoints/step-*")), "no checkpoint was kept"
    with sqlite3.connect(output / "study.db") as study:
        before = study.execute("select count(*) from trials where state = 'RUNNING'").fetchone()[0]
    assert before >= 1

    killed = search(
        output,
        *("--resume", str(output)),
        when=lambda line: "trial 2 step 12/18" in line,
        then=lambda process: process.kill(),
    )
    assert killed.status == -9, killed.text
    output = output.rename(tmp_path / "on another disk")
    resumed = search(output, "--resume", str(output))
    assert resumed.status == 0, resumed.text
    found = resumed.found
    assert [trial["id"] for trial in found["trials"]] == [0, 1, 2]
    assert {trial["outcome"] for trial in found["trials"]} == {"completed"}
    assert [step for step, _ in found["trials"][0]["scores"]] == [6, 12, 18]
    reported = [line for line in cut.lines + killed.lines if "trial 0 step" in line]
    steps = [
        line.partition("step ")[2].partition("/")[0] for line in reported
    ]  # one may be cut off by the signal
    assert len(steps) == len({*steps}) >= 2, "trial 0 went on from its checkpoint and measured nothing twice"
    assert len(found["confirmation"]["scores"]) == 1
    for sitting in (cut, resumed):
        assert sitting.processes > 5, "a Ray of its own ran"
        assert sitting.left == []

    other = search(output, "--resume", str(output), "--max-length", "32")
    assert other.status == 2
    assert "max_length was 128, now 32" in other.text
