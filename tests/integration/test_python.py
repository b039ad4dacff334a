"""Searches and comparisons from Python: data in memory, a notebook, errors as exceptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from datasets import Dataset
from nbclient import NotebookClient

import dps
import tune
from dps.tasks.definition import read_task_file
from tests.integration.cli import ROOT
from tune.own_data import write_own_task

pytestmark = pytest.mark.integration
WORDS = {"billing": "refund invoice", "bug": "crash error", "praise": "great thanks"}
ROWS = [(f"{words} number {number}", team) for number in range(60) for team, words in WORDS.items()]
FRAME = pd.DataFrame(ROWS, columns=["message", "team"])
FEW: dict[str, Any] = {
    "trials": 2,
    "confirm": 2,
    "race": 0,
    "max_steps": 8,
    "evaluations": 2,
    "batch_size": 8,
    "tracking_uri": "none",
    "max_concurrent": 1,
    "quiet": True,
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def found(here: Path, tiny_model: Path) -> tune.SearchResult:
    return tune.run_search(train=FRAME, label="team", name="tickets", model=str(tiny_model), **FEW)


def test_a_search_of_a_data_frame_gives_what_search_json_holds(found: tune.SearchResult) -> None:
    assert found.winner == found.document.winner.configuration  # type: ignore[union-attr]
    assert found.winner["method"] == "dps-dense"
    assert found.score == found.document.confirmation.mean  # type: ignore[union-attr]
    assert found.sentence in repr(found)
    assert [*found.trials.index] == [0, 1]
    assert {*found.trials["outcome"]} <= {"completed", "stopped"}
    assert found.trials["learning_rate"].nunique() == 2
    assert "report.html" in found._repr_html_()
    assert found.report_path.is_file()


def test_the_model_is_at_hand(found: tune.SearchResult) -> None:
    (answer,) = found.predict("refund invoice number 7")
    assert answer["label"] in WORDS
    assert dps.Predictor.load(str(found.model_path)).predict(["refund invoice number 7"]) == [answer]


def test_a_second_session_of_the_process_goes_on(found: tune.SearchResult, here: Path) -> None:
    more = tune.run_search(resume=str(found.folder), confirm=3, tracking_uri="none")
    assert len(more.document.confirmation.scores) == 3  # type: ignore[union-attr]
    again = tune.load_result(found.folder)
    assert isinstance(again, tune.SearchResult)
    assert again.score == more.score


def test_a_comparison(here: Path, tiny_model: Path) -> None:
    options = {**FEW, "trials": 1}
    del options["race"]
    methods = "vanilla,dps-dense"
    found = tune.run_comparison(
        train=FRAME, name="tickets", methods=methods, model=str(tiny_model), **options
    )
    assert [*found.methods.index] == ["vanilla", "dps-dense"]
    assert found.methods["mean"].between(0, 1).all()
    assert isinstance(tune.load_result(found.folder), tune.ComparisonResult)


def test_the_same_data_are_the_same_task(here: Path) -> None:
    file = write_own_task(FRAME, label="team")
    assert write_own_task(Dataset.from_pandas(FRAME), label="team") == file
    assert write_own_task(FRAME[:-1], label="team") != file
    FRAME.to_csv("tickets.csv", index=False)
    assert write_own_task("tickets.csv", label="team").is_file()
    assert read_task_file(write_own_task(FRAME, label="team", group="message")).group == "message"
    own = write_own_task("tickets.csv", dev=FRAME, label="team").read_text(encoding="utf-8")
    assert str(here / "tickets.csv") in own
    assert "dev.parquet" in own
    assert not (here / "tickets.yaml").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"task": "colla"}, "task: there is no task 'colla'"),
        ({"task": "cola", "trails": 3}, "trails: unknown option; did you mean trials"),
        ({"task": "cola", "max_concurrent": 0}, "max_concurrent: must be greater than 0, but got 0"),
        ({"task": "cola", "dry_run": True}, "dry_run: is for the command line"),
        ({"task": "cola", "train": FRAME}, "task, train: give one of them"),
        ({"task": "cola", "label": "team"}, "label: goes with train="),
        ({"train": FRAME, "label": "queue"}, "train: there is no column 'queue'; there are message, team"),
        ({"train": [1]}, "train: must be a DataFrame"),
        ({"train": "none.csv"}, "train: there is no none.csv"),
        ({"train": FRAME, "name": "a b"}, "name: must be letters and digits"),
    ],
)
def test_what_is_wrong_is_an_exception_of_one_line(here: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(tune.InputError) as refused:
        tune.run_search(**given)
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


def test_a_connection_of_the_users_own_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    ended: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append("shutdown"))
    with pytest.raises(tune.InputError, match=r"connected to Ray already; call ray\.shutdown\(\)"):
        tune.run_search(task="cola", tracking_uri="none")
    assert ended == []


def test_the_notebook_runs(tmp_path: Path, tiny_model: Path) -> None:
    text = (ROOT / "docs/howto/search.ipynb").read_text(encoding="utf-8")
    few = "".join(f", {key}={value!r}" for key, value in {**FEW, "model": str(tiny_model)}.items())
    assert ", trials=6, quiet=True" in text
    text = text.replace(", trials=6, quiet=True", few.replace('"', '\\"'))
    text = text.replace("../tickets.csv", str(ROOT / "docs/tickets.csv"))
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"import sys; sys.path.insert(0, {str(ROOT)!r})"))
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell.outputs[0].data for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert any("'label':" in data["text/plain"] for data in shown)
    assert "average" in shown[-1]["text/html"].lower()
