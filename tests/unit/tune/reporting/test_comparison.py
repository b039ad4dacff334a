"""compare.json: what the ledgers and the predictions say, and which comparisons may share a table."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dps.errors import InputError
from dps.paths import hash_file
from dps.tasks import metrics, registry, transfer
from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import (
    PROVENANCE,
    FakeTune,
    last_report,
    make_arms,
    make_comparison,
    open_ledgers,
)
from tune.compare import main
from tune.compare_session import ComparisonSession
from tune.console.progress import ProgressDisplay
from tune.core.command import UnfinishedError
from tune.core.run import Job, RunPurpose, RunReport
from tune.planning.plan import Plan
from tune.records import predictions
from tune.records.comparison_document import ComparisonDocument
from tune.records.events import Watcher
from tune.records.ledger import SCHEMA_VERSION, Ledger
from tune.records.search_folder import SearchFolder
from tune.reporting import comparison_page, tables
from tune.reporting.comparison import build_comparison, join_comparisons, name_inputs
from tune.reporting.comparison_analysis import analyse_comparison
from tune.stats import evidence, verdict
from tune.stats.ensemble import summarise_answers
from tune.stats.evidence import BOOTSTRAP_SEED
from tune.strategy.arms import Arms
from tune.strategy.budget import SpentResources

METHODS = ("vanilla", "dps-dense", "r-drop")
CLEAN = replace(PROVENANCE, git_dirty=False)
EXAMPLES = 60
STEPS = 75
SKILL = {"vanilla": 0.4, "dps-dense": 2.5, "r-drop": 0.5, "mixout": 0.3}
End = Callable[[Job], RunReport | None]


def gold(name: str) -> Any:
    """Labels of an evaluation set, in its own classes."""
    task = transfer.get_transfer_target(name).task
    rng = np.random.default_rng([len(name), *name.encode()])
    return rng.uniform(0, 5, EXAMPLES) if task.is_regression else rng.integers(0, len(task.labels), EXAMPLES)


def logits(job: Job, name: str) -> Any:
    """Made-up logits (n, classes) of a run: better than chance by the method's skill."""
    trained, target = registry.get_task(job.settings.task), transfer.get_transfer_target(name).task
    method = job.configuration["method"]
    rng = np.random.default_rng([job.seed, *method.encode(), *name.encode()])
    labels = gold(name)
    if trained.is_regression:
        return (SKILL[method] * labels + rng.normal(0, 1, EXAMPLES))[:, None].astype(np.float32)
    right = np.eye(len(trained.labels))[np.minimum(labels, len(trained.labels) - 1)]
    assert len(target.labels)
    return (SKILL[method] * right + rng.normal(0, 0.7, right.shape)).astype(np.float32)


def ending(folder: Path) -> End:
    """Runs complete; confirmations leave their predictions in the folder, scored as `dps.finetune`
    does."""

    def end(job: Job) -> RunReport:
        report = last_report(job.id, Outcome.COMPLETED, scores=[(STEPS, 0.5)], seconds=10.0 + job.seed)
        report.result.passes, report.result.peak_memory = 150.0, 2**30 + job.seed
        if job.purpose == "confirmation":
            task = registry.get_task(job.settings.task)
            made = {"dev": logits(job, task.name), **{n: logits(job, n) for n in job.settings.transfer}}
            labels = {"dev": gold(task.name), **{n: gold(n) for n in job.settings.transfer}}
            predictions.write_predictions(predictions.locate_predictions(folder, job.id), made, labels)
            report.result.final = {"dev": metrics.compute_scores(task, labels["dev"], made["dev"])}
            for name in job.settings.transfer:
                target = transfer.get_transfer_target(name)
                report.result.final[name] = transfer.compute_transfer_scores(
                    task, target, labels[name], made[name]
                )
        return report

    return end


def carried_out(plan: Plan, end: End) -> tuple[dict[str, Ledger], Arms]:
    """Every run of this plan."""
    options = plan.options
    ledgers = open_ledgers(None, list(plan.arms))
    shared = {"trials": options.trials, "confirmation_seeds": options.confirm, "seed": options.seed}
    turns = make_arms(ledgers, settings=plan.settings, **shared)
    FakeTune(turns, end=end).run()
    return ledgers, turns


def run(plan: Plan, folder: Path, end: End | None = None) -> ComparisonDocument:
    """What a comparison of this plan finds, not analysed yet."""
    folder.mkdir(parents=True, exist_ok=True)
    ledgers, _ = carried_out(plan, end or ending(folder))
    return build_comparison(plan, ledgers, SpentResources(6, 100.0, 90.0), CLEAN)


def finished(
    folder: Path,
    methods: Sequence[str] = METHODS,
    end: End | None = None,
    change: Callable[[Plan], Plan] = lambda plan: plan,
    **options: Any,
) -> dict[str, Any]:
    """A comparison, written to the folder."""
    plan = change(make_comparison(methods, **{"trials": 2, "confirm": 3, **options}))
    found = run(plan, folder, end)
    analyse_comparison(found, dict.fromkeys(methods, folder))
    comparison_page.write_comparisons([found], folder)
    return found.to_json()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs") / "rte"
    finished(made, transfer="snli,scitail")
    return made


@pytest.fixture
def found(folder: Path) -> dict[str, Any]:
    return read(folder)


def read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    return document


def plain(value: Any) -> Any:
    """As JSON holds it."""
    return json.loads(json.dumps(value, allow_nan=False))


