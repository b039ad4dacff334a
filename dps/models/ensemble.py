"""Ensembles: folders with a fine-tuned model in each of their folders, and a file that lists these."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dps.errors import InputError
from dps.models.manifest import MANIFEST_FILE
from dps.paths import hash_file, write_text_file
from dps.text import quote_value

ENSEMBLE_FILE = "ensemble.json"


def write_ensemble(folder: Path, names: Sequence[str]) -> None:
    """Write the list of the models in `folder`, by the names of their folders, with the checksum of each
    one's list of checksums. Raises OSError."""
    models = {name: hash_file(folder / name / MANIFEST_FILE) for name in names}
    write_text_file(folder / ENSEMBLE_FILE, json.dumps({"models": models}, indent=2) + "\n")


def read_ensemble(folder: Path) -> dict[Path, bool]:
    """Return the folders of an ensemble's models, and whether each holds the model that was listed.

    Whether that is what its own list of checksums says is for who loads it. Raises InputError for a list that
    cannot be read.
    """
    file = folder / ENSEMBLE_FILE
    try:
        models = json.loads(file.read_text(encoding="utf-8"))["models"]
        listed = {str(name): str(checksum) for name, checksum in models.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"model: {file} cannot be read ({error}); copy the folder again") from None
    if wrong := next((name for name in listed if Path(name).name != name), None):
        raise InputError(f"model: {file} must name folders beside it, but names {quote_value(wrong)}")
    return {folder / name: _hash_manifest(folder / name) == listed[name] for name in listed}


def _hash_manifest(folder: Path) -> str | None:
    manifest = folder / MANIFEST_FILE
    return hash_file(manifest) if manifest.is_file() else None


def list_models(folder: Path) -> list[Path]:
    """Return the folders of an ensemble's models; of any other folder, itself.

    Raises InputError as `read_ensemble` does, and for a model that is missing or not the one that was listed.
    """
    file = folder / ENSEMBLE_FILE
    if not file.exists():
        return [folder]
    models = read_ensemble(folder)
    if not models:
        raise InputError(f"model: {file} names no model; copy the folder again")
    if wrong := next((path for path, is_listed in models.items() if not is_listed), None):
        raise InputError(f"model: {wrong} is not the model that {file} lists; copy the folder again")
    return [*models]
