"""Tasks: what is read, what is predicted, how it is scored.

A task names its text columns, its labels in the order of their ids, its metrics
(the first one ranks configurations) and its splits. The GLUE eight are here, and
three of natural language inference; one's own are read from YAML (`dps.tasks.definition`). See `get_task`
for looking one up.

Sources: Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for
Natural Language Understanding", ICLR 2019; Bowman et al., "A large annotated corpus
for learning natural language inference" (SNLI), EMNLP 2015; Marelli et al., "A SICK
cure for the evaluation of compositional distributional semantic models", LREC 2014;
Khot et al., "SciTail: A Textual Entailment Dataset from Science Question Answering",
AAAI 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.tasks.definition import parse_definition, read_task_file
from dps.tasks.task import Task

ENTAILMENT_LABELS = ("entailment", "not_entailment")
INFERENCE_LABELS = ("entailment", "neutral", "contradiction")

GLUE_TASKS: dict[str, Task] = {
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
            INFERENCE_LABELS,
            ("accuracy",),
            splits=("train", "dev", "dev_mismatched"),
        ),
        Task("qnli", ("question", "sentence"), ENTAILMENT_LABELS, ("accuracy",)),
        Task("rte", ("sentence1", "sentence2"), ENTAILMENT_LABELS, ("accuracy",)),
    )
}

TASKS: dict[str, Task] = GLUE_TASKS | {
    name: Task(name, ("premise", "hypothesis"), labels, ("accuracy",), test_split="test")
    for name, labels in (
        ("snli", INFERENCE_LABELS),
        ("sick", INFERENCE_LABELS),
        ("scitail", ("entailment", "neutral")),
    )
}


def get_task(task: str | Task) -> Task:
    """The task of this name, or of one's own in this YAML file; a task is itself.

    Raises InputError naming the tasks there are, or what is wrong with the file.
    """
    if isinstance(task, Task):
        return task
    if task in TASKS:
        return TASKS[task]
    if not is_task_file(task):
        there = ", ".join(TASKS)
        raise InputError(f"task: there is no task {task!r}; choose one of {there}, or give a YAML file")
    read = read_task_file(Path(task))
    if read.name in TASKS:
        raise InputError(f"{task}: name: {read.name!r} is the name of another task; choose one of your own")
    return read


def restore_task(found: str | dict[str, Any]) -> Task:
    """The task of a name or of a definition (`dps.tasks.definition.make_definition`)."""
    return get_task(found) if isinstance(found, str) else parse_definition(found)


def is_task_file(task: str) -> bool:
    """Whether this names a YAML file of a task of one's own, by its suffix."""
    return task.endswith((".yaml", ".yml"))


def get_task_name(task: str) -> str:
    """The name of a task that is named, or defined in a YAML file."""
    return get_task(task).name if is_task_file(task) else task
