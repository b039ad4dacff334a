"""What the commands import before they answer: libraries of which each takes a second are left for later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "datasets", "pandas", "scipy.stats", "sklearn", "ray", "mlflow"}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], HEAVY | {"optuna", "scipy"}),
        (["--task", "cola", "--data", "builtin", "--dry-run"], HEAVY),
    ],
)
def test_help_and_plan_do_without_heavy_libraries(arguments: list[str], heavy: set[str]) -> None:
    code = (
        f"import sys\nfrom tune import search\nstatus = search.main({arguments})\n"
        f"sys.exit(status or ', '.join({heavy} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_workers_do_without_what_only_the_search_needs() -> None:
    """Each of a slot's workers imports these anew, beside the others, before the first step."""
    spared = {"optuna", "sqlalchemy", "pandas", "datasets", "mlflow", "sklearn"}
    code = f"import sys, tune.execution.worker\nsys.exit(', '.join({spared} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
