"""The Ray Train loop of a worker group: takes job after job, fine-tunes, reports.

Rank 0 talks to the mailbox; the other ranks hear from rank 0. Data and base weights are read with
the first job and stay in memory.
"""

from __future__ import annotations

import gc
import shutil
import time
import traceback
from pathlib import Path
from typing import Any

import ray
import torch

from dps import distributed, sources, tasks
from dps.data import TaskData
from dps.finetune import Checkpointing, Evaluation, FineTuneResult, Signal, run
from dps.models import Base, locate
from tune.job import Job, Report, Settings
from tune.outcomes import Outcome

PATIENCE_S = 60.0  # an idle rank 0 says so to the others this often, well within their time-out


def work(loop: dict[str, Any]) -> None:
    """The training function of the TorchTrainer. loop: "mailbox", "slot", "threads",
    "checkpoint_every_s"."""
    torch.set_num_threads(loop["threads"])
    mailbox, memory = loop["mailbox"], _Memory()
    while True:
        job = _next_job(mailbox)
        if job == "close":
            return
        if job == "wait":
            continue
        report = _do(job, loop, memory)
        if distributed.rank() == 0:
            ray.get(mailbox.report.remote(report))
        gc.collect()


def _next_job(mailbox: Any) -> Any:
    job = ray.get(mailbox.next_job.remote(PATIENCE_S)) if distributed.rank() == 0 else None
    return distributed.from_first(job)


class _Memory:
    """Base weights and tokenised data of the search, read once."""

    def __init__(self) -> None:
        self._held: tuple[Settings, Base, TaskData] | None = None

    def get(self, settings: Settings) -> tuple[Base, TaskData]:
        if self._held is None or self._held[0] != settings:
            task = tasks.get(settings.task)
            base = Base(locate(settings.model), task)
            source = sources.open_source(settings.data)
            self._held = settings, base, TaskData(task, source, base.tokenizer, settings.max_length)
        return self._held[1], self._held[2]


def _do(job: Job, loop: dict[str, Any], memory: _Memory) -> Report:
    """Run one job; whatever happens becomes a typed outcome."""
    try:
        base, data = memory.get(job.settings)
        result = run(
            job.fine_tune_config(),
            base,
            data,
            report=_reporter(job, loop),
            control=_Control(job, loop["mailbox"]),
            checkpointing=Checkpointing(Path(job.folder) / "checkpoints", loop["checkpoint_every_s"]),
        )
        if result.outcome != "suspended" and distributed.rank() == 0:
            shutil.rmtree(Path(job.folder) / "checkpoints", ignore_errors=True)
        if job.purpose == "confirm" and result.outcome == "completed" and distributed.rank() == 0:
            result.save(Path(job.folder) / "model")
        return _last_report(job, loop["slot"], result)
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        return Report(job.id, Outcome.OUT_OF_MEMORY, error=_one_line(error))
    except MemoryError as error:
        return Report(job.id, Outcome.OUT_OF_MEMORY, error=_one_line(error))
    except Exception as error:
        if distributed.world() > 1:
            raise  # the ranks may disagree now: let Ray Train restart the group
        return Report(job.id, Outcome.FAILED, error=_one_line(error))


def _reporter(job: Job, loop: dict[str, Any]) -> Any:
    def report(evaluation: Evaluation) -> None:
        if distributed.rank() != 0:
            return
        primary = tasks.get(job.settings.task).metric
        ray.get(
            loop["mailbox"].report.remote(
                Report(
                    job.id,
                    step=evaluation.step,
                    max_steps=evaluation.max_steps,
                    score=evaluation.scores[primary],
                    metrics=evaluation.scores,
                    loss=evaluation.loss,
                    seconds=evaluation.seconds,
                    slot=loop["slot"],
                    began=time.time() - evaluation.seconds,
                )
            )
        )

    return report


class _Control:
    """Whether the job shall go on, asked at every step without waiting for an answer."""

    def __init__(self, job: Job, mailbox: Any) -> None:
        self._answer = mailbox.signal_for.remote(job.id) if distributed.rank() == 0 else None

    def __call__(self) -> Signal:
        if self._answer is None:
            return "go"
        ready, _ = ray.wait([self._answer], timeout=0)
        return ray.get(ready[0]) if ready else "go"


def _last_report(job: Job, slot: str, result: FineTuneResult) -> Report:
    return Report(
        job.id,
        Outcome(result.outcome),
        step=result.steps,
        max_steps=result.steps,
        score=result.last,
        seconds=result.seconds,
        slot=slot,
        began=time.time() - result.seconds,
        selected_share=result.selected_share,
        final=result.final,
        warnings=result.warnings,
    )


def _one_line(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {' '.join(str(error).split())} ({Path(where.filename).name}:{where.lineno})"
    )
