"""How long a search will take, roughly: for the plan and for the first minutes of the progress line."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dps.tasks.task import Task
from tune.core.options import CommonOptions, SearchOptions

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.models import ModelFolder

STARTUP_S = 15.0  # from the plan to the first step
MEAN_TRIAL_SHARE = {"asha": 0.85, "median": 0.8, "none": 1.0}  # of a full trial that a trial runs
USUAL_GPU_FLOPS = 5e13
RACE_TIME_FACTOR = 1.2  # slot time of a usual race, for each second that the trials took
EVALUATION_EFFICIENCY = 0.6  # of a whole model's evaluation, against one product of its size
CPU_STEP_S_PER_WEIGHT = 3e-9  # of a training step on a CPU: optimizer, casts, whatever is no product
GPU_STEP_OVERHEAD_S = 0.03  # the same of a step on a GPU, whole


@dataclass(frozen=True)
class TrainingSpeed:
    """Seconds of a training step, and of one example in an evaluation."""

    step: float
    example: float


@dataclass(frozen=True)
class Workload:
    """What there is to do: steps of a full trial and of a confirmation, examples evaluated each time;
    passes: by arm, forward-backward passes of a step."""

    max_steps: int
    confirm_steps: int
    held_out: int
    dev: int
    slots: int
    passes: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class DurationEstimate:
    """Of a whole search: wall time, and the time of its runs together, in seconds."""

    seconds: float
    slot_seconds: float


def estimate_duration(options: CommonOptions, speed: TrainingSpeed, work: Workload) -> DurationEstimate:
    """What the whole search takes."""
    trial = options.evaluations * work.held_out * speed.example
    confirmation = work.dev * speed.example
    training = sum(work.passes) * speed.step
    arms = len(work.passes)
    searching = (
        options.trials * MEAN_TRIAL_SHARE[options.scheduler] * (arms * trial + work.max_steps * training)
    )
    confirming = options.confirm * (arms * confirmation + work.confirm_steps * training)
    if arms > 1:  # the slots are never without work
        together = searching + confirming
        return DurationEstimate(STARTUP_S + together / work.slots, together)
    racing = RACE_TIME_FACTOR * searching if isinstance(options, SearchOptions) and options.race else 0.0
    rounds = math.ceil(options.confirmed * options.confirm / work.slots) / options.confirm
    return DurationEstimate(
        STARTUP_S + (searching + racing) / work.slots + rounds * confirming,
        searching + racing + options.confirmed * confirming,
    )


def estimate_speed(
    options: CommonOptions,
    folder: ModelFolder,
    train: Dataset,
    task: Task,
    gpus_per_worker: float,
    precision: str,
) -> TrainingSpeed:
    """Arithmetic of the model over the speed of this machine; on a GPU over a usual one's."""
    layers, hidden, _ = folder.read_dimensions()
    weights = 12 * layers * hidden**2
    tokens = min(options.max_length, 1.4 * _count_mean_words(train, task) + 3)
    flops = USUAL_GPU_FLOPS if gpus_per_worker else _measure_flops(options.cpus_per_worker, precision)
    forward = 2 * weights * tokens / flops
    products = 3.3 * forward * options.batch_size / options.workers_per_trial
    others = GPU_STEP_OVERHEAD_S if gpus_per_worker else CPU_STEP_S_PER_WEIGHT * folder.count_parameters()
    return TrainingSpeed(products + others, forward / EVALUATION_EFFICIENCY)


def _count_mean_words(train: Dataset, task: Task) -> float:
    sample = train[: min(200, len(train))]
    words = sum(len(text.split()) for column in task.columns for text in sample[column])
    return words / max(1, min(200, len(train)))


def _measure_flops(threads: int, precision: str) -> float:
    """Of this machine, with the threads of one worker: measured on a small product."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.rand(256, 384).to(dtype), torch.rand(384, 1536).to(dtype)
    best = math.inf
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    torch.set_num_threads(before)
    return 2 * 256 * 384 * 1536 / best
