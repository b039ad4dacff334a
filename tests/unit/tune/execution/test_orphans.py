"""Which placement groups are orphaned."""

from __future__ import annotations

from tune.execution.orphans import find_orphaned_groups


def test_a_group_is_orphaned_that_holds_cores_or_gpus_and_has_no_live_actor() -> None:
    groups = {
        "used": {"CPU"},
        "left": {"CPU", "memory"},
        "gpu": {"GPU"},
        "of tune": {"memory"},
        "empty": set(),
    }
    assert find_orphaned_groups(groups, {"used", ""}) == {"left", "gpu"}
