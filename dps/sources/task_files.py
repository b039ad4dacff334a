"""Examples of a user-defined task, from the files or the data set on the hub that it names."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.sources.examples import make_dataset
from dps.sources.hub import HubSource
from dps.sources.readers import get_data_origin, read_file_bytes, read_rows
from dps.tasks.definition import make_definition
from dps.tasks.splits import Indices, split_stratified
from dps.tasks.task import LABEL_COLUMN

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.tasks.task import Task

DEV_SHARE = 0.2  # of the training examples, if the task has no dev set
SPLIT_SEED = 0
MIN_SPLIT_TEXTS = 10  # distinct texts that a dev set is split off from


class TaskSource:
    """Source "task": the files or hub splits that the task's YAML file names.

    If there is no dev set, a stratified fifth of the training examples serves as one: always the same, and
    without texts that remain among the training examples.
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
        return f"{names}; a stratified {DEV_SHARE:.0%} of it is split off as dev, seed {SPLIT_SEED}"

    def load(self, task: Task, split: str) -> Dataset:
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
                digest.update(json.dumps(self._read(split).to_dict()).encode())
        return digest.hexdigest()[:16]

    def _read(self, split: str) -> Dataset:
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
        examples = self._read("train")
        texts = list(zip(*(examples[column] for column in self._task.columns), strict=True))
        try:
            return split_off_dev(self._task, texts, np.asarray(examples[LABEL_COLUMN]))
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None


def split_off_dev(task: Task, texts: list[tuple[str, ...]], labels: NDArray[Any]) -> tuple[Indices, Indices]:
    """Split off a dev set: return (train, dev), sorted indices.

    Dev holds a stratified `DEV_SHARE` of the distinct texts, with all their repetitions.

    texts: one or two an example, n examples.
    labels: (n,) ids or numbers, or (n, labels) of 0 and 1.

    Raises InputError for fewer than `MIN_SPLIT_TEXTS` distinct texts.
    """
    numbers: dict[tuple[str, ...], int] = {}  # of the texts, in the order of first appearance
    rows = [numbers.setdefault(text, len(numbers)) for text in texts]
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    if len(first) < MIN_SPLIT_TEXTS:
        raise InputError(
            f"{len(first)} different texts are too few to split off dev; give a dev set, or more texts"
        )
    chosen, _ = split_stratified(task, labels[first], round(DEV_SHARE * len(first)), SPLIT_SEED)
    is_dev = np.isin(group, chosen)
    return np.flatnonzero(~is_dev), np.flatnonzero(is_dev)
