"""report.html: one file that opens offline, of one search or of several side by side."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from dps.redact import readable
from dps.selection import StageSchedule
from tune import effects, pareto, plots
from tune.budget import bill
from tune.insight import Insight
from tune.outcomes import Outcome
from tune.plots import Plot
from tune.terminal import brief

Found = dict[str, Any]
SECTIONS = {
    "cost": "score against cost", "fresh": "fresh seeds", "race": "race", "pareto": "Pareto front",
    "curves": "learning curves", "parameters": "parameters", "trials": "trials", "failures": "failures",
    "stages": "stages", "time": "time", "origin": "where it comes from",
}  # fmt: skip


class Drawing:
    """The plots of a page by name. What cannot be drawn is noted, and the page goes on without it."""

    def __init__(self) -> None:
        self.plots: dict[str, Plot] = {}
        self.failed: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.plots or name in self.failed

    def add(self, name: str, make: Callable[[], Plot | None]) -> None:
        """Under this name what `make` returns; nothing where that is None."""
        self._add(name, lambda: {} if (plot := make()) is None else {name: plot})

    def each(self, name: str, make: Callable[[], Sequence[Plot]]) -> list[str]:
        """All that `make` returns, as name-0, name-1 and so on; returns these names."""
        return self._add(name, lambda: {f"{name}-{place}": plot for place, plot in enumerate(make())})

    def _add(self, name: str, make: Callable[[], dict[str, Plot]]) -> list[str]:
        try:
            made = make()
            json.dumps([(plot.data, plot.layout) for plot in made.values()], allow_nan=False)
        except Exception as error:  # a report is worth more than its plots
            self.failed[name] = f"{type(error).__name__}: {error}"
            return [name]
        self.plots |= made
        return [*made]


def search(found: Found, sure: Sequence[str]) -> str:
    """The report of a search.json. sure: how sure the confirmation is, a line each."""
    drawing, said = Drawing(), plain(found)
    insight = Insight(said)
    drawing.add("cost", lambda: plots.cost(said, insight.course()))
    drawing.add("fresh", lambda: plots.fresh(said))
    drawing.add("race", lambda: plots.race(said))
    for name in said["pareto"]["objectives"] if said["pareto"] and said["pareto"]["front"] else []:
        if name != "score":
            drawing.add(f"pareto-{name}", partial(plots.pareto, said, name))
    drawing.add("curves", lambda: plots.curves(said))
    shown = drawing.each("effect", lambda: effects.all_effects(insight))
    surfaces = drawing.each("surface", lambda: [effects.surface(insight, one) for one in insight.surfaces()])

    drawing.add("importance", lambda: effects.importance(insight))
    drawing.add("parallel", lambda: effects.parallel(insight))
    drawing.add("time", lambda: plots.time(said["profile"]) if said.get("profile") else None)
    sign, stages = 1 if found["direction"] == "max" else -1, _stages(found)
    sides = plots.sides(found)
    seeds = _seeds(found, sides)
    there = {
        "cost": "cost" in drawing, "fresh": seeds, "race": found["race"], "pareto": found["pareto"],
        "curves": "curves" in drawing, "parameters": found["trials"], "trials": found["trials"],
        "stages": stages,
    }  # fmt: skip
    absent = {name for name, content in there.items() if not content}
    return _rendered(
        "search.html.j2",
        drawing,
        found=found,
        sure=sure,
        sections=[(f"{name}-section", text) for name, text in SECTIONS.items() if name not in absent],
        trials=sorted(
            found["trials"], key=lambda t: -sign * t["scores"][-1][1] if t["scores"] else float("inf")
        ),
        sides=sides,
        seeds=seeds,
        shown=pareto.shown,
        effects=shown,
        surfaces=surfaces,
        why="" if "importance" in drawing else insight.importances[1],
        failures=_failures(found),
        stages=stages,
        before=_before(found.get("profile")),
        phases=[(name, runs) for name, runs in _phases(found).items() if runs],
        versions=", ".join(f"{name} {version}" for name, version in found["provenance"]["packages"].items()),
        command=shlex.join(found["provenance"]["command"]),
    )


def searches(named: Sequence[tuple[str, Found]]) -> str:
    """One page of several searches, each with its label: a table, and their scores against cost."""
    drawing, groups, captions = Drawing(), dict[tuple[str, ...], list[tuple[str, Found]]](), []
    for label, found in named:
        group = (found["task"], found["metric"], found["direction"], found["data"]["fingerprint"])
        groups.setdefault(group, []).append((label, found))
    for place, (key, members) in enumerate(groups.items()):
        name = f"cost-{place}"
        drawing.add(name, partial(_courses, members))
        captions.append((name, f"{key[0]}, {key[1]}, data {key[3][:8]}"))
    return _rendered("searches.html.j2", drawing, rows=named, groups=captions)


def _courses(named: Sequence[tuple[str, Found]]) -> Plot | None:
    said = [(escape(readable(label)), plain(found)) for label, found in named]
    rows = [(label, found, Insight(found).course()) for label, found in said]
    return plots.courses(rows) if any(course for _, _, course in rows) else None


def plain(node: Any) -> Any:
    """Dicts, lists and values with every text in them escaped, since plotly.js reads some HTML in texts."""
    if isinstance(node, str):
        return escape(readable(node))
    if isinstance(node, dict):
        return {plain(key): plain(value) for key, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, (list, tuple)) else node


def library() -> str:
    """plotly.js, whole."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _rendered(template: str, drawing: Drawing, **values: Any) -> str:
    import jinja2
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=lambda value: readable(value) if type(value) is str else value,
    )
    figures = {name: {"data": plot.data, "layout": plot.layout} for name, plot in drawing.plots.items()}
    boxes = {
        name: {"alt": Markup(plot.alt), "height": plot.height, "width": plot.width}
        for name, plot in drawing.plots.items()
    }
    return environment.get_template(template).render(
        **values,
        plots=boxes,
        failed=drawing.failed,
        brief=brief,
        bill=bill,
        figures=htmlsafe_json_dumps(figures, allow_nan=False),
        library=Markup(library() if figures else ""),
    )


