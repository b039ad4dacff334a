"""What a run needs of a GPU, measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from dps.methods import METHODS
from dps.training.run import finetune_model
from tests.unit.tune.helpers import SETTINGS, make_plan
from tune.core.run import RefusedError
from tune.execution import gpu_measurement
from tune.execution.gpu_measurement import measure_gpu_memory
from tune.planning.gpu_sharing import GpuMemoryNeed

GIB = 2**30


def test_every_method_is_run_on_the_longest_examples(
    tiny_model: Path, tiny_cola: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, int, int]] = []

    def seen(config: Any, base: Any, data: Any) -> None:
        train = data.get_train_examples(None)
        longest = sorted(super(gpu_measurement.LongestExamples, data).get_split("train").lengths())[
            -len(train) :
        ]
        assert sorted(train.lengths()) == longest
        ran.append((config.method.name, len(train), len(data.get_split("dev"))))
        finetune_model(config, base, data)

    monkeypatch.setattr(gpu_measurement, "finetune_model", seen)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (70 * GIB, 80 * GIB))
    settings = replace(SETTINGS, data=str(tiny_cola), model=str(tiny_model), batch_size=4, precision="fp32")
    assert measure_gpu_memory([(settings, tuple(METHODS))], {}) == GpuMemoryNeed(10 * GIB, 80 * GIB)
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
        gpu_measurement.measure_gpu_memory_on_cluster(make_plan())
