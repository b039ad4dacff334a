"""The model card of best/: what it says, and that hostile names stay text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from dps.tasks import definition
from dps.tasks.task import Task
from tests.unit.tune.helpers import make_plan
from tests.unit.tune.reporting.test_document import proven, told
from tune.records.search_document import SearchDocument
from tune.reporting import model_card

HOSTILE = "`</code>|<script>alert(1)</script>\n# [x](http://e.vil) **b** ``` --- "


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("card")
    return told(make_plan(), proven(folder)[0], folder).to_json()


def of_task(found: dict[str, Any], task: Task, **changes: Any) -> SearchDocument:
    settings = {**found["plan"]["settings"], "task": definition.make_definition(task)}
    plan = {**found["plan"], "settings": settings}
    return SearchDocument.model_validate({**found, "task": task.name, "plan": plan, **changes})


def rendered(text: str) -> str:
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(head)["library_name"] == "transformers"
    return MarkdownIt("commonmark").enable("table").render(body)


def test_it_says_what_was_chosen_after_training(found: dict[str, Any]) -> None:
    runs = [{**run, "alpha": run["seed"] / 10} for run in found["confirmation_runs"]]
    document = SearchDocument.model_validate({**found, "confirmation_runs": runs})
    assert "- `alpha`: `0.7`" in model_card.render_model_card(document, 7)


def test_it_says_what_the_model_is_and_how_sure_that_is(found: dict[str, Any], tmp_path: Path) -> None:
    model_card.write_model_card(SearchDocument.model_validate(found), 7, tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == [
        "# `cola`: a fine-tuned model", "## Use", "## Task", "## Data", "## Scores",
        "## How it was found", "## Limits",
    ]  # fmt: skip
    scores = found["confirmation"]["scores"]
    assert f"| 7 (this model) | {scores['7']:.4f} |" in text
    assert text.count("(this model)") == 1
    assert all(f"| {seed} | {scores[seed]:.4f} |" in text for seed in ("6", "8"))
    assert "95 % interval" in text
    assert "Standard error of its mean" in text
    assert "better than vanilla at its own learning rate" in text
    assert "- output: one of 2 classes: `unacceptable`, `acceptable`" in text
    assert "800 train, 400 dev examples" in text
    assert "Generated data, built in for trying out: scores are not results on the real cola." in text
    assert "held-out slice of the training data" in text
    assert 'pipeline("text-classification", model=FOLDER, truncation=True)' in text
    assert "Texts are cut at 128 tokens" in text
    for name, value in found["winner"]["configuration"].items():
        assert f"- `{name}`: `{json.dumps(value)}`" in text
    ensemble = found["evidence"]["answers"]["ensemble"]
    assert f"| ensemble of 4 | {ensemble['score']:.4f} |" in text
    assert f"log loss {ensemble['log_loss']:.4f}, calibration error" in text
    assert rendered(text).count("<tr>") == 1 + 6


def test_a_regression_of_pairs(found: dict[str, Any]) -> None:
    task = Task("pairs", ("a", "b"), (), ("pearson",), (1.0, 5.0), label="stars")
    text = model_card.render_model_card(of_task(found, task), 6)
    assert "- output: a number, `stars`, from 1 to 5" in text
    assert 'predict({"text": "...", "text_pair": "..."})' in text
    assert '--text "..." --text2 "..."' in text
    assert "softmax" not in text


def test_several_labels_an_example(found: dict[str, Any]) -> None:
    task = Task("tickets", ("text",), ("bug", "praise"), ("micro_f1",), multi_label=True)
    text = model_card.render_model_card(of_task(found, task), 6)
    assert "- output: any number of 2 labels: `bug`, `praise`; those with a probability above 0.5" in text
    assert "model=FOLDER, truncation=True, top_k=None)" in text
    assert "may predict none of them" in text
    assert "softmax" not in text
    assert "- multi-label" in text


def test_ranking_on_dev_is_said_to_be_optimistic(tmp_path: Path) -> None:
    plan = make_plan()
    plan = plan.change_arms(settings=replace(plan.settings, select_on="dev"))
    text = model_card.render_model_card(told(plan, proven(tmp_path)[0], tmp_path), 6)
    assert "these scores are optimistic" in text
    assert "ranked on dev" in text


def test_hostile_names_stay_text_and_folders_stay_private(found: dict[str, Any]) -> None:
    task = Task("own", (HOSTILE, "b"), (HOSTILE.strip(), "|"), ("accuracy",))
    name = f"/home/me/{HOSTILE.replace('/', '')}"
    hostile = of_task(
        found,
        task,
        data={"source": "folder", "name": name, "fingerprint": "f" * 16},
        model={"source": "hub", "name": HOSTILE, "fingerprint": "f" * 16},
        sentence=f"Won: {HOSTILE}",
        winner={"trial": 1, "configuration": {HOSTILE: HOSTILE}},
    )
    text = model_card.render_model_card(hostile, 6)
    html = rendered(text)
    assert "<script" not in html
    assert "<a " not in html
    assert "<strong>" not in html
    assert html.count("<h1>") == 1
    assert html.count("<h2>") == 6
    assert html.count("&lt;script&gt;") >= 5
    assert "/home/me" not in text


def test_it_says_which_texts_were_cut(found: dict[str, Any]) -> None:
    line = "Examples cut at 128 tokens: 12 of train, 3 of dev."
    assert line not in model_card.render_model_card(SearchDocument.model_validate(found), 7)
    cut = {**found, "plan": {**found["plan"], "cut": {"train": 12, "dev": 3}}}
    assert line in model_card.render_model_card(SearchDocument.model_validate(cut), 7)
