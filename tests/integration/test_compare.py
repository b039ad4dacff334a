"""A comparison, end to end: real Ray, real MLflow, the built-in model; the built-in data in a folder, beside
an evaluation set that it lacks."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from dps.sources.builtin import BuiltinSource
from dps.tasks import metrics, registry, transfer
from tests.integration import cli
from tests.tiny import data_folder
from tune import compare
from tune.records import predictions

pytestmark = pytest.mark.integration
METHODS = ("vanilla", "child-tuning-d", "r-drop")
OPTIONS = (
    "--task", "rte", "--methods", ",".join(METHODS), "--trials", "1", "--confirm", "2", "--seed", "3",
    "--model", "builtin", *cli.TINY,
)  # fmt: skip
RUNS = {f"{method}:{run}" for method in METHODS for run in ("0", "confirm-0", "confirm-1")}


ENDED = r"^[\d:]+  (?:trial )?(\S+)(?: \([^)]*\))? completed"  # a line of the log, with the id of the run


@dataclass
class Ran:
    """What a command came to. left: processes below it that were still there 30 s after its end."""

    status: int
    lines: list[str]
    output: Path
    left: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def found(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.output / "compare.json").read_text(encoding="utf-8"))
        return document

    @property
    def table(self) -> list[str]:
        """The lines of the table of results, its head first."""
        head = max(number for number, line in enumerate(self.lines) if line.startswith("method "))
        return self.lines[head : head + 1 + len(METHODS)]

    def said(self, pattern: str) -> list[str]:
        """What the first group of the pattern matched, line by line."""
        return [match[1] for line in self.lines if (match := re.search(pattern, line))]


def run(
    output: Path, arguments: Sequence[str], until: Callable[[list[str]], bool] = lambda lines: False
) -> Ran:
    """Run `python ARGUMENTS` to its end; Ctrl-C once, as soon as its lines are enough."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cli.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert process.stdout is not None
    began, lines, stopped = time.monotonic(), list[str](), False
    below: list[psutil.Process] = []
    try:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if " step " in line or " completed" in line:
                below = psutil.Process(process.pid).children(recursive=True) or below
            if not stopped and until(lines):
                stopped = True
                process.send_signal(signal.SIGINT)
            assert time.monotonic() - began < cli.DEADLINE_S, "\n".join(lines)
        status = process.wait(timeout=60)
    finally:
        process.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    return Ran(status, lines, output, [str(one) for one in alive])


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`OPTIONS` and the data: rte as it is built in, and a small dev set of mnli."""
    folder = tmp_path_factory.mktemp("data")
    data_folder(folder / "mnli", registry.get_task("mnli"))
    (folder / "rte").mkdir()
    for split in ("train", "dev"):
        rows = BuiltinSource().load(registry.get_task("rte"), split)
        (folder / f"rte/{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return [*OPTIONS, "--data", str(folder)]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, options: list[str]) -> Ran:
    output = tmp_path_factory.mktemp("runs") / "rte"
    return run(output, ["tune/compare.py", *options, "--transfer", "mnli", "--output", str(output)])


def test_it_ends_well_and_says_what_was_found(done: Ran) -> None:
    assert done.status == 0, done.text
    for sentence in done.found["sentences"]:
        assert sentence in done.text
    told = [said for said in done.found["sentences"] if not said.startswith("Nothing was learned: ")]
    assert len(told) == 2
    assert "comparing    3 methods, each: 1 configuration of at most 18 steps" in done.text
    assert [line.split()[0] for line in done.table] == ["method", *METHODS]
    assert done.lines[-5].split()[0] == done.table[-1].split()[0]
    assert "compare.json has everything" in done.lines[-4]
    assert "ui --workers 1 --backend-store-uri sqlite:///" in done.lines[-3]
    assert Counter(done.said(ENDED)) == dict.fromkeys(RUNS, 1)
    assert done.left == []


def test_nothing_of_the_libraries_shows(done: Ran) -> None:
    for noise in ("WARNING", "INFO", "raylet", "Traceback", "ExperimentalWarning", "UserWarning"):
        assert noise not in done.text, done.text


def test_the_folder_holds_results_and_no_leftovers(done: Ran) -> None:
    assert {path.name for path in done.output.iterdir()} == {
        "compare.json", "compare.md", "compare.tex", "compare.html", "config.yaml", "predictions", "study.db",
    }  # fmt: skip
    held = {path.stem for path in (done.output / "predictions").iterdir()}
    assert held == {run for run in RUNS if "confirm" in run}
    page = (done.output / "compare.html").read_text(encoding="utf-8")
    assert [f">{method}<" in page for method in METHODS] == [True] * len(METHODS)


def test_the_runs_are_paired(done: Ran) -> None:
    found = done.found
    assert found["budget"]["seeds"] == [4, 5]
    for method in found["methods"]:
        assert [run["seed"] for run in method["runs"]] == [4, 5]
        assert [run["seed"] for run in method["trials"]] == [3]
    assert len({method["trials"][0]["configuration"]["learning_rate"] for method in found["methods"]}) == 1


def test_what_was_predicted_scores_what_was_reported(done: Ran) -> None:
    found, task = done.found, registry.get_task("rte")
    assert found["evaluation_sets"] == ["dev", "mnli"]
    target = transfer.get_transfer_target("mnli")
    for method in found["methods"]:
        for run in method["runs"]:
            held = predictions.read_predictions(predictions.locate_predictions(done.output, run["id"]))
            gold, logits = held["dev"]
            figures = metrics.compute_scores(task, gold, logits)
            figures |= metrics.compute_probability_scores(task, gold, logits)
            assert figures == pytest.approx(run["final"]["dev"])
            assert transfer.compute_transfer_scores(task, target, *held["mnli"]) == pytest.approx(
                run["final"]["mnli"]
            )
            for name in found["evaluation_sets"]:
                row = found["results"][name]["methods"][method["method"]]
                assert row["scores"][str(run["seed"])] == pytest.approx(run["final"][name]["accuracy"])


def test_the_cost_of_a_method_is_counted(done: Ran) -> None:
    passes = {method: cost["passes_per_run"] for method, cost in done.found["costs"].items()}
    assert passes == {"vanilla": 18, "child-tuning-d": 18 + 160 / 8, "r-drop": 2 * 18}
    for cost in done.found["costs"].values():
        assert cost["seconds_per_run"] > 0
        assert cost["peak_memory"] > 0


def mlflow_runs(output: Path) -> dict[str, Any]:
    """Every run of the one experiment, by what it is."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{output.parent}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name.startswith("rte-")]
    found = client.search_runs([experiment.experiment_id])
    by_trial = {run.data.tags["dps.trial"]: run for run in found}
    assert len(by_trial) == len(found)
    return by_trial


