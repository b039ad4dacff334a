"""The contract of a source of examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.tasks.task import Task


class Source(Protocol):
    """Where the examples of a task come from.

    What a caller may assume: `load` returns a `datasets.Dataset` with exactly the
    columns `task.columns` (non-empty str) and "label" (int id of the class, in
    [0, len(task.labels)), a finite float in `task.score_range` for regression, or a list of
    0 and 1, one for each of `task.labels`, where an example has several),
    at least one row, always the same rows in the same order.

    Raises `dps.errors.InputError` in one line that names the file, the line and
    the value where the data cannot be used.
    """

    kind: str  # "hub", "folder", "builtin" or "task"
    name: str  # what a reader would call it: "nyu-mll/glue", "/data/glue", "builtin"

    def load(self, task: Task, split: str) -> Dataset:
        """The examples of `split`, one of `task.all_splits`."""
        ...

    def fingerprint(self, task: Task) -> str:
        """Hex digest of `task.splits`: the same for the same examples, on any machine."""
        ...
