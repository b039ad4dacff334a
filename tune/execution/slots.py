"""How many trials run at once: what a cluster has room for, at the start and as nodes join and leave."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from tune.execution.connection import read_cluster_resources
from tune.execution.ray_private import request_workers
from tune.planning.cluster import Cluster, count_slots, count_wanted_slots
from tune.strategy.budget import SlotCount

if TYPE_CHECKING:
    from tune.planning.plan import Plan
    from tune.planning.preflight import PreflightFinding

CLUSTER_POLL_INTERVAL_S = 5.0
DEMAND_EXPIRY_S = 180.0  # a request that is not repeated, as its search was killed, is dropped after so long


class AutoscalerDemand:
    """A request to the autoscaler for workers that have no room yet, beside what runs.

    requester: unique name; several searches add up, and a request expires if its search is killed.
    """

    def __init__(self) -> None:
        self.requester = f"dps-{uuid.uuid4().hex}"
        self._is_open = False

    def request(self, worker: dict[str, float], missing: int, wanted: int) -> None:
        """Ask for the missing workers, out of those wanted; to be renewed for as long as they are missing.
        worker: the resources of one."""
        was_open, self._is_open = self._is_open, missing > 0
        if missing or was_open:
            request_workers(self.requester, [worker] * missing, [worker] * wanted, DEMAND_EXPIRY_S)

    def withdraw(self) -> None:
        """Ask for nothing any more."""
        self.request({}, 0, 0)


class MessageDisplay(Protocol):
    """What the user reads; takes lines."""

    def say(self, line: str) -> None: ...

    def warn(self, what: str) -> None: ...


class LiveDisplay(MessageDisplay, Protocol):
    """A display that shows what runs, for as long as it is entered."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...


class ClusterFollower:
    """Keeps the slots at what the cluster offers, and asks its autoscaler for those that are missing.

    check: what is wrong with a node, by its ID; one that joins gets no slots where anything is.
    """

    def __init__(
        self,
        slots: SlotCount,
        plan: Plan,
        screen: MessageDisplay,
        check: Callable[[str], list[PreflightFinding]],
    ) -> None:
        self.slots, self.plan, self.screen, self.check, self.demand = (
            slots,
            plan,
            screen,
            check,
            AutoscalerDemand(),
        )
        self.nodes = plan.cluster.node_count
        self._sound = {node.id: True for node in plan.cluster.nodes}
        self.wanted = count_wanted_slots(plan.options) if plan.options.max_concurrent else 0
        if self.wanted > slots.now:
            asked = "the autoscaler, if any, is asked for the others"
            screen.say(f"slots        {slots.now} of {self.wanted}; {asked}")

    def update(self) -> None:
        """Look at the cluster once."""
        cluster = self._usable(read_cluster_resources(self.plan.cluster.address))
        options, gpus = self.plan.options, self.plan.gpus_per_worker
        there = count_slots(options, cluster, gpus)
        number = max(1, there)  # what was lost may come back
        if number != self.slots.now:
            self.slots.become(number)
            self.screen.say(f"slots        {number}: {_describe_node_change(self.nodes, cluster.node_count)}")
        self.nodes = cluster.node_count
        worker = {"CPU": float(options.cpus_per_worker)} | ({"GPU": gpus} if gpus else {})
        missing = max(0, self.wanted - there)
        per_slot = options.workers_per_trial
        self.demand.request(worker, missing * per_slot, self.wanted * per_slot)

    def _usable(self, cluster: Cluster) -> Cluster:
        """The cluster without the nodes that joined and have something wrong; each is looked at once."""
        for node in cluster.nodes:
            if node.id not in self._sound:
                found = self.check(node.id)
                self._sound[node.id] = not found
                for finding in found:
                    self.screen.warn(f"{finding}; it joined, and gets no slots")
        return replace(cluster, nodes=tuple(node for node in cluster.nodes if self._sound[node.id]))


def _describe_node_change(before: int, after: int) -> str:
    """What became of the nodes, in words."""
    if before == after:
        return "the nodes have changed"
    who = "a node" if abs(after - before) == 1 else f"{abs(after - before)} nodes"
    return f"{who} {'joined' if after > before else 'left'}"


@contextmanager
def follow_cluster(
    slots: SlotCount, plan: Plan, screen: MessageDisplay, check: Callable[[str], list[PreflightFinding]]
) -> Iterator[None]:
    """Make the slots follow, within the context, the cluster that the plan was made for. They stay as they
    are on a local Ray,
    and without a storage, as only one node can be used then."""
    if plan.cluster.address is None or not plan.options.storage:
        yield
        return
    over = threading.Event()
    follower = ClusterFollower(slots, plan, screen, check)
    thread = threading.Thread(target=_update_until_over, args=(follower, over), name="slots", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=CLUSTER_POLL_INTERVAL_S)
        with suppress(Exception):  # a cluster that is gone holds no request
            follower.demand.withdraw()


def _update_until_over(follower: ClusterFollower, over: threading.Event) -> None:
    while True:
        with suppress(Exception):  # whatever Ray says under load: another look will do
            follower.update()
        if over.wait(CLUSTER_POLL_INTERVAL_S):
            return
