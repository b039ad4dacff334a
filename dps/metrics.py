"""Metrics by name, on the metric's own scale (a Matthews correlation of 0.63 is 0.63)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.tasks import Task

Array = NDArray[np.floating] | NDArray[np.integer]


def _matthews_correlation(labels: Array, predictions: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, predictions))


def _f1(labels: Array, predictions: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, zero_division=0))


def _accuracy(labels: Array, predictions: Array) -> float:
    return float(np.mean(labels == predictions))


def _correlation(labels: Array, predictions: Array, kind: str) -> float:
    """0 where either side is constant: a model that says one number for all knows nothing."""
    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return 0.0
    from scipy import stats

    correlate = stats.pearsonr if kind == "pearson" else stats.spearmanr
    return float(correlate(labels, predictions).statistic)


METRICS: dict[str, Callable[[Array, Array], float]] = {
    "matthews_correlation": _matthews_correlation,
    "f1": _f1,
    "accuracy": _accuracy,
    "pearson": lambda labels, predictions: _correlation(labels, predictions, "pearson"),
    "spearman": lambda labels, predictions: _correlation(labels, predictions, "spearman"),
}


def predicted(task: Task, logits: NDArray[np.floating]) -> NDArray[Any]:
    """(n,): ids of the classes with the highest logits (n, classes), or the numbers of a regression."""
    return logits[:, 0] if task.is_regression else logits.argmax(axis=1)


def score(task: Task, labels: Array, logits: NDArray[np.floating]) -> dict[str, float]:
    """Every metric of `task`. labels: (n,); logits: (n, classes), or (n, 1) for regression."""
    predictions = predicted(task, logits)
    return {name: METRICS[name](labels, predictions) for name in task.metrics}
