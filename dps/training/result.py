"""Evaluations, outcome and result of one run. Imports nothing heavy, as every process holds these."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal

ControlSignal = Literal["go", "stop", "suspend"]


class Outcome(StrEnum):
    """Outcome of a run so far; a resume continues RUNNING and SUSPENDED runs."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    STOPPED = "stopped"  # by the scheduler or a budget
    DIVERGED = "diverged"  # NaN or infinity
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    FAILED = "failed"  # with the error
    LOST = "lost"  # the worker or its node

    @property
    def is_final(self) -> bool:
        """Whether the run is over."""
        return self not in (Outcome.RUNNING, Outcome.SUSPENDED)

    @property
    def is_usable(self) -> bool:
        """Whether the run ended with a score that can be compared."""
        return self in (Outcome.COMPLETED, Outcome.STOPPED)

    @property
    def is_failure(self) -> bool:
        """Whether the run ended without a usable score."""
        return self.is_final and not self.is_usable


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of the model during a run.

    step, max_steps: optimizer steps done, and of the whole run.
    scores: by metric.
    loss: of the last training batch; None if unknown.
    seconds: since the run began, without the wait for a slot.
    curve: (step, primary metric) of this evaluation and all earlier ones, those before an interruption too.
    top_share: see `RunResult`; None if unknown.
    """

    step: int
    max_steps: int
    scores: dict[str, float]
    loss: float | None
    seconds: float
    curve: list[tuple[int, float]]
    top_share: float | None = None

    @property
    def score(self) -> float:
        """Primary metric; it may be NaN or infinite."""
        return self.curve[-1][1]


@dataclass(kw_only=True)
class RunResult:
    """Result of one run. A new field enters the ledger and search.json by itself.

    outcome: RUNNING for the result so far of a run that is not over.
    scores: (optimizer step, primary metric) of every evaluation, by step; with patience, of what the run
        would keep if it ended there: the best so far.
    seconds: duration of the run without the wait for a slot, >= 0.
    slot: worker group that ran it; empty outside a search.
    began, ended: its first step and its end, in seconds since the epoch; 0 if unknown.
    waited: seconds from the end of the group's previous run to the first step; None for the group's first.
    covered: weights that methods select among, in a line.
    selected_share: mean share of them that Stage II selected, in [0, 1]; None if no mask acted.
    passes: forward-backward passes of a batch, >= 0.
    peak_memory: bytes; None if unknown.
    micro_batch: examples that a worker had in the model at once; None for all of a step.
    parts: seconds of "start" (before the first step), "evaluation", "report" and "checkpoint"; the rest of
        `seconds` is training.
    top_share: share of the most frequent answer in its last evaluation, in (0, 1], see
        `dps.tasks.metrics.compute_top_share`; None if unknown, as in ledgers of an earlier version.
    threshold: that `FineTuneConfig.threshold` named, or the last one that it chose; None where it named none.
    alpha: share of the trained weights in those that are scored and saved, chosen or given; None where the
        method mixes none (of these, `wise-ft` does).
    kept_step: optimizer step whose weights are scored and saved, with patience; None: the last.
    final: metrics by evaluation set, of a completed run.
    predictions_sha256: of the file of its predictions; empty where it wrote none.
    warnings: a line each.
    error: reason of a failure, in a line.
    """

    outcome: Outcome = Outcome.RUNNING
    scores: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    slot: str = ""
    began: float = 0.0
    ended: float = 0.0
    waited: float | None = None
    covered: str = ""
    selected_share: float | None = None
    passes: float = 0.0
    peak_memory: int | None = None
    micro_batch: int | None = None
    parts: dict[str, float] = field(default_factory=dict)
    top_share: float | None = None
    threshold: float | None = None
    alpha: float | None = None
    kept_step: int | None = None
    final: dict[str, dict[str, float]] = field(default_factory=dict)
    predictions_sha256: str = ""
    warnings: list[str] = field(default_factory=list)
    error: str | None = None

    @property
    def score(self) -> float | None:
        """Last score; None before the first evaluation."""
        return self.scores[-1][1] if self.scores else None

    @property
    def step(self) -> int:
        """Optimizer step of the last score; 0 before the first evaluation."""
        return self.scores[-1][0] if self.scores else 0

    @property
    def is_collapsed(self) -> bool | None:
        """Whether it gave one answer to all examples of its last evaluation; None if unknown."""
        return None if self.top_share is None else self.top_share == 1

    def extract_result(self, **changes: Any) -> RunResult:
        """Copy the fields of `RunResult` only, without those that a subclass adds, with these changes."""
        return RunResult(**{each.name: getattr(self, each.name) for each in fields(RunResult)} | changes)
