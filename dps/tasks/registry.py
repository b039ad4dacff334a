"""Registry of tasks by name: eight of GLUE and three of natural language inference.

User-defined tasks are read from YAML (`dps.tasks.definition`); `get_task` looks up either.

Sources: Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding",
ICLR 2019; Bowman et al., "A large annotated corpus for learning natural language inference" (SNLI), EMNLP
2015; Marelli et al., "A SICK cure for the evaluation of compositional distributional semantic models", LREC
2014; Khot et al., "SciTail: A Textual Entailment Dataset from Science Question Answering", AAAI 2018.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dps.errors import InputError, suggest_name
from dps.paths import DATA_SUFFIXES
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
    """Return the task of this name or in this YAML file; a Task is returned unchanged.

    Raises InputError naming the known tasks, or what is wrong with the file.
    """
    if isinstance(task, Task):
        return task
    if task in TASKS:
        return TASKS[task]
    if not is_task_file(task):
        if Path(task).suffix in DATA_SUFFIXES:
            raise InputError(f"task: {task!r} is data; --init-task {task} proposes the YAML file of its task")
        advice = suggest_name(task, TASKS, f"choose one of {', '.join(TASKS)}, or give a YAML file")
        raise InputError(f"task: there is no task {task!r}; {advice}")
    defined = read_task_file(Path(task))
    if defined.name in TASKS:
        raise InputError(
            f"{task}: name: {defined.name!r} is the name of another task; choose a different one"
        )
    return defined


def restore_task(stored: str | dict[str, Any]) -> Task:
    """Return the task of a name or of a definition (`dps.tasks.definition.make_definition`)."""
    return get_task(stored) if isinstance(stored, str) else parse_definition(stored)


def is_task_file(task: str) -> bool:
    """Return whether the text names a YAML task file, by its suffix."""
    return task.endswith((".yaml", ".yml"))


def get_task_name(task: str) -> str:
    """Return the name of a task that is given by name or by its YAML file."""
    return get_task(task).name if is_task_file(task) else task
