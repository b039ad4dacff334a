"""Metrics by name, of several runs on several resamples of one evaluation set at once.

A resample of n examples is a row of weights, how often each example counts, so that a metric of thousands of
resamples is a few matrix products. A metric takes labels (n,) or (n, labels), predictions (K, n) or
(K, n, labels) as `dps.tasks.metrics.read_predictions` makes them, and weights (B, n); it returns (B, K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
AnyArray = NDArray[Any]

_RELATIVE_ROUNDING = 1e-12  # variances below this share of the second moment are rounding errors


def _weighted_sums(weights: FloatArray, features: AnyArray) -> FloatArray:
    """Return weighted sums over the examples, float64 (B, K). weights: (B, n); features: (K, n).

    Counts in float32 are exact up to 2^24 examples.
    """
    sums: FloatArray = (weights @ features.T.astype(weights.dtype)).astype(np.float64)
    return sums


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator, 0 where the denominator is 0."""
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), 0.0)


def _accuracy(labels: AnyArray, predictions: AnyArray, weights: FloatArray) -> FloatArray:
    """Return the share of correct predictions."""
    total = weights.sum(axis=1, keepdims=True, dtype=np.float64)
    return _ratio(_weighted_sums(weights, predictions == labels), total)


def _f1(labels: AnyArray, predictions: AnyArray, weights: FloatArray) -> FloatArray:
    """Return F1 of the positive class."""
    actual, predicted = labels[None] == 1, predictions == 1
    both = _weighted_sums(weights, actual & predicted)
    return _ratio(2 * both, _weighted_sums(weights, actual) + _weighted_sums(weights, predicted))


def _macro_f1(labels: AnyArray, predictions: AnyArray, weights: FloatArray) -> FloatArray:
    """Average F1 over the classes or labels that the resample's labels or the run's predictions have."""
    total = present = np.zeros((len(weights), len(predictions)))
    for actual, predicted in _actual_and_predicted(labels, predictions):
        both = _weighted_sums(weights, actual) + _weighted_sums(weights, predicted)
        total = total + _ratio(2 * _weighted_sums(weights, actual & predicted), both)
        present = present + (both > 0)
    return _ratio(total, present)


def _actual_and_predicted(labels: AnyArray, predictions: AnyArray) -> Iterator[tuple[AnyArray, AnyArray]]:
    """Yield, for each class or label, the actual (1, n) and predicted (K, n) indicators."""
    if labels.ndim == 2:
        yield from ((labels[None, :, i] == 1, predictions[:, :, i] == 1) for i in range(labels.shape[1]))
    else:
        yield from (
            (labels[None] == label, predictions == label) for label in np.union1d(labels, predictions)
        )


