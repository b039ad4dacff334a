"""How many workers share a GPU: what a run needs there, measured before the search (--share-gpus)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dps.text import sanitise_line
from dps.training.data import TaskData
from dps.training.tokens import EncodedExamples
from tune.core.run import Job, RefusedError, RunPurpose, RunSettings
from tune.planning.planner import make_plan

if TYPE_CHECKING:
    from tune.planning.plan import Plan

MAX_WORKERS_PER_GPU = 8  # workers on one GPU: they take turns on it
MAX_GPU_MEMORY_SHARE = 0.9  # of its memory that they may need together
MEASURED_STEPS = 20  # of a measured run: both stages of a method that has them
GPU_MEASUREMENT_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class GpuMemoryNeed:
    """used: bytes of the GPU that are taken when a run has gone through, its process and all; total: bytes
    that it has."""

    used: int
    total: int

    def __str__(self) -> str:
        return f"a run needs {self.used / 2**30:.1f} of {self.total / 2**30:.1f} GiB"


def count_workers_per_gpu(need: GpuMemoryNeed) -> int:
    """How many workers fit on the GPU, from 1 to MOST."""
    return max(1, min(MAX_WORKERS_PER_GPU, int(MAX_GPU_MEMORY_SHARE * need.total / need.used)))


class LongestExamples(TaskData):
    """The examples of each split that take the most memory."""

    count = 64

    def get_split(self, name: str) -> EncodedExamples:
        data = super().get_split(name)
        return data.take(data.lengths().argsort(kind="stable")[-self.count :])


def measure_gpu_memory(settings: RunSettings, methods: tuple[str, ...]) -> GpuMemoryNeed:
    """Runs each method once on this process's GPU, on the longest examples; what is taken of it then.

    Nothing is given back in between, so that it is what the most needy one took. What others have on the GPU
    counts as well, as there is no room for it."""
    import torch

    from dps.models import PretrainedEncoder, locate_model
    from dps.sources import open_data_source
    from dps.tasks.registry import get_task
    from dps.training.run import EVALUATION_BATCH_FACTOR, finetune_model

    task = get_task(settings.task)
    base = PretrainedEncoder(locate_model(settings.model), task)
    data = LongestExamples(task, open_data_source(settings.data, task), base.tokenizer, settings.max_length)
    data.count = EVALUATION_BATCH_FACTOR * settings.batch_size
    measured = replace(settings, max_steps=MEASURED_STEPS, train_size=None, transfer=(), probe=None)
    for method in methods:
        configuration = {"method": method, "learning_rate": 1e-5}
        job = Job("", RunPurpose.CONFIRMATION, configuration, 0, measured, "")
        finetune_model(job.fine_tune_config(), base, data)
    free, total = torch.cuda.mem_get_info()
    return GpuMemoryNeed(total - free, total)


def plan_gpu_sharing(plan: Plan) -> Plan:
    """The same plan with as many workers on a GPU as fit. Raises Refused where that cannot be measured."""
    need = measure_gpu_memory_on_cluster(plan)
    count = count_workers_per_gpu(need)
    who = f"up to {count} workers share one" if count > 1 else "a worker has one to itself"
    note = f"{who}: {need} (measured)"
    planned = make_plan(plan.options, plan.cluster, 1 / count)
    return replace(planned, settings=plan.settings, precision_note=plan.precision_note, gpu_note=note)


def measure_gpu_memory_on_cluster(plan: Plan) -> GpuMemoryNeed:
    """`measure_gpu_memory` on a GPU of the connected cluster, in a process that ends with it. Raises Refused
    where it
    cannot be done."""
    import ray

    remote = ray.remote(num_gpus=1, num_cpus=1, max_retries=0, max_calls=1)(measure_gpu_memory)
    asked = remote.remote(plan.settings, plan.options.method_names)
    instead = "give --gpus-per-worker instead"
    ready, _ = ray.wait([asked], timeout=GPU_MEASUREMENT_TIMEOUT_S)
    if not ready:
        ray.cancel(asked, force=True)
        raise RefusedError(
            f"--share-gpus: no GPU was free to measure on for {GPU_MEASUREMENT_TIMEOUT_S:.0f} s; {instead}"
        )
    try:
        need: GpuMemoryNeed = ray.get(asked)
    except Exception as error:
        said = sanitise_line(getattr(error, "cause", None) or error)  # of the task, where it has one
        raise RefusedError(f"--share-gpus: a run cannot be measured: {said}; {instead}") from None
    return need
