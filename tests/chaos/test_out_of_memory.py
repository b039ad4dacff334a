"""One of two DDP workers has no memory for its part of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli import search

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

PLANTED = {"PYTHONPATH": str(Path(__file__).parent / "planted")}
OPTIONS = ("--task", "cola", "--trials", "2", "--confirm", "1", "--scheduler", "none", "--race", "0")
TWO = (
    *("--workers-per-trial", "2", "--batch-size", "16", "--max-steps", "6", "--method", "vanilla"),
    *("--evaluations", "3", "--train-size", "160", "--baseline", "none"),
)


def test_the_group_goes_on_with_half_where_that_was_asked_for(tmp_path: Path) -> None:
    done = search(tmp_path / "cola", *OPTIONS, *TWO, "--oom-retry", env=PLANTED)
    assert done.status == 0, done.text
    runs = [*done.found["trials"], *done.found["confirmation_runs"]]
    assert [run["outcome"] for run in runs] == ["completed"] * 3
    assert all("4 examples of a worker at a time" in " ".join(run["warnings"]) for run in runs)


def test_the_outcome_says_so_otherwise(tmp_path: Path) -> None:
    done = search(tmp_path / "cola", *OPTIONS, *TWO, env=PLANTED)
    assert done.status == 4, done.text
    assert done.text.count("out-of-memory") >= 2
    assert "CUDA out of memory. Planted." in done.text
