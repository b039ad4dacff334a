"""The links from the driver to the nodes of its cluster: which node is silent, far away, or loses packets.

Ray itself says nothing of them: a run over a bad link is slow, and one whose node is cut off waits until Ray
gives the node up. A look opens a few connections to each raylet, which greets whoever connects; distance and
losses are read from the kernel, since on a busy machine everything else is late.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from tune.execution.addresses import get_host, uses_tls

LOOK_INTERVAL_S = 5.0
PROBES_PER_LOOK = 4  # of a node
MAX_NODES_PER_LOOK = 32
PROBE_TIMEOUT_S = 4.0
SILENT_AFTER_S = 20.0
FAR_S = 0.1
MIN_RESENT = 3  # of the probes that are remembered
REMEMBERED_PROBES = 48
TCP_INFO_BYTES, ROUND_TRIP_AT, RESENT_AT = 104, 68, 100  # of struct tcp_info, see tcp(7)


class LinkState(StrEnum):
    """What a link is like."""

    GOOD = "good"
    SILENT = "silent"
    FAR = "far"
    LOSSY = "lossy"


@dataclass(frozen=True)
class Probe:
    """One connection. round_trip_s: None without an answer; was_resent: whether a packet was lost."""

    round_trip_s: float | None = None
    was_resent: bool = False


@dataclass
class Link:
    """A link, by its last probes. name: of what it leads to; loss: what its silence means."""

    name: str
    loss: str = "runs there wait for it, and go on elsewhere if Ray gives it up"
    state: LinkState = LinkState.GOOD
    answered_at: float | None = None
    probes: deque[Probe] = field(default_factory=lambda: deque(maxlen=REMEMBERED_PROBES))

    def take(self, probes: Sequence[Probe], now: float) -> tuple[LinkState, str] | None:
        """Take the probes of a look. Returns the state and what to say if that has changed."""
        answered = [probe for probe in probes if probe.round_trip_s is not None]
        silent_s = now - self.answered_at if self.answered_at is not None else 0.0
        if answered or self.answered_at is None:
            self.answered_at = now
            self.probes.extend(answered)
        state = self._judge(silent_s if not answered else 0.0)
        before, self.state = self.state, state
        return None if state == before else (state, self._describe(before, silent_s))

    def _judge(self, silent_s: float) -> LinkState:
        if silent_s:
            return LinkState.SILENT if silent_s >= SILENT_AFTER_S else self.state
        if len(self.probes) >= PROBES_PER_LOOK and self._round_trip_s >= FAR_S:
            return LinkState.FAR
        return LinkState.LOSSY if self._resent >= MIN_RESENT else LinkState.GOOD

    @property
    def _round_trip_s(self) -> float:
        recent = list(self.probes)[-2 * PROBES_PER_LOOK :]
        return min(probe.round_trip_s or 0.0 for probe in recent)

    @property
    def _resent(self) -> int:
        return sum(probe.was_resent for probe in self.probes)

    def _describe(self, before: LinkState, silent_s: float) -> str:
        match self.state:
            case LinkState.SILENT:
                return f"{self.name} has not answered for {silent_s:.0f} s; {self.loss}"
            case LinkState.FAR:
                return (
                    f"{self.name} is {self._round_trip_s * 1000:.0f} ms away; over such a link trials with "
                    f"workers on several nodes are slow, see --workers-per-trial"
                )
            case LinkState.LOSSY:
                lost = f"{self._resent} of {len(self.probes)} connections"
                return f"{self.name} loses packets ({lost}); look at its network, runs there are slow"
        if before == LinkState.SILENT:
            return f"{self.name} answers again, after {silent_s:.0f} s"
        return f"{self.name} is as near as it was, and loses nothing"


class LinkWatch:
    """Looks at the links to the head and to the other nodes, in a thread of its own inside its context.

    head: address of the control store; again: the command that goes on with the search if the head is lost;
    warn, say: print a line.
    """

    def __init__(
        self, head: str, again: str, warn: Callable[[str], None], say: Callable[[str], None]
    ) -> None:
        loss = f"start it again and go on with: {again}"
        self.head, self.warn, self.say = head, warn, say
        self._links = {head: Link(f"the head of the cluster, {head},", loss)}
        self._over = threading.Event()

    def __enter__(self) -> LinkWatch:
        threading.Thread(target=self._look_until_over, name="links", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def follow(self, raylets: Collection[str]) -> None:
        """Look at these nodes from now on, by the addresses of their raylets; the head's own goes with it."""
        host = get_host(self.head)
        others = {
            address: Link(f"node {get_host(address)}") for address in raylets if get_host(address) != host
        }
        kept = {address: link for address, link in self._links.items() if address in (self.head, *others)}
        self._links = others | kept

    def _look_until_over(self) -> None:
        while not self._over.wait(LOOK_INTERVAL_S):
            with suppress(RuntimeError):  # no more threads while the interpreter ends
                self.look(asyncio.run(probe_addresses(self._choose_addresses())), time.monotonic())

    def _choose_addresses(self) -> list[str]:
        others = sorted(self._links.keys() - {self.head})
        return [self.head, *random.sample(others, min(len(others), MAX_NODES_PER_LOOK))]

    def look(self, probes: Mapping[str, Sequence[Probe]], now: float) -> None:
        """Take probes of links by their addresses, and say what has changed. now: seconds of any clock."""
        links = self._links
        for address in probes.keys() & links.keys():
            change = links[address].take(probes[address], now)
            if change is not None:
                state, text = change
                self.warn(text) if state != LinkState.GOOD else self.say(f"link         {text}")


async def probe_addresses(addresses: Sequence[str]) -> dict[str, list[Probe]]:
    """Connect to every address a few times, to all of them at once."""
    every = [address for address in addresses for _ in range(PROBES_PER_LOOK)]
    probes: dict[str, list[Probe]] = {address: [] for address in addresses}
    for address, probe in zip(every, await asyncio.gather(*map(_probe_address, every)), strict=True):
        probes[address].append(probe)
    return probes


async def _probe_address(address: str) -> Probe:
    writer = None
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(get_host(address), address.rpartition(":")[2])
            if not uses_tls() and not await reader.read(1):  # a process that is stopped does not greet
                return Probe()
        return _read_kernel_figures(writer.get_extra_info("socket"))
    except OSError:  # a time-out is one
        return Probe()
    finally:
        if writer is not None:
            writer.transport.abort()


def _read_kernel_figures(connection: socket.socket) -> Probe:
    if not hasattr(socket, "TCP_INFO"):
        return Probe(0.0)
    figures = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    (round_trip,) = struct.unpack_from("I", figures, ROUND_TRIP_AT)
    (resent,) = struct.unpack_from("I", figures, RESENT_AT)
    return Probe(round_trip / 1e6, resent > 0)
