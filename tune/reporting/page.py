"""report.html: one file that opens offline, of one search or of several side by side."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from dps.paths import write_text_file
from dps.selection import StageSchedule
from dps.text import escape_controls, redact_addresses, redact_tree, sanitise_text
from tune.core.run import RunPurpose
from tune.core.wording import format_configuration, format_number, format_objective, format_usage
from tune.records.ledger import TrialRecord
from tune.records.search_document import SEARCH_DOCUMENT_FILE, ProfileSection, SearchDocument
from tune.reporting import parameter_plots, plots
from tune.reporting.analysis import SearchAnalysis
from tune.reporting.summary import format_certainty_lines
from tune.stats.ensemble import AnswerSummary
from tune.stats.evidence import bound_rate

PAGE_SECTIONS = {
    "cost": "score against cost", "fresh": "fresh seeds", "race": "race", "pareto": "Pareto front",
    "curves": "learning curves", "parameters": "parameters", "trials": "trials", "failures": "failures",
    "stages": "stages", "time": "time", "origin": "where it comes from",
}  # fmt: skip


class PageFigures:
    """The plots of a page, by name. One that cannot be drawn is noted, and the page goes on without it."""

    def __init__(self) -> None:
        self.plots: dict[str, plots.Plot] = {}
        self.failed: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.plots or name in self.failed

    def add(self, name: str, make: Callable[[], plots.Plot | None]) -> None:
        """Add the plot that `make` returns, if any."""
        self._add(name, lambda: {} if (plot := make()) is None else {name: plot})

    def add_all(self, name: str, make: Callable[[], Sequence[plots.Plot]]) -> list[str]:
        """Add all plots that `make` returns, as name-0, name-1 and so on. Returns these names."""
        return self._add(name, lambda: {f"{name}-{place}": plot for place, plot in enumerate(make())})

    def _add(self, name: str, make: Callable[[], dict[str, plots.Plot]]) -> list[str]:
        try:
            made = make()
            json.dumps([(plot.data, plot.layout) for plot in made.values()], allow_nan=False)
        except Exception as error:  # a report is worth more than its plots
            self.failed[name] = f"{type(error).__name__}: {error}"
            return [name]
        self.plots |= made
        return [*made]


def render_search_page(document: SearchDocument, certainty: Sequence[str]) -> str:
    """Render the report of a search. certainty: how sure the confirmation is, a line each."""
    figures, escaped = PageFigures(), escape_document(document)
    analysis = SearchAnalysis(escaped)
    figures.add("cost", lambda: plots.plot_score_over_cost(escaped, analysis.compute_trajectory()))
    figures.add("fresh", lambda: plots.plot_fresh_seeds(escaped))
    figures.add("race", lambda: plots.plot_race(escaped))
    if escaped.pareto and escaped.pareto.front:
        for name in escaped.pareto.objectives:
            if name != "score":
                plot = partial(plots.plot_pareto_front, escaped.pareto, name, escaped.metric)
                figures.add(f"pareto-{name}", plot)
    figures.add("curves", lambda: plots.plot_learning_curves(escaped))
    effects = figures.add_all("effect", lambda: parameter_plots.plot_all_effects(analysis))
    surfaces = figures.add_all(
        "surface",
        lambda: [parameter_plots.plot_surface(analysis, surface) for surface in analysis.compute_surfaces()],
    )
    figures.add("importance", lambda: parameter_plots.plot_importance(analysis))
    figures.add("parallel", lambda: parameter_plots.plot_parallel_coordinates(analysis))
    figures.add("time", lambda: plots.plot_slot_time(escaped.profile) if escaped.profile else None)
    sides = plots.collect_confirmed_configurations(document)
    seeds, stages = _scores_by_seed(document, sides), _describe_stages(document)
    sign = document.direction.sign
    contents = {
        "cost": "cost" in figures, "fresh": seeds, "race": document.race, "pareto": document.pareto,
        "curves": "curves" in figures, "parameters": document.trials, "trials": document.trials,
        "stages": stages,
    }  # fmt: skip
    absent = {name for name, content in contents.items() if not content}
    return render_template(
        "search.html.j2",
        figures,
        document=document,
        sure=certainty,
        sections=[(f"{name}-section", text) for name, text in PAGE_SECTIONS.items() if name not in absent],
        trials=sorted(document.trials, key=lambda run: math.inf if run.score is None else -sign * run.score),
        sides=sides,
        seeds=seeds,
        answers=_describe_answers(sides),
        collapsed=_count_collapsed(document),
        shown=format_objective,
        effects=effects,
        surfaces=surfaces,
        why="" if "importance" in figures else analysis.importances[1],
        failures=_failures_by_kind(document),
        stages=stages,
        before=_describe_start(document.profile),
        phases=[(name, runs) for name, runs in _runs_by_phase(document).items() if runs],
        versions=", ".join(f"{name} {version}" for name, version in document.provenance.packages.items()),
        command=shlex.join(document.provenance.command),
    )


def render_overview_page(named: Sequence[tuple[str, SearchDocument]]) -> str:
    """Render one page of several searches, each with its label: a table, and their scores against cost."""
    drawing, groups, captions = PageFigures(), dict[tuple[str, ...], list[tuple[str, SearchDocument]]](), []
    for label, document in named:
        group = (document.task, document.metric, document.direction, document.data.fingerprint)
        groups.setdefault(group, []).append((label, document))
    for place, (key, members) in enumerate(groups.items()):
        name = f"cost-{place}"
        drawing.add(name, partial(_plot_group, members))
        captions.append((name, f"{key[0]}, {key[1]}, data {key[3][:8]}"))
    return render_template("searches.html.j2", drawing, rows=named, groups=captions)


def _plot_group(named: Sequence[tuple[str, SearchDocument]]) -> plots.Plot | None:
    escaped = [(escape(sanitise_text(label)), escape_document(document)) for label, document in named]
    rows = [(label, document, SearchAnalysis(document).compute_trajectory()) for label, document in escaped]
    return plots.plot_searches_over_cost(rows) if any(course for _, _, course in rows) else None


def escape_document(document: SearchDocument) -> SearchDocument:
    """Return the document with every text in it escaped. Secrets of this environment stay to be struck out
    where text is shown: they may be ordinary words, such as the name of a method."""
    return SearchDocument.model_validate(escape_texts(redact_addresses(document.to_json())))


def escape_texts(node: Any) -> Any:
    """Escape every text in dicts, lists and values, since plotly.js reads some HTML in texts."""
    if isinstance(node, str):
        return escape(escape_controls(node))
    if isinstance(node, dict):
        return {escape_texts(key): escape_texts(value) for key, value in node.items()}
    return [escape_texts(value) for value in node] if isinstance(node, (list, tuple)) else node


def load_plotly_source() -> str:
    """Return the whole of plotly.js."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def render_template(template: str, drawing: PageFigures, **values: Any) -> str:
    """Render a page of `templates` with its plots and plotly.js in it."""
    import jinja2
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=lambda value: sanitise_text(value) if type(value) is str else value,
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
        brief=format_configuration,
        bill=format_usage,
        figures=htmlsafe_json_dumps(figures, allow_nan=False),
        library=Markup(load_plotly_source() if figures else ""),
    )


