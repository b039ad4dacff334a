"""Transfer: testing a model that was trained on one task on other tasks.

If both tasks have the same classes, these are matched by name. Otherwise labels and predictions collapse to
two classes: entailment or not (neutral and contradiction are both not_entailment), duplicate or not (an
equivalent is a duplicate). Only class names count: qnli has those of rte, so it maps as rte does, though its
first text is a question. The predicted class is the argmax over the classes that the model was trained on,
which is then mapped: no probabilities are added up.

Source: Zhang et al., "Fine-Tuning Pre-Trained Language Models Effectively by Optimizing Subnetworks
Adaptively", NeurIPS 2022, the out-of-domain experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError, suggest_name
from dps.tasks.metrics import METRICS, compute_scores
from dps.tasks.registry import TASKS, get_task
from dps.tasks.task import Task

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TransferTarget:
    """Evaluation set of a transfer: a split of a task, with its own name."""

    name: str
    task: Task
    split: str


EVALUATION_SETS: dict[str, TransferTarget] = {
    **{name: TransferTarget(name, task, task.test_split) for name, task in TASKS.items()},
    "mnli-mm": TransferTarget("mnli-mm", get_task("mnli"), "dev_mismatched"),
}

# The paper's evaluation sets by training task, without the dev set of the task itself.
TRANSFER_TARGETS: dict[str, tuple[str, ...]] = {
    "mnli": ("mnli-mm", "snli", "sick", "scitail", "rte"),
    "snli": ("mnli", "mnli-mm", "snli", "sick", "scitail", "rte"),
    "mrpc": ("qqp",),
    "qqp": ("mrpc",),
    "rte": ("snli", "sick", "scitail"),
}

# Mappings of classes to two, in the order of the ids of the two.
CLASS_MAPPINGS: tuple[Mapping[str, str], ...] = (
    {
        "entailment": "entailment",
        "not_entailment": "not_entailment",
        "neutral": "not_entailment",
        "contradiction": "not_entailment",
    },
    {
        "not_duplicate": "not_duplicate",
        "duplicate": "duplicate",
        "not_equivalent": "not_duplicate",
        "equivalent": "duplicate",
    },
)


def get_transfer_target(name: str) -> TransferTarget:
    """Return the evaluation set of this name: a task's test split (else its dev set), or "mnli-mm".

    Raises InputError naming the known evaluation sets.
    """
    try:
        return EVALUATION_SETS[name]
    except KeyError:
        advice = suggest_name(name, EVALUATION_SETS)
        raise InputError(f"transfer: there is no evaluation set {name!r}; {advice}") from None


def check_transfer(trained: Task, target: TransferTarget) -> None:
    """Raise InputError if a model trained on `trained` cannot be tested on `target`.

    It cannot if either task predicts numbers or several labels, or if their classes cannot be mapped. A
    task's own evaluation sets are always allowed.
    """
    if target.task != trained:
        match_classes(trained, target)


def map_to_transfer_classes(
    trained: Task, target: TransferTarget, labels: Ids, logits: NDArray[np.floating]
) -> tuple[Ids, Ids]:
    """Return (gold, predicted) class ids, each (n,), in the classes of `match_classes`.

    labels: (n,) ids in the target's classes.
    logits: (n, classes of `trained`), finite. The argmax over them is mapped.

    Raises InputError as `check_transfer` does, ValueError for other shapes or ids.
    """
    names, table = match_classes(trained, target)
    expected = (len(labels), len(trained.labels))
    if logits.shape != expected:
        raise ValueError(
            f"logits must be of shape {expected} for task {trained.name}, but got {logits.shape}"
        )
    if np.any((labels < 0) | (labels >= len(target.task.labels))):
        raise ValueError(f"labels must be ids of the {len(target.task.labels)} classes of {target.name}")
    gold = _map_class_ids(target.task.labels, names, table)[labels]
    predicted = _map_class_ids(trained.labels, names, table)[logits.argmax(axis=1)]
    return gold, predicted


def compute_transfer_scores(
    trained: Task, target: TransferTarget, labels: Ids, logits: NDArray[np.floating]
) -> dict[str, float]:
    """Return every metric of the target's task by name, over the classes of `map_to_transfer_classes`.

    On a two-class target a predicted contradiction counts as not_entailment. A two-class model on a
    three-class target (rte on snli) is scored on two classes, with neutral and contradiction as one, so that
    its accuracy does not compare with that of a three-class model.

    Arguments and errors are those of `map_to_transfer_classes`.
    """
    if target.task == trained:
        return compute_scores(trained, labels, logits)
    gold, predicted = map_to_transfer_classes(trained, target, labels, logits)
    return {name: METRICS[name](gold, predicted) for name in target.task.metrics}


def match_classes(trained: Task, target: TransferTarget) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return the common classes in the order of their ids, and the mapping from the classes of both tasks.

    These are the target's if both tasks have the same, else the two that they collapse to. Raises InputError
    as `check_transfer` does.
    """
    ours, theirs = trained.labels, target.task.labels
    for task in (trained, target.task):
        if task.multi_label:
            rule = f"task {task.name} has several labels per example, not one class"
            raise _make_transfer_error(trained, target, rule)
        if task.is_regression:
            rule = f"task {task.name} predicts numbers, and only classes transfer"
            raise _make_transfer_error(trained, target, rule)
    if set(ours) == set(theirs):
        return theirs, {name: name for name in theirs}
    for table in CLASS_MAPPINGS:
        if {*ours, *theirs} <= table.keys():
            return tuple(dict.fromkeys(table.values())), table
    rule = f"classes {', '.join(ours)} do not map to {', '.join(theirs)}"
    raise _make_transfer_error(trained, target, rule)


def _make_transfer_error(trained: Task, target: TransferTarget, rule: str) -> InputError:
    fitting = ", ".join(TRANSFER_TARGETS.get(trained.name, ()))
    advice = f"choose among {fitting}" if fitting else "leave it out"
    return InputError(f"transfer: {trained.name} cannot be tested on {target.name}: {rule}; {advice}")


def _map_class_ids(labels: tuple[str, ...], names: tuple[str, ...], table: Mapping[str, str]) -> Ids:
    """Return for each class of a task its id among `names`: (labels,)."""
    return np.array([names.index(table[label]) for label in labels], dtype=np.int64)
