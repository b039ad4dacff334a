"""The output folder of a search or a comparison, and the place where its runs keep what must outlive them."""

from __future__ import annotations

import shutil
import traceback
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dps.tasks.registry import is_task_file
from dps.text import redact_secrets
from tune.core.options import CommonOptions
from tune.core.parsing import write_options
from tune.core.run import RunPurpose
from tune.core.storage import join_location, move_from_location, remove_location, resolve_location
from tune.records.ledger import Ledger, TrialRecord
from tune.records.predictions import PREDICTIONS_FILE, locate_predictions


class SearchFolder:
    """What a search keeps: its ledgers by arm, its working files, its results.

    output: the folder of the results, with the ledger study.db. work: where runs keep checkpoints, models and
    predictions, a location that every node sees (`tune.core.storage`). ray_files: what Ray Tune writes.
    """

    def __init__(
        self, output: Path, direction: str, identities: Mapping[str, dict[str, object]], storage: str | None
    ) -> None:
        """Open the ledger of each arm. Raises InputError where it holds another search."""
        self.output, self.storage = output.resolve(), storage
        self.ledgers = {arm: Ledger(self.output / "study.db", direction, arm) for arm in identities}
        for arm, ledger in self.ledgers.items():
            ledger.open(identities[arm])
        self.work, self.ray_files = join_location(self.shared, "work"), self.output / "ray"

    @property
    def notes(self) -> Ledger:
        """The ledger that keeps what belongs to the whole search."""
        return next(iter(self.ledgers.values()))

    @property
    def search_id(self) -> str:
        """The unique id of this search, the same in every session."""
        kept = self.notes.noted("search_id")
        if isinstance(kept, str) and kept.isalnum():
            return kept
        made = uuid.uuid4().hex
        self.notes.note("search_id", made)
        return made

    @property
    def shared(self) -> str:
        """The location that every node sees: the output folder, or a folder of this search in the storage,
        which stays the same when the output folder is moved or renamed."""
        if self.storage is None:
            return str(self.output)
        name = self.notes.noted("shared") or f"{self.output.name}-{self.search_id[:8]}"
        self.notes.note("shared", name)
        return join_location(resolve_location(self.storage), name)

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
        write_options(options.copy_with(data=data, model=model, task=task), self.output / "config.yaml")

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
        """Move the predictions of every confirmation from the working files to the results."""
        for record in self.records(RunPurpose.CONFIRMATION):
            written = join_location(self.work, f"trial-{record.id}", PREDICTIONS_FILE)
            move_from_location(written, locate_predictions(self.output, record.id))

    def remove_working_files(self) -> None:
        """Leave nothing but results."""
        shutil.rmtree(self.ray_files, ignore_errors=True)
        remove_location(self.work)
        if self.storage is not None:
            remove_location(self.shared)
