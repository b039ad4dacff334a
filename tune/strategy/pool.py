"""The searches of several tasks over the same slots: one task's idle slots go to the others.

The task with the most work left goes first, measured in expected seconds of a slot, and keeps its turn until
another is ahead by TURN_SHARE of a task's mean work. So all tasks come to their end together: while one waits
for a phase to end, the runs of the others fill the slots, and no task is left for the end alone. A slot that
stays with a task finds its data in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tune.core.run import Job, RunReport
from tune.records.failures import TooManyFailuresError
from tune.strategy.arms import Arms
from tune.strategy.budget import SlotCount
from tune.strategy.phases import NoJob

TURN_SHARE = 0.1


class JobSource(Protocol):
    """What hands out jobs and hears of them: the arms of one task, or a pool of several."""

    @property
    def slots(self) -> SlotCount: ...

    def next_job(self, key: str) -> Job | NoJob: ...

    def is_behind(self, key: str, job: Job, report: RunReport) -> bool: ...

    def take_report(self, key: str, report: RunReport) -> None: ...

    def end_run(self, key: str, report: RunReport | None, lost: bool = False) -> None: ...

    def raise_first_error(self) -> None: ...


@dataclass
class PooledTask:
    """The searches of one task.

    expected_s, runs: of a slot's seconds, and of runs, how many are left at the start, about. error: why the
    task was given up; its runs in other slots go to their end, and no other starts.
    """

    arms: Arms
    expected_s: float
    runs: int
    error: TooManyFailuresError | None = None
    started_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.started_before = self._count_started()

    def _count_started(self) -> int:
        return sum(search.started_count for search in self.arms.searches)

    @property
    def left_s(self) -> float:
        """The seconds of a slot that are left to be started, about."""
        started = self._count_started() - self.started_before
        return self.expected_s * max(0.0, 1 - started / max(1, self.runs))

    def next_job(self, key: str) -> Job | NoJob:
        """Return the next job of this task, or why there is none."""
        if self.error is None:
            try:
                return self.arms.next_job(key)
            except TooManyFailuresError as error:
                self.error = error
        return NoJob.YET if self.arms.owners else NoJob.EVER


class Pool:
    """Hand out the jobs of several tasks, see the head of this module."""

    def __init__(self, tasks: Sequence[PooledTask]) -> None:
        self.tasks = tasks
        self._owners: dict[str, Arms] = {}
        self._turn: PooledTask | None = None  # the task whose job was handed out last
        self._turn_s = TURN_SHARE * sum(task.expected_s for task in tasks) / len(tasks)

    @property
    def slots(self) -> SlotCount:
        """The number of runs at once, over all tasks."""
        return self.tasks[0].arms.slots

    def next_job(self, key: str) -> Job | NoJob:
        """Return the next job of the task whose turn it is, or of the next that has one."""
        if len(self._owners) >= self.slots.now:
            return NoJob.YET
        answers = []
        for task in sorted(self.tasks, key=self._rank):
            answer = task.next_job(key)
            if isinstance(answer, Job):
                self._turn, self._owners[key] = task, task.arms
                return answer
            answers.append(answer)
        return NoJob.EVER if all(answer == NoJob.EVER for answer in answers) else NoJob.YET

    def _rank(self, task: PooledTask) -> float:
        """Return what orders the tasks: the smallest is asked first."""
        return -task.left_s - (self._turn_s if task is self._turn else 0.0)

    def is_behind(self, key: str, job: Job, report: RunReport) -> bool:
        """Return whether a trial falls behind the others of its search."""
        return self._owners[key].is_behind(key, job, report)

    def take_report(self, key: str, report: RunReport) -> None:
        """Forward an evaluation to the task that owns the run."""
        self._owners[key].take_report(key, report)

    def end_run(self, key: str, report: RunReport | None, lost: bool = False) -> None:
        """Forward the end of a run to its task; an end reported twice counts once."""
        owner = self._owners.pop(key, None)
        if owner is not None:
            owner.end_run(key, report, lost)

    def raise_first_error(self) -> None:
        """Raise the first error that a task stored and that ends all of them: not that its own runs fail."""
        for task in self.tasks:
            try:
                task.arms.raise_first_error()
            except TooManyFailuresError as error:
                task.error = error