def predicted(folder: Path, method: str, name: str, seeds: int = 3) -> tuple[Any, Any]:
    """(labels, logits by seed) as the files hold them."""
    read = [
        predictions.read_predictions(predictions.locate_predictions(folder, f"{method}:confirm-{n}"))[name]
        for n in range(seeds)
    ]
    return read[0][0], [values for _, values in read]


def test_the_document_has_what_was_run(found: dict[str, Any]) -> None:
    assert (found["task"], found["metric"], found["baseline"]) == ("rte", "accuracy", "vanilla")
    assert found["budget"] == {
        "configurations": 2, "steps": 60, "confirm_steps": 75, "seeds": [1, 2, 3],
        "scheduler": "none", "sampler": "latin",
    }  # fmt: skip
    assert found["evaluation_sets"] == ["dev", "snli", "scitail"]
    assert [method["method"] for method in found["methods"]] == list(METHODS)
    for method in found["methods"]:
        assert [t["id"] for t in method["trials"]] == [f"{method['method']}:{n}" for n in range(2)]
        assert [(r["id"], r["seed"]) for r in method["runs"]] == [
            (f"{method['method']}:confirm-{n}", 1 + n) for n in range(3)
        ]
        assert {t["seed"] for t in method["trials"]} == {0}
        assert method["configuration"] in [t["configuration"] for t in method["trials"]]
        assert {json.dumps(r["configuration"]) for r in method["runs"]} == {
            json.dumps(method["configuration"])
        }
    assert {m["method"]: m["cost"]["extra_passes"] for m in found["methods"]}["r-drop"] == 1.0
    assert found["spent"] == {"trials": 6, "seconds": 100.0, "slot_seconds": 90.0, "cpu_hours": 0.025}


def test_what_is_re_scored_from_the_predictions_is_what_the_runs_said(found: dict[str, Any]) -> None:
    for name in found["evaluation_sets"]:
        for method in found["methods"]:
            scores = found["results"][name]["methods"][method["method"]]["scores"]
            assert scores == {
                str(r["seed"]): pytest.approx(r["final"][name]["accuracy"]) for r in method["runs"]
            }


def test_the_results_are_those_of_evidence_by_hand(tmp_path: Path) -> None:
    found = finished(tmp_path, confirm=5)
    labels, _ = predicted(tmp_path, "vanilla", "dev")
    runs = {m: np.stack([v.argmax(axis=1) for v in predicted(tmp_path, m, "dev", 5)[1]]) for m in METHODS}
    others = METHODS[1:]
    differences = {
        m: evidence.estimate_difference("accuracy", labels, runs["vanilla"], runs[m], BOOTSTRAP_SEED)
        for m in others
    }
    adjusted = dict(
        zip(others, verdict.adjust_p_values([differences[m].p or 0.0 for m in others]), strict=True)
    )
    chance = max(np.mean(labels == 0), np.mean(labels == 1))
    result = found["results"]["dev"]
    assert (result["metric"], result["examples"], result["chance"]) == ("accuracy", EXAMPLES, chance)
    for method in METHODS:
        row = result["methods"][method]
        each = (runs[method] == labels).mean(axis=1)
        assert row.items() >= plain(asdict(evidence.summarise_scores(each, chance, 0))).items()
        answers = summarise_answers(
            registry.get_task("rte"), labels, predicted(tmp_path, method, "dev", 5)[1]
        )
        assert answers is not None
        assert row["answers"] == plain(asdict(answers))
        estimate = evidence.estimate_mean("accuracy", labels, runs[method], BOOTSTRAP_SEED)
        assert row["interval"] == list(estimate.interval)
        if method == "vanilla":
            assert (row["difference"], row["verdict"]) == (None, None)
            continue
        difference = differences[method]
        assert row["difference"] == plain(
            {
                **asdict(difference),
                "points": difference.points,
                "adjusted_p": adjusted[method],
                "look": 1,
                "more_seeds": verdict.estimate_more_seeds(difference, comparisons=2),
            }
        )
        assert row["verdict"] == verdict.describe_difference(
            difference, adjusted[method], "vanilla", comparisons=2
        )
    assert found["looks"] == [5]
    assert found["sentences"] == [f"{m} is {result['methods'][m]['verdict']}." for m in others]
    assert "better than vanilla by" in found["sentences"][0]


def test_another_task_is_compared_in_the_classes_that_both_have(found: dict[str, Any], folder: Path) -> None:
    """rte has two classes and snli three: neutral and contradiction are both no entailment."""
    labels, values = predicted(folder, "dps-dense", "snli")
    assert set(labels) == {0, 1, 2}
    right = [(v.argmax(axis=1) == np.where(labels == 0, 0, 1)).mean() for v in values]
    result = found["results"]["snli"]
    assert list(result["methods"]["dps-dense"]["scores"].values()) == pytest.approx(right)
    assert result["chance"] == max(np.mean(labels == 0), np.mean(labels != 0))
    assert {found["results"][n]["examples"] for n in found["evaluation_sets"]} == {EXAMPLES}


def test_a_predicted_contradiction_is_no_entailment_where_there_are_two_classes(tmp_path: Path) -> None:
    found = finished(tmp_path, ("vanilla", "dps-dense"), task="sick", transfer="rte", confirm=2)
    labels, values = predicted(tmp_path, "vanilla", "rte", 2)
    right = [(np.where(v.argmax(axis=1) == 0, 0, 1) == labels).mean() for v in values]
    assert any((v.argmax(axis=1) == 2).any() for v in values)
    assert list(found["results"]["rte"]["methods"]["vanilla"]["scores"].values()) == pytest.approx(right)
    assert found["results"]["rte"]["metric"] == "accuracy"


