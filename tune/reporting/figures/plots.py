"""The plots of the pages of searches, see `tune.reporting.figures.canvas`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from dps.tasks.metrics import get_metric_range
from dps.wording import format_count, format_share
from tune.core.space import make_configuration_key
from tune.core.wording import format_configuration, format_difference
from tune.records.ledger import TrialRecord
from tune.records.schema import DifferenceSection
from tune.records.search_document import ParetoSection, SearchDocument
from tune.reporting.figures.analysis import IncumbentPoint
from tune.reporting.figures.canvas import Canvas, Plot, Scale, make_scale
from tune.reporting.figures.confirmed import ConfirmedConfiguration
from tune.reporting.figures.rows import Line, Mark, Row, draw_rows
from tune.reporting.figures.standings import ConfigurationStanding
from tune.stats.evidence import MIN_SEEDS

TIME_UNITS = ((3 * 3600.0, 3600.0, "hours"), (600.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))
COLOURS, DASHES = ("accent", "cool", "text", "muted"), ("", "6 4", "2 3", "8 3 2 3", "12 4")
KIND_MARKS = {"winner": ("accent", "circle"), "baseline": ("cool", "square"), "finalist": ("muted", "ring")}
OBJECTIVE_TITLES = {
    "seconds": "seconds of a full run",
    "memory": "peak memory (GiB)",
    "stability": "standard deviation over seeds",
}
MAX_LUCK_ROWS = 12
ARROW = "\N{RIGHTWARDS ARROW}"
MIN_SPAN, MIN_POINTS = 0.02, 2.0  # widths that an axis of scores, or of points, has at least


def choose_time_unit(seconds: float) -> tuple[float, str]:
    """Return (seconds in it, name) of a unit that suits a time of this length."""
    return next((size, name) for least, size, name in TIME_UNITS if seconds >= least)


def plot_differences(sides: Sequence[ConfirmedConfiguration], sign: float) -> Plot | None:
    """Plot by how many points the winner is better than each other confirmed configuration: a forest plot,
    with each seed's difference, the mean and its interval. sign: of the metric's direction."""
    won = next((side for side in sides if side.kind == "winner"), None)
    known = [(side, side.difference) for side in sides if side.difference is not None]
    if won is None or not known:
        return None
    mine = won.confirmation.scores if won.confirmation else {}
    rows = []
    for side, difference in known:
        theirs = side.confirmation.scores if side.confirmation else {}
        pairs = {seed: 100 * sign * (mine[seed] - theirs[seed]) for seed in mine if seed in theirs}
        rows.append(make_difference_row(side.title, difference, pairs))
    return draw_differences(rows, "points by which the winner is better")


def make_difference_row(label: str, difference: DifferenceSection, pairs: Mapping[int, float]) -> Row:
    """Return a row of `draw_differences`. pairs: the difference of each seed, in points."""
    marks = [
        Mark(points, "dot", "muted", f"seed {seed}: {format_difference(points / 100)}", loose=True)
        for seed, points in pairs.items()
    ]
    lines, value = [], format_difference(difference.mean)
    shape, title = "ring", f"mean {value}"
    is_known = difference.interval is not None and difference.seeds >= MIN_SEEDS  # not of an earlier version
    if difference.interval is not None and is_known:
        low, high = (100 * end for end in difference.interval)
        lines.append(Line(low, high, "accent", 3))
        shape, value = "diamond", format_difference(difference.mean, difference.interval)
    elif difference.seeds >= MIN_SEEDS:
        value += " (all pairs the same)"
    else:
        value += f" ({format_count(difference.seeds, 'pair')}: no interval)"
    marks.append(Mark(difference.points, shape, "accent", title))
    return Row(label, value, marks, lines)


def draw_differences(rows: Sequence[Row], title: str, dot: str = "a seed") -> Plot:
    """Draw rows of `make_difference_row` around a bold zero. title: what the points say; dot: what one is."""
    values = [mark.value for row in rows for mark in row.marks]
    values += [end for row in rows for line in row.lines for end in (line.start, line.end)]
    scale = make_scale([0.0, *values], f"{title} {ARROW}", least=MIN_POINTS)
    said = "; ".join(f"{row.label} {row.value}" for row in rows)
    names = [
        *[("mean and 95 % interval", "accent", "diamond")] * any(row.lines for row in rows),
        *[("mean without interval", "accent", "ring")] * any(not row.lines for row in rows),
        (dot, "muted", "dot"),
    ]
    return draw_rows(rows, scale, f"Differences in points: {said}.", zero=0.0, legend=names)


def plot_luck(standings: Sequence[ConfigurationStanding], metric: str, sign: float) -> Plot | None:
    """Plot the score of the trial of each configuration with further seeds, with an arrow to the mean of all;
    the best trial on top, and no more than MAX_LUCK_ROWS and the winner. sign: of the metric's direction."""
    known = [
        (each, each.first, each.mean)
        for each in standings
        if each.seeds > 1 and each.first is not None and each.mean is not None
    ]
    if len(known) < 2:
        return None
    known.sort(key=lambda row: -sign * row[1])
    shown = [row for place, row in enumerate(known) if place < MAX_LUCK_ROWS or row[0].won]
    rows = [
        Row(
            f"trial {each.trial}{', the winner' if each.won else ''}",
            f"{first:.3f} {ARROW} {mean:.3f} ({format_count(each.seeds, 'seed')})",
            [
                Mark(first, "ring", "muted", f"first seed: {first:.4f}"),
                Mark(mean, "circle", "accent" if each.won else "cool", f"mean: {mean:.4f}"),
            ],
            [Line(first, mean, "muted", 1.5, arrow=True)],
            strong=each.won,
        )
        for each, first, mean in shown
    ]
    values = [value for _, first, mean in shown for value in (first, mean)]
    scale = make_scale(values, f"{metric} (selection data)", get_metric_range(metric), MIN_SPAN)
    said = "; ".join(f"{row.label}: {row.value}" for row in rows)
    names = [("first seed", "muted", "ring"), ("mean of all its seeds", "cool", "circle")]
    return draw_rows(rows, scale, f"First seed and mean of all seeds: {said}.", legend=names)


