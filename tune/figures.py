"""The figures of report.html, as SVG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, RED = "#64748b", "#c2410c"
LABELS = {
    "seconds": "seconds of a full run",
    "memory": "peak memory (GiB)",
    "stability": "standard deviation over seeds",
}


def curves(found: dict[str, Any]) -> str:
    """Learning curves as an SVG, the winner's in front."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for trial in found["trials"]:
        if not trial["scores"]:
            continue
        won = found["winner"] and trial["id"] == found["winner"]["trial"]
        steps, scores = zip(*trial["scores"], strict=True)
        style: dict[str, Any] = (
            {"color": RED, "lw": 2.4, "zorder": 3} if won else {"color": GREY, "lw": 1, "alpha": 0.7}
        )
        axes.plot(steps, scores, marker="o", ms=3, **style)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(f"{found['metric']} (selection data)")
    axes.grid(alpha=0.25)
    return _svg(figure)


def scatter(found: dict[str, Any]) -> str:
    """The score over each other objective as an SVG, the front marked; empty where there is none."""
    from matplotlib.figure import Figure

    if not found["pareto"] or not found["pareto"]["front"]:
        return ""
    others = [name for name in found["pareto"]["objectives"] if name != "score"]
    figure = Figure(figsize=(max(5.6, 4 * len(others)), 3.6), layout="constrained")
    panels = figure.subplots(1, len(others), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, others, strict=True):
        _panel(axes, found["pareto"], name)
    panels[0].set_ylabel(f"{found['metric']} (selection data)")
    return _svg(figure)


def _panel(axes: Axes, found: dict[str, Any], name: str) -> None:
    """The score over one other objective; the front with the numbers of its trials."""
    for points, colour, size in ((found["others"], GREY, 24), (found["front"], RED, 44)):
        places = [_place(point, name) for point in points]
        xs, ys = [[place[axis] for place in places if None not in place] for axis in (0, 1)]
        axes.scatter(xs, ys, color=colour, s=size, alpha=0.85)
    for point in found["front"]:
        axes.annotate(
            str(point["trial"]), _place(point, name), xytext=(6, 3), textcoords="offset points", color=RED,
            fontsize="small",
        )  # fmt: skip
    axes.set_xlabel(LABELS[name])
    axes.margins(0.1)
    axes.grid(alpha=0.25)


def _place(point: dict[str, Any], name: str) -> tuple[Any, Any]:
    value = point["values"][name]
    return (value / 2**30 if name == "memory" and value else value), point["values"]["score"]


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
