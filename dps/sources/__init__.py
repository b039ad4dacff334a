"""Sources of a task's examples: a hub, a folder, task files, the built-in generators.

May import dps.tasks and what lies below it. Imported by dps.propose, dps.methods, dps.training and above.
"""

from __future__ import annotations

from dps.errors import InputError
from dps.paths import is_folder
from dps.sources.base import Source
from dps.sources.builtin import BuiltinSource
from dps.sources.folder import FolderSource
from dps.sources.hub import HubSource
from dps.sources.task_files import TaskSource
from dps.tasks.task import Task
from dps.text import quote_value

__all__ = ["Source", "open_data_source"]


def open_data_source(data: str | None, task: Task | None = None) -> Source:
    """Return the source that `data` names: "hub", "builtin", "task" or a folder.

    data: "task" stands for the data that the task itself names; None for the same, else "builtin".

    Raises InputError for anything else.
    """
    if data is None:
        data = "task" if task is not None and task.data_location is not None else "builtin"
    if data == "task":
        return TaskSource(task)
    if data == "hub":
        return HubSource()
    if data == "builtin":
        return BuiltinSource()
    if not is_folder(data):
        raise InputError(f"data: there is no folder {quote_value(data)}; give auto, hub, builtin or a folder")
    return FolderSource(data)
