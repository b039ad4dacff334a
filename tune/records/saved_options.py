"""The options of a search, as config.yaml holds them and, where that is gone or cut, its ledger."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.paths import find_link, is_folder
from dps.tasks.registry import get_task_name
from dps.text import sanitise_text
from tune.core.option_types import expand_tasks, name_size
from tune.core.options import CompareOptions, SearchOptions
from tune.core.parsing import OptionsT, merge_saved_options, parse_option_text, read_options
from tune.core.storage import remove_location
from tune.records.ledger_file import open_ledger_file

CONFIG_FILE, CONFIG_NOTE = "config.yaml", "config"
_BEFORE_A_TRIAL = {"study.db", "study.db-journal", CONFIG_FILE, "error.log", "ray", "work"}


def load_resumed_options(options: OptionsT) -> OptionsT:
    """Return the options of the search in --resume; those given now take precedence. Without --resume return
    them as they are. Raises InputError if the folder holds no search."""
    folder = options.resume
    if folder is None:
        return options
    if options.output is not None:
        raise InputError("--output, --resume: a search goes on in its own folder; leave --output out")
    saved = read_saved_options(folder)
    if options.warm_start not in (None, saved.get("warm_start")):
        raise InputError(
            f"--warm-start: {folder} goes on from its own trials; to start from others, give a new --output"
        )
    if saved.pop("worth", None) is not None:
        print("warning: --worth, with which this search began, is gone: see --race", file=sys.stderr)
    for option, kind in (("method", SearchOptions), ("methods", CompareOptions)):
        if option in saved and not isinstance(options, kind):
            raise InputError(f"--resume: {folder} was made by another command; use {kind.command}")
    return merge_saved_options(saved, folder / CONFIG_FILE, options)


def read_saved_options(folder: Path) -> dict[str, Any]:
    """Return the options that the search in a folder was last started with. Raises InputError if it holds no
    search, or a link: whatever is written into the folder must stay in it."""
    if link := find_link(folder):
        raise InputError(
            f"--resume: {link} is no plain file or folder, and what is written there would leave {folder}; "
            f"put what it points to in its place"
        )
    file, ledger = folder / CONFIG_FILE, folder / "study.db"
    has_ledger = is_folder(str(folder)) and ledger.is_file()
    noted = _read_config_note(ledger) if has_ledger else None
    if noted is None:
        if (has_ledger or is_suite_folder(folder)) and file.is_file():
            return read_options(file)
        if has_ledger and is_unstarted(folder):
            raise InputError(
                f"--resume: {folder} holds a search that was ended before it began; give its command again, "
                f"with --output {folder}"
            )
        raise InputError(f"--resume: {folder} holds no search (study.db and config.yaml)")
    found = b""
    with suppress(OSError):
        found = file.read_bytes()
    if found != noted.encode() and noted.encode().startswith(found.rstrip(b"\0")):
        problem = f"{sanitise_text(str(file))} is {'cut' if found else 'gone'}"
        print(f"warning: {problem}; study.db has its options", file=sys.stderr)
        return parse_option_text(noted, ledger)
    return read_options(file)


def is_suite_folder(folder: Path) -> bool:
    """Return whether a folder holds several tasks, or sizes, each in a folder of its own: there is no ledger,
    and the config.yaml names them."""
    return len(list_suite_members(folder)) > 1


def list_suite_members(folder: Path) -> list[str]:
    """Return the folders of the tasks, or sizes, that the config.yaml of a folder without a ledger names;
    none without such a file."""
    if not is_folder(str(folder)) or (folder / "study.db").exists():
        return []
    if not (folder / CONFIG_FILE).is_file():
        return []
    saved = read_options(folder / CONFIG_FILE)
    tasks, shots = saved.get("task"), saved.get("shots")
    if isinstance(shots, list):
        return [name_size(count) for count in shots]
    return [get_task_name(task) for task in expand_tasks(tasks)] if isinstance(tasks, str) else []


def find_runs_folder(output: Path) -> Path:
    """Return the folder that holds an output folder: of one of several tasks, that which holds them all."""
    parent = output.resolve().parent
    return parent.parent if is_suite_folder(parent) else parent


def is_unstarted(folder: Path) -> bool:
    """Return whether a folder holds only what a search leaves that was ended before its first trial."""
    names = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
    if "study.db" not in names or names - _BEFORE_A_TRIAL or find_link(folder):
        return False
    try:
        with open_ledger_file(folder / "study.db", ValueError) as held:
            tables = {name for (name,) in held.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            return "trials" not in tables or not held.execute("SELECT 1 FROM trials").fetchone()
    except (sqlite3.Error, ValueError):
        return False


def clear_unstarted(folder: Path) -> None:
    """Remove what a search left that was ended before its first trial, see `is_unstarted`; nothing else."""
    if is_unstarted(folder):
        for name in _BEFORE_A_TRIAL:
            remove_location(str(folder / name))


def _read_config_note(ledger: Path) -> str | None:
    """Return the text of config.yaml as the ledger holds it; None if it holds none, or cannot be read."""
    query = "SELECT value_json FROM study_user_attributes WHERE key = ?"
    with suppress(sqlite3.Error, ValueError), open_ledger_file(ledger, ValueError) as held:
        found = held.execute(query, (CONFIG_NOTE,)).fetchone()
        text = json.loads(found[0]) if found else None
        return text if isinstance(text, str) else None
    return None
