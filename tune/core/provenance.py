"""Where a result comes from: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from dps.text import redact_secrets

RECORDED_PACKAGES = ("dps-tune", "torch", "ray", "transformers", "datasets", "optuna", "mlflow", "numpy")


def collect_provenance(command: str) -> dict[str, Any]:
    """Of a run of `command` ("python tune/search.py"): the commit of the working tree (and whether it was
    changed), versions, machine; when the command was started, in seconds since the epoch."""
    return {
        "started": psutil.Process().create_time(),
        "git_commit": _run_git("rev-parse", "HEAD"),
        "git_dirty": bool(_run_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "packages": {name: version for name in RECORDED_PACKAGES if (version := _find_version(name))},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "command": [*command.split(), *map(redact_secrets, sys.argv[1:])],
    }


def _find_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _run_git(*arguments: str) -> str | None:
    """What git prints, or None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
