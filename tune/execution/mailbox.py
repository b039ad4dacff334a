"""The mailbox between a trial actor and its worker group: jobs go in, reports come out.

A plain class of coroutines, run as an async Ray actor. It holds at most one job. A worker group
that was restarted asks again and gets the same job, until its final report is in. A group without a
job for a while ends; the next submit starts another.
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
    """Sign of life of the current job.

    has_stepped: since the group took it; silent_seconds: since the last sign; running_seconds: since a group
    first took it, None before; worker_handles: pickled handles of the group's registered actors.
    """

    has_stepped: bool
    silent_seconds: float
    running_seconds: float | None
    worker_handles: list[bytes]


class Mailbox:
    """Holds at most one job and its reports. Coroutines may be called from any process."""

    def __init__(self) -> None:
        freeze_imported_objects()
        self._job: Job | None = None
        self._signal: ControlSignal = "go"
        self._closed = False
        self._changed = asyncio.Condition()
        self._reports: asyncio.Queue[RunReport] = asyncio.Queue()
        self._workers: dict[int, bytes] = {}
        self._taken_at: float | None = None  # when a group first took the job
        self._last_heard, self._has_stepped = time.monotonic(), False

    async def submit(self, job: Job) -> None:
        """Submit a job; stop the current one and drop its reports."""
        async with self._changed:
            self._job, self._signal = job, "go"
            self._has_stepped, self._last_heard, self._taken_at = False, time.monotonic(), None
            self._reports.put_nowait(RunReport(job.id))  # wakes a caller that waits for the previous job
            self._reports = asyncio.Queue()
            self._changed.notify_all()

    async def retry(self, job: Job) -> None:
        """Restart the current job from its last checkpoint, with the changes of this one of the same id."""
        async with self._changed:
            if self._job is not None and self._job.id == job.id:
                self._job = job
                self._mark_taken()

    async def register_worker(self, rank: int, worker: bytes) -> None:
        """Register a worker by rank, replacing an earlier one. worker: pickled handle, as unpickling it here
        would import torch and pandas."""
        self._workers[rank] = worker

    async def record_step(self, job_id: str) -> None:
        """Record that the job made a step."""
        if self._job is not None and self._job.id == job_id:
            self._has_stepped, self._last_heard = True, time.monotonic()

    async def get_heartbeat(self) -> Heartbeat:
        """Return the heartbeat of the current job."""
        now = time.monotonic()
        running = None if self._taken_at is None else now - self._taken_at
        return Heartbeat(self._has_stepped, now - self._last_heard, running, list(self._workers.values()))

    def _mark_taken(self) -> None:
        self._has_stepped, self._last_heard = False, time.monotonic()
        self._taken_at = self._taken_at or self._last_heard

    async def send_signal(self, signal: ControlSignal) -> None:
        """Tell the current job to stop, or to write a checkpoint and stop."""
        async with self._changed:
            self._signal = signal
            self._changed.notify_all()

    async def close(self) -> None:
        """End the worker group; no more jobs follow."""
        async with self._changed:
            self._closed, self._signal = True, "stop"
            self._changed.notify_all()

    async def next_job(self, timeout_s: float) -> Job | None:
        """Wait for the job to do; return None if no more follow, or after `timeout_s` without one."""

        def is_ready() -> bool:
            return self._closed or self._job is not None

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(is_ready), timeout_s)
            except TimeoutError:
                return None
            if self._closed or self._job is None:
                return None
            self._mark_taken()
            return self._job

    async def wait_for_signal(self, job_id: str) -> ControlSignal:
        """Wait until a job must stop, by a signal or because another was submitted; return the signal."""

        def is_current() -> bool:
            return self._job is not None and self._job.id == job_id

        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self._signal != "go" or not is_current())
            return self._signal if is_current() and self._signal != "go" else "stop"

    async def put_report(self, report: RunReport) -> None:
        """Queue a report; drop it if its job was replaced. A final report clears the job."""
        if self._job is None or report.job != self._job.id:
            return
        self._last_heard = time.monotonic()
        if report.is_last:
            self._job = None
        await self._reports.put(report)

    async def next_report(self) -> RunReport:
        """Wait for the next report of the current job."""
        return await self._reports.get()


class StopSignal:
    """The search-wide stop signal: once set, every job writes a checkpoint and stops."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def set(self) -> None:
        """Set the signal."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until the signal is set."""
        await self._event.wait()
