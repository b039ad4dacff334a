"""Runs that had ended, compared from what they left: the difference is that of their own predictions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import matthews_corrcoef

from dps.errors import InputError
from dps.tasks.definition import make_definition
from dps.tasks.registry import restore_task
from dps.training.result import Outcome
from tests.unit.tune.helpers import last_report, make_plan
from tests.unit.tune.reporting.test_comparison import METHODS, hold_session
from tests.unit.tune.reporting.test_document import proven, told
from tune import compare
from tune.core.run import Job, RunPurpose, RunReport
from tune.records.ledger import SCHEMA_VERSION, Ledger
from tune.records.predictions import locate_predictions, read_predictions, write_predictions
from tune.reporting.finished_runs import compare_finished_runs
from tune.reporting.page import write_search_results
from tune.reporting.tables import summarise_comparison


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A search, and one like it whose winner is right more often by some examples of each run."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    plan, ledgers = make_plan(objectives="score,seconds"), proven(one)[0]
    ledgers[""].note("schema_version", SCHEMA_VERSION)
    write_search_results(told(plan, ledgers, one), one)
    shutil.copytree(one, two)
    content = json.loads((two / "search.json").read_text())
    for number, run in enumerate(content["confirmation_runs"]):
        file = locate_predictions(two, run["id"])
        ((labels, logits),) = read_predictions(file).values()
        wrong = np.flatnonzero(logits.argmax(1) != labels)[: 3 + number]
        logits[wrong] = np.eye(2, dtype=np.float32)[labels[wrong]]
        run["predictions_sha256"] = write_predictions(file, {"dev": logits}, {"dev": labels})
    (two / "search.json").write_text(json.dumps(content))
    return one, two


def test_winners_of_two_searches_are_compared_over_their_own_predictions(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--results", *map(str, folders), "--output", str(tmp_path / "out"), "--allow-dirty"]
    assert compare.main(command) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    if "comparisons" in found:
        (found,) = found["comparisons"]
    scores = []
    for folder in folders:
        runs = json.loads((folder / "search.json").read_text())["confirmation_runs"]
        files = [next(iter(read_predictions(locate_predictions(folder, run["id"])).values())) for run in runs]
        scores.append([matthews_corrcoef(labels, logits.argmax(1)) for labels, logits in files])
    difference = found["results"]["dev"]["methods"]["two"]["difference"]
    assert difference["mean"] == pytest.approx(np.mean(scores[1]) - np.mean(scores[0]))
    assert difference["seeds"] == 4
    assert "two is better than one" in said or "two is not distinguishable from one" in said
    assert "Each arm is what a run that had ended came to" in said


def test_each_run_is_scored_with_the_threshold_of_its_own_task(folders: tuple[Path, Path]) -> None:
    """Of two tasks that are the same but for `threshold:` in their YAML."""
    content = json.loads((folders[1] / "search.json").read_text())
    task = replace(restore_task(content["plan"]["settings"]["task"]), threshold=0.9)
    content["plan"]["settings"]["task"] = make_definition(task)
    (folders[1] / "search.json").write_text(json.dumps(content))
    runs = content["confirmation_runs"]
    files = [next(iter(read_predictions(locate_predictions(folders[1], r["id"])).values())) for r in runs]
    by_hand = [matthews_corrcoef(gold, softmax(logits, axis=1)[:, 1] > 0.9) for gold, logits in files]
    found = compare_finished_runs(folders, allow_dirty=True)
    assert [*found.main_result.methods["two"].scores.values()] == pytest.approx(by_hand)
    assert "two (threshold 0.9) is " in found.sentences[0]
    assert found.sentences[0].count("one (threshold 0.5)") == 1


def test_what_each_run_was_chosen_by_is_said(folders: tuple[Path, Path]) -> None:
    content = json.loads((folders[1] / "search.json").read_text())
    content["plan"]["settings"]["select_on"] = "dev"
    (folders[1] / "search.json").write_text(json.dumps(content))
    found = compare_finished_runs(folders, allow_dirty=True)
    tried = len(content["trials"])
    assert found.sentences[-1] == (
        f"Each arm is what a run that had ended came to: one, the best of {tried} configurations ranked on "
        f"holdout; two, the best of {tried} configurations ranked on dev, which is reported too: optimistic."
    )
    said = "\n".join(summarise_comparison(found))
    assert "The runs that are compared were trained on all training data for " in said
    assert "not tuned" not in said
    assert found.spent.seconds == 2 * content["spent"]["seconds"]


def test_a_search_beside_a_comparison_differs_in_what_they_differ_in(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """The same model and data are the same, wherever they lie; folders of one name go by those above them."""
    content = json.loads((folders[1] / "search.json").read_text())
    for part in ("model", "data"):
        content[part]["name"] = f"/elsewhere/{content[part]['name']}"
    (folders[1] / "search.json").write_text(json.dumps(content))
    copy = tmp_path / "more" / "one"
    shutil.copytree(folders[1], copy)
    found = compare_finished_runs([folders[0], copy], allow_dirty=True)
    above, name = f"{tmp_path.name}/one", "more/one"
    assert [arm.method for arm in found.methods] == [above, name]
    assert [arm.differs for arm in found.methods] == [{}, {}]
    assert not any("different" in sentence for sentence in found.sentences)


def test_looks_before_runs_are_compared_count(folders: tuple[Path, Path]) -> None:
    Ledger(folders[1] / "study.db", "max").note("looks", [2, 3, 4])
    found = compare_finished_runs(folders, allow_dirty=True)
    difference = found.main_result.methods["two"].difference
    assert (found.looks, difference and difference.look) == ([2, 3, 4], 3)


def test_what_was_scored_elsewhere_or_shares_no_seeds_is_refused(folders: tuple[Path, Path]) -> None:
    one, two = folders
    content = json.loads((two / "search.json").read_text())
    for run in content["confirmation_runs"][:2]:
        run["seed"] += 1000
    (two / "search.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="--results: one, two share 2 fresh seeds, and fewer than 4 pairs"):
        compare_finished_runs(folders, allow_dirty=True)
    for folder in folders:
        identity = {**make_plan().get_identity(""), "examples": {"dev": folder.name}}
        Ledger(folder / "study.db", "max").note("identity", json.loads(json.dumps(identity)))
    with pytest.raises(InputError, match="were scored on different examples of dev"):
        compare_finished_runs(folders, allow_dirty=True)
    with pytest.raises(InputError, match="name two at least"):
        compare_finished_runs([one], allow_dirty=True)
    with pytest.raises(InputError, match="is named twice"):
        compare_finished_runs([one, two / ".." / "one"], allow_dirty=True)


def test_a_comparison_beside_a_search_keeps_what_it_was(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Its steps, whichever folder comes first; its looks, with whichever ledger they are; its own values."""
    labels, _ = next(iter(read_predictions(locate_predictions(folders[0], "confirm-0")).values()))
    beside = tmp_path / "beside"

    def end(job: Job) -> RunReport:
        report = last_report(job.id, Outcome.COMPLETED, scores=[(75, 0.5)])
        if job.purpose == RunPurpose.CONFIRMATION:
            draws = np.random.default_rng(job.seed).normal(size=(len(labels), 2)).astype(np.float32)
            write_predictions(locate_predictions(beside, job.id), {"dev": draws}, {"dev": labels})
            report.result.final = {"dev": {"matthews_correlation": 0.1}}
        return report

    content = json.loads((folders[0] / "search.json").read_text())
    for run in content["confirmation_runs"]:
        run["scores"] = [[218, 0.5]]
    (folders[0] / "search.json").write_text(json.dumps(content))
    for methods, seeds in ((METHODS, 4), (METHODS[::-1], 5)):
        hold_session(beside, methods, seeds, end, task="cola", seed=5)
    for order in ([folders[0], beside], [beside, folders[0]]):
        found = compare_finished_runs(order, allow_dirty=True)
        by_name = {arm.method: arm for arm in found.methods}
        assert by_name["one"].differs["steps"] == "218"
        assert by_name["beside/dps-dense"].differs["steps"] == "75"
        assert "for 75 to 218 steps" in " ".join(summarise_comparison(found))
        assert found.looks == [4, 5]
        assert by_name["beside/dps-dense"].differs["learning_rate"] == (
            f"{by_name['beside/dps-dense'].configuration['learning_rate']:g}"
        )
