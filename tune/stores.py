"""MLflow stores and SQLite files, read as they lie: from a copy, so that nothing is made or changed there.

A search that still runs goes on meanwhile.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

WAIT_S = 60.0  # for a lock on a SQLite file
Refuse = Callable[[str], Exception]  # why -> what is raised


@contextmanager
def opened(uri: str, refuse: Refuse) -> Iterator[str]:
    """The address of an MLflow store to read in place of this one. Raises refuse(why) for a file that cannot
    be read, or does not exist: MLflow would make it."""
    file, local = database(uri), uri.removeprefix("file:").removeprefix("//")
    if not (file or Path(local)).exists() and (file or "://" not in local):
        raise refuse(f"names an experiment of {uri}, which does not exist")
    if file is None:
        yield uri
        return
    with copied(file, refuse) as copy:
        yield f"sqlite:///{copy}"


def client(uri: str) -> MlflowClient:
    """Of an MLflow store; quiet, and soon at its end where nothing answers."""
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
def copied(file: Path, refuse: Refuse) -> Iterator[Path]:
    """A copy of a SQLite file as it was at one moment; gone afterwards. Raises refuse(why).

    Opened with mode=rw, which makes no file, and undoes what a writer was killed in the middle of.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "copy.db"
        try:
            _copy(f"{file.resolve().as_uri()}?mode=rw", copy)
        except sqlite3.Error as error:
            raise refuse(f"cannot be read ({line(error)})") from None
        yield copy


def _copy(uri: str, copy: Path) -> None:
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=WAIT_S)) as held,
        closing(sqlite3.connect(copy)) as made,
    ):
        held.execute("BEGIN")  # a lock that is not to be had ends here, and does not go on for ever below
        held.execute("SELECT name FROM sqlite_master").fetchone()
        held.backup(made)


def database(uri: str) -> Path | None:
    """The file of a SQLite URL; None for another."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def line(error: Exception) -> str:
    """What it says, on one line that is not long."""
    return " ".join(str(error).split())[:200]
