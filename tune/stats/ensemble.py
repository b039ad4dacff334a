"""What the runs of a configuration answer: how sure they are of it, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dps.tasks.metrics import (
    average_logits,
    compute_predictions,
    compute_probability_scores,
    compute_top_share,
)
from dps.tasks.task import Task
from tune.stats.evidence import BOOTSTRAP_SEED, CONFIDENCE_LEVEL, estimate_model_score
from tune.stats.resampling import AnyArray


@dataclass(frozen=True)
class Ensemble:
    """The runs of a configuration as one model, which says the mean of their probabilities or numbers.

    runs: >= 2. score: in the primary metric. interval: of the score at `level`, over the examples; these runs
    are given. log_loss, calibration_error: None for a regression.
    """

    runs: int
    score: float
    interval: tuple[float, float] | None
    level: float = CONFIDENCE_LEVEL
    log_loss: float | None = None
    calibration_error: float | None = None


@dataclass(frozen=True)
class AnswerSummary:
    """What the runs of a configuration answered on an evaluation set.

    runs: that completed. collapsed: how many of them gave one answer to all examples.
    log_loss, calibration_error: means over the runs, None for a regression.
    ensemble: None with one run.
    """

    runs: int
    collapsed: int
    log_loss: float | None = None
    calibration_error: float | None = None
    ensemble: Ensemble | None = None


def summarise_answers(task: Task, labels: AnyArray, logits: Sequence[AnyArray]) -> AnswerSummary | None:
    """Summarise the logits (n, classes) of each run on the same examples; None without a run.

    labels: (n,) or (n, labels), n >= 2.
    """
    if not logits:
        return None
    figures = [compute_probability_scores(task, labels, run) for run in logits]
    shares = [compute_top_share(task, labels, compute_predictions(task, run)) for run in logits]
    return AnswerSummary(
        runs=len(logits),
        collapsed=sum(share == 1 for share in shares),
        **{name: float(np.mean([run[name] for run in figures])) for name in figures[0]},
        ensemble=_estimate_ensemble(task, labels, logits) if len(logits) > 1 else None,
    )


def _estimate_ensemble(task: Task, labels: AnyArray, logits: Sequence[AnyArray]) -> Ensemble:
    averaged = average_logits(np.stack(logits), task.multi_label)
    predictions = compute_predictions(task, averaged)
    estimate = estimate_model_score(task.metric, labels, predictions, BOOTSTRAP_SEED)
    return Ensemble(
        runs=len(logits),
        score=estimate.mean,
        interval=estimate.interval,
        level=estimate.level,
        **compute_probability_scores(task, labels, averaged),
    )
