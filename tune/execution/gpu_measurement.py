"""Measures how much of a GPU's memory a run needs (--share-gpus), in a process of its own on the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dps.lazy import torch
from dps.text import sanitise_line
from dps.training.data import TaskData
from dps.training.evaluation import EVALUATION_BATCH_FACTOR
from dps.training.inputs import load_run_inputs
from dps.training.run import finetune_model
from dps.training.tokens import EncodedExamples
from tune.core.job_config import make_fine_tune_config, read_memory_options
from tune.core.run import Job, RefusedError, RunPurpose, RunSettings
from tune.planning.arm import Arm
from tune.planning.gpu_sharing import GpuMemoryNeed
from tune.planning.plan import Plan

MEASURED_STEPS = 20  # enough for both stages of a method that has them
GPU_MEASUREMENT_TIMEOUT_S = 600.0
REMEDY = "give --gpus-per-worker instead"


def measure_gpu_memory_on_cluster(plan: Plan) -> GpuMemoryNeed:
    """Measure the need of a plan's runs on a GPU of the connected cluster.

    Raises RefusedError if it cannot be measured.
    """
    import ray

    remote = ray.remote(num_gpus=1, num_cpus=1, max_retries=0, max_calls=1)(measure_gpu_memory)
    runs = [each for arm in plan.arms.values() for each in _list_runs(arm)]
    future = remote.remote(runs, read_memory_options(plan.options))
    ready, _ = ray.wait([future], timeout=GPU_MEASUREMENT_TIMEOUT_S)
    if not ready:
        ray.cancel(future, force=True)
        waited = f"{GPU_MEASUREMENT_TIMEOUT_S:.0f} s"
        raise RefusedError(f"--share-gpus: no GPU was free to measure on for {waited}; {REMEDY}")
    try:
        need: GpuMemoryNeed = ray.get(future)
    except Exception as error:
        cause = sanitise_line(getattr(error, "cause", None) or error)
        raise RefusedError(f"--share-gpus: a run cannot be measured: {cause}; {REMEDY}") from None
    return need


def _list_runs(arm: Arm) -> list[tuple[RunSettings, tuple[str, ...]]]:
    """Return the settings of an arm's runs, of each model that it searches, with its methods."""
    domain = arm.space.parameters.get("batch_size")
    largest = max(domain.extremes) if domain is not None else arm.settings.batch_size
    models = [model.settings for model in arm.models.values()] or [arm.settings]
    return [(replace(settings, batch_size=largest), arm.space.methods) for settings in models]


def measure_gpu_memory(
    arms: Sequence[tuple[RunSettings, tuple[str, ...]]], memory_options: Mapping[str, bool]
) -> GpuMemoryNeed:
    """Run each method of each arm once on the longest examples and return the GPU memory then in use.

    Memory is not freed in between, so this is the maximum over the runs; other processes' memory counts too,
    as there is no room for it.
    """
    for settings, methods in arms:
        _run_methods(settings, methods, memory_options)
    free, total = torch.cuda.mem_get_info()
    return GpuMemoryNeed(total - free, total)


def _run_methods(settings: RunSettings, methods: tuple[str, ...], memory_options: Mapping[str, bool]) -> None:
    base, every = load_run_inputs(settings.task, settings.data, settings.model, settings.max_length)
    data = LongestExamples(every.task, every.source, base.tokenizer, settings.max_length)
    data.max_examples = EVALUATION_BATCH_FACTOR * settings.batch_size
    whole = replace(settings, train_size=None, shots=None)
    measured = replace(whole, max_steps=MEASURED_STEPS, transfer=(), probe=None)
    for method in methods:
        configuration = {"method": method, "learning_rate": 1e-5}
        job = Job("", RunPurpose.CONFIRMATION, configuration, 0, measured, "")
        finetune_model(make_fine_tune_config(job, memory_options), base, data)


class LongestExamples(TaskData):
    """Task data restricted to each split's longest examples, which take the most memory."""

    max_examples = 64

    def get_split(self, name: str) -> EncodedExamples:
        data = super().get_split(name)
        return data.take(data.lengths().argsort(kind="stable")[-self.max_examples :])
