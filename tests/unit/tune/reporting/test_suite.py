"""Several tasks in one table: the averages are those of the tasks' own results, and what they say is true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dps.errors import InputError
from dps.training.result import Outcome
from tests.unit.tune.helpers import last_report, restore_old_search
from tests.unit.tune.reporting import test_comparison
from tests.unit.tune.reporting.test_comparison import ending, finished
from tune import compare, report, search_report
from tune.core.run import Job, RunReport
from tune.records import stores
from tune.records.experiments import RunFile
from tune.records.schema import DifferenceSection
from tune.records.search_document import read_search_document
from tune.records.suite_document import SuiteDocument, read_suite_document
from tune.reporting.suite.collect import _make_difference, collect_search
from tune.reporting.suite.document import _clip_average, build_suite, list_sentences
from tune.reporting.suite.folders import read_suite
from tune.reporting.suite.page import SUITE_PAGE, plot_averages, write_suite
from tune.reporting.suite.tables import (
    describe_table,
    format_average,
    make_difference_table,
    make_score_table,
    make_terminal_table,
    render_suite_markdown,
    summarise_suite,
)
from tune.result import SuiteResult, load_result
from tune.stats.suite import AverageEstimate
from tune.tracking.suite import track_suite

TASKS = ("rte", "mrpc", "qnli")


def test_an_interval_of_an_average_stays_within_what_the_metrics_allow() -> None:
    rows = [
        SimpleNamespace(section=SimpleNamespace(metric=metric)) for metric in ("f1", "accuracy", "pearson")
    ]
    wide = AverageEstimate(0.7, (-2.0, 1.2), 0.1, 5.0, 0.01, 0.99, 3, 0.95)
    assert _clip_average(wide, rows).interval == pytest.approx((-4 / 3, 1.2))
    assert _clip_average(replace(wide, interval=None), rows).interval is None


@pytest.mark.parametrize(("seeds", "interval"), [(3, None), (4, (0.02, 0.04))])
def test_a_difference_of_an_earlier_version_over_too_few_pairs_has_no_interval(
    seeds: int, interval: tuple[float, float] | None
) -> None:
    kept = DifferenceSection(
        mean=0.03, interval=(0.02, 0.04), p=0.01, adjusted_p=0.01, seeds=seeds, examples=60, points=3.0,
        standard_error=0.01, df=3.0, level=0.95, std=0.01, probability_better=0.99, seeds_part=0.01,
        examples_part=0.0,
    )  # fmt: skip
    made = _make_difference(kept, {})
    assert (made.interval, made.p) == (interval, None if interval is None else 0.01)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Comparisons of three tasks, in each of which dps-dense is far better; r-drop is in two of them."""
    root = tmp_path_factory.mktemp("suite")
    for place, task in enumerate(TASKS):
        methods = ("vanilla", "dps-dense", "r-drop") if place < 2 else ("vanilla", "dps-dense", "mixout")
        finished(root / task, methods, task=task, confirm=4)
    return [root / task for task in TASKS]


def test_the_average_is_that_of_the_tasks_own_results(folders: list[Path]) -> None:
    found = read_suite(folders)
    rows = [
        json.loads((folder / "compare.json").read_text())["results"]["dev"]["methods"] for folder in folders
    ]
    cells = [row["dps-dense"]["difference"] for row in rows]
    average = found.averages["dps-dense"]
    error = np.sqrt(sum(cell["standard_error"] ** 2 for cell in cells)) / 3
    assert average.mean == pytest.approx(np.mean([cell["mean"] for cell in cells]))
    assert average.standard_error == pytest.approx(error)
    assert average.df is not None
    assert average.p == pytest.approx(2 * stats.t.sf(average.mean / error, average.df))
    assert average.interval is not None
    assert 0 < average.interval[0] < average.mean < average.interval[1]
    assert average.adjusted_p == pytest.approx(min(1, average.p / 0.8))  # one average, at a first look
    assert [task.differences["dps-dense"].interval for task in found.tasks] == [
        tuple(cell["interval"]) for cell in cells
    ]
    assert found.scores["dps-dense"].mean == pytest.approx(
        np.mean([row["dps-dense"]["mean"] for row in rows])
    )


