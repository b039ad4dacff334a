"""Contract of the sources of examples."""

from __future__ import annotations

from typing import Protocol

from dps.tasks.examples import ExampleTable
from dps.tasks.task import Task


class Source(Protocol):
    """Source of a task's examples.

    kind: "hub", "folder", "builtin" or "task".
    name: as a reader would call it: "nyu-mll/glue", "/data/glue", "builtin".

    A caller may assume: `load` returns a table with exactly the columns `task.columns`
    (non-empty str) and "label": the int id of a class in [0, len(task.labels)); for regression a finite float
    in `task.score_range`; for multi-label tasks a list of 0 and 1, one for each of `task.labels`; and, if the
    task has a group, "__group__", a str, empty for none. It has at least one row, and always the same rows in
    the same order.

    Raises `dps.errors.InputError` for unusable data, in one line that names file, line and value.
    """

    kind: str
    name: str

    def load(self, task: Task, split: str) -> ExampleTable:
        """Load the examples of `split`, one of `task.all_splits`."""
        ...

    def fingerprint(self, task: Task) -> str:
        """Return a hex digest of the examples of `task.splits`, the same on every machine.

        Another definition of a user-defined task (label column, classes, ...) gives another digest.
        """
        ...
