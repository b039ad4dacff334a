"""The Tune trainable: one slot is one long-lived Ray Train worker group.

Tune reuses the trial actor (`reuse_actors`): `setup` starts the group once, `reset_config` hands it
the next job within a fraction of a second. One path for one worker and for many.
"""

from __future__ import annotations

import asyncio
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
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import state, worker_group
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from tune.job import Job, Report
from tune.mailbox import Mailbox
from tune.outcomes import Outcome
from tune.runtime import imported
from tune.watchdog import Watchdog

GROUP_RESTARTS = 3
GROUPS_OF_A_JOB = 2  # new ones, at most, that a job is given
SUSPEND_WITHIN_S = 7.0
SLOT_MEMORY = 64 * 2**20  # bytes; the actor's own claim: no share of a core that a worker would miss


@dataclass(frozen=True)
class SlotPlan:
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


class FixedWorkers(FixedScalingPolicy):
    """The policy of a worker group that no autoscaler needs to know of: Ray would start a process for it."""

    def _send_resource_request(self) -> None:
        """Nothing."""

    def _maybe_send_resource_request(self) -> None:
        """Nothing."""

    def _cancel_resource_request(self) -> None:
        """Nothing."""


class NoBarrier:
    """In the place of the actor, a process a slot, through which workers wait for one another in
    `ray.train.report`: a slot's report to their mailbox."""

    @classmethod
    def options(cls, **where: Any) -> type[NoBarrier]:
        return cls

    @classmethod
    def remote(cls, **times: float) -> NoBarrier:
        return cls()


class SlotTrainer(DataParallelTrainer):
    """A worker group that starts few processes but its workers': each imports pandas and Arrow for a second
    or two of the machine that the first step has to wait for.

    Its controller runs in the trial's actor, which has imported the same libraries already, and not in one
    of its own, which would die with the trial's anyway. Ray Data, which a slot does not read, is left out.
    Alone, so is what clusters need: `tune.strays` gives back what a slot that died has left. All of this is
    by private methods of the pinned Ray.
    """

    alone = False

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]
        without = ["DatasetsCallback"] + ["PlacementGroupCleanerCallback"] * self.alone
        return [callback for callback in callbacks if type(callback).__name__ not in without]

    def _initialize_and_run_controller(self, **made_of: Any) -> ray.train.Result:
        if self.alone:
            made_of["scaling_policy"] = FixedWorkers(made_of["scaling_policy"].scaling_config)
        worker_group.SynchronizationActor = NoBarrier  # type: ignore[assignment,attr-defined,misc]
        state._shutdown_sync_actor = lambda sync_actor: None  # type: ignore[assignment]
        controller = TrainController(**made_of)
        asyncio.run(controller.run())
        return controller.get_result()


class SlotTrial(ray.tune.Trainable):
    """Runs one job after another on its worker group."""

    def setup(self, config: dict[str, Any], plan: SlotPlan) -> None:  # type: ignore[override]
        imported()
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
        return {
            "done": report.outcome is not None,
            "training_step": report.step,
            "score": report.score if report.score is not None else float("nan"),
            "report": report,
        }

    def cleanup(self) -> None:
        """Let the worker group go, so that its resources come back; in a hurry, do not watch it leave."""
        ray.get(self.mailbox.close.remote())
        hurry = bool(ray.wait([self.thrown], timeout=0)[0])
        if self.group is not None and not hurry:
            self.group.join(timeout=SUSPEND_WITHIN_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the ledger and the job's own folder hold what a resume needs."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, as above."""

    def _submit(self, job: Job) -> None:
        self.job, self.groups_left = job, GROUPS_OF_A_JOB
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

    def _next_report(self) -> Report:
        while True:
            ready, _ = ray.wait([self.report, self.thrown], num_returns=1, timeout=1.0)
            if self.report in ready:
                report: Report = ray.get(self.report)
                self.report = self.mailbox.next_report.remote()
                return report
            if self.thrown in ready:
                ray.get(self.thrown)  # raises where the switch is lost, which nobody has thrown then
                return self._suspend()
            if self.group is not None and not self.group.is_alive():
                if not self.groups_left:
                    why = self.group_error or "the worker group ended"
                    return Report(self.job.id, Outcome.LOST, error=why)
                self._start_group()  # the failures of the one before were not all of this job
            self.watchdog.look(self.job)

    def _suspend(self) -> Report:
        """Have the job write its checkpoint; give up waiting for it in time."""
        self.mailbox.signal.remote("suspend")
        deadline = time.monotonic() + SUSPEND_WITHIN_S
        while (left := deadline - time.monotonic()) > 0:
            ready, _ = ray.wait([self.report], timeout=left)
            if not ready:
                break
            report: Report = ray.get(self.report)
            if report.outcome is not None:
                return report
            self.report = self.mailbox.next_report.remote()
        return Report(self.job.id, Outcome.SUSPENDED)

    def _host_group(self) -> None:
        plan = self.plan
        try:
            trainer = SlotTrainer(
                _work,
                backend_config=_backend(plan.workers),
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
                    resources_per_worker=_resources(plan),
                ),
                run_config=ray.train.RunConfig(
                    name=f"slot-{self.trial_id}",
                    storage_path=self.folder,  # of this node alone: nothing is read from it
                    # a node that is taken away with notice costs none of these, as in Tune
                    failure_config=ray.train.FailureConfig(max_failures=GROUP_RESTARTS),
                ),
            )
            trainer.alone = plan.alone
            trainer.fit()
        except Exception as error:  # whatever it is, the job under way hears of it
            self.group_error = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def _work(loop: dict[str, Any]) -> None:
    from tune.worker import work

    work(loop)


def _backend(workers: int) -> ray.train.backend.BackendConfig | None:
    """How the workers find one another; one worker needs nothing, and this process no torch for it."""
    if workers == 1:
        return None
    from ray.train.torch import TorchConfig

    return TorchConfig()


def _resources(plan: SlotPlan) -> dict[str, float]:
    resources: dict[str, float] = {"CPU": plan.cpus_per_worker}
    if plan.gpus_per_worker:
        resources["GPU"] = plan.gpus_per_worker
    return resources
