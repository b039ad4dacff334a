"""Constant predictions, and the chance level: the best score that a constant prediction reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dps.tasks.metrics import get_metric, has_sklearn_metric
from dps.tasks.task import Task
from tune.stats.evidence import PairedDifference, estimate_seeds_needed
from tune.stats.resampling import AnyArray


def predict_constant(task: Task, labels: AnyArray) -> int | float | AnyArray:
    """Return the constant that replaces the predictions of a diverged run.

    This is the most frequent class; the mean for regression; with several labels an example, 1 for each label
    that half of the examples have; the class shares where the metric reads probabilities.
    """
    if task.is_regression:
        return float(np.mean(labels))
    if has_sklearn_metric(task):
        return _class_shares(task, labels)
    if task.multi_label:
        return np.asarray(labels.mean(axis=0) >= 0.5, dtype=np.int64)
    return int(np.bincount(labels.astype(np.int64)).argmax())


def chance_level(task: Task, labels: AnyArray) -> float:
    """Return the best score of any constant prediction, in the primary metric.

    A run that scores no better has *collapsed*: the failed runs of Mosbach et al., "On the Stability
    of Fine-tuning BERT", ICLR 2021, who compare with the most frequent class. That class is also best
    here but for F1 where the positive class is the rarer one: saying "positive" always is best then.
    With several labels an example, the candidates are the most frequent label, the two most frequent, and so
    on. NaN if the metric is undefined for these labels.
    """
    measure = get_metric(task.metric)
    return max(
        measure(labels, np.full((len(labels), *np.shape(constant)), constant))
        for constant in _candidate_constants(task, labels)
    )


def _candidate_constants(task: Task, labels: AnyArray) -> list[Any]:
    """Return the constants among which the best one is sought."""
    scored = has_sklearn_metric(task)
    if task.is_regression:
        middles = [np.median(labels), (np.min(labels) + np.max(labels)) / 2] if scored else []
        return [predict_constant(task, labels), *middles]
    constants: AnyArray
    if task.multi_label:
        by_frequency = np.argsort(-labels.sum(axis=0), kind="stable")
        triangle = np.tril(np.ones((len(by_frequency), len(by_frequency)), np.int64))
        constants = triangle[:, np.argsort(by_frequency)]
    else:
        constants = np.unique(labels)
        if not scored:
            return list(constants.tolist())
        constants = np.eye(len(task.labels))[constants]
    return [_class_shares(task, labels), *constants.astype(np.float64)] if scored else list(constants)


def _class_shares(task: Task, labels: AnyArray) -> AnyArray:
    """Return the share of each class or label among the examples."""
    if task.multi_label:
        return np.asarray(labels.mean(axis=0), dtype=np.float64)
    return np.bincount(labels.astype(np.int64), minlength=len(task.labels)) / len(labels)


def fill_missing_runs(
    task: Task, labels: AnyArray, predicted: Mapping[int, AnyArray], seeds: Sequence[int]
) -> AnyArray:
    """Return the predictions of each seed's run, (seeds, n, ...); a missing run gets the constant."""
    constant = predict_constant(task, labels)
    repeated = np.full((len(labels), *np.shape(constant)), constant)
    return np.stack([predicted.get(seed, repeated) for seed in seeds])


def serialise_difference(
    difference: PairedDifference, adjusted_p: float | None, comparisons: int = 1
) -> dict[str, Any]:
    """Return a difference as a dict for JSON. adjusted_p, comparisons: see `evidence.describe_difference`."""
    return {
        **asdict(difference),
        "points": difference.points,
        "adjusted_p": adjusted_p,
        "seeds_needed": estimate_seeds_needed(difference, comparisons=comparisons),
    }
