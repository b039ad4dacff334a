"""Which placement groups are left over."""

from __future__ import annotations

from typing import Any

from tune.execution.ray_private import ActorTableData, PlacementGroupTableData, find_orphaned_groups


def group(name: bytes, state: str = "CREATED", **resources: float) -> Any:
    made = PlacementGroupTableData(placement_group_id=name, state=state)
    made.bundles.add(unit_resources=resources)
    return made


def actor(group: bytes, state: str = "ALIVE") -> Any:
    return ActorTableData(placement_group_id=group, state=state)


def test_a_group_is_left_over_that_holds_cores_and_no_living_actor() -> None:
    groups = [
        group(b"used", CPU=1.0),
        group(b"left", CPU=1.0),
        group(b"gpu", GPU=0.5),
        group(b"dead", CPU=2.0),
    ]
    actors = [actor(b"used"), actor(b"dead", "DEAD"), actor(b"")]
    assert find_orphaned_groups(groups, actors) == {b"left", b"gpu", b"dead"}


def test_what_starts_waits_or_is_of_tune_is_not() -> None:
    groups = [
        group(b"starting", CPU=1.0),
        group(b"waiting", "PENDING", CPU=1.0),
        group(b"gone", "REMOVED", CPU=1.0),
        group(b"of tune", memory=64.0),
        PlacementGroupTableData(placement_group_id=b"unknown", state="CREATED"),
    ]
    assert (
        find_orphaned_groups(groups, [actor(b"starting", "PENDING_CREATION"), actor(b"x", "RESTARTING")])
        == set()
    )
