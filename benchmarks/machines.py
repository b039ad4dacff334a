"""Machines for a test, as near as one comes: network namespaces with addresses of their own on a bridge.

Each has its own network, processes, host name, home and temporary files; the rest of the file system it sees,
and cannot write. All lies in namespaces of this process, whose network the host's does not know: where it
ends, however it ends, the kernel removes them with everything that runs in them. Links can be cut, slow or
lossy: a small relay takes the place of the bridge's port, since few kernels have `tc netem`.

    python benchmarks/machines.py        # which of this is permitted here
"""

from __future__ import annotations

import heapq
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
INSIDE = "DPS_MACHINES_INSIDE"
UNSHARE = ("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")
NETWORK, BRIDGE, BRIDGE_ADDRESS = "10.77.0", "dpsbr", "10.77.0.254"
OTHER_NETWORK = "192.0.2"  # of an interface that leads nowhere: nothing may listen or be looked for there
FRAME_BYTES = 2**17
FILES = Path("/dev/shm")  # of all machines, in a file system of this process
SOL_PACKET, PACKET_VNET_HDR, SO_RCVBUFFORCE = (
    263,
    15,
    33,
)  # with the header that says which checksums are still to be computed
INITIAL_PROCESS = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()"


def find_obstacle() -> str | None:
    """Return why there can be no machines here, or None."""
    if missing := [name for name in ("unshare", "nsenter", "ip", "ss") if shutil.which(name) is None]:
        return f"{', '.join(missing)} not installed"
    script = f"ip link add {BRIDGE} type bridge && ip link add dps0 type veth peer name dps1"
    tried = subprocess.run([*UNSHARE, "sh", "-c", script], capture_output=True, text=True)
    return tried.stderr.strip().splitlines()[-1] if tried.returncode else None


def enter_namespaces(argv: list[str]) -> None:
    """Run this command again in namespaces of its own, unless that is where it runs."""
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, *argv])


