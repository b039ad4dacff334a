"""The metrics once more, by scikit-learn and scipy, which the product does without."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sklearn.metrics
from scipy import stats

from dps.tasks.metrics import classify_predictions, compute_margins


def classify(function: str, truth: np.ndarray, predictions: np.ndarray, **options: Any) -> float:
    measure = getattr(sklearn.metrics, function)
    return float(measure(truth, classify_predictions(truth, predictions), **options))


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    empty = 0 if labels.ndim == 1 else np.nan
    f1 = classify("f1_score", labels, predictions, average="macro", zero_division=empty)
    return float(np.nan_to_num(f1))


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    return classify("recall_score", labels, predictions, labels=np.unique(labels), average="macro")


def auroc(labels: np.ndarray, predictions: np.ndarray) -> float:
    positive = labels == 1
    if positive.all() or not positive.any():
        return 0.5
    return float(sklearn.metrics.roc_auc_score(positive, compute_margins(labels, predictions)))


def correlate(function: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return 0.0
    return float(getattr(stats, function)(labels, predictions).statistic)


REFERENCE_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda labels, said: float(np.mean(labels == classify_predictions(labels, said))),
    "matthews_correlation": partial(classify, "matthews_corrcoef"),
    "f1": partial(classify, "f1_score", zero_division=0),
    "macro_f1": macro_f1,
    "micro_f1": partial(classify, "f1_score", average="micro", zero_division=0),
    "samples_f1": partial(classify, "f1_score", average="samples", zero_division=1),
    "balanced_accuracy": balanced_accuracy,
    "auroc": auroc,
    "pearson": partial(correlate, "pearsonr"),
    "spearman": partial(correlate, "spearmanr"),
}
