"""Examples from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from dps.errors import InputError
from dps.hub import explain_fetch_error, get_hub_endpoint, is_hub_reachable, limit_hub_requests
from dps.sources.examples import make_dataset
from dps.sources.readers import DataOrigin, DataRow
from dps.tasks.examples import ExampleTable
from dps.tasks.registry import GLUE_TASKS

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.tasks.task import Task

GLUE_HUB_NAME = "nyu-mll/glue"


class HubSource:
    """Source "hub": a data set on the hub, such as nyu-mll/glue, which has a configuration for each task.

    Every object asks the hub once whether it answers and which commit is the newest, and reads that commit.
    If the hub does not answer, the cache of `datasets` is used.
    """

    kind = "hub"

    def __init__(
        self, name: str = GLUE_HUB_NAME, config: str | None = None, splits: Mapping[str, str] | None = None
    ) -> None:
        """Set the data set; nothing is requested before the first `load`.

        name: of the data set on the hub.
        config: its configuration; None for the task's name.
        splits: its names of the splits by ours, where they are not the usual ones.
        """
        self.name = name
        self._config, self._splits = config, splits or {}
        self._fingerprints: dict[Task, str] = {}

    def load(self, task: Task, split: str) -> ExampleTable:
        """Load the examples of `split`, one of `task.all_splits`.

        Raises InputError: no such data set or configuration, a failed download, neither the hub nor the cache
        has it, classes that differ from the task's, or an unusable row (a hidden label of -1, an empty text).
        """
        if self.name == GLUE_HUB_NAME and task.name not in GLUE_TASKS:
            names = ", ".join(GLUE_TASKS)
            raise InputError(f"data: hub has {names}, not {task.name}; give a folder that holds {task.name}")
        task.check_split(split)
        hub_split, config = self._splits.get(split) or _get_hub_split(task, split), self._config or task.name
        data = self._fetch(config, hub_split)
        origin = DataOrigin(f"{self.name}, {config}, {hub_split}", ": row ")
        _check_classes(task, origin, data)
        return make_dataset(task, origin, iterate_rows(data, task.label))

    def fingerprint(self, task: Task) -> str:
        """Return 16 hex digits of the SHA-256 of the examples of all splits, computed once per task.

        Raises InputError as `load` does.
        """
        if task not in self._fingerprints:
            digest = hashlib.sha256()
            for split in task.splits:
                for batch in self.load(task, split).iter(batch_size=1000):
                    digest.update(json.dumps(batch).encode())
            self._fingerprints[task] = digest.hexdigest()[:16]
        return self._fingerprints[task]

    @cached_property
    def _online(self) -> bool:
        return is_hub_reachable()

    @cached_property
    def _revision(self) -> str | None:
        from huggingface_hub import HfApi

        return HfApi(endpoint=get_hub_endpoint()).dataset_info(self.name).sha

    def _fetch(self, config: str, hub_split: str) -> Dataset:
        try:
            return self._download(config, hub_split) if self._online else self._load_cached(config, hub_split)
        except Exception as error:  # the clients raise OSError, ValueError and their HTTP library's own
            subject = f"data set {self.name!r}, configuration {config!r}"
            raise explain_fetch_error(subject, error, self._online) from error

    def _download(self, config: str, hub_split: str) -> Dataset:
        from datasets import load_dataset

        with limit_hub_requests():
            return load_dataset(self.name, config, split=hub_split, revision=self._revision)

    def _load_cached(self, config: str, hub_split: str) -> Dataset:
        """Load an earlier download, without the seconds that retries of an unreachable hub take."""
        from datasets.packaged_modules.cache.cache import Cache

        builder = Cache(
            dataset_name=self.name.split("/")[-1],
            repo_id=self.name,
            config_name=config,
            version="auto",
            hash="auto",
        )
        return builder.as_dataset(split=hub_split)


def _get_hub_split(task: Task, split: str) -> str:
    """Return the hub's name of a split: "dev" is "validation", for mnli "validation_matched"."""
    if split == "dev" and "dev_mismatched" in task.splits:
        return "validation_matched"
    return split.replace("dev", "validation", 1)


def _check_classes(task: Task, origin: DataOrigin, data: Dataset) -> None:
    """Raise InputError if the data set names its classes, but not as the task does or in another order."""
    names = _get_class_names(data, task.label)
    if names is not None and tuple(names) != task.labels:
        theirs, ours = ", ".join(names), ", ".join(task.labels)
        raise InputError(f"{origin.name}: its classes are {theirs}, but those of task {task.name} are {ours}")


def _get_class_names(data: Dataset, column: str) -> list[str] | None:
    """Return the names of a column of classes, or of lists of them; None for other columns."""
    feature = data.features.get(column)
    names: list[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


def iterate_rows(data: Dataset, label: str) -> Iterator[DataRow]:
    """Yield the rows of a data set, with names of classes where it has ids for them. label: its column."""
    names, number = _get_class_names(data, label), 0
    for table in data.with_format("arrow").iter(batch_size=1000):
        for values in table.to_pylist():
            number += 1
            yield DataRow(number, {**values, label: _name_classes(values[label], names)} if names else values)


def _name_classes(value: object, names: list[str]) -> object:
    """Return the name of a class, or of each in a list; unchanged if it is the id of none."""
    if isinstance(value, list):
        return [_name_classes(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
