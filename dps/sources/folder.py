"""Examples from a folder: the GLUE files as unpacked, or any CSV, TSV, JSONL and parquet files."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dps.errors import InputError
from dps.paths import DATA_SUFFIXES
from dps.sources.examples import make_dataset
from dps.sources.readers import get_data_origin, read_file_bytes, read_rows
from dps.tasks.definition import make_definition
from dps.tasks.examples import ExampleTable
from dps.tasks.registry import TASKS

if TYPE_CHECKING:
    from dps.tasks.task import Task

# Columns of GLUE files without a header.
HEADLESS_COLUMNS = {"cola": ("source", "label", "mark", "sentence")}

# MRPC as its authors publish it, read if there is no train file. Its test file serves as dev set.
ORIGINAL_FILES = {"mrpc": {"train": "msr_paraphrase_train.txt", "dev": "msr_paraphrase_test.txt"}}

# Sub-folders that may hold the files of several tasks, as the folder itself may.
COLLECTION_FOLDERS = ("glue", "nli")


class FolderSource:
    """Source "folder": `path` holds one file a split, for one task or several.

    Files lie in the sub-folder named like the task ("SST-2", "sst2": in any case, with or without dashes) or,
    if there is none, in `path` itself; files that carry the task's name ("snli_test") in either. The
    sub-folders "glue" and "nli" may hold what `path` may, except files without a task's name. Two files for
    one split are an error.

    A file is named train, dev (or validation, val), test, and for mnli dev_matched and dev_mismatched (or
    validation_...), with the suffix .csv, .tsv, .jsonl or .parquet, or that in capitals; others are never
    opened. Columns have the task's names or GLUE's; labels are class names or ids. For mrpc, the authors'
    msr_paraphrase_{train,test}.txt serve as train and dev if there is no train file.
    """

    kind = "folder"

    def __init__(self, path: str | Path) -> None:
        """Set the folder, which is not read before the first `load` or `fingerprint`."""
        self.name = str(path)
        self._path = Path(path)
        self._fingerprints: dict[Task, str] = {}
        self._task_of_file: dict[Path, str] = {}

    def load(self, task: Task, split: str) -> ExampleTable:
        """Load the examples of `split`, one of `task.all_splits`, in the order of the file.

        Raises InputError if the folder or file is missing, two files serve as the split, the file was already
        read for another task, or its content cannot be used (see `dps.sources.readers.read_rows`,
        `dps.sources.examples.make_dataset`).
        """
        path = self._find_file(task, split)
        return make_dataset(task, get_data_origin(path), read_rows(path, HEADLESS_COLUMNS.get(task.name, ())))

    def fingerprint(self, task: Task) -> str:
        """Return 16 hex digits of the SHA-256 of the files of `task.splits`, computed once per task.

        The definition of a user-defined task, which says how to read them, is part of it. Raises InputError
        as `load` does for missing files.
        """
        if task not in self._fingerprints:
            known = TASKS.get(task.name) == task
            digest = hashlib.sha256(b"" if known else json.dumps(make_definition(task)).encode())
            for split in task.splits:
                digest.update(hashlib.sha256(read_file_bytes(self._find_file(task, split))).digest())
            self._fingerprints[task] = digest.hexdigest()[:16]
        return self._fingerprints[task]

    def _find_file(self, task: Task, split: str) -> Path:
        """Find the one file of a split. Raises InputError as `load` does."""
        task.check_split(split)
        folder = _find_task_folder(self._path, task) or self._path
        files = _find_files(self._path, folder, task, split)
        files = files or _find_original_file(self._path, folder, task, split)
        if len(files) > 1:
            names = _join_names(self._path, files)
            raise InputError(f"{self._path}: {names} all serve as {split} of task {task.name}; keep one")
        if not files:
            raise _missing_file_error(self._path, folder, task, split)
        self._claim_file(files[0], task)
        return files[0]

    def _claim_file(self, path: Path, task: Task) -> None:
        """Raise InputError if the file was already read for another task."""
        earlier = self._task_of_file.setdefault(path, task.name)
        if earlier != task.name:
            rule = f"already read as task {earlier}, so it cannot be task {task.name} too"
            raise InputError(f"{path}: {rule}; give each task a sub-folder with its name")


def _find_task_folder(path: Path, task: Task) -> Path | None:
    """Return the sub-folder named like a task, or None."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give the folder that holds the data")
    folders = [folder for root in _list_roots(path) for folder in _list_sub_folders(root, task.name)]
    if len(folders) > 1:
        raise InputError(
            f"{path}: {_join_names(path, folders)} are all named like task {task.name}; keep one"
        )
    return folders[0] if folders else None


