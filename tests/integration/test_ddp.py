"""Two ranks: local data and local random states, one selection and one model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch import multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

import dps
from dps import distributed, sources
from dps.methods import METHODS as EVERY
from dps.methods import Vanilla, attachment_of, make_method
from dps.methods.dps import DPSDenseAttachment
from dps.models import PretrainedEncoder, locate_model
from dps.tasks import registry
from dps.training.config import FineTuneConfig
from dps.training.data import TaskData
from dps.training.run import finetune_model
from tests import families, tiny
from tune.planning import probe

pytestmark = pytest.mark.integration

STEPS = 8  # Stage I in steps 1-2 and 5-6, Stage II in 3-4 and 7-8
HYPER: dict[str, Any] = {"selection_ratio": 0.4, "update_ratio": 0.25}


def _make(name: str) -> dps.Method:
    """A method with two steps a stage, if it has stages."""
    return make_method(name, **HYPER if name.startswith("dps-") else {})


METHODS: list[dps.Method] = [
    dps.DPSDense(**HYPER),
    dps.DPSDense(**HYPER, freeze="update"),
    dps.DPSMix(**HYPER),
    dps.DPSMix(**HYPER, freeze="update"),
    Vanilla(),
]
TOP = make_method("top-k", layers=1)
OTHERS: list[dps.Method] = [
    *(_make(name) for name in EVERY if name not in {*(m.name for m in METHODS), "top-k"}),
    TOP,
]
# they draw by the number of the step
COUNTING = [_make(name) for name in ("mixout", "mixconnect", "child-tuning-f", "dps-random")]
RUNS: list[dps.Method] = [
    *(dps.DPSMix(**HYPER), TOP, make_method("child-tuning-d"), make_method("lora"), make_method("ema")),
]
EARLY = {
    f"{number} {m.name}": m for number, m in enumerate([*METHODS[:4], *COUNTING, make_method("random-mask")])
}
JOINED: list[dps.Method] = [METHODS[0], METHODS[2], *COUNTING, Vanilla()]


@dataclass(frozen=True)
class NaNOnRankOne(Vanilla):
    """Its loss is NaN on rank 1 alone."""

    name: ClassVar[str] = "nan-on-rank-one"

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        loss = super().loss(model, batch)
        return loss * float("nan") if distributed.get_rank() == 1 else loss


def trajectory(method: dps.Method) -> dict[str, Any]:
    """What a rank sees of a run on data of its own."""
    rank = distributed.get_rank()
    torch.manual_seed(100 + rank)
    wrapped = DistributedDataParallel(tiny.MLP(6, 8, 4, seed=rank))  # rank 0's weights count
    optimizer = tiny.OPTIMIZERS["adamw"](wrapped.parameters())
    method.attach(wrapped, optimizer, STEPS, max_grad_norm=1.0)
    attachment = attachment_of(optimizer)
    seen: dict[str, Any] = {"losses": [], "masks": [], "weights": []}
    for pair in tiny.pairs(STEPS, 6, 4, seed=rank):
        if isinstance(attachment, DPSDenseAttachment):
            seen["masks"].append([weight.active for weight in attachment.weights])
        seen["losses"].append(float(tiny.step(wrapped, optimizer, pair)))
        seen["weights"].append(tiny.snapshot(wrapped.module))
    return seen


def attach_early(method: dps.Method, rank: int) -> tuple[nn.Module, Optimizer]:
    """A model of the rank's own with the method attached, before there is a process group."""
    torch.manual_seed(100 + rank)
    model = tiny.MLP(6, 8, 4, seed=rank)
    optimizer = tiny.OPTIMIZERS["adamw"](model.parameters())
    method.attach(model, optimizer, STEPS, max_grad_norm=1.0)
    return model, optimizer


