"""Examples from a folder: the GLUE files as they are unpacked, or one's own CSV, TSV, JSONL, parquet."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dps.errors import InputError
from dps.paths import DATA_SUFFIXES
from dps.sources.examples import make_dataset
from dps.sources.readers import get_data_origin, read_file_bytes, read_rows
from dps.tasks.registry import TASKS

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.tasks.task import Task

# The columns of GLUE files that have no header.
HEADLESS_COLUMNS = {"cola": ("source", "label", "mark", "sentence")}

# MRPC as its authors publish it, read where there is no train file: it has no dev set,
# so the published test file stands in for it.
ORIGINAL_FILES = {"mrpc": {"train": "msr_paraphrase_train.txt", "dev": "msr_paraphrase_test.txt"}}

# Sub-folders in which the files of several tasks may lie as they may in the folder itself.
COLLECTION_FOLDERS = ("glue", "nli")


class FolderSource:
    """The source "folder": `path` holds one file a split, for one task or for several.

    Files lie in the sub-folder named like the task ("SST-2", "sst2": whatever its case and
    dashes) or, where there is none, in `path` itself; files that carry the task's name
    ("snli_test") in either. What may lie in `path` may lie in its sub-folders "glue" and
    "nli", except files without a task's name. Two that serve as the same split are an error.

    A file is named train, dev (or validation, val), test, and for mnli dev_matched and
    dev_mismatched (or validation_...), with the suffix .csv, .tsv, .jsonl or .parquet; other
    suffixes are never opened. Columns go by the task's names or by GLUE's; labels by class
    name or id. For mrpc, the authors' msr_paraphrase_{train,test}.txt serve as train and dev
    where there is no train file.
    """

    kind = "folder"

    def __init__(self, path: str | Path) -> None:
        """path: the folder. It is not read before the first `load` or `fingerprint`."""
        self.name = str(path)
        self._path = Path(path)
        self._fingerprints: dict[str, str] = {}
        self._task_of_file: dict[Path, str] = {}

    def load(self, task: Task, split: str) -> Dataset:
        """The examples of `split`, one of `task.all_splits`, in the order of the file.

        Raises InputError: the folder or file is missing or there twice, the file was read as
        another task's before, or its content cannot be used (see `dps.sources.readers.read_rows`,
        `dps.sources.examples.make_dataset`).
        """
        path = self._find_file(task, split)
        return make_dataset(task, get_data_origin(path), read_rows(path, HEADLESS_COLUMNS.get(task.name, ())))

    def fingerprint(self, task: Task) -> str:
        """16 hex digits of the SHA-256 of the files of `task.splits`, wherever they lie.

        Read once per task, then kept. Raises InputError as `load` does for missing files.
        """
        if task.name not in self._fingerprints:
            digest = hashlib.sha256()
            for split in task.splits:
                digest.update(hashlib.sha256(read_file_bytes(self._find_file(task, split))).digest())
            self._fingerprints[task.name] = digest.hexdigest()[:16]
        return self._fingerprints[task.name]

    def _find_file(self, task: Task, split: str) -> Path:
        """The one file of a split."""
        if split not in task.all_splits:
            there = ", ".join(task.all_splits)
            raise InputError(f"split: task {task.name} has no split {split!r}; choose one of {there}")
        folder = _own_folder(self._path, task) or self._path
        found = _find_files(self._path, folder, task, split) or _find_original_file(
            self._path, folder, task, split
        )
        if len(found) > 1:
            both = _join_names(self._path, found)
            raise InputError(f"{self._path}: {both} all serve as {split} of task {task.name}; keep one")
        if not found:
            raise _missing_file_error(self._path, folder, task, split)
        self._claim_file(found[0], task)
        return found[0]

    def _claim_file(self, path: Path, task: Task) -> None:
        """A file without a task's name serves one task: what it holds is not another task's too."""
        before = self._task_of_file.setdefault(path, task.name)
        if before != task.name:
            what = f"read as task {before} before, so not as task {task.name}"
            raise InputError(f"{path}: {what}; give each task a sub-folder of its name")


def _own_folder(path: Path, task: Task) -> Path | None:
    """The sub-folder named like a task, if there is one."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give the folder that holds the data")
    own = [folder for root in _roots(path) for folder in _sub_folders(root, task.name)]
    if len(own) > 1:
        raise InputError(f"{path}: {_join_names(path, own)} are all named like task {task.name}; keep one")
    return own[0] if own else None


def _roots(path: Path) -> list[Path]:
    """The folder and its sub-folders in which several tasks may lie."""
    return [path, *(folder for name in COLLECTION_FOLDERS for folder in _sub_folders(path, name))]


def _sub_folders(path: Path, name: str) -> list[Path]:
    return [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _is_named(folder, name)]


def _is_named(path: Path, name: str) -> bool:
    return re.sub(r"[-_ ]", "", path.resolve().name).lower() == re.sub(r"[-_ ]", "", name).lower()


def _find_other_task(path: Path, folder: Path, task: Task) -> str | None:
    """The other task like which `path` is named, where `path` itself would have to hold this task."""
    names = [name for name in TASKS if name != task.name and _is_named(path, name)]
    return names[0] if names and folder == path else None


def _find_files(path: Path, folder: Path, task: Task, split: str) -> list[Path]:
    """Every file that serves as a split; `folder` is the task's own."""
    stems = _stems(task, split)
    found = [] if _find_other_task(path, folder, task) else _list_existing(folder, stems)
    for place in dict.fromkeys((folder, *_roots(path))):
        found += _list_existing(place, [f"{task.name}_{stem}" for stem in stems])
    return found


def _stems(task: Task, split: str) -> list[str]:
    """The file names of a split without suffix: "dev", "validation", "val" with their endings."""
    if not split.startswith("dev"):
        return [split]
    endings = [split.removeprefix("dev")]
    if split == "dev" and "dev_mismatched" in task.splits:
        endings.append("_matched")
    return [f"{word}{ending}" for ending in endings for word in ("dev", "validation", "val")]


def _list_existing(folder: Path, stems: list[str]) -> list[Path]:
    paths = [folder / f"{stem}{suffix}" for stem in stems for suffix in DATA_SUFFIXES]
    return [path for path in paths if path.is_file()]


def _find_original_file(path: Path, folder: Path, task: Task, split: str) -> list[Path]:
    """The file of the authors' own layout, where there is no train file."""
    names = ORIGINAL_FILES.get(task.name, {})
    if split not in names or _find_files(path, folder, task, "train"):
        return []
    return [file for file in (folder / names[split],) if file.is_file()]


def _join_names(path: Path, found: list[Path]) -> str:
    """Files or folders as messages list them: by their names below `path`."""
    return ", ".join(str(each.relative_to(path)) for each in found)


def _missing_file_error(path: Path, folder: Path, task: Task, split: str) -> InputError:
    if other := _find_other_task(path, folder, task):
        return InputError(f"{path}: named like task {other}, not {task.name}; give its folder")
    stems = " or ".join(_stems(task, split))
    text = f"no file for {split} of task {task.name}; looked for {stems} with {', '.join(DATA_SUFFIXES)}"
    original = ORIGINAL_FILES.get(task.name, {}).get(split)
    return InputError(
        f"{folder}: {text}, also after '{task.name}_'" + (f", and {original}" if original else "")
    )
