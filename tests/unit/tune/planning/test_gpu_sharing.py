"""How many workers share a GPU, from what a run was measured to need there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from dps.errors import InputError
from dps.methods import METHODS
from dps.training import run
from dps.training.run import finetune_model
from tests.unit.tune.helpers import SETTINGS, make_plan
from tune.console.plan import format_plan
from tune.core.options import SearchOptions
from tune.core.parsing import parse_options
from tune.core.run import RefusedError
from tune.planning import cluster, gpu_sharing, planner
from tune.planning.cluster import Cluster, Node
from tune.planning.gpu_sharing import GpuMemoryNeed, count_workers_per_gpu, measure_gpu_memory

GIB = 2**30
MACHINE = Cluster(None, (Node(16.0, 1.0, 128.0 * GIB, "a"),))


@pytest.mark.parametrize(
    ("used", "expected"), [(1, 8), (9, 8), (10, 7), (20, 3), (24, 3), (36, 2), (37, 1), (72, 1), (79, 1)]
)
def test_as_many_share_a_gpu_as_fit_with_a_tenth_to_spare(used: int, expected: int) -> None:
    assert count_workers_per_gpu(GpuMemoryNeed(used * GIB, 80 * GIB)) == expected


@pytest.mark.parametrize("count", range(1, gpu_sharing.MAX_WORKERS_PER_GPU + 1))
def test_the_plan_has_a_slot_for_each_share(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SearchOptions(data="builtin", model="builtin", share_gpus=True)
    plan = planner.make_plan(options, MACHINE)
    assert (plan.slots, plan.gpus_per_worker) == (1, 1.0)
    assert f"GPUs         {cluster.SHARING_MEASURED_LATER}" in format_plan(plan)
    need = GpuMemoryNeed(int(0.9 * 80 * GIB / count), 80 * GIB)
    monkeypatch.setattr(gpu_sharing, "measure_gpu_memory_on_cluster", lambda plan: need)
    found = gpu_sharing.plan_gpu_sharing(plan)
    assert (found.slots, found.gpus_per_worker, found.options) == (count, 1 / count, options)
    (line,) = [line for line in format_plan(found) if line.startswith("GPUs ")]
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


def test_every_method_is_run_on_the_longest_examples(
    tiny_model: Path, tiny_cola: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, int, int]] = []

    def seen(config: Any, base: Any, data: Any) -> None:
        train = data.get_train_examples(None)
        longest = sorted(super(gpu_sharing.LongestExamples, data).get_split("train").lengths())[-len(train) :]
        assert sorted(train.lengths()) == longest
        ran.append((config.method.name, len(train), len(data.get_split("dev"))))
        finetune_model(config, base, data)

    monkeypatch.setattr(run, "finetune_model", seen)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (70 * GIB, 80 * GIB))
    settings = replace(SETTINGS, data=str(tiny_cola), model=str(tiny_model), batch_size=4, precision="fp32")
    assert measure_gpu_memory(settings, tuple(METHODS)) == GpuMemoryNeed(10 * GIB, 80 * GIB)
    assert ran == [(name, 16, 16) for name in METHODS]


@pytest.mark.parametrize("broken", [True, False])
def test_what_cannot_be_measured_is_refused_with_a_way_out(
    broken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remote:
        def remote(self, *arguments: Any) -> str:
            return "asked"

    def get(asked: str) -> GpuMemoryNeed:
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(ray, "remote", lambda **options: lambda function: Remote())
    monkeypatch.setattr(ray, "wait", lambda asked, timeout: (asked, []) if broken else ([], asked))
    monkeypatch.setattr(ray, "cancel", lambda asked, force: None)
    monkeypatch.setattr(ray, "get", get)
    why = "a run cannot be measured: CUDA out of memory. Tried" if broken else "no GPU was free to measure on"
    with pytest.raises(RefusedError, match=rf"--share-gpus: {why}.*; give --gpus-per-worker instead"):
        gpu_sharing.measure_gpu_memory_on_cluster(make_plan())
