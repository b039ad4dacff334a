"""GPU sharing (--share-gpus): how many workers fit on a GPU, from what a run was measured to need there."""

from __future__ import annotations

from dataclasses import dataclass

from tune.planning.plan import Plan

MAX_WORKERS_PER_GPU = 8  # they take turns on it
MAX_GPU_MEMORY_SHARE = 0.9  # of a GPU's memory, for all its workers together


@dataclass(frozen=True)
class GpuMemoryNeed:
    """Measured GPU memory. used_bytes: taken after a run, its process included; total_bytes: of the GPU."""

    used_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        return f"a run needs {self.used_bytes / 2**30:.1f} of {self.total_bytes / 2**30:.1f} GiB"


def share_gpus(plan: Plan, need: GpuMemoryNeed) -> Plan:
    """Return the plan with as many workers per GPU as fit."""
    count = count_workers_per_gpu(need)
    sharing = f"up to {count} workers share one" if count > 1 else "one worker per GPU"
    return plan.with_gpu_share(1 / count, f"{sharing}: {need} (measured)")


def count_workers_per_gpu(need: GpuMemoryNeed) -> int:
    """Return how many workers fit on the GPU, from 1 to MAX_WORKERS_PER_GPU."""
    fitting = int(MAX_GPU_MEMORY_SHARE * need.total_bytes / need.used_bytes)
    return max(1, min(MAX_WORKERS_PER_GPU, fitting))