def test_an_arm_that_never_ran_in_a_task_has_no_score_there_and_no_average(tmp_path: Path) -> None:
    for task in ("rte", "mrpc"):

        def end(job: Job, task: str = task) -> RunReport | None:
            fails = (task, job.configuration["method"]) == ("mrpc", "r-drop")
            failed = last_report(job.id, Outcome.FAILED, error="no")
            return failed if fails else ending(tmp_path / task)(job)

        finished(tmp_path / task, ("vanilla", "dps-dense", "r-drop"), end, task=task, confirm=4)
    found = read_suite([tmp_path / "rte", tmp_path / "mrpc"])
    assert [[*task.scores] for task in found.tasks][1] == ["vanilla", "dps-dense"]
    assert [*found.averages] == ["dps-dense"]
    assert any(
        note == "r-drop is not averaged, since not every task has it (mrpc: no run of it is known)."
        for note in found.notes
    )


def test_sizes_of_one_task_are_columns_without_an_average(tmp_path: Path) -> None:
    for shots in (8, 16):
        finished(
            tmp_path / f"run-{shots}",
            ("vanilla", "dps-dense"),
            change=lambda plan, shots=shots: plan.change_arms(settings=replace(plan.settings, shots=shots)),  # type: ignore[misc]
            task="rte",
            confirm=4,
        )
    with chdir(tmp_path):
        assert compare.main(["--results", "run-8", "run-16", "--output", "both", "--allow-dirty"]) == 0
    found = read_suite_document(tmp_path / "both")
    table = make_score_table(found)
    assert (table.columns, [row[0] for row in table.rows]) == (
        ("", "8-shots", "16-shots"),
        ["vanilla", "dps-dense"],
    )
    assert [cell[-1] for cell in table.rows[1][1:]] == ["*", "*"]
    assert "dps-dense - vanilla: better with 8-shots, 16-shots." in found.sentence
    assert found.averages == {}
    assert "average" not in (tmp_path / "both" / "suite.tex").read_text()


def test_the_tests_of_the_whole_table_are_corrected_together(folders: list[Path]) -> None:
    found = read_suite(folders)
    cells = [cell for task in found.tasks for cell in task.differences.values()]
    smallest = min(cells, key=lambda cell: cell.p if cell.p is not None else 2.0)
    assert len(cells) == 6
    assert smallest.adjusted_p == pytest.approx(min(1, 6 * (smallest.p or 0) / 0.8))
    average = found.averages["dps-dense"]
    assert average.better + average.worse + average.undecided == 3
    assert average.better == sum(task.differences["dps-dense"].verdict == "better" for task in found.tasks)


