"""Data handed over in Python (a DataFrame, a data set, a file), as a task that a search reads.

What is held in memory is written to runs/data, in a folder named by its content: a resume and the workers
find it there, and the same data are the same task.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow.parquet as pq
from datasets import Dataset

from dps.data_checks import TaskProposal
from dps.errors import InputError
from dps.paths import write_text_file
from dps.propose import inspect_data
from dps.tasks.definition import TASK_NAME_PATTERN, format_task_file
from dps.tasks.registry import TASKS

if TYPE_CHECKING:
    import pandas as pd

Examples: TypeAlias = "pd.DataFrame | Dataset | Path | str"
DATA_FOLDER = Path("runs", "data")


def write_own_task(
    train: Examples,
    dev: Examples | None = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    group: str | None = None,
    name: str = "data",
) -> Path:
    """Write the task file of these examples, and those that are in memory beside it; return its path.

    train, dev: a DataFrame, a `datasets.Dataset`, or a .csv, .tsv, .jsonl or .parquet file; without dev, a
    fifth of train is split off. text: the column of the text, or two of them; label: that of the label; both
    are found by their values where they are not given. group: column whose equal values stay on one side of
    every split. name: of the task.

    Raises InputError for examples of which no task can be made.
    """
    if not TASK_NAME_PATTERN.fullmatch(name) or name in TASKS:
        raise InputError(f"name: must be letters and digits, and no known task, but got {name!r}")
    parts = {"train": train} if dev is None else {"train": train, "dev": dev}
    columns = (text, label) if group is None else (text, label, group)
    digest = hashlib.sha256(repr(columns).encode())
    contents = {split: _read_content(split, part, digest) for split, part in parts.items()}
    folder = DATA_FOLDER / f"{name}-{digest.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, content in contents.items():
        if isinstance(content, Path):
            files[split] = content.resolve()
        else:
            files[split] = (folder / f"{split}.parquet").resolve()
            pq.write_table(content.with_format("arrow")[:], files[split])  # to_parquet shows a bar
    proposal = _inspect(files, (text,) if isinstance(text, str) else text, label)
    file = folder / f"{name}.yaml"
    task = replace(proposal.task, name=name, group=group or "")
    write_text_file(file, format_task_file(task, {"files": _format(files)}))
    return file


def _read_content(split: str, part: Any, digest: Any) -> Dataset | Path:
    """Return a file, or a data set of what is in memory; add what it holds to the digest."""
    if isinstance(part, str | Path):
        file = Path(part)
        if not file.is_file():
            raise InputError(f"{split}: there is no {file}")
        digest.update(file.read_bytes())
        return file
    if not isinstance(part, Dataset):
        if not hasattr(part, "columns") or not hasattr(part, "iloc"):
            raise InputError(
                f"{split}: must be a DataFrame, a datasets.Dataset or a file, but got {type(part)}"
            )
        part = Dataset.from_pandas(part, preserve_index=False)
    for batch in part.with_format("arrow").iter(1000):
        digest.update(repr(batch.to_pydict()).encode())
    return part


def _inspect(files: dict[str, Path], texts: Sequence[str] | None, label: str | None) -> TaskProposal:
    try:
        return inspect_data(files["train"], texts, label, files.get("dev"))
    except InputError as error:
        raise InputError(str(error).replace("--init-task", "train", 1)) from None


def _format(files: dict[str, Path]) -> dict[str, str]:
    return {split: str(file) for split, file in files.items()}
