"""The built package, installed where no checkout is: its commands, a search, a prediction."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli import ROOT, SMALL

pytestmark = pytest.mark.integration
Run = Callable[..., subprocess.CompletedProcess[str]]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "runs", "tests", "__pycache__", "*.egg-info")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, built = tmp_path_factory.mktemp("source") / "project", tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    command = [
        "-m",
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "--wheel-dir",
        built,
    ]
    subprocess.run([sys.executable, *map(str, command)], cwd=source, check=True)
    (file,) = built.glob("dps_tune-*.whl")
    return file


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command of a fresh environment in an empty folder. It borrows the dependencies of this one."""
    fresh, empty = tmp_path_factory.mktemp("fresh"), tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", fresh], check=True)
    install = ["--python", fresh / "bin/python", "install", "--no-deps", "--quiet", wheel]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "pip", *map(str, install)], cwd=empty, env=environment, check=True)
    packages = next(fresh.glob("lib/python*/site-packages"))  # lent after it: this package is there too
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def one(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [str(fresh / "bin" / name), *options]
        offline = {**environment, "HF_HUB_OFFLINE": "1"}
        return subprocess.run(
            command, cwd=empty, env=offline, capture_output=True, text=True, timeout=280, check=False
        )

    return one


def test_every_package_and_recipe_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(file.relative_to(ROOT))
        for top in ("cluster", "dps", "tune")
        for file in (ROOT / top).rglob("*.py")
    }
    assert modules <= names
    recipes = {str(file.relative_to(ROOT)) for file in (ROOT / "cluster").rglob("*.y*ml")}
    assert recipes | {"cluster/slurm/search.sbatch"} <= names
    assert {f"tune/configs/{file.name}" for file in (ROOT / "configs").glob("*.yaml")} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]


@pytest.mark.parametrize("name", ["dps-search", "dps-compare", "dps-report", "dps-predict", "dps-submit"])
def test_commands_say_their_own_name(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {name}")
    assert "python tune/" not in done.stdout
    assert "python cluster/" not in done.stdout


def test_recipes_and_configurations_are_at_hand(run: Run) -> None:
    assert run("dps-submit", "--recipe", "slurm").stdout == (ROOT / "cluster/slurm/search.sbatch").read_text()
    done = run("dps-search", "--config", "paper-cola", "--data", "builtin", "--model", "builtin", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "grid" in done.stdout


def test_a_search_and_a_prediction_outside_any_checkout(run: Run) -> None:
    options = ("--task", "cola", "--trials", "2", "--confirm", "2", "--output", "first", *SMALL)
    done = run("dps-search", *options, "--tracking-uri", "none", "--quiet")
    assert done.returncode == 0, done.stderr
    answered = run("dps-predict", "--model", "first/best", "--text", "She sleeps.")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["label"] in ("acceptable", "unacceptable")
    assert run("dps-report", "first").returncode == 0
    again = run("dps-search", "--resume", "first", "--epochs", "9")
    assert again.returncode == 2
    assert "Traceback" not in again.stderr