def trajectory_of_early(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """What a rank sees of a model that was wrapped after attach."""
    wrapped = DistributedDataParallel(model)
    seen: dict[str, Any] = {"losses": [], "weights": []}
    for pair in tiny.pairs(STEPS, 6, 4, seed=distributed.get_rank()):
        seen["losses"].append(float(tiny.step(wrapped, optimizer, pair)))
        seen["weights"].append(tiny.snapshot(model))
    return seen


def join(method: dps.Method, uneven: bool, throw: bool = False) -> str:
    """What a method says of DDP.join, where rank 1 has two more batches."""
    model = tiny.MLP(6, 8, 4)
    optimizer = tiny.OPTIMIZERS["adamw"](model.parameters())
    method.attach(model, optimizer, STEPS)
    wrapped = DistributedDataParallel(model)
    try:
        with wrapped.join(throw_on_early_termination=throw):
            for pair in tiny.pairs(2 + 2 * uneven * distributed.get_rank(), 6, 4):
                tiny.step(wrapped, optimizer, pair)
    except (ValueError, RuntimeError) as error:
        return str(error)
    return "trained"


def trajectory_of_bert(method: dps.Method) -> dict[str, Any]:
    """The same of a model of transformers, with dropout."""
    rank = distributed.get_rank()
    torch.manual_seed(100 + rank)
    model = tiny.bert(rank, dropout=0.1, labels=3)
    optimizer = tiny.OPTIMIZERS["adamw-fused"](model.parameters())
    if method.extra:  # it adds layers
        method.attach(model, optimizer, STEPS, max_grad_norm=1.0)
    wrapped = distributed.wrap_model(model)
    if not method.extra:
        method.attach(wrapped, optimizer, STEPS, max_grad_norm=1.0)
    attachment = attachment_of(optimizer)
    assert attachment is not None
    batches = tiny.batches(4, seed=rank)
    if method.cost.calibration_epochs:
        attachment.calibrate(wrapped, batches)
    seen: dict[str, Any] = {"losses": [], "weights": [tiny.snapshot(wrapped.module)]}
    for batch in batches:
        optimizer.zero_grad()
        seen["losses"].append(float(attachment.backward(wrapped, batch)))
        optimizer.step()
        seen["weights"].append(tiny.snapshot(wrapped.module))
    return seen


def trajectory_of_xlnet() -> dict[str, Any]:
    """Two steps of a model with a parameter that never gets a gradient."""
    wrapped = distributed.wrap_model(families.classifier("xlnet", seed=distributed.get_rank()))
    optimizer = tiny.OPTIMIZERS["adamw-fused"](wrapped.parameters())
    make_method("vanilla").attach(wrapped, optimizer, STEPS)
    attachment = attachment_of(optimizer)
    assert attachment is not None
    weights = [tiny.snapshot(wrapped.module)]
    for batch in tiny.batches(2, seed=distributed.get_rank()):
        optimizer.zero_grad()
        attachment.backward(wrapped, batch)
        optimizer.step()
        weights.append(tiny.snapshot(wrapped.module))
    return {"weights": weights, "unused": wrapped.find_unused_parameters}


def worker(rank: int, folder: Path, model: Path, data: Path) -> None:
    torch.set_num_threads(1)
    early = {name: attach_early(method, rank) for name, method in EARLY.items()}
    torch.distributed.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    seen: dict[str, Any] = {str(number): trajectory(method) for number, method in enumerate(METHODS)}
    seen |= {method.name: trajectory_of_bert(method) for method in OTHERS}
    seen["xlnet"] = trajectory_of_xlnet()
    seen["early"] = {name: trajectory_of_early(*pair) for name, pair in early.items()}
    seen["join"] = {method.name: join(method, uneven=True) for method in JOINED}
    seen["even join"] = join(METHODS[2], uneven=False, throw=True)
    task = registry.get_task("cola")
    base = PretrainedEncoder(locate_model(str(model)), task)
    examples = TaskData(task, sources.open_data_source(str(data)), base.tokenizer, 32)
    for method in (*RUNS, NaNOnRankOne()):
        config = FineTuneConfig(
            method=method, learning_rate=2e-3, max_steps=STEPS, batch_size=8, evaluations=2
        )
        result = finetune_model(config, base, examples)
        seen[f"run of {method.name}"] = (
            str(result.outcome),
            result.steps,
            result.scores,
            tiny.snapshot(result.model),
        )
    still = replace(config, method=Vanilla(), learning_rate=1e-12, evaluations=STEPS, patience=2)
    result = finetune_model(still, base, examples)
    seen["patience"] = (str(result.outcome), result.steps, result.kept_step, result.scores)
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


def test_every_method_is_here() -> None:
    assert {method.name for method in (*METHODS, *OTHERS)} == set(EVERY)


@pytest.mark.parametrize("name", [method.name for method in OTHERS])
def test_ranks_of_every_other_method_stay_equal_bit_for_bit(ranks: list[dict[str, Any]], name: str) -> None:
    one, other = (seen[name] for seen in ranks)
    assert one["losses"] != other["losses"]
    assert tiny.same(one["weights"], other["weights"])
    assert not tiny.same(one["weights"][0], one["weights"][-1])


def test_top_k_on_a_wrapped_model_trains_the_top_alone(ranks: list[dict[str, Any]]) -> None:
    before, *_, after = ranks[0][TOP.name]["weights"]
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {
        name for name in before if name.startswith(("bert.encoder.layer.1.", "bert.pooler.", "classifier."))
    }


def test_xlnet_trains_on_two_ranks_though_a_parameter_of_it_gets_no_gradient(
    ranks: list[dict[str, Any]],
) -> None:
    one, other = (seen["xlnet"] for seen in ranks)
    assert one["unused"]
    assert tiny.same(one["weights"], other["weights"])
    first, second, third = (weights["logits_proj.weight"] for weights in one["weights"])
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


@pytest.mark.parametrize("name", EARLY)
def test_ranks_that_attached_before_the_process_group_was_up_stay_equal(
    ranks: list[dict[str, Any]], name: str
) -> None:
    """Each with a seed of its own, and with a model of its own until it is wrapped."""
    one, other = (seen["early"][name] for seen in ranks)
    assert one["losses"] != other["losses"]
    assert tiny.same(one["weights"], other["weights"])
    model = tiny.MLP(6, 8, 4, seed=0)
    optimizer = tiny.OPTIMIZERS["adamw"](model.parameters())
    torch.manual_seed(100)
    EARLY[name].attach(model, optimizer, STEPS, max_grad_norm=1.0)
    shares = [tiny.pairs(STEPS, 6, 4, seed=rank) for rank in range(2)]
    for number, parts in enumerate(zip(*shares, strict=True)):
        x, y = (torch.cat(part) for part in zip(*parts, strict=True))
        tiny.step(model, optimizer, (x, y))
        for key, value in one["weights"][number].items():
            torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-3, atol=1e-5)


