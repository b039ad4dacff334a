"""Charts as inline SVG: they need no script, and follow the page's width and its light or dark colours.

Places along x are percentages of the width, those along y pixels, so texts keep their size on any screen.
Lines lie in a box that stretches, and keep their width. A colour is the name of one of the page's own
(`accent`, `cool`, `muted`, `text`), a shape one of SHAPES. All texts are escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from dps.text import sanitise_text

STRETCH = 1000  # units of the width of the box that stretches
TOP, BOTTOM = 24, 44  # pixels above the area of the data, for the name of y, and below it, for that of x
PADDING = 0.06  # of the range of the data, left free at either end of a scale
SHAPES = {
    "circle": "M4.5 0a4.5 4.5 0 1 1-9 0a4.5 4.5 0 1 1 9 0z",
    "dot": "M2.5 0a2.5 2.5 0 1 1-5 0a2.5 2.5 0 1 1 5 0z",
    "ring": "M4.5 0a4.5 4.5 0 1 1-9 0a4.5 4.5 0 1 1 9 0z",
    "square": "M-4-4h8v8h-8z",
    "diamond": "M0-7L7 0L0 7L-7 0z",
    "cross": "M-4-4L4 4M-4 4L4-4",
    "triangle": "M0 6L-6-5H6z",
    "star": "M0-8L2-2.6 8-2.4 3.2 1.1 4.8 7 0 3.6-4.8 7-3.2 1.1-8-2.4-2-2.6z",
    "right": "M-4 0L-12-4.5V4.5z",
    "left": "M4 0L12-4.5V4.5z",
}
OPEN_SHAPES = ("ring", "cross")  # drawn by their line

Point = tuple[float, float]


@dataclass(frozen=True)
class Plot:
    """One drawn plot. alt: what it shows, for those who cannot see it. width: the least, in pixels."""

    markup: Markup
    alt: str
    width: int = 0


@dataclass(frozen=True)
class Scale:
    """The values along an axis. low, high: its ends. log: whether equal factors are equally far apart.
    ticks: (value, label) pairs; round values in between if there are none. title: what the values are."""

    low: float
    high: float
    title: str = ""
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()

    def place_value(self, value: float) -> float:
        """Return the place of a value, from 0 at the low end to 1 at the high one. Raises ValueError for one
        that is not finite."""
        ends = (self.low, self.high, value)
        low, high, at = (math.log(each) for each in ends) if self.log else ends
        if not math.isfinite(share := (at - low) / (high - low) if high > low else 0.5):
            raise ValueError(f"{value} has no place on an axis")
        return share

    def list_ticks(self) -> list[tuple[float, str]]:
        """Return (value, label) of the ticks, from low to high."""
        if self.ticks:
            return [*self.ticks]
        values = choose_log_ticks(self.low, self.high) if self.log else choose_ticks(self.low, self.high)
        return [(value, format_tick(value)) for value in values]


def make_scale(
    values: Iterable[float], title: str = "", limits: Point = (-math.inf, math.inf), least: float = 0.0
) -> Scale:
    """Return a scale over these values with room at both ends, but none beyond the limits.

    least: the width that it has at least, for values that are all the same.
    """
    found = [*values]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    spare = max(PADDING * (high - low), (least - (high - low)) / 2, 1e-9 * max(1.0, abs(low)))
    ends = max(low - spare, min(low, limits[0])), min(high + spare, max(high, limits[1]))
    return Scale(*ends, title)


def choose_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round values between two ends."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((base * power for base in (1, 2, 5) if base * power >= raw * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [number * step + 0.0 for number in range(first, math.floor(high / step + 1e-9) + 1)]


def choose_log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two ends, or powers alone where these are many; round
    values at equal distances if these are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [base * 10.0**power for power in powers for base in (1, 2, 5)]
    inside = [mark for mark in marks if low * 0.999 <= mark <= high * 1.001]
    if len(inside) > 6:
        return [mark for mark in inside if f"{mark:e}".startswith("1")]
    return inside if len(inside) > 2 else choose_ticks(low, high, 3)


def format_tick(value: float) -> str:
    """Format a number as short as it can be read."""
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(power)}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < 1e3 else f"{value:,.0f}"


def make_element(name: str, content: str = "", /, **attributes: object) -> str:
    """Return an element of SVG or HTML with its attributes escaped; those that are "" are left out. content:
    markup. An underscore after a name or within it stands for nothing, or for a dash."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(sanitise_text(str(value)))}"'
        for key, value in attributes.items()
        if value != ""
    )
    return f"<{name}{said}>{content}</{name}>"


def make_text(content: str, **attributes: object) -> str:
    """Return a text of SVG."""
    return make_element("text", str(escape(sanitise_text(content))), **attributes)


def make_mark(
    shape: str, colour: str, x: float, y: str, title: str = "", size: float = 1.0, shift: float = 0.0
) -> str:
    """Return a mark. x: its place, 0 to 1. y: of SVG. shift: pixels that it lies below y. title: what a
    pointer on it is told."""
    scaled = f" scale({size:g})" if size != 1 else ""
    moved = f"translate(0 {shift:g})" if shift else ""
    kind = "open" if shape in OPEN_SHAPES else "full"
    inside = str(escape(sanitise_text(title)))
    path = make_element(
        "path",
        f"<title>{inside}</title>" if title else "",
        d=SHAPES[shape],
        transform=f"{moved}{scaled}".strip(),
        class_=f"{kind} c-{colour}",
    )
    return make_element("svg", path, x=format_percent(x), y=y, overflow="visible", class_="mark")


