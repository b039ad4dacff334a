"""Two ranks: local data and local random states, one selection and one model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch import multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

import dps
from dps import distributed, sources, tasks
from dps.config import FineTuneConfig
from dps.data import TaskData
from dps.finetune import run
from dps.methods import Vanilla, attachment_of
from dps.methods.dps import Selecting
from dps.models import Base, locate
from tests import tiny

pytestmark = pytest.mark.integration

STEPS = 8  # Stage I in steps 1-2 and 5-6, Stage II in 3-4 and 7-8
HYPER: dict[str, Any] = {"selection_ratio": 0.4, "update_ratio": 0.25}
METHODS: list[dps.Method] = [
    dps.DPSDense(**HYPER),
    dps.DPSDense(**HYPER, freeze="update"),
    dps.DPSMix(**HYPER),
    dps.DPSMix(**HYPER, freeze="update"),
    Vanilla(),
]


@dataclass(frozen=True)
class NaNOnRankOne(Vanilla):
    """Its loss is NaN on rank 1 alone."""

    name: ClassVar[str] = "nan-on-rank-one"

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        loss = super().loss(model, batch)
        return loss * float("nan") if distributed.rank() == 1 else loss


def trajectory(method: dps.Method) -> dict[str, Any]:
    """What a rank sees of a run on data of its own."""
    rank = distributed.rank()
    torch.manual_seed(100 + rank)
    wrapped = DistributedDataParallel(tiny.MLP(6, 8, 4, seed=rank))  # rank 0's weights count
    optimizer = tiny.OPTIMIZERS["adamw"](wrapped.parameters())
    method.attach(wrapped, optimizer, STEPS, max_grad_norm=1.0)
    attachment = attachment_of(optimizer)
    seen: dict[str, Any] = {"losses": [], "masks": [], "weights": []}
    for pair in tiny.pairs(STEPS, 6, 4, seed=rank):
        if isinstance(attachment, Selecting):
            seen["masks"].append([weight.active for weight in attachment.weights])
        seen["losses"].append(float(tiny.step(wrapped, optimizer, pair)))
        seen["weights"].append(tiny.snapshot(wrapped.module))
    return seen


def worker(rank: int, folder: Path, model: Path, data: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    seen: dict[str, Any] = {str(number): trajectory(method) for number, method in enumerate(METHODS)}
    task = tasks.get("cola")
    base = Base(locate(str(model)), task)
    examples = TaskData(task, sources.open_source(str(data)), base.tokenizer, 32)
    for method in (dps.DPSMix(**HYPER), NaNOnRankOne()):
        config = FineTuneConfig(
            method=method, learning_rate=2e-3, max_steps=STEPS, batch_size=8, evaluations=2
        )
        result = run(config, base, examples)
        seen[method.name] = (result.outcome, result.steps, result.scores, tiny.snapshot(result.model))
    torch.save(seen, folder / f"rank-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_cola: Path
) -> list[dict[str, Any]]:
    """What each of two ranks saw."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(worker, args=(folder, tiny_model, tiny_cola), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("number", range(len(METHODS)), ids=lambda number: repr(METHODS[number]))
def test_ranks_stay_equal_bit_for_bit_on_different_data(ranks: list[dict[str, Any]], number: int) -> None:
    one, other = (seen[str(number)] for seen in ranks)
    assert one["losses"] != other["losses"]  # the data did differ
    assert tiny.same(one["weights"], other["weights"])


@pytest.mark.parametrize("number", range(4), ids=lambda number: repr(METHODS[number]))
def test_ranks_select_the_same_weights(ranks: list[dict[str, Any]], number: int) -> None:
    one, other = (seen[str(number)]["masks"] for seen in ranks)
    assert tiny.same(one, other)
    for step in (3, 4, 7, 8):
        assert all(mask.any() and not mask.all() for mask in one[step - 1])


def test_ranks_select_by_the_gradient_of_all_the_data(ranks: list[dict[str, Any]]) -> None:
    model = tiny.MLP(6, 8, 4, seed=0)
    optimizer = tiny.OPTIMIZERS["adamw"](model.parameters())
    METHODS[0].attach(model, optimizer, STEPS, max_grad_norm=1.0)
    shares = [tiny.pairs(STEPS, 6, 4, seed=rank) for rank in range(2)]
    for number, parts in enumerate(zip(*shares, strict=True)):
        x, y = (torch.cat(part) for part in zip(*parts, strict=True))
        tiny.step(model, optimizer, (x, y))
        for name, value in ranks[0]["0"]["weights"][number].items():
            torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_a_whole_run_reports_the_same_on_every_rank(ranks: list[dict[str, Any]]) -> None:
    one, other = (seen["dps-mix"] for seen in ranks)
    assert one[:2] == ("completed", STEPS)
    assert [step for step, _ in one[2]] == [4, 8]
    assert tiny.same(one, other)


def test_a_loss_of_nan_on_one_rank_ends_the_run_on_all(ranks: list[dict[str, Any]]) -> None:
    for seen in ranks:
        assert seen["nan-on-rank-one"][:3] == ("diverged", 1, [])