def plot_score_over_cost(document: SearchDocument, course: Sequence[IncumbentPoint]) -> Plot | None:
    """Plot the mean score of the best configuration over slot time; None before it could change."""
    if len(course) < 2:
        return None
    size, unit = choose_time_unit(course[-1].cost)
    x = Scale(0.0, course[-1].cost / size, f"{unit} of slots spent on exploration and race")
    y = make_scale(
        [point.mean for point in course], document.metric, get_metric_range(document.metric), MIN_SPAN
    )
    canvas = Canvas(x, y)
    stairs = list(_make_stairs(course))
    xs = [at / size for at, _ in stairs]
    canvas.add_lines([[*zip(xs, [p.mean for _, p in stairs], strict=True)]], "accent")
    for before, point in zip([None, *course], course, strict=False):
        if before is None or before.trial != point.trial:
            title, at = f"trial {point.trial} leads: {point.mean:.4f}", (point.cost / size, point.mean)
            falls = before is not None and point.mean < before.mean  # the line comes from above
            canvas.add_mark(at, "circle", "accent", title, str(point.trial), is_label_below=falls)
    last = course[-1]
    alt = (
        f"Score of the best configuration against slot {unit}: from {course[0].mean:.4f} at the "
        f"first to {last.mean:.4f} (trial {last.trial}) after {course[-1].cost / size:.3g} {unit}."
    )
    return canvas.draw_plot(alt)


def _make_stairs(course: Sequence[IncumbentPoint]) -> list[tuple[float, IncumbentPoint]]:
    """Return (cost, point) of a line that stays until the next point."""
    stairs = [(course[0].cost, course[0])]
    for before, point in itertools.pairwise(course):
        stairs += [(point.cost, before), (point.cost, point)]
    return stairs


