"""One's own CSV, all the way: a proposed task, a search, its model's card and predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.integration.cli import DEADLINE_S, ROOT, Done, search

pytestmark = pytest.mark.integration

TEAMS = ("billing", "bug", "praise")  # "w0 ..." is billing, "w1 ..." bug, "w2 ..." praise
FEW = (
    "--trials", "2", "--confirm", "2", "--race", "0", "--baseline", "none", "--max-steps", "60",
    "--evaluations", "2", "--batch-size", "8", "--space", '{"learning_rate": [3e-3, 5e-3]}',
    "--register", "tickets",
)  # fmt: skip


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tickets.csv, and the task that is proposed for it."""
    folder = tmp_path_factory.mktemp("own")
    rows = [f"w{n % 3} w{20 + n // 10} w{40 + n % 10},{TEAMS[n % 3]}" for n in range(180)]
    (folder / "tickets.csv").write_text("\n".join(["message,team", *rows]) + "\n", encoding="utf-8")
    proposed = run("tune/search.py", "--init-task", str(folder / "tickets.csv"))
    assert proposed.returncode == 0, proposed.stderr
    return folder


@pytest.fixture(scope="module")
def done(folder: Path, tiny_model: Path) -> Done:
    return search(
        folder / "run", "--task", str(folder / "tickets.yaml"), "--model", str(tiny_model), *FEW, "--ensemble"
    )


def test_the_search_knows_the_task(done: Done, folder: Path) -> None:
    assert done.status == 0, done.text
    assert "task         tickets (accuracy, max)" in done.text
    assert "tickets.csv; a stratified 20 % of it is split off as dev, seed 0: 144 train, 36 dev" in done.text
    found = done.found
    assert (found["task"], found["metric"], found["data"]["source"]) == ("tickets", "accuracy", "task")
    definition = found["plan"]["settings"]["task"]
    assert (definition["columns"], definition["labels"]) == (["message"], list(TEAMS))
    assert set(found["confirmation"]["scores"]) == {"1", "2"}
    config = yaml.safe_load((done.output / "config.yaml").read_text(encoding="utf-8"))
    assert (config["task"], config["data"]) == (str(folder / "tickets.yaml"), "task")


def test_the_model_predicts_the_label_names(done: Done, folder: Path) -> None:
    best = str(done.output / "best")
    texts = ["w0 w21 w41", "w1 w22 w42", "w2 w23 w43"]
    said = run("-m", "dps.predict", "--model", best, "--text", *texts)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    by_text = [json.loads(line) for line in said.stdout.splitlines()]
    assert [list(one["probabilities"]) for one in by_text] == [list(TEAMS)] * 3
    said = run(
        "-m", "dps.predict", "--model", best, "--file", str(folder / "tickets.csv"),
        "--output", str(folder / "out.jsonl"),
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    lines = (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    right = [json.loads(line)["label"] == TEAMS[number % 3] for number, line in enumerate(lines)]
    assert len(right) == 180
    assert sum(right) / 180 > 0.6  # a constant prediction is right in a third


def test_the_ensemble_says_the_mean_of_the_models_of_all_fresh_seeds(done: Done) -> None:
    from dps.predict import Predictor

    folder = done.output / "ensemble"
    names = [f"confirm-{number}" for number in (0, 1)]
    assert sorted(path.name for path in folder.iterdir()) == [*names, "ensemble.json"]
    texts, stored = [f"w{n % 3} w{20 + n // 10} w{40 + n % 10}" for n in range(6)], []
    for name in names:
        alone = Predictor.load(str(folder / name)).predict(texts)
        stored.append([list(one["probabilities"].values()) for one in alone])
    together = Predictor.load(str(folder)).predict(texts)
    found = [list(one["probabilities"].values()) for one in together]
    assert found == [pytest.approx(row, abs=1e-6) for row in np.mean(stored, axis=0).tolist()]


def test_the_registry_has_the_model(done: Done, folder: Path) -> None:
    import mlflow

    from dps.predict import Predictor

    assert "registered: models:/tickets@best, version 1" in done.text
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    try:
        classify = mlflow.transformers.load_model("models:/tickets@best")
    finally:
        mlflow.set_tracking_uri(None)
    texts = ["w0 w21 w41", "w1 w22 w42"]
    ours = Predictor.load(str(done.output / "best")).predict([(text,) for text in texts])
    for one, theirs in zip(ours, classify(texts, top_k=None), strict=True):
        said = {each["label"]: each["score"] for each in theirs}
        assert said == pytest.approx(one["probabilities"], abs=1e-5)


def test_the_card_tells_of_the_search(done: Done) -> None:
    card = (done.output / "best" / "README.md").read_text(encoding="utf-8")
    assert "# `tickets`: a fine-tuned model" in card
    assert card.count("(this model)") == 1
    assert "`billing`, `bug`, `praise`" in card
    assert f"{done.found['confirmation']['mean']:.4f}" in card
