"""Log loss, calibration, collapses and ensemble of runs whose answers are made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dps.tasks import metrics, registry
from dps.tasks.task import Task
from tune.stats.ensemble import summarise_answers
from tune.stats.evidence import BOOTSTRAP_SEED, estimate_model_score

EXAMPLES = 120
RTE, STSB = registry.get_task("rte"), registry.get_task("stsb")
TOPICS = Task("topics", ("text",), ("a", "b", "c"), ("micro_f1",), multi_label=True)


def make_runs(task: Task, count: int = 5) -> tuple[Any, list[Any]]:
    """Return labels and the logits of runs whose errors are their own."""
    rng = np.random.default_rng(7)
    if task.is_regression:
        labels = rng.normal(2.5, 1, EXAMPLES)
        return labels, [(labels + rng.normal(0, 1.5, EXAMPLES))[:, None] for _ in range(count)]
    classes = len(task.labels)
    labels = rng.integers(2, size=(EXAMPLES, 3)) if task.multi_label else rng.integers(classes, size=EXAMPLES)
    signal = 2 * labels - 1 if task.multi_label else np.eye(classes)[labels]
    return labels, [(signal + rng.normal(0, 1.2, signal.shape)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("task", [RTE, STSB, TOPICS], ids=lambda task: task.name)
def test_the_ensemble_is_the_model_of_the_mean_probabilities(task: Task) -> None:
    labels, logits = make_runs(task)
    found = summarise_answers(task, labels, logits)
    assert found is not None
    assert found.ensemble is not None
    if task.is_regression:
        answers = np.mean(logits, axis=0)[:, 0]
        assert (found.log_loss, found.ensemble.calibration_error) == (None, None)
    else:
        each = [metrics.compute_probabilities(run, task.multi_label) for run in logits]
        mean = np.mean(each, axis=0)
        answers = (mean > 0.5).astype(int) if task.multi_label else mean.argmax(axis=1)
        assert found.log_loss == pytest.approx(
            np.mean([metrics.compute_log_loss(labels, run) for run in each])
        )
        assert found.ensemble.log_loss == pytest.approx(metrics.compute_log_loss(labels, mean))
        assert found.ensemble.calibration_error == pytest.approx(
            metrics.compute_calibration_error(labels, mean)
        )
        assert found.ensemble.log_loss < found.log_loss  # by Jensen's inequality
    score = metrics.get_metric(task.metric)(labels, answers)
    alone = estimate_model_score(task.metric, labels, answers, BOOTSTRAP_SEED)
    assert found.ensemble.score == pytest.approx(score)
    assert alone.interval is not None
    assert found.ensemble.interval == pytest.approx(alone.interval)
    assert score > max(metrics.compute_scores(task, labels, run)[task.metric] for run in logits)
    assert (found.runs, found.ensemble.runs, found.collapsed) == (5, 5, 0)


def test_constant_predictions_are_counted_and_those_at_chance_by_luck_are_not() -> None:
    labels, (first, *_) = make_runs(RTE)
    constant = np.tile([0.1, 0.4], (EXAMPLES, 1)) * np.linspace(1, 2, EXAMPLES)[:, None]
    guesses = np.random.default_rng(1).normal(size=(EXAMPLES, 2))
    found = summarise_answers(RTE, labels, [first, constant, guesses])
    assert found is not None
    assert (found.collapsed, found.runs) == (1, 3)


def test_one_run_is_no_ensemble_and_none_says_nothing() -> None:
    labels, logits = make_runs(RTE)
    alone = summarise_answers(RTE, labels, logits[:1])
    assert alone is not None
    assert (alone.runs, alone.ensemble) == (1, None)
    assert alone.log_loss == metrics.compute_probability_scores(RTE, labels, logits[0])["log_loss"]
    assert summarise_answers(RTE, labels, []) is None
