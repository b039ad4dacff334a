"""What the user sees: the plan, a live table on a terminal or plain lines elsewhere, the summary."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dps.tasks.task import Task
from dps.text import sanitise_text
from dps.training.result import Evaluation, Outcome
from dps.wording import format_count
from tune.console.outlook import (
    Work,
    count_phases,
    estimate_left,
    find_leading,
    format_phases,
    measure_work,
)
from tune.core.options import CommonOptions
from tune.core.run import Progress, RunPurpose
from tune.core.wording import format_clock, format_configuration
from tune.planning.plan import Plan
from tune.records.events import Watcher
from tune.records.ledger import TrialRecord

NON_TERMINAL_WIDTH = 200
RESERVED_ROWS = 10  # lines of the screen that the live table leaves
MIN_WIDTH_FOR_METRIC, MIN_WIDTH_FOR_CONFIGURATION = (
    90,
    56,
)  # columns of a screen with room for the metric's name; without room for configurations
MIN_EXPECTATION_S = 2.0  # between two estimates of what is left
MAX_HEADING = 18  # characters before the text of a line
MAX_SILENCE_S = 60.0  # of a run in the plain lines: then its step is said
COPIED = re.compile(r"^(Look|Results|Runs|Compare): |go on with: ")  # lines to be copied as they are
OUTCOME_STYLES = {Outcome.RUNNING: "cyan", Outcome.COMPLETED: "green", Outcome.STOPPED: "yellow"}
FAILURE_STYLE, WARNING_STYLE, LEADER_STYLE, LATER_STYLE = "red", "yellow", "bold", "dim"


def make_console() -> Console:
    """Return standard output as a console; lines are long unless a terminal shows them."""
    dumb = os.environ.get("TERM", "dumb").lower() in ("", "dumb", "unknown")  # cannot move the cursor
    console = Console(highlight=False, force_terminal=sys.stdout.isatty() and not dumb)
    if not console.is_terminal:
        console.width = NON_TERMINAL_WIDTH
    return console


@contextmanager
def show_waiting(options: CommonOptions, what: str) -> Iterator[None]:
    """Say on a terminal what the user waits for, inside this context."""
    console = make_console()
    if options.quiet or options.json or not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


class ProgressDisplay(Watcher):
    """A watcher that shows the search. Also a context manager: the live table stands inside it."""

    def __init__(
        self, plan: Plan, earlier: list[TrialRecord], runs: int | None = None, console: Console | None = None
    ) -> None:
        self.console = console or make_console()
        self.plan, self.task = plan, plan.task
        self.runs = plan.planned_runs if runs is None else runs
        self.records: dict[str, TrialRecord] = {record.id: record for record in earlier}
        self.earlier = {record.id for record in earlier if record.outcome.is_final}
        self.progress: dict[str, Progress] = {}  # of the runs under way
        self.spoke_at: dict[str, float] = {}  # when a plain line last told of a run
        self.leader = find_leading(plan, self.records.values())
        self.origins: dict[tuple[str, str], int] = {}  # trials by arm and configuration
        for record in earlier:
            self._take(record)
        self.began = time.monotonic()
        self.expectation = plan.estimate.seconds, self.began  # seconds that were left, and when
        self.live: Live | None = None
        self.name = self.task.name  # or of one of several sizes of it
        self.label = ""  # of one of several tasks, before each line on its runs

    def __enter__(self) -> ProgressDisplay:
        if self.console.is_terminal:
            self.live = Live(get_renderable=self.render, console=self.console, refresh_per_second=2)
            self.live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.__exit__(None, None, None)
            self.live = None

    def say(self, line: str, style: str = "") -> None:
        """Print a line of its own, above the live table: on a terminal broken between words, under the text
        that follows its heading."""
        line = sanitise_text(line)
        heading = re.match(r" *\S+(?: \S+)*(?: {2,}|: )|\s*", line)
        assert heading is not None
        is_broken = self.console.is_terminal and len(line) > self.console.width and not COPIED.search(line)
        if not is_broken or heading.end() > MAX_HEADING:
            self.console.print(Text(line, style), soft_wrap=not is_broken)
            return
        table = Table.grid()
        table.add_row(Text(heading[0], style), Text(line[heading.end() :], style))
        self.console.print(table)

    def note(self, line: str) -> None:
        """Print a line that is not the result."""
        self.say(line)

    def warn(self, what: str) -> None:
        """Print a warning, in a line."""
        self.say(f"warning: {self.label}{what}", WARNING_STYLE)

    def planned(self, lines: Sequence[str], output: Path) -> None:
        """Print the plan. output: the folder that the results will be in."""
        for line in lines:
            self.note(line)

    def interrupted(self, again: str) -> None:
        """Say that the search was interrupted. again: the command that goes on."""
        self.say(f"interrupted; go on with: {again}")

    def trial_started(self, record: TrialRecord) -> None:
        self._take(record)
        what = format_configuration(record.configuration)
        seed = f"  seed {record.seed}" if record.purpose == RunPurpose.SEARCH else ""
        self._plain(record, f"started: {what}{seed}")

    def trial_reported(self, record: TrialRecord, evaluation: Evaluation) -> None:
        progress = Progress(evaluation.step, evaluation.max_steps)
        self._take(record, progress)
        said = f"step {evaluation.step}/{evaluation.max_steps}: {self.task.metric} {evaluation.score:.4f}"
        self._plain(record, said)

    def trial_progressed(self, record: TrialRecord, progress: Progress) -> None:
        self._take(record, progress)
        if time.monotonic() - self.spoke_at.get(record.id, self.began) >= MAX_SILENCE_S:
            self._plain(record, f"step {progress}" if 0 < progress.share < 1 else f"{progress}")

    def trial_ended(self, record: TrialRecord) -> None:
        is_first_covered = record.covered and not any(run.covered for run in self.records.values())
        self._take(record)
        self.leader = find_leading(self.plan, self.records.values())
        score, leading = get_display_score(record, self.task), self.describe_leader()
        self._plain(
            record,
            f"{record.outcome}{', collapsed' if record.is_collapsed else ''}"
            + (f": {self.task.metric} {score:.4f}" if score is not None else "")
            + (f", {record.error}" if record.error else "")
            + (f"  ({leading})" if leading and record.purpose != RunPurpose.CONFIRMATION else ""),
        )
        if is_first_covered:
            self.note(f"{self.label}covered: {record.covered}")
        for warning in record.warnings:
            self.warn(f"{self._name(record)}: {warning}")

    def show(self, renderable: Any) -> None:
        """Print a table, or anything else that rich draws."""
        self.console.print(renderable)

    def phase_ended(self, reason: str) -> None:
        self.note(f"{self.label}{reason}")

    def plain(self, line: str) -> None:
        """Print a line, unless there is a live table."""
        if self.live is None:
            self.console.print(
                Text(f"{format_clock(time.monotonic() - self.began)}  {sanitise_text(self.label + line)}"),
                soft_wrap=True,
            )

    def _plain(self, record: TrialRecord, what: str) -> None:
        self.spoke_at[record.id] = time.monotonic()
        self.plain(f"{self._name(record)} {what}")

    def _take(self, record: TrialRecord, progress: Progress | None = None) -> None:
        """Remember how far a run is."""
        self.records[record.id] = replace(record)
        self.progress.pop(record.id, None)
        if progress is not None:
            self.progress[record.id] = progress
        if record.purpose == RunPurpose.SEARCH:
            self.origins.setdefault(_make_key(record), record.number)

    def _name(self, record: TrialRecord) -> str:
        """Name a run in a line: one that repeats a trial with what it repeats."""
        if record.purpose == RunPurpose.SEARCH:
            return f"trial {record.id}"
        origin = self._name_origin(record)
        return f"{record.id} ({origin}{', ' * bool(origin)}seed {record.seed})"

    def _name_origin(self, record: TrialRecord) -> str:
        """Name the trial whose configuration a run repeats; one without a trial is that of the published
        values, or what is given to an arm that has no trials: that has no name."""
        number = self.origins.get(_make_key(record))
        if number is None:
            return "published values" if any(arm == record.arm for arm, _ in self.origins) else ""
        return f"trial {number}"

    def _name_row(self, record: TrialRecord) -> str:
        """Name a run in the first column of the table."""
        if record.purpose == RunPurpose.SEARCH:
            return record.id
        arm = f"{record.arm}: " if record.arm else ""
        origin = self._name_origin(record).removeprefix("trial ").removesuffix(" values")
        return f"{arm}{origin}{', ' * bool(origin)}seed {record.seed}"

    def describe_leader(self) -> str:
        """Say which trial leads, by the mean of its seeds; empty before one has ended."""
        if (leader := self.leader) is None:
            return ""
        score, seeds = f"{leader.mean:.4f}", len(leader.scores)
        score = f"{score} of one seed" if seeds == 1 else f"mean {score} of {seeds} seeds"
        return f"leading: trial {leader.trial.id}, {score}"

    def measure_work(self) -> Work:
        """Return what the search has done and has left."""
        return measure_work(self.plan, self.records.values(), self.progress, self.earlier)

    def expected_left(self) -> float:
        """Return the seconds until the end, estimated anew every few seconds once runs train."""
        (left, at), now = self.expectation, time.monotonic()
        if now - at >= MIN_EXPECTATION_S:
            estimate = estimate_left([self.measure_work()], self.plan.slots, now - self.began)
            if estimate is not None:
                left, at = self.expectation = estimate, now
        return max(0.0, left - (now - at))

    @property
    def has_begun(self) -> bool:
        """Whether a run of this session has begun to load, or done a step."""
        return bool(self.progress) or any(
            run.step for run in self.records.values() if run.id not in self.earlier
        )

    def render(self) -> Group:
        """Return the live table: what runs and the newest trials, as many as fit, and how far it all is."""
        width = self.console.width
        table = Table(expand=False, pad_edge=False, box=None)
        columns = [
            "trial",
            "configuration",
            "step",
            self.task.metric if width >= MIN_WIDTH_FOR_METRIC else "score",
            "outcome",
        ]
        kept = [
            place
            for place, name in enumerate(columns)
            if width >= MIN_WIDTH_FOR_CONFIGURATION or name != "configuration"
        ]
        for place in kept:  # on a narrow screen the configuration is cut, then the name of the trial
            cut = columns[place] in ("configuration", "trial")
            table.add_column(columns[place], no_wrap=not cut, overflow="ellipsis")
        leads = self.leader and _make_key(self.leader.trial)
        for record in self._shown(max(3, self.console.size.height - RESERVED_ROWS)):
            row, style = self._build_row(record), LEADER_STYLE if _make_key(record) == leads else None
            table.add_row(*(row[place] for place in kept), style=style)
        return Group(table, *self._build_status())

    def _build_row(self, record: TrialRecord) -> tuple[Text | str, ...]:
        score, progress = get_display_score(record, self.task), self.progress.get(record.id)
        style = FAILURE_STYLE if record.outcome.is_failure else OUTCOME_STYLES.get(record.outcome, "")
        outcome = Text(str(record.outcome), style)
        if record.is_collapsed and record.outcome == Outcome.COMPLETED:
            outcome = Text("collapsed", WARNING_STYLE)
        return (
            Text(self._name_row(record), no_wrap=True, overflow="ellipsis"),
            Text(format_configuration(record.configuration), no_wrap=True, overflow="ellipsis"),
            str(progress or record.step or "-"),
            "-" if score is None else f"{score:.4f}",
            outcome,
        )

    def _shown(self, room: int) -> list[TrialRecord]:
        """Return at most so many runs: those that run go before those that are over, the newer before the
        older."""
        records = list(self.records.values())
        order = sorted(range(len(records)), key=lambda n: (records[n].outcome.is_final, -n))
        return [records[n] for n in sorted(order[:room])]

    def _build_status(self) -> list[Text]:
        """Return the lines below the table: phases, times, what leads."""
        phases = count_phases(self.plan, self.records.values())
        running = format_phases(phases)
        passed, left = time.monotonic() - self.began, math.ceil(self.expected_left())
        is_late = not left and any(phase.ended < phase.total for phase in phases)
        times = [
            f"{sum(not record.outcome.is_final for record in self.records.values())} running",
            f"elapsed {format_clock(passed)}",
            "longer than expected" if is_late else f"left about {format_clock(left)}",
        ]
        parts = [running, *map(Text, times)]
        if self.console.width < MIN_WIDTH_FOR_CONFIGURATION:
            lines = parts
        elif self.console.width < MIN_WIDTH_FOR_METRIC:
            lines = [running, Text("  ".join(times))]
        else:
            lines = [Text("  ").join(parts)]
        if "" in self.plan.arms:
            lines.append(
                Text(self.describe_leader() or "leading: not known before a trial has ended", LEADER_STYLE)
            )
        if not self.has_begun:
            what = f"starting {format_count(self.plan.slots, 'slot')}: processes, libraries, data, model"
            lines.append(Text(what, LATER_STYLE))
        return lines


def _make_key(record: TrialRecord) -> tuple[str, str]:
    return record.arm, record.configuration_key


def get_display_score(record: TrialRecord, task: Task) -> float | None:
    """Return the score that a reader wants: a confirmation's on dev, the last one of a trial."""
    if "dev" in record.final:
        return record.final["dev"][task.metric]
    return record.score if record.outcome != Outcome.DIVERGED else None
