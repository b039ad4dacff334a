"""Placement groups that nobody uses.

Ray 2.60 gives back those of an actor that died only with the whole job, unless a process for each worker
group (`PlacementGroupCleaner`) does, which knows of a group once it is up. A slot that dies would leave cores
taken for good, and no other could start.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray._private.state import state
from ray.core.generated import gcs_pb2
from ray.util.placement_group import PlacementGroup, remove_placement_group

ActorTableData: Any = vars(gcs_pb2)["ActorTableData"]  # made at run time: types know nothing of it
PlacementGroupTableData: Any = vars(gcs_pb2)["PlacementGroupTableData"]
LOOK_EVERY_S = 1.0
LOOKS = 6  # so often in a row a group was seen without an actor: workers that are starting are actors already


@contextmanager
def given_back() -> Iterator[None]:
    """Within, groups of this job that are left over are given back."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(over,), name="strays", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def left_over(groups: Iterable[Any], actors: Iterable[Any]) -> set[bytes]:
    """The ids of the groups that hold cores or GPUs, and in which no actor lives. groups, actors: as Ray's
    control store (GCS) has them."""
    used = {actor.placement_group_id for actor in actors if actor.state != ActorTableData.DEAD}
    return {
        group.placement_group_id
        for group in groups
        if group.state == PlacementGroupTableData.CREATED
        and group.placement_group_id not in used
        and any({"CPU", "GPU"} & bundle.unit_resources.keys() for bundle in group.bundles)
    }


def _watch(over: threading.Event) -> None:
    seen = Counter[bytes]()
    while not over.wait(LOOK_EVERY_S):
        with suppress(Exception):  # whatever Ray says under load: another look will do
            seen = Counter({group: seen[group] + 1 for group in _look()})
            for group in [group for group, looks in seen.items() if looks >= LOOKS]:
                remove_placement_group(PlacementGroup(ray.PlacementGroupID(group)))


def _look() -> set[bytes]:
    """Two requests to the control store: `ray.util.state` has the same, but of a dashboard, which a Ray of
    one's own does without."""
    store, job = state._connect_and_get_accessor(), ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    groups = map(PlacementGroupTableData.FromString, store.get_placement_group_table())
    actors = map(ActorTableData.FromString, store.get_actor_table(job, None))
    return left_over([group for group in groups if group.creator_job_id == job.binary()], actors)
