"""The training loop of a worker group: take a job, fine-tune, report.

Only rank 0 uses the mailbox and broadcasts to the others. Data and base weights are read with the
first job that needs them; those that were used last stay in memory.
"""

from __future__ import annotations

import gc
import math
import time
import traceback
from collections.abc import Mapping
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
from dps.wording import format_count
from tune.core.job_config import make_fine_tune_config
from tune.core.run import Job, Progress, RunPurpose, RunReport
from tune.execution.connection import freeze_imported_objects
from tune.execution.job_folder import JobFolder
from tune.records import predictions
from tune.records.predictions import PREDICTIONS_FILE

HEARTBEAT_INTERVAL_S = 1.0
MAX_LOADED_INPUTS = 3  # models with their data that a worker keeps in memory
IDLE_TIMEOUT_S = 120.0  # an idle group leaves after this long; shorter than the ranks' time-out


def run_worker_loop(loop: dict[str, Any]) -> None:
    """Run the jobs of a mailbox until there are no more; Ray Train calls this on every worker.

    loop: "mailbox", "slot" (its name), "threads", "checkpoint_every_s", "progress_every_s", "memory_options".
    """
    freeze_imported_objects()
    torch.set_num_threads(loop["threads"])
    names = "mailbox", "slot", "checkpoint_every_s", "progress_every_s", "memory_options"
    worker = _Worker(*(loop[name] for name in names))
    handle = ray.cloudpickle.dumps(ray.get_runtime_context().current_actor)
    ray.get(loop["mailbox"].register_worker.remote(get_rank(), handle))
    while (job := worker.next_job()) is not None:
        worker.run_job(job)


