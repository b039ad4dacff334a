"""How many workers share a GPU, from what a run was measured to need there."""

from __future__ import annotations

import pytest

from dps.errors import InputError
from tune.console.plan import format_plan
from tune.core.options import SearchOptions
from tune.core.parsing import parse_options
from tune.planning import cluster, gpu_sharing, planner
from tune.planning.cluster import Cluster, Node
from tune.planning.gpu_sharing import GpuMemoryNeed, count_workers_per_gpu

GIB = 2**30
MACHINE = Cluster(None, (Node(16.0, 1.0, 128.0 * GIB, "a"),))


@pytest.mark.parametrize(
    ("used", "expected"), [(1, 8), (9, 8), (10, 7), (20, 3), (24, 3), (36, 2), (37, 1), (72, 1), (79, 1)]
)
def test_as_many_share_a_gpu_as_fit_with_a_tenth_to_spare(used: int, expected: int) -> None:
    assert count_workers_per_gpu(GpuMemoryNeed(used * GIB, 80 * GIB)) == expected


@pytest.mark.parametrize("count", range(1, gpu_sharing.MAX_WORKERS_PER_GPU + 1))
def test_the_plan_has_a_slot_for_each_share(count: int) -> None:
    options = SearchOptions(data="builtin", model="builtin", share_gpus=True)
    plan = planner.make_plan(options, MACHINE)
    assert (plan.slots, plan.gpus_per_worker) == (1, 1.0)
    assert f"GPUs         {cluster.SHARING_MEASURED_LATER}" in format_plan(plan)
    need = GpuMemoryNeed(int(0.9 * 80 * GIB / count), 80 * GIB)
    shared = gpu_sharing.share_gpus(plan, need)
    assert (shared.slots, shared.gpus_per_worker, shared.options) == (count, 1 / count, plan.options)
    assert (shared.settings, shared.data, shared.arms) == (plan.settings, plan.data, plan.arms)
    assert (shared.estimate.seconds < plan.estimate.seconds) == (count > 1)
    assert shared.estimate.slot_seconds == plan.estimate.slot_seconds
    (line,) = [line for line in format_plan(shared) if line.startswith("GPUs ")]
    assert line.endswith(f"a run needs {0.9 * 80 / count:.1f} of 80.0 GiB (measured)")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--gpus-per-worker", "0.5"], "--share-gpus, --gpus-per-worker: the first measures the second"),
        (
            ["--workers-per-trial", "2"],
            "--share-gpus, --workers-per-trial: workers of one trial cannot",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_options(["--task", "cola", "--share-gpus", *options])
