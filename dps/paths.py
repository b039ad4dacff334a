"""Paths that a user gives, the suffixes of data files, and files written in one piece."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_NAME_BYTES = 255
DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def expand_home(path: str) -> str:
    """Return the path with a leading ~ or ~user replaced by the home folder. Raises ValueError if there is no
    such folder, and for a name that no file system takes; an address is none."""
    if "://" not in path and any(len(os.fsencode(name)) > MAX_NAME_BYTES for name in path.split("/")):
        raise ValueError(f"a name in a path has at most {MAX_NAME_BYTES} bytes")
    expanded = os.path.expanduser(path)
    if path.startswith("~") and expanded == path:
        raise ValueError(f"no home folder is known for {path.partition('/')[0]}; give the whole path")
    return expanded


def is_folder(text: str) -> bool:
    """Return whether the folder exists; False for a text that is no path (too long, a null character)."""
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):
        return False


def find_link(folder: Path) -> Path | None:
    """Return an entry at any depth that is neither a file nor a folder: a link, a pipe, a device. None where
    whatever is written into the folder stays in it."""
    for place, folders, files in os.walk(folder):
        for entry in (Path(place, name) for name in (*folders, *files)):
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                return entry
    return None


@contextmanager
def write_in_one_piece(file: Path) -> Iterator[Path]:
    """Yield a new empty file beside `file`, which takes its place at the end and is on the disk then.

    No link is followed: neither at the new file, whose name nobody can foresee, nor at `file`, which is
    replaced. After an error nothing has changed. Raises OSError.
    """
    part = file.with_name(f".{uuid.uuid4().hex[:12]}.part")
    part.open("xb").close()
    try:
        yield part
        sync_path(part)
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text_file(file: Path, text: str) -> None:
    """Write a text file, see `write_in_one_piece`. Raises OSError."""
    with write_in_one_piece(file) as part:
        part.write_text(text, encoding="utf-8")


def sync_tree(path: Path) -> None:
    """Wait until a file, or a folder with all in it, would outlast a power cut. Raises OSError."""
    below = [Path(place, name) for place, _, names in os.walk(path) for name in (*names, "")]
    for each in (*below, *([path] if path.is_file() else []), path.parent):
        sync_path(each)


def sync_path(path: Path) -> None:
    """Wait until a file, or the names in a folder, would outlast a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file's content. Raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
