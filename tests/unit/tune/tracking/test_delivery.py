"""MLflow's store is left alone while the first runs start, and no longer."""

from __future__ import annotations

import threading

import pytest

from tune.tracking.content import choose_compared, format_pages
from tune.tracking.delivery import Delivery, Server


class Told(Server):
    """A server that says when it was connected to."""

    def __init__(self) -> None:
        self.connected = threading.Event()

    def connect(self) -> None:
        self.connected.set()

    def is_reachable(self) -> bool:
        return True

    def recover(self) -> bool:
        return False


@pytest.mark.parametrize("how", ["event", "release", "close", "time"])
def test_a_server_is_left_alone_until_there_is_something_to_tell(how: str) -> None:
    server, written = Told(), threading.Event()
    delivery = Delivery(server, print, hold_s=0.1 if how == "time" else 60.0)
    delivery.put("trial 0", written.set, waits=True)
    if how != "time":
        assert not server.connected.wait(0.05)
    if how == "event":
        delivery.put("trial 0", print)
    elif how == "release":
        delivery.release()
    elif how == "close":
        delivery.close(5.0)
    assert written.wait(5.0)
    assert server.connected.is_set()


@pytest.mark.parametrize(("ids", "lines"), [(["a", "b"], 2), (["a"], 1), ([str(n) for n in range(99)], 1)])
def test_the_addresses_open_the_runs_and_compare_the_trials(ids: list[str], lines: int) -> None:
    said = format_pages("http://x:5000", "7", ids)
    assert said[0] == "Runs:    http://x:5000/#/experiments/7/runs?workflowType=machine_learning"
    assert len(said) == lines
    if lines == 2:
        assert said[1].endswith("/#/compare-runs?runs=%5B%22a%22%2C%20%22b%22%5D&experiments=%5B%227%22%5D")


def test_a_search_compares_its_own_trials_and_a_comparison_all() -> None:
    assert choose_compared(["0", "vanilla:0", "1"]) == ["0", "1"]
    assert choose_compared(["lora:0", "vanilla:0"]) == ["lora:0", "vanilla:0"]
