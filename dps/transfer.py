"""Out of domain: a model trained on one task, tested on other tasks.

Where both tasks have the same classes, they are matched by name. Where they differ, both
labels and predictions collapse to two classes: entailment or not (a neutral and a
contradiction are both not_entailment), duplicate or not (an equivalent is a duplicate).
Only the names of the classes count: qnli has those of rte, so it maps as rte does, though
its first text is a question.
The model's class is the argmax over the classes it was trained on, and that class is
mapped: no probability mass is summed.

Source: Zhang et al., "Fine-Tuning Pre-Trained Language Models Effectively by Optimizing
Subnetworks Adaptively", NeurIPS 2022, the out-of-domain experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dps import metrics
from dps.errors import InputError
from dps.tasks import TASKS, Task, get

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Target:
    """An evaluation set: a split of a task, under a name of its own."""

    name: str
    task: Task
    split: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Its text columns in the order the model reads them: premise, sentence1, question1 first."""
        return self.task.columns


KNOWN: dict[str, Target] = {
    **{name: Target(name, task, task.test_split) for name, task in TASKS.items()},
    "mnli-mm": Target("mnli-mm", get("mnli"), "dev_mismatched"),
}

# The paper's evaluation sets by training task, without the dev set of the task itself.
TARGETS: dict[str, tuple[str, ...]] = {
    "mnli": ("mnli-mm", "snli", "sick", "scitail", "rte"),
    "snli": ("mnli", "mnli-mm", "snli", "sick", "scitail", "rte"),
    "mrpc": ("qqp",),
    "qqp": ("mrpc",),
    "rte": ("snli", "sick", "scitail"),
}

# Tables of the classes that collapse to two, in the order of the ids of the two.
COLLAPSES: tuple[Mapping[str, str], ...] = (
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


def targets(name: str) -> Target:
    """The evaluation set of this name: a task's test split (else its dev set), or "mnli-mm".

    Raises InputError naming the evaluation sets there are.
    """
    try:
        return KNOWN[name]
    except KeyError:
        known = ", ".join(KNOWN)
        raise InputError(f"transfer: there is no evaluation set {name!r}; choose among {known}") from None


def check(trained: Task, target: Target) -> None:
    """Raises InputError where a model of `trained` cannot be tested on `target`.

    That is where either predicts numbers, or where their classes cannot be mapped. A task's own sets
    always can.
    """
    if target.task != trained:
        _compared(trained, target)


def classes(trained: Task, target: Target) -> tuple[str, ...]:
    """The classes that labels and predictions are compared in, in the order of their ids.

    Those of the target where both tasks have the same, else the two they collapse to.
    Raises InputError as `check` does.
    """
    return _compared(trained, target)[0]


def mapped(trained: Task, target: Target, labels: Ids, logits: NDArray[np.floating]) -> tuple[Ids, Ids]:
    """(gold, predicted), each (n,): ids in `classes(trained, target)` of every example.

    labels: (n,) ids in the target's classes. logits: (n, classes of `trained`), finite. The
    predicted class is the argmax over the trained task's classes, mapped afterwards.

    Raises InputError as `check` does, ValueError for other shapes or ids.
    """
    names, table = _compared(trained, target)
    expected = (len(labels), len(trained.labels))
    if logits.shape != expected:
        raise ValueError(
            f"logits must be of shape {expected} for task {trained.name}, but got {logits.shape}"
        )
    if np.any((labels < 0) | (labels >= len(target.task.labels))):
        raise ValueError(f"labels must be ids of the {len(target.task.labels)} classes of {target.name}")
    gold = _ids(target.task.labels, names, table)[labels]
    predicted = _ids(trained.labels, names, table)[logits.argmax(axis=1)]
    return gold, predicted


def score(trained: Task, target: Target, labels: Ids, logits: NDArray[np.floating]) -> dict[str, float]:
    """Every metric of the target's task, over `mapped` labels and predictions.

    On a two-class target a predicted contradiction counts as not_entailment. A two-class
    model on a three-class target (rte on snli) is scored on two classes: neutral and
    contradiction are one there, so its accuracy is not that of a three-class model.

    Arguments and errors as for `mapped`.
    """
    if target.task == trained:
        return metrics.score(trained, labels, logits)
    gold, predicted = mapped(trained, target, labels, logits)
    return {name: metrics.METRICS[name](gold, predicted) for name in target.task.metrics}


def _compared(trained: Task, target: Target) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The classes compared in, and to which of them each class of either task belongs."""
    ours, theirs = trained.labels, target.task.labels
    for task in (trained, target.task):
        if task.multi_label:
            raise _refusal(trained, target, f"task {task.name} has several labels an example, not one class")
        if task.is_regression:
            raise _refusal(trained, target, f"task {task.name} predicts a number, and only classes transfer")
    if set(ours) == set(theirs):
        return theirs, {name: name for name in theirs}
    for table in COLLAPSES:
        if {*ours, *theirs} <= table.keys():
            return tuple(dict.fromkeys(table.values())), table
    raise _refusal(trained, target, f"classes {', '.join(ours)} do not map to {', '.join(theirs)}")


def _refusal(trained: Task, target: Target, rule: str) -> InputError:
    fitting = ", ".join(TARGETS.get(trained.name, ()))
    advice = f"choose among {fitting}" if fitting else "leave it out"
    return InputError(f"transfer: {trained.name} cannot be tested on {target.name}: {rule}; {advice}")


def _ids(labels: tuple[str, ...], names: tuple[str, ...], table: Mapping[str, str]) -> Ids:
    """(classes of a task,): the id among `names` of each."""
    return np.array([names.index(table[label]) for label in labels], dtype=np.int64)
