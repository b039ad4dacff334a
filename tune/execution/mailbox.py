"""The mailbox between a trial actor and its worker group: jobs go in, reports come out.

A plain class of coroutines, run as an async Ray actor. It holds at most one job. A worker group
that was restarted asks again and gets the same job, until its last report is in. One that hears of no
job for a while leaves; who submits the next starts another.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from dps.training.result import ControlSignal
from tune.core.run import Job, RunReport
from tune.execution.connection import freeze_imported_objects


@dataclass(frozen=True)
class Heartbeat:
    """Sign of life of the job under way. stepping: whether it has made a step since the group took it;
    silent:
    seconds since it was last heard of; running: since the group first took it, None before; workers: pickled
    handles of the group's actors, as far as they said."""

    stepping: bool
    silent: float
    running: float | None
    workers: list[bytes]


class Mailbox:
    """See above. Every coroutine may be called from any process."""

    def __init__(self) -> None:
        freeze_imported_objects()
        self._job: Job | None = None
        self._signal: ControlSignal = "go"
        self._closed = False
        self._changed = asyncio.Condition()
        self._reports: asyncio.Queue[RunReport] = asyncio.Queue()
        self._workers: dict[int, bytes] = {}
        self._first: float | None = None  # when the job was first handed out
        self._last, self._stepping = time.monotonic(), False

    async def submit(self, job: Job) -> None:
        """Give the group this job; one under way is told to stop, its reports are dropped."""
        async with self._changed:
            self._job, self._signal = job, "go"
            self._stepping, self._last, self._first = False, time.monotonic(), None
            self._reports.put_nowait(RunReport(job.id))  # lets go who waits for the job before
            self._reports = asyncio.Queue()
            self._changed.notify_all()

    async def again(self, job: Job) -> None:
        """Have the group do the job under way from its last checkpoint, as this one of the same id says."""
        async with self._changed:
            if self._job is not None and self._job.id == job.id:
                self._job = job
                self._handed_out()

    async def join(self, rank: int, worker: bytes) -> None:
        """A worker of the group, by its rank; it takes the place of the one before. worker: its handle,
        pickled, because to hold one here would import the class, and with it torch and pandas."""
        self._workers[rank] = worker

    async def beat(self, job: str) -> None:
        """The job under way makes another step."""
        if self._job is not None and self._job.id == job:
            self._stepping, self._last = True, time.monotonic()

    async def signs(self) -> Heartbeat:
        """Return the last sign of life."""
        now = time.monotonic()
        running = None if self._first is None else now - self._first
        return Heartbeat(self._stepping, now - self._last, running, list(self._workers.values()))

    def _handed_out(self) -> None:
        self._stepping, self._last = False, time.monotonic()
        self._first = self._first or self._last

    async def signal(self, signal: ControlSignal) -> None:
        """Tell the job under way to stop, or to write a checkpoint and stop."""
        async with self._changed:
            self._signal = signal
            self._changed.notify_all()

    async def close(self) -> None:
        """No more jobs: the worker group leaves."""
        async with self._changed:
            self._closed, self._signal = True, "stop"
            self._changed.notify_all()

    async def next_job(self, patience_s: float) -> Job | None:
        """The job to do; None when there will be none, and after `patience_s` without one."""

        def ready() -> bool:
            return self._closed or self._job is not None

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(ready), patience_s)
            except TimeoutError:
                return None
            if self._closed or self._job is None:
                return None
            self._handed_out()
            return self._job

    async def signal_for(self, job: str) -> ControlSignal:
        """Answers when the job of this id shall not go on: another was submitted, or it was told so."""

        def told() -> bool:
            return self._closed or self._signal != "go" or self._job is None or self._job.id != job

        async with self._changed:
            await self._changed.wait_for(told)
            same = self._job is not None and self._job.id == job
            return self._signal if same and self._signal != "go" else "stop"

    async def report(self, report: RunReport) -> None:
        """Take a report in; one of a job that was replaced is dropped. The last one clears the job."""
        if self._job is None or report.job != self._job.id:
            return
        self._last = time.monotonic()
        if report.is_last:
            self._job = None
        await self._reports.put(report)

    async def next_report(self) -> RunReport:
        """The next report of the current job."""
        return await self._reports.get()


class StopSignal:
    """One for a search: thrown when everything under way shall write a checkpoint and stop."""

    def __init__(self) -> None:
        self._thrown = asyncio.Event()

    async def throw(self) -> None:
        """Stop the search."""
        self._thrown.set()

    async def wait(self) -> None:
        """Answers when the switch was thrown."""
        await self._thrown.wait()
