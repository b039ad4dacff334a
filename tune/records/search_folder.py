"""The output folder of a search or a comparison, and the place where its runs keep what must outlive them."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import traceback
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.paths import find_link, hash_file, is_folder, sync_tree, write_text_file
from dps.tasks.registry import is_task_file
from dps.text import redact_secrets
from tune.core.options import CommonOptions
from tune.core.parsing import format_options
from tune.core.run import RunPurpose
from tune.core.storage import (
    is_remote_location,
    join_location,
    location_exists,
    remove_location,
    resolve_location,
    take_from_location,
    write_location,
)
from tune.records.ledger import Ledger, TrialRecord, make_ledger_error, open_ledgers
from tune.records.ledger_file import open_ledger_file
from tune.records.predictions import PREDICTIONS_FILE, locate_predictions
from tune.records.saved_options import CONFIG_FILE, CONFIG_NOTE

_SEARCH_ID = re.compile("[0-9A-Za-z]{1,64}")


class SearchFolder:
    """What a search keeps: its ledgers by arm, its working files, its results.

    output: the folder of the results, with the ledger study.db. work: where runs keep checkpoints, models and
    predictions, a location that every node sees (`tune.core.storage`). ray_files: what Ray Tune writes.
    copied_from: the folder of the search that this is a copy of, where that still stands; else None.
    """

    def __init__(
        self, output: Path, direction: str, identities: Mapping[str, dict[str, object]], storage: str | None
    ) -> None:
        """Open the ledger of each arm. Raises InputError where it holds another search, or where the folder
        in the storage is not of this search."""
        self.output, self.storage = output.resolve(), storage
        self.ledgers = {arm: Ledger(self.output / "study.db", direction, arm) for arm in identities}
        for arm, ledger in self.ledgers.items():
            ledger.open(identities[arm])
        self.copied_from = find_original(self.notes, self.output)
        if self.copied_from is not None:
            self.notes.note("search_id", None)
            self.notes.note("shared", None)
        self.notes.note("folder", str(self.output))
        self._claim_shared()
        self.work, self.ray_files = join_location(self.shared, "work"), self.output / "ray"

    @property
    def notes(self) -> Ledger:
        """The ledger that keeps what belongs to the whole search."""
        return next(iter(self.ledgers.values()))

    def open_former_ledgers(self) -> list[Ledger]:
        """Open the ledgers of arms that earlier sessions had and this one has not."""
        file = self.output / "study.db"
        kept = open_ledgers(file, lambda reason: make_ledger_error(file, reason)) if file.is_file() else []
        return [ledger for ledger in kept if ledger.arm not in self.ledgers]

    @property
    def search_id(self) -> str:
        """The unique id of this search, the same in every session."""
        kept = read_search_id(self.notes)
        if kept is None:
            kept = uuid.uuid4().hex
            self.notes.note("search_id", kept)
        return kept

    @property
    def shared(self) -> str:
        """The location that every node sees: the output folder, or a folder of this search in the storage,
        which stays the same when the output folder is moved or renamed."""
        if self.storage is None:
            return str(self.output)
        name = self.notes.noted("shared") or f"{self.output.name}-{self.search_id[:8]}"
        if not isinstance(name, str) or {*"/\0"} & {*name} or not name.endswith(f"-{self.search_id[:8]}"):
            raise InputError(
                f"--resume: {self.output}/study.db names {name!r} as its folder in {self.storage}, which no "
                f"search does; start again with a new --output"
            )
        self.notes.note("shared", name)
        return join_location(resolve_location(self.storage), name)

    def _claim_shared(self) -> None:
        """Mark the folder in the storage, which goes with all in it at the end, by the id of this search."""
        if self.storage is None:
            return
        mark = join_location(self.shared, f".search-{self.search_id}")
        if not is_remote_location(self.shared) and (link := find_link(Path(self.shared))):
            raise InputError(f"--storage: {link} is no plain file or folder; remove it")
        if location_exists(mark):
            return
        if location_exists(self.shared):
            raise InputError(
                f"--storage: {self.shared} is not known to be this search's, and it would be removed at the "
                f"end; if it is, make the file {mark}, else start again with a new --output"
            )
        write_location(mark, b"")

    def records(self, *purposes: RunPurpose) -> list[TrialRecord]:
        """Return every run of these purposes, of all arms; of every purpose where none is named."""
        return [
            record
            for purpose in purposes or RunPurpose
            for ledger in self.ledgers.values()
            for record in ledger.records(purpose)
        ]

    @property
    def has_usable_trial(self) -> bool:
        """Whether a trial of the search ended with a score that can be compared."""
        return any(record.outcome.is_usable for record in self.records(RunPurpose.SEARCH))

    def write_config(self, options: CommonOptions, data: str, model: str) -> None:
        """Write config.yaml, which makes this search again: with the data and the model that were taken."""
        task = str(Path(options.task).absolute()) if is_task_file(options.task) else options.task
        text = format_options(options.copy_with(data=data, model=model, task=task))
        self.notes.note(CONFIG_NOTE, text)  # first: it takes the place of a file that is gone or cut
        write_text_file(self.output / CONFIG_FILE, text)

    def note_once(self, key: str, value: Any) -> Any:
        """Return what the first session noted under this key: in the first one, this value."""
        if self.notes.noted(key) is None:
            self.notes.note(key, value)
        return self.notes.noted(key)

    def write_error_log(self, error: Exception) -> None:
        """Write error.log, without secrets; where the disk is full, as much of it as fits."""
        with suppress(OSError):
            text = redact_secrets("".join(traceback.format_exception(error)))
            (self.output / "error.log").write_text(text, encoding="utf-8")

    def keep_predictions(self) -> None:
        """Take the predictions of every confirmation from the working files into the results. Those of a run
        that was trained once more count where they are what it wrote before."""
        for record in self.records(RunPurpose.CONFIRMATION):
            kept = locate_predictions(self.output, record.id)
            if record.predictions_sha256 and kept.is_file() and hash_file(kept) == record.predictions_sha256:
                continue
            take_from_location(join_location(self.work, f"trial-{record.id}", PREDICTIONS_FILE), kept)
            if kept.is_file():
                sync_tree(kept)

    def remove_working_files(self) -> None:
        """Leave nothing but results: no error of an earlier session either."""
        if not (log := self.output / "error.log").is_dir():  # a folder of this name is the user's
            log.unlink(missing_ok=True)
        shutil.rmtree(self.ray_files, ignore_errors=True)
        for part in self.output.glob(".*.part"):  # of a session that was killed
            remove_location(str(part))
        remove_location(self.work)
        if self.storage is not None:
            remove_location(self.shared)


def read_search_id(notes: Ledger) -> str | None:
    """Return the id in a ledger that belongs to the whole search; None if it has none, or no valid one."""
    kept = notes.noted("search_id")
    return kept if isinstance(kept, str) and _SEARCH_ID.fullmatch(kept) else None


def find_original(notes: Ledger, folder: Path) -> Path | None:
    """Return the folder that this one is a copy of, if the same search still stands where it was last run;
    None for the original, also where it was moved. notes: the ledger that belongs to the whole search."""
    home, file = notes.noted("folder"), folder / "study.db"
    other = Path(home) / "study.db" if isinstance(home, str) and is_folder(home) else file
    if not other.is_file() or other.samefile(file) or _peek_search_id(other) != notes.noted("search_id"):
        return None
    return other.parent


def _peek_search_id(file: Path) -> str | None:
    """Return the search's id in another ledger, which is only read; None if it cannot be."""
    query = "SELECT value_json FROM study_user_attributes WHERE key = 'search_id'"
    with suppress(sqlite3.Error, ValueError), open_ledger_file(file, ValueError) as held:
        found = held.execute(query).fetchone()
        return json.loads(found[0]) if found else None
    return None
