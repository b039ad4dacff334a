"""The Ray Train loop of a worker group: takes job after job, fine-tunes, reports.

Rank 0 talks to the mailbox; the other ranks hear from rank 0. Data and base weights are read with
the first job and stay in memory.
"""

from __future__ import annotations

import gc
import math
import time
import traceback
from pathlib import Path
from typing import Any

import ray
import torch

from dps.distributed import broadcast_value, get_device, get_rank, get_world_size
from dps.errors import is_disk_full, is_out_of_memory
from dps.text import sanitise_line
from dps.training.config import Checkpointing, FineTuneResult
from dps.training.inputs import RunInputs, load_run_inputs
from dps.training.memory import reset_peak_memory
from dps.training.result import ControlSignal, Evaluation, Outcome, RunResult
from dps.training.run import finetune_model
from dps.training.tokens import TokenCache
from tune.core.job_config import make_fine_tune_config
from tune.core.run import Job, RunPurpose, RunReport, RunSettings
from tune.execution.connection import freeze_imported_objects
from tune.execution.job_folder import JobFolder
from tune.records import predictions
from tune.records.predictions import PREDICTIONS_FILE

HEARTBEAT_INTERVAL_S = 1.0
IDLE_TIMEOUT_S = (
    120.0  # a group without a job leaves its cores and GPUs to others then; the ranks' time-out is longer
)


def run_worker_loop(loop: dict[str, Any]) -> None:
    """The training function of the TorchTrainer. loop: "mailbox", "slot" (its name), "threads",
    "checkpoint_every_s", "data" (the fingerprint of the task's)."""
    freeze_imported_objects()
    torch.set_num_threads(loop["threads"])
    worker = _Worker(loop["mailbox"], loop["slot"], loop["checkpoint_every_s"], loop["data"])
    handle = ray.cloudpickle.dumps(ray.get_runtime_context().current_actor)
    ray.get(loop["mailbox"].join.remote(get_rank(), handle))
    while (job := worker.next_job()) is not None:
        worker.do(job)


