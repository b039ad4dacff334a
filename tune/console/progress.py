"""What the user sees: the plan, a live table on a terminal or plain lines elsewhere, the summary."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
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
from tune.core.direction import Direction
from tune.core.run import RunPurpose
from tune.core.wording import format_clock, format_configuration
from tune.planning.plan import Plan
from tune.records.events import Watcher
from tune.records.ledger import TrialRecord

NON_TERMINAL_WIDTH = 200
RESERVED_ROWS = 8  # lines of the screen that the live table leaves
MIN_WIDTH_FOR_METRIC, MIN_WIDTH_FOR_CONFIGURATION = (
    90,
    56,
)  # columns of a screen with room for the metric's name; without room for configurations


def make_console() -> Console:
    """Return standard output as a console; lines are long unless a terminal shows them."""
    dumb = os.environ.get("TERM", "dumb").lower() in ("", "dumb", "unknown")  # cannot move the cursor
    console = Console(highlight=False, force_terminal=sys.stdout.isatty() and not dumb)
    if not console.is_terminal:
        console.width = NON_TERMINAL_WIDTH
    return console


class ProgressDisplay(Watcher):
    """A watcher that shows the search. Also a context manager: the live table stands inside it."""

    def __init__(
        self, plan: Plan, earlier: list[TrialRecord], runs: int | None = None, console: Console | None = None
    ) -> None:
        self.console = console or make_console()
        self.plan, self.task = plan, plan.task
        self.runs = plan.planned_runs if runs is None else runs
        self.records: dict[str, TrialRecord] = {record.id: record for record in earlier}
        self.earlier = sum(record.outcome.is_final for record in earlier)
        self.elapsed: dict[str, float] = {}
        self.began = time.monotonic()
        self.live: Live | None = None
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

    def say(self, line: str) -> None:
        """Print a line of its own, above the live table."""
        self.console.print(Text(sanitise_text(line)), soft_wrap=True)

    def note(self, line: str) -> None:
        """Print a line that is not the result."""
        self.say(line)

    def warn(self, what: str) -> None:
        """Print a warning, in a line."""
        self.say(f"warning: {self.label}{what}")

    def planned(self, lines: Sequence[str], output: Path) -> None:
        """Print the plan. output: the folder that the results will be in."""
        for line in lines:
            self.note(line)

    def interrupted(self, again: str) -> None:
        """Say that the search was interrupted. again: the command that goes on."""
        self.say(f"interrupted; go on with: {again}")

    def trial_started(self, record: TrialRecord) -> None:
        self.records[record.id] = replace(record)
        self.plain(
            f"trial {record.id} started: {format_configuration(record.configuration)}  seed {record.seed}"
        )

    def trial_reported(self, record: TrialRecord, evaluation: Evaluation) -> None:
        self.records[record.id] = replace(record)
        progress = f"step {evaluation.step}/{evaluation.max_steps}"
        self.plain(f"trial {record.id} {progress}: {self.task.metric} {evaluation.score:.4f}")

    def trial_ended(self, record: TrialRecord) -> None:
        others = [other for other in self.records.values() if other.id != record.id]
        self.records[record.id] = replace(record)
        score = get_display_score(record, self.task)
        self.plain(
            f"trial {record.id} {record.outcome}{', collapsed' if record.is_collapsed else ''}"
            + (f": {self.task.metric} {score:.4f}" if score is not None else "")
            + (f", {record.error}" if record.error else "")
            + (self.best_now(record.arm) if record.purpose == RunPurpose.SEARCH else "")
        )
        if record.covered and not any(r.covered for r in others):
            self.note(f"{self.label}covered: {record.covered}")
        for warning in record.warnings:
            self.warn(f"trial {record.id}: {warning}")

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

    def best(self, arm: str = "") -> TrialRecord | None:
        """Return the trial of the search (or of an arm) with the best last score so far."""
        trials = [r for r in self.records.values() if r.purpose == RunPurpose.SEARCH and r.arm == arm]
        scored = [trial for trial in trials if trial.score is not None]
        sign = Direction(self.task.direction).sign
        return max(scored, key=lambda r: sign * (r.score or 0.0), default=None)

    def best_now(self, arm: str = "") -> str:
        """Return the best trial so far, to append to a line."""
        best = self.best(arm)
        return f"  (best now {best.score:.4f}, trial {best.id})" if best and best.score is not None else ""

    @property
    def total(self) -> int:
        """Return how many runs there will be, with those of a race that are known by now."""
        return self.runs + sum(record.purpose == RunPurpose.RACE for record in self.records.values())

    def expected_left(self) -> float:
        """Return the seconds until the end: the estimate, scaled by how this search has gone so far."""
        passed = time.monotonic() - self.began
        ended = sum(r.outcome.is_final for r in self.records.values())
        ended_now = ended - self.earlier  # in this session, which has taken the time
        if ended_now < self.plan.slots:
            return max(0.0, self.plan.estimate.seconds - passed)
        return passed / ended_now * (self.total - ended)

    def render(self) -> Group:
        """Return the live table: what runs and the newest trials, as many as fit, and a line on the whole."""
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
        best = self.best()
        for record in self._shown(max(3, self.console.size.height - RESERVED_ROWS)):
            score = get_display_score(record, self.task)
            row = (
                Text(record.id, no_wrap=True, overflow="ellipsis"),
                Text(format_configuration(record.configuration), no_wrap=True, overflow="ellipsis"),
                str(record.step or "-"),
                "-" if score is None else f"{score:.4f}",
                str(record.outcome),
            )
            style = "bold" if best is not None and record.id == best.id else None
            table.add_row(*(row[place] for place in kept), style=style)
        return Group(table, Text(self._status("  " if width >= MIN_WIDTH_FOR_METRIC else "\n")))

    def _shown(self, room: int) -> list[TrialRecord]:
        """Return at most so many runs: those that run go before those that are over, the newer before the
        older."""
        records = list(self.records.values())
        order = sorted(range(len(records)), key=lambda n: (records[n].outcome.is_final, -n))
        return [records[n] for n in sorted(order[:room])]

    def _status(self, between: str) -> str:
        ended = sum(record.outcome.is_final for record in self.records.values())
        passed, left = time.monotonic() - self.began, max(0.0, self.expected_left())
        is_late = not left and ended < self.total
        parts = [
            f"{ended}/{self.total} done, {len(self.records) - ended} running",
            (
                f"elapsed {format_clock(passed)}  "
                f"{'longer than expected' if is_late else f'left about {format_clock(left)}'}"
            ),
            self.best_now().strip(),
        ]
        return between.join(part for part in parts if part)


def get_display_score(record: TrialRecord, task: Task) -> float | None:
    """Return the score that a reader wants: a confirmation's on dev, the last one of a trial."""
    if "dev" in record.final:
        return record.final["dev"][task.metric]
    return record.score if record.outcome != Outcome.DIVERGED else None
