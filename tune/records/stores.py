"""Reading of MLflow stores and SQLite files through a copy.

The original is neither created nor changed, even while a search uses it.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL, make_url

from dps.text import redact_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE_LOCK_TIMEOUT_S = 60.0  # for a lock on a SQLite file
ErrorFactory = Callable[[str], Exception]  # reason -> what is raised


@contextmanager
def open_tracking_store(uri: str, refuse: ErrorFactory) -> Iterator[str]:
    """Yield the URI of a readable copy of an MLflow store. Raises refuse(reason) for an unreadable file, and
    for a missing one, which MLflow would create."""
    file, path = find_sqlite_file(uri), uri.removeprefix("file:").removeprefix("//")
    if not (file or Path(path)).exists() and (file or "://" not in path):
        raise refuse(f"names an experiment of {uri}, which does not exist")
    if file is None:
        yield uri
        return
    with open_sqlite_copy(file, refuse) as copy:
        yield f"sqlite:///{copy}"


def create_mlflow_client(uri: str) -> MlflowClient:
    """Return an MLflow client with logs off and short time-outs."""
    for name, value in (
        ("HTTP_REQUEST_TIMEOUT", "10"),
        ("HTTP_REQUEST_MAX_RETRIES", "2"),
        ("ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        ("SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),  # which it prints for every run
        ("DISABLE_TELEMETRY", "true"),  # which it sends to its makers
    ):
        os.environ.setdefault(f"MLFLOW_{name}", value)
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


@contextmanager
def open_sqlite_copy(file: Path, refuse: ErrorFactory) -> Iterator[Path]:
    """Yield a consistent temporary copy of a SQLite file. Raises refuse(reason).

    It is opened with mode=rw, which creates no file and rolls back a killed writer.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "copy.db"
        try:
            _backup_sqlite_file(f"{file.resolve().as_uri()}?mode=rw", copy)
        except sqlite3.Error as error:
            raise refuse(f"cannot be read ({shorten_error(error)})") from None
        yield copy


def _backup_sqlite_file(uri: str, copy: Path) -> None:
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=SQLITE_LOCK_TIMEOUT_S)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.execute("BEGIN")  # fails here if the lock is taken; backup() would wait for ever
        source.execute("SELECT name FROM sqlite_master").fetchone()
        source.backup(target)


def shorten_error(error: Exception) -> str:
    """Return an error's message as one short line."""
    return " ".join(str(error).split())[:200]


def resolve_tracking_uri(uri_option: str | None, runs: Path) -> str | None:
    """Resolve --tracking-uri, MLFLOW_TRACKING_URI or the default in `runs`; None turns tracking off."""
    if uri_option == "none":
        return None
    default = make_sqlite_url(runs.resolve() / "mlflow.db")
    return uri_option or os.environ.get("MLFLOW_TRACKING_URI") or default


def find_sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite URI, or None."""
    return Path(make_url(uri).database or "") if uri.startswith("sqlite:///") else None


def format_view_command(uri: str) -> str:
    """Return the command that opens the tracked results."""
    uri = redact_secrets(uri)
    if uri.startswith("http"):
        return f"open {uri}"
    mlflow = "mlflow" if shutil.which("mlflow") else Path(sys.executable).with_name("mlflow")
    return f"{mlflow} ui --backend-store-uri {shlex.quote(uri)}"


def find_mlflow_error(uri: str, registry: bool = False) -> str | None:
    """Return why MLflow or its model registry cannot be used, or None. Local files always pass: they are
    created on demand."""
    if uri.startswith(("sqlite:", "file:", "/")):
        return None
    try:
        client = create_mlflow_client(uri)
        (client.search_registered_models if registry else client.search_experiments)(max_results=1)
    except Exception as error:  # of requests, SQLAlchemy or MLflow
        return f"{type(error).__name__}: {shorten_error(error)}"
    return None


def make_sqlite_url(file: Path) -> str:
    """Return the URI of a SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)
