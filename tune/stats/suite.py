"""An average over tasks, and how sure it is. The tasks are fixed: nothing is said of tasks that were not run.

What is uncertain is each task's own mean, over its seeds and its examples (`tune.stats.evidence`), and tasks
are independent of one another. So with T tasks the average has the standard error root(sum of se²) / T, and
the degrees of freedom of Welch and Satterthwaite, (sum of se²)² / sum of (se⁴ / df). Its draws are the means
of the tasks' own bootstrap draws, each task's scaled to its standard error: the interval keeps their skew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tune.stats.distributions import compute_t_tail
from tune.stats.evidence import (
    BOOTSTRAP_RESAMPLES,
    CONFIDENCE_LEVEL,
    MIN_SEEDS,
    draw_means,
    resample_differences,
    widen_interval,
)
from tune.stats.resampling import AnyArray, FloatArray

MIN_PAIRS = 2  # of a task, so that its spread counts


@dataclass(frozen=True)
class TaskMean:
    """A task's mean paired difference with its uncertainty.

    standard_error, df, seeds: see `evidence.MeanEstimate`. draws: (B,) of its bootstrap over seeds and
    examples.
    """

    mean: float
    standard_error: float
    df: float
    seeds: int
    draws: FloatArray


@dataclass(frozen=True)
class AverageEstimate:
    """An average over tasks.

    interval: at `level`; None where a task has a single pair, or all together have fewer pairs, or fewer
        degrees of freedom, than MIN_SEEDS pairs.
    p: two-sided; probability_better: that the true average is above 0, under a flat prior. Both are None
        without an interval.
    """

    mean: float
    interval: tuple[float, float] | None
    standard_error: float
    df: float
    p: float | None
    probability_better: float | None
    tasks: int
    level: float


def make_exact_mean(mean: float) -> TaskMean:
    """Return a mean without uncertainty, such as the difference of a configuration from itself."""
    return TaskMean(mean, 0.0, math.inf, MIN_PAIRS, np.full(BOOTSTRAP_RESAMPLES, mean))


def draw_difference_means(
    metric: str,
    labels: AnyArray,
    baseline: AnyArray,
    method: AnyArray,
    seed: int,
    resamples: int = BOOTSTRAP_RESAMPLES,
) -> FloatArray:
    """Draw the mean paired difference of a task over seeds and examples: (B,).

    seed: another one for each task, as tasks are independent. The others: see `evidence.estimate_difference`.
    """
    _, resampled = resample_differences(metric, labels, baseline, method, seed, resamples)
    return draw_means(resampled, seed)


def average_tasks(tasks: Sequence[TaskMean], level: float = CONFIDENCE_LEVEL) -> AverageEstimate:
    """Average the means of tasks, one at least, each with the same weight."""
    count, mean = len(tasks), math.fsum(task.mean for task in tasks) / len(tasks)
    variances = [task.standard_error**2 for task in tasks]
    total = math.fsum(variances)
    error = math.sqrt(total) / count
    lost = math.fsum(v**2 / task.df for v, task in zip(variances, tasks, strict=True))
    df = total**2 / lost if lost > 0 else math.inf
    interval = None
    seeds = [task.seeds for task in tasks]
    if df >= MIN_SEEDS - 1 and min(seeds) >= MIN_PAIRS and sum(seeds) >= MIN_SEEDS:
        interval = widen_interval(mean, _average_draws(tasks), error, df, level)
    t = mean / error if interval is not None else math.nan
    return AverageEstimate(
        mean=mean,
        interval=interval,
        standard_error=error,
        df=df,
        p=None if interval is None else 2 * compute_t_tail(abs(t), df),
        probability_better=None if interval is None else compute_t_tail(-t, df),
        tasks=count,
        level=level,
    )


def _average_draws(tasks: Sequence[TaskMean]) -> FloatArray:
    """Return the draws of the average: (the fewest of any task,)."""
    length = min(len(task.draws) for task in tasks)
    scaled = []
    for task in tasks:
        draws = task.draws[:length]
        spread = float(draws.std(ddof=1))
        factor = task.standard_error / spread if spread > 0 else 0.0
        scaled.append(task.mean + factor * (draws - task.mean))
    average: FloatArray = np.mean(scaled, axis=0)
    return average


def leave_each_out(tasks: Sequence[TaskMean]) -> list[AverageEstimate]:
    """Return the average without each task in turn; none of a single task."""
    if len(tasks) < 2:
        return []
    return [average_tasks([*tasks[:place], *tasks[place + 1 :]]) for place in range(len(tasks))]
