"""Several tasks in one view: their plans in one table, and how far each has come."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dps.wording import format_count
from tune.console.outlook import count_phases, estimate_left, format_phases
from tune.console.plan import format_plan
from tune.console.progress import ProgressDisplay
from tune.console.quiet import QuietDisplay, choose_display
from tune.core.wording import format_clock, format_usage
from tune.planning.estimate import STARTUP_S
from tune.planning.members import name_member
from tune.planning.plan import Plan

_IN_ROWS = ("task", "expected", "resumed")  # lines of a plan whose content a row has


def format_suite_plan(plans: Sequence[Plan]) -> list[str]:
    """Format the plans of several tasks: a row for each, what they share once, then what differs."""
    named = {name_member(plan): format_plan(plan) for plan in plans}
    shared = [line for line in named[name_member(plans[0])] if all(line in lines for lines in named.values())]
    width = max(map(len, named))
    kind = "tasks" if len({plan.task.name for plan in plans}) > 1 else "sizes"
    lines = [f"{kind}        {len(plans)}, which share the slots"]
    for plan in plans:
        runs = format_count(plan.planned_runs, "run")
        left = f"{plan.ended_runs} of about {runs} ended," if plan.ended_runs else f"{runs} of"
        lines.append(
            f"  {name_member(plan):<{width}}  {left} at most {format_count(plan.confirm_steps, 'step')}, "
            f"about {format_clock(plan.estimate.slot_seconds)} of a slot; {plan.task.metric}"
        )
    lines += shared
    for name, own in named.items():
        kept = [line for line in own if line not in shared and not line.startswith(_IN_ROWS)]
        lines += [f"{name}:", *(f"  {line}" for line in kept)] if kept else []
    seconds = sum(plan.estimate.slot_seconds for plan in plans)
    usage = format_usage(plans[0].slot_devices.used(seconds))
    return [*lines, f"expected     about {format_clock(estimate_suite_seconds(plans))}{usage}"]


def estimate_suite_seconds(plans: Sequence[Plan]) -> float:
    """Estimate the seconds until the end of all tasks, whose runs fill the slots together."""
    return STARTUP_S + sum(plan.estimate.slot_seconds for plan in plans) / plans[0].slots


class SuiteDisplay:
    """The displays of several tasks as one; the live table has a row for each task.

    displays: by task, those of the tasks' sessions. first: the one that says what concerns all tasks.
    """

    def __init__(self, displays: Mapping[str, ProgressDisplay]) -> None:
        self.displays = displays
        self.first = next(iter(displays.values()))
        self.began = self.first.began
        for name, display in displays.items():
            display.name, display.began = name, self.began  # one clock
        self.live: Live | None = None

    @classmethod
    def for_plans(cls, plans: Sequence[Plan]) -> SuiteDisplay:
        """Return the display of a dry run."""
        return cls({name_member(plan): choose_display(plan) for plan in plans})

    def show_plan(self, lines: Sequence[str], output: Path) -> None:
        """Print the plan of all tasks. output: the folder of all of them."""
        for name, display in self.displays.items():
            display.planned((), output / name)
        for line in lines:
            self.first.note(line)

    def __enter__(self) -> SuiteDisplay:
        for name, display in self.displays.items():
            display.label = f"{name}: "
        if self.first.console.is_terminal and not isinstance(self.first, QuietDisplay):
            console = self.first.console
            self.live = Live(get_renderable=self.render, console=console, refresh_per_second=2)
            self.live.__enter__()
        self._share_live()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.__exit__(None, None, None)
            self.live = None
        self._share_live()
        for display in self.displays.values():
            display.label = ""

    def _share_live(self) -> None:
        for display in self.displays.values():
            display.live = self.live

    def say(self, line: str) -> None:
        """Print a line that concerns all tasks."""
        self.first.say(line)

    def warn(self, what: str) -> None:
        """Print a warning that concerns all tasks."""
        self.first.warn(what)

    def render(self) -> Group:
        """Return the live table: a row for each task, and a line on the whole."""
        table = Table(expand=False, pad_edge=False, box=None)
        leading = ("leading",) if "" in self.first.plan.arms else ()  # in a comparison none
        for column in ("task", "phases", "running", *leading):
            table.add_column(column, no_wrap=column not in leading, overflow="ellipsis")
        for name, display in self.displays.items():
            records = display.records.values()
            running = sum(not record.outcome.is_final for record in records)
            row = (name, format_phases(count_phases(display.plan, records)), str(running))
            leaders = [display.describe_leader().removeprefix("leading: ") or "-"] if leading else []
            table.add_row(*row, *leaders)
        return Group(table, Text(self._status()))

    def _status(self) -> str:
        displays = self.displays.values()
        passed = time.monotonic() - self.began
        works = [display.measure_work() for display in displays]
        left = estimate_left(works, self.first.plan.slots, passed)
        if left is None:
            left = estimate_suite_seconds([each.plan for each in displays]) - passed
        is_over = all(record.outcome.is_final for each in displays for record in each.records.values())
        said = f"left about {format_clock(left)}" if left > 0 or is_over else "longer than expected"
        return f"elapsed {format_clock(passed)}  {said}"
