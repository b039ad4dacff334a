"""Losses in place of the model's own: their formulas, and that every method trains with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from dps.attachment import attachment_of
from dps.attachment.losses import TaskLoss, balance_classes, check_loss, get_task_loss
from dps.errors import InputError
from dps.methods import METHODS, make_method
from dps.tasks.registry import get_task
from dps.tasks.task import Task
from tests import tiny

TEAMS = Task("teams", ("text",), ("a", "b", "c"), ("micro_f1",), multi_label=True)
LABELS = torch.tensor([0, 0, 0, 1, 2, 2])
LISTS = torch.tensor([[0, 1, 1], [0, 0, 1], [0, 1, 0], [1, 1, 1], [0, 1, 0], [0, 1, 1]]).float()
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_balanced_weighs_examples_by_their_class(smoothing: float) -> None:
    """Of n = 6 examples of 3 classes, weights are 6 / (3 * 3), 6 / (3 * 1), 6 / (3 * 2): 1 in the mean."""
    loss = TaskLoss.fit("balanced", replace(TEAMS, multi_label=False), LABELS.numpy())
    each = functional.cross_entropy(LOGITS, LABELS, reduction="none", label_smoothing=smoothing)
    expected = (each * torch.tensor([2 / 3, 2 / 3, 2 / 3, 2, 1, 1])).mean()
    torch.testing.assert_close(loss.compute(LOGITS, LABELS, smoothing), expected)
    parts = [loss.compute(LOGITS[rows], LABELS[rows]) * len(rows) / 6 for rows in ([0, 1, 2, 3], [4, 5])]
    torch.testing.assert_close(sum(parts), loss.compute(LOGITS, LABELS))


def test_balanced_weighs_each_label_between_yes_and_no() -> None:
    """The ratio of the weights is torch's `pos_weight`, the number of no by that of yes."""
    loss = TaskLoss.fit("balanced", TEAMS, LISTS.numpy())
    yes = LISTS.sum(dim=0)
    expected = functional.binary_cross_entropy_with_logits(
        LOGITS, LISTS, weight=6 / (2 * (6 - yes)), pos_weight=(6 - yes) / yes
    )
    torch.testing.assert_close(loss.compute(LOGITS, LISTS), expected)


def test_a_class_that_does_not_occur_has_a_weight() -> None:
    np.testing.assert_allclose(balance_classes(np.array([3, 0, 1])), [2 / 3, 2, 2])


@pytest.mark.parametrize("labels", [LABELS, LISTS])
def test_focal_counts_what_is_hard(labels: torch.Tensor) -> None:
    odds = LOGITS.softmax(dim=1) if labels.ndim == 1 else LOGITS.sigmoid()
    right = odds[torch.arange(6), labels] if labels.ndim == 1 else torch.where(labels > 0, odds, 1 - odds)
    torch.testing.assert_close(
        TaskLoss("focal").compute(LOGITS, labels), -((1 - right) ** 2 * right.log()).mean()
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_with_the_loss(name: str) -> None:
    """With weights of 0 nothing is left but the disagreement of passes, which is 0 without dropout."""
    model, (batch,) = tiny.bert(), tiny.batches(1)
    restore = TaskLoss("balanced", torch.zeros(2)).apply(model)
    optimizer = make_method(name).attach(model, torch.optim.SGD(model.parameters(), 0.1), 100)
    attachment: Any = attachment_of(optimizer)
    assert float(attachment.backward(model, batch)) == pytest.approx(0, abs=1e-6)
    attachment.detach()
    restore()
    assert get_task_loss(model) == TaskLoss()
    assert model(**batch).loss.item() > 0.1


@pytest.mark.parametrize("name", ["plain", "balanced"])
def test_smoothing_of_a_run_is_that_of_the_model_and_of_methods_with_a_loss_of_their_own(name: str) -> None:
    model, (batch,) = tiny.bert(), tiny.batches(1)
    model.eval()
    labels = batch["labels"]
    restore = TaskLoss.fit(name, get_task("cola"), np.array([0, 1]), 0.3).apply(model)
    given = model(**batch)
    expected = functional.cross_entropy(given.logits, labels, label_smoothing=0.3)
    torch.testing.assert_close(given.loss, expected)
    torch.testing.assert_close(get_task_loss(model).compute(given.logits, labels), expected)
    restore()
    torch.testing.assert_close(model(**batch).loss, functional.cross_entropy(given.logits, labels))


@pytest.mark.parametrize(
    ("loss", "task", "methods", "smoothing", "words"),
    [
        ("balanced", "stsb", (), 0, "--loss: balanced needs classes"),
        ("plain", "stsb", (), 0.1, "label_smoothing needs classes, but the labels of stsb are numbers"),
        (
            "focal",
            "cola",
            ("sam", "label-smoothing"),
            0,
            "--loss, --method: focal .* label-smoothing smooths",
        ),
        ("focal", "cola", (), 0.1, "--loss, --method: focal .* label_smoothing smooths"),
        ("plain", "cola", ("label-smoothing",), 0.1, "label_smoothing: label-smoothing smooths .* by itself"),
    ],
)
def test_losses_that_cannot_be(
    loss: str, task: str, methods: tuple[str, ...], smoothing: float, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        check_loss(loss, get_task(task), [METHODS[name] for name in methods], smoothing)