def _list_roots(path: Path) -> list[Path]:
    """Return the folder and those of its sub-folders that may hold several tasks."""
    return [path, *(folder for name in COLLECTION_FOLDERS for folder in _list_sub_folders(path, name))]


def _list_sub_folders(path: Path, name: str) -> list[Path]:
    return [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _is_named(folder, name)]


def _is_named(path: Path, name: str) -> bool:
    return re.sub(r"[-_ ]", "", path.resolve().name).lower() == re.sub(r"[-_ ]", "", name).lower()


def _find_other_task(path: Path, folder: Path, task: Task) -> str | None:
    """Return the other task that `path` is named like, if `path` itself would have to hold this task."""
    names = [name for name in TASKS if name != task.name and _is_named(path, name)]
    return names[0] if names and folder == path else None


def _find_files(path: Path, folder: Path, task: Task, split: str) -> list[Path]:
    """Return every file that serves as a split. folder: the task's own, or `path`."""
    stems = _list_stems(task, split)
    files = [] if _find_other_task(path, folder, task) else _list_existing(folder, stems)
    for root in dict.fromkeys((folder, *_list_roots(path))):
        files += _list_existing(root, [f"{task.name}_{stem}" for stem in stems])
    return files


def _list_stems(task: Task, split: str) -> list[str]:
    """Return the file names of a split without suffix: "dev", "validation", "val" with their endings."""
    if not split.startswith("dev"):
        return [split]
    endings = [split.removeprefix("dev")]
    if split == "dev" and "dev_mismatched" in task.splits:
        endings.append("_matched")
    return [f"{word}{ending}" for ending in endings for word in ("dev", "validation", "val")]


def _list_existing(folder: Path, stems: list[str]) -> list[Path]:
    names = [f"{stem}{suffix}" for stem in stems for suffix in DATA_SUFFIXES]
    paths = [path for path in folder.iterdir() if _lower_suffix(path) in names and path.is_file()]
    return sorted(paths, key=lambda path: names.index(_lower_suffix(path)))


def _lower_suffix(path: Path) -> str:
    """Return the name of a file with its suffix in small letters."""
    return path.stem + path.suffix.lower()


def _find_original_file(path: Path, folder: Path, task: Task, split: str) -> list[Path]:
    """Return the file in the authors' own layout, if there is no train file."""
    names = ORIGINAL_FILES.get(task.name, {})
    if split not in names or _find_files(path, folder, task, "train"):
        return []
    return [file for file in (folder / names[split],) if file.is_file()]


def _join_names(path: Path, below: list[Path]) -> str:
    """Return the names of files or folders below `path`, for messages."""
    return ", ".join(str(each.relative_to(path)) for each in below)


def _missing_file_error(path: Path, folder: Path, task: Task, split: str) -> InputError:
    if other_task := _find_other_task(path, folder, task):
        return InputError(
            f"{path}: named like task {other_task}, not {task.name}; give the folder of that task"
        )
    stems = " or ".join(_list_stems(task, split))
    text = f"no file for {split} of task {task.name}; expected {stems} with {', '.join(DATA_SUFFIXES)}"
    original = ORIGINAL_FILES.get(task.name, {}).get(split)
    return InputError(
        f"{folder}: {text}, or '{task.name}_' before it" + (f", or {original}" if original else "")
    )
