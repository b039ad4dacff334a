"""The plots of report.html, as plotly.js takes them: `data` and `make_layout`, without Python's plotly.

A colour is the name of one of the page's own (`accent`, `cool`, `muted`, `text`, `grid`, `make_band_trace`,
`paper`,
`scale`), which the page puts in for light and dark. Everything that comes from users was escaped before
(see `tune.reporting.page`): plotly.js reads some HTML in texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from tune.core.space import make_configuration_key
from tune.core.wording import format_configuration
from tune.records.ledger import TrialRecord
from tune.records.replicates import Confirmation
from tune.records.schema import DifferenceSection
from tune.records.search_document import (
    Evidence,
    ParetoSection,
    ProfileSection,
    RivalSection,
    SearchDocument,
)
from tune.reporting.analysis import IncumbentPoint
from tune.reporting.profile import TIME_PART_NAMES
from tune.stats.ensemble import AnswerSummary

Trace = dict[str, Any]
TIME_UNITS = ((3 * 3600.0, 3600.0, "hours"), (600.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
OUTCOME_SYMBOLS = {"completed": "circle", "stopped": "x"}  # others: triangle-down
LINE_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SEARCH_COLOURS = ("accent", "cool", "text", "muted")
OBJECTIVE_TITLES = {
    "seconds": "seconds of a full run",
    "memory": "peak memory (GiB)",
    "stability": "standard deviation over seeds",
}


@dataclass(frozen=True)
class Plot:
    """One plot. alt: what it shows, for those who cannot see it; height, and the least width, in pixels."""

    data: list[Trace]
    layout: dict[str, Any]
    alt: str
    height: int = 360
    width: int = 0


def make_axis(title: str, **more: Any) -> dict[str, Any]:
    lines = {"gridcolor": "grid", "zerolinecolor": "grid", "linecolor": "grid", "automargin": True}
    return {"title": {"text": title}, **lines, **more}


def make_layout(x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"xaxis": x, "yaxis": y, "hovermode": "closest", **more}


def make_line_trace(x: Sequence[Any], y: Sequence[Any], name: str, colour: str, **more: Any) -> Trace:
    line = {"color": colour, "width": 2, **more.pop("line", {})}
    return {"type": "scatter", "mode": "lines", "x": [*x], "y": [*y], "name": name, "line": line, **more}


def make_marker_trace(
    x: Sequence[Any], y: Sequence[Any], name: str, colour: str, symbol: Any, **more: Any
) -> Trace:
    marker = {"color": colour, "symbol": symbol, "size": 9, **more.pop("marker", {})}
    return {**make_line_trace(x, y, name, colour), "mode": "markers", "marker": marker, **more}


def _error_bars(mean: float, interval: Sequence[float] | None) -> dict[str, Any]:
    """Return error bars from the mean to the ends of its interval."""
    if interval is None:
        return {"array": [0], "color": "text"}
    low, high = interval
    bar = {"array": [high - mean], "arrayminus": [mean - low]}
    return {"symmetric": False, **bar, "color": "text", "thickness": 1.5}


def make_band_trace(x: Sequence[Any], lows: Sequence[float], highs: Sequence[float], **line: Any) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "x": [*x, *reversed(x)], "y": [*highs, *reversed(lows)],
        "fill": "toself", "fillcolor": "band", "line": {"width": 0, "color": "band", **line},
        "hoverinfo": "skip", "name": "95 % interval",
    }  # fmt: skip


def choose_time_unit(seconds: float) -> tuple[float, str]:
    """Return (seconds in it, name) of a unit that suits a time of this length."""
    return next((size, name) for least, size, name in TIME_UNITS if seconds >= least)


def plot_score_over_cost(document: SearchDocument, course: Sequence[IncumbentPoint]) -> Plot | None:
    """Plot the expected score of the best configuration over slot time, and what was confirmed."""
    if not course:
        return None
    size, name = choose_time_unit(document.spent.slot_seconds)
    x = [point.cost / size for point in course]
    step = {"shape": "hv"}
    trials = [f"trial {point.trial}" for point in course]
    data = [
        _steps_band(x, course),
        make_line_trace(
            x, [point.mean for point in course], "best so far, expected (selection data)",
            "accent", line=step, mode="lines+markers", text=trials,
            hovertemplate="%{text}: %{y:.4f}<extra></extra>",
        ),
    ]  # fmt: skip
    end = max(document.spent.slot_seconds / size, x[-1])
    for place, side in enumerate(collect_confirmed_configurations(document)[: 1 + len(document.baselines)]):
        if confirmed := side.confirmation:
            colour, symbol = _choose_mark(side, "star")
            data.append(
                make_marker_trace(
                    [(1 + 0.02 * place) * end], [confirmed.mean],
                    f"{side.name}, mean of {len(confirmed.scores)} fresh seeds (dev)", colour, symbol,
                    marker={"size": 13},
                    error_y=_error_bars(confirmed.mean, side.interval),
                )
            )  # fmt: skip
    last = course[-1]
    alt = (
        f"Expected score of the best configuration against slot {name}: from {course[0].mean:.4f} at the "
        f"first estimate to {last.mean:.4f} (trial {last.trial}) after {x[-1]:.3g} {name}."
    )
    return Plot(data, make_layout(make_axis(f"slot {name} spent"), make_axis(document.metric)), alt)


def _steps_band(x: Sequence[float], course: Sequence[IncumbentPoint]) -> Trace:
    """Return a band whose ends are steps, as the line in it."""
    stairs = [(x[0], course[0])]
    for at, before, point in zip(x[1:], course, course[1:], strict=False):
        stairs += [(at, before), (at, point)]
    return make_band_trace([at for at, _ in stairs], [p.low for _, p in stairs], [p.high for _, p in stairs])


def plot_searches_over_cost(named: Sequence[tuple[str, SearchDocument, Sequence[IncumbentPoint]]]) -> Plot:
    """Plot `plot_score_over_cost` of several searches of one metric."""
    size, name = choose_time_unit(max(document.spent.slot_seconds for _, document, _ in named))
    data = []
    for place, (label, document, course) in enumerate(named):
        colour = SEARCH_COLOURS[place % len(SEARCH_COLOURS)]
        line = {"shape": "hv", "dash": LINE_DASHES[place % len(LINE_DASHES)]}
        x, y = [point.cost / size for point in course], [point.mean for point in course]
        data.append(make_line_trace(x, y, label, colour, line=line, legendgroup=str(place)))
        if confirmed := document.confirmation:
            data.append(
                make_marker_trace(
                    [document.spent.slot_seconds / size], [confirmed.mean],
                    f"{label}, confirmed on dev", colour, place % 8, marker={"size": 12},
                    legendgroup=str(place),
                    error_y=_error_bars(confirmed.mean, document.interval),
                )
            )  # fmt: skip
    alt = f"Expected score of the best configuration against slot {name}, a line a search; see the table."
    return Plot(data, make_layout(make_axis(f"slot {name} spent"), make_axis(named[0][1].metric)), alt, 420)


def plot_learning_curves(document: SearchDocument) -> Plot | None:
    """Plot the learning curve of every trial, with all seeds of the winner."""
    won = document.winner and make_configuration_key(document.winner.configuration)
    kinds: dict[str, list[TrialRecord]] = {}
    for run in document.trials:
        if run.scores:
            kinds.setdefault(
                "winner" if make_configuration_key(run.configuration) == won else run.outcome, []
            ).append(run)
    raced = [
        run for run in document.race_runs if run.scores and make_configuration_key(run.configuration) == won
    ]
    if not kinds:
        return None
    data = [
        _bundle_curves(f"{kind} ({len(runs)})", runs, kind)
        for kind, runs in kinds.items()
        if kind != "winner"
    ]
    if raced:
        data.append(_bundle_curves(f"winner, further seeds ({len(raced)})", raced, "raced"))
    if "winner" in kinds:
        data.append(_bundle_curves(f"winner (trial {kinds['winner'][0].number})", kinds["winner"], "winner"))
    said = ", ".join(str(trace["name"]) for trace in data)
    alt = f"Score on the selection data by optimizer step, a line a run: {said}. A cross ends a stopped one."
    return Plot(data, make_layout(make_axis("optimizer step"), make_axis(document.metric)), alt, 420)


def _bundle_curves(name: str, runs: Sequence[TrialRecord], kind: str) -> Trace:
    """Return the curves of several runs as one trace; the last point of each shows how it ended."""
    x: list[Any] = []
    y: list[Any] = []
    text: list[Any] = []
    symbols: list[str] = []
    for run in runs:
        steps, scores = zip(*run.scores, strict=True)
        end = OUTCOME_SYMBOLS.get(run.outcome, "triangle-down")
        x += [*steps, None]
        y += [*scores, None]
        symbols += ["circle"] * (len(steps) - 1) + [end, end]
        text += [f"{run.id}, seed {run.seed}, {run.outcome}<br>{format_configuration(run.configuration)}"] * (
            len(steps) + 1
        )
    width = {"winner": 3.5, "raced": 2}.get(kind, 1.2)
    dash = {"stopped": "dash", "raced": "dot"}.get(kind, "solid")
    colour = "accent" if kind in ("winner", "raced") else "muted"
    return make_line_trace(
        x, y, name, colour, mode="lines+markers", line={"width": width, "dash": dash}, text=text,
        marker={"symbol": symbols, "size": [4 if s == "circle" else 9 for s in symbols], "color": colour},
        hovertemplate="trial %{text}<br>step %{x}: %{y:.4f}<extra></extra>",
    )  # fmt: skip


@dataclass(frozen=True)
class ConfirmedConfiguration:
    """A configuration that was trained with fresh seeds. kind: "winner", "baseline" or "finalist".
    difference: of the winner from it."""

    kind: str
    name: str
    title: str
    confirmation: Confirmation | None
    runs: Sequence[TrialRecord]
    evidence: Evidence | None
    difference: DifferenceSection | None = None

    @property
    def answers(self) -> AnswerSummary | None:
        """What its runs answered; None if unknown."""
        return None if self.evidence is None else self.evidence.answers

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of its mean over seeds and examples; None where there is none."""
        return None if self.evidence is None else self.evidence.interval

    @property
    def behind(self) -> float | None:
        """Return its mean difference to the winner; None if they were not compared."""
        return None if self.difference is None else 0.0 - self.difference.mean  # and not -0.0

    @property
    def behind_interval(self) -> tuple[float, float] | None:
        """Return the interval of this difference; None where there is none."""
        if self.difference is None or self.difference.interval is None:
            return None
        low, high = self.difference.interval
        return 0.0 - high, 0.0 - low