def plot_searches_over_cost(named: Sequence[tuple[str, SearchDocument, Sequence[IncumbentPoint]]]) -> Plot:
    """Plot `plot_score_over_cost` of several searches of one metric."""
    metric = named[0][1].metric
    size, unit = choose_time_unit(max(course[-1].cost for _, _, course in named if course))
    courses = [[*_make_stairs(course)] if course else [] for _, _, course in named]
    costs, means = zip(*((at / size, p.mean) for course in courses for at, p in course), strict=True)
    y = make_scale(means, metric, get_metric_range(metric), MIN_SPAN)
    canvas = Canvas(Scale(0.0, max(costs), f"{unit} of slots spent on exploration and race"), y)
    for place, ((label, _, _), stairs) in enumerate(zip(named, courses, strict=True)):
        colour, dash = COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)]
        canvas.add_lines([[(at / size, point.mean) for at, point in stairs]], colour, dash=dash)
        canvas.legend.append((label, colour, "dash" if dash else "line"))
    return canvas.draw_plot(f"Score of the best configuration against slot {unit}, a line a search.")


def plot_confirmed_searches(named: Sequence[tuple[str, SearchDocument]]) -> Plot | None:
    """Plot what several searches of one metric confirmed on dev, a row a search."""
    rows = [
        make_score_row(label, document.confirmation.scores, document.mean, document.interval)
        for label, document in named
        if document.confirmation and document.mean is not None
    ]
    return draw_scores(rows, named[0][1].metric, f"{named[0][1].metric} (dev)") if rows else None


def make_score_row(
    label: str, scores: Mapping[int, float], mean: float | None, interval: tuple[float, float] | None,
    kind: str = "winner", strong: bool = False,
) -> Row:  # fmt: skip
    """Return a row of `draw_scores`: every seed, the mean and its interval. kind: of KIND_MARKS."""
    colour, shape = KIND_MARKS[kind]
    marks = [Mark(v, shape, colour, f"seed {seed}: {v:.4f}", True, 0.75) for seed, v in scores.items()]
    if mean is not None:
        marks.append(Mark(mean, "diamond", "text", f"mean {mean:.4f}"))
    lines = [Line(*interval, "text", 2)] if interval else []
    value = "-" if mean is None else f"{mean:.4f}"
    value += " ({:.4f} to {:.4f})".format(*interval) if interval else ""
    return Row(label, value, marks, lines, strong)


def draw_scores(rows: Sequence[Row], metric: str, title: str, chance: float | None = None) -> Plot:
    """Draw rows of `make_score_row` on an axis within the metric's range. chance: a bold line, left out where
    it would squeeze the rest."""
    values = [mark.value for row in rows for mark in row.marks]
    values += [end for row in rows for line in row.lines for end in (line.start, line.end)]
    near = chance is not None and bool(values) and chance > 2 * min(values) - max(values)
    if chance is not None:
        title += f"; bold line: chance {chance:.3g}" if near else f"; chance {chance:.3g}"
    scale = make_scale([*values, *([chance] if near and chance is not None else [])], title,
                       get_metric_range(metric), MIN_SPAN)  # fmt: skip
    said = "; ".join(f"{row.label} {row.value}" for row in rows)
    names = [("mean and 95 % interval" if any(row.lines for row in rows) else "mean", "text", "diamond")]
    return draw_rows(rows, scale, f"Scores by seed, and means: {said}.", chance if near else None, names)


def plot_fresh_seeds(sides: Sequence[ConfirmedConfiguration], metric: str) -> Plot | None:
    """Plot all that was confirmed, a mark for each fresh seed."""
    rows = [
        make_score_row(side.title, found.scores, mean, side.interval, side.kind, side.kind == "winner")
        for side in sides
        if (found := side.confirmation) and (mean := side.mean) is not None
    ]
    return draw_scores(rows, metric, f"{metric} (dev)") if rows else None


def plot_race(document: SearchDocument) -> Plot | None:
    """Plot every seed of every configuration that raced, the winner on top."""
    rows = [
        make_score_row(
            f"trial {row.trial}{', the winner' if row.won else ''}", row.scores, row.mean, None,
            "winner" if row.won else "finalist", row.won,
        )
        for row in document.race
        if row.scores
    ]  # fmt: skip
    return draw_scores(rows, document.metric, f"{document.metric} (selection data)") if rows else None


