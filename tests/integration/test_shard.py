"""Two ranks that share the weights: they train what two ranks with a copy each train, and what they leave is
whole."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import multiprocessing as mp

import dps
from dps import distributed, sources
from dps.methods import METHODS, attachment_of, make_method
from dps.methods.dps import DPSDenseAttachment
from dps.models import PretrainedEncoder, locate_model
from dps.tasks import registry
from dps.training.config import Checkpointing, FineTuneConfig, FineTuneResult
from dps.training.data import TaskData
from dps.training.memory import shard_model
from dps.training.result import ControlSignal, Outcome
from dps.training.run import finetune_model
from tests import tiny

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

STEPS = 8  # Stage I in steps 1-2 and 5-6, Stage II in 3-4 and 7-8
FEW = 4  # steps that show as much of a method without stages
CUT = 3  # step of the suspension
CLOSE = {"rtol": 1e-3, "atol": 1e-4}
VALUES: dict[str, dict[str, Any]] = {
    "dps-dense": {"selection_ratio": 0.4, "update_ratio": 0.25},
    "top-k": {"layers": 1},
    "ema": {"decay": 0.5},
}
SHARDED = {
    name: make_method(name, **VALUES.get(name, {}))
    for name, method in METHODS.items()
    if method.takes_split_weights or method.takes_shards
}
SHARDED["dps-dense-update"] = make_method("dps-dense", **VALUES["dps-dense"], freeze="update")
RESUMED = ("vanilla", "dps-dense", "lora", "ema")
LLAMA = {
    "vocab_size": tiny.VOCABULARY,
    "hidden_size": 18,
    "intermediate_size": 25,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": None,
}  # rows that two ranks cannot share evenly


def keep(result: FineTuneResult) -> dict[str, Any]:
    """What a test compares of a run."""
    model = result.model
    return {
        "outcome": str(result.outcome),
        "scores": result.scores,
        "logits": {name: torch.from_numpy(values) for name, values in result.logits.items()},
        "weights": None if model is None else tiny.snapshot(model),
        "kind": type(model).__name__,
        "selected": result.selected_share,
    }


def select_masks() -> list[bool]:
    """Whether DPS Dense selects the same of split weights as of whole ones, by step, from the same data."""
    method = SHARDED["dps-dense"]
    found = []
    models = [tiny.MLP(5, 7, 3, 1) for _ in range(2)]  # 7 rows are 4 and 3, 1 row is 1 and 0
    shard_model(models[1], torch.device("cpu"))
    pairs = [(model, torch.optim.SGD(model.parameters(), 0.1)) for model in models]
    for model, optimizer in pairs:
        method.attach(model, optimizer, STEPS)
    for pair in tiny.pairs(STEPS, 5, 1):
        masks = []
        for model, optimizer in pairs:
            attachment = attachment_of(optimizer)
            assert isinstance(attachment, DPSDenseAttachment)
            active = [weight.active for weight in attachment.weights]
            masks.append([None if mask is None else distributed.join_parts(mask) for mask in active])
            tiny.step(model, optimizer, pair)
        acts = masks[0][0] is None or not all(mask.all() for mask in masks[0])
        found.append(acts and tiny.same(*masks))
    return found


def measure_bytes(method: dps.Method, shard: bool) -> int:
    """Bytes of weights, gradients and optimizer state on this rank, between two steps."""
    model = tiny.bert()
    if shard and not method.adds_layers:
        shard_model(model, torch.device("cpu"))
    optimizer = tiny.OPTIMIZERS["adamw-fused"](model.parameters())
    method.attach(model, optimizer, STEPS, max_grad_norm=1.0)
    attachment = attachment_of(optimizer)
    assert attachment is not None
    if shard and method.adds_layers:
        attachment.follow_parameters(shard_model(model, torch.device("cpu")))
    for batch in tiny.batches(3):
        optimizer.zero_grad()
        attachment.backward(model, batch)
        optimizer.step()
    tensors = [*model.parameters(), *(p.grad for p in model.parameters() if p.grad is not None)]
    tensors += [value for state in optimizer.state.values() for value in state.values()]
    parts = [tensor.to_local() if distributed.is_split(tensor) else tensor for tensor in tensors]
    return sum(part.nbytes for part in parts)


def worker(rank: int, folder: Path, model: Path, llama: Path, data: Path) -> None:
    torch.set_num_threads(1)
    meeting = (folder / "meeting").as_uri()
    torch.distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    task = registry.get_task("cola")
    bases = {path: PretrainedEncoder(locate_model(str(path)), task) for path in (model, llama)}
    examples = {
        path: TaskData(task, sources.open_data_source(str(data)), base.tokenizer, 32)
        for path, base in bases.items()
    }
    usual = FineTuneConfig(learning_rate=2e-3, max_steps=STEPS, batch_size=8, evaluations=2)

    def run(path: Path, config: FineTuneConfig, checkpoints: Path | None = None, until: int = 99) -> Any:
        steps = [0]

        def count(step: int, max_steps: int, seconds: float) -> None:
            steps[0] = step

        def control() -> ControlSignal:
            return "suspend" if steps[0] == until else "go"

        checkpointing = checkpoints and Checkpointing(checkpoints)
        result = finetune_model(
            config, bases[path], examples[path], control=control, checkpointing=checkpointing, progress=count
        )
        if config.shard and result.outcome == Outcome.COMPLETED and rank == 0:
            result.save(folder / "saved")
        return keep(result)

    seen: dict[str, Any] = {"masks": select_masks()}
    for name, method in SHARDED.items():
        for shard in (False, True):
            steps = STEPS if method.selects_weights else FEW
            # The norms of whole and split gradients are rounded apart, which a mask may show.
            config = replace(usual, method=method, shard=shard, max_steps=steps, max_grad_norm=None)
            seen[f"{name} {shard}"] = run(model, config)
    for name in RESUMED:
        patient = replace(usual, method=SHARDED[name], evaluations=4, patience=2, shard=True, micro_batch=3)
        seen[f"{name} whole"] = run(model, patient)
        seen[f"{name} cut"] = run(model, patient, folder / name, CUT)
        if name == "vanilla":
            shutil.copytree(folder / name, folder / f"{name}-{rank}")
            seen["vanilla unsharded"] = run(model, replace(patient, shard=False), folder / f"{name}-{rank}")
        seen[f"{name} resumed"] = run(model, patient, folder / name)
    decoder = replace(usual, method=SHARDED["lora"], gradient_checkpointing=True, micro_batch=3)
    for shard in (False, True):
        seen[f"bf16 {shard}"] = run(llama, replace(decoder, precision="bf16", shard=shard))
        seen[f"decoder {shard}"] = run(llama, replace(decoder, shard=shard))
    seen["bytes"] = {
        name: [measure_bytes(SHARDED[name], shard) for shard in (False, True)] for name in ("vanilla", "lora")
    }
    torch.save(seen, folder / f"rank-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ranks(folder: Path, tiny_model: Path, tiny_cola: Path) -> list[dict[str, Any]]:
    """What each of two ranks saw."""
    llama = folder / "llama"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.LlamaModel(transformers.LlamaConfig(**LLAMA)).save_pretrained(llama)
    tiny.tokenizer().save_pretrained(llama)
    mp.spawn(worker, args=(folder, tiny_model, llama, tiny_cola), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


def test_dps_dense_selects_the_same_of_split_weights(ranks: list[dict[str, Any]]) -> None:
    for seen in ranks:
        assert len(seen["masks"]) == STEPS
        assert all(seen["masks"])


@pytest.mark.parametrize("name", SHARDED)
def test_a_sharded_run_is_that_of_ranks_with_a_copy_each(ranks: list[dict[str, Any]], name: str) -> None:
    (copies, one), (_, other) = ([seen[f"{name} {shard}"] for shard in (False, True)] for seen in ranks)
    assert copies["outcome"] == one["outcome"] == "completed"
    assert copies["weights"].keys() == one["weights"].keys()
    torch.testing.assert_close(one["weights"], copies["weights"], **CLOSE)
    torch.testing.assert_close(one["logits"], copies["logits"], **CLOSE)
    assert (one["selected"] or 0.0) == pytest.approx(copies["selected"] or 0.0)
    assert tiny.same(one["logits"], other["logits"])
    assert one["scores"] == other["scores"]
    assert one["kind"] == copies["kind"]
    assert other["weights"] is None


@pytest.mark.parametrize("name", RESUMED)
def test_a_sharded_run_that_was_suspended_goes_on_as_if_it_had_not_been(
    ranks: list[dict[str, Any]], name: str
) -> None:
    for seen in ranks:
        assert seen[f"{name} cut"]["outcome"] == "suspended"
        assert seen[f"{name} whole"]["outcome"] == "completed"
        assert tiny.same(seen[f"{name} whole"], seen[f"{name} resumed"])


def test_a_checkpoint_of_a_sharded_run_is_whole(ranks: list[dict[str, Any]]) -> None:
    """Ranks with a copy each go on from it."""
    copies, sharded = (ranks[0][f"vanilla {kind}"] for kind in ("unsharded", "whole"))
    torch.testing.assert_close(copies["weights"], sharded["weights"], **CLOSE)


def test_plain_transformers_predict_with_the_saved_decoder_as_the_ranks_did(
    ranks: list[dict[str, Any]], folder: Path
) -> None:
    model, info = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder / "saved", output_loading_info=True
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "saved")
    texts = [row["sentence"] for row in tiny.examples(registry.get_task("cola"), 24, 300)]
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    torch.testing.assert_close(logits, ranks[1]["decoder True"]["logits"]["dev"], **CLOSE)


def test_a_rank_holds_half_of_weights_gradients_and_optimizer_state(ranks: list[dict[str, Any]]) -> None:
    for seen in ranks:
        for whole, part in seen["bytes"].values():
            assert 0.45 * whole < part < 0.55 * whole
