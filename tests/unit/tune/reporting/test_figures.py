"""Charts and what they are drawn from: scales, places, rows, and how configurations stand."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import pytest

from tune.reporting.figures import plots
from tune.reporting.figures.analysis import IncumbentPoint
from tune.reporting.figures.canvas import Canvas, Scale, choose_log_ticks, choose_ticks, make_scale
from tune.reporting.figures.rows import Line, Mark, Row, draw_rows


def test_an_axis_stays_within_the_range_of_the_metric() -> None:
    assert make_scale([0.9, 1.0], limits=(0, 1)) == Scale(pytest.approx(0.894), 1.0)
    alone = make_scale([1.0, 1.0], limits=(0, 1), least=0.02)  # two equal scores are not an axis of 0 to 2
    assert (alone.low, alone.high) == (pytest.approx(0.99), 1.0)
    assert make_scale([-3.0], limits=(0, 1), least=0.1).low <= -3.0  # what is beyond the range is still shown


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-12, 31, [-10, 0, 10, 20, 30]),
        (0.31, 0.33, None),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, ticks: list[float] | None) -> None:
    made = choose_ticks(low, high)
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in made)
    assert made == pytest.approx(ticks if ticks is not None else [0.31, 0.315, 0.32, 0.325, 0.33])


def test_ticks_of_a_log_scale() -> None:
    assert choose_log_ticks(2e-5, 5e-4) == pytest.approx([2e-5, 5e-5, 1e-4, 2e-4, 5e-4])
    assert choose_log_ticks(1e-6, 1.0) == pytest.approx([10.0**power for power in range(-6, 1)])
    assert choose_log_ticks(0.125, 0.25) == pytest.approx([0.15, 0.2, 0.25])
    assert choose_log_ticks(2, 6) == pytest.approx([2, 4, 6])


def test_what_is_not_finite_has_no_place() -> None:
    canvas = Canvas(Scale(0, 1), Scale(0, 1))
    with pytest.raises(ValueError, match="no place"):
        canvas.add_lines([[(0.0, math.nan)]], "accent")


def test_marks_that_would_hide_one_another_make_way() -> None:
    marks = [Mark(value, "dot", "muted", loose=True) for value in (0.5, 0.5, 0.501, 0.9)]
    markup = draw_rows([Row("a", marks=marks)], Scale(0, 1), "").markup
    assert re.findall(r"translate\(0 (-?\d+)\)", markup) == ["-6", "6"]


def test_the_number_of_a_leader_lies_where_the_line_is_not() -> None:
    course = [IncumbentPoint(n, n, mean) for n, mean in enumerate((0.5, 0.6, 0.4), start=1)]
    document: Any = SimpleNamespace(metric="accuracy")
    plot = plots.plot_score_over_cost(document, course)
    assert plot is not None
    marks = re.findall(r'y="([\d.]+)"[^>]*class="mark".*?<text[^>]*y="([\d.]+)"[^>]*>(\d)<', str(plot.markup))
    assert [(number, float(text) > float(mark)) for mark, text, number in marks] == [
        ("1", False), ("2", False), ("3", True),
    ]  # fmt: skip


@pytest.mark.parametrize("interval", [True, False])
def test_a_legend_names_an_interval_only_where_one_is_drawn(interval: bool) -> None:
    rows = [Row("a", "", [Mark(1.0, "dot", "muted")], [Line(0.0, 2.0)] if interval else [])]
    for plot in (plots.draw_differences(rows, "points"), plots.draw_scores(rows, "accuracy", "accuracy")):
        assert ("95 % interval" in str(plot.markup)) is interval
