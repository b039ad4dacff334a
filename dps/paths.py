"""Paths that a user gives, and the suffixes of data files."""

from __future__ import annotations

from pathlib import Path

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def is_folder(text: str) -> bool:
    """Return whether the folder exists; False for a text that is no path (too long, a null character)."""
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):
        return False
