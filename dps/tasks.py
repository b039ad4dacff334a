"""Tasks: what is read, what is predicted, how it is scored.

A task names its text columns, its labels in the order of their ids, its metrics
(the first one ranks configurations) and its splits. The GLUE eight are here;
see `get` for looking one up.

Source: Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for
Natural Language Understanding", ICLR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

from dps.errors import InputError

LABEL = "label"


@dataclass(frozen=True)
class Task:
    """One supervised task.

    name: identifier used on the command line, in MLflow and in file names.
    columns: one text column, or two for a pair of texts.
    labels: class names, in the order of their ids; empty for regression.
    metrics: names known to `dps.metrics`; the first is the primary metric.
    score_range: closed range of a regression label; None for classification.
    splits: "train", "dev" and further evaluation sets ("dev_mismatched").
    direction: "max" or "min", of the primary metric.
    """

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    score_range: tuple[float, float] | None = None
    splits: tuple[str, ...] = ("train", "dev")
    direction: str = "max"

    @property
    def metric(self) -> str:
        """The primary metric: configurations are ranked by it."""
        return self.metrics[0]

    @property
    def is_regression(self) -> bool:
        """True where the label is a number, not a class."""
        return not self.labels

    @property
    def dev_splits(self) -> tuple[str, ...]:
        """The evaluation sets, the main one first."""
        return self.splits[1:]


ENTAILMENT = ("entailment", "not_entailment")

GLUE: dict[str, Task] = {
    task.name: task
    for task in (
        Task("cola", ("sentence",), ("unacceptable", "acceptable"), ("matthews_correlation",)),
        Task("sst2", ("sentence",), ("negative", "positive"), ("accuracy",)),
        Task("mrpc", ("sentence1", "sentence2"), ("not_equivalent", "equivalent"), ("f1", "accuracy")),
        Task("stsb", ("sentence1", "sentence2"), (), ("pearson", "spearman"), score_range=(0.0, 5.0)),
        Task("qqp", ("question1", "question2"), ("not_duplicate", "duplicate"), ("f1", "accuracy")),
        Task(
            "mnli",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            ("accuracy",),
            splits=("train", "dev", "dev_mismatched"),
        ),
        Task("qnli", ("question", "sentence"), ENTAILMENT, ("accuracy",)),
        Task("rte", ("sentence1", "sentence2"), ENTAILMENT, ("accuracy",)),
    )
}


def get(name: str) -> Task:
    """The task of this name. Raises InputError naming the tasks there are."""
    try:
        return GLUE[name]
    except KeyError:
        raise InputError(f"task: there is no task {name!r}; choose one of {', '.join(GLUE)}") from None