def _runs_by_phase(document: SearchDocument) -> dict[str, list[TrialRecord]]:
    return {
        "exploration": document.trials,
        "race": document.race_runs,
        "confirmation": document.confirmation_runs,
        **{f"baseline {each.name}": [*each.trials, *each.runs] for each in document.baselines},
        **{f"trial {finalist.trial}, confirmed": finalist.runs for finalist in document.finalists},
    }


def _failures_by_kind(document: SearchDocument) -> list[tuple[str, list[TrialRecord]]]:
    """Return (kind, runs) of those that failed, the most frequent kind first."""
    kinds: dict[str, list[TrialRecord]] = {}
    for phase, runs in _runs_by_phase(document).items():
        for run in runs:
            if run.outcome.is_failure:
                of_search = run.purpose == RunPurpose.SEARCH
                name = f"trial {run.id}" if of_search else f"{phase}, seed {run.seed}"
                kinds.setdefault(str(run.outcome), []).append(replace(run, id=name))
    return sorted(kinds.items(), key=lambda pair: -len(pair[1]))


def _describe_stages(document: SearchDocument) -> list[str]:
    """Say how a DPS winner alternated, and which share of the weights it selected."""
    configuration = document.winner.configuration if document.winner else {}
    ratio, share = configuration.get("update_ratio"), configuration.get("selection_ratio")
    if ratio is None or share is None:
        return []
    steps = max((run.step for run in document.confirmation_runs), default=0) or document.plan.confirm_steps
    interval = StageSchedule(steps, ratio).interval
    lines = [
        f"{configuration['method']} alternates every {interval} of {steps:,} steps: Stage I gathers, "
        f"Stage II updates the share of {share:.3g} of each weight matrix that is selected."
    ]
    kept = [run.selected_share for run in document.confirmation_runs if run.selected_share is not None]
    if kept:
        ends = " to ".join(dict.fromkeys(f"{share:.4f}" for share in (min(kept), max(kept))))
        lines.append(f"Selected in the confirmations: {ends} of all covered weights.")
    return [*lines, f"Covered: {document.covered}."] if document.covered else lines