def test_steps_that_ranks_would_count_apart_are_refused(ranks: list[dict[str, Any]]) -> None:
    for seen in ranks:
        for name, said in seen["join"].items():
            refused = said.startswith(f"{name}: under DDP.join ranks take different numbers of steps")
            assert refused if name != "vanilla" else said == "trained"
        assert seen["even join"] == "trained"


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


@pytest.mark.parametrize("name", [method.name for method in RUNS])
def test_a_whole_run_reports_the_same_on_every_rank(ranks: list[dict[str, Any]], name: str) -> None:
    one, other = (seen[f"run of {name}"] for seen in ranks)
    assert one[:2] == ("completed", STEPS)
    assert [step for step, _ in one[2]] == [4, 8]
    assert tiny.same(one, other)


def test_patience_ends_a_run_on_all_ranks_together(ranks: list[dict[str, Any]]) -> None:
    one, other = (seen["patience"] for seen in ranks)
    assert one == other
    assert one[:3] == ("completed", 3, 1)  # a score that never changes: the first is the best


def test_a_loss_of_nan_on_one_rank_ends_the_run_on_all(ranks: list[dict[str, Any]]) -> None:
    for seen in ranks:
        assert seen["run of nan-on-rank-one"][:3] == ("diverged", 1, [])


def test_the_check_of_gpus_runs_without_any() -> None:
    done = subprocess.run(
        [sys.executable, "-c", probe.GPU_CHECK_SCRIPT],
        env={"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0"]