def collect_confirmed_configurations(document: SearchDocument) -> list[ConfirmedConfiguration]:
    """Return the winner, the baselines and the other finalists, as far as there are runs of them."""

    def describe(kind: str, name: str, title: str, rival: RivalSection) -> ConfirmedConfiguration:
        return ConfirmedConfiguration(
            kind, name, title, rival.confirmation, rival.runs, rival.evidence, rival.difference
        )

    made = []
    if document.winner:
        title, won = f"trial {document.winner.trial}, the winner", document.confirmation
        runs = document.confirmation_runs
        made.append(ConfirmedConfiguration("winner", "winner", title, won, runs, document.evidence))
    for baseline in document.baselines:
        rate = baseline.configuration.get("learning_rate")
        title = f"{baseline.title} ({rate:.3g})" if baseline.is_tuned and rate else baseline.title
        made.append(describe("baseline", baseline.name, title, baseline))
    for one in document.finalists:
        made.append(describe("finalist", f"trial {one.trial}", f"trial {one.trial}", one))
    return [side for side in made if side.runs or side.confirmation]


def _choose_mark(side: ConfirmedConfiguration, winner: str = "circle") -> tuple[str, str]:
    """Return (colour, symbol) of a configuration. winner: the symbol of the winner."""
    marks = {"winner": ("accent", winner), "baseline": ("cool", "square")}
    return marks.get(side.kind, ("muted", "circle-open"))


