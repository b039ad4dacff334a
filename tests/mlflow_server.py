"""An MLflow server on this machine, on PostgreSQL where that is installed, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.test_cluster import free_port

STARTS_WITHIN_S = 120.0


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """(address, what it keeps its runs in: "postgresql" or "sqlite")."""
    with _database(folder) as database:
        port = free_port()
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", database]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        with (folder / "mlflow.log").open("wb") as log:
            server = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            _until_healthy(f"http://127.0.0.1:{port}", server, folder / "mlflow.log")
            yield f"http://127.0.0.1:{port}", database.partition("://")[0]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=60)


def _until_healthy(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return
        except OSError:
            alive = server.poll() is None and time.monotonic() < deadline
            assert alive, log.read_text(encoding="utf-8")
            time.sleep(0.5)


@contextmanager
def _database(folder: Path) -> Iterator[str]:
    """A PostgreSQL of its own, which root may only start as another user; SQLite where there is none."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        installed = False
    else:
        installed = shutil.which("initdb") is not None and shutil.which("pg_ctl") is not None
    if not installed:
        yield f"sqlite:///{folder}/mlflow.db"
        return
    place = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(place, "postgres")
    port = free_port()
    own = f"-p {port} -k {place} -c listen_addresses=127.0.0.1"
    control = [*user, "pg_ctl", "-D", f"{place}/data", "-w", "-l", f"{place}/log"]
    initdb = [*user, "initdb", "-D", f"{place}/data", "-U", "mlflow", "-A", "trust"]
    try:
        subprocess.run(initdb, cwd=place, check=True, capture_output=True, timeout=120)
        subprocess.run([*control, "-o", own, "start"], cwd=place, check=True, stdout=subprocess.DEVNULL)
        yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], cwd=place, stdout=subprocess.DEVNULL)
        shutil.rmtree(place, ignore_errors=True)
