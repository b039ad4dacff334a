"""What listens on a cluster, and where: the checks of the scenario, and the table of cluster/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import cluster_listeners
from benchmarks.cluster_listeners import EVERYWHERE, LISTENERS, LOOPBACK, OWN

README = Path(__file__).parents[3] / "cluster" / "README.md"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        *(("0.0.0.0", EVERYWHERE), ("*", EVERYWHERE), ("::", EVERYWHERE), ("10.77.0.1", OWN)),
        *(("127.0.0.1", LOOPBACK), ("127.0.1.1", LOOPBACK), ("::1", LOOPBACK), ("192.0.2.1", "192.0.2.1")),
    ],
)
def test_an_address_is_the_nodes_own_loopback_every_one_or_a_wrong_one(place: str, expected: str) -> None:
    assert cluster_listeners.name_place(place, "10.77.0.1") == expected


def test_what_listens_where_it_need_not_is_a_fault() -> None:
    found = {("control store (GCS)", EVERYWHERE), ("MLflow", EVERYWHERE), ("nc -l 5", OWN), ("MLflow", OWN)}
    found |= {("actors and workers of a search", "192.0.2.1")}
    assert cluster_listeners.find_faults(found) == [
        "MLflow listens on every interface",
        "actors and workers of a search listens on 192.0.2.1",
        "nc -l 5 listens on the node's address",
    ]


def test_the_readme_says_what_is_checked() -> None:
    rows = [line.split(" | ")[:2] for line in README.read_text(encoding="utf-8").splitlines()]
    said = {row[0].removeprefix("| "): row[1] for row in rows if len(row) == 2}
    for kind in LISTENERS:
        assert said.get(kind.name) == " or ".join(kind.may), kind.name
