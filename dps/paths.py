"""Paths that a user gives, the suffixes of data files, and files written in one piece."""

from __future__ import annotations

from pathlib import Path

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def is_folder(text: str) -> bool:
    """Return whether the folder exists; False for a text that is no path (too long, a null character)."""
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):
        return False


def write_text_file(file: Path, text: str) -> None:
    """Write a text file atomically: an existing one is replaced once all is written. Raises OSError."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
