"""Constant predictions, the chance level (the best score that one reaches), and labels that rank no model."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.tasks.metrics import get_metric, has_sklearn_metric
from dps.tasks.task import Task


def predict_constant(task: Task, labels: NDArray[Any]) -> int | float | NDArray[Any]:
    """Return the constant that replaces the predictions of a diverged run.

    This is the most frequent class; the mean for regression; in multi-label tasks 1 for each label that half
    of the examples have; the class shares if the metric reads probabilities.
    """
    if task.is_regression:
        return float(np.mean(labels))
    if has_sklearn_metric(task):
        return _class_shares(task, labels)
    if task.multi_label:
        return np.asarray(labels.mean(axis=0) >= 0.5, dtype=np.int64)
    return int(np.bincount(labels.astype(np.int64)).argmax())


def chance_level(task: Task, labels: NDArray[Any]) -> float:
    """Return the best score of any constant prediction, in the primary metric.

    A run that scores no better is not above chance: the failed runs of Mosbach et al., "On the Stability of
    Fine-tuning BERT", ICLR 2021, who compare with the most frequent class. That class is best here too,
    except for F1 if the positive class is the rarer one: then "positive" for all examples is best. In
    multi-label tasks the candidates are the most frequent label, the two most frequent, and so on. NaN if the
    metric is undefined for these labels.
    """
    measure = get_metric(task.metric)
    return max(
        measure(labels, np.full((len(labels), *np.shape(constant)), constant))
        for constant in _candidate_constants(task, labels)
    )


def _candidate_constants(task: Task, labels: NDArray[Any]) -> list[Any]:
    """Return the constants among which the best one is sought."""
    scored = has_sklearn_metric(task)
    if task.is_regression:
        middles = [np.median(labels), (np.min(labels) + np.max(labels)) / 2] if scored else []
        return [predict_constant(task, labels), *middles]
    constants: NDArray[Any]
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


def _class_shares(task: Task, labels: NDArray[Any]) -> NDArray[Any]:
    """Return the share of each class or label among the examples."""
    if task.multi_label:
        return np.asarray(labels.mean(axis=0), dtype=np.float64)
    return np.bincount(labels.astype(np.int64), minlength=len(task.labels)) / len(labels)


def check_labels_differ(task: Task, split: str, labels: NDArray[Any]) -> None:
    """Raise InputError if all examples of a split have the same label. labels: of the split."""
    if (labels != labels[0]).any():
        return
    first = labels[0].tolist()
    if task.multi_label:
        label = ", ".join(name for name, has in zip(task.labels, first, strict=True) if has) or "none"
    else:
        label = first if task.is_regression else task.labels[first]
    raise InputError(
        f"data: every example of {split} has the label {label!r}, so there is nothing to learn; "
        f"give examples with other labels too"
    )


def check_metrics_rank(task: Task, set_name: str, labels: NDArray[Any]) -> None:
    """Raise InputError if a metric is undefined on a set of examples, or the same for the best model and for
    one that always says the same: as where a class is missing. labels: of the set."""
    perfect = labels
    if has_sklearn_metric(task) and not task.is_regression:
        perfect = labels.astype(float) if task.multi_label else np.eye(len(task.labels))[labels]
    for name in task.metrics:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of the cases that are refused
            chance = chance_level(replace(task, metrics=(name,)), labels)
            best = get_metric(name)(labels, perfect)
        if math.isnan(chance):
            problem = f"is undefined on {set_name}, which lacks a class"
        elif not best > chance:
            lack = "all labels are equal" if task.is_regression else "a class is missing"
            problem = f"is {chance:g} for the best model and the worst on {set_name}, where {lack}"
        else:
            continue
        raise InputError(f"metric: {name} {problem}; give more examples of it, or another metric")
