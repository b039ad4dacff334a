"""MLflow's model registry: a search's model is loaded by its name, and says what dps.predict says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from dps.predict import Predictor, main
from tests.unit.dps.test_predict import trained
from tests.unit.tune.helpers import PROVENANCE, make_plan, track_plan
from tune.tracking import registry
from tune.tracking.mlflow import MlflowTracker

pytestmark = pytest.mark.integration
LONG = " ".join(["w1"] * 90)  # is cut, as in training


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A model of several labels an example."""
    rows = ["text,label", *(f"w{n % 3} w{n},{'abc'[n % 3]}|{'abc'[n % 2]}" for n in range(60))]
    document = {"name": "own", "columns": "text", "kind": "multi-label", "labels": ["a", "b", "c"]}
    return trained(tmp_path_factory.mktemp("registry") / "several", tiny_model, document, rows, 20)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A model that tells pairs of texts apart."""
    rows = ["q,a,label", *(f"w{n % 2} w{n},w{n % 5} w{n % 7},{'xy'[n % 2]}" for n in range(60))]
    document = {"name": "own", "columns": ["q", "a"], "labels": ["x", "y"]}
    return trained(tmp_path_factory.mktemp("registry") / "pairs", tiny_model, document, rows, 20)


def by_label(said: list[dict[str, Any]]) -> dict[str, float]:
    return {one["label"]: one["score"] for one in said}


def test_several_labels_and_a_long_text(several: Path, tmp_path: Path) -> None:
    registry.save_mlflow_model(several, tmp_path / "model", "tickets")
    ours = Predictor.load(str(several)).predict([("w0 w1",), (LONG,)])
    theirs = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(["w0 w1", LONG])
    for one, row in zip(ours, theirs.to_numpy().tolist(), strict=True):
        assert by_label(row) == pytest.approx(one["probabilities"], abs=1e-5)


def test_pairs(pairs: Path, tmp_path: Path) -> None:
    registry.save_mlflow_model(pairs, tmp_path / "model", "answers")
    examples = [("w0 w5", "w3"), ("w1 w6", LONG)]
    ours = Predictor.load(str(pairs)).predict(examples)
    inputs = [{"text": one, "text_pair": other} for one, other in examples]
    theirs = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(inputs)
    assert theirs["label"].tolist() == [one["label"] for one in ours]
    scores = [one["probabilities"][one["label"]] for one in ours]
    assert theirs["score"].tolist() == pytest.approx(scores, abs=1e-5)


def test_it_is_no_pickle_and_does_not_say_where_it_is_from(
    several: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.save_mlflow_model(several, tmp_path / "model", "tickets")
    files = [file for file in (tmp_path / "model").rglob("*") if file.is_file()]
    kinds = {file.suffix for file in files if file.name != "MLmodel"}
    assert kinds == {".safetensors", ".json", ".yaml", ".txt"}
    for file in files:
        assert str(several.parent).encode() not in file.read_bytes(), file
    assert main(["--model", str(tmp_path / "model" / "model"), "--text", "w0"]) == 0
    assert '"probabilities"' in capsys.readouterr().out


def test_a_search_registers_its_model_and_the_newest_has_the_alias(several: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    plan, client = make_plan(register="tickets"), MlflowClient(tracking_uri=uri)

    def sitting(search_id: str) -> str:
        tracker = MlflowTracker(uri, track_plan(plan), PROVENANCE, search_id, search_id)
        tracker.session_ended(several.parent, interrupted=False)
        assert tracker.error == ""
        return tracker.registered_model

    assert sitting("first") == "models:/tickets@best, version 1"
    assert sitting("second") == "models:/tickets@best, version 2"
    assert sitting("first") == "models:/tickets@best, version 1"  # delivered again: nothing new
    assert len(client.search_model_versions("name = 'tickets'")) == 2
    found = client.get_model_version_by_alias("tickets", "best")
    assert int(found.version) == 2
    assert client.get_run(found.run_id).data.tags["dps.search"] == "second"

    mlflow.set_tracking_uri(uri)
    try:
        classify = mlflow.transformers.load_model("models:/tickets@best")
    finally:
        mlflow.set_tracking_uri(None)
    (ours,) = Predictor.load(str(several)).predict([("w0 w1",)])
    (theirs,) = classify(["w0 w1"], top_k=None)
    assert by_label(theirs) == pytest.approx(ours["probabilities"], abs=1e-5)
