"""Charts with a row for each thing: its name, a strip with marks on a shared scale, and a value in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from dps.text import sanitise_text
from tune.reporting.figures.canvas import (
    Plot,
    Scale,
    draw_legend,
    format_percent,
    make_element,
    make_mark,
    make_tick_texts,
)

CROWDED = 0.012  # of the width, within which marks are put beside one another
SHIFTS = (0, -6, 6, -11, 11)  # pixels by which these lie below the middle


@dataclass(frozen=True)
class Mark:
    """A mark at a value. title: what a pointer on it is told. Marks that are `loose` make way for others of
    the same row that lie there."""

    value: float
    shape: str
    colour: str
    title: str = ""
    loose: bool = False
    size: float = 1.0


@dataclass(frozen=True)
class Line:
    """A horizontal line between two values. arrow: whether it points to its end."""

    start: float
    end: float
    colour: str = "text"
    width: float = 2
    arrow: bool = False


@dataclass(frozen=True)
class Row:
    """A row. label, value: texts to the left and to the right. strong: whether they are bold."""

    label: str
    value: str = ""
    marks: Sequence[Mark] = field(default_factory=tuple)
    lines: Sequence[Line] = field(default_factory=tuple)
    strong: bool = False


def draw_rows(
    rows: Sequence[Row],
    scale: Scale,
    alt: str,
    zero: float | None = None,
    legend: Sequence[tuple[str, str, str]] = (),
) -> Plot:
    """Draw the rows over one scale. zero: where a bold line stands. legend: see `canvas.draw_legend`."""
    grid = "".join(
        make_element("line", x1=(at := format_percent(scale.place_value(value))), x2=at, y1="0", y2="100%",
                     class_="gridline")
        for value, _ in scale.list_ticks()
    )  # fmt: skip
    if zero is not None:
        at = format_percent(scale.place_value(zero))
        grid += make_element("line", x1=at, x2=at, y1="0", y2="100%", class_="zero")
    made = [_draw_row(row, scale, grid) for row in rows]
    axis = make_element("svg", "".join(make_tick_texts(scale, 15)), class_="strip", height=42)
    made.append(f'<div class="row axis"><span></span><span></span>{axis}</div>')
    return Plot(Markup(f'{draw_legend(legend)}<div class="rows">{"".join(made)}</div>'), alt)


def _draw_row(row: Row, scale: Scale, grid: str) -> str:
    parts = [grid]
    for line in row.lines:
        start, end = scale.place_value(line.start), scale.place_value(line.end)
        parts.append(
            make_element(
                "line", x1=format_percent(start), x2=format_percent(end), y1="50%", y2="50%",
                class_=f"line c-{line.colour}", stroke_width=line.width,
            )
        )  # fmt: skip
        if line.arrow and abs(end - start) > CROWDED:
            parts.append(make_mark("right" if end > start else "left", line.colour, end, "50%"))
    parts += _draw_marks([mark for mark in row.marks if mark.loose], scale)
    parts += [
        make_mark(mark.shape, mark.colour, scale.place_value(mark.value), "50%", mark.title, mark.size)
        for mark in row.marks
        if not mark.loose
    ]
    strip = make_element("svg", "".join(parts), class_="strip")
    label, value = (escape(sanitise_text(text)) for text in (row.label, row.value))
    texts = f'<span class="label">{label}</span><span class="value">{value}</span>'
    return f'<div class="row{" strong" if row.strong else ""}">{texts}{strip}</div>'


def _draw_marks(marks: Sequence[Mark], scale: Scale) -> list[str]:
    """Return marks from left to right, those that would lie upon others above or below them."""
    made, before, crowd = [], float("-inf"), 0
    for mark in sorted(marks, key=lambda mark: mark.value):
        place = scale.place_value(mark.value)
        crowd = crowd + 1 if place - before < CROWDED else 0
        before = before if crowd else place
        shift = SHIFTS[crowd % len(SHIFTS)]
        made.append(make_mark(mark.shape, mark.colour, place, "50%", mark.title, mark.size, shift))
    return made
