"""The slot: a Tune trainable with one long-lived Ray Train worker group.

Tune reuses the trial actor (`reuse_actors`): `setup` starts the group once, `reset_config` hands it
the next job within a fraction of a second. One worker and many take the same path.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import ray.tune

from dps.training.result import Outcome, RunResult
from tune.core.run import Job, RunReport
from tune.execution.connection import freeze_imported_objects
from tune.execution.mailbox import Mailbox
from tune.execution.ray_private import make_slot_trainer
from tune.execution.watchdog import FIRST_STEP_FACTOR, Watchdog

MAX_GROUP_RESTARTS = 3  # by Ray Train
MAX_GROUPS_PER_JOB = 2  # worker groups started for one job
SUSPEND_TIMEOUT_S = 7.0
SLOT_ACTOR_MEMORY_BYTES = 64 * 2**20  # requested by the actor instead of CPU, which the workers need


@dataclass(frozen=True)
class SlotConfig:
    """Configuration of a slot.

    memory_options: see `tune.core.job_config.read_memory_options`.
    stop_signal: actor that stops the search; is_local: whether Ray is the search's own, on one machine;
    step_timeout_s, trial_timeout_s: see `Watchdog`.
    """

    workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    checkpoint_every_s: float
    progress_every_s: float
    step_timeout_s: float
    trial_timeout_s: float | None
    memory_options: Mapping[str, bool]
    stop_signal: Any
    is_local: bool


class SlotTrainable(ray.tune.Trainable):
    """Runs one job after another on its worker group."""

    def setup(self, config: dict[str, Any], slot: SlotConfig) -> None:  # type: ignore[override]
        self.trainer_class = make_slot_trainer(slot.is_local)  # its imports come first
        freeze_imported_objects()
        logging.getLogger("ray").setLevel(logging.ERROR)
        self.slot, self.folder = slot, tempfile.mkdtemp(prefix="dps-slot-")
        self.mailbox: Any = ray.remote(num_cpus=0)(Mailbox).remote()
        self.watchdog = Watchdog(self.mailbox, self.trial_id, slot.step_timeout_s, slot.trial_timeout_s)
        self.stop_requested = slot.stop_signal.wait.remote()
        self.group: threading.Thread | None = None
        self.group_error: str | None = None
        self._submit_job(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Submit another job to the same group, stopping the current one."""
        self._submit_job(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next report of the job. Raises TimeoutError where the mailbox hangs; the run then goes
        on in another slot."""
        try:
            report = self._wait_for_report()
        except TimeoutError:
            ray.kill(self.mailbox)  # so that the worker group leaves
            raise
        score = report.result.score
        return {
            "done": report.is_last,
            "score": score if score is not None else float("nan"),
            "report": report,
        }

    def cleanup(self) -> None:
        """Close the worker group and free its resources; does not wait if the search is stopping."""
        closed, _ = ray.wait([self.mailbox.close.remote()], timeout=SUSPEND_TIMEOUT_S)
        if not closed:
            ray.kill(self.mailbox)
        is_stopping = bool(ray.wait([self.stop_requested], timeout=0)[0])
        if self.group is not None and not is_stopping:
            self.group.join(timeout=SUSPEND_TIMEOUT_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing: the ledger and the job's own folder hold what a resume needs."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Do nothing; see `save_checkpoint`."""

    def _submit_job(self, job: Job) -> None:
        self.job, self.remaining_groups = job, MAX_GROUPS_PER_JOB
        submitted = self.mailbox.submit.remote(job)
        if self.group is None or not self.group.is_alive():  # no need to wait for the mailbox's process
            self._start_group()
        self._wait_for_mailbox(submitted)
        self.pending_report = self.mailbox.next_report.remote()

    def _wait_for_mailbox(self, answer: Any) -> None:
        """Wait until the mailbox has answered, or the search is stopping. Raises TimeoutError after the time
        that a first step may take."""
        limit = FIRST_STEP_FACTOR * self.slot.step_timeout_s
        ready, _ = ray.wait([answer, self.stop_requested], num_returns=1, timeout=limit)
        if not ready:
            raise TimeoutError(f"no answer from the slot's mailbox for {limit:.0f} s (--step-timeout)")
        if answer in ready:
            ray.get(answer)

    def _start_group(self) -> None:
        self.remaining_groups -= 1
        self.group_error = None
        self.group = threading.Thread(target=self._run_group, daemon=True)
        self.group.start()

    def _wait_for_report(self) -> RunReport:
        while True:
            ready, _ = ray.wait([self.pending_report, self.stop_requested], num_returns=1, timeout=1.0)
            if self.pending_report in ready:
                report: RunReport = ray.get(self.pending_report)
                self.pending_report = self.mailbox.next_report.remote()
                return report
            if self.stop_requested in ready:
                ray.get(self.stop_requested)  # raises if the stop signal's actor died
                return self._suspend()
            if self.group is not None and not self.group.is_alive():
                if not self.remaining_groups:
                    reason = self.group_error or "the worker group ended"
                    return RunReport(self.job.id, RunResult(outcome=Outcome.LOST, error=reason))
                self._start_group()  # the previous group may have failed through an earlier job
            self.watchdog.check_job(self.job)

    def _suspend(self) -> RunReport:
        """Have the job write its checkpoint and wait up to SUSPEND_TIMEOUT_S."""
        self.mailbox.send_signal.remote("suspend")
        deadline = time.monotonic() + SUSPEND_TIMEOUT_S
        while (remaining := deadline - time.monotonic()) > 0:
            ready, _ = ray.wait([self.pending_report], timeout=remaining)
            if not ready:
                break
            report: RunReport = ray.get(self.pending_report)
            if report.is_last:
                return report
            self.pending_report = self.mailbox.next_report.remote()
        return RunReport(self.job.id, RunResult(outcome=Outcome.SUSPENDED))

    def _run_group(self) -> None:
        slot = self.slot
        try:
            trainer = self.trainer_class(
                _train_loop,
                train_loop_config={
                    "mailbox": self.mailbox,
                    "slot": self.trial_id,
                    "threads": slot.cpus_per_worker,
                    "checkpoint_every_s": slot.checkpoint_every_s,
                    "progress_every_s": slot.progress_every_s,
                    "memory_options": slot.memory_options,
                },
                scaling_config=ray.train.ScalingConfig(
                    num_workers=slot.workers,
                    use_gpu=slot.gpus_per_worker > 0,
                    resources_per_worker=_get_worker_resources(slot),
                ),
                run_config=ray.train.RunConfig(
                    name=f"slot-{self.trial_id}",
                    storage_path=self.folder,  # local to this node; nothing is read from it
                    # draining nodes do not count, as in Tune
                    failure_config=ray.train.FailureConfig(max_failures=MAX_GROUP_RESTARTS),
                ),
            )
            trainer.fit()
        except Exception as error:  # reported as the job's error
            self.group_error = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _train_loop(loop: dict[str, Any]) -> None:
    from tune.execution.worker import run_worker_loop

    run_worker_loop(loop)


def _get_worker_resources(slot: SlotConfig) -> dict[str, float]:
    resources: dict[str, float] = {"CPU": slot.cpus_per_worker}
    if slot.gpus_per_worker:
        resources["GPU"] = slot.gpus_per_worker
    return resources
