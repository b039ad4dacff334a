"""The number of slots: what a cluster has room for, followed as nodes join and leave."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as of_ray

from tests.unit.tune.helpers import make_plan
from tune.core.options import CompareOptions, SearchOptions
from tune.core.run import RefusedError
from tune.execution import slots
from tune.execution.slots import DEMAND_EXPIRY_S, AutoscalerDemand, ClusterFollower, follow_cluster
from tune.planning import planner
from tune.planning.cluster import Cluster, Node, count_slots, count_wanted_slots
from tune.planning.plan import Plan
from tune.planning.preflight import PreflightFinding
from tune.strategy.budget import SlotCount

GIB = 2.0**30
BIG = 1000 * GIB


class World:
    """A cluster of like nodes, its autoscaler's mail, what the user reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes, self.cores, self.now = 1, 1.0, 1000.0
        self.asked: list[list[dict[str, float]]] = []
        self.said: list[str] = []
        self.wrong: dict[str, list[PreflightFinding]] = {}
        self.looked_at: list[str] = []
        self.actor = of_ray._AutoscalingCoordinatorActor(lambda: self.now, self.asked.append, list)
        monkeypatch.setattr(of_ray, "get_or_create_autoscaling_coordinator", lambda: Remote(self.actor))
        monkeypatch.setattr(slots, "read_cluster_resources", lambda address: self.cluster(address))
        monkeypatch.setattr(ray, "get", lambda answer, timeout: answer)

    def cluster(self, address: str | None = "10.0.0.1:6379") -> Cluster:
        return Cluster(address, tuple(Node(self.cores, 0.0, BIG, str(at)) for at in range(self.nodes)))

    def plan(self, **options: Any) -> Plan:
        plan = make_plan(**{"storage": "/shared", "trials": 12, **options})
        return replace(plan, cluster=self.cluster(), slots=count_slots(plan.options, self.cluster(), 0.0))

    def follower(self, **options: Any) -> ClusterFollower:
        plan = self.plan(**options)
        return ClusterFollower(SlotCount(plan.slots), plan, self, self.check)

    def say(self, line: str) -> None:
        self.said.append(line)

    def warn(self, what: str) -> None:
        self.said.append(f"warning: {what}")

    def check(self, node: str) -> list[PreflightFinding]:
        self.looked_at.append(node)
        return self.wrong.get(node, [])