def plot_fresh_seeds(document: SearchDocument) -> Plot | None:
    """Plot all that was confirmed on the same fresh seeds, with a line for each seed."""
    named = [
        (side, side.confirmation) for side in collect_confirmed_configurations(document) if side.confirmation
    ]
    if not named:
        return None
    by_seed: dict[Any, dict[str, float]] = {}
    for side, confirmed in named:
        for seed, score in confirmed.scores.items():
            by_seed.setdefault(seed, {})[side.name] = score
    data = [
        make_line_trace([*met.values()], [*met], f"seed {seed}", "grid", showlegend=False, hoverinfo="skip")
        for seed, met in by_seed.items()
        if len(met) > 1
    ]
    for place, (side, confirmed) in enumerate(named):
        colour, symbol = _choose_mark(side)
        name, scores = side.name, confirmed.scores
        text = [f"seed {seed}" for seed in scores]
        data.append(
            make_marker_trace(
                [*scores.values()], [name] * len(scores), f"{name}, a point a seed", colour, symbol,
                text=text, hovertemplate="%{text}: %{x:.4f}<extra></extra>",
                showlegend=side.kind != "finalist",
            )
        )  # fmt: skip
        mean = make_marker_trace([confirmed.mean], [name], "mean and 95 % interval", "text", "diamond")
        mean |= {"marker": {**mean["marker"], "size": 14}, "showlegend": place == 0}
        data.append({**mean, "error_x": _error_bars(confirmed.mean, side.interval)})
    alt = "Scores on dev by seed, a line joins the runs of a seed; the table below has the numbers."
    y = make_axis("", type="category", autorange="reversed")
    return Plot(data, make_layout(make_axis(f"{document.metric} (dev)"), y), alt, 140 + 60 * len(named))


