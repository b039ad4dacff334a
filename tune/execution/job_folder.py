"""The working folder of a job on its node; files that must outlive the node are copied to the storage."""

from __future__ import annotations

import hashlib
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dps.paths import sync_tree
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
    """The folder of a job.

    With an object store it is local to the node, and checkpoints are uploaded in the background. While one
    upload runs, only the newest waiting checkpoint is kept, and uploaded when the run ends.

    location: of the job in the storage, see `tune.core.storage`; is_writer: whether this rank writes;
    warnings: uploads and downloads that failed.
    """

    def __init__(self, location: str, is_writer: bool) -> None:
        self.location, self.is_writer = location, is_writer
        self.is_remote = is_remote_location(location)
        self.folder = _get_node_folder(location) if self.is_remote else Path(location)
        self.warnings: list[str] = []
        self._uploader = ThreadPoolExecutor(1)
        self._upload_in_progress: Future[None] | None = None
        self._waiting_checkpoint: Path | None = None

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / "checkpoints"

    def fetch_checkpoints(self) -> None:
        """Download checkpoints written by other nodes."""
        if not self.is_remote:
            return
        location = self._checkpoints_location
        try:
            for name in storage.list_location(location):
                if not (self.checkpoints / name).exists():
                    download_location(join_location(location, name), self.checkpoints / name)
        except OSError as error:
            self._warn(f"checkpoints could not be read from the storage: {describe_storage_error(error)}")

    def upload_checkpoint(self, checkpoint: Path) -> None:
        """Upload a new checkpoint in the background."""
        if not self.is_remote or not self.is_writer:
            return
        self._waiting_checkpoint = checkpoint
        if self._upload_in_progress is None or self._upload_in_progress.done():
            self._waiting_checkpoint = None
            self._upload_in_progress = self._uploader.submit(self._upload, checkpoint)

    def keep_result(self, name: str) -> None:
        """Have a file or folder on the disk, or in the object store, before the ledger says that it is there.
        Raises OSError."""
        if not self.is_remote:
            sync_tree(self.folder / name)
        else:
            storage.upload_to_location(self.folder / name, join_location(self.location, name))

    def finish_run(self, is_over: bool) -> None:
        """Finish uploads at the end of the run. is_over: no other node will continue it."""
        if self._waiting_checkpoint is not None and not is_over:
            self._uploader.submit(self._upload, self._waiting_checkpoint)
        self._uploader.shutdown()

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints of a finished run; from a store in the background."""
        if not self.is_remote:
            self._remove_from_storage()
            return
        threading.Thread(target=self._remove_from_storage, daemon=True).start()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_from_storage(self) -> None:
        if self.is_writer:
            remove_location(self._checkpoints_location)

    @property
    def _checkpoints_location(self) -> str:
        return join_location(self.location, "checkpoints")

    def _upload(self, checkpoint: Path) -> None:
        location = self._checkpoints_location
        try:
            storage.upload_to_location(checkpoint, join_location(location, checkpoint.name))
            for old in storage.list_location(location)[:-KEPT_CHECKPOINTS]:
                remove_location(join_location(location, old))
        except OSError as error:
            if checkpoint.exists():  # it may have been replaced by newer ones meanwhile
                self._warn(
                    f"{checkpoint.name} could not be sent to the storage: {describe_storage_error(error)}"
                )

    def _warn(self, warning: str) -> None:
        if not self.warnings:
            self.warnings.append(warning)


def _get_node_folder(location: str) -> Path:
    """Return this node's folder for a location, the same in every process."""
    return get_cache_folder() / "jobs" / hashlib.sha256(location.encode()).hexdigest()[:16]