@dataclass
class Machine:
    """One machine. folder: what it sees as /tmp; address: on the bridge; pid: of its first process."""

    number: int
    folder: Path
    process: subprocess.Popen[bytes] = field(init=False)
    relay: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"dps{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    @property
    def _port(self) -> str:
        return f"dpsp{self.number}"

    def start(self) -> None:
        """Make it, and plug it into the bridge."""
        (self.folder / "home").mkdir(parents=True)
        hosts = f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n"  # as Debian has it
        (self.folder / "hosts").write_text(hosts, encoding="ascii")
        (self.folder / "resolv.conf").touch()  # no names but those
        for path in {ROOT, Path(sys.prefix), Path(sys.base_prefix)}:  # must stay visible
            if path.is_relative_to("/tmp"):
                (seen := self.folder / path.relative_to("/tmp")).mkdir(parents=True)
                _run("mount", "--rbind", str(path), str(seen))
        files = f"mount --rbind {self.folder} /tmp && cd /tmp && mount -o remount,bind,ro /"
        files += " && mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf"
        files += " && mount -t tmpfs tmpfs /dev/shm"
        script = (
            f"{files} && hostname {self.name} && echo ready && exec {sys.executable} -c '{INITIAL_PROCESS}'"
        )
        self.process = subprocess.Popen(
            [*UNSHARE, "sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{self.name} does not start")
        (first,) = psutil.Process(self.process.pid).children()
        self.pid = first.pid
        ends = ("name", "eth0", "netns", str(self.pid), "address", f"02:00:00:00:77:{self.number:02x}")
        _run("ip", "link", "add", self._port, "type", "veth", "peer", *ends)
        _run("ip", "link", "set", self._port, "master", BRIDGE, "up")
        for words in (
            "link set lo up",
            f"addr add {self.address}/24 dev eth0",
            "link set eth0 gso_max_segs 1 up",  # frames of one packet each: what is lost is a packet
            f"route add default via {BRIDGE_ADDRESS}",
            "link add mgmt0 type veth peer name mgmt1",
            f"addr add {OTHER_NETWORK}.{self.number}/24 dev mgmt0",
            "link set mgmt1 up",
            "link set mgmt0 up",
        ):
            self.run("ip", *words.split())

    def command(self, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
        """Return the command that runs another one there, in the folder of the project."""
        own = {"HOME": "/tmp/home", "TMPDIR": "/tmp", **(env or {})}
        there = ["nsenter", "--all", f"--wd={ROOT}", "--target", str(self.pid), "env"]
        return [*there, *(f"{name}={value}" for name, value in own.items()), *words]

    def run(self, *words: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> str:
        """Run a command there; return what it printed. Raises RuntimeError where it fails."""
        return _run(*self.command(*words, env=env), timeout=timeout)

    def list_processes(self) -> list[psutil.Process]:
        """Return what runs there, but for its first process."""
        own, found = os.readlink(f"/proc/{self.pid}/ns/pid"), []
        for process in psutil.process_iter():
            try:
                if process.pid != self.pid and os.readlink(f"/proc/{process.pid}/ns/pid") == own:
                    found.append(process)
            except OSError:
                continue
        return found

    def send_to_all(self, number: signal.Signals) -> None:
        """Send a signal to everything that runs there."""
        for process in self.list_processes():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def disturb(self, lost: float = 0.0, delay_s: float = 0.0) -> None:
        """Lose this share of the packets to and from it, and deliver those to it so much later."""
        own, bridged = f"dpsa{self.number}", f"dpsb{self.number}"
        _run("ip", "link", "add", own, "type", "veth", "peer", "name", bridged)
        _run("ip", "link", "set", bridged, "master", BRIDGE, "up")
        _run("ip", "link", "set", own, "up")
        _run("ip", "link", "set", self._port, "nomaster")
        words = [sys.executable, __file__, "--relay", self._port, own, str(lost), str(delay_s)]
        self.relay = subprocess.Popen(words, start_new_session=True)

    def mend(self) -> None:
        """Plug it into the bridge again, as it was."""
        if self.relay is not None:
            self.relay.kill()
            self.relay.wait()
            self.relay = None
        _run("ip", "link", "del", f"dpsa{self.number}")
        _run("ip", "link", "set", self._port, "master", BRIDGE)

    def end(self) -> None:
        """End everything there; the kernel removes the rest."""
        if self.relay is not None:
            self.relay.kill()
        self.process.kill()
        self.process.wait()


@contextmanager
def started(number: int) -> Iterator[list[Machine]]:
    """So many machines on a bridge, with their files in memory. This process must be in its namespaces."""
    _run("mount", "-t", "tmpfs", "tmpfs", str(FILES))
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "addr", "add", f"{BRIDGE_ADDRESS}/24", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    machines: list[Machine] = []
    try:
        for one in range(1, number + 1):
            machines.append(Machine(one, FILES / f"m{one}"))
            machines[-1].start()
        yield machines
    finally:
        for machine in machines:
            machine.end()


def relay_frames(names: tuple[str, str], lost: float, delay_s: float) -> None:
    """Carry frames between two interfaces, without end; those from the second to the first `delay_s` late."""
    ends = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) for _ in names]
    for end, name in zip(ends, names, strict=True):
        end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 2**24)
        end.bind((name, 0x0003))
    draws, order = random.Random(0), count()
    late: list[tuple[float, int, bytes]] = []
    while True:
        wait = max(0.0, late[0][0] - time.monotonic()) if late else None
        for end in select.select(ends, (), (), wait)[0]:
            frame, origin = end.recvfrom(FRAME_BYTES)
            if origin[2] == socket.PACKET_OUTGOING or draws.random() < lost:
                continue
            if end is ends[0] or not delay_s:
                _send(ends[1] if end is ends[0] else ends[0], frame)
            else:
                heapq.heappush(late, (time.monotonic() + delay_s, next(order), frame))
        while late and late[0][0] <= time.monotonic():
            _send(ends[0], heapq.heappop(late)[2])


def _send(end: socket.socket, frame: bytes) -> None:
    try:
        end.send(frame)
    except OSError:  # a full queue drops packets, too
        return


def _run(*words: str, timeout: float = 120) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, start_new_session=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    if sys.argv[1:2] == ["--relay"]:
        relay_frames((sys.argv[2], sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
    print(find_obstacle() or "machines can be made here")