class _Worker:
    """One rank of a slot's worker group."""

    def __init__(
        self,
        mailbox: Any,
        slot: str,
        checkpoint_every_s: float,
        progress_every_s: float = math.inf,
        memory_options: Mapping[str, bool] | None = None,
    ) -> None:
        self.mailbox, self.slot, self.checkpoint_every_s = mailbox, slot, checkpoint_every_s
        self.progress_every_s, self.progressed_at = progress_every_s, -math.inf
        self.memory_options = memory_options
        self.is_first = get_rank() == 0
        self.world_size = get_world_size()  # read now: Ray may end the process group before the job
        self.loaded: dict[Any, RunInputs] = {}  # by what they are read from, the last used last
        self.last_job_ended: float | None = None
        self.finished_folder: JobFolder | None = None  # of the previous job
        self.imports_frozen = False

    def next_job(self) -> Any:
        """Return the next job, or None to leave; the same on every rank."""
        job = ray.get(self.mailbox.next_job.remote(IDLE_TIMEOUT_S)) if self.is_first else None
        return broadcast_value(job)

    def run_job(self, job: Job) -> None:
        """Run a job and report its outcome; errors become outcomes.

        Raises RayError if the slot is gone: the job is then not over and continues elsewhere.
        """
        if self.finished_folder is not None:  # as there is a next job, the end of this one is in the ledger
            self.finished_folder.remove_checkpoints()
        result: RunResult | None = None
        job_folder = JobFolder(job.location, is_writer=self.is_first)
        try:
            result = self._fine_tune(job, job_folder)
        except ray.exceptions.RayError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                self._handle_out_of_memory(job, error)
            else:
                result = RunResult(outcome=Outcome.FAILED, error=_format_error(error))
            if self.world_size > 1:
                raise  # the ranks may disagree now: let Ray Train restart the group
        is_over = result is not None and result.outcome != Outcome.SUSPENDED
        job_folder.finish_run(is_over)
        self.finished_folder = job_folder if is_over else None
        self.last_job_ended = time.monotonic()
        if result is not None and self.is_first:
            self._send_report(RunReport(job.id, result))
        self._tidy_up(retries=result is None)

    def _send_report(self, report: RunReport) -> None:
        ray.get(self.mailbox.put_report.remote(report))

    def _tidy_up(self, retries: bool) -> None:
        """Clean up memory while the driver chooses the next job. retries: the same job runs again, with a
        smaller micro-batch."""
        gc.collect()  # models and optimizers hold one another through their hooks
        if retries and torch.cuda.is_available():
            torch.cuda.empty_cache()  # the retry needs blocks of other sizes
        if retries or not self.loaded:
            return
        if not self.imports_frozen:
            gc.freeze()  # a first run imports much that stays
            self.imports_frozen = True
        next(reversed(self.loaded.values())).base.prepare_copy()
        reset_peak_memory(get_device())

    def _handle_out_of_memory(self, job: Job, error: Exception) -> None:
        """Retry the job with a smaller micro-batch, or report that memory ran out. Any rank may call it."""
        smaller = job.halve_micro_batch(self.world_size)
        if smaller is not None:
            ray.get(self.mailbox.retry.remote(smaller))
            return
        held = format_count(job.micro_batch, "example") if job.micro_batch else "all examples"
        message = f"{_format_error(error)}; a worker had {held} of a step at once"
        self._send_report(RunReport(job.id, RunResult(outcome=Outcome.OUT_OF_MEMORY, error=message)))

    def _fine_tune(self, job: Job, job_folder: JobFolder) -> RunResult:
        base, data = self._load_inputs(job)
        job_folder.fetch_checkpoints()
        result = finetune_model(
            make_fine_tune_config(job, self.memory_options),
            base,
            data,
            report=lambda evaluation: self._send_evaluation(job, evaluation),
            control=_JobControl(job, self.mailbox) if self.is_first else lambda: "go",
            checkpointing=Checkpointing(
                job_folder.checkpoints, self.checkpoint_every_s, job_folder.upload_checkpoint
            ),
            progress=lambda step, steps, seconds: self._send_progress(job, Progress(step, steps), seconds),
        )
        result.warnings.extend([*job_folder.warnings, *_format_micro_batch_warning(job)])
        if self.is_first and result.outcome == Outcome.COMPLETED:
            try:
                self._keep_results(job, result, job_folder)
            except Exception as error:
                if not is_disk_full(error):
                    raise
                return RunResult(
                    outcome=Outcome.SUSPENDED, error=f"no room in {job.location}: {_format_error(error)}"
                )
        return result.extract_result(**self._build_timing(result.seconds))

    def _keep_results(self, job: Job, result: FineTuneResult, job_folder: JobFolder) -> None:
        if job.purpose == RunPurpose.CONFIRMATION:
            file = job_folder.folder / PREDICTIONS_FILE
            result.predictions_sha256 = predictions.write_predictions(file, result.logits, result.labels)
            job_folder.keep_result(PREDICTIONS_FILE)
        if job.keep_model:
            result.save(job_folder.folder / "model")
            job_folder.keep_result("model")

    def _load_inputs(self, job: Job) -> RunInputs:
        """Return the base weights and the tokenised data of a job; few are kept, as each has a model."""
        config = make_fine_tune_config(job)
        origin = config.task, config.data, config.model, config.max_length or job.settings.max_length
        key = (*origin, *sorted(job.fingerprints.items()))
        inputs = self.loaded.pop(key, None)
        if inputs is None:
            while len(self.loaded) >= MAX_LOADED_INPUTS:
                del self.loaded[next(iter(self.loaded))]
                gc.unfreeze()  # what was dropped may go
            self._send_progress(job, Progress())
            inputs = load_run_inputs(*origin, TokenCache(), job.fingerprints)
            gc.collect()
            gc.freeze()  # what stays is not examined after every job
        self.loaded[key] = inputs
        return inputs

    def _send_evaluation(self, job: Job, evaluation: Evaluation) -> None:
        if not self.is_first:
            return
        so_far = RunResult(
            scores=evaluation.curve,
            seconds=evaluation.seconds,
            top_share=evaluation.top_share,
            **self._build_timing(evaluation.seconds),
        )
        self._send_report(RunReport(job.id, so_far, evaluation))

    def _send_progress(self, job: Job, progress: Progress, seconds: float = 0.0) -> None:
        """Report the step now and then, and that the run loads or is scored; waits for no answer."""
        is_due = time.monotonic() - self.progressed_at >= self.progress_every_s
        if self.is_first and (is_due or progress.step in (0, progress.max_steps)):
            self.progressed_at = time.monotonic()
            so_far = RunResult(seconds=seconds, **(self._build_timing(seconds) if progress.step else {}))
            self.mailbox.put_report.remote(RunReport(job.id, so_far, progress=progress))

    def _build_timing(self, seconds: float) -> dict[str, Any]:
        """Return the slot, when the run's first step began and how long the slot had waited for it."""
        waited = None if self.last_job_ended is None else time.monotonic() - seconds - self.last_job_ended
        return {"slot": self.slot, "began": time.time() - seconds, "waited": waited}


class _JobControl:
    """Checks at every step, without blocking, whether the job continues; reports the step to the mailbox."""

    def __init__(self, job: Job, mailbox: Any) -> None:
        self._job_id, self._mailbox = job.id, mailbox
        self._signal = mailbox.wait_for_signal.remote(job.id)
        self._last_beat = -math.inf

    def __call__(self) -> ControlSignal:
        if time.monotonic() - self._last_beat >= HEARTBEAT_INTERVAL_S:
            self._mailbox.record_step.remote(self._job_id)
            self._last_beat = time.monotonic()
        ready, _ = ray.wait([self._signal], timeout=0)
        return ray.get(ready[0]) if ready else "go"


def _format_micro_batch_warning(job: Job) -> list[str]:
    if job.micro_batch is None:
        return []
    return [
        f"memory ran out, and gradients were added up over {format_count(job.micro_batch, 'example')} of a "
        f"worker at a time; dropout draws differ from those of whole steps"
    ]


def _format_error(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {sanitise_line(error)} ({Path(where.filename).name}:{where.lineno})"
