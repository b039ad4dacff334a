"""Metrics of many runs on many bootstrap resamples of one evaluation set at once.

A resample of n examples is a row of counts (how often each example was drawn), so that a metric
over thousands of resamples is a few matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.tasks import metrics

FloatArray = NDArray[np.floating]
AnyArray = NDArray[Any]

_MAX_CHUNK_ENTRIES = 4_000_000  # entries of one matrix of counts
MAX_SLOW_RESAMPLES = 500  # resamples of a metric that is computed one by one
_RELATIVE_ROUNDING = 1e-12  # variances below this share of the second moment are rounding errors


def score_runs(
    metric: str, labels: AnyArray, predictions: AnyArray, weights: AnyArray | None = None
) -> FloatArray:
    """Return the metric of every run, on every resample if `weights` are given.

    labels: (n,); (n, labels) with several labels an example.
    predictions: (K, n), one row per run; (K, n, classes) for probabilities, (K, n, labels) as the labels.
    weights: (B, n) counts, each row with a sum > 0.
    Returns (B, K), or (K,) without weights, equal to `dps.tasks.metrics` on the repeated examples. Raises
    ValueError if the metric is unknown, shapes do not fit, or a value is not finite.
    """
    _check_predictions(metric, labels, predictions)
    counts = np.ones((1, len(labels)), np.float32) if weights is None else np.asarray(weights)
    if counts.ndim != 2 or counts.shape[1] != len(labels):
        raise ValueError(f"weights: must be (resamples, {len(labels)}), but got {counts.shape}")
    if not np.issubdtype(counts.dtype, np.floating):
        counts = counts.astype(np.float32)
    weighted = _WEIGHTED_METRICS.get(metric)
    if weighted and metric not in metrics.REGRESSION_METRICS:
        read = metrics.compute_margins if metric in metrics.RANKING_METRICS else metrics.classify_predictions
        predictions = np.stack([read(labels, run) for run in predictions])
    table = (
        weighted(labels, predictions, counts)
        if weighted
        else _score_one_by_one(metric, labels, predictions, counts)
    )
    return table[0] if weights is None else table


def bootstrap_scores(
    metric: str, labels: AnyArray, predictions: AnyArray, seed: int, resamples: int
) -> FloatArray:
    """Return the metric of every run on `resamples` bootstrap resamples of the examples: (resamples, K).

    The resamples depend on the seed and on n alone: all runs, and all calls, see the same ones. A scorer of
    scikit-learn gets at most MAX_SLOW_RESAMPLES, and resamples on which it is undefined (a class is missing)
    are dropped. Raises InputError if fewer than two are left.
    """
    count = resamples if metric in _WEIGHTED_METRICS else min(resamples, MAX_SLOW_RESAMPLES)
    table = np.concatenate(
        [
            score_runs(metric, labels, predictions, counts)
            for counts in draw_resamples(len(labels), count, seed)
        ]
    )
    table = np.compress(np.isfinite(table).all(axis=1), table, axis=0)
    if len(table) < 2:
        raise InputError(
            f"metric: {metric} is undefined in nearly all resamples; a class has too few examples"
        )
    return table


def draw_resamples(examples: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield the count of each example in each resample: chunks of (b, examples), `resamples` rows in all."""
    rng = np.random.default_rng(seed)
    rows = max(1, _MAX_CHUNK_ENTRIES // examples)
    for done in range(0, resamples, rows):
        count = min(rows, resamples - done)
        cells = rng.integers(0, examples, (count, examples)) + np.arange(count)[:, None] * examples
        flat = np.bincount(cells.ravel(), minlength=count * examples)
        yield flat.reshape(count, examples).astype(np.float32)


def _check_predictions(metric: str, labels: AnyArray, predictions: AnyArray) -> None:
    """Raise ValueError if the metric is unknown, shapes do not fit, or a value is not finite."""
    metrics.get_metric(metric)
    if labels.ndim not in (1, 2) or predictions.shape[1 : 1 + labels.ndim] != labels.shape:
        raise ValueError(
            f"predictions: must be (seeds, examples) for labels (examples,), "
            f"but got {predictions.shape} for {labels.shape}"
        )
    if predictions.size == 0:
        raise ValueError(f"predictions: there must be one run and one example, but got {predictions.shape}")
    if not (np.isfinite(labels).all() and np.isfinite(predictions).all()):
        raise ValueError(
            "labels, predictions: must be finite numbers; fill a diverged run with predict_constant"
        )


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


def _score_one_by_one(metric: str, labels: AnyArray, predictions: AnyArray, counts: FloatArray) -> FloatArray:
    """Score every run on every resample by repeating the examples."""
    measure, table = metrics.get_metric(metric), np.empty((len(counts), len(predictions)))
    for b, drawn in enumerate(counts.astype(np.int64)):
        index = np.repeat(np.arange(len(labels)), drawn)
        table[b] = [measure(labels[index], run[index]) for run in predictions]
    return table


_WEIGHTED_METRICS: dict[str, Callable[[AnyArray, AnyArray, FloatArray], FloatArray]] = {
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
