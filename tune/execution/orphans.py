"""Orphaned placement groups: those of this job in which no actor lives any more.

Ray 2.60 frees the groups of a dead actor only when the job ends, unless a process per worker group
(`PlacementGroupCleaner`) does, which knows a group only once it is up. A dead slot would hold its cores
for good.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from tune.execution.ray_private import read_groups_and_actors

ORPHAN_CHECK_INTERVAL_S = 1.0
MIN_ORPHAN_SIGHTINGS = 6  # consecutive sightings before a group is freed


@contextmanager
def release_orphaned_groups() -> Iterator[None]:
    """Free this job's orphaned placement groups while inside this context."""
    over = threading.Event()
    threading.Thread(target=_release_until_over, args=(over,), name="orphans", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def find_orphaned_groups(groups: Mapping[str, Collection[str]], used: Collection[str]) -> set[str]:
    """Return the groups that hold CPUs or GPUs and have no live actor. used: groups that have one."""
    unused = groups.keys() - used
    return {group for group in unused if not {"CPU", "GPU"}.isdisjoint(groups[group])}


def _release_until_over(over: threading.Event) -> None:
    sightings = Counter[str]()
    while not over.wait(ORPHAN_CHECK_INTERVAL_S):
        with suppress(Exception):  # errors under load are ignored: the next look retries
            orphans = find_orphaned_groups(*read_groups_and_actors())
            sightings = Counter({group: sightings[group] + 1 for group in orphans})
            for group in [group for group, count in sightings.items() if count >= MIN_ORPHAN_SIGHTINGS]:
                remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(group)))