@pytest.mark.parametrize(("seeds", "collapsed"), [(3, False), (3, True), (4, True)])
def test_it_is_said_where_seeds_show_no_spread_and_for_how_many_tests_is_corrected(
    seeds: int, collapsed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one task all runs gave one answer; of three pairs a task only the average has an interval."""
    made = test_comparison.logits
    monkeypatch.setattr(
        test_comparison,
        "logits",
        lambda job, name: made(job, name) * 0 if collapsed and name == "rte" else made(job, name),
    )
    methods = ("vanilla", "dps-dense", "r-drop")
    for task in TASKS:
        finished(tmp_path / task, methods, task=task, confirm=seeds)
    found = read_suite([tmp_path / task for task in TASKS])
    assert all(average.interval is not None for average in found.averages.values())
    same = [note for note in found.notes if "all pairs of rte are the same" in note]
    assert [note.split(":")[0] for note in same] == (["dps-dense", "r-drop"] if collapsed else [])
    said = describe_table(found)
    assert ("corrected for 4 differences of the table (Holm)" in said) == (seeds == 4)
    assert "p of an average is corrected for 2 averages (Holm) and for looking again" in said
    assert "Without an interval are those with fewer than 4 pairs, or all pairs the same." in said
    assert (said in (render_suite_markdown(found)), "* p < 0.05" in said) == (True, seeds == 4)


def test_it_is_said_what_the_average_says_and_what_it_leaves_out(folders: list[Path]) -> None:
    found = read_suite(folders)
    assert [*found.averages] == ["dps-dense"]
    said = summarise_suite(found)
    assert said[0].startswith("Averaged over 3 tasks, dps-dense is better than vanilla by ")
    carrier = found.averages["dps-dense"].carried_by
    assert f"Without {carrier} the average is " in said[0]
    rest = [t.differences["dps-dense"].mean for t in found.tasks if t.task != carrier]
    assert found.averages["dps-dense"].without[carrier or ""].mean == pytest.approx(np.mean(rest))
    assert "says nothing about others" in said[1]
    assert any("r-drop is not averaged" in line and "qnli" in line for line in said[2:])


def test_of_two_tasks_the_one_with_the_larger_difference_carries_the_average(folders: list[Path]) -> None:
    for pair in (folders[:2], folders[1::-1]):
        found = read_suite(pair)
        sizes = {task.task: abs(task.differences["dps-dense"].mean) for task in found.tasks}
        assert found.averages["dps-dense"].carried_by == max(sizes, key=sizes.__getitem__)


def test_all_files_hold_every_task_and_the_average(folders: list[Path], tmp_path: Path) -> None:
    found = read_suite(folders, {"stsb": "no trial finished <b>"})
    write_suite(found, tmp_path / SUITE_PAGE)
    texts = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert {*texts} == {"suite.json", "suite.md", "suite.tex", "suite.html"}
    assert read_suite_document(tmp_path) == found
    for text in texts.values():
        assert all(task in text for task in (*TASKS, "average", "dps-dense"))
    assert "no trial finished &lt;b&gt;" in texts["suite.html"]
    assert "rte/compare.html" in texts["suite.html"]
    assert len(make_difference_table(found).rows) == len(TASKS) + 1
    mean = f"{100 * found.scores['dps-dense'].mean:.1f}"
    assert [row[-1] for row in make_score_table(found).rows if row[0] == "dps-dense"] == [mean]
    assert f"{mean} \\\\" in texts["suite.tex"]


def test_a_table_of_more_methods_than_tasks_has_a_row_for_each(folders: list[Path], tmp_path: Path) -> None:
    found = read_suite(folders, {})
    few, extra = make_difference_table(found), [f"method-{number}" for number in range(len(TASKS) + 1)]
    for each in (*(task.differences for task in found.tasks), found.averages):
        each |= dict.fromkeys(extra, each["dps-dense"])
    many = make_difference_table(found)
    assert many.columns == ("task", *(task.task for task in found.tasks), "average")
    rows = {head: cells for head, *cells in many.rows}
    place = few.columns.index("dps-dense - vanilla")
    assert rows["method-1 - vanilla"] == rows["dps-dense - vanilla"] == [row[place] for row in few.rows]
    write_suite(found, tmp_path / SUITE_PAGE)
    page = (tmp_path / SUITE_PAGE).read_text(encoding="utf-8")
    assert re.search(r'<th scope="col"><a href="[^"]*rte/compare.html">rte</a></th>', page)


def test_the_first_plot_has_every_average_and_the_tasks_are_folded(
    folders: list[Path], tmp_path: Path
) -> None:
    found = read_suite(folders, {})
    assert plot_averages(found) is None, "of one average the plot of its tasks comes first"
    found.averages["r-drop"] = found.averages["dps-dense"].model_copy(update={"mean": -0.25})
    for task in found.tasks:
        task.differences["r-drop"] = task.differences["dps-dense"].model_copy(update={"mean": -0.125})
    plot = plot_averages(found)
    assert plot is not None
    assert "points better than vanilla" in plot.markup
    assert f"r-drop {format_average(found.averages['r-drop'])}" in plot.alt
    assert "-25.0" in plot.alt
    assert all(f"{task}: -12.5" in plot.markup for task in TASKS)
    write_suite(found, tmp_path / SUITE_PAGE)
    first, folded = (tmp_path / SUITE_PAGE).read_text(encoding="utf-8").split('<h2 id="tasks">')
    assert 'id="averages"' in first
    assert 'id="tasks-0"' not in first
    assert folded.count('class="plot"') == 2


@pytest.mark.parametrize("as_sizes", [False, True])
def test_the_table_of_the_terminal_has_every_row_whatever_it_is_called(
    folders: list[Path], as_sizes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_suite(folders, {})
    found.tasks[0].task = "metric"
    for task in found.tasks:
        task.scores["winner"] = task.scores["dps-dense"]
    monkeypatch.setattr(SuiteDocument, "is_of_sizes", as_sizes)
    table = make_terminal_table(found)
    heads = [str(cell) for cell in table.columns[0].cells]
    assert "winner" in heads if as_sizes else "metric" in heads
    assert len(heads) == len((make_score_table if as_sizes else make_difference_table)(found).rows)
    assert ("metric" in [str(column.header) for column in table.columns]) == as_sizes


def test_searches_of_an_earlier_version_have_an_average(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [restore_old_search(name, tmp_path / name) for name in ("search", "own")]
    with chdir(tmp_path):
        assert report.main(["search", "own"]) == 0
    *said, last = capsys.readouterr().out.splitlines()
    found = load_result(tmp_path)
    assert (said[0] in found.sentence, last) == (True, "report: suite.html")  # type: ignore[operator]
    assert isinstance(found, SuiteResult)
    own = [load_result(folder).document.baselines[0].difference.points for folder in folders]  # type: ignore[union-attr]
    assert found.averages.loc["winner - vanilla", "points"] == pytest.approx(np.mean(own))
    assert [*found.tasks["winner - vanilla"]] == pytest.approx(own)
    assert found.sentence in found._repr_html_()
    with pytest.raises(InputError, match="is there twice; an average counts each task once"):
        read_suite([folders[0], folders[0]])


def test_that_the_published_values_won_counts_as_no_difference(tmp_path: Path) -> None:
    """It is said where they won everywhere, and left out where they were compared with in no task."""
    folders = [restore_old_search(name, tmp_path / name) for name in ("search", "own")]
    documents = [read_search_document(folder) for folder in folders]
    for won in (2, 1):
        for place, document in enumerate(documents):
            assert document.winner is not None
            document.winner.published = place < won
        rows = [collect_search(document, folders[n], n) for n, document in enumerate(documents)]
        found = build_suite(rows)
        assert ("The published values won in all 2 tasks" in found.sentence) == (won == 2)
        assert ["published" in task.differences for task in found.tasks] == [won == 2] * 2


def test_comparisons_made_apart_have_the_same_average(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ",".join(map(str, folders))
    assert compare.main(["--results", named, "--output", str(tmp_path / "joined"), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in told] == [*["comparison_ended"] * 3, "suite_ended"]
    alone = read_suite(folders)
    assert told[-1]["averages"]["dps-dense"]["mean"] == alone.averages["dps-dense"].mean
    assert (tmp_path / "joined" / "suite.html").is_file()


def test_the_folder_of_several_tasks_stands_for_those_of_its_tasks(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = folders[0].parent
    (suite / "config.yaml").write_text("task: rte,mrpc,qnli\n")
    assert compare.main(["--results", str(suite), "--output", str(tmp_path / "joined"), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one.get("task") for one in told[:3]] == [*TASKS]
    (suite / "config.yaml").write_text("task: rte,mrpc,cola\n")
    assert compare.main(["--results", str(suite), "--output", str(tmp_path / "other")]) != 0
    assert "cola holds no finished comparison" in capsys.readouterr().err
    (suite / "config.yaml").unlink()


def test_of_many_averages_those_that_are_not_distinguishable_share_a_sentence(folders: list[Path]) -> None:
    found = read_suite(folders)
    average, first = found.averages["dps-dense"], read_suite(folders).sentence
    found.averages |= {
        name: average.model_copy(update={"adjusted_p": 0.5, "sentence": "long"}) for name in "abcd"
    }
    assert list_sentences(found) == [
        average.sentence,
        "Averaged over 3 tasks, none of these is distinguishable from vanilla: a, b, c, d.",
    ]
    assert average.sentence in first


def test_what_cannot_be_averaged_is_refused(folders: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "sst2"
    finished(other, ("r-drop", "vanilla"), task="sst2", confirm=4)
    with pytest.raises(InputError, match="--results: differences to vanilla and r-drop cannot be averaged"):
        read_suite([*folders, other])
    with pytest.raises(InputError, match="is no comparison, and the others are"):
        read_suite([*folders, restore_old_search("search", tmp_path / "one")])


class FakeClient:
    """MLflow, as far as the run of several tasks needs it."""

    def __init__(self) -> None:
        self.runs = {"one": ("a", "search"), "two": ("b", "search"), "trial": ("a", "0")}
        self.tags: dict[tuple[str, str], str] = {}
        self.metrics: dict[str, float] = {}
        self.files: list[str] = []

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(lifecycle_stage="active", experiment_id="7")

    def search_runs(self, experiments: list[str], query: str) -> list[Any]:
        search, trial = re.findall("'([^']*)'", query)
        found = [run for run, named in self.runs.items() if named == (search, trial)]
        return [SimpleNamespace(info=SimpleNamespace(run_id=run)) for run in found]

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        self.runs["all"] = (tags["dps.search"], tags["dps.trial"])
        return SimpleNamespace(info=SimpleNamespace(run_id="all"))

    def set_tag(self, run: str, key: str, value: str) -> None:
        self.tags[run, key] = value

    def log_metric(self, run: str, name: str, value: float) -> None:
        self.metrics[name] = value

    def get_run(self, run: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri="mlflow-artifacts:/7/all/artifacts"))

    def log_artifact(self, run: str, file: str) -> None:
        self.files.append(Path(file).name)

    def set_terminated(self, run: str) -> None:
        pass


def test_the_table_of_an_experiment_is_the_one_that_its_run_keeps(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of comparisons, and of searches of several tasks; these have no other average."""
    (tmp_path / "kept").mkdir()
    write_suite(read_suite(folders), tmp_path / "kept" / SUITE_PAGE)
    places = {"suite": [tmp_path / "kept" / "suite.json"], "search": list[Path]()}

    @contextmanager
    def files(name: str, uri: Any, file: str, refuse: Any, trial: str = "search") -> Iterator[list[RunFile]]:
        if not places[trial]:
            raise refuse("holds no search that ended")
        yield [RunFile(path.parent.name, "1234567890", path) for path in places[trial]]

    monkeypatch.setattr(search_report, "open_experiment_files", files)
    monkeypatch.chdir(tmp_path)
    for name in ("comparisons", "searches"):
        assert report.main(["mlflow:both", "--output", f"{name}.html"]) == 0
        assert (tmp_path / f"{name}.json").read_text() == places["suite"][0].read_text()
        old = [restore_old_search(each, tmp_path / name / each) for each in ("search", "own")]
        places["search"] = [folder / "search.json" for folder in old]
    assert "no average" not in capsys.readouterr().out
    places["suite"].clear()
    assert report.main(["mlflow:both"]) == 0
    assert "no average over the tasks" in capsys.readouterr().out
    assert (tmp_path / "searches.html").is_file()
    places["search"].clear()
    assert report.main(["mlflow:both"]) == 2


def test_the_run_of_all_tasks_is_the_parent_of_theirs(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, client = read_suite(folders), FakeClient()
    write_suite(found, tmp_path / SUITE_PAGE)
    monkeypatch.setattr(stores, "create_mlflow_client", lambda uri: client)
    for _ in range(2):  # again after a resume
        assert track_suite("http://here", "e", ["a", "b"], found, tmp_path) == ""
    assert {run for run, key in client.tags if key == "mlflow.parentRunId"} == {"one", "two"}
    assert client.tags["one", "mlflow.parentRunId"] == "all"
    assert client.metrics["average_dps-dense_difference_points"] == 100 * found.averages["dps-dense"].mean
    assert client.files == ["suite.json", "suite.md", "suite.tex", "suite.html"] * 2
    monkeypatch.setattr(stores, "create_mlflow_client", lambda uri: None)
    assert "AttributeError" in track_suite("http://here", "e", ["a", "b"], found, tmp_path)
