"""Slots of a session on a cluster: they follow its nodes, and its autoscaler is asked for missing ones."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Protocol

from tune.execution.connection import read_cluster_resources
from tune.execution.links import LinkWatch
from tune.execution.ray_private import request_workers
from tune.planning.cluster import Cluster, count_slots, count_wanted_slots
from tune.planning.plan import Plan
from tune.planning.preflight import PreflightFinding
from tune.strategy.budget import SlotCount

CLUSTER_POLL_INTERVAL_S = 5.0
DEMAND_EXPIRY_S = 180.0  # a request expires after this long unless renewed, as when its search is killed
NodeCheck = Callable[[str], list[PreflightFinding]]


class AutoscalerDemand:
    """Request of one search to the cluster's autoscaler for workers that have no room yet.

    requester: unique name, since the requests of several searches add up.
    """

    def __init__(self) -> None:
        self.requester = f"dps-{uuid.uuid4().hex}"
        self._is_open = False

    def request(self, worker: dict[str, float], missing: int, wanted: int) -> None:
        """Request the missing ones of all wanted workers, or renew it. worker: resources of one worker."""
        was_open, self._is_open = self._is_open, missing > 0
        if missing or was_open:
            request_workers(self.requester, [worker] * missing, [worker] * wanted, DEMAND_EXPIRY_S)

    def withdraw(self) -> None:
        """Withdraw the request."""
        self.request({}, 0, 0)


class MessageDisplay(Protocol):
    """Display that prints lines for the user."""

    def say(self, line: str) -> None: ...

    def warn(self, what: str) -> None: ...


class LiveDisplay(MessageDisplay, Protocol):
    """Display that shows what runs while inside its context."""

    def __enter__(self) -> object: ...

    def __exit__(self, *error: object) -> None: ...


class ClusterFollower:
    """Adjusts the slots to the cluster and requests missing ones.

    check_node: returns the problems of a node, by its id; a node that joins with problems gets no slots.
    again: the command that goes on with the search. links: those to the nodes.
    """

    def __init__(
        self, slots: SlotCount, plan: Plan, display: MessageDisplay, check_node: NodeCheck, again: str = ""
    ) -> None:
        self.links = LinkWatch(plan.cluster.address or "", again, display.warn, display.say)
        self.slots, self.plan, self.display, self.check_node = slots, plan, display, check_node
        self.demand = AutoscalerDemand()
        self.node_count = plan.cluster.node_count
        self._is_healthy = {node.id: True for node in plan.cluster.nodes}
        self.wanted_slots = count_wanted_slots(plan.options) if plan.options.max_concurrent else 0
        if self.wanted_slots > slots.now:
            note = "the autoscaler, if any, is asked for the others"
            display.say(f"slots        {slots.now} of {self.wanted_slots}; {note}")

    def update(self) -> None:
        """Read the cluster once and adjust the slots."""
        cluster = read_cluster_resources(self.plan.cluster.address)
        self.links.follow([node.raylet for node in cluster.nodes if node.raylet])
        cluster = self._drop_faulty_nodes(cluster)
        options, gpus = self.plan.options, self.plan.gpus_per_worker
        available = count_slots(options, cluster, gpus)
        number = max(1, available)  # lost nodes may come back
        if number != self.slots.now:
            self.slots.become(number)
            self.display.say(
                f"slots        {number}: {_describe_node_change(self.node_count, cluster.node_count)}"
            )
        self.node_count = cluster.node_count
        worker = {"CPU": float(options.cpus_per_worker)} | ({"GPU": gpus} if gpus else {})
        missing, per_slot = max(0, self.wanted_slots - available), options.workers_per_trial
        self.demand.request(worker, missing * per_slot, self.wanted_slots * per_slot)

    def _drop_faulty_nodes(self, cluster: Cluster) -> Cluster:
        """Return the cluster without joined nodes that failed their check; each is checked once."""
        for node in cluster.nodes:
            if node.id not in self._is_healthy:
                findings = self.check_node(node.id)
                self._is_healthy[node.id] = not findings
                for finding in findings:
                    self.display.warn(f"{finding}; it joined, and gets no slots")
        return replace(cluster, nodes=tuple(node for node in cluster.nodes if self._is_healthy[node.id]))


def _describe_node_change(before: int, after: int) -> str:
    """Describe how the number of nodes changed."""
    if before == after:
        return "the nodes have changed"
    subject = "a node" if abs(after - before) == 1 else f"{abs(after - before)} nodes"
    return f"{subject} {'joined' if after > before else 'left'}"


@contextmanager
def follow_cluster(
    slots: SlotCount, plan: Plan, display: MessageDisplay, check_node: NodeCheck, again: str = ""
) -> Iterator[None]:
    """Keep the slots adjusted to the plan's cluster, and look at its links, while inside this context.

    Does nothing on a local Ray, or without --storage, as only one node can be used then.
    """
    if plan.cluster.address is None or not plan.options.storage:
        yield
        return
    stopped = threading.Event()
    follower = ClusterFollower(slots, plan, display, check_node, again)
    thread = threading.Thread(target=_update_until, args=(stopped, follower), name="slots", daemon=True)
    thread.start()
    try:
        with follower.links:
            yield
    finally:
        stopped.set()
        thread.join(timeout=CLUSTER_POLL_INTERVAL_S)
        with suppress(Exception):  # the cluster may be gone
            follower.demand.withdraw()


def _update_until(stopped: threading.Event, follower: ClusterFollower) -> None:
    while True:
        with suppress(Exception):  # errors under load are ignored: the next poll retries
            follower.update()
        if stopped.wait(CLUSTER_POLL_INTERVAL_S):
            return
