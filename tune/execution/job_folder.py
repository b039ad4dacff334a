"""Where a slot does a job: a folder of its node. What must outlive the node goes to the storage meanwhile."""

from __future__ import annotations

import hashlib
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dps.training.checkpoint import KEPT_CHECKPOINTS
from dps.training.tokens import get_cache_folder
from tune.core import storage
from tune.core.storage import (
    describe_storage_error,
    download_location,
    is_remote_location,
    join_location,
    remove_location,
)


class JobFolder:
    """The folder of a job. Where the job's place is an object store, the folder is one of the node's own, and
    checkpoints are copied to the store in the background: of those that are written while one is on its way
    the last goes next, when the run is left.

    place: of the job, see `tune.core.storage`. writes: whether this rank does; the others only read.
    warnings: what could not be copied, and why.
    """

    def __init__(self, place: str, writes: bool) -> None:
        self.place, self.writes = place, writes
        self.is_remote = is_remote_location(place)
        self.folder = _get_node_folder(place) if self.is_remote else Path(place)
        self.warnings: list[str] = []
        self._sender = ThreadPoolExecutor(1)
        self._sending: Future[None] | None = None
        self._unsent: Path | None = None

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are written, and read."""
        return self.folder / "checkpoints"

    def fetch(self) -> None:
        """Have the checkpoints that other nodes wrote."""
        if not self.is_remote:
            return
        there = join_location(self.place, "checkpoints")
        try:
            for name in storage.list_location(there):
                if not (self.checkpoints / name).exists():
                    download_location(join_location(there, name), self.checkpoints / name)
        except OSError as error:
            self._warn(f"checkpoints could not be read from the storage: {describe_storage_error(error)}")

    def written(self, checkpoint: Path) -> None:
        """A checkpoint was written to this folder."""
        if not self.is_remote or not self.writes:
            return
        self._unsent = checkpoint
        if self._sending is None or self._sending.done():
            self._unsent, self._sending = None, self._sender.submit(self._send, checkpoint)

    def keep(self, name: str) -> None:
        """What was written to the folder under this name is a result. Raises OSError."""
        if self.is_remote:
            storage.upload_to_location(self.folder / name, join_location(self.place, name))

    def leave(self, done: bool) -> None:
        """The run has ended here. done: nobody goes on with it, unless nobody hears of its end."""
        if self._unsent is not None and not done:
            self._sender.submit(self._send, self._unsent)
        self._sender.shutdown()

    def clear(self) -> None:
        """That the run is over is known: nobody will go on from its checkpoints. A store hears of it
        meanwhile."""
        if not self.is_remote:
            self._remove_checkpoints()
            return
        threading.Thread(target=self._remove_checkpoints, daemon=True).start()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_checkpoints(self) -> None:
        if self.writes:
            remove_location(join_location(self.place, "checkpoints"))

    def _send(self, place: Path) -> None:
        there = join_location(self.place, "checkpoints")
        try:
            storage.upload_to_location(place, join_location(there, place.name))
            for old in storage.list_location(there)[:-KEPT_CHECKPOINTS]:
                remove_location(join_location(there, old))
        except OSError as error:
            if place.exists():  # or newer ones have replaced it meanwhile
                self._warn(f"{place.name} could not be sent to the storage: {describe_storage_error(error)}")

    def _warn(self, warning: str) -> None:
        if not self.warnings:
            self.warnings.append(warning)


def _get_node_folder(place: str) -> Path:
    """A folder of the node for this place, the same for every process there."""
    return get_cache_folder() / "jobs" / hashlib.sha256(place.encode()).hexdigest()[:16]
