"""Examples of a user-defined task, from the files or the data set on the hub that it names."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dps.errors import InputError
from dps.sources.examples import make_dataset
from dps.sources.hub import HubSource
from dps.sources.readers import get_data_origin, read_file_bytes, read_rows
from dps.tasks.definition import make_definition
from dps.tasks.examples import ExampleTable
from dps.tasks.splits import Indices, hold_out_texts, number_examples
from dps.tasks.task import LABEL_COLUMN
from dps.wording import format_share

if TYPE_CHECKING:
    from dps.tasks.task import Task

DEV_SHARE = 0.2  # of the training examples, if the task has no dev set
SPLIT_SEED = 0
MIN_SPLIT_TEXTS = 10  # distinct texts that a dev set is split off from


class TaskSource:
    """Source "task": the files or hub splits that the task's YAML file names.

    If there is no dev set, a stratified fifth of the training examples serves as one: always the same, and
    without texts, or groups, that remain among the training examples.
    """

    kind = "task"

    def __init__(self, task: Task | None) -> None:
        """Set the task; nothing is read before the first `load` or `fingerprint`.

        Raises InputError for a task that names no data.
        """
        if task is None or task.data_location is None:
            subject = "the task" if task is None else f"task {task.name}"
            raise InputError(f"data: {subject} names neither files nor hub; give hub, builtin or a folder")
        self.name = task.data_location.hub or task.data_location.definition
        self._task, self._data = task, task.data_location

    @property
    def description(self) -> str:
        """One-line description of where the examples come from."""
        names = self._data.hub or ", ".join(Path(place).name for _, place in self._data.splits)
        if self._data.get_place("dev"):
            return names
        return f"{names}; a stratified {format_share(DEV_SHARE)} of it is split off as dev, seed {SPLIT_SEED}"

    def load(self, task: Task, split: str) -> ExampleTable:
        """Load the examples of `split`, "train" or "dev", in the order of the file.

        Raises InputError: another task, a missing file, unusable content, too few texts to split.
        """
        if task.name != self._task.name:
            rule = f"has examples of task {self._task.name} only, not of {task.name}"
            raise InputError(f"data: {self.name} {rule}; give a folder that holds both")
        task.check_split(split)
        if self._data.get_place("dev"):
            return self._read(split)
        train, dev = self._split_indices
        return self._read("train").select(dev if split == "dev" else train)

    def fingerprint(self, task: Task) -> str:
        """Return 16 hex digits of the SHA-256 of the task's definition and examples.

        Raises InputError as `load` does.
        """
        digest = hashlib.sha256(json.dumps(make_definition(task)).encode())
        for split, place in self._data.splits:
            if self._data.hub is None:
                digest.update(hashlib.sha256(read_file_bytes(Path(place))).digest())
            else:
                digest.update(json.dumps(self._read(split).columns).encode())
        return digest.hexdigest()[:16]

    def _read(self, split: str) -> ExampleTable:
        if self._hub is not None:
            return self._hub.load(self._task, split)
        path = Path(self._data.get_place(split) or "")
        if not path.is_file():
            raise InputError(f"{self._data.definition}: files: {split}: there is no {path}; check the path")
        return make_dataset(self._task, get_data_origin(path), read_rows(path))

    @cached_property
    def _hub(self) -> HubSource | None:
        data = self._data
        return HubSource(data.hub, data.config, dict(data.splits)) if data.hub else None

    @cached_property
    def _split_indices(self) -> tuple[Indices, Indices]:
        """Indices (train, dev) into the training file. Raises InputError for too few texts."""
        return split_off_dev(self._task, self._read("train"), self.name)


def split_off_dev(task: Task, examples: ExampleTable, name: str) -> tuple[Indices, Indices]:
    """Return the indices (train, dev) of training examples that have no dev set beside them.

    name: of the data, for messages. Raises InputError for too few texts.
    """
    texts = number_examples(task, examples)
    if (distinct := len(np.unique(texts))) < MIN_SPLIT_TEXTS:
        groups = "groups of " if task.group else ""
        rule = "different texts are too few to split off dev; give a dev set, or more texts"
        raise InputError(f"{name}: {distinct} {groups}{rule}")
    return hold_out_texts(task, np.asarray(examples[LABEL_COLUMN]), texts, DEV_SHARE, SPLIT_SEED)
