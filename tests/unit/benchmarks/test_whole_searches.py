"""What whole searches add on average."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scipy import stats

from benchmarks.whole_searches import (
    PUBLISHED,
    collect_differences,
    count_collapsed,
    format_mean,
    report_searches,
)
from tests.unit.tune.helpers import restore_old_search
from tune.records.search_document import read_search_document


def test_the_interval_is_that_of_student_over_searches() -> None:
    values = [1.0, -2.0, 4.0, 0.5]
    low, high = stats.t.interval(0.95, 3, sum(values) / 4, stats.sem(values))
    assert format_mean(values) == f"+0.9 ({low:+.1f} to {high:+.1f})"


def test_a_search_that_the_published_values_won_added_nothing(tmp_path: Path) -> None:
    document = read_search_document(restore_old_search("search", tmp_path))
    assert document.winner is not None
    document.winner.published = True
    assert collect_differences([document])[PUBLISHED] == [0.0]
    assert "| published values | +0.0 (+0.0 to +0.0) | +0.0 to +0.0 | 2 |" in report_searches([document] * 2)


def test_runs_that_collapsed_are_counted_by_side(tmp_path: Path) -> None:
    document = read_search_document(restore_old_search("search", tmp_path))
    sound = [replace(run, top_share=0.7) for run in document.confirmation_runs]
    first = document.model_copy(update={"confirmation_runs": [replace(sound[0], top_share=1.0), *sound[1:]]})
    second = document.model_copy(update={"confirmation_runs": sound})
    (winner, *_) = count_collapsed([first, second])
    assert winner == ["winner", f"1 of {2 * len(sound)}", "1 of 2"]
