"""One live search a folder. The system takes the lock from a process that dies: none is ever stale."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dps.errors import InputError

NAME = ".lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of an output folder. Raises InputError where a live process holds it, naming that."""
    file = folder / NAME
    stream = _taken(file)
    try:
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}")
        stream.flush()
        yield
    finally:
        file.unlink(missing_ok=True)
        stream.close()


def _taken(file: Path) -> TextIO:
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
