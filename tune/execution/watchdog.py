"""Who watches the job of a slot: one that hangs, or takes too long in all, has timed out."""

from __future__ import annotations

import time
from typing import Any

import ray

from dps.training.result import Outcome, RunResult
from tune.core.run import Job, RunReport
from tune.execution.mailbox import Heartbeat

FIRST_STEP_FACTOR = 3  # a first step, with all that is read before it, may take so many times as long
WATCHDOG_INTERVAL_S = 5.0
WORKER_ANSWER_TIMEOUT_S = 5.0


class Watchdog:
    """Looks at the mailbox of a slot. step_s: seconds that a step may take; trial_s: and a whole run, from
    when the group took it, None for any number.

    A job whose workers are gone is not judged: Ray Train brings a group back, if it has to wait for a node.
    """

    def __init__(self, mailbox: Any, slot: str, step_s: float, trial_s: float | None) -> None:
        self.mailbox, self.slot, self.step_s, self.trial_s = mailbox, slot, step_s, trial_s
        self.every_s = min(WATCHDOG_INTERVAL_S, step_s / 4, (trial_s or step_s) / 4)
        self.looked = time.monotonic()

    def look(self, job: Job) -> None:
        """Where the job has timed out, put that into the mailbox as its last report, and end workers that
        hang. The group then starts anew by itself."""
        if time.monotonic() - self.looked < self.every_s:
            return
        self.looked = time.monotonic()
        signs: Heartbeat = ray.get(self.mailbox.signs.remote())
        if self.trial_s is not None and (signs.running or 0.0) > self.trial_s:
            self._timed_out(job, signs, f"it took more than {self.trial_s:g} s (--trial-timeout)")
        elif signs.silent > self._patience(signs) and _are_alive(
            workers := [ray.cloudpickle.loads(worker) for worker in signs.workers]
        ):
            what = "step" if signs.stepping else "first step"
            self._timed_out(job, signs, f"no {what} for {signs.silent:.0f} s (--step-timeout)")
            for worker in workers:
                ray.kill(worker)

    def _patience(self, signs: Heartbeat) -> float:
        return self.step_s * (1 if signs.stepping else FIRST_STEP_FACTOR)

    def _timed_out(self, job: Job, signs: Heartbeat, why: str) -> None:
        """A job that no group has taken yet, because of what hung before it, is none the worse for it."""
        if signs.running is None:
            return
        began = time.time() - signs.running
        result = RunResult(
            outcome=Outcome.TIMED_OUT, seconds=signs.running, slot=self.slot, began=began, error=why
        )
        ray.get(self.mailbox.report.remote(RunReport(job.id, result)))


def _are_alive(workers: list[Any]) -> bool:
    """Whether there are workers and none of them is known to be dead; one that hangs need not answer."""
    asked = [worker.__ray_ready__.remote() for worker in workers]
    if not asked:
        return False
    answered, _ = ray.wait(asked, num_returns=len(asked), timeout=WORKER_ANSWER_TIMEOUT_S)
    try:
        ray.get(answered)
    except ray.exceptions.RayActorError:
        return False
    return True