def test_mlflow_has_a_run_for_each_method_with_the_same_metrics(done: Ran) -> None:
    runs = mlflow_runs(done.output)
    of_methods = {f"method {method}" for method in METHODS}
    assert set(runs) == {"search"} | RUNS | of_methods
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    differs = {"dev_difference_points", "mnli_difference_points"}  # two pairs are too few for p and P(better)
    baseline, *others = (runs[f"method {method}"].data for method in METHODS)
    assert not differs & set(baseline.metrics)
    for other in others:
        assert set(other.metrics) == set(baseline.metrics) | differs
        assert other.tags["purpose"] == "method"
    rows = done.found["results"]["dev"]["methods"]
    assert baseline.metrics["dev_log_loss_mean"] == rows["vanilla"]["answers"]["log_loss"]
    assert [one.metrics["dev_accuracy_mean"] for one in (baseline, *others)] == [
        rows[method]["mean"] for method in METHODS
    ]
    assert float(runs["method r-drop"].data.params["alpha"]) > 0


def test_mlflow_has_a_parent_with_what_was_found_and_the_files(done: Ran) -> None:
    from mlflow import MlflowClient

    runs = mlflow_runs(done.output)
    parent = runs["search"]
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("\n\n".join(done.found["sentences"]))
    assert {run.data.tags.get("mlflow.parentRunId") for name, run in runs.items() if name != "search"} == {
        parent.info.run_id
    }
    client = MlflowClient(f"sqlite:///{done.output.parent}/mlflow.db")
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"compare.json", "compare.md", "compare.tex", "compare.html", "config.yaml"} <= files
    assert "score" in runs["vanilla:0"].data.metrics
    confirmation = runs["vanilla:confirm-0"].data.metrics
    assert {"dev_accuracy", "mnli_accuracy"} <= set(confirmation)
    assert not [name for name in confirmation if name in ("score", "selection_accuracy")]


