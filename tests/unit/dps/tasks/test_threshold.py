"""The probability from which on something is said: what it decides, and how it is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dps.errors import InputError
from dps.tasks.metrics import (
    check_threshold,
    choose_threshold,
    classify_predictions,
    compute_predictions,
    compute_probabilities,
    compute_scores,
)
from dps.tasks.registry import get_task
from dps.tasks.task import Task

COLA = get_task("cola")
TEAMS = Task("teams", ("text",), ("a", "b", "c"), ("micro_f1",), multi_label=True)


@pytest.mark.parametrize("metrics", [("accuracy",), ("accuracy", "auroc")])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_the_second_of_two_classes_is_said_above_it(threshold: float, metrics: tuple[str, ...]) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 2)) * 2
    labels, probability = np.arange(50) % 2, np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
    task = replace(COLA, metrics=metrics).with_threshold(threshold)
    said = classify_predictions(labels, compute_predictions(task, logits))
    np.testing.assert_array_equal(said, probability > threshold)
    of_half = compute_scores(task.with_threshold(0.5), labels, logits)
    assert compute_scores(task, labels, logits).get("auroc") == of_half.get("auroc")


def test_a_label_is_said_above_it() -> None:
    logits = np.log(np.array([[0.3, 0.6, 0.8]]) / np.array([[0.7, 0.4, 0.2]]))
    assert compute_predictions(TEAMS.with_threshold(0.7), logits).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_between_the_probabilities_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(20, 2)), rng.integers(0, 2, 20)

    def score(threshold: float) -> float:
        return compute_scores(COLA.with_threshold(threshold), labels, logits)["matthews_correlation"]

    chosen, probabilities = choose_threshold(COLA, labels, logits), compute_probabilities(logits, False)[:, 1]
    others = np.linspace(probabilities.min() + 1e-6, probabilities.max() - 1e-6, 60)
    assert all(score(chosen) >= score(threshold) for threshold in others)
    assert chosen == 0.5 or score(chosen) > score(0.5)


def test_one_threshold_holds_for_all_labels() -> None:
    """What is true has a probability of 0.3, what is not of 0.1: 0.5 would say nothing."""
    labels = np.eye(3, dtype=np.int64)
    probabilities = np.where(labels, 0.3, 0.1)
    logits = np.log(probabilities / (1 - probabilities))
    chosen = choose_threshold(TEAMS, labels, logits)
    assert 0.1 < chosen < 0.3
    assert compute_scores(TEAMS.with_threshold(chosen), labels, logits) == {"micro_f1": 1.0}


@pytest.mark.parametrize(
    ("task", "threshold", "words"),
    [
        (COLA, 1.0, r"must be tuned, or a probability in \(0, 1\), but got 1.0"),
        (COLA, "low", "must be tuned"),
        (get_task("stsb"), "tuned", "stsb has numbers; only two classes"),
        (get_task("mnli"), 0.3, "mnli has 3 classes; only two classes"),
        (replace(COLA, metrics=("f1", "f1_macro")), "tuned", "f1_macro is a scorer of scikit-learn"),
        (replace(COLA, metrics=("auroc", "f1")), "tuned", "auroc is the same at every threshold"),
    ],
)
def test_thresholds_that_cannot_be(task: Task, threshold: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"^threshold: {words}"):
        check_threshold(threshold, task)
