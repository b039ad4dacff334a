"""How many workers share a GPU, from what a run was measured to need there."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from dps.errors import InputError
from dps.methods import METHODS
from tests.unit.tune_helpers import SETTINGS, make_plan
from tune import devices, preflight, shares
from tune.errors import Refused
from tune.options import SearchOptions
from tune.parsing import parse
from tune.runtime import Cluster, Node
from tune.shares import Need, measure, workers
from tune.terminal import plan_lines

GIB = 2**30
MACHINE = Cluster(None, (Node(16.0, 1.0, 128.0 * GIB, "a"),))


@pytest.mark.parametrize(
    ("used", "expected"), [(1, 8), (9, 8), (10, 7), (20, 3), (24, 3), (36, 2), (37, 1), (72, 1), (79, 1)]
)
def test_as_many_share_a_gpu_as_fit_with_a_tenth_to_spare(used: int, expected: int) -> None:
    assert workers(Need(used * GIB, 80 * GIB)) == expected


@pytest.mark.parametrize("count", range(1, shares.MOST + 1))
def test_the_plan_has_a_slot_for_each_share(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    options = SearchOptions(data="builtin", model="builtin", share_gpus=True)
    plan = preflight.make_plan(options, MACHINE)
    assert (plan.slots, plan.gpus_per_worker) == (1, 1.0)
    assert f"GPUs         {devices.MEASURED_LATER}" in plan_lines(plan)
    need = Need(int(0.9 * 80 * GIB / count), 80 * GIB)
    monkeypatch.setattr(shares, "measured", lambda plan: need)
    found = shares.shared(plan)
    assert (found.slots, found.gpus_per_worker, found.options) == (count, 1 / count, options)
    (line,) = [line for line in plan_lines(found) if line.startswith("GPUs ")]
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
        parse(["--task", "cola", "--share-gpus", *options])


def test_every_method_is_run_on_the_longest_examples(
    tiny_model: Path, tiny_cola: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, int, int]] = []

    def seen(config: Any, base: Any, data: Any) -> None:
        train = data.train(None)
        longest = sorted(super(shares.Longest, data).split("train").lengths())[-len(train) :]
        assert sorted(train.lengths()) == longest
        ran.append((config.method.name, len(train), len(data.split("dev"))))
        run(config, base, data)

    finetune = importlib.import_module("dps.finetune")
    run = finetune.run
    monkeypatch.setattr(finetune, "run", seen)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (70 * GIB, 80 * GIB))
    settings = replace(SETTINGS, data=str(tiny_cola), model=str(tiny_model), batch_size=4, precision="fp32")
    assert measure(settings, tuple(METHODS)) == Need(10 * GIB, 80 * GIB)
    assert ran == [(name, 16, 16) for name in METHODS]


@pytest.mark.parametrize("broken", [True, False])
def test_what_cannot_be_measured_is_refused_with_a_way_out(
    broken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remote:
        def remote(self, *arguments: Any) -> str:
            return "asked"

    def get(asked: str) -> Need:
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(ray, "remote", lambda **options: lambda function: Remote())
    monkeypatch.setattr(ray, "wait", lambda asked, timeout: (asked, []) if broken else ([], asked))
    monkeypatch.setattr(ray, "cancel", lambda asked, force: None)
    monkeypatch.setattr(ray, "get", get)
    why = "a run cannot be measured: CUDA out of memory. Tried" if broken else "no GPU was free to measure on"
    with pytest.raises(Refused, match=rf"--share-gpus: {why}.*; give --gpus-per-worker instead"):
        shares.measured(make_plan())
