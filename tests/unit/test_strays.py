"""Which placement groups are left over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tune.strays import left_over


def group(name: str, state: str = "CREATED", **resources: float) -> Any:
    return SimpleNamespace(placement_group_id=name, state=state, bundles=[{"unit_resources": resources}])


def actor(group: str | None, state: str = "ALIVE") -> Any:
    return SimpleNamespace(placement_group_id=group, state=state)


def test_a_group_is_left_over_that_holds_cores_and_no_living_actor() -> None:
    groups = [group("used", CPU=1.0), group("left", CPU=1.0), group("gpu", GPU=0.5), group("dead", CPU=2.0)]
    actors = [actor("used"), actor("dead", "DEAD"), actor(None)]
    assert left_over(groups, actors) == {"left", "gpu", "dead"}


def test_what_starts_waits_or_is_of_tune_is_not() -> None:
    groups = [
        group("starting", CPU=1.0),
        group("waiting", "PENDING", CPU=1.0),
        group("gone", "REMOVED", CPU=1.0),
        group("of tune", memory=64.0),
        SimpleNamespace(placement_group_id="unknown", state="CREATED", bundles=None),
    ]
    assert left_over(groups, [actor("starting", "PENDING_CREATION"), actor("x", "RESTARTING")]) == set()
