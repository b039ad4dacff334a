"""Time-outs of jobs that hang or run too long."""

from __future__ import annotations

import time
from typing import Any

import ray

from dps.training.result import Outcome, RunResult
from tune.core.run import Job, RunReport
from tune.execution.mailbox import Heartbeat

FIRST_STEP_FACTOR = 3  # the first step, with loading, may take this many times as long
WATCHDOG_INTERVAL_S = 5.0
WORKER_ANSWER_TIMEOUT_S = 5.0
MAILBOX_ANSWER_TIMEOUT_S = 5.0


class Watchdog:
    """Checks a slot's heartbeat. step_timeout_s: allowed per step; trial_timeout_s: per run, None: no limit.

    A job without live workers is not judged: Ray Train restarts the group, if it has to wait for a node.
    """

    def __init__(self, mailbox: Any, slot: str, step_timeout_s: float, trial_timeout_s: float | None) -> None:
        self.mailbox, self.slot = mailbox, slot
        self.step_timeout_s, self.trial_timeout_s = step_timeout_s, trial_timeout_s
        shortest = min(step_timeout_s, trial_timeout_s or step_timeout_s)
        self.interval_s = min(WATCHDOG_INTERVAL_S, shortest / 4)
        self.last_checked = time.monotonic()
        self.unanswered_since: float | None = None

    def check_job(self, job: Job) -> None:
        """Report the job as timed out if it is; kill hanging workers, whose group then restarts by itself.

        Raises TimeoutError where the mailbox has not answered for as long as a step may take.
        """
        if time.monotonic() - self.last_checked < self.interval_s:
            return
        self.last_checked = time.monotonic()
        heartbeat = self._ask_mailbox()
        if heartbeat is None:
            return
        limit, silent = self.trial_timeout_s, heartbeat.silent_seconds
        if limit is not None and (heartbeat.running_seconds or 0.0) > limit:
            self._report_timeout(job, heartbeat, f"it took more than {limit:g} s (--trial-timeout)")
        elif silent > self._get_allowed_silence(heartbeat) and _are_alive(
            workers := [ray.cloudpickle.loads(handle) for handle in heartbeat.worker_handles]
        ):
            waited_for = "step" if heartbeat.has_stepped else "first step"
            self._report_timeout(job, heartbeat, f"no {waited_for} for {silent:.0f} s (--step-timeout)")
            for worker in workers:
                ray.kill(worker)

    def _ask_mailbox(self) -> Heartbeat | None:
        """Return the heartbeat, or None where the mailbox does not answer now."""
        asked_at, answer = time.monotonic(), self.mailbox.get_heartbeat.remote()
        answered, _ = ray.wait([answer], timeout=MAILBOX_ANSWER_TIMEOUT_S)
        if answered:
            self.unanswered_since = None
            heartbeat: Heartbeat = ray.get(answer)
            return heartbeat
        self.unanswered_since = self.unanswered_since or asked_at
        silent = time.monotonic() - self.unanswered_since
        if silent > self.step_timeout_s:
            raise TimeoutError(f"no answer from the slot's mailbox for {silent:.0f} s (--step-timeout)")
        return None

    def _get_allowed_silence(self, heartbeat: Heartbeat) -> float:
        return self.step_timeout_s * (1 if heartbeat.has_stepped else FIRST_STEP_FACTOR)

    def _report_timeout(self, job: Job, heartbeat: Heartbeat, reason: str) -> None:
        """Report a time-out, unless no group has taken the job yet: an earlier job hung then."""
        seconds = heartbeat.running_seconds
        if seconds is None:
            return
        result = RunResult(
            outcome=Outcome.TIMED_OUT,
            seconds=seconds,
            slot=self.slot,
            began=time.time() - seconds,
            error=reason,
        )
        ray.get(self.mailbox.put_report.remote(RunReport(job.id, result)), timeout=self.step_timeout_s)


def _are_alive(workers: list[Any]) -> bool:
    """Return whether there are workers and none is known to be dead; a hanging one need not answer."""
    pings = [worker.__ray_ready__.remote() for worker in workers]
    if not pings:
        return False
    answered, _ = ray.wait(pings, num_returns=len(pings), timeout=WORKER_ANSWER_TIMEOUT_S)
    try:
        ray.get(answered)
    except ray.exceptions.RayActorError:
        return False
    return True
