"""Provenance of a result: versions, commit, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil

from dps.text import redact_secrets

RECORDED_PACKAGES = ("dps-tune", "torch", "ray", "transformers", "datasets", "optuna", "mlflow", "numpy")


@dataclass
class Provenance:
    """Provenance of a result.

    started: of the command, in seconds since the epoch. git_commit: of the working tree, None outside a
    checkout; git_dirty: whether the tree has changes. packages: versions by name. cores: of this machine.
    command: its words. earlier_commits: other ones, with which earlier sessions ran, the last first.
    """

    started: float
    git_commit: str | None
    git_dirty: bool
    python: str
    packages: dict[str, str]
    platform: str
    command: list[str]
    cores: int | None = None
    earlier_commits: list[str] = field(default_factory=list)


def collect_provenance(command: str) -> Provenance:
    """Collect the provenance of the results of `command` ("python tune/search.py")."""
    return Provenance(
        started=psutil.Process().create_time(),
        git_commit=_run_git("rev-parse", "HEAD"),
        git_dirty=bool(_run_git("status", "--porcelain", "--untracked-files=no")),
        python=platform.python_version(),
        packages={name: version for name in RECORDED_PACKAGES if (version := _find_version(name))},
        platform=platform.platform(),
        command=[*command.split(), *map(redact_secrets, sys.argv[1:])],
        cores=os.cpu_count(),
    )


def _find_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _run_git(*arguments: str) -> str | None:
    """Return git's output, or None outside a checkout."""
    try:
        result = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
