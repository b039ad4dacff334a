"""Checksums of a model's folder, so that what is read is what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dps.models.folder import TOKENIZER_PATTERNS
from dps.paths import hash_file, sync_tree, write_text_file
from dps.tasks.definition import TASK_FILE_NAME

MANIFEST_FILE = "checksums.json"
LISTED_FILES = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    *TOKENIZER_PATTERNS,
    TASK_FILE_NAME,
)


@contextmanager
def write_manifest(folder: Path) -> Iterator[None]:
    """Write the checksums of a model that is saved inside this context, once all of it is on the disk.

    A folder whose writing was broken off is known as such. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text_file(folder / MANIFEST_FILE, "{}\n")
    yield
    sync_tree(folder)
    files = {file for pattern in LISTED_FILES for file in folder.glob(pattern) if file.is_file()}
    checksums = {file.name: hash_file(file) for file in sorted(files)}
    write_text_file(folder / MANIFEST_FILE, json.dumps({"sha256": checksums}, indent=2) + "\n")


def find_damage(folder: Path) -> str | None:
    """Return which file of a model is not what was written, in a few words; None if all are.

    Nothing is known of a folder of an earlier version or another program, which has no checksums.
    """
    manifest = folder / MANIFEST_FILE
    if not manifest.exists():
        return None
    if not manifest.is_file():
        return f"{manifest} is no file"
    try:
        checksums = json.loads(manifest.read_text(encoding="utf-8"))["sha256"]
        for name, checksum in checksums.items():
            file = folder / Path(name).name
            if not file.is_file():
                return f"{file} is missing"
            if hash_file(file) != checksum:
                return f"{file} is not what was written there: its checksum is another"
    except KeyError:
        return f"{folder} was not written to its end"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"{manifest} cannot be read ({error})"
    return None
