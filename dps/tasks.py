"""Tasks: what is read, what is predicted, how it is scored.

A task names its text columns, its labels in the order of their ids, its metrics
(the first one ranks configurations) and its splits. The GLUE eight are here, and
three of natural language inference; see `get` for looking one up.

Sources: Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for
Natural Language Understanding", ICLR 2019; Bowman et al., "A large annotated corpus
for learning natural language inference" (SNLI), EMNLP 2015; Marelli et al., "A SICK
cure for the evaluation of compositional distributional semantic models", LREC 2014;
Khot et al., "SciTail: A Textual Entailment Dataset from Science Question Answering",
AAAI 2018.
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
    splits: "train", "dev" and further evaluation sets ("dev_mismatched"); data must have them all.
    test_split: what models trained on other tasks are tested on: "dev", or a public "test",
        which data may lack.
    direction: "max" or "min", of the primary metric.
    """

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    score_range: tuple[float, float] | None = None
    splits: tuple[str, ...] = ("train", "dev")
    test_split: str = "dev"
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

    @property
    def all_splits(self) -> tuple[str, ...]:
        """Every split that a source can be asked for."""
        return tuple(dict.fromkeys((*self.splits, self.test_split)))


ENTAILMENT = ("entailment", "not_entailment")
INFERENCE = ("entailment", "neutral", "contradiction")

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
            INFERENCE,
            ("accuracy",),
            splits=("train", "dev", "dev_mismatched"),
        ),
        Task("qnli", ("question", "sentence"), ENTAILMENT, ("accuracy",)),
        Task("rte", ("sentence1", "sentence2"), ENTAILMENT, ("accuracy",)),
    )
}

TASKS: dict[str, Task] = GLUE | {
    name: Task(name, ("premise", "hypothesis"), labels, ("accuracy",), test_split="test")
    for name, labels in (("snli", INFERENCE), ("sick", INFERENCE), ("scitail", ("entailment", "neutral")))
}


def get(name: str) -> Task:
    """The task of this name. Raises InputError naming the tasks there are."""
    try:
        return TASKS[name]
    except KeyError:
        raise InputError(f"task: there is no task {name!r}; choose one of {', '.join(TASKS)}") from None
