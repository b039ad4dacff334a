"""Examples from a folder: the GLUE files as they are unpacked, or one's own CSV, TSV, JSONL, parquet."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dps.errors import InputError
from dps.sources.examples import to_dataset
from dps.sources.readers import SUFFIXES, place_of, read, read_bytes
from dps.tasks import GLUE

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.tasks import Task

# The columns of GLUE files that have no header.
HEADLESS = {"cola": ("source", "label", "mark", "sentence")}

# MRPC as its authors publish it, read where there is no train file: it has no dev set,
# so the published test file stands in for it.
ORIGINAL = {"mrpc": {"train": "msr_paraphrase_train.txt", "dev": "msr_paraphrase_test.txt"}}


class FolderSource:
    """The source "folder": `path`, or its sub-folder named like the task, holds one file a split.

    Sub-folders are found whatever their case and dashes ("SST-2", "sst2"). A file is named
    train, dev (or validation, val), and for mnli dev_matched and dev_mismatched (or
    validation_...), with the suffix .csv, .tsv, .jsonl or .parquet; other suffixes are never
    opened. Columns go by the task's names or by GLUE's; labels by class name or id. For
    mrpc, the authors' msr_paraphrase_{train,test}.txt serve as train and dev where there is
    no train file.
    """

    kind = "folder"

    def __init__(self, path: str | Path) -> None:
        """path: the folder. It is not read before the first `load` or `fingerprint`."""
        self.name = str(path)
        self._path = Path(path)
        self._fingerprints: dict[str, str] = {}

    def load(self, task: Task, split: str) -> Dataset:
        """The examples of `split`, one of `task.splits`, in the order of the file.

        Raises InputError: the folder or file is missing or there twice, or its content
        cannot be used (see `dps.sources.readers.read`, `dps.sources.examples.to_dataset`).
        """
        path = self._file(task, split)
        return to_dataset(task, place_of(path), read(path, HEADLESS.get(task.name, ())))

    def fingerprint(self, task: Task) -> str:
        """16 hex digits of the SHA-256 of the files of all splits, wherever they lie.

        Read once per task, then kept. Raises InputError as `load` does for missing files.
        """
        if task.name not in self._fingerprints:
            digest = hashlib.sha256()
            for split in task.splits:
                digest.update(hashlib.sha256(read_bytes(self._file(task, split))).digest())
            self._fingerprints[task.name] = digest.hexdigest()[:16]
        return self._fingerprints[task.name]

    def _file(self, task: Task, split: str) -> Path:
        """The one file of a split."""
        if split not in task.splits:
            there = ", ".join(task.splits)
            raise InputError(f"split: task {task.name} has no split {split!r}; choose one of {there}")
        folder = self._folder(task)
        names = [f"{stem}{suffix}" for stem in _stems(task, split) for suffix in SUFFIXES]
        found = _existing(folder, names) or _original(folder, task, split)
        if len(found) > 1:
            both = ", ".join(path.name for path in found)
            raise InputError(f"{folder}: {both} all serve as {split} of task {task.name}; keep one")
        if not found:
            raise _no_file(folder, task, split)
        return found[0]

    def _folder(self, task: Task) -> Path:
        """The folder of a task: the sub-folder named like it or, failing that, the path itself."""
        if not self._path.is_dir():
            raise InputError(f"{self._path}: no such folder; give the folder that holds the data")
        named = [path for path in sorted(self._path.iterdir()) if path.is_dir() and _is_named(path, task)]
        if len(named) > 1:
            both = ", ".join(path.name for path in named)
            raise InputError(f"{self._path}: {both} are all named like task {task.name}; keep one")
        if named:
            return named[0]
        others = [other.name for other in GLUE.values() if other != task and _is_named(self._path, other)]
        if others:
            raise InputError(f"{self._path}: named like task {others[0]}, not {task.name}; give its folder")
        return self._path


def _is_named(path: Path, task: Task) -> bool:
    return re.sub(r"[-_ ]", "", path.resolve().name).lower() == re.sub(r"[-_ ]", "", task.name).lower()


def _stems(task: Task, split: str) -> list[str]:
    """The file names of a split without suffix: "dev", "validation", "val" with their endings."""
    if not split.startswith("dev"):
        return [split]
    endings = [split.removeprefix("dev")]
    if split == "dev" and "dev_mismatched" in task.splits:
        endings.append("_matched")
    return [f"{word}{ending}" for ending in endings for word in ("dev", "validation", "val")]


def _existing(folder: Path, names: list[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _original(folder: Path, task: Task, split: str) -> list[Path]:
    """The file of the authors' own layout, where the folder has no train file."""
    names = ORIGINAL.get(task.name, {})
    if split not in names or _existing(folder, [f"train{suffix}" for suffix in SUFFIXES]):
        return []
    return _existing(folder, [names[split]])


def _no_file(folder: Path, task: Task, split: str) -> InputError:
    stems = " or ".join(_stems(task, split))
    text = f"no file for {split} of task {task.name}; looked for {stems} with {', '.join(SUFFIXES)}"
    original = ORIGINAL.get(task.name, {}).get(split)
    return InputError(f"{folder}: {text}" + (f", and {original}" if original else ""))
