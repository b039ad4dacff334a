"""What one node says of itself. `probe` runs on every node of a cluster, and on the driver."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tune import storage

PACKAGES = ("ray", "torch", "transformers", "datasets", "numpy")
ABSENT = "missing"
DRIVERS_NOTE = "driver"
SEEN_WITHIN_S = 20.0  # network file systems are behind by so much at times
GPUS_WITHIN_S = 90.0
CONNECT_WITHIN_S = 10.0
GPU_CHECK = """
import torch
for index in range(torch.cuda.device_count()):
    a = torch.ones(256, 256, device=index)
    assert (a @ a).sum().item() == 256.0**3, f"GPU {index} computes wrongly"
print(torch.cuda.device_count())
"""


@dataclass(frozen=True)
class Door:
    """Where the driver listens. knock, answer: random, of one length; who does not know the one does not hear
    the other."""

    host: str
    port: int
    knock: bytes
    answer: bytes


@dataclass(frozen=True)
class Asked:
    """What a node is asked to look at. paths: must be there; packages: must be installed; storage: a folder
    with the note of the driver, where the node leaves its own (a place, see `tune.storage`); door: to be
    reached from there."""

    paths: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    storage: str | None = None
    door: Door | None = None


@dataclass(frozen=True)
class Said:
    """What a node says of itself. missing: of what must be there; clock: seconds since the epoch."""

    versions: dict[str, str]
    missing: tuple[str, ...]
    storage_error: str | None
    gpu_error: str | None
    clock: float
    door_error: str | None = None


def probe(name: str, asked: Asked, gpus: int) -> Said:
    """Look around on this node, which is known by this name and has so many GPUs to use."""
    missing = [path for path in asked.paths if not Path(path).exists()]
    missing += [package for package in asked.packages if _version(package) == ABSENT]
    return Said(
        versions=versions(),
        missing=tuple(missing),
        storage_error=try_storage(asked.storage, name) if asked.storage else None,
        gpu_error=try_gpus(gpus) if gpus else None,
        clock=time.time(),
        door_error=try_door(asked.door) if asked.door else None,
    )


def versions() -> dict[str, str]:
    """Of Python, of what is computed with, and of this project's code (a digest)."""
    found = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    return {**found, "project": _digest(Path(__file__).parents[1])}


def try_storage(folder: str, name: str) -> str | None:
    """Read the driver's note and leave one; what went wrong, if anything."""
    given = folder.rpartition("/")[0]
    try:
        if not appears(storage.join(folder, DRIVERS_NOTE)):
            return f"what the driver wrote to {given} is not seen"
        storage.write(storage.join(folder, name), name.encode())
    except OSError as error:
        return f"cannot write to {given}: {storage.reason(error)}"
    return None


def appears(file: str, within_s: float = SEEN_WITHIN_S) -> bool:
    """Whether the file is there, or comes within so many seconds, where its folder is seen at all."""
    deadline = time.monotonic() + within_s
    while not storage.exists(file):
        hidden = not storage.is_remote(file) and not Path(file).parent.parent.exists()
        if hidden or time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@contextmanager
def listening(host: str) -> Iterator[Door]:
    """Within, a free port of this machine answers who knocks. host: its address among the nodes."""
    knock, answer = secrets.token_bytes(32), secrets.token_bytes(32)

    class Answer(socketserver.StreamRequestHandler):
        timeout = CONNECT_WITHIN_S

        def handle(self) -> None:
            if secrets.compare_digest(self.rfile.read(len(knock)), knock):
                self.wfile.write(answer)

    class Server(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, address: object) -> None:
            """Nothing: who came did not stay."""

    try:
        server = Server((host, 0), Answer)
    except OSError:  # where addresses are translated, no interface has this one
        server = Server(("", 0), Answer)
    with server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield Door(host, server.server_address[1], knock, answer)
        finally:
            server.shutdown()


def try_door(door: Door) -> str | None:
    """Knock; what went wrong, if anything."""
    at = f"{door.host}:{door.port}"
    try:
        with socket.create_connection((door.host, door.port), CONNECT_WITHIN_S) as there:
            there.sendall(door.knock)
            heard = there.makefile("rb").read(len(door.answer))
    except OSError as error:
        return f"cannot connect to {at}: {error.strerror or error}"
    return None if heard == door.answer else f"at {at} another than the driver answers"


def try_gpus(count: int) -> str | None:
    """A small product on each GPU, in a process of its own, so that none of their memory stays taken; what
    went wrong, if anything."""
    env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", GPU_CHECK], env=env, capture_output=True, text=True, timeout=GPUS_WITHIN_S
        )
    except subprocess.TimeoutExpired:
        return f"a small product took more than {GPUS_WITHIN_S:.0f} s"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["the check broke off"])[-1]
    seen = int(done.stdout.split()[-1])
    return None if seen >= count else f"Ray offers {count}, but torch sees {seen}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ABSENT


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for package in ("dps", "tune"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]
