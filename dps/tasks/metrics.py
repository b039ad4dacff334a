"""Metrics by name, on the metric's own scale (a Matthews correlation of 0.63 is 0.63).

A metric compares labels (n,) with predictions (n,): ids of classes, numbers of a regression, or, where a
task of two classes is ranked by `auroc`, margins: logit of the second class minus that of the first.
Where an example has several labels both are (n, labels): 1 where it has the label, else 0. Where one of a
task's metrics is a scorer of scikit-learn (`dps.tasks.scorers`), predictions are probabilities (n, classes).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.tasks.scorers import is_scorer_name, make_scorer_metric
from dps.tasks.task import Task

Array = NDArray[Any]
Metric = Callable[[Array, Array], float]

RANKING_METRICS = ("auroc",)  # metrics that read margins


def classify_predictions(labels: Array, predictions: Array) -> Array:
    """Ids of classes, or 0 and 1 of several labels; floats among predictions are probabilities or margins."""
    if not np.issubdtype(predictions.dtype, np.floating):
        return predictions
    if predictions.ndim > labels.ndim:
        return np.asarray(predictions.argmax(axis=1))
    return np.asarray(predictions > (0.5 if labels.ndim == 2 else 0), dtype=np.int64)


def compute_margins(labels: Array, predictions: Array) -> Array:
    """Margins, (n,), of predictions that may be probabilities of two classes."""
    return predictions if predictions.ndim == labels.ndim else predictions[:, 1] - predictions[:, 0]


def _accept_margins(metric: Metric) -> Metric:
    """The metric, which reads ids, of margins too."""

    @wraps(metric)
    def read(labels: Array, predictions: Array) -> float:
        return metric(labels, classify_predictions(labels, predictions))

    return read


@_accept_margins
def _matthews_correlation(labels: Array, predictions: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


@_accept_margins
def _f1(labels: Array, predictions: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, zero_division=0))


@_accept_margins
def _macro_f1(labels: Array, predictions: Array) -> float:
    """Over the classes, or the several labels, that labels or predictions have."""
    from sklearn.metrics import f1_score

    if labels.ndim == 1:
        return float(f1_score(labels, predictions, average="macro", zero_division=0))
    return float(np.nan_to_num(f1_score(labels, predictions, average="macro", zero_division=np.nan)))


@_accept_margins
def _micro_f1(labels: Array, predictions: Array) -> float:
    """Over all labels of all examples together."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="micro", zero_division=0))


@_accept_margins
def _samples_f1(labels: Array, predictions: Array) -> float:
    """The mean over the examples; 1 where one has no label and gets none."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="samples", zero_division=1))


@_accept_margins
def _balanced_accuracy(labels: Array, predictions: Array) -> float:
    """The mean of the recalls of the classes that the labels have."""
    from sklearn.metrics import recall_score

    return float(recall_score(labels, predictions, labels=np.unique(labels), average="macro"))


@_accept_margins
def _accuracy(labels: Array, predictions: Array) -> float:
    return float(np.mean(labels == predictions))


def _auroc(labels: Array, predictions: Array) -> float:
    """0.5 where all labels are of one class: there is nothing to tell apart."""
    from sklearn.metrics import roc_auc_score

    positive = labels == 1
    if positive.all() or not positive.any():
        return 0.5
    return float(roc_auc_score(positive, compute_margins(labels, predictions)))


def _correlation(labels: Array, predictions: Array, kind: str) -> float:
    """0 where either side is constant: a model that says one number for all knows nothing."""
    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return 0.0
    from scipy import stats

    correlate = stats.pearsonr if kind == "pearson" else stats.spearmanr
    return float(correlate(labels, predictions).statistic)


METRICS: dict[str, Metric] = {
    "matthews_correlation": _matthews_correlation,
    "f1": _f1,
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
    "samples_f1": _samples_f1,
    "balanced_accuracy": _balanced_accuracy,
    "auroc": _auroc,
    "pearson": lambda labels, predictions: _correlation(labels, predictions, "pearson"),
    "spearman": lambda labels, predictions: _correlation(labels, predictions, "spearman"),
}


def get_metric(name: str) -> Metric:
    """The metric of this name, or scikit-learn's scorer. Raises ValueError where there is none."""
    if name not in METRICS and not is_scorer_name(name):
        raise ValueError(
            f"metric: there is no {name!r}; choose one of {', '.join(METRICS)}, or a scorer's name"
        )
    return METRICS[name] if name in METRICS else make_scorer_metric(name)


def has_sklearn_metric(task: Task) -> bool:
    """Whether one of the task's metrics is a scorer of scikit-learn, which reads probabilities."""
    return not METRICS.keys() >= set(task.metrics)


CLASSIFICATION_METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "matthews_correlation")
BINARY_METRICS = ("f1", "auroc")  # of the second class
MULTI_LABEL_METRICS = ("micro_f1", "macro_f1", "samples_f1")
REGRESSION_METRICS = ("pearson", "spearman")


def list_fitting_metrics(labels: int, multi_label: bool = False) -> tuple[str, ...]:
    """The metrics for so many classes; for a regression where there are none."""
    if multi_label:
        return MULTI_LABEL_METRICS
    if labels == 0:
        return REGRESSION_METRICS
    return CLASSIFICATION_METRICS + BINARY_METRICS if labels == 2 else CLASSIFICATION_METRICS


def compute_probabilities(logits: NDArray[np.floating], multi_label: bool) -> NDArray[np.float64]:
    """(n, classes), of logits: a row adds up to 1 unless each of its labels stands by itself."""
    logits = logits.astype(np.float64)
    if multi_label:
        return np.asarray(1 / (1 + np.exp(-logits)))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def compute_predictions(task: Task, logits: NDArray[np.floating]) -> NDArray[Any]:
    """(n,), what the metrics of `task` read of logits (n, classes): ids of the classes with the highest,
    margins where one of the metrics ranks, or the numbers of a regression. Of several labels an example
    (n, labels): 1 where the probability is above 0.5. Where a metric is a scorer, probabilities."""
    if has_sklearn_metric(task) and not task.is_regression:
        return compute_probabilities(logits, task.multi_label)
    if task.multi_label:
        return (logits > 0).astype(np.int64)
    if not task.is_regression and set(RANKING_METRICS) & set(task.metrics):
        return np.asarray(logits[:, 1] - logits[:, 0])
    return logits[:, 0] if task.is_regression else logits.argmax(axis=1)


def compute_scores(task: Task, labels: Array, logits: NDArray[np.floating]) -> dict[str, float]:
    """Every metric of `task`. labels: (n,) or (n, labels); logits: (n, classes), (n, 1) for regression."""
    predictions = compute_predictions(task, logits)
    return {name: get_metric(name)(labels, predictions) for name in task.metrics}
