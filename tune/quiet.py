"""What --quiet and --json leave of the terminal: the result alone, or a line of JSON an event."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dps.redact import readable, tree
from tune import terminal
from tune.job import Report
from tune.ledger import STUDIES, Record
from tune.plan import Plan


def screen(plan: Plan, earlier: Sequence[Record] = (), runs: int | None = None) -> terminal.Progress:
    """What shows a search with these options. Of a dry run the plan is the result."""
    options = plan.options
    quiet = options.quiet and not (options.dry_run or options.preflight)
    kind = JsonLines if options.json else Quiet if quiet else terminal.Progress
    return kind(plan, [*earlier], runs)


class Quiet(terminal.Progress):
    """Lets the result through alone; warnings go to standard error."""

    def __enter__(self) -> Quiet:
        return self

    def note(self, line: str) -> None:
        pass

    def plain(self, line: str) -> None:
        pass

    def warn(self, what: str) -> None:
        print(f"warning: {readable(what)}", file=sys.stderr, flush=True)

    def interrupted(self, again: str) -> None:
        print(readable(f"interrupted; go on with: {again}"), file=sys.stderr, flush=True)


class JsonLines(Quiet):
    """A line of JSON an event, and nothing else. docs/howto/logs.md has the keys."""

    def say(self, line: str) -> None:
        pass

    def show(self, renderable: Any) -> None:
        pass

    def warn(self, what: str) -> None:
        event("warning", text=what)

    def planned(self, lines: Sequence[str], output: Path) -> None:
        from tune.report import described

        self.output = output.resolve()
        expected = {"runs": self.runs, "expected_seconds": self.plan.expected.seconds}
        event("plan", output=str(self.output), **described(self.plan), **expected)

    def interrupted(self, again: str) -> None:
        event("interrupted", resume=again)

    def trial_started(self, record: Record) -> None:
        super().trial_started(record)
        event("trial_started", **_run(record))

    def trial_reported(self, record: Record, report: Report) -> None:
        super().trial_reported(record, report)
        if report.score is not None:
            score = report.score if math.isfinite(report.score) else None
            event(
                "trial_reported", trial=record.id, step=report.step, max_steps=report.max_steps, score=score
            )

    def trial_ended(self, record: Record) -> None:
        score = terminal.shown_score(record, self.task)
        event(
            "trial_ended",
            **_run(record),
            outcome=str(record.outcome),
            step=record.step,
            score=score if score is not None and math.isfinite(score) else None,
            seconds=record.seconds,
            error=record.error,
        )
        super().trial_ended(record)

    def phase_ended(self, why: str) -> None:
        event("phase_ended", text=why)

    def search_ended(self, document: dict[str, Any]) -> None:
        confirmation = document["confirmation"] or {}
        event(
            "search_ended",
            file=str(self.output / "search.json"),
            winner=document["winner"],
            metric=document["metric"],
            score=confirmation.get("mean"),
            interval=confirmation.get("interval"),
            sentence=document["sentence"],
        )

    def comparison_ended(self, document: dict[str, Any]) -> None:
        event("comparison_ended", **compared(document, self.output))


def event(name: str, **values: Any) -> None:
    """Print an event. Secrets are struck out."""
    line = {"event": name, "time": round(time.time(), 3), **tree(values)}
    print(json.dumps(line, allow_nan=False), flush=True)


def compared(document: dict[str, Any], output: Path) -> dict[str, Any]:
    """What is said of a comparison at its end: the methods on the task's own evaluation set."""
    rows = document["results"][document["evaluation_sets"][0]]["methods"]
    return {
        "file": str(output.resolve() / "compare.json"),
        "task": document["task"],
        "metric": document["metric"],
        "methods": [
            {"method": name, "score": row["mean"], **{key: row[key] for key in ("interval", "difference")}}
            for name, row in rows.items()
        ],
        "sentences": document["sentences"],
    }


def _run(record: Record) -> dict[str, Any]:
    return {
        "trial": record.id,
        "purpose": STUDIES[record.purpose],
        "configuration": record.configuration,
        "seed": record.seed,
    }
