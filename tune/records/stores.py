"""Reading of MLflow stores and SQLite files through a copy.

The original is neither created nor changed, even while a search uses it.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url

from dps.errors import InputError
from dps.text import redact_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SQLITE_LOCK_TIMEOUT_S = 60.0  # for a lock on a SQLite file
_SQLITE_URI = re.compile(r"sqlite(\+\w+)?:///")
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
    if (file := find_sqlite_file(uri)) is not None and not file.exists():
        _make_sqlite_store(file)
    return MlflowClient(tracking_uri=uri)


def _make_sqlite_store(file: Path) -> None:
    """Make MLflow's tables in a new file beside `file`, and give it that name once it is whole: making them
    takes seconds, and what a killed program leaves of them no later one can use."""
    from mlflow import MlflowClient

    part = file.absolute().with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        MlflowClient(tracking_uri=make_sqlite_url(part)).search_experiments(max_results=1)
        try:
            os.link(part, file)
        except FileExistsError:  # another search has made it meanwhile
            return
        except OSError:  # a file system without links
            part.rename(file)
    finally:
        part.unlink(missing_ok=True)


def name_experiment(named: str | None, task: str, data: Mapping[str, str]) -> str:
    """Return the name of a search's experiment, `named` by the user or of its task and data, whose
    fingerprint is part of it: results on different data never mix."""
    return named or f"{task}-{data['source']}-{data['fingerprint'][:8]}"


def find_experiment(client: MlflowClient, name: str) -> str | None:
    """Return the id of an experiment; None if there is none. Raises InputError for one that was deleted."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        raise InputError(_describe_deleted_experiment(name, found.experiment_id))
    return str(found.experiment_id)


def _describe_deleted_experiment(name: str, number: object) -> str:
    return (
        f"the experiment {name!r} was deleted in MLflow; restore it (mlflow experiments restore "
        f"--experiment-id {number}), or choose another --experiment"
    )


def check_artifact_place(run: Run) -> None:
    """Raise InputError if the files of a run would be written to a place on this machine that is not the
    run's own, as only a server that means harm would say."""
    place = run.info.artifact_uri
    parts = PurePosixPath(urlsplit(place).path).parts
    is_local = urlsplit(place).scheme in ("", "file")
    if is_local and (not run.info.run_id.isalnum() or parts[-2:] != (run.info.run_id, "artifacts")):
        raise InputError(f"MLflow wants the files of the run in {place}, which is no folder of it")


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


def shorten_error(error: BaseException) -> str:
    """Return an error's message as one short line."""
    return " ".join(str(error).split())[:200]


def resolve_tracking_uri(uri_option: str | None, runs: Path) -> str | None:
    """Resolve --tracking-uri, MLFLOW_TRACKING_URI or the default in `runs`; None turns tracking off."""
    default = make_sqlite_url(runs.resolve() / "mlflow.db")
    uri = uri_option or os.environ.get("MLFLOW_TRACKING_URI") or default
    return None if uri == "none" else uri


def find_sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite URI, or None."""
    return Path(make_url(uri).database or "") if _SQLITE_URI.match(uri) else None


def find_store_fault(file: Path, experiment: str | None = None) -> str | None:
    """Return why a SQLite file cannot be MLflow's database, or None. It may be missing or empty; nothing is
    changed. experiment: a name that must not be of a deleted one."""
    if file.is_symlink() and not file.exists():
        return f"{file} is a link to nowhere; remove it"
    if not file.exists() or (file.is_file() and file.stat().st_size == 0):
        return None
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as store:
            tables = {
                name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            is_half = any(name.startswith("_alembic_tmp_") for name in tables)
            if tables - {"alembic_version"} and not is_half and not {"experiments", "runs"} <= tables:
                return f"{file} is no database of MLflow: it holds other tables; name another file"
            if is_half and store.execute("SELECT 1 FROM runs").fetchone():
                return f"{file} is a database that a killed program left half upgraded; restore a copy of it"
            if is_half or not store.execute("SELECT 1 FROM experiments").fetchone():
                return (
                    f"{file} is a half-made database of MLflow and holds no run: the program that made it "
                    f"was killed, or is still at it; wait, or remove the file"
                )
            query = "SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = ?"
            found = store.execute(query, (experiment,)).fetchone()
    except sqlite3.OperationalError:  # it is locked, or a killed writer's journal is to be rolled back
        return None
    except sqlite3.Error as error:
        return f"{file} is no database ({shorten_error(error)}); name another file"
    if found is None or found[1] == "active":
        return None
    return _describe_deleted_experiment(str(experiment), found[0])


def format_view_command(uri: str) -> str:
    """Return the command that opens the tracked results.

    One server process: on a machine that trains, the usual four may start too slowly for their supervisor,
    which then ends them and begins anew for ever.
    """
    uri = redact_secrets(uri)
    if uri.startswith("http"):
        return f"open {uri}"
    mlflow = "mlflow" if shutil.which("mlflow") else Path(sys.executable).with_name("mlflow")
    return f"{mlflow} ui --workers 1 --backend-store-uri {shlex.quote(uri)}"


def find_mlflow_error(uri: str, experiment: str | None = None) -> str | None:
    """Return why MLflow cannot be used, with this experiment or else as a model registry; None if it can.
    SQLite files always pass: they are created on demand, and `find_store_fault` looks into them."""
    if find_sqlite_file(uri) is not None:
        return None
    try:
        client = create_mlflow_client(uri)
        if experiment is None:
            client.search_registered_models(max_results=1)
        else:
            find_experiment(client, experiment)
    except InputError as error:
        return str(error)
    except Exception as error:  # of requests, SQLAlchemy or MLflow
        return f"{type(error).__name__}: {shorten_error(error)}"
    return None


def make_sqlite_url(file: Path) -> str:
    """Return the URI of a SQLite file, whatever characters its path has. Raises InputError for a name that is
    not UTF-8, which no database takes."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{file}: a name in this path is not UTF-8, which no database takes; rename it"
        ) from None
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)
