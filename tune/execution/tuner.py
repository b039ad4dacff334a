"""The loop: Ray Tune asks what to run next, and tells what came of it.

Nobody here calls `next`: Ray Tune's `Tuner.fit()` runs, and calls back (inversion of control). For one run:

1. Tune has room for a trial and asks `TuneSearcher.suggest`. The searcher asks the `Arms`, or the `Pool` of
   several tasks, whose strategy writes the configuration and its seed into the ledger and returns a `Job`;
   None means "not yet", FINISHED means "never again", on which `fit` returns.
2. `SearchScheduler.on_trial_add` and `choose_trial_to_run` say which waiting trial starts, and keep as many
   warm slots as there are.
3. Tune starts the trainable of a slot (`SlotTrainable.setup`), or hands the job to a slot that is idle
   (`reset_config`, since `reuse_actors` is set). The slot passes the job to its worker group by its mailbox.
4. `SlotTrainable.step` waits for the next report of the worker group. Tune shows each report first to
   `SearchScheduler.on_trial_result`, which says stop or go on, then to `TuneSearcher.on_trial_result`.
5. The run ends: by itself (the report has an outcome), by the scheduler's STOP, or because its slot is lost,
   after `MAX_TRIAL_FAILURES` further tries in other slots. Tune calls `TuneSearcher.on_trial_complete`, and
   the ledger gets the outcome. Then 1 again.
6. Ctrl-C sets an event. The `StopSignal` actor hears of it, every slot suspends its run, `next_job` hands
   out nothing more, and `fit` returns.

What a resume needs is in the ledger; Tune's own snapshot of searcher, scheduler and trials is not read.
Ray's OptunaSearch is not used: it leaves NaN trials running for ever, stores stopped trials as complete and
cannot resume from a storage.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.tune
from ray.tune import CheckpointConfig, FailureConfig, PlacementGroupFactory, RunConfig, TuneConfig, Tuner
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune.core.durations import parse_duration
from tune.core.job_config import read_memory_options
from tune.core.run import Job
from tune.execution import trainable
from tune.execution.connection import freeze_imported_objects
from tune.execution.mailbox import StopSignal
from tune.execution.orphans import release_orphaned_groups
from tune.execution.scheduler import SearchScheduler
from tune.execution.slots import LiveDisplay, follow_cluster
from tune.execution.trainable import SLOT_ACTOR_MEMORY_BYTES, SlotConfig
from tune.planning.plan import Plan
from tune.planning.preflight import PreflightFinding
from tune.strategy.phases import NoJob
from tune.strategy.pool import JobSource

CHECKPOINT_INTERVAL_S = 60.0
MIN_PROGRESS_INTERVAL_S = 3.0  # between two reports of a run's step
MAX_PROGRESS_REPORTS = 4.0  # of all slots, a second
MAX_TRIAL_FAILURES = 5  # of one trial: so often one that lost its slot goes on in another


def run_trials(
    jobs: JobSource,
    plan: Plan,
    ray_files: Path,
    stop: threading.Event,
    display: LiveDisplay,
    check_node: Callable[[str], list[PreflightFinding]],
    again: str = "",
) -> None:
    """Run everything that there is to run, until there is nothing more or `stop` is set.

    ray_files: the folder for Tune's own files. display: shown while trials run. check_node: finds what is
    wrong with a node that joins. again: the command that goes on. Raises what they met with.
    """
    freeze_imported_objects()
    signal = _make_stop_signal(stop)
    slot_trainable = ray.tune.with_resources(
        ray.tune.with_parameters(trainable.SlotTrainable, slot=_configure_slot(plan, signal)),
        PlacementGroupFactory([{"memory": SLOT_ACTOR_MEMORY_BYTES}]),
    )
    tuner = Tuner(
        slot_trainable,
        tune_config=TuneConfig(
            search_alg=TuneSearcher(jobs, plan.task.direction),
            scheduler=SearchScheduler(jobs),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=make_run_config(ray_files),
    )
    try:
        with display, release_orphaned_groups(), follow_cluster(jobs.slots, plan, display, check_node, again):
            tuner.fit()
    finally:
        jobs.raise_first_error()  # what they met with, not what Tune makes of it


def make_run_config(ray_files: Path) -> RunConfig:
    """Return what Tune is told of its files. ray_files: a folder of the driver's machine, which no other one
    needs to see: without this word Tune saves each trial there at its end, and where the slot is on another
    machine takes what fails for a failure of the trial."""
    return RunConfig(
        name="tune",
        storage_path=str(ray_files),
        verbose=0,
        failure_config=FailureConfig(max_failures=MAX_TRIAL_FAILURES),
        checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
    )


class TuneSearcher(Searcher):
    """The source of jobs, as Ray Tune calls a search algorithm; Tune names the trials."""

    def __init__(self, jobs: JobSource, direction: str) -> None:
        super().__init__(metric="score", mode=direction)
        self.jobs = jobs

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Return the configuration of a Tune trial: its job; None or FINISHED where there is none."""
        answer = self.jobs.next_job(trial_id)
        if isinstance(answer, Job):
            return {"job": answer}
        return Searcher.FINISHED if answer == NoJob.EVER else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass an evaluation on. Tune keeps the one on which a trial ends for `on_trial_complete`."""
        self.jobs.take_report(trial_id, result["report"])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the end of a trial on. error: its slot was lost once too often."""
        self.jobs.end_run(trial_id, (result or {}).get("report"), lost=error)

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the ledgers hold everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Read nothing: the ledgers hold everything."""

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its searchers down; the ledgers hold what a resume needs


def _make_stop_signal(stop: threading.Event) -> Any:
    """An actor on the driver's node, which does not go away, that tells the slots once `stop` is set."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    signal = ray.remote(num_cpus=0)(StopSignal).options(scheduling_strategy=here).remote()
    threading.Thread(target=_forward_stop, args=(stop, signal), daemon=True).start()
    return signal


def _forward_stop(stop: threading.Event, signal: Any) -> None:
    stop.wait()
    signal.set.remote()


def _configure_slot(plan: Plan, signal: Any) -> SlotConfig:
    options = plan.options
    return SlotConfig(
        workers=options.workers_per_trial,
        cpus_per_worker=options.cpus_per_worker,
        gpus_per_worker=plan.gpus_per_worker,
        checkpoint_every_s=CHECKPOINT_INTERVAL_S,
        progress_every_s=max(MIN_PROGRESS_INTERVAL_S, plan.slots / MAX_PROGRESS_REPORTS),
        step_timeout_s=parse_duration(options.step_timeout),
        trial_timeout_s=parse_duration(options.trial_timeout) if options.trial_timeout else None,
        memory_options=read_memory_options(options),
        stop_signal=signal,
        is_local=plan.cluster.address is None,
    )
