"""Metrics of many runs on many bootstrap resamples of one evaluation set: `dps.tasks.weighted_metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.tasks import metrics
from dps.tasks.weighted_metrics import WEIGHTED_METRICS

FloatArray = NDArray[np.floating]
AnyArray = NDArray[Any]

_MAX_CHUNK_ENTRIES = 4_000_000  # entries of one matrix of counts
MAX_SLOW_RESAMPLES = 500  # resamples of a metric that is computed one by one


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
    if weighted := WEIGHTED_METRICS.get(metric):
        read = np.stack([metrics.read_predictions(metric, labels, run) for run in predictions])
        table = weighted(labels, read, counts)
    else:
        table = _score_one_by_one(metric, labels, predictions, counts)
    return table[0] if weights is None else table


def bootstrap_scores(
    metric: str, labels: AnyArray, predictions: AnyArray, seed: int, resamples: int
) -> FloatArray:
    """Return the metric of every run on `resamples` bootstrap resamples of the examples: (resamples, K).

    The resamples depend on the seed and on n alone: all runs, and all calls, see the same ones. A scorer of
    scikit-learn gets at most MAX_SLOW_RESAMPLES, and resamples on which it is undefined (a class is missing)
    are dropped. Raises InputError if fewer than two are left.
    """
    count = resamples if metric in WEIGHTED_METRICS else min(resamples, MAX_SLOW_RESAMPLES)
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


def _score_one_by_one(metric: str, labels: AnyArray, predictions: AnyArray, counts: FloatArray) -> FloatArray:
    """Score every run on every resample by repeating the examples."""
    measure, table = metrics.get_metric(metric), np.empty((len(counts), len(predictions)))
    for b, drawn in enumerate(counts.astype(np.int64)):
        index = np.repeat(np.arange(len(labels)), drawn)
        table[b] = [measure(labels[index], run[index]) for run in predictions]
    return table