class _Worker:
    """One rank of a slot's group."""

    def __init__(self, mailbox: Any, slot: str, checkpoint_every_s: float, fingerprint: str) -> None:
        self.mailbox, self.slot, self.checkpoint_every_s = mailbox, slot, checkpoint_every_s
        self.fingerprint = fingerprint
        self.is_first = get_rank() == 0
        self.ranks = get_world_size()  # as long as it lives: Ray may end the process group before the job
        self.held: tuple[RunSettings, RunInputs] | None = None
        self.last_end: float | None = None
        self.over: JobFolder | None = None  # of the job before, which has ended
        self.settled = False

    def next_job(self) -> Any:
        """A Job, or None: leave; the same on every rank."""
        job = ray.get(self.mailbox.next_job.remote(IDLE_TIMEOUT_S)) if self.is_first else None
        return broadcast_value(job)

    def do(self, job: Job) -> None:
        """Run one job and report its outcome; whatever happens becomes a typed one.

        Raises RayError where nobody is there to report to: then it is not over, but goes on elsewhere."""
        if self.over is not None:  # a next job: its end is in the ledger by now
            self.over.clear()
        result: RunResult | None = None
        place = JobFolder(job.location, writes=self.is_first)
        try:
            result = self._run(job, place)
        except ray.exceptions.RayError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                self._out_of_memory(job, error)
            else:
                result = RunResult(outcome=Outcome.FAILED, error=_format_error(error))
            if self.ranks > 1:
                raise  # the ranks may disagree now: let Ray Train restart the group
        done = result is not None and result.outcome != Outcome.SUSPENDED
        place.leave(done)
        self.over = place if done else None
        self.last_end = time.monotonic()
        if result is not None and self.is_first:
            ray.get(self.mailbox.report.remote(RunReport(job.id, result)))
        self._tidy_up(again=result is None)

    def _tidy_up(self, again: bool) -> None:
        """What the next job would wait for, while the driver chooses it. again: it is the same with less."""
        gc.collect()  # models and optimizers hold one another through their hooks
        if again and torch.cuda.is_available():
            torch.cuda.empty_cache()  # it needs the memory in other pieces
        if again or self.held is None:
            return
        if not self.settled:
            gc.freeze()  # a first run imports much that stays
            self.settled = True
        self.held[1].base.prepare_copy()
        reset_peak_memory(get_device())

    def _out_of_memory(self, job: Job, error: Exception) -> None:
        """Have the job done again with less at once, or say that it ended so. Whichever rank it hits."""
        smaller = job.halve_micro_batch(self.ranks)
        if smaller is not None:
            ray.get(self.mailbox.again.remote(smaller))
            return
        said = f"{_format_error(error)}; a worker had {job.micro_batch or 'all'} examples of a step at once"
        result = RunResult(outcome=Outcome.OUT_OF_MEMORY, error=said)
        ray.get(self.mailbox.report.remote(RunReport(job.id, result)))

    def _run(self, job: Job, place: JobFolder) -> RunResult:
        base, data = self._base_and_data(job.settings)
        place.fetch()
        result = finetune_model(
            make_fine_tune_config(job),
            base,
            data,
            report=lambda evaluation: self._report(job, evaluation),
            control=_JobControl(job, self.mailbox) if self.is_first else lambda: "go",
            checkpointing=Checkpointing(place.checkpoints, self.checkpoint_every_s, place.written),
        )
        result.warnings.extend([*place.warnings, *_format_micro_batch_warning(job)])
        if self.is_first and result.outcome == Outcome.COMPLETED:
            try:
                self._keep(job, result, place)
            except Exception as error:
                if not is_disk_full(error):
                    raise
                return RunResult(
                    outcome=Outcome.SUSPENDED, error=f"no room in {job.location}: {_format_error(error)}"
                )
        return result.extract_result(**self._timing(result.seconds))

    def _keep(self, job: Job, result: FineTuneResult, place: JobFolder) -> None:
        if job.purpose == RunPurpose.CONFIRMATION:
            predictions.write_predictions(place.folder / PREDICTIONS_FILE, result.logits, result.labels)
            place.keep(PREDICTIONS_FILE)
        if job.keep_model:
            result.save(place.folder / "model")
            place.keep("model")

    def _base_and_data(self, settings: RunSettings) -> RunInputs:
        """Base weights and tokenised data of the search, read once."""
        if self.held is None or self.held[0] != settings:
            inputs = load_run_inputs(
                settings.task,
                settings.data,
                settings.model,
                settings.max_length,
                TokenCache(),
                self.fingerprint,
            )
            self.held = settings, inputs
            gc.collect()
            gc.freeze()  # what stays is not looked through after every job
        return self.held[1]

    def _report(self, job: Job, evaluation: Evaluation) -> None:
        if not self.is_first:
            return
        so_far = RunResult(
            scores=evaluation.curve, seconds=evaluation.seconds, **self._timing(evaluation.seconds)
        )
        ray.get(self.mailbox.report.remote(RunReport(job.id, so_far, evaluation)))

    def _timing(self, seconds: float) -> dict[str, Any]:
        """Return on which slot the run's first step began and when, and how long the slot had waited for
        it."""
        waited = None if self.last_end is None else time.monotonic() - seconds - self.last_end
        return {"slot": self.slot, "began": time.time() - seconds, "waited": waited}


class _JobControl:
    """Whether the job shall go on, asked at every step without waiting for an answer; tells of the step."""

    def __init__(self, job: Job, mailbox: Any) -> None:
        self._job, self._mailbox = job.id, mailbox
        self._answer = mailbox.signal_for.remote(job.id)
        self._beaten = -math.inf

    def __call__(self) -> ControlSignal:
        if time.monotonic() - self._beaten >= HEARTBEAT_INTERVAL_S:
            self._mailbox.beat.remote(self._job)
            self._beaten = time.monotonic()
        ready, _ = ray.wait([self._answer], timeout=0)
        return ray.get(ready[0]) if ready else "go"


def _format_micro_batch_warning(job: Job) -> list[str]:
    if job.micro_batch is None:
        return []
    return [
        f"memory ran out, and gradients were added up over {job.micro_batch} examples of a worker at a time; "
        f"dropout draws differ from those of whole steps"
    ]


def _format_error(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {sanitise_line(error)} ({Path(where.filename).name}:{where.lineno})"
