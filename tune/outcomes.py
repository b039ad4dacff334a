"""How a trial can end. Study, schedulers, MLflow and search.json all see the same word."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The end of a trial; RUNNING and SUSPENDED are not ends, a resume goes on with those."""

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
        """Whether the trial is over."""
        return self not in (Outcome.RUNNING, Outcome.SUSPENDED)

    @property
    def is_failure(self) -> bool:
        """Whether the trial ended without a usable score."""
        return self.is_final and self not in (Outcome.COMPLETED, Outcome.STOPPED)
