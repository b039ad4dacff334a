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
from datasets import ClassLabel, Dataset, List

from dps.data_checks import TaskProposal
from dps.errors import InputError
from dps.paths import write_text_file
from dps.propose import inspect_data
from dps.tasks.definition import TASK_NAME_PATTERN, format_task_file
from dps.tasks.registry import TASKS
from dps.text import sanitise_line

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
    texts = [*text] if isinstance(text, list | tuple) else [] if text is None else [text]
    named = [column for column in (*texts, label, group) if column is not None]
    if not all(isinstance(column, str) for column in named) or len({*named}) < len(named):
        raise InputError(f"text, label, group: must be names of different columns, but got {named}")
    needed = {*map(str, named)} if texts and label else None
    columns = (text, label) if group is None else (text, label, group)
    digest = hashlib.sha256(repr(columns).encode())
    contents = {split: _read_content(split, part, digest, needed) for split, part in parts.items()}
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


def _read_content(split: str, part: Any, digest: Any, needed: set[str] | None) -> Dataset | Path:
    """Return a file, or a data set of what is in memory; add what it holds to the digest. needed: columns,
    None for all."""
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
        part = _convert_frame(split, part, needed)
    part = _name_classes(part)
    for batch in part.with_format("arrow").iter(1000):
        digest.update(repr(batch.to_pydict()).encode())
    return part


def _convert_frame(split: str, frame: Any, needed: set[str] | None) -> Dataset:
    """Return a DataFrame as a data set. Raises InputError for columns that cannot be one."""
    if not frame.columns.is_unique:
        raise InputError(f"{split}: has several columns of one name; rename them")
    kept = frame if needed is None else frame[[name for name in frame.columns if name in needed]]
    try:
        return Dataset.from_pandas(kept, preserve_index=False)
    except (TypeError, ValueError, NotImplementedError) as error:  # those of pyarrow are among them
        what = sanitise_line(str(error.args[-1] if error.args else error))
        rule = "make the values of each column of one kind, all text or all numbers"
        rule += "" if needed else ", or give text= and label=, so that only these are read"
        raise InputError(f"{split}: a column cannot be read ({what}); {rule}") from None


def _name_classes(data: Dataset) -> Dataset:
    """Return the data set with the names of classes in place of the numbers that stand for them."""
    for name, feature in data.features.items():
        classes = feature.feature if isinstance(feature, List) else feature
        if isinstance(classes, ClassLabel) and classes.names:
            values = [_name(classes.names, value) for value in data[name]]
            data = data.remove_columns(name).add_column(name, values)
    return data


def _name(names: Sequence[str], value: Any) -> Any:
    """Return the name of a number, or those of a list of them; None for a missing one, as for -1."""
    if isinstance(value, list):
        return [_name(names, each) for each in value]
    return names[value] if value is not None and value >= 0 else None


def _inspect(files: dict[str, Path], texts: Sequence[str] | None, label: str | None) -> TaskProposal:
    try:
        return inspect_data(files["train"], texts, label, files.get("dev"))
    except InputError as error:
        raise InputError(str(error).replace("--init-task", "train", 1)) from None


def _format(files: dict[str, Path]) -> dict[str, str]:
    return {split: str(file) for split, file in files.items()}