def _phases(found: Found) -> dict[str, list[Found]]:
    return {
        "exploration": found["trials"],
        "race": found.get("race_runs", []),
        "confirmation": found["confirmation_runs"],
        "baseline": found["baseline"]["runs"] if found["baseline"] else [],
        **{f"trial {one['trial']}, confirmed": one.get("runs", []) for one in found.get("finalists", [])},
    }


def _failures(found: Found) -> list[tuple[str, list[Found]]]:
    """(kind, runs) of those that failed, the most frequent kind first."""
    kinds: dict[str, list[Found]] = {}
    for phase, runs in _phases(found).items():
        for run in runs:
            if Outcome(run["outcome"]).is_failure:
                name = f"trial {run['id']}" if phase == "exploration" else f"{phase}, seed {run['seed']}"
                kinds.setdefault(run["outcome"], []).append({**run, "id": name})
    return sorted(kinds.items(), key=lambda pair: -len(pair[1]))


def _stages(found: Found) -> list[str]:
    """How a DPS winner alternated, and which share of the weights it selected."""
    configuration = (found["winner"] or {}).get("configuration", {})
    ratio, share = configuration.get("update_ratio"), configuration.get("selection_ratio")
    if ratio is None or share is None:
        return []
    steps = found["plan"]["confirm_steps"]
    interval = StageSchedule(steps, ratio).interval
    lines = [
        f"{configuration['method']} alternates every {interval} of {steps:,} steps: Stage I gathers, "
        f"Stage II updates the share of {share:.3g} of each weight matrix that is selected."
    ]
    kept = [run["selected_share"] for run in found["confirmation_runs"] if run["selected_share"] is not None]
    if kept:
        ends = " to ".join(dict.fromkeys(f"{share:.4f}" for share in (min(kept), max(kept))))
        lines.append(f"Selected in the confirmations: {ends} of all covered weights.")
    return [*lines, f"Covered: {found['covered']}."] if found.get("covered") else lines


def _before(profile: Found | None) -> str:
    if profile is None:
        return ""
    before = profile["before_first_step"]
    return (
        f"{sum(before.values()):.1f} s: {before['plan_and_cluster']:.1f} s for plan and cluster, "
        f"{before['slots']:.1f} s for slots (worker group, model, tokens)"
    )


def _seeds(found: Found, sides: Sequence[plots.Side]) -> list[tuple[int, list[str]]]:
    """(seed, how the run of each side ended with it) of each fresh seed."""
    columns = []
    for side in sides:
        scores = side.confirmation["scores"] if side.confirmation else {}
        ends = {int(seed): f"{score:.4f}" for seed, score in scores.items()}
        columns.append(ends | {run["seed"]: _end(run, found["metric"]) for run in side.runs})
    return [(seed, [ends.get(seed, "-") for ends in columns]) for seed in sorted(set().union(*columns))]


def _end(run: Found, metric: str) -> str:
    """Its score on dev, or how it ended."""
    return f"{run['final']['dev'][metric]:.4f}" if "dev" in run["final"] else str(run["outcome"])
