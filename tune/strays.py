"""Placement groups that nobody uses.

Ray 2.60 gives back that of a worker group whose controller died only where the group was up. A controller
that dies while it starts workers leaves their cores taken for good, and no slot can start.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
import ray.util.state
from ray.util.placement_group import PlacementGroup, remove_placement_group

LOOK_EVERY_S = 10.0
LOOKS = 3  # so often in a row a group was seen without an actor: workers that are starting are actors already
MOST_LISTED = 10_000


@contextmanager
def given_back() -> Iterator[None]:
    """Within, groups of this job that are left over are given back."""
    over = threading.Event()
    threading.Thread(target=_watch, args=(over,), name="strays", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def left_over(groups: Iterable[Any], actors: Iterable[Any]) -> set[str]:
    """The ids of the groups that hold cores or GPUs, and in which no actor lives. groups, actors: as Ray's
    state API lists them, in detail."""
    used = {actor.placement_group_id for actor in actors if actor.state != "DEAD"}
    return {
        group.placement_group_id
        for group in groups
        if group.state == "CREATED"
        and group.placement_group_id not in used
        and any({"CPU", "GPU"} & bundle["unit_resources"].keys() for bundle in group.bundles or [])
    }


def _watch(over: threading.Event) -> None:
    seen = Counter[str]()
    while not over.wait(LOOK_EVERY_S):
        with suppress(Exception):  # whatever Ray says under load: another look will do
            seen = Counter({group: seen[group] + 1 for group in _look()})
            for group in [group for group, looks in seen.items() if looks >= LOOKS]:
                remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))


def _look() -> set[str]:
    job = ray.get_runtime_context().get_job_id()
    options: dict[str, Any] = {"limit": MOST_LISTED, "detail": True, "raise_on_missing_output": False}
    groups = ray.util.state.list_placement_groups(filters=[("creator_job_id", "=", job)], **options)
    actors = ray.util.state.list_actors(filters=[("job_id", "=", job)], **options)
    return left_over(groups, actors)
