"""Rough duration of a search, for the plan and the progress line."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from dps.methods import MethodCost
from dps.models import ModelFolder
from dps.training.preview import RunPreview
from tune.core.options import CommonOptions

STARTUP_S = 15.0  # from the plan to the first step
MEAN_TRIAL_SHARE = {"asha": 0.85, "none": 1.0}  # mean share of a full trial that is run
USUAL_GPU_FLOPS = 5e13
BF16_SPEEDUP = 3.3  # of a matrix product on a CPU with AVX512_BF16, against fp32
EVALUATION_EFFICIENCY = 0.6  # speed of an evaluation relative to one matrix product
TOKENS_PER_WORD, TOKENS_PER_EXAMPLE = 1.4, 3  # the latter are added once
CPU_STEP_S_PER_WEIGHT = 3e-9  # seconds per weight and CPU step outside matrix products
GPU_STEP_OVERHEAD_S = 0.03  # seconds per GPU step outside matrix products


@dataclass(frozen=True)
class TrainingSpeed:
    """Seconds of a training step, and of one example in an evaluation."""

    step_seconds: float
    example_seconds: float


@dataclass(frozen=True)
class DurationEstimate:
    """Estimated duration of a search. seconds: wall time; slot_seconds: summed over runs."""

    seconds: float
    slot_seconds: float

    def scale(self, share: float) -> DurationEstimate:
        """Return the duration of a share of the runs."""
        return DurationEstimate(self.seconds * share, self.slot_seconds * share)


@dataclass(frozen=True)
class ArmLoad:
    """What an arm has left to run. begun: trials that start whatever the budget; they go to their end. cost:
    of its method; is_baseline: no trial is stopped. exploration_budget, budget: slot-seconds that its trials,
    and these and its race runs together, may take, about. preview, speed: of its runs."""

    trials: int
    race_runs: int
    confirmations: int
    begun: int
    cost: MethodCost
    is_baseline: bool
    exploration_budget: float
    budget: float
    preview: RunPreview
    speed: TrainingSpeed


@dataclass(frozen=True)
class RunEstimate:
    """Seconds of a whole trial and of a confirmation."""

    trial: float
    confirmation: float


def estimate_run(
    options: CommonOptions, preview: RunPreview, speed: TrainingSpeed, cost: MethodCost
) -> RunEstimate:
    """Estimate the duration of a run. cost: of its method."""
    evaluations = min(options.evaluations, preview.max_steps) + cost.evaluations
    evaluating = evaluations * preview.scored_examples * speed.example_seconds
    scoring = preview.examples["dev"] * speed.example_seconds
    step = (1 + cost.extra_passes) * speed.step_seconds
    if options.patience is not None:
        scoring += evaluating
    return RunEstimate(evaluating + preview.max_steps * step, scoring + preview.full_max_steps * step)


def estimate_duration(options: CommonOptions, slots: int, loads: Sequence[ArmLoad]) -> DurationEstimate:
    """Estimate the duration of what is left of a search; none of nothing."""
    exploring, confirming = 0.0, 0.0
    for load in loads:
        run = estimate_run(options, load.preview, load.speed, load.cost)
        trials = load.trials * run.trial
        if not load.is_baseline:
            trials *= MEAN_TRIAL_SHARE[options.scheduler]
        begun = min(load.trials, load.begun) * run.trial
        trials = min(trials, max(load.exploration_budget, begun))
        exploring += min(trials + load.race_runs * run.trial, max(load.budget, begun))
        confirming += load.confirmations * run.confirmation
    runs = sum(load.confirmations for load in loads)
    rounds = math.ceil(runs / slots) / max(1, runs)
    startup = STARTUP_S if exploring + confirming else 0.0
    return DurationEstimate(startup + exploring / slots + rounds * confirming, exploring + confirming)


def estimate_speed(
    options: CommonOptions,
    model: ModelFolder,
    mean_words: float,
    gpus_per_worker: float,
    precision: str,
    batch_size: int,
) -> TrainingSpeed:
    """Estimate the model's FLOPs over this machine's measured speed, or over a typical GPU's."""
    layers, hidden, _ = model.read_dimensions()
    weights = 12 * layers * hidden**2
    tokens = min(options.max_length or math.inf, TOKENS_PER_WORD * mean_words + TOKENS_PER_EXAMPLE)
    flops = USUAL_GPU_FLOPS if gpus_per_worker else _measure_flops(options.cpus_per_worker, precision)
    forward = 2 * weights * tokens / flops
    products = 3.3 * forward * batch_size / options.workers_per_trial
    others = GPU_STEP_OVERHEAD_S if gpus_per_worker else CPU_STEP_S_PER_WEIGHT * model.count_parameters()
    return TrainingSpeed(products + others, forward / EVALUATION_EFFICIENCY)


def average_speeds(speeds: Sequence[TrainingSpeed]) -> TrainingSpeed:
    """Return the mean of the speeds of several models, each of which as many runs have."""
    steps, examples = zip(*((each.step_seconds, each.example_seconds) for each in speeds), strict=True)
    return TrainingSpeed(statistics.fmean(steps), statistics.fmean(examples))


def _measure_flops(threads: int, precision: str) -> float:
    """Measure this machine's FLOP/s on a small matrix product with one worker's threads."""
    a, b, product = (np.ones(shape, np.float32) for shape in ((256, 384), (384, 1536), (256, 1536)))
    best = math.inf
    with threadpool_limits(threads, user_api="blas"):
        for _ in range(8):
            began = time.perf_counter()
            np.matmul(a, b, out=product)
            best = min(best, time.perf_counter() - began)
    return (BF16_SPEEDUP if precision == "bf16" else 1) * 2 * 256 * 384 * 1536 / best
