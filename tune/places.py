"""Where a search writes: output folder, storage of a cluster, MLflow. Checked before anything starts."""

from __future__ import annotations

from pathlib import Path

from dps.errors import InputError
from dps.redact import STRUCK
from tune import lock, registry, storage
from tune.errors import Refused
from tune.options import RunOptions, SearchOptions
from tune.runtime import Cluster

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks", "databricks-uc", "uc")


def check_output(folder: Path, resume: bool) -> None:
    """The output folder can be made and written to, and no other search's results lie in it."""
    try:
        if not resume and folder.exists() and {file.name for file in folder.iterdir()} - {lock.NAME}:
            raise InputError(f"--output: {folder} is not empty; choose another folder, or --resume {folder}")
        _probe_writing(folder)
    except OSError as error:
        raise InputError(
            f"--output: cannot write to {folder} ({error.strerror}); choose another folder"
        ) from None


def _probe_writing(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".write-probe"
    probe.write_bytes(b"0")
    probe.unlink()


def check_storage(options: RunOptions, cluster: Cluster) -> None:
    """A cluster of several nodes needs a folder that all of them see."""
    if options.storage:
        storage.check(options.storage, writing=not options.dry_run)
    if cluster.nodes > 1 and not options.storage:
        raise Refused(
            f"--storage: the cluster has {cluster.nodes} nodes; give a folder that every node sees, or "
            f"s3://BUCKET/PATH, for checkpoints and models"
        )


def check_tracking(options: RunOptions) -> None:
    """Raises InputError for an address that MLflow can do nothing with, and for what cannot be registered."""
    from tune.tracking import database, tracking_uri

    uri = tracking_uri(options.tracking_uri, Path("runs"))
    if isinstance(options, SearchOptions) and options.register is not None:
        registry.check(options.register, uri)
    if uri is None:
        return
    option = "--tracking-uri" if options.tracking_uri else "MLFLOW_TRACKING_URI"
    scheme, colon, rest = uri.partition("://")
    if not colon or not rest or scheme.partition("+")[0] not in SCHEMES:
        raise InputError(
            f"{option}: {uri!r} is no address of MLflow; give http://HOST:PORT, sqlite:///FILE, another "
            f"database, or none"
        )
    if STRUCK in uri:
        raise InputError(
            f"{option}: {uri!r} was kept without its password; give the whole address again, or none"
        )
    file = database(uri)
    if options.tracking_uri and file is not None and not file.parent.is_dir():
        raise InputError(f"{option}: there is no folder {str(file.parent)!r} for {file.name}; make it first")