def _describe_start(profile: ProfileSection | None) -> str:
    if profile is None:
        return ""
    before = profile.before_first_step
    return (
        f"{sum(before.values()):.1f} s: {before['plan_and_cluster']:.1f} s for plan and cluster, "
        f"{before['slots']:.1f} s for slots (worker group, model, tokens)"
    )


def _scores_by_seed(
    document: SearchDocument, sides: Sequence[plots.ConfirmedConfiguration]
) -> list[tuple[int, list[str]]]:
    """Return (seed, how the run of each configuration ended with it) for each fresh seed."""
    columns = []
    for side in sides:
        scores = side.confirmation.scores if side.confirmation else {}
        ends = {seed: f"{score:.4f}" for seed, score in scores.items()}
        columns.append(ends | {run.seed: _describe_end(run, document.metric) for run in side.runs})
    return [(seed, [ends.get(seed, "-") for ends in columns]) for seed in sorted(set().union(*columns))]


def _describe_answers(sides: Sequence[plots.ConfirmedConfiguration]) -> list[tuple[str, list[str]]]:
    """Return (what, of each configuration) for what is known of the answers of their runs."""

    def describe(answers: AnswerSummary | None) -> dict[str, str]:
        if answers is None:
            return {}
        together = answers.ensemble
        figures = {"log loss": answers.log_loss, "calibration error (ECE)": answers.calibration_error}
        said = {name: format_number(value, ".4f") for name, value in figures.items()}
        bound = bound_rate(answers.collapsed, answers.runs)
        said["collapsed"] = f"{answers.collapsed} of {answers.runs} (up to {bound:.0%})"
        if together is not None:
            said["ensemble of the seeds"] = f"{together.score:.4f}"
            low, high = together.interval or (None, None)
            said["ensemble: 95 % interval"] = f"{low:.4f} to {high:.4f}" if together.interval else "-"
            said["ensemble: log loss"] = format_number(together.log_loss, ".4f")
            said["ensemble: calibration error"] = format_number(together.calibration_error, ".4f")
        return said

    columns = [describe(side.answers) for side in sides]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, [column.get(name, "-") for column in columns]) for name in names]
    return [(name, cells) for name, cells in rows if {*cells} != {"-"}]


def _count_collapsed(document: SearchDocument) -> tuple[int, int]:
    """Return how many runs gave one answer to all examples, and of how many it is known."""
    known = [
        run.is_collapsed
        for runs in _runs_by_phase(document).values()
        for run in runs
        if run.outcome.is_usable and run.is_collapsed is not None
    ]
    return sum(known), len(known)


def _describe_end(run: TrialRecord, metric: str) -> str:
    """Return the run's score on dev, or how it ended."""
    return f"{run.final['dev'][metric]:.4f}" if "dev" in run.final else str(run.outcome)


def write_search_results(document: SearchDocument, output: Path) -> None:
    """Write search.json, then report.html, each in one piece."""
    content = redact_addresses(document.to_json())
    content["provenance"] = redact_tree(content["provenance"])  # it is only shown
    write_text_file(output / SEARCH_DOCUMENT_FILE, json.dumps(content, indent=2, allow_nan=False))
    write_text_file(output / "report.html", render_search_page(document, format_certainty_lines(document)))
