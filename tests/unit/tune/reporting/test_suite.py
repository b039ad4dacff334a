"""Several tasks in one table: the averages are those of the tasks' own results, and what they say is true."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dps.errors import InputError
from tests.unit.tune.helpers import restore_old_search
from tests.unit.tune.reporting.test_comparison import finished
from tune.records.suite_document import read_suite_document
from tune.reporting.suite.folders import read_suite
from tune.reporting.suite.page import SUITE_FILES, write_suite
from tune.reporting.suite.tables import make_difference_table, make_score_table, summarise_suite

TASKS = ("rte", "mrpc", "qnli")


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


def test_the_tests_of_the_whole_table_are_corrected_together(folders: list[Path]) -> None:
    found = read_suite(folders)
    cells = [cell for task in found.tasks for cell in task.differences.values()]
    smallest = min(cells, key=lambda cell: cell.p if cell.p is not None else 2.0)
    assert len(cells) == 6
    assert smallest.adjusted_p == pytest.approx(min(1, 6 * (smallest.p or 0) / 0.8))
    average = found.averages["dps-dense"]
    assert average.better + average.worse + average.undecided == 3
    assert average.better == sum(task.differences["dps-dense"].verdict == "better" for task in found.tasks)


def test_it_is_said_what_the_average_says_and_what_it_leaves_out(folders: list[Path]) -> None:
    found = read_suite(folders)
    assert [*found.averages] == ["dps-dense"]
    said = summarise_suite(found)
    assert said[0].startswith("Averaged over 3 tasks, dps-dense is better than vanilla by ")
    carrier = found.averages["dps-dense"].carried_by
    assert f"Without {carrier} the average is " in said[0]
    rest = [t.differences["dps-dense"].mean for t in found.tasks if t.task != carrier]
    assert found.averages["dps-dense"].without[carrier or ""].mean == pytest.approx(np.mean(rest))
    assert "says nothing of others" in said[1]
    assert any("r-drop is not averaged" in line and "qnli" in line for line in said[2:])


def test_all_files_hold_every_task_and_the_average(folders: list[Path], tmp_path: Path) -> None:
    found = read_suite(folders, {"stsb": "no trial finished <b>"})
    write_suite(found, tmp_path)
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in SUITE_FILES}
    assert read_suite_document(tmp_path) == found
    for text in texts.values():
        assert all(task in text for task in (*TASKS, "average", "dps-dense"))
    assert "no trial finished &lt;b&gt;" in texts["suite.html"]
    assert "rte/compare.html" in texts["suite.html"]
    assert len(make_difference_table(found).rows) == len(TASKS) + 1
    mean = f"{100 * found.scores['dps-dense'].mean:.1f}"
    assert [row[-1] for row in make_score_table(found).rows if row[0] == "dps-dense"] == [mean]
    assert f"{mean} \\\\" in texts["suite.tex"]


def test_searches_of_an_earlier_version_have_a_table(tmp_path: Path) -> None:
    folder = restore_old_search("search", tmp_path / "one")
    found = read_suite([folder])
    assert found.kind == "search"
    assert found.sentence.startswith("There is no average")
    with pytest.raises(InputError, match="is there twice; an average counts each task once"):
        read_suite([folder, folder])


def test_what_cannot_be_averaged_is_refused(folders: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "sst2"
    finished(other, ("r-drop", "vanilla"), task="sst2", confirm=4)
    with pytest.raises(InputError, match="--results: differences to vanilla and r-drop cannot be averaged"):
        read_suite([*folders, other])
    with pytest.raises(InputError, match="is no comparison, and the others are"):
        read_suite([*folders, restore_old_search("search", tmp_path / "one")])
