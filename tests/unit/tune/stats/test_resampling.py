"""Metrics over resamples against `dps.tasks.metrics` on repeated examples."""

from __future__ import annotations

import numpy as np
import pytest

from dps.tasks.metrics import (
    BINARY_METRICS,
    CLASSIFICATION_METRICS,
    METRICS,
    MULTI_LABEL_METRICS,
    RANKING_METRICS,
)
from tests.unit.dps.tasks.reference_metrics import REFERENCE_METRICS
from tune.stats import resampling
from tune.stats.resampling import bootstrap_scores, draw_resamples, score_runs

OF_SEVERAL_ALONE = [metric for metric in MULTI_LABEL_METRICS if metric not in CLASSIFICATION_METRICS]
OF_ONE = [metric for metric in METRICS if metric not in OF_SEVERAL_ALONE]


def several_labels(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, 4), as runs keep them, and what three runs say (3, n, 4); the last label is very rare."""
    rng = np.random.default_rng(7)
    labels = rng.random((n, 4)) < (0.6, 0.3, 0.1, 0.01)
    runs = [np.where(rng.random((n, 4)) < q, labels, rng.random((n, 4)) < 0.2) for q in (0.2, 0.5, 0.9)]
    return labels.astype(np.float32), np.stack(runs).astype(np.int64)


def example_data(metric: str, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    if metric in OF_SEVERAL_ALONE:
        return several_labels(n)
    rng = np.random.default_rng(7)
    if metric in ("pearson", "spearman"):
        labels = np.round(rng.random(n) * 5, 1)  # ties
        return labels, np.stack([labels + rng.normal(0, s, n) for s in (0.5, 2, 8)]).astype(np.float32)
    classes = 2 if metric in BINARY_METRICS else 3
    labels = rng.integers(0, classes, n)
    if metric in RANKING_METRICS:
        margins = [labels + np.round(rng.normal(0, s, n), 1) for s in (0.5, 2, 8)]  # ties
        return labels, np.stack(margins).astype(np.float32) - 0.5
    return labels, np.stack(
        [np.where(rng.random(n) < q, labels, rng.integers(0, classes, n)) for q in (0.2, 0.5, 0.9)]
    )


def expected(metric: str, labels: np.ndarray, predictions: np.ndarray) -> list[float]:
    return [REFERENCE_METRICS[metric](labels, run) for run in predictions]


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_the_libraries(metric: str) -> None:
    labels, predictions = example_data(metric)
    assert score_runs(metric, labels, predictions) == pytest.approx(
        expected(metric, labels, predictions), abs=1e-6
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_weights_are_repeated_examples(metric: str, kind: type) -> None:
    labels, predictions = example_data(metric)
    weights = np.random.default_rng(1).integers(0, 4, (5, len(labels)))
    weights[1] = 1
    table = score_runs(metric, labels, predictions, weights.astype(kind))
    for row, counts in zip(table, weights, strict=True):
        index = np.repeat(np.arange(len(labels)), counts)
        assert row == pytest.approx(expected(metric, labels[index], predictions[:, index]), abs=1e-6)


@pytest.mark.parametrize("metric", OF_ONE)
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_what_is_constant_scores_as_in_the_libraries(metric: str) -> None:
    labels = np.array([0, 1, 1, 0, 1, 1])
    predictions = np.array([[0] * 6, [1] * 6, labels, 1 - labels, [0, 1, 1, 1, 1, 1]])
    for gold in (labels, np.ones_like(labels), np.zeros_like(labels)):
        assert score_runs(metric, gold, predictions) == pytest.approx(expected(metric, gold, predictions))


@pytest.mark.parametrize("metric", MULTI_LABEL_METRICS)
def test_several_labels_an_example(metric: str) -> None:
    labels, predictions = several_labels(20)
    weights = np.random.default_rng(1).integers(0, 4, (5, 20))
    weights[0] = np.arange(20) == 3  # a single example
    weights[1] = np.where(labels.any(axis=1), 0, 1)  # none of them has a label
    assert weights[1].any()
    for row, counts in zip(score_runs(metric, labels, predictions, weights), weights, strict=True):
        index = np.repeat(np.arange(20), counts)
        assert row == pytest.approx(expected(metric, labels[index], predictions[:, index]), abs=1e-6)


@pytest.mark.parametrize("metric", OF_ONE)
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_a_resample_can_be_constant(metric: str) -> None:
    labels = np.array([0.1, 0.1, 0.3, 0.7]) if metric in ("pearson", "spearman") else np.array([1, 1, 0, 0])
    predictions = np.stack([labels, labels[[2, 2, 0, 3]], labels[[2, 2, 2, 3]]])
    for counts in ([3, 1, 0, 0], [1, 1, 2, 0], [0, 0, 4, 0]):
        index = np.repeat(np.arange(4), counts)
        found = score_runs(metric, labels, predictions, np.array([counts]))[0]
        assert found == pytest.approx(expected(metric, labels[index], predictions[:, index]))


@pytest.mark.parametrize("metric", [*CLASSIFICATION_METRICS, *BINARY_METRICS])
def test_margins_say_the_class_too(metric: str) -> None:
    labels, margins = example_data("auroc")
    ids = margins if metric in RANKING_METRICS else (margins > 0).astype(int)
    assert score_runs(metric, labels, margins) == pytest.approx(score_runs(metric, labels, ids))
    assert score_runs(metric, labels, margins) == pytest.approx(expected(metric, labels, margins), abs=1e-6)


def test_any_other_metric_is_computed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "errors", lambda labels, predictions: float((labels != predictions).sum()))
    labels, predictions = np.array([0, 1, 1]), np.array([[0, 0, 0], [1, 1, 1]])
    assert score_runs("errors", labels, predictions).tolist() == [2, 1]
    assert score_runs("errors", labels, predictions, np.array([[0, 3, 0], [1, 1, 1]])).tolist() == [
        [3, 0],
        [2, 1],
    ]


@pytest.mark.parametrize(
    ("metric", "labels", "predictions", "weights", "says"),
    [
        ("bleu", np.zeros(3), np.zeros((1, 3)), None, "metric: there is no 'bleu'; choose one of"),
        ("accuracy", np.zeros(3), np.zeros(3), None, r"predictions: must be \(seeds, examples\)"),
        ("accuracy", np.zeros(3), np.zeros((1, 4)), None, r"got \(1, 4\) for \(3,\)"),
        ("accuracy", np.zeros(3), np.zeros((0, 3)), None, "there must be one run"),
        ("accuracy", np.zeros(3), np.full((1, 3), np.nan), None, "fill a diverged run"),
        ("accuracy", np.zeros(3), np.zeros((1, 3)), np.ones((2, 4)), r"weights: must be \(resamples, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(
    metric: str, labels: np.ndarray, predictions: np.ndarray, weights: np.ndarray | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        score_runs(metric, labels, predictions, weights)


def test_draws_come_in_chunks_and_each_is_one_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_MAX_CHUNK_ENTRIES", 100)
    chunks = list(draw_resamples(30, 10, seed=0))
    assert [chunk.shape for chunk in chunks] == [(3, 30)] * 3 + [(1, 30)]
    counts = np.concatenate(chunks)
    assert (counts.sum(axis=1) == 30).all()
    assert len(np.unique(counts, axis=0)) == 10


def test_all_runs_see_the_same_resamples() -> None:
    labels, predictions = example_data("accuracy")
    together = bootstrap_scores("accuracy", labels, predictions, seed=3, resamples=50)
    assert (bootstrap_scores("accuracy", labels, predictions[1:2], 3, 50)[:, 0] == together[:, 1]).all()
    assert (bootstrap_scores("accuracy", labels, predictions, 4, 50) != together).any()


def test_what_is_left_by_rounding_is_no_correlation() -> None:
    rng = np.random.default_rng(0)
    labels, predictions = rng.random(7), np.full((1, 7), 1 / 3)
    predictions[0, 6] = 1.7
    without_the_last = rng.multinomial(7, [1 / 6] * 6 + [0], 200)
    assert (score_runs("pearson", labels, predictions, without_the_last) == 0).all()