def test_config_yaml_plans_the_same_comparison(done: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--config", str(done.output / "config.yaml"), "--dry-run"]) == 0
    planned = capsys.readouterr().out.splitlines()
    assert len(planned) > 8
    assert [line for line in planned if line not in done.lines and not line.startswith("expected")] == []


@pytest.fixture(scope="module")
def sittings(tmp_path_factory: pytest.TempPathFactory, options: list[str]) -> tuple[Ran, Ran]:
    """A comparison that Ctrl-C cuts off, and the command that it gives to go on. Its learning rate is so
    small that weights stay as they are: what differs then is head, data and dropout alone."""

    def enough(lines: list[str]) -> bool:
        return sum(" completed" in line for line in lines) == 4

    output = tmp_path_factory.mktemp("runs") / "rte"
    cut = run(
        output,
        ["tune/compare.py", *options, "--space", "learning_rate=1e-12", "--output", str(output)],
        enough,
    )
    (command,) = cut.said("go on with: (.*)") or [""]
    return cut, run(output, shlex.split(command)[1:])


@pytest.mark.slow
def test_ctrl_c_stops_and_the_printed_command_ends_it(sittings: tuple[Ran, Ran]) -> None:
    cut, resumed = sittings
    assert cut.status == 130, cut.text
    assert not (cut.output / "error.log").exists()
    assert resumed.status == 0, resumed.text
    assert cut.left == resumed.left == []
    assert len(resumed.found["methods"]) == 3


@pytest.mark.slow
def test_every_run_was_made_exactly_once(sittings: tuple[Ran, Ran]) -> None:
    _, resumed = sittings
    ended = [one.said(ENDED) for one in sittings]
    assert Counter(ended[0] + ended[1]) == dict.fromkeys(RUNS, 1)
    assert 4 <= len(ended[0]) < len(RUNS)
    assert set(ended[0]).isdisjoint(resumed.said(ENDED.replace("completed", "started")))
    found = resumed.found["methods"]
    assert {run["id"] for m in found for run in (*m["trials"], *m["runs"])} == RUNS
    assert {run["outcome"] for m in found for run in (*m["trials"], *m["runs"])} == {"completed"}
    runs = mlflow_runs(resumed.output)
    assert set(runs) == {"search"} | RUNS | {f"method {method}" for method in METHODS}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


@pytest.mark.slow
def test_head_and_order_of_the_data_are_those_of_the_seed_alone(sittings: tuple[Ran, Ran]) -> None:
    output = sittings[1].output
    logits = {
        (method, number): predictions.read_predictions(
            predictions.locate_predictions(output, f"{method}:confirm-{number}")
        )["dev"][1]
        for method in METHODS
        for number in range(2)
    }
    for number in range(2):
        for method in METHODS[1:]:
            np.testing.assert_allclose(logits[method, number], logits["vanilla", number], atol=1e-5)
    assert np.abs(logits["vanilla", 0] - logits["vanilla", 1]).max() > 1e-3
    losses = {name: run.data.metrics.get("training_loss") for name, run in mlflow_runs(output).items()}
    for number in range(2):  # of the last batch, with its dropout
        assert losses[f"child-tuning-d:confirm-{number}"] == pytest.approx(
            losses[f"vanilla:confirm-{number}"], abs=1e-5
        )
    assert abs(losses["vanilla:confirm-0"] - losses["vanilla:confirm-1"]) > 1e-4


def test_results_puts_finished_comparisons_in_one_table(
    done: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["--results", str(done.output)]
    dirty = done.found["provenance"]["git_dirty"]
    assert compare.main([*argv, "--output", "first"]) == (2 if dirty else 0)
    assert ("--allow-dirty" in capsys.readouterr().err) == dirty
    assert compare.main([*argv, "--allow-dirty"]) == 0
    said = capsys.readouterr().out
    assert [line for line in done.found["sentences"] if line not in said] == []
    assert said.startswith("rte, 160 training examples\n")
    lines = [line.rstrip() for line in said.splitlines()]
    assert [line for line in done.table if line.rstrip() not in lines] == []
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("compare-joined-rte-")
    again = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    assert again["results"] == done.found["results"]


@pytest.mark.slow
def test_other_learning_rates_do_not_share_a_table(
    done: Ran, sittings: tuple[Ran, Ran], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = f"{done.output},{sittings[1].output}"
    assert compare.main(["--results", folders, "--allow-dirty", "--output", str(tmp_path / "x")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{sittings[1].output} cannot be compared with the rest" in said
    assert "learning rates" in said
    assert "evaluation sets ['dev'], not ['dev', 'mnli']" in said
    assert not (tmp_path / "x").exists()