class Remote:
    """An actor's methods, called here."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self.actor, name))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_slots_follow_the_nodes_and_each_change_is_said_once(world: World) -> None:
    follower = world.follower()
    seen = []
    for nodes in (1, 2, 2, 5, 4, 0, 1, 3):
        world.nodes = nodes
        follower.update()
        seen.append(follower.slots.now)
    assert seen == [1, 2, 2, 5, 4, 1, 1, 3]
    assert world.said == [
        "slots        2: a node joined",
        "slots        5: 3 nodes joined",
        "slots        4: a node left",
        "slots        1: 4 nodes left",
        "slots        3: 2 nodes joined",
    ]
    assert world.asked == []
    assert world.looked_at == ["1", "2", "3", "4"]


def test_a_node_that_joins_with_something_wrong_gets_no_slots(
    world: World,
) -> None:
    follower = world.follower()
    world.wrong["1"] = [PreflightFinding("node 10.0.0.2", "torch is 2.12.0", "install the same")]
    for world.nodes in (2, 3, 3):
        follower.update()
    assert follower.slots.now == 2
    assert world.said == [
        "warning: node 10.0.0.2: torch is 2.12.0; install the same; it joined, and gets no slots",
        "slots        2: a node joined",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_concurrent": 3}, 3),
        ({"trials": 4, "confirm": 2}, 4),
        ({"trials": 2, "confirm": 6}, 6),
        ({"cpus_per_worker": 2}, 1),
        ({"workers_per_trial": 3}, 3),
    ],
)
def test_the_rule_of_the_start_holds_for_what_joins(
    world: World, options: dict[str, int], expected: int
) -> None:
    follower = world.follower(**options)
    world.nodes = 9
    follower.update()
    assert follower.slots.now == expected


def test_a_comparison_has_work_for_the_runs_of_all_its_methods() -> None:
    assert count_wanted_slots(CompareOptions(trials=4, confirm=5, methods="vanilla,dps-dense,mixout")) == 15
    assert count_wanted_slots(SearchOptions(trials=4, confirm=5)) == 5


HEAD = Node(0.0, 0.0, BIG)  # as the recipes start it
CORES = Node(8.0, 0.0, BIG)
GPUS = Node(3.0, 2.0, BIG)


@pytest.mark.parametrize(
    ("options", "gpus", "each", "expected"),
    [
        ({}, 0.0, [Node(8.0, 0.0, 4 * GIB)], 2),  # by memory
        ({}, 0.0, [Node(8.0, 0.0, 1 * GIB)] * 8, 0),
        ({"cpus_per_worker": 4}, 0.0, [Node(7.0, 0.0, BIG)] * 2, 2),  # three cores of each are left over
        ({"cpus_per_worker": 2, "workers_per_trial": 2}, 0.0, [Node(3.0, 0.0, BIG)] * 3, 1),
        ({"workers_per_trial": 3}, 0.0, [Node(2.0, 0.0, BIG)] * 3, 2),  # the second lies over two nodes
        ({}, 1.0, [HEAD, CORES, GPUS, GPUS], 4),
        ({"cpus_per_worker": 2}, 1.0, [HEAD, CORES, GPUS, GPUS], 2),  # by the cores beside the GPUs
        ({"cpus_per_worker": 4}, 1.0, [HEAD, CORES, GPUS, GPUS], 0),
        ({"workers_per_trial": 3}, 1.0, [CORES, GPUS, GPUS], 1),
        ({}, 0.5, [CORES, GPUS], 3),
        ({}, 0.4, [Node(8.0, 2.0, BIG)], 4),  # two on each GPU
        ({}, 1 / 3, [Node(8.0, 2.0, BIG)], 6),
        ({}, 4.0, [GPUS] * 2, 0),  # no node has four
        ({}, 2.0, [GPUS] * 2, 2),
    ],
)
def test_a_worker_needs_one_node_and_a_trial_may_lie_over_several(
    options: dict[str, int], gpus: float, each: list[Node], expected: int
) -> None:
    assert count_slots(SearchOptions(**options), Cluster(None, tuple(each)), gpus) == expected
    shuffled = Cluster(None, tuple(reversed(each)))
    assert count_slots(SearchOptions(**options), shuffled, gpus) == expected


@pytest.mark.parametrize(
    ("options", "each", "lacking"),
    [
        ({"cpus_per_worker": 9}, [CORES, GPUS], "CPU cores"),
        ({"gpus_per_worker": 3}, [CORES, GPUS, GPUS], "GPUs"),
        ({"gpus_per_worker": 1}, [Node(4.0, 1.0, GIB)], "memory"),
        ({"gpus_per_worker": 1, "cpus_per_worker": 4}, [CORES, GPUS], "on one node"),
    ],
)
def test_where_there_is_too_little_for_one_trial_it_is_said_of_what(
    options: dict[str, Any], each: list[Node], lacking: str
) -> None:
    made = SearchOptions(**options)
    with pytest.raises(RefusedError, match=rf"too little \({lacking}\) for one trial"):
        planner._count_slots_or_refuse(made, Cluster(None, tuple(each)), made.gpus_per_worker or 0.0)


def test_what_was_wanted_and_is_missing_is_asked_of_the_autoscaler(world: World) -> None:
    follower = world.follower(max_concurrent=4, workers_per_trial=1)
    assert world.said == ["slots        1 of 4; the autoscaler, if any, is asked for the others"]
    for nodes in (1, 1, 3, 4, 2):
        world.nodes = nodes
        follower.update()
    assert world.asked == [[{"CPU": 1.0}] * 3, [{"CPU": 1.0}], [], [{"CPU": 1.0}] * 2]


def test_each_worker_is_asked_for_by_itself(world: World) -> None:
    world.nodes, world.cores = 2, 3.0
    follower = world.follower(max_concurrent=2, workers_per_trial=2, cpus_per_worker=3)
    follower.update()
    assert world.asked == [[{"CPU": 3.0}] * 2]
    follower.plan = replace(follower.plan, gpus_per_worker=0.5)  # and these nodes have none
    follower.update()
    assert world.asked[1:] == [[{"CPU": 3.0, "GPU": 0.5}] * 4]


def test_other_requests_are_added_to_and_outlive_this_one(world: World) -> None:
    world.actor.request_resources("train-1", [{"CPU": 8.0}], expire_after_s=1e9)
    demand = AutoscalerDemand()
    demand.request({"CPU": 1.0}, missing=1, wanted=2)
    demand.withdraw()
    demand.withdraw()
    assert world.asked == [[{"CPU": 8.0}], [{"CPU": 8.0}, {"CPU": 1.0}], [{"CPU": 8.0}]]


def test_a_request_is_renewed_while_it_holds_and_expires_when_its_search_was_killed(world: World) -> None:
    demand = AutoscalerDemand()
    for _ in range(100):
        demand.request({"CPU": 1.0}, missing=1, wanted=2)
        world.now += DEMAND_EXPIRY_S / 10
        world.actor._tick()
    assert all(bundles == [{"CPU": 1.0}] for bundles in world.asked)
    world.now += DEMAND_EXPIRY_S
    world.actor._tick()
    assert world.asked[-1] == []


def test_whatever_ends_the_search_the_request_is_taken_back(world: World) -> None:
    plan = world.plan(max_concurrent=2)

    def broken_off() -> None:
        with follow_cluster(SlotCount(1), plan, world, world.check):
            deadline = time.monotonic() + 10
            while not world.asked and time.monotonic() < deadline:
                time.sleep(0.01)
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        broken_off()
    assert world.asked == [[{"CPU": 1.0}], []]


@pytest.mark.parametrize("storage", [None, "/shared"])
def test_a_local_ray_and_one_node_without_a_storage_are_not_followed(
    world: World, storage: str | None
) -> None:
    plan = world.plan(max_concurrent=2, storage=storage)
    if storage is not None:
        plan = replace(plan, cluster=world.cluster(None))
    world.nodes = 2
    with follow_cluster(SlotCount(1), plan, world, world.check):
        pass
    assert (world.said, world.asked) == ([], [])
