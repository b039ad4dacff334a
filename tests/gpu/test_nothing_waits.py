"""Within a training step the host never waits for the GPU, and masks are those of a CPU."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import dps
import dps.methods
import dps.selection
from dps.attachment.draws import draw_input_neurons
from dps.models import PretrainedEncoder
from dps.tasks import registry
from dps.tasks.task import Task
from dps.training.config import FineTuneConfig
from dps.training.data import TaskData
from dps.training.run import _Run, finetune_model
from tests.tiny import batches, bert, examples

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

METHODS = [
    dps.Vanilla(),
    dps.DPSDense(0.6, 0.25),
    dps.DPSDense(0.6, 0.25, freeze="update"),
    dps.DPSMix(0.6, 0.25),
]


class InMemory:
    """A source of a few examples that reads no file."""

    kind, name = "folder", "memory"

    def load(self, task: Task, split: str) -> Any:
        rows = list(examples(task, 60, 0 if split == "train" else 300))
        return {column: [row[column] for row in rows] for column in (*task.columns, "label")}

    def fingerprint(self, task: Task) -> str:
        return "0"


def named(method: Any) -> str:
    return f"{method.name}-{getattr(method, 'freeze', '')}"


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_method_waits_for_nothing(method: dps.Method) -> None:
    model = bert().cuda()
    optimizer = method.attach(model, torch.optim.AdamW(model.parameters(), 1e-3, fused=True), 20, 1.0)
    held = [{k: v.cuda() for k, v in batch.items() if k != "attention_mask"} for batch in batches(20)]
    try:
        for step, batch in enumerate(held):
            optimizer.zero_grad()
            model(**batch).loss.backward()
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error" if step else "default")  # the first step sets things up
            optimizer.step()
            torch.cuda.set_sync_debug_mode("default")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if method.selects_weights:
        assert dps.methods.attachment_of(optimizer).selected_share == pytest.approx(0.6, abs=0.02)  # type: ignore[union-attr]


@pytest.mark.parametrize("method", METHODS, ids=named)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_waits_for_nothing_between_its_looks(
    method: dps.Method, precision: Any, tiny_base: PretrainedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = registry.get_task("cola")
    data = TaskData(task, InMemory(), tiny_base.tokenizer, 32)  # type: ignore[arg-type]
    config = FineTuneConfig(
        task="cola", method=method, max_steps=40, evaluations=1, batch_size=8, precision=precision
    )
    waits: list[str] = []
    train_step = _Run._train_step

    def watched(self: Any) -> torch.Tensor:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            loss = train_step(self)
            torch.cuda.set_sync_debug_mode("default")
        package = str(Path(dps.__file__).parent)
        waits.extend(f"{w.filename}:{w.lineno}" for w in caught if w.filename.startswith(package))
        return loss

    monkeypatch.setattr(_Run, "_train_step", watched)
    result = finetune_model(config, tiny_base, data)
    assert result.outcome == "completed"
    assert waits == []


def test_the_masks_of_a_cpu() -> None:
    torch.manual_seed(0)
    for shape in ((7,), (300, 70), (1024, 4096)):
        score = torch.randn(shape).square()
        score.view(-1)[::3] = score.view(-1)[0]  # ties
        for ratio in (1e-3, 0.3, 0.7, 1.0):
            assert torch.equal(dps.select_mask(score.cuda(), ratio).cpu(), dps.select_mask(score, ratio))


def test_the_draws_of_a_cpu() -> None:
    here, there = (draw_input_neurons(700, 0.7, 3, 4, torch.device(kind)) for kind in ("cpu", "cuda"))
    assert torch.equal(here, there.cpu())


def test_a_mixed_weight_is_that_of_a_cpu() -> None:
    torch.manual_seed(0)
    weight, anchor = torch.randn(40, 60), torch.randn(40, 60)
    for active in (torch.rand(60) < 0.5, torch.rand(40, 60) < 0.5):
        here = dps.selection.compute_mixed_weight(weight, anchor, active, 0.7)
        there = dps.selection.compute_mixed_weight(weight.cuda(), anchor.cuda(), active.cuda(), 0.7)
        torch.testing.assert_close(there.cpu(), here, atol=1e-6, rtol=0)
