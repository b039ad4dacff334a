"""How many trials run at once: what a cluster has room for, at the start and as nodes join and leave."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from tune.execution.connection import read_cluster_resources
from tune.execution.ray_private import get_autoscaling_coordinator
from tune.planning.cluster import Cluster, count_slots, count_wanted_slots
from tune.strategy.budget import SlotCount

if TYPE_CHECKING:
    from tune.planning.plan import Plan
    from tune.planning.preflight import PreflightFinding

CLUSTER_POLL_INTERVAL_S = 5.0
DEMAND_EXPIRY_S = 180.0  # a request that is not repeated, as its search was killed, is dropped after so long
DEMAND_RENEWAL_S = DEMAND_EXPIRY_S / 3


class AutoscalerDemand:
    """What the autoscaler is asked for beside what runs.

    Ray holds one request a cluster (`ray.autoscaler.sdk.request_resources`), and the last one counts; each
    Ray Train group has its own written there, merged with the others' by one actor, every 20 s. So this one
    goes through that actor too: several searches add up, and who no longer asks is forgotten.
    """

    def __init__(self) -> None:
        self.name = f"dps-{uuid.uuid4().hex}"
        self._asked: list[dict[str, float]] = []
        self._again = 0.0

    def ask(self, bundles: list[dict[str, float]]) -> None:
        """Have room for these, one a worker; repeated now and then, for as long as they are wanted."""
        if bundles == self._asked and time.monotonic() < self._again:
            return
        self._asked, self._again = bundles, time.monotonic() + DEMAND_RENEWAL_S
        if bundles:
            request = get_autoscaling_coordinator().request_resources
            request.remote(requester_id=self.name, resources=bundles, expire_after_s=DEMAND_EXPIRY_S)
        else:
            get_autoscaling_coordinator().cancel_request.remote(requester_id=self.name)

    def take_back(self) -> None:
        """Ask for nothing any more."""
        import ray

        if self._asked:
            ray.get(
                get_autoscaling_coordinator().cancel_request.remote(requester_id=self.name),
                timeout=CLUSTER_POLL_INTERVAL_S,
            )
            self._asked = []


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
        self.nodes = plan.cluster.nodes
        self._sound = {node.id: True for node in plan.cluster.each}
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
            self.screen.say(f"slots        {number}: {_describe_node_change(self.nodes, cluster.nodes)}")
        self.nodes = cluster.nodes
        worker = {"CPU": float(options.cpus_per_worker)} | ({"GPU": gpus} if gpus else {})
        missing = max(0, self.wanted - there) * options.workers_per_trial
        self.demand.ask([worker] * missing)

    def _usable(self, cluster: Cluster) -> Cluster:
        """The cluster without the nodes that joined and have something wrong; each is looked at once."""
        for node in cluster.each:
            if node.id not in self._sound:
                found = self.check(node.id)
                self._sound[node.id] = not found
                for finding in found:
                    self.screen.warn(f"{finding}; it joined, and gets no slots")
        return replace(cluster, each=tuple(node for node in cluster.each if self._sound[node.id]))


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
    """Within, the slots follow the cluster that the plan was made for. They stay as they are on a local Ray,
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
            follower.demand.take_back()


def _update_until_over(follower: ClusterFollower, over: threading.Event) -> None:
    while True:
        with suppress(Exception):  # whatever Ray says under load: another look will do
            follower.update()
        if over.wait(CLUSTER_POLL_INTERVAL_S):
            return
