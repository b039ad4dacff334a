"""Metrics by name, on the metric's own scale (a Matthews correlation of 0.63 is 0.63).

A metric compares labels (n,) with predictions (n,): class ids, numbers for a regression, or, if `auroc` is
among a task's metrics, margins (logit of the second class minus that of the first, and minus that of the
threshold). In multi-label tasks both are (n, labels) of 0 and 1. If one of a task's metrics is a scorer of
scikit-learn (`dps.tasks.scorers`), predictions are probabilities (n, classes).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError, suggest_name
from dps.ranges import is_number
from dps.tasks.scorers import get_score_bounds, is_scorer_name, make_scorer_metric
from dps.tasks.task import EVEN_THRESHOLD, Task
from dps.tasks.weighted_metrics import WEIGHTED_METRICS

Array = NDArray[Any]
Metric = Callable[[Array, Array], float]

RANKING_METRICS = ("auroc",)  # they read margins
TUNED_THRESHOLD = "tuned"  # chosen on the selection slice
MAX_THRESHOLDS = 100
CALIBRATION_BINS = 15
CONSTANT_SPREAD = 1e-3  # of the standard deviation of the labels; an untrained head spreads ten times as far
CORRELATIONS = ("matthews_correlation", "pearson", "spearman")  # from -1 to 1; other metrics from 0


def classify_predictions(labels: Array, predictions: Array) -> Array:
    """Return class ids (n,), or 0 and 1 of labels (n, labels), of predictions that may be floats.

    Floats are probabilities (n, classes) or (n, labels), or margins (n,).
    """
    if not np.issubdtype(predictions.dtype, np.floating):
        return predictions
    if predictions.ndim > labels.ndim:
        return np.asarray(predictions.argmax(axis=1))
    return np.asarray(predictions > (0.5 if labels.ndim == 2 else 0), dtype=np.int64)


def compute_margins(labels: Array, predictions: Array) -> Array:
    """Return margins (n,) of predictions that may be probabilities (n, 2)."""
    return predictions if predictions.ndim == labels.ndim else predictions[:, 1] - predictions[:, 0]


def read_predictions(metric: str, labels: Array, predictions: Array) -> Array:
    """Return what the metric of this name reads of predictions: margins, class ids, or the numbers of a
    regression."""
    if metric in REGRESSION_METRICS:
        return predictions
    return (compute_margins if metric in RANKING_METRICS else classify_predictions)(labels, predictions)


def _compute_metric(name: str, labels: Array, predictions: Array) -> float:
    """Return the metric; NaN if a prediction is not finite. Raises ValueError unless there is one for each
    label, and at least one."""
    read = read_predictions(name, labels, predictions)
    if read.shape != labels.shape or not labels.size:
        shapes = f"labels {labels.shape} and predictions {read.shape}"
        raise ValueError(f"{name}: {shapes} differ, or are empty; give one for each label")
    if not np.isfinite(read).all():
        return math.nan
    return float(WEIGHTED_METRICS[name](labels, read[None], np.ones((1, len(labels)), np.float32))[0, 0])


METRICS: dict[str, Metric] = {name: partial(_compute_metric, name) for name in WEIGHTED_METRICS}


def get_metric(name: str) -> Metric:
    """Return the metric, or scikit-learn's scorer, of this name. Raises ValueError for an unknown one."""
    if name not in METRICS and not is_scorer_name(name):
        advice = suggest_name(name, METRICS, f"choose one of {', '.join(METRICS)}, or a scorer's name")
        raise ValueError(f"metric: there is no {name!r}; {advice}")
    return METRICS[name] if name in METRICS else make_scorer_metric(name)


def get_metric_range(name: str) -> tuple[float, float]:
    """Return the lowest and the highest possible score of a metric, or of a scorer."""
    if name in METRICS:
        return (-1.0 if name in CORRELATIONS else 0.0), 1.0
    return get_score_bounds(name)


def has_sklearn_metric(task: Task) -> bool:
    """Return whether a metric of the task is a scikit-learn scorer, which needs probabilities."""
    return not METRICS.keys() >= set(task.metrics)


