"""The Tune trainable: one slot is one long-lived Ray Train worker group.

Tune reuses the trial actor (`reuse_actors`): `setup` starts the group once, `reset_config` hands it
the next job within a fraction of a second. One path for one worker and for many.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
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
from tune.execution.watchdog import Watchdog

MAX_GROUP_RESTARTS = 3
MAX_GROUPS_PER_JOB = 2  # new ones, at most, that a job is given
SUSPEND_TIMEOUT_S = 7.0
SLOT_ACTOR_MEMORY_BYTES = (
    64 * 2**20
)  # bytes; the actor's own claim: no share of a core that a worker would miss


@dataclass(frozen=True)
class SlotConfig:
    """How a slot is made up. data: the fingerprint of the task's; switch: stops the search; alone: whether
    the Ray is the search's own, on one machine. step_timeout_s, trial_timeout_s: see `Watchdog`."""

    workers: int
    cpus_per_worker: int
    gpus_per_worker: float
    checkpoint_every_s: float
    data: str
    step_timeout_s: float
    trial_timeout_s: float | None
    switch: Any
    alone: bool


class SlotTrainable(ray.tune.Trainable):
    """Runs one job after another on its worker group."""

    def setup(self, config: dict[str, Any], plan: SlotConfig) -> None:  # type: ignore[override]
        self.trainer_class = make_slot_trainer(plan.alone)  # its imports come first
        freeze_imported_objects()
        logging.getLogger("ray").setLevel(logging.ERROR)
        self.plan, self.folder = plan, tempfile.mkdtemp(prefix="dps-slot-")
        self.mailbox: Any = ray.remote(num_cpus=0)(Mailbox).remote()
        self.watchdog = Watchdog(self.mailbox, self.trial_id, plan.step_timeout_s, plan.trial_timeout_s)
        self.thrown = plan.switch.wait.remote()
        self.group: threading.Thread | None = None
        self.group_error: str | None = None
        self._submit(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another job on the same group; whatever ran is stopped."""
        self._submit(new_config["job"])
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next report of the job."""
        report = self._next_report()
        score = report.result.score
        return {
            "done": report.is_last,
            "score": score if score is not None else float("nan"),
            "report": report,
        }

    def cleanup(self) -> None:
        """Let the worker group go, so that its resources come back; in a hurry, do not watch it leave."""
        ray.get(self.mailbox.close.remote())
        hurry = bool(ray.wait([self.thrown], timeout=0)[0])
        if self.group is not None and not hurry:
            self.group.join(timeout=SUSPEND_TIMEOUT_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the ledger and the job's own folder hold what a resume needs."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, as above."""

    def _submit(self, job: Job) -> None:
        self.job, self.groups_left = job, MAX_GROUPS_PER_JOB
        submitted = self.mailbox.submit.remote(job)
        if self.group is None or not self.group.is_alive():  # it need not wait for the mailbox's process
            self._start_group()
        ray.get(submitted)
        self.report = self.mailbox.next_report.remote()

    def _start_group(self) -> None:
        self.groups_left -= 1
        self.group_error = None
        self.group = threading.Thread(target=self._host_group, daemon=True)
        self.group.start()

    def _next_report(self) -> RunReport:
        while True:
            ready, _ = ray.wait([self.report, self.thrown], num_returns=1, timeout=1.0)
            if self.report in ready:
                report: RunReport = ray.get(self.report)
                self.report = self.mailbox.next_report.remote()
                return report
            if self.thrown in ready:
                ray.get(self.thrown)  # raises where the switch is lost, which nobody has thrown then
                return self._suspend()
            if self.group is not None and not self.group.is_alive():
                if not self.groups_left:
                    why = self.group_error or "the worker group ended"
                    return RunReport(self.job.id, RunResult(outcome=Outcome.LOST, error=why))
                self._start_group()  # the failures of the one before were not all of this job
            self.watchdog.look(self.job)

    def _suspend(self) -> RunReport:
        """Have the job write its checkpoint; give up waiting for it in time."""
        self.mailbox.signal.remote("suspend")
        deadline = time.monotonic() + SUSPEND_TIMEOUT_S
        while (left := deadline - time.monotonic()) > 0:
            ready, _ = ray.wait([self.report], timeout=left)
            if not ready:
                break
            report: RunReport = ray.get(self.report)
            if report.is_last:
                return report
            self.report = self.mailbox.next_report.remote()
        return RunReport(self.job.id, RunResult(outcome=Outcome.SUSPENDED))

    def _host_group(self) -> None:
        plan = self.plan
        try:
            trainer = self.trainer_class(
                _train_loop,
                train_loop_config={
                    "mailbox": self.mailbox,
                    "slot": self.trial_id,
                    "threads": plan.cpus_per_worker,
                    "checkpoint_every_s": plan.checkpoint_every_s,
                    "data": plan.data,
                },
                scaling_config=ray.train.ScalingConfig(
                    num_workers=plan.workers,
                    use_gpu=plan.gpus_per_worker > 0,
                    resources_per_worker=_get_worker_resources(plan),
                ),
                run_config=ray.train.RunConfig(
                    name=f"slot-{self.trial_id}",
                    storage_path=self.folder,  # of this node alone: nothing is read from it
                    # a node that is taken away with notice costs none of these, as in Tune
                    failure_config=ray.train.FailureConfig(max_failures=MAX_GROUP_RESTARTS),
                ),
            )
            trainer.fit()
        except Exception as error:  # whatever it is, the job under way hears of it
            self.group_error = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _train_loop(loop: dict[str, Any]) -> None:
    from tune.execution.worker import run_worker_loop

    run_worker_loop(loop)


def _get_worker_resources(plan: SlotConfig) -> dict[str, float]:
    resources: dict[str, float] = {"CPU": plan.cpus_per_worker}
    if plan.gpus_per_worker:
        resources["GPU"] = plan.gpus_per_worker
    return resources