def test_f1_is_compared_with_the_better_constant_and_accuracy_stands_beside(tmp_path: Path) -> None:
    found = finished(tmp_path, ("vanilla", "dps-dense"), task="mrpc")
    labels, values = predicted(tmp_path, "dps-dense", "dev")
    share = float(np.mean(labels == 1))
    row = found["results"]["dev"]["methods"]["dps-dense"]
    assert found["results"]["dev"]["metric"] == "f1"
    assert found["results"]["dev"]["chance"] == pytest.approx(2 * share / (1 + share))
    f1 = [metrics.METRICS["f1"](labels, v.argmax(axis=1)) for v in values]
    assert list(row["scores"].values()) == pytest.approx(f1)
    assert row["others"] == {"accuracy": pytest.approx(np.mean([v.argmax(axis=1) == labels for v in values]))}


def test_regression_is_compared_by_correlation(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport | None:
        return (
            last_report(job.id, Outcome.DIVERGED)
            if job.id == "dps-dense:confirm-0"
            else ending(tmp_path)(job)
        )

    found = finished(tmp_path, ("vanilla", "dps-dense"), end, task="stsb")
    labels, values = predicted(tmp_path, "vanilla", "dev")
    result = found["results"]["dev"]
    assert (result["metric"], result["chance"]) == ("pearson", 0.0)
    row = result["methods"]["vanilla"]
    by_hand = [np.corrcoef(labels, v[:, 0])[0, 1] for v in values]
    assert list(row["scores"].values()) == pytest.approx(by_hand, abs=1e-6)
    assert row["others"].keys() == {"spearman"}
    assert result["methods"]["dps-dense"]["scores"]["1"] == 0.0  # the mean for every example
    assert result["methods"]["dps-dense"]["collapsed"] == pytest.approx(1 / 3)


def test_a_run_that_diverged_counts_as_the_constant_prediction(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport | None:
        if job.id == "r-drop:confirm-1":
            return last_report(job.id, Outcome.DIVERGED)
        return None if job.id == "dps-dense:confirm-0" else ending(tmp_path)(job)

    found = finished(tmp_path, end=end)
    file = predictions.locate_predictions(tmp_path, "r-drop:confirm-2")
    labels, logits_of_third = predictions.read_predictions(file)["dev"]
    most = max(np.mean(labels == 0), np.mean(labels == 1))
    rows = found["results"]["dev"]["methods"]
    assert [[*each["scores"]] for each in rows.values()] == [["2", "3"]] * 3  # seed 1 of dps-dense was lost
    row = rows["r-drop"]
    assert row["scores"]["2"] == pytest.approx(most)
    assert row["scores"]["3"] == pytest.approx(np.mean(logits_of_third.argmax(axis=1) == labels))
    assert row["collapsed"] == pytest.approx(1 / 2)
    assert row["not_above_chance"] >= 1 / 2
    assert (row["answers"]["runs"], row["answers"]["collapsed"]) == (1, 0)  # of those scored
    assert found["sentences"][-2:] == [
        "dps-dense: 1 of 3 runs did not complete (1 lost); a seed of which a run tells nothing is left out, "
        "of all.",
        "r-drop: 1 of 3 runs did not complete (1 diverged); the constant prediction stands for one that "
        "diverged.",
    ]
    assert found["costs"]["r-drop"]["seconds_per_run"] == pytest.approx((11.0 + 13.0) / 2)
    assert plain(found) == read(tmp_path)


@pytest.mark.parametrize("lost", [METHODS[:1], METHODS], ids=["all of the baseline", "another of each"])
def test_nothing_is_told_apart_by_runs_that_were_lost(tmp_path: Path, lost: tuple[str, ...]) -> None:
    def end(job: Job) -> RunReport | None:
        if job.purpose != "confirmation" or job.arm not in lost:
            return ending(tmp_path)(job)
        is_lost = len(lost) == 1 or job.seed == 1 + METHODS.index(job.arm)
        return None if is_lost else ending(tmp_path)(job)

    found = finished(tmp_path, end=end)
    rows = found["results"]["dev"]["methods"].values()
    assert [(row["difference"], row["verdict"]) for row in rows] == [(None, None)] * 3
    scored = [["1", "2", "3"]] * 3 if len(lost) == 1 else [["2", "3"], ["1", "3"], ["1", "2"]]
    assert [[*row["scores"]] for row in rows] == scored  # none of a run that was lost
    assert sum("did not complete" in sentence for sentence in found["sentences"]) == len(lost)


def test_the_looks_stay_with_a_comparison_whose_baseline_changes(tmp_path: Path) -> None:
    plan = make_comparison(METHODS, trials=2, confirm=3)
    ledgers, _ = carried_out(plan, ending(tmp_path))
    first = build_comparison(plan, ledgers, SpentResources(6, 100.0, 90.0), CLEAN)
    turned = {name: ledgers[name] for name in reversed(METHODS)}
    more = replace(plan, options=plan.options.copy_with(confirm=4))
    again = build_comparison(more, turned, SpentResources(6, 100.0, 90.0), CLEAN)
    assert (first.looks, again.looks) == ([3], [3, 4])


def hold_session(
    folder: Path, methods: Sequence[str], confirm: int, end: End | None = None, **options: Any
) -> ComparisonDocument:
    """A session of a comparison whose ledgers are in the folder, which has arms of earlier sessions, too."""
    folder.mkdir(exist_ok=True)
    plan = make_comparison(methods, **{"trials": 2, "confirm": confirm, "output": folder, **options})
    for ledger in open_ledgers(folder, list(methods)).values():
        ledger.note("schema_version", SCHEMA_VERSION)
    arms = {name: plan.get_identity(name) for name in methods}
    identities = {name: json.loads(json.dumps(each)) for name, each in arms.items()}
    kept = SearchFolder(folder, "max", identities, None)
    shared = {"trials": 2, "confirmation_seeds": confirm, "seed": plan.options.seed}
    turns = make_arms(kept.ledgers, settings=plan.settings, **shared)
    FakeTune(turns, end=end or ending(folder)).run()
    spent = SpentResources(6, 100.0, 90.0)
    found = build_comparison(plan, kept.ledgers, spent, CLEAN, kept.open_former_ledgers())
    analyse_comparison(found, dict.fromkeys(methods, folder))
    comparison_page.write_comparisons([found], folder)
    return found


def test_looks_outlive_the_arm_that_they_were_noted_with(tmp_path: Path) -> None:
    """The first baseline leaves, and comes back."""
    hold_session(tmp_path, METHODS, 4)
    without = hold_session(tmp_path, ("r-drop", "dps-dense"), 6)
    assert (without.looks, without.dropped) == ([4, 6], ["vanilla"])
    difference = without.main_result.methods["dps-dense"].difference
    assert difference is not None
    assert difference.p is not None
    assert difference.adjusted_p == pytest.approx(verdict.adjust_p_values([difference.p], 2, 1)[0])
    again = hold_session(tmp_path, METHODS, 8)
    assert (again.looks, again.dropped) == ([4, 6, 8], [])


def test_an_arm_that_was_seen_counts_after_it_was_dropped(tmp_path: Path) -> None:
    """Else the p-value of what is left would get smaller by leaving out what did not help."""
    plan = make_comparison(METHODS, trials=2, confirm=4)
    ledgers, _ = carried_out(plan, ending(tmp_path))
    spent, folders = SpentResources(6, 100.0, 90.0), dict.fromkeys(METHODS, tmp_path)
    first = build_comparison(plan, ledgers, spent, CLEAN)
    analyse_comparison(first, folders)
    kept = METHODS[:2]
    fewer = replace(plan, arms={name: plan.arms[name] for name in kept})
    again = build_comparison(fewer, {name: ledgers[name] for name in kept}, spent, CLEAN)
    analyse_comparison(again, folders)
    before, after = (each.main_result.methods["dps-dense"].difference for each in (first, again))
    assert before is not None
    assert after is not None
    assert (again.looks, again.dropped) == ([4], ["r-drop"])
    assert after.adjusted_p == before.adjusted_p == pytest.approx(2 * before.p / verdict.FIRST_LOOK_SHARE)
    assert (
        "for 2 comparisons with the baseline on dev (Holm, r-drop of an earlier look among them)"
        in " ".join(tables.summarise_comparison(again))
    )


def test_a_comparison_in_which_nothing_completed_was_no_look(tmp_path: Path) -> None:
    plan = make_comparison(METHODS, trials=2, confirm=3)
    ledgers, _ = carried_out(plan, lambda job: last_report(job.id, Outcome.FAILED, error="no"))
    assert build_comparison(plan, ledgers, SpentResources(6, 100.0, 90.0), CLEAN).looks == []


def test_that_no_arm_learned_anything_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_always(job: Job, name: str) -> Any:
        return np.tile([1.0, 0.0] if np.mean(gold(name)) < 0.5 else [0.0, 1.0], (EXAMPLES, 1))

    assert not finished(tmp_path / "learned")["sentences"][0].startswith("Nothing was learned")
    monkeypatch.setattr(sys.modules[__name__], "logits", answer_always)
    first, *others = finished(tmp_path / "collapsed")["sentences"]
    assert first.startswith("Nothing was learned: one answer for all examples scores 0.")
    assert len(others) == 2  # the verdicts on both methods


def test_what_an_earlier_version_chose_and_confirmed_keeps_its_runs(tmp_path: Path) -> None:
    """This version would choose the better trial, of which no confirmation was begun."""
    plan = make_comparison(METHODS, trials=2, confirm=3)
    ledgers, _ = carried_out(plan, ending(tmp_path))
    ledger, space = ledgers["dps-dense"], plan.arms["dps-dense"].space
    confirmed = ledger.records(RunPurpose.CONFIRMATION)[0].configuration
    better = ledger.replicate(confirmed | {"learning_rate": 4.2e-5}, space, 0, RunPurpose.SEARCH)
    ledger.finish(better.id, RunResult(outcome=Outcome.COMPLETED, scores=[(STEPS, 0.9)]))
    found = build_comparison(plan, ledgers, SpentResources(6, 100.0, 90.0), CLEAN)
    (method,) = (each for each in found.methods if each.method == "dps-dense")
    assert (method.configuration, len(method.runs), method.selection_score) == (confirmed, 3, 0.5)


def test_an_arm_that_never_trained_stands_with_the_constant_prediction(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport | None:
        fails = job.configuration["method"] == "r-drop"
        return last_report(job.id, Outcome.FAILED, error="no") if fails else ending(tmp_path)(job)

    found = finished(tmp_path, end=end)
    labels, _ = predicted(tmp_path, "vanilla", "dev")
    row = found["results"]["dev"]["methods"]["r-drop"]
    most = max(np.mean(labels == 0), np.mean(labels == 1))
    assert list(row["scores"].values()) == pytest.approx([most] * 3)
    assert (row["std"], row["collapsed"]) == (0.0, 1.0)
    assert (row["difference"], row["verdict"]) == (None, None)  # it is no worse; it did not run
    assert found["results"]["dev"]["methods"]["dps-dense"]["verdict"]
    method = found["methods"][2]
    assert (method["configuration"], method["runs"], method["selection_score"]) == (
        {"method": "r-drop"},
        [],
        None,
    )
    assert found["sentences"][-1] == (
        "r-drop: 3 of 3 runs did not complete (3 not made); the constant prediction stands for them, and "
        "nothing is compared with it."
    )
    assert found["costs"]["r-drop"] == {
        "passes_per_run": None, "seconds_per_run": None, "peak_memory": None, "passes": 0, "seconds": 6,
        "selected_share": None,
    }  # fmt: skip
    assert plain(found) == read(tmp_path)
    assert "| r-drop |" in (tmp_path / "compare.md").read_text(encoding="utf-8")


def test_where_no_run_completed_there_is_nothing_to_say(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport:
        bad = job.purpose == "confirmation"
        return last_report(job.id, Outcome.DIVERGED if bad else Outcome.COMPLETED, scores=[(STEPS, 0.5)])

    plan = make_comparison(METHODS, trials=1, confirm=2)
    found = run(plan, tmp_path, end)
    with pytest.raises(InputError, match="--results: no confirmation completed"):
        analyse_comparison(found, dict.fromkeys(METHODS, tmp_path))


def test_costs_are_those_of_a_confirmation_and_of_everything(found: dict[str, Any]) -> None:
    cost = found["costs"]["vanilla"]
    assert cost["seconds_per_run"] == pytest.approx((11 + 12 + 13) / 3)
    assert cost["seconds"] == pytest.approx(2 * 10 + 11 + 12 + 13)
    assert (cost["passes_per_run"], cost["passes"]) == (150.0, 5 * 150.0)
    assert (cost["peak_memory"], cost["selected_share"]) == (2**30 + 3, None)


def test_the_probe_is_a_mean_over_seeds(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport | None:
        report = ending(tmp_path)(job)
        if report is not None and job.purpose == "confirmation" and job.id.startswith("vanilla"):
            report.result.final["probe"] = {"cka_last": 0.1 * job.seed, "probe_accuracy": 0.5}
        return report

    found = finished(tmp_path, end=end)
    assert found["probe"] == {"vanilla": {"cka_last": pytest.approx(0.2), "probe_accuracy": 0.5}}


def test_compare_json_is_strict_json_and_is_analysed_to_the_same_again(
    found: dict[str, Any], folder: Path
) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = (folder / "compare.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    for key in ("results", "costs", "sentences", "probe"):
        del content[key]
    again = ComparisonDocument.model_validate(content)
    analyse_comparison(again, dict.fromkeys(METHODS, folder))
    assert plain(again.to_json()) == found


def test_predictions_that_are_gone_are_missed_in_one_line(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    predictions.locate_predictions(copy, "dps-dense:confirm-1").unlink()
    with pytest.raises(InputError, match=r"cannot read .*dps-dense:confirm-1\.safetensors"):
        join_comparisons([copy], allow_dirty=False)


def test_predictions_that_are_not_what_was_written_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    content = json.loads((copy / "compare.json").read_text())
    for run in (run for method in content["methods"] for run in method["runs"]):
        run["predictions_sha256"] = hash_file(predictions.locate_predictions(copy, run["id"]))
    (copy / "compare.json").write_text(json.dumps(content))
    assert join_comparisons([copy], allow_dirty=False)
    file = predictions.locate_predictions(copy, "dps-dense:confirm-1")
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(InputError, match=r"dps-dense:confirm-1\.safetensors is not what its run wrote"):
        join_comparisons([copy], allow_dirty=False)


def test_predictions_without_an_evaluation_set_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    file = predictions.locate_predictions(copy, "dps-dense:confirm-1")
    held = predictions.read_predictions(file)
    predictions.write_predictions(file, {"dev": held["dev"][1]}, {"dev": held["dev"][0]})
    with pytest.raises(InputError, match=r"confirm-1\.safetensors has no predictions for snli, only for dev"):
        join_comparisons([copy], allow_dirty=False)


def test_one_finished_comparison_says_the_same_again(folder: Path, found: dict[str, Any]) -> None:
    (joined,) = join_comparisons([folder], allow_dirty=False)
    again = joined.to_json()
    origin = again.pop("joined")
    assert plain(again) == found
    assert origin == [
        {"folder": str(folder), "methods": list(METHODS), "git_commit": "0123abc", "git_dirty": False}
    ]


def test_with_json_a_finished_comparison_is_one_event(
    folder: Path, found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--results", str(folder), "--json", "--output", str(tmp_path / "x")]
    assert main(argv) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["event"], told["sentences"]) == ("comparison_ended", found["sentences"])
    rows = found["results"]["dev"]["methods"]
    assert {one["method"]: one["score"] for one in told["methods"]} == {
        name: row["mean"] for name, row in rows.items()
    }
    assert json.loads(Path(told["file"]).read_text(encoding="utf-8"))["results"] == found["results"]


def test_two_comparisons_are_one_table_with_the_baseline_once(tmp_path: Path) -> None:
    folder = tmp_path / "first"
    finished(folder, transfer="snli,scitail", confirm=4)
    finished(tmp_path / "more", ("vanilla", "mixout"), transfer="snli,scitail", confirm=4)
    (joined,) = join_comparisons([folder, tmp_path / "more"], allow_dirty=False)
    both = joined.to_json()
    assert [m["method"] for m in both["methods"]] == [*METHODS, "mixout"]
    assert list(both["results"]["dev"]["methods"]) == [*METHODS, "mixout"]
    assert [one["methods"] for one in both["joined"]] == [list(METHODS), ["mixout"]]
    alone = read(tmp_path / "more")["results"]["dev"]["methods"]["mixout"]
    row = both["results"]["dev"]["methods"]["mixout"]
    assert row["scores"] == alone["scores"]
    assert row["difference"]["p"] == alone["difference"]["p"]
    p_values = [both["results"]["dev"]["methods"][m]["difference"]["p"] for m in (*METHODS[1:], "mixout")]
    adjusted = [
        both["results"]["dev"]["methods"][m]["difference"]["adjusted_p"] for m in (*METHODS[1:], "mixout")
    ]
    assert adjusted == verdict.adjust_p_values(p_values)  # of three comparisons now, not of one
    assert both["looks"] == [4]
    assert (
        both["spent"]["seconds"]
        == read(folder)["spent"]["seconds"] + read(tmp_path / "more")["spent"]["seconds"]
    )
    assert read(folder)["baseline"] == "vanilla"
    assert len(read(folder)["methods"]) == 3  # what was joined is untouched


def test_tasks_and_training_sets_are_tables_of_their_own(folder: Path, tmp_path: Path) -> None:
    finished(tmp_path / "cola", ("vanilla", "mixout"), task="cola")

    def low(plan: Plan) -> Plan:
        return plan.change_arms(settings=replace(plan.settings, train_size=100))

    finished(tmp_path / "low", change=low, transfer="snli,scitail")
    documents = join_comparisons([folder, tmp_path / "cola", tmp_path / "low"], allow_dirty=False)
    assert [(d.task, d.plan.settings.train_size) for d in documents] == [
        ("rte", None), ("cola", None), ("rte", 100),
    ]  # fmt: skip
    comparison_page.write_comparisons(documents, tmp_path)
    assert len(read(tmp_path)["comparisons"]) == 3
    with pytest.raises(InputError, match="is already joined; give its source folders"):
        join_comparisons([tmp_path], allow_dirty=False)


def changed(folder: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a finished comparison with another compare.json."""
    copy = shutil.copytree(folder, to)
    found = read(copy)
    change(found)
    (copy / "compare.json").write_text(json.dumps(found), encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["data"].update(fingerprint="e" * 16), "data fingerprint 'e{16}', not 'd{16}'"),
        (lambda d: d["model"].update(fingerprint="e" * 16), "model fingerprint 'eee"),
        (lambda d: d["budget"].update(configurations=9), "configurations 9, not 2"),
        (lambda d: d["budget"].update(confirm_steps=9), "confirm_steps 9, not 75"),
        (lambda d: d["budget"].update(seeds=[1, 2, 4]), r"seeds \[1, 2, 4\], not \[1, 2, 3\]"),
        (lambda d: d["budget"].update(scheduler="asha"), "scheduler 'asha', not 'none'"),
        (lambda d: d["plan"]["settings"].update(batch_size=4), "batch_size 4, not 16"),
        (lambda d: d["plan"]["settings"].update(select_on="dev"), "select_on 'dev', not 'holdout'"),
        (lambda d: d["plan"]["settings"].update(precision="fp16"), "precision 'fp16', not 'auto'"),
        (lambda d: d["provenance"]["packages"].update(torch="1.0"), r"torch '1\.0', not '2\.13\.0'"),
        (lambda d: d["provenance"]["packages"].update(transformers="1.0"), r"transformers '1\.0', not None"),
        (lambda d: d.update(evaluation_sets=["dev"]), r"evaluation sets \['dev'\], not \['dev', 'snli'"),
        (lambda d: d.update(baseline="r-drop"), "baseline 'r-drop', not 'vanilla'"),
        (
            lambda d: d["methods"][0]["space"].update(learning_rate={"kind": "choice", "values": [1e-5]}),
            r"learning rates \{'kind': 'choice'",
        ),
        (lambda d: d["methods"][1]["space"].update(extra={}), "its dps-dense is another one, in space"),
        (lambda d: d["methods"][1].update(differs={"loss": "focal"}), "dps-dense is another one, in loss"),
    ],
)  # fmt: skip
def test_what_cannot_share_a_table_is_refused_with_the_difference(
    folder: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    other = changed(folder, tmp_path / "other", change)
    with pytest.raises(InputError, match=f"--results: {other} cannot be compared with the rest: .*{says}"):
        join_comparisons([folder, other], allow_dirty=False)


def test_every_difference_is_shown_and_the_place_of_the_data_is_none(folder: Path, tmp_path: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        found["plan"]["settings"] |= {"batch_size": 4, "max_length": 64, "data": "elsewhere"}

    other = changed(folder, tmp_path / "other", change)
    with pytest.raises(InputError) as refusal:
        join_comparisons([folder, other], allow_dirty=False)
    assert str(refusal.value).endswith("it has batch_size 4, not 16; max_length 64, not 128")


def test_other_gold_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    finished(tmp_path / "more", ("vanilla", "mixout"), transfer="snli,scitail")
    for number in range(3):
        file = predictions.locate_predictions(tmp_path / "more", f"mixout:confirm-{number}")
        held = predictions.read_predictions(file)
        labels = {name: 1 - gold if name == "scitail" else gold for name, (gold, _) in held.items()}
        predictions.write_predictions(file, {name: values for name, (_, values) in held.items()}, labels)
    with pytest.raises(
        InputError, match=r"--results: .*mixout:confirm-0.* made on different examples of scitail"
    ):
        join_comparisons([folder, tmp_path / "more"], allow_dirty=False)


def test_changes_that_were_not_committed_are_refused_unless_allowed(folder: Path, tmp_path: Path) -> None:
    dirty = changed(folder, tmp_path / "dirty", lambda d: d["provenance"].update(git_dirty=True))
    with pytest.raises(InputError, match=f"--results: {dirty} .* not committed; .*--allow-dirty"):
        join_comparisons([dirty], allow_dirty=False)
    (allowed,) = join_comparisons([dirty], allow_dirty=True)
    assert allowed.joined[0].git_dirty
    assert "(changed)" in tables.render_markdown(allowed)


def test_a_folder_is_joined_once_and_unknown_figures_of_its_cost_do_not_matter(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is named twice"):
        join_comparisons([folder, folder / ".." / folder.name], allow_dirty=False)
    later = changed(folder, tmp_path / "later", lambda d: d["spent"].update(note="x", energy_kwh=1.0))
    (alone,) = join_comparisons([later], allow_dirty=False)
    assert alone.spent.seconds == read(folder)["spent"]["seconds"]


def test_the_default_folder_of_a_table_is_in_runs_whatever_the_task_is_called(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tune.joined_comparisons.join_comparisons", lambda *given: [renamed])
    (renamed,) = join_comparisons([folder], allow_dirty=True)
    renamed.task = "../../../up/x.yaml" + "y" * 300
    assert main(["--results", str(folder), "--allow-dirty"]) == 0
    (made,) = (tmp_path / "here" / "runs").iterdir()
    assert re.fullmatch(r"compare-joined--up-x-yamly+-[\d-]+", made.name)
    assert [file.name for file in tmp_path.iterdir()] == ["here"]


def test_values_that_cannot_be_are_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = changed(folder, tmp_path / "bad", lambda d: d["methods"][0].update(configuration={}))
    assert main(["--results", str(bad), "--allow-dirty", "--output", str(tmp_path / "table")]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: --results: {bad} is malformed (KeyError")
    assert line.count("\n") == 1


def test_what_is_no_finished_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path} holds no finished comparison; give the output folder"):
        join_comparisons([tmp_path], allow_dirty=False)
    (tmp_path / "study.db").touch()
    with pytest.raises(InputError, match=f"finish it first: --resume {tmp_path}"):
        join_comparisons([tmp_path], allow_dirty=False)
    (tmp_path / "compare.json").write_text('{"schema', encoding="utf-8")
    with pytest.raises(InputError, match=r"compare\.json cannot be read"):
        join_comparisons([tmp_path], allow_dirty=False)
    (tmp_path / "compare.json").write_text('{"schema_version": 99}', encoding="utf-8")
    with pytest.raises(InputError, match="has version 99, and this program reads 1"):
        join_comparisons([tmp_path], allow_dirty=False)


def test_a_run_says_its_warnings(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport | None:
        report = ending(tmp_path)(job)
        assert report is not None
        report.result.warnings = (
            ["no mask ever held a weight back"] if job.id == "dps-dense:confirm-2" else []
        )
        return report

    found = finished(tmp_path, end=end)
    assert found["methods"][1]["runs"][2]["warnings"] == ["no mask ever held a weight back"]


def test_the_constant_stands_for_seeds_of_the_plan_alone(tmp_path: Path) -> None:
    """A comparison may have been resumed with fewer seeds than it had."""
    plan = make_comparison(METHODS, trials=1, confirm=3)
    found = run(plan, tmp_path)
    found.budget.seeds = [1, 2]
    analyse_comparison(found, dict.fromkeys(METHODS, tmp_path))
    assert list(found.main_result.methods["vanilla"].scores) == [1, 2]
    assert not any("did not complete" in line for line in found.sentences)
    assert BOOTSTRAP_SEED == 0


def open_session(
    plan: Plan, folder: Path, end: End, heard: list[ComparisonDocument]
) -> tuple[ComparisonSession, Arms, Any]:
    """A comparison whose runs are over, without Ray and MLflow."""

    class Watch(Watcher):
        def comparison_ended(self, document: ComparisonDocument) -> None:
            heard.append(document)

    plan = replace(plan, options=plan.options.copy_with(output=folder, tracking_uri="none"))
    made, said = ComparisonSession(plan, [Watch()]), io.StringIO()
    made.folder.ledgers, arms = carried_out(plan, end)
    made.display = ProgressDisplay(plan, [], console=Console(file=said, width=200, highlight=False))
    return made, arms, said


def test_the_end_of_a_comparison_keeps_predictions_and_nothing_else(tmp_path: Path) -> None:
    def end(job: Job) -> RunReport | None:
        report = ending(tmp_path)(job)
        if job.purpose == "confirmation":
            left = tmp_path / "work" / f"trial-{job.id}" / "logits.safetensors"
            left.parent.mkdir(parents=True)
            shutil.move(predictions.locate_predictions(tmp_path, job.id), left)
        return report

    heard: list[ComparisonDocument] = []
    plan = make_comparison(METHODS, trials=1, confirm=2)
    made, arms, said = open_session(plan, tmp_path, end, heard)
    assert made.finish(arms) == 0
    assert [plain(document.to_json()) for document in heard] == [read(tmp_path)]
    assert heard[0].sentences[0] in said.getvalue()
    assert {path.name for path in tmp_path.iterdir()} == {
        "compare.json", "compare.md", "compare.tex", "compare.html", "config.yaml", "predictions", "study.db",
    }  # fmt: skip
    assert len(list((tmp_path / "predictions").iterdir())) == 6


@pytest.mark.parametrize("purpose", ["search", "confirmation"])
def test_where_nothing_finishes_the_end_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], purpose: str
) -> None:
    def end(job: Job) -> RunReport | None:
        bad = last_report(job.id, Outcome.FAILED, error="RuntimeError: no")
        return bad if job.purpose == purpose else ending(tmp_path)(job)

    heard: list[ComparisonDocument] = []
    made, arms, _ = open_session(make_comparison(METHODS, trials=1, confirm=2), tmp_path, end, heard)
    with pytest.raises(UnfinishedError, match=r"^no method finished; RuntimeError: no$"):
        made.finish(arms)
    assert heard == []


def change_arms(plan: Plan) -> Plan:
    """The plan with the arms of another model, trained longer, and of another training set."""
    usual, other, few = plan.arms.values()
    arms = {
        "vanilla": usual,
        "dps-dense": replace(
            other,
            model=replace(other.model, name="org/large", fingerprint="l" * 16),
            settings=replace(other.settings, epochs=10),
            preview=replace(other.preview, full_max_steps=200),
        ),
        "r-drop": replace(few, preview=replace(few.preview, examples={"train": 100, "dev": 400})),
    }
    return replace(plan, arms=arms, options=plan.options.copy_with(arms=dict.fromkeys(arms)))


def test_a_sentence_names_what_differs_between_two_arms_and_what_their_pairs_do_not_share(
    tmp_path: Path,
) -> None:
    found = finished(tmp_path, change=change_arms, confirm=5)
    large, few, pairs = found["sentences"]
    assert large.startswith(
        "dps-dense (model large, epochs 10) is better than vanilla (model MiniLM, epochs 3) "
    )
    assert few.startswith("r-drop (training examples 100) is not distinguishable from vanilla (training ")
    assert pairs == (
        "Pairs share the seed and the evaluation set, but different models start from different weights and "
        "different training examples come in different batches."
    )
    by_name = {method["method"]: method for method in found["methods"]}
    assert by_name["dps-dense"]["model"]["fingerprint"] == "l" * 16
    assert "model" not in by_name["vanilla"]
    text = (tmp_path / "compare.md").read_text(encoding="utf-8")
    assert "for 75 to 200 steps" in text
    assert "Arms have equal numbers of configurations and seeds, not of steps, passes or seconds." in text


def change_lengths(plan: Plan, lengths: dict[str, int], model: str) -> Plan:
    """The plan with arms of so many tokens, and of a model that lies there."""
    arms = {
        name: replace(
            arm,
            model=replace(arm.model, name=model),
            settings=replace(arm.settings, max_length=lengths[name]),
            named={"max_length": lengths[name]},
        )
        for name, arm in plan.arms.items()
    }
    return replace(plan, arms=arms, options=plan.options.copy_with(arms=dict.fromkeys(arms)))


def test_joined_arms_are_named_by_what_differs_between_them(tmp_path: Path) -> None:
    """What differed in one of the comparisons alone is as in the baseline for the arms of the other."""
    lengths = {"vanilla": 128, "dps-dense": 128, "r-drop": 64, "mixout": 128}
    for name, methods, model in (
        ("first", METHODS, "/models/bert"),
        ("more", ("vanilla", "mixout"), "/moved/bert"),
    ):
        finished(
            tmp_path / name,
            methods,
            change=lambda plan, at=model: change_lengths(plan, lengths, at),
            confirm=4,
        )
    (joined,) = join_comparisons([tmp_path / "first", tmp_path / "more"], allow_dirty=False)
    told = {arm.method: arm.differs.get("max length") for arm in joined.methods}
    assert told == {"vanilla": "128", "dps-dense": "128", "r-drop": "64", "mixout": "128"}
    assert not any("model" in arm.differs for arm in joined.methods)
    by_arm = {sentence.split(" ")[0]: sentence for sentence in joined.sentences}
    assert by_arm["mixout"].startswith("mixout is ")
    assert by_arm["r-drop"].startswith("r-drop (max length 64) is ")


def test_inputs_are_named_by_what_they_are() -> None:
    """One content has one name, wherever it lies; two contents of one name have their fingerprints."""
    assert name_inputs(["a" * 16, "a" * 16, "b" * 16], ["bert", "/x/bert", "large"]) == [
        "bert",
        "bert",
        "large",
    ]
    assert name_inputs(["a" * 16, "b" * 16], ["bert", "bert"]) == ["bert aaaaaaaa", "bert bbbbbbbb"]
