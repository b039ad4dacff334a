"""best/, the model of a search: whole and with its card, or made again by the next session."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open

from dps.models.manifest import MANIFEST_FILE, find_damage
from dps.paths import hash_file, sync_tree
from dps.training.result import Outcome
from tune.core.run import RunPurpose
from tune.core.storage import join_location, location_exists, take_from_location
from tune.records.ledger import TrialRecord
from tune.records.replicates import choose_median_replicate, select_by_configuration
from tune.records.search_document import SearchDocument
from tune.records.search_folder import SearchFolder
from tune.reporting.model_card import write_model_card

# In the ledger: the run whose model best/ is, or becomes, and the SHA-256 of its list of checksums.
_NOTE, _CHECKSUM_NOTE = "best", "best_sha256"


class BestModel:
    """The model of the winner's replicate with the median score, as the results and working files hold it."""

    def __init__(self, folder: SearchFolder, metric: str) -> None:
        self.folder, self.metric = folder, metric
        self.best, self.staged = folder.output / "best", folder.output / ".best"

    def find_lost_run(self, winner: TrialRecord | None) -> TrialRecord | None:
        """Return the run that must be trained once more: its model is neither in best/ nor among the working
        files. None where nothing is lost, or nothing was confirmed."""
        chosen = self._choose_replicate(winner)
        if chosen is None or self.staged.is_dir() or location_exists(self.locate_model(chosen)):
            return None
        owner = self._owner(chosen)
        if self._is_whole() and owner.configuration == chosen.configuration:
            return None
        return chosen

    def hand_over(self, document: SearchDocument, winner: TrialRecord | None) -> bool:
        """Put the model into best/ with its card, and bring the card of one that is there up to date.

        Returns whether best/ is whole. Raises OSError; the next call goes on then.
        """
        chosen = self._choose_replicate(winner)
        if chosen is None:
            return self._is_whole()
        model = self.locate_model(chosen)
        if location_exists(model):
            self.folder.notes.note(_NOTE, chosen.id)
            shutil.rmtree(self.staged, ignore_errors=True)
            take_from_location(model, self.staged)
        owner = self._owner(chosen)
        if owner.configuration != chosen.configuration:
            return False
        if self.staged.is_dir():
            write_model_card(document, owner.seed, self.staged)
            sync_tree(self.staged)
            self.folder.notes.note(_CHECKSUM_NOTE, _hash_manifest(self.staged))
            shutil.rmtree(self.best, ignore_errors=True)
            self.staged.rename(self.best)
            sync_tree(self.best)
        elif self._is_whole():
            write_model_card(document, owner.seed, self.best)
        return self._is_whole()

    def _is_whole(self) -> bool:
        """Return whether best/ holds the model that was put there, whole; one without checksums is taken for
        that, as who changes a file deletes them."""
        noted, found = self.folder.notes.noted(_CHECKSUM_NOTE), _hash_manifest(self.best)
        return holds_whole_model(self.best) and (not noted or not found or found == noted)

    def holds(self, run: TrialRecord) -> bool:
        """Return whether best/ holds this run's model, whole."""
        return self.folder.notes.noted(_NOTE) == run.id and self._is_whole()

    def _choose_replicate(self, winner: TrialRecord | None) -> TrialRecord | None:
        return choose_median_replicate(self.list_completed(winner), self.metric)

    def list_completed(self, winner: TrialRecord | None) -> list[TrialRecord]:
        """Return the confirmations of the winner that completed, in the order in which they began."""
        configuration = None if winner is None else winner.configuration
        confirming = select_by_configuration(configuration, self._confirmations)
        return [run for run in confirming if run.outcome == Outcome.COMPLETED]

    def locate_model(self, run: TrialRecord) -> str:
        """Return where the run left its model among the working files."""
        return join_location(self.folder.work, f"trial-{run.id}", "model")

    def _owner(self, chosen: TrialRecord) -> TrialRecord:
        """Return the run whose model was put into best/; `chosen` if an earlier version did not note it."""
        noted = self.folder.notes.noted(_NOTE)
        return next((run for run in self._confirmations if run.id == noted), chosen)

    @property
    def _confirmations(self) -> list[TrialRecord]:
        """The runs that may have left a model: those of the search, not of its baselines."""
        return self.folder.notes.records(RunPurpose.CONFIRMATION)


def _hash_manifest(folder: Path) -> str | None:
    """Return the SHA-256 of a model's list of checksums; None if it has none."""
    manifest = folder / MANIFEST_FILE
    return hash_file(manifest) if manifest.is_file() else None


def holds_whole_model(folder: Path) -> bool:
    """Return whether a folder holds a model whose files are what was written: by their checksums and, in a
    folder of an earlier version, weights as long as their headers say."""
    weights = [*folder.glob("*.safetensors")]
    try:
        for file in weights:
            with safe_open(file, framework="np"):
                pass
    except (OSError, SafetensorError):
        return False
    return find_damage(folder) is None and bool(weights) and (folder / "config.json").is_file()
