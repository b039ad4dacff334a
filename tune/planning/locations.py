"""Checks of everything a search writes to: output folder, storage, MLflow."""

from __future__ import annotations

import itertools
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dps.errors import InputError
from dps.text import REDACTION_MARK
from tune.core.options import CommonOptions
from tune.core.run import RefusedError
from tune.core.storage import check_location
from tune.planning.cluster import Cluster
from tune.records.saved_options import clear_unstarted, is_unstarted
from tune.records.stores import (
    find_sqlite_file,
    find_store_fault,
    make_sqlite_url,
    resolve_tracking_uri,
)

LOCK_FILE_NAME = ".lock"
LOCK_TIMEOUT_S = 0.2  # a lock file that its holder is just deleting is tried again
MODEL_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
MAX_EXPERIMENT_NAME_LENGTH = 500  # characters that MLflow takes
TRACKING_SCHEMES = (
    "http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks", "databricks-uc", "uc",
)  # fmt: skip


def check_output(folder: Path, resume: bool, writing: bool = True) -> None:
    """Raise InputError unless the output folder is empty (or resumed) and writable.

    A search that was ended before its first trial counts as nothing. writing: whether the folder is made, and
    written into.
    """
    try:
        held = [file.name for file in folder.iterdir()] if not resume and folder.exists() else []
        if {*held} - {LOCK_FILE_NAME} and not is_unstarted(folder):
            raise InputError(f"--output: {folder} is not empty; choose another folder, or --resume {folder}")
        if (folder / LOCK_FILE_NAME).is_symlink():
            raise InputError(f"--output: {folder / LOCK_FILE_NAME} is a link; remove it")
        make_sqlite_url(folder.absolute() / "study.db")  # raises InputError for a name that it cannot be at
        if writing:
            _check_writable(folder)
        else:
            os.listdir(next(path for path in (folder, *folder.absolute().parents) if path.exists()))
    except OSError as error:
        raise InputError(
            f"--output: cannot write to {folder} ({error.strerror}); choose another folder"
        ) from None


def claim_output(folder: Path, is_given: bool, resume: bool, holding: ExitStack) -> Path:
    """Return the output folder, checked, and locked as long as `holding`. Raises InputError.

    is_given: by --output or --resume. The default, which another search of the same second may have, gets a
    number then.
    """
    chosen = folder if is_given else _make_free_folder(folder)
    check_output(chosen, resume)
    holding.callback(_remove_if_empty, chosen)
    holding.enter_context(hold_folder_lock(chosen))
    if not resume:
        clear_unstarted(chosen)
    return chosen


def _make_free_folder(folder: Path) -> Path:
    """Make a folder that was not there: this one, or one with a number. One that cannot be made is returned
    all the same."""
    with suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        chosen = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            chosen.mkdir()
        except FileExistsError:
            continue
        except OSError:
            break
        return chosen
    return folder


def _check_writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"0")


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def hold_folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of an output folder inside this context: one live search per folder. The system releases
    it when the process dies. Raises InputError naming a live holder."""
    file = folder / LOCK_FILE_NAME
    lock = FileLock(file, timeout=LOCK_TIMEOUT_S, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        holder = file.read_text(encoding="utf-8")[:200] if file.exists() else ""
        raise InputError(
            f"--output: {folder} is in use by a live search ({holder or 'another process'}); wait for its "
            f"end, stop it, or choose another folder"
        ) from None
    try:
        file.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()


def check_storage(options: CommonOptions, cluster: Cluster) -> None:
    """Raise InputError for a bad --storage, RefusedError if several nodes have none."""
    if options.storage:
        check_location(options.storage, writing=not options.dry_run)
    if cluster.node_count > 1 and not options.storage:
        raise RefusedError(
            f"--storage: the cluster has {cluster.node_count} nodes; give a folder that every node sees, or "
            f"s3://BUCKET/PATH, for checkpoints and models"
        )


def check_tracking(options: CommonOptions) -> None:
    """Raise InputError for an invalid tracking address or model name."""
    uri = resolve_tracking_uri(options.tracking_uri, Path("runs"))
    if options.registered_name is not None:
        check_model_name(options.registered_name, uri)
    if uri is None:
        return
    named = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    option = "MLFLOW_TRACKING_URI" if named and not options.tracking_uri else "--tracking-uri"
    check_tracking_uri(uri, option)
    file = find_sqlite_file(uri)
    if named and file is not None and not file.parent.is_dir():
        folder = str(file.parent)
        raise InputError(f"{option}: there is no folder {folder!r} for {file.name}; make it first")
    if options.experiment is not None and len(options.experiment) > MAX_EXPERIMENT_NAME_LENGTH:
        rule = f"must have at most {MAX_EXPERIMENT_NAME_LENGTH} characters"
        raise InputError(f"--experiment: {rule}, but got {len(options.experiment)}; give a shorter name")


def check_tracking_uri(uri: str, option: str) -> None:
    """Raise InputError for an address that MLflow cannot use, or a file that is no database of MLflow's.
    option: the source of the address."""
    scheme, colon, rest = uri.partition("://")
    if scheme == "file" or uri.startswith(("file:", "/", "./")):
        raise InputError(
            f"{option}: {uri!r} is a folder, which MLflow takes no more; give sqlite:///FILE, "
            f"http://HOST:PORT, or none"
        )
    if uri != "databricks" and (not colon or not rest or scheme.partition("+")[0] not in TRACKING_SCHEMES):
        raise InputError(
            f"{option}: {uri!r} is not an MLflow address; give http://HOST:PORT, sqlite:///FILE, another "
            f"database, or none"
        )
    if REDACTION_MARK in uri:
        raise InputError(
            f"{option}: {uri!r} was saved without its password; give the whole address again, or none"
        )
    file = find_sqlite_file(uri)
    if file is None and scheme.partition("+")[0] == "sqlite":
        raise InputError(f"{option}: {uri!r} names no file; give sqlite:///FILE (absolute: sqlite:////FILE)")
    if file is not None:
        _check_sqlite_file(file, uri, option)


def _check_sqlite_file(file: Path, uri: str, option: str) -> None:
    """Raise InputError unless MLflow's database is, or can be, in this file."""
    if str(file) in (".", ":memory:") or str(file).startswith("file:") or "mode=memory" in uri:
        raise InputError(f"{option}: {uri!r} is kept nowhere; give sqlite:///FILE")
    if file.is_dir():
        raise InputError(f"{option}: {str(file)!r} is a folder; give a file in it, as in {uri}/mlflow.db")
    if fault := find_store_fault(file):
        raise InputError(f"{option}: {fault}")


def check_model_name(name: str, uri: str | None) -> None:
    """Raise InputError for an invalid model name, or if tracking is off."""
    if not MODEL_NAME_PATTERN.fullmatch(name):
        rule = "must be letters, digits, dot, dash and underscore, at most 128, a letter or digit first"
        raise InputError(f"--register: {rule}, but got {name!r}")
    if uri is None:
        raise InputError("--register: MLflow is off (--tracking-uri none); leave one of the two out")