CLASSIFICATION_METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "matthews_correlation")
BINARY_METRICS = ("f1", "auroc")  # of the second class
MULTI_LABEL_METRICS = ("micro_f1", "macro_f1", "samples_f1")
REGRESSION_METRICS = ("pearson", "spearman")


def list_fitting_metrics(labels: int, multi_label: bool = False) -> tuple[str, ...]:
    """Return the names of the metrics for a number of classes (0: regression)."""
    if multi_label:
        return MULTI_LABEL_METRICS
    if labels == 0:
        return REGRESSION_METRICS
    return CLASSIFICATION_METRICS + BINARY_METRICS if labels == 2 else CLASSIFICATION_METRICS


def compute_probabilities(logits: NDArray[np.floating], multi_label: bool) -> NDArray[np.float64]:
    """Return probabilities (n, classes) from logits: softmax, or the sigmoid of each if `multi_label`."""
    logits = logits.astype(np.float64)
    if multi_label:
        return np.asarray(1 / (1 + np.exp(-logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def average_logits(logits: NDArray[np.floating], multi_label: bool = False) -> NDArray[np.float64]:
    """Return the logits (n, classes) of an ensemble: their probabilities are the mean of those of its models.

    logits: (K, n, classes), of K models; the numbers of a regression (K, n, 1), whose mean is returned.
    """
    logits = logits.astype(np.float64)
    if multi_label:  # log of the mean probability of yes, less that of no
        yes, no = (np.logaddexp.reduce(-np.logaddexp(0, sign * logits), axis=0) for sign in (-1, 1))
        return np.asarray(yes - no)
    if logits.shape[2] == 1:
        return np.asarray(logits.mean(axis=0))
    logarithms = logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)
    return np.asarray(np.logaddexp.reduce(logarithms, axis=0) - np.log(len(logits)))


def compute_predictions(task: Task, logits: NDArray[np.floating]) -> NDArray[Any]:
    """Return the predictions that the metrics of `task` read, from logits (n, classes).

    Class ids (n,), margins (n,) if a metric ranks, numbers (n,) for a regression, 0 and 1 (n, labels) for
    multi-label tasks; if a metric is a scikit-learn scorer, probabilities (n, classes).
    """
    if has_sklearn_metric(task) and not task.is_regression:
        return compute_probabilities(logits, task.multi_label)
    least = float(np.log(task.threshold / (1 - task.threshold)))
    if task.multi_label:
        return (logits > least).astype(np.int64)
    if not task.is_regression and set(RANKING_METRICS) & set(task.metrics):
        return np.asarray(logits[:, 1] - logits[:, 0] - least)
    if least:
        return (logits[:, 1] - logits[:, 0] > least).astype(np.int64)
    return logits[:, 0] if task.is_regression else logits.argmax(axis=1)


def choose_threshold(task: Task, labels: Array, logits: NDArray[np.floating]) -> float:
    """Return the threshold at which the primary metric is highest, of equal ones the nearest to 0.5.

    Tried are 0.5 and at most MAX_THRESHOLDS others, each between two probabilities that occur.

    labels, logits: of the selection slice, see `compute_scores`.
    """
    margins = np.unique(logits.astype(np.float64) if task.multi_label else logits[:, 1] - logits[:, 0])
    between = (margins[1:] + margins[:-1]) / 2
    if len(between) > MAX_THRESHOLDS:
        between = np.quantile(between, np.linspace(0, 1, MAX_THRESHOLDS))
    tried = [EVEN_THRESHOLD, *np.clip(compute_probabilities(between, True), 1e-6, 1 - 1e-6).tolist()]
    metric = get_metric(task.metric)

    def rate(threshold: float) -> tuple[float, float]:
        predictions = compute_predictions(task.with_threshold(threshold), logits)
        return metric(labels, predictions), -abs(threshold - EVEN_THRESHOLD)

    return float(max(tried, key=rate))


def check_threshold(threshold: float | str | None, task: Task) -> None:
    """Raise InputError for a threshold that is out of range, or that the answers of the task do not have."""
    if threshold is None or threshold == EVEN_THRESHOLD:
        return
    if threshold != TUNED_THRESHOLD and not (is_number(threshold) and 0 < threshold < 1):  # type: ignore[operator]
        raise InputError(
            f"threshold: must be {TUNED_THRESHOLD}, or a probability in (0, 1), but got {threshold!r}"
        )
    if not task.has_threshold:
        kind = "numbers" if task.is_regression else f"{len(task.labels)} classes"
        raise InputError(
            f"threshold: {task.name} has {kind}; only two classes, and several labels, have a threshold; "
            f"leave it out"
        )
    if has_sklearn_metric(task):
        scorer = next(name for name in task.metrics if name not in METRICS)
        raise InputError(
            f"threshold: {scorer} is a scorer of scikit-learn, which decides at 0.5; name other metrics "
            f"({', '.join(list_fitting_metrics(len(task.labels), task.multi_label))})"
        )
    if threshold == TUNED_THRESHOLD and task.metric in RANKING_METRICS:
        raise InputError(f"threshold: {task.metric} is the same at every threshold; leave it out")


def compute_scores(task: Task, labels: Array, logits: NDArray[np.floating]) -> dict[str, float]:
    """Return every metric of `task` by name.

    labels: (n,), or (n, labels) for multi-label tasks.
    logits: (n, classes), or (n, 1) for regression.
    """
    predictions = compute_predictions(task, logits)
    return {name: get_metric(name)(labels, predictions) for name in task.metrics}


def compute_probability_scores(task: Task, labels: Array, logits: NDArray[np.floating]) -> dict[str, float]:
    """Return "log_loss" and "calibration_error" of a classification, whatever metrics its task has; nothing
    for a regression. labels, logits: see `compute_scores`. Lower is better in both.
    """
    if task.is_regression:
        return {}
    probabilities = compute_probabilities(logits, task.multi_label)
    return {
        "log_loss": compute_log_loss(labels, probabilities),
        "calibration_error": compute_calibration_error(labels, probabilities),
    }


def compute_log_loss(labels: Array, probabilities: NDArray[np.float64]) -> float:
    """Return the mean of -log(probability of what is right), >= 0; over examples and labels if multi-label.

    labels: ids (n,), or 0 and 1 (n, labels). probabilities: (n, classes), or (n, labels) each by itself;
    below the rounding unit of float64 they count as that, as in scikit-learn.
    """
    if labels.ndim == 1:
        of_right = probabilities[np.arange(len(labels)), labels]
    else:
        of_right = np.where(labels == 1, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(of_right, np.finfo(np.float64).eps)).mean())


def compute_calibration_error(labels: Array, probabilities: NDArray[np.float64]) -> float:
    """Return the expected calibration error (ECE) of the answers' probabilities, in [0, 1].

    Sum over CALIBRATION_BINS equal bins of (0, 1] of |correct answers - sum of their probabilities| / n; in
    multi-label tasks the mean over the labels of that of each, a question of yes or no.

    labels, probabilities: see `compute_log_loss`.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (arXiv 1706.04599), equation 3.
    """
    if labels.ndim == 2:
        pairs = zip(labels.T, probabilities.T, strict=True)
        return float(np.mean([compute_calibration_error(y, np.stack([1 - p, p], 1)) for y, p in pairs]))
    confidence = probabilities.max(axis=1)
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64)
    is_correct = probabilities.argmax(axis=1) == labels
    return float(np.abs(np.bincount(bins, is_correct - confidence)).sum() / len(labels))


def compute_top_share(task: Task, labels: Array, predictions: Array) -> float:
    """Return the share of the most frequent answer, in (0, 1]: 1 where a model *collapsed* to a constant.

    Of numbers, those count as one answer that lie around their median by less than CONSTANT_SPREAD of the
    labels' standard deviation.

    predictions: (n, ...), as the metrics read them, see `compute_predictions`.
    """
    if task.is_regression:
        return float(np.mean(np.abs(predictions - np.median(predictions)) <= CONSTANT_SPREAD * labels.std()))
    answers = classify_predictions(labels, predictions)
    return float(np.unique(answers, axis=0, return_counts=True)[1].max() / len(answers))
