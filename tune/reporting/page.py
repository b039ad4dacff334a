"""report.html: one file that opens offline, of one search or of several side by side."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from dps.paths import write_text_file
from dps.text import redact_addresses, redact_tree, sanitise_text
from dps.wording import format_share
from tune.core.wording import (
    describe_generated_data,
    format_clock,
    format_configuration,
    format_difference,
    format_objective,
    format_usage,
)
from tune.records.search_document import SEARCH_DOCUMENT_FILE, SearchDocument
from tune.reporting.figures import parameter_plots, plots
from tune.reporting.figures.analysis import SearchAnalysis
from tune.reporting.figures.canvas import Plot
from tune.reporting.figures.confirmed import collect_confirmed_configurations
from tune.reporting.figures.standings import rank_configurations
from tune.reporting.page_content import (
    count_collapsed,
    describe_answers,
    describe_stages,
    describe_standing,
    describe_start,
    group_failures_by_kind,
    group_runs_by_phase,
    tabulate_scores_by_seed,
)
from tune.reporting.profile import TIME_PART_NAMES
from tune.reporting.summary import format_certainty_lines, list_verdict_lines

MAX_STANDINGS = 8  # rows of the leaderboard


class PageFigures:
    """The plots of a page, by name. One that cannot be drawn is noted, and the page goes on without it."""

    def __init__(self) -> None:
        self.plots: dict[str, Plot] = {}
        self.failed: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.plots or name in self.failed

    def add(self, name: str, make: Callable[[], Plot | None]) -> None:
        """Add the plot that `make` returns, if any."""
        self._add(name, lambda: {} if (plot := make()) is None else {name: plot})

    def add_all(self, name: str, make: Callable[[], Sequence[Plot]]) -> list[str]:
        """Add all plots that `make` returns, as name-0, name-1 and so on. Returns these names."""
        return self._add(name, lambda: {f"{name}-{place}": plot for place, plot in enumerate(make())})

    def _add(self, name: str, make: Callable[[], dict[str, Plot]]) -> list[str]:
        try:
            made = make()
        except Exception as error:  # a report is worth more than its plots
            self.failed[name] = f"{type(error).__name__}: {error}"
            return [name]
        self.plots |= made
        return [*made]


def render_search_page(document: SearchDocument, certainty: Sequence[str]) -> str:
    """Render the report of a search. certainty: how sure the confirmation is, a line each."""
    figures, analysis = PageFigures(), SearchAnalysis(document)
    sides, standings = collect_confirmed_configurations(document), rank_configurations(analysis)
    sign, profile = document.direction.sign, document.profile
    figures.add("differences", lambda: plots.plot_differences(sides, sign))
    figures.add("luck", lambda: plots.plot_luck(standings, document.metric, sign))
    figures.add("cost", lambda: plots.plot_score_over_cost(document, analysis.compute_trajectory()))
    figures.add("fresh", lambda: plots.plot_fresh_seeds(sides, document.metric))
    figures.add("race", lambda: plots.plot_race(document))
    if (pareto := document.pareto) and pareto.front:
        for name in pareto.objectives:
            if name != "score":
                figures.add(f"pareto-{name}", partial(plots.plot_pareto_front, pareto, name, document.metric))
    figures.add("curves", lambda: plots.plot_learning_curves(document))
    effects = figures.add_all("effect", lambda: parameter_plots.plot_all_effects(analysis))
    surfaces = figures.add_all("surface", lambda: parameter_plots.plot_all_surfaces(analysis))
    figures.add("importance", lambda: parameter_plots.plot_importance(analysis))
    figures.add("parallel", lambda: parameter_plots.plot_parallel_coordinates(analysis))
    if profile:
        shares = {TIME_PART_NAMES.get(part, part): share for part, share in profile.shares.items()}
        figures.add("time", lambda: plots.plot_slot_time(shares))
    failures = group_failures_by_kind(document)
    return render_template(
        "search.html.j2",
        figures,
        document=document,
        verdict=[format_prose(line) for line in list_verdict_lines(document)],
        sure=certainty,
        generated=describe_generated_data(document.data.source, document.task),
        standings=standings,
        shown_standings=MAX_STANDINGS,
        note_of=describe_standing,
        trials=sorted(document.trials, key=lambda run: math.inf if run.score is None else -sign * run.score),
        sides=sides,
        seeds=tabulate_scores_by_seed(document, sides),
        answers=describe_answers(sides),
        collapsed=count_collapsed(document),
        shown=format_objective,
        effects=effects,
        surfaces=surfaces,
        why="" if "importance" in figures else analysis.importances[1],
        failures=failures,
        failed_runs=sum(len(runs) for _, runs in failures),
        stages=describe_stages(document),
        before=describe_start(profile),
        phases=[(name, runs) for name, runs in group_runs_by_phase(document).items() if runs],
        versions=", ".join(f"{name} {version}" for name, version in document.provenance.packages.items()),
        command=shlex.join(document.provenance.command),
    )


def format_prose(text: str) -> str:
    """Return a text in which the parts of configurations, two blanks apart, are so by commas."""
    return text.replace("  ", ", ")


def render_overview_page(named: Sequence[tuple[str, SearchDocument]]) -> str:
    """Render one page of several searches, each with its label: verdicts, what they confirmed, their scores
    against cost, a table."""
    figures, groups, captions = PageFigures(), dict[tuple[str, ...], list[tuple[str, SearchDocument]]](), []
    for label, document in named:
        group = (document.task, document.metric, document.direction, document.data.fingerprint)
        groups.setdefault(group, []).append((label, document))
    for place, (key, members) in enumerate(groups.items()):
        confirmed, name = f"confirmed-{place}", f"cost-{place}"
        figures.add(confirmed, partial(plots.plot_confirmed_searches, members))
        figures.add(name, partial(_plot_group, members))
        captions.append((confirmed, name, f"{key[0]}, {key[1]}, data {key[3][:8]}"))
    return render_template(
        "searches.html.j2",
        figures,
        rows=named,
        groups=captions,
        verdict=lambda document: [format_prose(line) for line in list_verdict_lines(document)],
        generated=lambda document: describe_generated_data(document.data.source, document.task),
    )


def _plot_group(named: Sequence[tuple[str, SearchDocument]]) -> Plot | None:
    rows = [(label, document, SearchAnalysis(document).compute_trajectory()) for label, document in named]
    return plots.plot_searches_over_cost(rows) if any(len(course) > 1 for _, _, course in rows) else None


def render_template(template: str, figures: PageFigures, **values: Any) -> str:
    """Render a page of `templates`, in the style that all share (`page.html.j2`, `macros.html.j2`), with its
    plots: `drawn(NAME)` puts one in. Texts are escaped; the page has no script and loads nothing."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=lambda value: sanitise_text(value) if type(value) is str else value,
    )
    environment.filters["prose"] = _keep_options_whole
    page = environment.get_template(template).render(
        **values,
        plots=figures.plots,
        failed=figures.failed,
        brief=lambda configuration: format_prose(format_configuration(configuration)),
        bill=format_usage,
        clock=format_clock,
        difference=format_difference,
        percent=format_share,
    )
    return re.sub(r"(?<=\d) %", "\u00a0%", page)  # no line ends before the sign


def _keep_options_whole(text: str) -> Markup:
    """Escape a text, so that no line of it ends within the name of an option."""
    escaped = str(escape(sanitise_text(text)))
    return Markup(re.sub(r"--[a-z][a-z-]*", r'<span class="option">\g<0></span>', escaped))


def write_search_results(document: SearchDocument, output: Path) -> None:
    """Write search.json, then report.html, each in one piece."""
    content = redact_addresses(document.to_json())
    content["provenance"] = redact_tree(content["provenance"])  # it is only shown
    write_text_file(output / SEARCH_DOCUMENT_FILE, json.dumps(content, indent=2, allow_nan=False))
    write_text_file(output / "report.html", render_search_page(document, format_certainty_lines(document)))
