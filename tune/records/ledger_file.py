"""The SQLite file of a ledger: whoever made it, no query on it runs without end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

LOCK_TIMEOUT_S = 60.0
_FOREIGN = (
    "SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'"
)


@contextmanager
def open_ledger_file(file: Path, refuse: Callable[[str], Exception]) -> Iterator[sqlite3.Connection]:
    """Yield a connection to an existing file; a killed writer is rolled back.

    Raises refuse(reason) where the file holds a view, a trigger or a virtual table, which no ledger does and
    which may run for ever; sqlite3.Error where it cannot be read.
    """
    with closing(
        sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True, timeout=LOCK_TIMEOUT_S)
    ) as held:
        if foreign := held.execute(_FOREIGN).fetchone():
            raise refuse(f"is no ledger: it holds a {foreign[0]} ({foreign[1]!r})")
        yield held
