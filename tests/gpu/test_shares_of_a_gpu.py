"""As many workers as are let share a GPU do run on it, all at once."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.unit.tune.helpers import SETTINGS
from tune.execution.gpu_measurement import measure_gpu_memory
from tune.planning.gpu_sharing import count_workers_per_gpu

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

METHODS = ("vanilla", "dps-dense", "dps-mix")


def test_as_many_workers_as_share_a_gpu_run_side_by_side(tiny_cola: Path) -> None:
    settings = replace(SETTINGS, data=str(tiny_cola))
    runs = [(settings, METHODS)], {}
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1, maxtasksperchild=1) as alone:
        need = alone.apply(measure_gpu_memory, runs)
    assert 100 * 2**20 < need.used_bytes < need.total_bytes
    count = count_workers_per_gpu(need)
    with spawn.Pool(count, maxtasksperchild=1) as together:
        found = together.starmap(measure_gpu_memory, [runs] * count, chunksize=1)
    assert all(each.used_bytes <= need.total_bytes for each in found)
