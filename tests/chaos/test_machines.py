"""A search over machines with networks of their own, one of which is cut off for a minute."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[2]


def test_a_link_that_is_cut_costs_nothing_and_is_told() -> None:
    command = [sys.executable, "benchmarks/cluster_chaos.py", "--only", "cut"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3500)
    if done.stdout.startswith("skipped: "):
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 disturbances of 60 s" in done.stdout  # and told in one line, else a check fails
    assert "lost 0, doubled 0, checks that failed: 0" in " ".join(done.stdout.split())