def plot_race(document: SearchDocument) -> Plot | None:
    """Plot every seed of every configuration that raced, the winner on top."""
    rows = [row for row in document.race if row.scores]
    if not rows:
        return None
    names = [f"trial {row.trial}{' (winner)' if row.won else ''}" for row in rows]
    seeds = [
        (score, name, f"seed {seed}")
        for row, name in zip(rows, names, strict=True)
        for seed, score in row.scores.items()
    ]
    x, y, text = zip(*seeds, strict=True)
    over = "%{text}: %{x:.4f}<extra></extra>"
    data = [make_marker_trace(x, y, "a seed", "muted", "circle", text=text, hovertemplate=over)]
    data.append(
        make_marker_trace([row.mean for row in rows], names, "mean", "accent", "diamond", marker={"size": 13})
    )
    alt = "Scores on the selection data by configuration and seed; the table below has the numbers."
    axes = make_axis(document.metric), make_axis("", type="category", autorange="reversed")
    return Plot(data, make_layout(*axes), alt, 150 + 34 * len(rows))


def plot_slot_time(profile: ProfileSection) -> Plot:
    """Plot the parts of the slot time."""
    shares = profile.shares
    words = [TIME_PART_NAMES.get(part, part) for part in shares]
    broken = ["<br>".join(wrap(word, 24)) for word in words]
    bar = {
        "type": "bar", "orientation": "h", "x": [*shares.values()], "y": broken, "marker": {"color": "cool"},
        "text": [f"{share:.1%}" for share in shares.values()], "textposition": "outside", "cliponaxis": False,
        "hoverinfo": "skip", "textfont": {"color": "text"},
    }  # fmt: skip
    said = ", ".join(f"{word} {share:.1%}" for word, share in zip(words, shares.values(), strict=True))
    x = make_axis("share of the slot time", tickformat=".0%", range=[0, 1.2])
    return Plot([bar], make_layout(x, make_axis("", autorange="reversed")), f"Of the slot time: {said}.", 280)


def plot_pareto_front(pareto: ParetoSection, name: str, metric: str) -> Plot:
    """Plot the score over one other objective, the front marked."""
    data, factor = [], 2**30 if name == "memory" else 1
    for part, rows, colour, symbol, mode in (
        ("others", pareto.others, "muted", "circle", "markers"),
        ("front", pareto.front, "accent", "diamond", "markers+text"),
    ):
        points = [(row.trial, row.values[name], row.values["score"]) for row in rows]
        known = [(trial, x / factor, y) for trial, x, y in points if x is not None and y is not None]
        text = [f"{trial}" for trial, _, _ in known]
        x, y = [x for _, x, _ in known], [y for _, _, y in known]
        data.append(
            make_marker_trace(
                x, y, part, colour, symbol, mode=mode, text=text, textposition="top center",
                textfont={"color": "text"}, hovertemplate="trial %{text}: %{y:.4f}, %{x:.4g}<extra></extra>",
            )
        )  # fmt: skip
    alt = f"Score over {OBJECTIVE_TITLES[name]}, the front as diamonds; the table below has the numbers."
    return Plot(data, make_layout(make_axis(OBJECTIVE_TITLES[name]), make_axis(metric)), alt, 320)
