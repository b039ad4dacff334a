"""Files shipped with a job: the project's code, nothing large or private."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dps.errors import InputError
from dps.wording import format_count

PROJECT_ROOT = Path(__file__).resolve().parents[1]
UNSHIPPED_TOP_FOLDERS = frozenset(
    {"runs", "data", "benchmarks", "build", "dist", "mlruns", "mlartifacts", "tests"}
)
PACKAGES = ("cluster", "dps", "tune")  # all that is shipped of an installed package, which lies among others
UNSHIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})
UNSHIPPED_SUFFIXES = frozenset({".db", ".pyc", ".pem", ".key", ".safetensors", ".pt", ".log"})
MAX_SHIPPED_BYTES = 50 * 2**20


def list_shipped_files(root: Path) -> Iterator[Path]:
    """Yield the files below root that are shipped, relative to root, sorted.

    Left out are results, data, tests, hidden files, virtual environments, data bases and keys.
    """
    is_checkout = (root / "pyproject.toml").is_file()
    for folder, folders, names in os.walk(root):
        parent = Path(folder).relative_to(root)
        if parent == Path() and not is_checkout:
            folders[:], names = [name for name in folders if name in PACKAGES], []
        folders[:] = sorted(name for name in folders if _is_shipped_folder(root, parent / name))
        yield from (parent / name for name in sorted(names) if _is_shipped_file(root, parent / name))


def copy_shipped_files(root: Path, into: Path) -> str:
    """Copy the shipped files; return a line about it for the user. Raises InputError above 50 MiB."""
    count, size = 0, 0
    for file in list_shipped_files(root):
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / file, into / file)
        count, size = count + 1, size + (root / file).stat().st_size
        if size > MAX_SHIPPED_BYTES:
            raise InputError(
                f"{root}: more than {MAX_SHIPPED_BYTES >> 20} MiB to ship, at {file}; move data elsewhere"
            )
    left_out = sorted(
        {path.name for path in root.iterdir() if path.is_dir()} - {p.name for p in into.iterdir()}
    )
    skipped = ", ".join(left_out) or "-"
    return f"shipping     {format_count(count, 'file')}, {size / 2**20:.1f} MiB, of {root} (not: {skipped})"


def _is_shipped_folder(root: Path, folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name.endswith(".egg-info")
    known = folder.name in UNSHIPPED_FOLDERS or (
        folder.parent == Path() and folder.name in UNSHIPPED_TOP_FOLDERS
    )
    return not hidden and not known and not (root / folder / "pyvenv.cfg").exists()


def _is_shipped_file(root: Path, file: Path) -> bool:
    plain = (root / file).is_file() and not (root / file).is_symlink()
    return plain and not file.name.startswith(".") and file.suffix not in UNSHIPPED_SUFFIXES
