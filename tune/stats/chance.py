"""What is said without having learnt anything: the same prediction for all examples."""

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
    """What stands for the predictions of a diverged run: the most frequent class, for regression the mean; of
    several labels an example, 1 for each that half of the examples have. Where a metric reads probabilities,
    the shares of the classes or labels.
    """
    if task.is_regression:
        return float(np.mean(labels))
    if has_sklearn_metric(task):
        return _class_shares(task, labels)
    if task.multi_label:
        return np.asarray(labels.mean(axis=0) >= 0.5, dtype=np.int64)
    return int(np.bincount(labels.astype(np.int64)).argmax())


def chance_level(task: Task, labels: AnyArray) -> float:
    """The best score that the same prediction for all examples can have, in the primary metric.

    A run that scores no better has *collapsed*: the failed runs of Mosbach et al., "On the Stability
    of Fine-tuning BERT", ICLR 2021, who compare with the most frequent class. That class is also best
    here but for F1 where the positive class is the rarer one: saying "positive" always is best then.
    Of several labels an example it is the best of the most frequent one, the two most frequent, ... all.
    NaN where the metric is undefined for these labels.
    """
    measure = get_metric(task.metric)
    return max(
        measure(labels, np.full((len(labels), *np.shape(constant)), constant))
        for constant in _candidate_constants(task, labels)
    )


def _candidate_constants(task: Task, labels: AnyArray) -> list[Any]:
    scored = has_sklearn_metric(task)
    if task.is_regression:
        middles = [np.median(labels), (np.min(labels) + np.max(labels)) / 2] if scored else []
        return [predict_constant(task, labels), *middles]
    said: AnyArray
    if task.multi_label:
        often = np.argsort(-labels.sum(axis=0), kind="stable")
        said = np.tril(np.ones((len(often), len(often)), np.int64))[:, np.argsort(often)]
    else:
        said = np.unique(labels)
        if not scored:
            return list(said.tolist())
        said = np.eye(len(task.labels))[said]
    return [_class_shares(task, labels), *said.astype(np.float64)] if scored else list(said)


def _class_shares(task: Task, labels: AnyArray) -> AnyArray:
    """Of each class or label among the examples."""
    if task.multi_label:
        return np.asarray(labels.mean(axis=0), dtype=np.float64)
    return np.bincount(labels.astype(np.int64), minlength=len(task.labels)) / len(labels)


BOOTSTRAP_SEED = 0


def fill_missing_runs(
    task: Task, labels: AnyArray, predicted: Mapping[int, AnyArray], seeds: Sequence[int]
) -> AnyArray:
    """The predictions of each seed's run, (seeds, n, ...); where there are none, the constant prediction."""
    constant = predict_constant(task, labels)
    repeated = np.full((len(labels), *np.shape(constant)), constant)
    return np.stack([predicted.get(seed, repeated) for seed in seeds])


def serialise_difference(
    difference: PairedDifference, adjusted_p: float | None, comparisons: int = 1
) -> dict[str, Any]:
    """A difference as JSON holds it; adjusted_p, comparisons: see `evidence.words`."""
    return {
        **asdict(difference),
        "points": difference.points,
        "adjusted_p": adjusted_p,
        "seeds_needed": estimate_seeds_needed(difference, comparisons=comparisons),
    }
