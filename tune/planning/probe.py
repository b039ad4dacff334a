"""What one node says of itself. `probe_node` runs on every node of a cluster, and on the driver."""

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

from tune.core.storage import (
    describe_storage_error,
    is_remote_location,
    join_location,
    location_exists,
    write_location,
)

COMPARED_PACKAGES = ("ray", "torch", "transformers", "datasets", "numpy")
MISSING_VERSION = "missing"
DRIVER_NOTE_NAME = "driver"
FILE_VISIBLE_TIMEOUT_S = 20.0  # network file systems are behind by so much at times
GPU_CHECK_TIMEOUT_S = 90.0
DRIVER_CONNECT_TIMEOUT_S = 10.0
GPU_CHECK_SCRIPT = """
import torch
for index in range(torch.cuda.device_count()):
    a = torch.ones(256, 256, device=index)
    assert (a @ a).sum().item() == 256.0**3, f"GPU {index} computes wrongly"
print(torch.cuda.device_count())
"""


@dataclass(frozen=True)
class Listener:
    """Where the driver listens. knock, answer: random, of one length; who does not know the one does not hear
    the other."""

    host: str
    port: int
    knock: bytes
    answer: bytes


@dataclass(frozen=True)
class NodeChecks:
    """What a node is asked to look at. paths: must be there; packages: must be installed; storage: a folder
    with the note of the driver, where the node leaves its own (a place, see `tune.core.storage`); door: to be
    reached from there."""

    paths: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    storage: str | None = None
    door: Listener | None = None


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself. missing: of what must be there; clock: seconds since the epoch."""

    versions: dict[str, str]
    missing: tuple[str, ...]
    storage_error: str | None
    gpu_error: str | None
    clock: float
    door_error: str | None = None


def probe_node(name: str, asked: NodeChecks, gpus: int) -> NodeReport:
    """Look around on this node, which is known by this name and has so many GPUs to use."""
    missing = [path for path in asked.paths if not Path(path).exists()]
    missing += [package for package in asked.packages if _find_package_version(package) == MISSING_VERSION]
    return NodeReport(
        versions=collect_versions(),
        missing=tuple(missing),
        storage_error=check_node_storage(asked.storage, name) if asked.storage else None,
        gpu_error=check_gpus(gpus) if gpus else None,
        clock=time.time(),
        door_error=check_listener(asked.door) if asked.door else None,
    )


def collect_versions() -> dict[str, str]:
    """Of Python, of what is computed with, and of this project's code (a digest)."""
    found = {
        "python": platform.python_version(),
        **{name: _find_package_version(name) for name in COMPARED_PACKAGES},
    }
    return {**found, "project": _hash_project_code(Path(__file__).parents[2])}


def check_node_storage(folder: str, name: str) -> str | None:
    """Read the driver's note and leave one; what went wrong, if anything."""
    given = folder.rpartition("/")[0]
    try:
        if not wait_for_file(join_location(folder, DRIVER_NOTE_NAME)):
            return f"what the driver wrote to {given} is not seen"
        write_location(join_location(folder, name), name.encode())
    except OSError as error:
        return f"cannot write to {given}: {describe_storage_error(error)}"
    return None


def wait_for_file(file: str, within_s: float = FILE_VISIBLE_TIMEOUT_S) -> bool:
    """Whether the file is there, or comes within so many seconds, where its folder is seen at all."""
    deadline = time.monotonic() + within_s
    while not location_exists(file):
        hidden = not is_remote_location(file) and not Path(file).parent.parent.exists()
        if hidden or time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@contextmanager
def open_listener(host: str) -> Iterator[Listener]:
    """Within, a free port of this machine answers who knocks. host: its address among the nodes."""
    knock, answer = secrets.token_bytes(32), secrets.token_bytes(32)

    class Answer(socketserver.StreamRequestHandler):
        timeout = DRIVER_CONNECT_TIMEOUT_S

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
            yield Listener(host, server.server_address[1], knock, answer)
        finally:
            server.shutdown()


def check_listener(door: Listener) -> str | None:
    """Knock; what went wrong, if anything."""
    at = f"{door.host}:{door.port}"
    try:
        with socket.create_connection((door.host, door.port), DRIVER_CONNECT_TIMEOUT_S) as there:
            there.sendall(door.knock)
            heard = there.makefile("rb").read(len(door.answer))
    except OSError as error:
        return f"cannot connect to {at}: {error.strerror or error}"
    return None if heard == door.answer else f"at {at} another than the driver answers"


def check_gpus(count: int) -> str | None:
    """A small product on each GPU, in a process of its own, so that none of their memory stays taken; what
    went wrong, if anything."""
    env = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", GPU_CHECK_SCRIPT],
            env=env,
            capture_output=True,
            text=True,
            timeout=GPU_CHECK_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"a small product took more than {GPU_CHECK_TIMEOUT_S:.0f} s"
    if done.returncode != 0:
        return (done.stderr.strip().splitlines() or ["the check broke off"])[-1]
    seen = int(done.stdout.split()[-1])
    return None if seen >= count else f"Ray offers {count}, but torch sees {seen}"


def _find_package_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return MISSING_VERSION


def _hash_project_code(root: Path) -> str:
    digest = hashlib.sha256()
    for package in ("dps", "tune"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]