def _label_hits(labels: AnyArray, predictions: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return counts (K, n) of labels predicted correctly, and of actual plus predicted labels."""
    both = ((labels == 1) & (predictions == 1)).sum(axis=2)
    return both, (labels == 1).sum(axis=1) + (predictions == 1).sum(axis=2)


def _micro_f1(labels: AnyArray, predictions: AnyArray, weights: FloatArray) -> FloatArray:
    """Return F1 over all labels of all examples together."""
    correct, total = _label_hits(labels, predictions)
    return _ratio(2 * _weighted_sums(weights, correct), _weighted_sums(weights, total))


def _samples_f1(labels: AnyArray, predictions: AnyArray, weights: FloatArray) -> FloatArray:
    """Average the F1 of each example; 1 for one without any label, actual or predicted."""
    correct, total = _label_hits(labels, predictions)
    each = np.where(total > 0, _ratio(2 * correct, total), 1.0)
    counts = weights.astype(np.float64)
    return np.asarray(counts @ each.T / counts.sum(axis=1, keepdims=True))


def _balanced_accuracy(labels: AnyArray, predictions: AnyArray, weights: FloatArray) -> FloatArray:
    """Average recall over the classes that the resample's labels have."""
    total = present = np.zeros((len(weights), len(predictions)))
    for label in np.unique(labels):
        actual = labels[None] == label
        count = np.repeat(_weighted_sums(weights, actual), len(predictions), axis=1)
        total = total + _ratio(_weighted_sums(weights, actual & (predictions == label)), count)
        present = present + (count > 0)
    return _ratio(total, present)


def _auroc(labels: AnyArray, predictions: AnyArray, counts: FloatArray) -> FloatArray:
    """Return the share of (positive, negative) pairs that are in order, ties half, computed from ranks.

    0.5 if a resample holds a single class.
    """
    drawn = counts * (labels == 1)
    positive = drawn.sum(axis=1, dtype=np.float64)
    pairs = positive * (counts.sum(axis=1, dtype=np.float64) - positive)
    table = np.empty((len(counts), len(predictions)))
    for k, run in enumerate(predictions):
        ranks = np.einsum("bn,bn->b", drawn, _ranks(run, counts))
        table[:, k] = _ratio(ranks - positive * (positive + 1) / 2, pairs)
    return np.where(pairs[:, None] > 0, table, 0.5)


def _matthews_correlation(labels: AnyArray, predictions: AnyArray, weights: FloatArray) -> FloatArray:
    """Return Gorodkin's correlation for any number of classes, from the sums of the confusion matrix.

    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation
    coefficient", Computational Biology and Chemistry 2004.
    """
    total = weights.sum(axis=1, keepdims=True, dtype=np.float64)
    covariance = _weighted_sums(weights, predictions == labels) * total
    free_labels, free_predictions = total**2, np.repeat(total**2, len(predictions), axis=1)
    for label in np.union1d(labels, predictions):
        actual = _weighted_sums(weights, labels[None] == label)
        predicted = _weighted_sums(weights, predictions == label)
        covariance -= actual * predicted
        free_labels = free_labels - actual**2
        free_predictions -= predicted**2
    return _ratio(covariance, np.sqrt(np.maximum(free_labels * free_predictions, 0)))


def _pearson(labels: AnyArray, predictions: AnyArray, weights: FloatArray) -> FloatArray:
    """Return Pearson's correlation within each resample."""
    counts = weights.astype(np.float64)
    counts /= counts.sum(axis=1, keepdims=True)
    x, y = _standardise_rows(predictions), _standardise_rows(labels[None])
    mean_x, mean_y = counts @ x.T, counts @ y.T
    covariance = counts @ (x * y).T - mean_x * mean_y
    variance_x, variance_y = _variance(counts @ (x * x).T, mean_x), _variance(counts @ (y * y).T, mean_y)
    return np.clip(_ratio(covariance, np.sqrt(variance_x * variance_y)), -1, 1)


def _standardise_rows(rows: AnyArray) -> FloatArray:
    """Scale each row to mean 0 and variance 1; a constant row becomes exactly 0."""
    rows = rows.astype(np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    varies = np.ptp(rows, axis=1, keepdims=True) > 0
    return np.where(varies, centred / np.where(varies, rows.std(axis=1, keepdims=True), 1), 0.0)


def _variance(square: FloatArray, mean: FloatArray) -> FloatArray:
    """Return E[x²] - E[x]², set to 0 where only rounding remains (a constant resample)."""
    variance = square - mean**2
    return np.where(variance > _RELATIVE_ROUNDING * (1 + square), variance, 0.0)


def _spearman(labels: AnyArray, predictions: AnyArray, counts: FloatArray) -> FloatArray:
    """Return the correlation of the ranks within each resample."""
    middle = (counts.sum(axis=1, keepdims=True, dtype=np.float64) + 1) / 2
    y = _ranks(labels, counts) - middle
    table = np.empty((len(counts), len(predictions)))
    for k, run in enumerate(predictions):
        x = _ranks(run, counts) - middle
        xy, xx, yy = (np.einsum("bn,bn,bn->b", counts, a, b) for a, b in ((x, y), (x, x), (y, y)))
        table[:, k] = _ratio(xy, np.sqrt(xx * yy))
    return np.clip(table, -1, 1)


def _ranks(values: AnyArray, counts: FloatArray) -> FloatArray:
    """Return the rank of each example among the drawn ones, the middle for ties.

    values: (n,). counts: (B, n).
    """
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))
    sizes = np.add.reduceat(counts[:, order].astype(np.float64), starts, axis=1)
    return np.take(np.cumsum(sizes, axis=1) - (sizes - 1) / 2, group, axis=1)


WEIGHTED_METRICS: dict[str, Callable[[AnyArray, AnyArray, FloatArray], FloatArray]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
    "samples_f1": _samples_f1,
    "balanced_accuracy": _balanced_accuracy,
    "auroc": _auroc,
    "matthews_correlation": _matthews_correlation,
    "pearson": _pearson,
    "spearman": _spearman,
}
