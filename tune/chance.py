"""What is said without having learnt anything: the same prediction for all examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from dps import metrics
from dps.tasks import Task
from tune.resampling import Values


def constant_prediction(task: Task, labels: Values) -> int | float | Values:
    """What stands for the predictions of a diverged run: the most frequent class, for regression the mean; of
    several labels an example, 1 for each that half of the examples have. Where a metric reads probabilities,
    the shares of the classes or labels.
    """
    if task.is_regression:
        return float(np.mean(labels))
    if metrics.are_scored(task):
        return _shares(task, labels)
    if task.multi_label:
        return np.asarray(labels.mean(axis=0) >= 0.5, dtype=np.int64)
    return int(np.bincount(labels.astype(np.int64)).argmax())


def chance(task: Task, labels: Values) -> float:
    """The best score that the same prediction for all examples can have, in the primary metric.

    A run that scores no better has *collapsed*: the failed runs of Mosbach et al., "On the Stability
    of Fine-tuning BERT", ICLR 2021, who compare with the most frequent class. That class is also best
    here but for F1 where the positive class is the rarer one: saying "positive" always is best then.
    Of several labels an example it is the best of the most frequent one, the two most frequent, ... all.
    NaN where the metric is undefined for these labels.
    """
    measure = metrics.get(task.metric)
    return max(
        measure(labels, np.full((len(labels), *np.shape(constant)), constant))
        for constant in _constants(task, labels)
    )


def _constants(task: Task, labels: Values) -> list[Any]:
    scored = metrics.are_scored(task)
    if task.is_regression:
        middles = [np.median(labels), (np.min(labels) + np.max(labels)) / 2] if scored else []
        return [constant_prediction(task, labels), *middles]
    said: Values
    if task.multi_label:
        often = np.argsort(-labels.sum(axis=0), kind="stable")
        said = np.tril(np.ones((len(often), len(often)), np.int64))[:, np.argsort(often)]
    else:
        said = np.unique(labels)
        if not scored:
            return list(said.tolist())
        said = np.eye(len(task.labels))[said]
    return [_shares(task, labels), *said.astype(np.float64)] if scored else list(said)


def _shares(task: Task, labels: Values) -> Values:
    """Of each class or label among the examples."""
    if task.multi_label:
        return np.asarray(labels.mean(axis=0), dtype=np.float64)
    return np.bincount(labels.astype(np.int64), minlength=len(task.labels)) / len(labels)
