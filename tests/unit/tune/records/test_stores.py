"""MLflow's stores: what is said to MLflow before it is imported, and what is read of a file first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SILENT = """
from tune.records import stores
stores.create_mlflow_client("sqlite:///mlflow.db")
from mlflow.telemetry.utils import is_telemetry_disabled
assert is_telemetry_disabled()
"""


def test_mlflow_reports_nothing_to_its_makers(tmp_path: Path) -> None:
    """Asked of MLflow itself, which reports nothing in tests anyway."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).parents[4])}
    command = [sys.executable, "-c", SILENT]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
