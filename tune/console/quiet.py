"""The displays of --quiet and --json: the result alone, or a line of JSON for each event."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dps.text import redact_tree, sanitise_text
from dps.training.result import Evaluation
from tune.console.progress import ProgressDisplay, get_display_score
from tune.planning.plan import Plan, describe_plan
from tune.records.comparison_document import ComparisonDocument
from tune.records.ledger import TrialRecord
from tune.records.search_document import SEARCH_DOCUMENT_FILE, BaselineSection, SearchDocument
from tune.records.suite_document import SUITE_DOCUMENT_FILE, SuiteDocument


def choose_display(
    plan: Plan, earlier: Sequence[TrialRecord] = (), runs: int | None = None
) -> ProgressDisplay:
    """Return the display for the options of a plan. The plan is the result of a dry run."""
    options = plan.options
    quiet = options.quiet and not (options.dry_run or options.preflight)
    kind = JsonLinesDisplay if options.json else QuietDisplay if quiet else ProgressDisplay
    return kind(plan, [*earlier], runs)


class QuietDisplay(ProgressDisplay):
    """Lets the result through alone; warnings go to standard error."""

    def __enter__(self) -> QuietDisplay:
        return self

    def note(self, line: str) -> None:
        pass

    def plain(self, line: str) -> None:
        pass

    def warn(self, what: str) -> None:
        print(f"warning: {sanitise_text(self.label + what)}", file=sys.stderr, flush=True)

    def interrupted(self, again: str) -> None:
        print(sanitise_text(f"interrupted; go on with: {again}"), file=sys.stderr, flush=True)


class JsonLinesDisplay(QuietDisplay):
    """Prints a line of JSON for each event, and nothing else. docs/howto/logs.md has the keys."""

    def print(self, event: str, **values: Any) -> None:
        """Print an event of this task."""
        print_event(event, **{"task": self.name, **values})

    def say(self, line: str, style: str = "") -> None:
        pass

    def show(self, renderable: Any) -> None:
        pass

    def warn(self, what: str) -> None:
        self.print("warning", text=what)

    def planned(self, lines: Sequence[str], output: Path) -> None:
        self.output = output.resolve()
        expected = {"runs": self.runs, "expected_seconds": self.plan.estimate.seconds}
        self.print("plan", output=str(self.output), **describe_plan(self.plan), **expected)

    def interrupted(self, again: str) -> None:
        self.print("interrupted", resume=again)

    def trial_started(self, record: TrialRecord) -> None:
        super().trial_started(record)
        self.print("trial_started", **_describe_run(record))

    def trial_reported(self, record: TrialRecord, evaluation: Evaluation) -> None:
        super().trial_reported(record, evaluation)
        self.print(
            "trial_reported",
            trial=record.id,
            step=evaluation.step,
            max_steps=evaluation.max_steps,
            score=evaluation.score if math.isfinite(evaluation.score) else None,
        )

    def trial_ended(self, record: TrialRecord) -> None:
        score = get_display_score(record, self.task)
        self.print(
            "trial_ended",
            **_describe_run(record),
            outcome=str(record.outcome),
            step=record.step,
            score=score if score is not None and math.isfinite(score) else None,
            seconds=record.seconds,
            error=record.error,
        )
        super().trial_ended(record)

    def phase_ended(self, reason: str) -> None:
        self.print("phase_ended", text=reason)

    def search_ended(self, document: SearchDocument) -> None:
        winner = document.winner
        self.print(
            "search_ended",
            file=str(self.output / SEARCH_DOCUMENT_FILE),
            winner=winner and winner.to_json(),
            metric=document.metric,
            score=document.mean,
            interval=document.interval,
            baselines=[_describe_baseline(baseline) for baseline in document.baselines],
            sentence=document.sentence,
        )

    def comparison_ended(self, document: ComparisonDocument) -> None:
        self.print("comparison_ended", **build_comparison_event(document, self.output))

    def suite_ended(self, document: SuiteDocument, output: Path) -> None:
        print_event("suite_ended", **build_suite_event(document, output))


def build_suite_event(document: SuiteDocument, output: Path) -> dict[str, Any]:
    """Return the event that ends several tasks: the averages over them."""
    shown = {"mean", "interval", "adjusted_p", "better", "worse", "undecided", "sentence"}
    return {
        "file": str(output.resolve() / SUITE_DOCUMENT_FILE),
        "tasks": [task.task for task in document.tasks],
        "failed": document.failed,
        "averages": {
            name: each.model_dump(mode="json", include=shown) for name, each in document.averages.items()
        },
        "sentence": document.sentence,
    }


def print_event(name: str, **values: Any) -> None:
    """Print an event. Secrets are struck out."""
    line = {"event": name, "time": round(time.time(), 3), **redact_tree(values)}
    print(json.dumps(line, allow_nan=False), flush=True)


def build_comparison_event(document: ComparisonDocument, output: Path) -> dict[str, Any]:
    """Return the event that ends a comparison: its methods on the task's own evaluation set."""
    shown = {"interval", "difference"}
    return {
        "file": str(output.resolve() / "compare.json"),
        "task": document.task,
        "metric": document.metric,
        "methods": [
            {"method": name, "score": row.mean, **row.model_dump(mode="json", include=shown)}
            for name, row in document.main_result.methods.items()
        ],
        "sentences": document.sentences,
    }


def _describe_baseline(baseline: BaselineSection) -> dict[str, Any]:
    shown = {"name", "configuration", "learning_rates", "difference", "verdict"}
    return {**baseline.model_dump(mode="json", include=shown), "score": baseline.mean}


def _describe_run(record: TrialRecord) -> dict[str, Any]:
    return {
        "trial": record.id,
        "purpose": str(record.purpose),
        "configuration": record.configuration,
        "seed": record.seed,
    }
