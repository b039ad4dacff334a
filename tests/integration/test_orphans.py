"""Cores that a dead controller left taken, in a real Ray."""

from __future__ import annotations

import time

import pytest

from tune.execution import orphans
from tune.execution.ray_private import PUBLIC_ONLY_VARIABLE

pytestmark = pytest.mark.integration
DEADLINE_S = 60.0


@pytest.mark.parametrize("public_only", [False, True])
def test_cores_that_nobody_uses_are_given_back_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch, public_only: bool
) -> None:
    import ray
    from ray.util.placement_group import placement_group, placement_group_table
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    class Idle:
        def ready(self) -> bool:
            return True

    monkeypatch.setenv(PUBLIC_ONLY_VARIABLE, str(int(public_only)))
    monkeypatch.setattr(orphans, "ORPHAN_CHECK_INTERVAL_S", 0.2)
    ray.init(address="local", num_cpus=2, include_dashboard=public_only, log_to_driver=False)
    try:
        used, left = placement_group([{"CPU": 1}]), placement_group([{"CPU": 1}])
        ray.get([used.ready(), left.ready()])
        inside = PlacementGroupSchedulingStrategy(used)
        worker = ray.remote(num_cpus=1)(Idle).options(scheduling_strategy=inside).remote()
        assert ray.get(worker.ready.remote())
        with orphans.release_orphaned_groups():
            deadline = time.monotonic() + DEADLINE_S
            while placement_group_table(left)["state"] != "REMOVED":
                assert time.monotonic() < deadline, placement_group_table()
                time.sleep(0.2)
            assert placement_group_table(used)["state"] == "CREATED"
            assert ray.get(worker.ready.remote())
    finally:
        ray.shutdown()