def format_percent(share: float) -> str:
    """Format a place from 0 to 1 as a percentage."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def make_tick_texts(scale: Scale, y: float) -> list[str]:
    """Return the labels of the ticks along x at y pixels, and the scale's title below them."""
    made = []
    for value, label in scale.list_ticks():
        share = scale.place_value(value)
        made.append(make_text(label, x=format_percent(share), y=y, class_="tick", text_anchor="middle"))
    if scale.title:
        made.append(make_text(scale.title, x="50%", y=y + 19, class_="axis-name", text_anchor="middle"))
    return made


class Canvas:
    """A chart of two axes, to which lines, bands, maps and marks are added; what comes later lies above.

    height: pixels. legend: (name, colour, shape or "line", "dash") of what needs a name.
    """

    def __init__(self, x: Scale, y: Scale, height: int = 300) -> None:
        self.x, self.y, self.height = x, y, height
        self.legend: list[tuple[str, str, str]] = []
        self._lines: list[str] = []
        self._marks: list[str] = []

    def _place_y(self, value: float) -> float:
        return round(TOP + (1 - self.y.place_value(value)) * (self.height - TOP - BOTTOM), 1)

    def _trace_path(self, points: Sequence[Point]) -> str:
        places = (f"{STRETCH * self.x.place_value(x):.5g} {self._place_y(y):g}" for x, y in points)
        return "M" + "L".join(places)

    def add_lines(
        self,
        lines: Iterable[Sequence[Point]],
        colour: str,
        width: float = 2,
        dash: str = "",
        opacity: float = 1.0,
    ) -> None:
        """Add lines of one look as one path. dash: as SVG has it, "" for none."""
        path = "".join(self._trace_path(points) for points in lines if points)
        more = {"stroke_width": width, "stroke_dasharray": dash}
        shade = f"{opacity:g}" if opacity < 1 else ""
        self._lines.append(make_element("path", d=path, class_=f"line c-{colour}", opacity=shade, **more))

    def add_band(self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> None:
        """Add the area between two lines over the same xs."""
        around = [*zip(xs, highs, strict=True), *reversed([*zip(xs, lows, strict=True)])]
        self._lines.append(make_element("path", d=f"{self._trace_path(around)}z", class_="band"))

    def add_cell(self, x: Point, y: Point, strength: float, title: str) -> None:
        """Add a cell of a map. x, y: its ends. strength: of its colour, 0 to 1."""
        left, right = (self.x.place_value(each) for each in x)
        low, high = (self._place_y(each) for each in y)
        self._marks.append(
            make_element(
                "rect", f"<title>{escape(sanitise_text(title))}</title>", x=format_percent(left), y=high,
                width=format_percent(right - left + 0.001), height=round(low - high + 0.5, 1),
                style=f"--strength: {100 * strength:.0f}%", class_="cell",
            )
        )  # fmt: skip

    def add_mark(
        self,
        at: Point,
        shape: str,
        colour: str,
        title: str = "",
        label: str = "",
        size: float = 1.0,
        is_label_below: bool = False,
    ) -> None:
        """Add a mark at a point. title: what a pointer on it is told. label: written above or below it."""
        x, y = self.x.place_value(at[0]), self._place_y(at[1])
        self._marks.append(make_mark(shape, colour, x, f"{y:g}", title, size))
        if label:
            place = {"x": format_percent(x), "y": y + (18 if is_label_below else -9), "text_anchor": "middle"}
            self._marks.append(make_text(label, class_="tick halo", **place))

    def add_whisker(self, x: float, low: float, high: float) -> None:
        """Add a vertical line at x from low to high."""
        at = format_percent(self.x.place_value(x))
        ends = {"y1": self._place_y(low), "y2": self._place_y(high)}
        self._marks.append(make_element("line", x1=at, x2=at, class_="whisker", **ends))

    def add_note(self, at: Point, text: str) -> None:
        """Write a text to the right of a point."""
        x, y = format_percent(self.x.place_value(at[0])), self._place_y(at[1]) + 4
        self._marks.append(make_text(text, x=x, y=y, dx=5, class_="tick"))

    def draw_plot(self, alt: str, width: int = 0) -> Plot:
        """Return the plot. width: the least, in pixels."""
        stretched = make_element(
            "svg", "".join(self._lines), viewBox=f"0 0 {STRETCH} {self.height}",
            preserveAspectRatio="none", width="100%", height=self.height,
        )  # fmt: skip
        parts = [*self._draw_grid(), stretched, *self._marks]
        body = make_element("svg", "".join(parts), class_="canvas", height=self.height)
        return Plot(Markup(draw_legend(self.legend) + body), alt, width)

    def _draw_grid(self) -> list[str]:
        bottom = self.height - BOTTOM
        made = [make_text(self.y.title, x="-2.6rem", y=12, class_="axis-name")]
        for value, label in self.y.list_ticks():
            y = self._place_y(value)
            made.append(make_element("line", x1="0", x2="100%", y1=y, y2=y, class_="gridline"))
            made.append(make_text(label, x="-6", y=y + 4, class_="tick", text_anchor="end"))
        return [*made, *make_tick_texts(self.x, bottom + 17)]


def draw_legend(legend: Sequence[tuple[str, str, str]]) -> str:
    """Return the legend as HTML. legend: (name, colour, shape), where a shape may be "line" or "dash"."""
    if not legend:
        return ""
    made = []
    for name, colour, shape in legend:
        if shape in SHAPES:
            sample = make_mark(shape, colour, 0.5, "50%")
        else:
            dash = "5 4" if shape == "dash" else ""
            line = {"x1": "0", "x2": "100%", "y1": "50%", "y2": "50%", "stroke_width": 2.5}
            sample = make_element("line", class_=f"line c-{colour}", stroke_dasharray=dash, **line)
        made.append(f'<span><svg width="22" height="14">{sample}</svg>{escape(sanitise_text(name))}</span>')
    return f'<div class="legend">{"".join(made)}</div>'
