"""Several tasks in one go, killed and resumed: a folder a task, and each task is whole in the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dps.errors import InputError
from dps.training.result import Outcome
from tests.unit.tune.console.test_quiet import documented
from tests.unit.tune.helpers import SETTINGS, FakeTune, end_session, end_well, last_report, make_plan
from tune import report, startup
from tune.core.options import CommonOptions, CompareOptions, SearchOptions
from tune.core.parsing import write_options
from tune.core.run import Job, RunReport
from tune.planning.members import make_member_options, name_experiment
from tune.planning.plan import Plan
from tune.planning.planner import plan_each_task
from tune.records.saved_options import find_runs_folder, is_suite_folder, load_resumed_options
from tune.records.search_document import read_search_document
from tune.records.suite_document import read_suite_document
from tune.reporting.suite.folders import list_task_folders
from tune.result import SearchResult, SuiteResult
from tune.search_session import run_searches
from tune.strategy.budget import WallTimeLimit
from tune.tracking import redelivery, sync

SMALL = {"trials": 3, "race": 0, "confirm": 4, "baseline": "none", "tracking_uri": "none"}


class KilledError(BaseException):
    """The process is killed here."""


def end_run(job: Job) -> RunReport:
    """A run that completes, scored in the metrics of both tasks."""
    report = end_well(job)
    for scores in report.result.final.values():
        scores["accuracy"] = scores["matthews_correlation"]
    return report


@pytest.fixture
def run_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Job]]:
    """Run a session of cola and rte without Ray; returns the jobs that it ran."""
    ran: list[FakeTune] = []

    def plan(options: CommonOptions, cluster: object) -> Plan:
        settings = replace(SETTINGS, task=options.task, shots=options.shot_count)
        plan = replace(make_plan(task=options.task), options=options)
        return plan.change_arms(settings=settings)

    monkeypatch.setattr(startup, "_find_cluster", lambda requests: (make_plan().cluster, True))
    monkeypatch.setattr(startup, "_make_first_plan", plan)
    monkeypatch.setattr(startup, "check_obstacles", lambda plan, output: None)

    def one(
        status: int = 0, events: int = 10_000, end: Callable[[Job], RunReport] = end_run, **given: Any
    ) -> list[Job]:
        def run(jobs: Any, plan: Plan, ray_files: Path, stop: Any, *_: object) -> None:
            ran.append(FakeTune(jobs, order=len(ran), end=end))
            ran[-1].run(events)
            if events < 10_000:
                raise KilledError

        monkeypatch.setattr("tune.execution.run_trials", run)
        options = SearchOptions(**{"output": tmp_path / "out", **SMALL, "task": "cola,rte", **given})
        if "resume" in given:
            options = SearchOptions(resume=given["resume"])
        resumed = load_resumed_options(options)
        assert end_session(lambda: run_searches(options, resumed)) == status
        return ran[-1].seen

    return one


def test_each_task_is_an_ordinary_search_that_goes_on_after_a_kill(
    run_suite: Callable[..., list[Job]], tmp_path: Path
) -> None:
    output, runs = tmp_path / "out", {"0", "1", "2", "confirm-0", "confirm-1", "confirm-2", "confirm-3"}
    with pytest.raises(KilledError):
        run_suite(events=17)
    assert load_resumed_options(SearchOptions(resume=output / "rte")).tasks == ("rte",)
    assert find_runs_folder(output / "cola") == find_runs_folder(output) == tmp_path
    run_suite(resume=output)
    for task in ("cola", "rte"):
        document = json.loads((output / task / "search.json").read_text(encoding="utf-8"))
        made = [*document["trials"], *document["confirmation_runs"]]
        assert (document["task"], {str(run["id"]) for run in made}) == (task, runs)
        assert {run["outcome"] for run in made} <= {"completed", "stopped"}
    assert run_suite(resume=output / "rte") == []  # everything has ended


def test_each_size_is_an_ordinary_search_and_a_row_of_one_table(
    run_suite: Callable[..., list[Job]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, sizes = tmp_path / "out", ["8-shots", "16-shots"]
    with pytest.raises(KilledError):
        run_suite(events=17, task="cola", shots="8,16")
    assert is_suite_folder(output)
    ran = run_suite(resume=output)
    assert {job.settings.shots for job in ran} <= {8, 16}
    documents = [read_search_document(output / size) for size in sizes]
    assert [document.plan.settings.shots for document in documents] == [8, 16]
    document = read_suite_document(output)
    assert [(row.task, row.shots) for row in document.tasks] == list(zip(sizes, (8, 16), strict=True))
    assert document.averages == {}  # the sizes share the examples that they are tested on
    assert "8-shots  16-shots" in " ".join(capsys.readouterr().out.split()).replace(" ", "  ")
    assert [*SuiteResult(output).results] == sizes
    (output / "suite.json").unlink()
    assert report.main([str(output)]) == 0
    assert read_suite_document(output) == document
    assert load_resumed_options(SearchOptions(resume=output / "16-shots")).shots == 16


def test_an_arm_with_shots_of_its_own_is_no_row_of_sizes() -> None:
    with pytest.raises(ValueError, match="--arms, --shots: an arm has its own shots; leave one out"):
        CompareOptions(shots=(8, 16), arms=["method=vanilla,shots=4", "method=lora"])


def test_a_task_without_a_result_is_named_and_the_others_have_theirs(
    run_suite: Callable[..., list[Job]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(job: Job) -> RunReport:
        failed = last_report(job.id, Outcome.FAILED, error="bad labels")
        return failed if job.settings.task == "rte" else end_run(job)

    run_suite(status=4, end=end, json=True)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["task"] for one in told if one["event"] == "trial_ended"} == {"cola", "rte"}
    (warning,) = [one["text"] for one in told if one["event"] == "warning" and one["task"] == "cola"]
    assert warning == "rte: no trial finished; bad labels"
    last = told[-1]
    assert (last["event"], last["tasks"], last["averages"]) == ("suite_ended", ["cola"], {})
    assert {*last} == {"event", "time", *documented()["suite_ended"]}
    document = read_suite_document(tmp_path / "out")
    assert document.failed == last["failed"] == {"rte": "no trial finished; bad labels"}
    assert SearchResult(tmp_path / "out" / "cola").winner is not None
    assert (tmp_path / "out" / "rte" / "search.json").is_file()
    assert list_task_folders(tmp_path / "out") == [tmp_path / "out" / "cola"]


def test_what_mlflow_never_heard_of_several_tasks_is_delivered_with_the_run_above_them(
    run_suite: Callable[..., list[Job]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def deliver(folder: Path) -> redelivery.Delivery:
        return redelivery.Delivery(f"id-{folder.name}", "sqlite:///here", "both", "look")

    monkeypatch.setattr(sync, "deliver_search", deliver)
    monkeypatch.setattr(sync, "track_suite", lambda *given: told.append(given) or "")
    with pytest.raises(KilledError):
        run_suite(events=17)
    assert sync.main(["sync", str(tmp_path / "out")]) == 0
    assert told == []  # no table yet
    run_suite(resume=tmp_path / "out")
    assert sync.main(["sync", str(tmp_path / "out")]) == 0
    ((uri, experiment, ids, document, folder),) = told
    assert (uri, experiment, ids) == ("sqlite:///here", "both", ["id-cola", "id-rte"])
    assert (document, folder) == (read_suite_document(tmp_path / "out"), tmp_path / "out")
    monkeypatch.setattr(sync, "track_suite", lambda *given: "gone")
    assert sync.main(["sync", str(tmp_path / "out")]) == 3


def test_what_was_refused_leaves_the_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(options: CommonOptions, cluster: object) -> Plan:
        raise InputError("data: too few")

    monkeypatch.setattr(startup, "_make_first_plan", refuse)
    given = SearchOptions(task="cola,rte", output=tmp_path / "out", tracking_uri="none")
    with pytest.raises(InputError, match="too few"):
        run_searches(given, given)
    assert not (tmp_path / "out").exists()


def test_the_tasks_share_the_hours_and_have_names_of_their_own(tmp_path: Path) -> None:
    given = SearchOptions(task="glue,cola", gpu_hours=4.0, time_budget="2h")
    made = make_member_options(given, given, tmp_path)
    assert [each.task for each in made] == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    assert {(each.gpu_hours, each.time_budget) for each in made} == {(0.5, "2h")}
    assert [each.output for each in made] == [tmp_path / each.task for each in made]
    plans = [make_plan(experiment="begun"), make_plan()]  # a task that joins is in the others' experiment
    assert {plan.options.experiment for plan in name_experiment(plans, given)} == {"begun"}
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text("name: mine\ncolumns: [sentence]\nlabel: label\nlabels: [a, b]\n", encoding="utf-8")
    with pytest.raises(InputError, match="--task: mine is named twice"):
        make_member_options(given, SearchOptions(task=f"{files[0]},{files[1]}"), tmp_path)


def test_each_task_keeps_for_its_race_what_it_takes_of_the_shared_time() -> None:
    alone = make_plan(trials=100, time_budget="1h", baseline="none")
    together = plan_each_task([alone.options] * 8, lambda _: alone)[0]
    kept = []
    for plan in (alone, together):
        (rule,) = (each for each in plan.get_stop_rules() if isinstance(each, WallTimeLimit))
        kept.append((1 - rule.share) * plan.measure_budget(""))
    assert together.measure_budget("") == alone.measure_budget("") / 8
    assert kept[1] == pytest.approx(min(kept[0], 0.4 * together.measure_budget("")))


def test_tasks_without_a_plan_are_all_named_and_so_is_what_could_run() -> None:
    def plan(options: CommonOptions) -> Plan:
        if options.task in ("sst2", "qqp"):
            raise InputError(f"data: no file for {options.task}")
        return make_plan()

    def refuse(*tasks: str) -> str:
        with pytest.raises(InputError) as refused:
            plan_each_task([SearchOptions(task=task) for task in tasks], plan)
        return str(refused.value)

    said = "--task: sst2: data: no file for sst2; nor is there a plan for qqp"
    assert refuse("cola", "sst2", "rte", "qqp") == f"{said}; without them: --task cola,rte"
    assert refuse("sst2", "qqp") == said
    assert refuse("sst2") == "data: no file for sst2"


def test_the_folder_of_one_task_is_not_that_of_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = SearchOptions(task="cola,rte")
    write_options(given, tmp_path / "config.yaml")
    assert sync.main(["sync", str(tmp_path)]) == 2
    assert f"DIR: no task of {tmp_path} has begun" in capsys.readouterr().err
    (tmp_path / "study.db").touch()
    with pytest.raises(InputError, match=f"--task: {tmp_path} is of one task alone"):
        make_member_options(given, given, tmp_path)