def plot_learning_curves(document: SearchDocument) -> Plot | None:
    """Plot the learning curve of every trial, with all seeds of the winner."""
    won = document.winner and make_configuration_key(document.winner.configuration)
    kinds: dict[str, list[TrialRecord]] = {}
    for run in document.trials:
        if run.scores:
            is_winner = run.configuration_key == won
            kinds.setdefault("winner" if is_winner else str(run.outcome), []).append(run)
    raced = [r for r in document.race_runs if r.scores and make_configuration_key(r.configuration) == won]
    if not kinds:
        return None
    shown = [run for runs in kinds.values() for run in runs] + raced
    steps, scores = zip(*(point for run in shown for point in run.scores), strict=True)
    y = make_scale(scores, document.metric, get_metric_range(document.metric), MIN_SPAN)
    canvas = Canvas(Scale(0.0, max(steps), "optimizer step"), y, 380)
    winners = kinds.pop("winner", [])
    for kind, runs in kinds.items():
        shade = max(0.25, min(0.9, 8 / len(runs)))
        dash = "4 4" if kind == "stopped" else "" if kind == "completed" else "1 4"
        canvas.add_lines([run.scores for run in runs], "muted", 1.3, dash, shade)
        canvas.legend.append((f"{kind} ({len(runs)})", "muted", "dash" if dash else "line"))
    canvas.add_lines([run.scores for run in raced], "accent", 1.5, "2 4")
    canvas.add_lines([run.scores for run in winners], "accent", 3)
    for run in [*winners, *raced]:
        said = f"trial {run.id}, seed {run.seed}, {run.outcome}: {format_configuration(run.configuration)}"
        for step, score in run.scores:
            canvas.add_mark((step, score), "dot", "accent", f"{said}; step {step}: {score:.4f}")
    if winners:
        canvas.legend.append((f"winner (trial {winners[0].number})", "accent", "line"))
    if raced:
        canvas.legend.append((f"its further seeds ({len(raced)})", "accent", "dash"))
    said = ", ".join(name for name, _, _ in canvas.legend)
    return canvas.draw_plot(f"Score on the selection data by optimizer step, a line a run: {said}.")


def plot_slot_time(shares: Mapping[str, float]) -> Plot:
    """Plot the parts of the slot time, by their names."""
    rows = [
        Row(name, format_share(share, 1), lines=[Line(0.0, share, "cool", 12)])
        for name, share in shares.items()
    ]
    said = ", ".join(f"{row.label} {row.value}" for row in rows)
    scale = make_share_scale(shares.values(), "share of the slot time")
    return draw_rows(rows, scale, f"Of the slot time: {said}.")


def make_share_scale(shares: Iterable[float], title: str) -> Scale:
    """Return a scale of shares from 0, in per cent."""
    top = max([0.1, *shares])
    step = 0.1 if top > 0.4 else 0.05
    ticks = tuple((n * step, f"{format_share(n * step)}") for n in range(0, round(top / step) + 1, 2))
    return Scale(0.0, max(top, ticks[-1][0]), title, ticks=ticks)


def plot_pareto_front(pareto: ParetoSection, name: str, metric: str) -> Plot:
    """Plot the score over one other objective, the front marked."""
    factor = 2**30 if name == "memory" else 1
    groups = [
        [
            (row.trial, x / factor, y)
            for row in rows
            if (x := row.values[name]) is not None and (y := row.values["score"]) is not None
        ]
        for rows in (pareto.others, pareto.front)
    ]
    known = [point for group in groups for point in group]
    costs = make_scale([cost for _, cost, _ in known], OBJECTIVE_TITLES[name], (0.0, float("inf")))
    scores = make_scale([score for *_, score in known], metric, get_metric_range(metric), MIN_SPAN)
    canvas = Canvas(costs, scores)
    for group, colour, shape in zip(groups, ("muted", "accent"), ("circle", "diamond"), strict=True):
        for trial, cost, score in group:
            label = str(trial) if colour == "accent" else ""
            title = f"trial {trial}: {score:.4f}, {cost:.4g}"
            canvas.add_mark((cost, score), shape, colour, title, label)
    canvas.legend = [("the front", "accent", "diamond"), ("others", "muted", "circle")]
    return canvas.draw_plot(f"Score over {OBJECTIVE_TITLES[name]}, the front as diamonds; see the table.")
