"""Examples made by the project's own grammars for three of the tasks: no download.

One generator a task, all of one shape: `generate(rng, words) -> Example`. The train sets draw from a
vocabulary that lacks every fifth word of the dev sets' one.
"""

from __future__ import annotations

import hashlib
import json
import random
from functools import cache
from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from dps.sources.builtin.cola import generate_cola
from dps.sources.builtin.grammar import Example, ExampleGenerator
from dps.sources.builtin.lexicon import VOCABULARY, get_train_vocabulary
from dps.sources.builtin.rte import generate_rte
from dps.sources.builtin.stsb import generate_stsb
from dps.tasks.task import LABEL_COLUMN

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.tasks.task import Task

EXAMPLE_GENERATORS: dict[str, ExampleGenerator] = {
    "cola": generate_cola,
    "stsb": generate_stsb,
    "rte": generate_rte,
}
SPLIT_SIZES = {"train": 800, "dev": 400}


@cache
def get_builtin_examples(name: str, split: str) -> tuple[Example, ...]:
    """The examples of a task's split; no text (or pair of texts) stands twice in train and dev."""
    rng = random.Random(f"dps builtin {name} {split}")
    words = get_train_vocabulary() if split == "train" else VOCABULARY
    taken = set() if split == "train" else {example.texts for example in get_builtin_examples(name, "train")}
    examples: dict[tuple[str, ...], Example] = {}
    while len(examples) < SPLIT_SIZES[split]:
        example = EXAMPLE_GENERATORS[name](rng, words)
        if example.texts not in taken:
            examples.setdefault(example.texts, example)
    return tuple(examples.values())


def check_builtin_task(task: Task) -> None:
    """Raises InputError where there is no generator for the task."""
    if task.name not in EXAMPLE_GENERATORS:
        known = ", ".join(EXAMPLE_GENERATORS)
        rule = f"builtin has no examples for task {task.name!r}, only for {known}"
        raise InputError(f"data: {rule}; give other data with --data")


class BuiltinSource:
    """The Source of generated examples: the same on every machine, without a network."""

    kind = "builtin"
    name = "builtin"

    def load(self, task: Task, split: str) -> Dataset:
        """The examples of `split`: 800 for train, 400 for an evaluation set.

        Raises InputError where the task has no generator or no such split.
        """
        from datasets import Dataset

        check_builtin_task(task)
        if split not in task.all_splits:
            there = ", ".join(task.all_splits)
            raise InputError(f"data: task {task.name} has no split {split!r}, only {there}")
        rows = get_builtin_examples(task.name, split)
        columns: dict[str, list[Any]] = {
            column: [row.texts[index] for row in rows] for index, column in enumerate(task.columns)
        }
        return Dataset.from_dict({**columns, LABEL_COLUMN: [row.label for row in rows]})

    def fingerprint(self, task: Task) -> str:
        """Hex digest of every example of every split. Raises InputError as `load` does."""
        check_builtin_task(task)
        rows = {split: get_builtin_examples(task.name, split) for split in task.splits}
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
