"""Paths that a user named."""

from __future__ import annotations

from pathlib import Path

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def is_folder(text: str) -> bool:
    """Whether there is such a folder. False for what can be no path: too long, with a null character."""
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):
        return False
