"""Metrics against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

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


def softmax(values: np.ndarray) -> np.ndarray:
    return metrics.compute_probabilities(values, multi_label=False)


def slow_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Guo et al., equation 3, bin by bin, each open on the left."""
    confidence, total = probabilities.max(axis=1), 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            accuracy = np.mean(probabilities[inside].argmax(axis=1) == labels[inside])
            total += inside.mean() * abs(accuracy - confidence[inside].mean())
    return total


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_log_loss_and_calibration_error_of_classes(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels, made = rng.integers(classes, size=200), softmax(rng.normal(0, 3, (200, classes)))
    expected = sklearn.metrics.log_loss(labels, made, labels=range(classes))
    assert metrics.compute_log_loss(labels, made) == pytest.approx(expected)
    slow = slow_calibration_error(labels, made)
    assert metrics.compute_calibration_error(labels, made) == pytest.approx(slow)
    assert slow > 0.05


def test_log_loss_and_calibration_error_of_several_labels_are_means_over_the_labels() -> None:
    rng = np.random.default_rng(1)
    labels, made = rng.integers(2, size=(150, 3)), rng.random((150, 3))
    pairs = [(labels[:, k], np.stack([1 - made[:, k], made[:, k]], axis=1)) for k in range(3)]
    losses = [sklearn.metrics.log_loss(*pair, labels=(0, 1)) for pair in pairs]
    assert metrics.compute_log_loss(labels, made) == pytest.approx(np.mean(losses))
    errors = [slow_calibration_error(*pair) for pair in pairs]
    assert metrics.compute_calibration_error(labels, made) == pytest.approx(np.mean(errors))


def test_what_is_surely_right_costs_nothing_and_what_is_surely_wrong_a_finite_amount() -> None:
    labels, sure = np.array([0, 1]), np.array([[1000.0, -1000.0], [-1000.0, 1000.0]])
    right, wrong = (
        metrics.compute_probability_scores(registry.get_task("cola"), labels, logits)
        for logits in (sure, -sure)
    )
    assert right == {"log_loss": 0.0, "calibration_error": 0.0}
    assert (wrong["log_loss"], wrong["calibration_error"]) == (pytest.approx(-math.log(2.0**-52)), 1.0)
    numbers = metrics.compute_probability_scores(registry.get_task("stsb"), np.arange(2.0), np.zeros((2, 1)))
    assert numbers == {}


@pytest.mark.parametrize(
    ("task", "labels", "predictions", "share"),
    [
        ("cola", [0, 1, 1, 0], [1, 1, 1, 1], 1.0),
        ("mnli", [0, 1, 2, 0], [1, 0, 1, 1], 0.75),
        ("cola", [0, 1, 1, 0], [0.2, 3.0, -1.0, 0.1], 0.75),  # margins
        ("cola", [0, 1, 1, 0], [[0.4, 0.6], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8]], 1.0),
        ("topics", [[0, 1], [1, 1], [0, 0]], [[0, 1], [0, 1], [1, 1]], 2 / 3),
        ("stsb", [0.0, 1.0, 2.0, 5.0], [2.5, 2.5, 2.501, 2.499], 1.0),
        ("stsb", [0.0, 1.0, 2.0, 5.0], [2.5, 2.5, 2.6, 2.4], 0.5),
    ],
)
def test_the_share_of_the_most_frequent_answer(
    task: str, labels: Any, predictions: Any, share: float
) -> None:
    topics = Task("topics", ("text",), ("a", "b"), ("micro_f1",), multi_label=True)
    found = topics if task == "topics" else registry.get_task(task)
    assert metrics.compute_top_share(found, np.array(labels), np.array(predictions)) == pytest.approx(share)


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_probabilities_of_averaged_logits_are_the_mean_probabilities(multi_label: bool) -> None:
    logits = np.random.default_rng(0).normal(0, 4, (5, 30, 3)).astype(np.float32)
    logits[0, 0], logits[1, 0] = [900, -900, 0], [-900, 900, 0]  # probabilities of 0 and 1
    each = [metrics.compute_probabilities(run, multi_label) for run in logits.clip(-700, 700)]
    found = metrics.average_logits(logits, multi_label)
    assert np.isfinite(found).all()
    made = metrics.compute_probabilities(found, multi_label)
    assert made == pytest.approx(np.mean(each, axis=0))


def test_numbers_are_averaged_as_they_are() -> None:
    assert metrics.average_logits(np.array([[[1.0], [5.0]], [[2.0], [3.0]]])).tolist() == [[1.5], [4.0]]


@pytest.mark.parametrize("name", metrics.METRICS)
def test_predictions_that_are_not_one_finite_number_for_each_label_have_no_score(name: str) -> None:
    is_multi_label = name in ("micro_f1", "samples_f1")
    labels = np.array([[0, 1], [1, 1], [1, 0]]) if is_multi_label else np.array([0, 1, 1])
    scores = np.array([0.1, np.nan, 0.4])
    if name in ("auroc", "pearson", "spearman"):
        assert math.isnan(metrics.METRICS[name](labels, scores))
    for wrong in (labels[:1], np.concatenate([labels, labels])):
        with pytest.raises(ValueError, match=f"{name}: .* give one for each label"):
            metrics.METRICS[name](labels, wrong)
    with pytest.raises(ValueError, match="give one for each label"):
        metrics.METRICS[name](labels[:0], labels[:0])
