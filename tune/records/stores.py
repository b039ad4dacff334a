"""MLflow stores and SQLite files, read as they lie: from a copy, so that nothing is made or changed there.

A search that still runs goes on meanwhile.
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

from sqlalchemy.engine import URL

from dps.text import redact_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE_LOCK_TIMEOUT_S = 60.0  # for a lock on a SQLite file
ErrorFactory = Callable[[str], Exception]  # why -> what is raised


@contextmanager
def open_tracking_store(uri: str, refuse: ErrorFactory) -> Iterator[str]:
    """The address of an MLflow store to read in place of this one. Raises refuse(why) for a file that cannot
    be read, or does not exist: MLflow would make it."""
    file, local = parse_sqlite_path(uri), uri.removeprefix("file:").removeprefix("//")
    if not (file or Path(local)).exists() and (file or "://" not in local):
        raise refuse(f"names an experiment of {uri}, which does not exist")
    if file is None:
        yield uri
        return
    with open_sqlite_copy(file, refuse) as copy:
        yield f"sqlite:///{copy}"


def create_mlflow_client(uri: str) -> MlflowClient:
    """Return the client of an MLflow store; quiet, and soon at its end where nothing answers."""
    for name, value in (
        ("HTTP_REQUEST_TIMEOUT", "10"),
        ("HTTP_REQUEST_MAX_RETRIES", "2"),
        ("ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        ("SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),  # of every run of a server, amid what is shown
    ):
        os.environ.setdefault(f"MLFLOW_{name}", value)
    from mlflow import MlflowClient

    for noisy in ("alembic", "mlflow", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


@contextmanager
def open_sqlite_copy(file: Path, refuse: ErrorFactory) -> Iterator[Path]:
    """A copy of a SQLite file as it was at one moment; gone afterwards. Raises refuse(why).

    Opened with mode=rw, which makes no file, and undoes what a writer was killed in the middle of.
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
        closing(sqlite3.connect(uri, uri=True, timeout=SQLITE_LOCK_TIMEOUT_S)) as held,
        closing(sqlite3.connect(copy)) as made,
    ):
        held.execute("BEGIN")  # a lock that is not to be had ends here, and does not go on for ever below
        held.execute("SELECT name FROM sqlite_master").fetchone()
        held.backup(made)


def parse_sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite URL; None for another."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def shorten_error(error: Exception) -> str:
    """What it says, on one line that is not long."""
    return " ".join(str(error).split())[:200]


def resolve_tracking_uri(named: str | None, beside: Path) -> str | None:
    """What --tracking-uri, MLFLOW_TRACKING_URI or neither means; None for no tracking."""
    if named == "none":
        return None
    return named or os.environ.get("MLFLOW_TRACKING_URI") or make_sqlite_url(beside.resolve() / "mlflow.db")


def find_sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite address; None of any other."""
    from sqlalchemy.engine import make_url

    return Path(make_url(uri).database or "") if uri.startswith("sqlite:///") else None


def format_view_command(uri: str) -> str:
    """The command that shows what was tracked."""
    uri = redact_secrets(uri)
    if uri.startswith("http"):
        return f"open {uri}"
    mlflow = "mlflow" if shutil.which("mlflow") else Path(sys.executable).with_name("mlflow")
    return f"{mlflow} ui --backend-store-uri {shlex.quote(uri)}"


def find_mlflow_error(uri: str, registry: bool = False) -> str | None:
    """Why the MLflow at this address, or its model registry, cannot be used; None where it can. Files are not
    looked at: they are made, and can hold both."""
    if uri.startswith(("sqlite:", "file:", "/")):
        return None
    try:
        client = create_mlflow_client(uri)
        (client.search_registered_models if registry else client.search_experiments)(max_results=1)
    except Exception as error:  # of requests, of SQLAlchemy, of MLflow
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None


def make_sqlite_url(file: Path) -> str:
    """The address of a SQLite file, whatever characters its path has."""
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)
