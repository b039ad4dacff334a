"""Metrics against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dps.tasks import metrics, registry
from dps.tasks.task import Task

LABELS = np.array([1, 1, 1, 0, 0, 1])
PREDICTIONS = np.array([1, 1, 0, 0, 1, 0])  # 2 true positives, 1 false, 2 false negatives, 1 true


def logits(predictions: np.ndarray, classes: int = 2) -> np.ndarray:
    return np.eye(classes)[predictions] * 3 - 1


def test_matthews_correlation() -> None:
    tp, fp, fn, tn = 2, 1, 2, 1
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    scores = metrics.compute_scores(registry.get_task("cola"), LABELS, logits(PREDICTIONS))
    assert scores == {"matthews_correlation": pytest.approx(expected)}


def test_f1_comes_first_for_paraphrases_and_counts_the_positive_class() -> None:
    scores = metrics.compute_scores(registry.get_task("mrpc"), LABELS, logits(PREDICTIONS))
    assert list(scores) == ["f1", "accuracy"]
    assert scores["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))
    assert scores["accuracy"] == pytest.approx(3 / 6)


def test_accuracy_of_three_classes() -> None:
    labels, predictions = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 2])
    assert metrics.compute_scores(registry.get_task("mnli"), labels, logits(predictions, 3)) == {
        "accuracy": 0.75
    }


def test_pearson_and_spearman() -> None:
    labels, predictions = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 4.0, 3.0])
    scores = metrics.compute_scores(registry.get_task("stsb"), labels, predictions[:, None])
    assert scores == {"pearson": pytest.approx(0.8), "spearman": pytest.approx(0.8)}
    curved = metrics.compute_scores(registry.get_task("stsb"), labels, np.exp(labels)[:, None])
    assert curved["spearman"] == pytest.approx(1.0)
    assert curved["pearson"] < 0.99


@pytest.mark.parametrize("kind", [0, 1])
def test_a_model_that_always_says_the_same_class_scores_zero(kind: int) -> None:
    constant = logits(np.full(6, kind))
    assert metrics.compute_scores(registry.get_task("cola"), LABELS, constant) == {
        "matthews_correlation": 0.0
    }
    assert metrics.compute_scores(registry.get_task("mrpc"), LABELS, logits(np.zeros(6, int)))["f1"] == 0.0


def test_a_model_that_always_says_the_same_number_scores_zero_and_not_nan() -> None:
    labels = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    scores = metrics.compute_scores(registry.get_task("stsb"), labels, np.full((3, 1), 2.5, dtype=np.float32))
    assert scores == {"pearson": 0.0, "spearman": 0.0}
    assert (
        metrics.compute_scores(registry.get_task("stsb"), np.ones(3), np.array([[1.0], [2.0], [3.0]]))[
            "pearson"
        ]
        == 0.0
    )


@pytest.mark.parametrize("task", registry.GLUE_TASKS.values(), ids=lambda task: task.name)
def test_every_task_scores_plain_floats_with_its_primary_metric_first(task: Task) -> None:
    classes = max(1, len(task.labels))
    labels = np.arange(6, dtype=np.float32) if task.is_regression else np.arange(6) % classes
    perfect = labels[:, None] if task.is_regression else logits(labels, classes)
    scores = metrics.compute_scores(task, labels, perfect)
    assert next(iter(scores)) == task.metric
    assert list(scores) == list(task.metrics)
    assert all(type(value) is float and value == pytest.approx(1.0) for value in scores.values())
