"""Failed runs: their share, their causes, and when to give up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dps.training.result import Outcome
from dps.wording import format_count, format_share
from tune.core.common_options import MAX_FRESH_SEEDS
from tune.core.run import RunPurpose
from tune.records.ledger import TrialRecord

MAX_FAILURE_STREAK = 8
FAILURE_ADVICE = {
    Outcome.DIVERGED: "losses or scores became NaN or infinite: lower the learning rates (--space)",
    Outcome.OUT_OF_MEMORY: "memory ran out: give --oom-retry, or lower --batch-size or --max-length",
    Outcome.TIMED_OUT: "runs hang or are slow: look at the nodes, or raise --step-timeout or --trial-timeout",
    Outcome.LOST: "worker processes or nodes die: look at the machine's memory and at Ray's log",
    Outcome.FAILED: "an error in data, model or code",
}


class TooManyFailuresError(RuntimeError):
    """Raised when too many runs in a row have failed. records: these."""

    def __init__(self, message: str, records: Sequence[TrialRecord] = ()) -> None:
        super().__init__(message)
        self.records = records


class FailureStreak:
    """The current streak of failures in this session."""

    def __init__(self) -> None:
        self.records: list[TrialRecord] = []

    def add_run(self, record: TrialRecord) -> None:
        """Add a finished run. Raises TooManyFailuresError with the most likely cause."""
        self.records = [*self.records, record] if record.outcome.is_failure else []
        if len(self.records) >= MAX_FAILURE_STREAK:
            raise TooManyFailuresError(
                f"{len(self.records)} runs in a row failed; {explain_failures(self.records)}", self.records
            )


def suggest_more_runs(
    failed: Sequence[TrialRecord], records: Sequence[TrialRecord], trials: int, confirm: int
) -> list[str]:
    """Return the option with which a resume has more to run than was planned, since what failed is not run
    again; nothing where not all that was planned has begun.

    failed: the streak. records: of that arm. trials, confirm: the options so far.
    """
    purpose = failed[-1].purpose if failed else None
    begun = [run for run in records if run.purpose == purpose]
    if purpose == RunPurpose.CONFIRMATION and len({run.seed for run in begun}) >= confirm:
        return ["--confirm", str(min(2 * confirm, MAX_FRESH_SEEDS))]
    if purpose == RunPurpose.SEARCH and len(begun) >= trials:
        return ["--trials", str(2 * trials)]
    return []


def explain_failures(failed: Sequence[TrialRecord]) -> str:
    """Explain the most common failure and its remedy."""
    outcome, count = Counter(record.outcome for record in failed).most_common(1)[0]
    errors = Counter(record.error for record in failed if record.outcome == outcome and record.error)
    error_note = f" ({errors.most_common(1)[0][0]})" if errors else ""
    return f"{count} are {outcome}: {FAILURE_ADVICE[outcome]}{error_note}"


@dataclass(frozen=True)
class FailureSummary:
    """Summary of ended runs. runs: their number; failed: those without a usable score; share: of the runs;
    outcomes: counts of the failures; reason: most likely cause, None without failures."""

    runs: int
    failed: int
    share: float
    outcomes: dict[str, int]
    reason: str | None


def summarise_failures(records: Sequence[TrialRecord]) -> FailureSummary:
    """Summarise the failures among these runs."""
    ended = [record for record in records if record.outcome.is_final]
    failed = [record for record in ended if record.outcome.is_failure]
    return FailureSummary(
        runs=len(ended),
        failed=len(failed),
        share=len(failed) / len(ended) if ended else 0.0,
        outcomes=dict(Counter(str(record.outcome) for record in failed)),
        reason=explain_failures(failed) if failed else None,
    )


def format_failure_summary(summary: FailureSummary) -> str:
    """Format the summary as a sentence."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in summary.outcomes.items())
    shown = (
        f"Failures: {summary.failed} of {format_count(summary.runs, 'run')} ({format_share(summary.share)})"
    )
    return f"{shown}: {counts}. Most likely, {summary.reason}." if counts else f"{shown}."
