"""Checks that run on one node of a cluster, and the node's report."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
CPU_INFO = Path("/proc/cpuinfo")
FILE_VISIBLE_TIMEOUT_S = 20.0  # network file systems may lag this far behind
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
    """Address at which the driver accepts connections."""

    host: str
    port: int


@dataclass(frozen=True)
class NodeChecks:
    """Checks for a node. paths: must exist; packages: must be installed; storage_location: folder with the
    driver's note, where the node leaves its own; listener: must be reachable; needs_bf16: the CPU must have
    it in hardware."""

    paths: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    storage_location: str | None = None
    listener: Listener | None = None
    needs_bf16: bool = False


@dataclass(frozen=True)
class NodeReport:
    """A node's report. missing_items: paths and packages not found; clock_seconds: since the epoch."""

    versions: dict[str, str]
    missing_items: tuple[str, ...]
    storage_error: str | None
    gpu_error: str | None
    clock_seconds: float
    listener_error: str | None = None
    lacks_bf16: bool = False


def probe_node(name: str, checks: NodeChecks, gpus: int) -> NodeReport:
    """Run the checks on this node. name: of the node; gpus: usable GPUs."""
    missing = [path for path in checks.paths if not Path(path).exists()]
    missing += [name for name in checks.packages if _find_package_version(name) == MISSING_VERSION]
    return NodeReport(
        versions=collect_versions(),
        missing_items=tuple(missing),
        storage_error=check_node_storage(checks.storage_location, name) if checks.storage_location else None,
        gpu_error=check_gpus(gpus) if gpus else None,
        clock_seconds=time.time(),
        listener_error=check_listener(checks.listener) if checks.listener else None,
        lacks_bf16=checks.needs_bf16 and not has_bf16_in_hardware(),
    )


def has_bf16_in_hardware() -> bool:
    """Return whether this machine's CPU multiplies in bf16; without torch, which takes seconds to import."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and "avx512_bf16" in line.split() for line in lines)


def collect_versions() -> dict[str, str]:
    """Return the versions of Python and the numerical packages, and a digest of this project's code."""
    return {
        "python": platform.python_version(),
        **{name: _find_package_version(name) for name in COMPARED_PACKAGES},
        "project": hash_packages([Path(sys.modules[name].__path__[0]) for name in ("dps", "tune")]),
    }


def check_node_storage(location: str, name: str) -> str | None:
    """Read the driver's note and write one. Returns the error, or None."""
    storage = location.rpartition("/")[0]
    try:
        if not wait_for_file(join_location(location, DRIVER_NOTE_NAME)):
            return f"the driver's file in {storage} is not visible"
        write_location(join_location(location, name), name.encode())
    except OSError as error:
        return f"cannot write to {storage}: {describe_storage_error(error)}"
    return None


def wait_for_file(location: str, timeout_s: float = FILE_VISIBLE_TIMEOUT_S) -> bool:
    """Wait for a file to appear. Returns False at once if its folder is not visible."""
    deadline = time.monotonic() + timeout_s
    while not location_exists(location):
        hidden = not is_remote_location(location) and not Path(location).parent.parent.exists()
        if hidden or time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@contextmanager
def open_listener(host: str) -> Iterator[Listener]:
    """Accept connections on a free port inside this context. host: this machine's address among the nodes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, 0), family=family, backlog=128)
    except OSError:  # behind address translation no interface has this address
        server = socket.create_server(("", 0), family=family, backlog=128)
    with server:
        threading.Thread(target=_accept_connections, args=(server,), daemon=True).start()
        try:
            yield Listener(host, server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)  # ends the thread


def _accept_connections(server: socket.socket) -> None:
    with suppress(OSError):  # the listener is closed
        while True:
            server.accept()[0].close()


def check_listener(listener: Listener) -> str | None:
    """Connect to the driver's listener. Returns the error, or None."""
    try:
        socket.create_connection((listener.host, listener.port), DRIVER_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return f"cannot connect to {listener.host}:{listener.port}: {error.strerror or error}"
    return None


def check_gpus(count: int) -> str | None:
    """Run a small product on each GPU, in a process of its own that leaves no memory taken. Returns the
    error, or None."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        result = subprocess.run(
            [sys.executable, "-c", GPU_CHECK_SCRIPT],
            env=environment,
            capture_output=True,
            text=True,
            timeout=GPU_CHECK_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f"a small product took more than {GPU_CHECK_TIMEOUT_S:.0f} s"
    if result.returncode != 0:
        return (result.stderr.strip().splitlines() or ["the check crashed"])[-1]
    gpu_count = int(result.stdout.split()[-1])
    return None if gpu_count >= count else f"Ray offers {count}, but torch sees {gpu_count}"


def _find_package_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return MISSING_VERSION


def hash_packages(packages: Sequence[Path]) -> str:
    """Hash the code of packages, each where it was imported from: Ray ships each into a folder of its own."""
    digest = hashlib.sha256()
    for package in packages:
        for file in sorted(package.rglob("*.py")):
            digest.update(str(file.relative_to(package.parent)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]
