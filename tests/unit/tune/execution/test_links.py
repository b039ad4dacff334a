"""The links to a cluster's nodes: what is said of one that is silent, far away, or loses packets."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from tune.execution import links
from tune.execution.links import LinkWatch, Probe

HEAD, NODE = "10.0.0.1:6379", "10.0.0.3:7000"
GOOD, SILENT, FAR, LOSSY = (
    [Probe(0.001)] * 4,
    [Probe()] * 4,
    [Probe(0.21)] * 4,
    [Probe(0.001, True), *[Probe(0.001)] * 3],
)
IS_SILENT = (
    "warning: node 10.0.0.3 has not answered for 20 s; runs there wait for it, and go on elsewhere if Ray "
    "gives it up"
)
IS_FAR = (
    "warning: node 10.0.0.3 is 210 ms away; over such a link trials with workers on several nodes are slow, "
    "see --workers-per-trial"
)
IS_LOSSY = (
    "warning: node 10.0.0.3 loses packets (3 of 20 connections); look at its network, runs there are slow"
)
IS_BACK = "link         node 10.0.0.3 is as near as it was, and loses nothing"


def follow(addresses: list[str], looks: list[list[Probe]], at: str = NODE) -> list[str]:
    """What is said of the link to `at`, by looks at intervals of five seconds."""
    said: list[str] = []
    watch = LinkWatch(
        HEAD, "python tune/search.py --resume runs/a", lambda w: said.append(f"warning: {w}"), said.append
    )
    watch.follow(addresses)
    for number, probes in enumerate(looks):
        watch.look({HEAD: GOOD, at: probes}, number * links.LOOK_INTERVAL_S)
    return said


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([GOOD] * 20, []),
        ([GOOD] * 3 + [SILENT] * 3 + [GOOD] * 3, []),  # on a busy machine
        (
            [GOOD] + [SILENT] * 13 + [GOOD],
            [IS_SILENT, "link         node 10.0.0.3 answers again, after 70 s"],
        ),
        ([SILENT] * 5, [IS_SILENT]),
        ([GOOD, GOOD] + [FAR] * 9 + [GOOD] * 3, [IS_FAR, IS_BACK]),
        ([GOOD, GOOD] + [LOSSY] * 3 + [GOOD] * 14, [IS_LOSSY, IS_BACK]),
        ([LOSSY] + [GOOD] * 12 + [LOSSY], []),  # one packet now and then
    ],
    ids=["good", "late", "cut", "never", "far", "lossy", "once"],
)
def test_each_change_of_a_link_is_said_in_a_line(looks: list[list[Probe]], said: list[str]) -> None:
    assert follow([NODE, "10.0.0.1:7000"], looks) == said


def test_a_lost_head_is_told_with_the_command_that_goes_on() -> None:
    (line,) = follow([NODE], [GOOD] + [SILENT] * 6, HEAD)
    assert line == (
        "warning: the head of the cluster, 10.0.0.1:6379, has not answered for 20 s; start it again and go "
        "on with: python tune/search.py --resume runs/a"
    )


def test_a_node_that_left_is_looked_at_no_longer() -> None:
    assert follow([], [GOOD] + [SILENT] * 6) == []


@pytest.fixture
def greeter() -> Iterator[str]:
    """A server that greets, as a raylet does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(b"settings")
                connection.close()

        threading.Thread(target=greet, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_what_accepts_but_does_not_greet_is_silent(greeter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PROBE_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as stopped, socket.create_server(("127.0.0.1", 0)) as other:
        mute, closed = (f"127.0.0.1:{server.getsockname()[1]}" for server in (stopped, other))
        other.close()
        found = asyncio.run(links.probe_addresses([greeter, mute, closed]))
    assert found[mute] == found[closed] == SILENT
    assert all(
        probe.round_trip_s is not None and probe.round_trip_s < links.FAR_S for probe in found[greeter]
    )
    assert not any(probe.was_resent for probe in found[greeter])
