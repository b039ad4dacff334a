"""How many trials run at once: what a cluster has room for, at the start and as nodes join and leave."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tune.options import CompareOptions, RunOptions
from tune.runtime import Cluster, Node, offered

if TYPE_CHECKING:
    from tune.nodes import Finding
    from tune.plan import Plan

MEMORY_PER_WORKER = 1.5 * 2**30  # bytes: interpreter, libraries, a small model with its optimizer
NOTHING = Node(0.0, 0.0, 0.0)
LOOK_EVERY_S = 5.0
ASKED_FOR_S = 180.0  # a request that is not repeated, as its search was killed, is dropped after so long
ASK_AGAIN_S = ASKED_FOR_S / 3


def room(options: RunOptions, cluster: Cluster, gpus: float) -> dict[str, int]:
    """Trials at once that there is enough of each for, by its name; last, that find all of it. gpus: of one
    worker. A worker needs one node, a trial may lie over several."""
    each = [_workers(options, node, gpus) for node in cluster.each]
    by_name = {name: sum(workers[name] for workers in each) for name in _workers(options, NOTHING, gpus)}
    together = {"on one node": sum(min(workers.values()) for workers in each)}
    return {name: workers // options.workers_per_trial for name, workers in (by_name | together).items()}


def _workers(options: RunOptions, node: Node, gpus: float) -> dict[str, int]:
    """Workers that a node has enough of each for, by its name."""
    found = {
        "CPU cores": int(node.cpus // options.cpus_per_worker),
        "memory": int(node.memory // MEMORY_PER_WORKER),
    }
    if gpus:  # Ray gives a share of one GPU, or whole ones
        found["GPUs"] = int(node.gpus) * int(1 / gpus + 1e-6) if gpus < 1 else int(node.gpus // gpus)
    return found


def most(options: RunOptions) -> int:
    """Trials at once that were asked for and that there is work for, at most."""
    arms = len(options.method_names) if isinstance(options, CompareOptions) else 1
    work = max(options.trials, options.confirm) * arms
    return min(work, options.max_concurrent or work)


def count(options: RunOptions, cluster: Cluster, gpus: float) -> int:
    """Slots on this cluster; none where it has too little for one trial."""
    return min(most(options), room(options, cluster, gpus)["on one node"])


class Slots:
    """The slots of a sitting. now: how many there may be."""

    def __init__(self, now: int) -> None:
        self.now = now
        self._since = [(-math.inf, now)]

    def become(self, number: int, at: float | None = None) -> None:
        """From now on (or from a moment, in seconds since the epoch) there are so many."""
        self.now = number
        self._since.append((time.time() if at is None else at, number))

    def seconds(self, first: float, last: float) -> float:
        """Of all slots between two moments, which are in seconds since the epoch."""
        ends = [at for at, _ in self._since[1:]] + [math.inf]
        spans = zip(self._since, ends, strict=True)
        return sum(number * max(0.0, min(end, last) - max(at, first)) for (at, number), end in spans)


class Demand:
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
        self._asked, self._again = bundles, time.monotonic() + ASK_AGAIN_S
        if bundles:
            request = coordinator().request_resources
            request.remote(requester_id=self.name, resources=bundles, expire_after_s=ASKED_FOR_S)
        else:
            coordinator().cancel_request.remote(requester_id=self.name)

    def take_back(self) -> None:
        """Ask for nothing any more."""
        import ray

        if self._asked:
            ray.get(coordinator().cancel_request.remote(requester_id=self.name), timeout=LOOK_EVERY_S)
            self._asked = []


def coordinator() -> Any:
    """The actor that merges what is asked of the autoscaler; one a cluster, for all jobs."""
    from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as of_ray

    return of_ray.get_or_create_autoscaling_coordinator()


class Screen(Protocol):
    """What the user reads; takes lines."""

    def say(self, line: str) -> None: ...

    def warn(self, what: str) -> None: ...


class Follower:
    """Keeps the slots at what the cluster offers, and asks its autoscaler for those that are missing.

    check: what is wrong with a node, by its ID; one that joins gets no slots where anything is.
    """

    def __init__(
        self, slots: Slots, plan: Plan, screen: Screen, check: Callable[[str], list[Finding]]
    ) -> None:
        self.slots, self.plan, self.screen, self.check, self.demand = slots, plan, screen, check, Demand()
        self.nodes = plan.cluster.nodes
        self._sound = {node.id: True for node in plan.cluster.each}
        self.wanted = most(plan.options) if plan.options.max_concurrent else 0
        if self.wanted > slots.now:
            asked = "the autoscaler, if any, is asked for the others"
            screen.say(f"slots        {slots.now} of {self.wanted}; {asked}")

    def update(self) -> None:
        """Look at the cluster once."""
        cluster = self._usable(offered(self.plan.cluster.address))
        options, gpus = self.plan.options, self.plan.gpus_per_worker
        there = count(options, cluster, gpus)
        number = max(1, there)  # what was lost may come back
        if number != self.slots.now:
            self.slots.become(number)
            self.screen.say(f"slots        {number}: {_change(self.nodes, cluster.nodes)}")
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


def _change(before: int, after: int) -> str:
    """What became of the nodes, in words."""
    if before == after:
        return "the nodes have changed"
    who = "a node" if abs(after - before) == 1 else f"{abs(after - before)} nodes"
    return f"{who} {'joined' if after > before else 'left'}"


@contextmanager
def following(
    slots: Slots, plan: Plan, screen: Screen, check: Callable[[str], list[Finding]]
) -> Iterator[None]:
    """Within, the slots follow the cluster that the plan was made for. They stay as they are on a local Ray,
    and without a storage, as only one node can be used then."""
    if plan.cluster.address is None or not plan.options.storage:
        yield
        return
    over = threading.Event()
    follower = Follower(slots, plan, screen, check)
    thread = threading.Thread(target=_follow, args=(follower, over), name="slots", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=LOOK_EVERY_S)
        with suppress(Exception):  # a cluster that is gone holds no request
            follower.demand.take_back()


def _follow(follower: Follower, over: threading.Event) -> None:
    while True:
        with suppress(Exception):  # whatever Ray says under load: another look will do
            follower.update()
        if over.wait(LOOK_EVERY_S):
            return
