"""Where a search writes: output folder, storage of a cluster, MLflow. Checked before anything starts."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dps.errors import InputError
from dps.text import REDACTION_MARK
from tune.core.options import CommonOptions, SearchOptions
from tune.core.run import RefusedError
from tune.core.storage import check_location
from tune.planning.cluster import Cluster

MODEL_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

TRACKING_SCHEMES = (
    "http",
    "https",
    "sqlite",
    "postgresql",
    "mysql",
    "mssql",
    "databricks",
    "databricks-uc",
    "uc",
)


def check_output(folder: Path, resume: bool) -> None:
    """The output folder can be made and written to, and no other search's results lie in it."""
    try:
        if not resume and folder.exists() and {file.name for file in folder.iterdir()} - {LOCK_FILE_NAME}:
            raise InputError(f"--output: {folder} is not empty; choose another folder, or --resume {folder}")
        _check_writable(folder)
    except OSError as error:
        raise InputError(
            f"--output: cannot write to {folder} ({error.strerror}); choose another folder"
        ) from None


def _check_writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".write-probe"
    probe.write_bytes(b"0")
    probe.unlink()


def check_storage(options: CommonOptions, cluster: Cluster) -> None:
    """A cluster of several nodes needs a folder that all of them see."""
    if options.storage:
        check_location(options.storage, writing=not options.dry_run)
    if cluster.nodes > 1 and not options.storage:
        raise RefusedError(
            f"--storage: the cluster has {cluster.nodes} nodes; give a folder that every node sees, or "
            f"s3://BUCKET/PATH, for checkpoints and models"
        )


def check_tracking(options: CommonOptions) -> None:
    """Raises InputError for an address that MLflow can do nothing with, and for what cannot be registered."""
    from tune.records.stores import find_sqlite_file, resolve_tracking_uri

    uri = resolve_tracking_uri(options.tracking_uri, Path("runs"))
    if isinstance(options, SearchOptions) and options.register is not None:
        check_model_name(options.register, uri)
    if uri is None:
        return
    option = "--tracking-uri" if options.tracking_uri else "MLFLOW_TRACKING_URI"
    scheme, colon, rest = uri.partition("://")
    if not colon or not rest or scheme.partition("+")[0] not in TRACKING_SCHEMES:
        raise InputError(
            f"{option}: {uri!r} is no address of MLflow; give http://HOST:PORT, sqlite:///FILE, another "
            f"database, or none"
        )
    if REDACTION_MARK in uri:
        raise InputError(
            f"{option}: {uri!r} was kept without its password; give the whole address again, or none"
        )
    file = find_sqlite_file(uri)
    if options.tracking_uri and file is not None and not file.parent.is_dir():
        raise InputError(f"{option}: there is no folder {str(file.parent)!r} for {file.name}; make it first")


LOCK_FILE_NAME = ".lock"


@contextmanager
def hold_folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of an output folder. Raises InputError where a live process holds it, naming that."""
    file = folder / LOCK_FILE_NAME
    stream = _acquire_lock(file)
    try:
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield
    finally:
        file.unlink(missing_ok=True)
        stream.close()


def _acquire_lock(file: Path) -> TextIO:
    while True:
        stream = file.open("a+", encoding="utf-8")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(stream.fileno()), file.stat()):
                return stream
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read(200) or "another process"
            raise InputError(
                f"--output: {file.parent} is in use by a live search ({holder}); wait for its end, stop it, "
                f"or choose another folder"
            ) from None
        except FileNotFoundError:  # its holder ended in between
            pass
        stream.close()


def check_model_name(name: str, uri: str | None) -> None:
    """Raises InputError for a name that no model can have, and where nothing is tracked. uri: of MLflow."""
    if not MODEL_NAME_PATTERN.fullmatch(name):
        rule = "must be letters, digits, dot, dash and underscore, at most 128, a letter or digit first"
        raise InputError(f"--register: {rule}, but got {name!r}")
    if uri is None:
        raise InputError("--register: MLflow is off (--tracking-uri none); leave one of the two out")
