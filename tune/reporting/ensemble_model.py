"""ensemble/, all models of the winner's confirmations: whole, or made again by the next session."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from dps.errors import InputError
from dps.models import ENSEMBLE_FILE, read_ensemble, write_ensemble
from dps.paths import hash_file, sync_tree
from tune.core.storage import location_exists, remove_location, take_from_location
from tune.records.ledger import TrialRecord
from tune.reporting.best_model import BestModel, holds_whole_model

_CHECKSUM_NOTE = "ensemble_sha256"  # in the ledger: the SHA-256 of the list of its models


class EnsembleModel:
    """The models of all confirmations of the winner that completed, each in a folder with the run's id.

    best: whose model is one of them, and is moved out of the working files first.
    """

    def __init__(self, best: BestModel) -> None:
        self.best, self.notes = best, best.folder.notes
        self.path, self.staged = best.folder.output / "ensemble", best.folder.output / ".ensemble.part"

    def find_lost_runs(self, winner: TrialRecord | None) -> list[TrialRecord]:
        """Return the runs that must be trained once more: their models are nowhere."""
        runs = self.best.list_completed(winner)
        copies = self._find_copies(runs)
        return [
            run for run in runs if run.id not in copies and not location_exists(self.best.locate_model(run))
        ]

    def hand_over(self, winner: TrialRecord | None) -> bool:
        """Put the models into ensemble/. Returns whether it is whole. Raises OSError; the next call goes on
        then."""
        runs = self.best.list_completed(winner)
        names, copies = [run.id for run in runs], self._find_copies(runs)
        if not names or [*copies.values()] == [self.path / name for name in names]:
            return bool(names)
        for run in runs:
            if not self._stage(run, copies.get(run.id)):
                return False
        for entry in self.staged.iterdir():
            if entry.name not in names:
                remove_location(str(entry))
        write_ensemble(self.staged, names)
        sync_tree(self.staged)
        self.notes.note(_CHECKSUM_NOTE, hash_file(self.staged / ENSEMBLE_FILE))
        shutil.rmtree(self.path, ignore_errors=True)
        self.staged.rename(self.path)
        sync_tree(self.path)
        return True

    def _stage(self, run: TrialRecord, copy: Path | None) -> bool:
        """Have a run's model in the folder that becomes ensemble/; return whether it is there. copy: where it
        lies among the results."""
        place, part = self.staged / run.id, self.staged / ".part"
        if copy == place:
            return True
        shutil.rmtree(place, ignore_errors=True)
        if copy is None:
            return take_from_location(self.best.locate_model(run), place)
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(copy, part, ignore=shutil.ignore_patterns("README.md"))
        part.rename(place)
        return True

    def _find_copies(self, runs: Sequence[TrialRecord]) -> dict[str, Path]:
        """Return where the models of these runs lie whole among the results, by the runs' ids."""
        copies = {path.name: path for path in self._list_kept()}
        for run in runs:
            staged = self.staged / run.id
            if run.id not in copies and holds_whole_model(staged):
                copies[run.id] = staged
            elif run.id not in copies and self.best.holds(run):
                copies[run.id] = self.best.best
        return copies

    def _list_kept(self) -> Sequence[Path]:
        """Return the models in ensemble/ that are what was put there."""
        file, noted = self.path / ENSEMBLE_FILE, self.notes.noted(_CHECKSUM_NOTE)
        try:
            models = read_ensemble(self.path) if noted and hash_file(file) == noted else {}
        except (OSError, InputError):
            return []
        return [path for path, is_listed in models.items() if is_listed and holds_whole_model(path)]
