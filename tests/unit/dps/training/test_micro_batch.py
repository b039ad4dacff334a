"""Gradients added up over parts of a batch are those of the batch; memory that runs out asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import dps
from dps.errors import is_out_of_memory
from dps.methods import METHODS, BiDrop, ChildTuningD, attachment_of
from dps.models import PretrainedEncoder
from dps.training.config import FineTuneConfig, FineTuneResult
from dps.training.data import TaskData
from dps.training.result import Outcome, RunResult
from dps.training.run import finetune_model
from tests import tiny
from tests.tiny import Recording
from tests.unit.tune.helpers import SETTINGS
from tune.core.run import Job
from tune.execution import worker
from tune.execution.mailbox import Mailbox

STEPS = 6
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
DENSE = dps.DPSDense(selection_ratio=0.5, update_ratio=0.25)
MADE = [DENSE, dps.DPSMix(selection_ratio=0.5, update_ratio=0.25), BiDrop(), ChildTuningD()]


def trained(method: dps.Method, micro_batch: int | None) -> dict[str, torch.Tensor]:
    """The weights after some steps, without dropout, in double precision."""
    torch.manual_seed(0)
    model = tiny.bert().double()
    optimizer = method.attach(model, tiny.OPTIMIZERS["adamw"](model.parameters()), STEPS, max_grad_norm=1.0)
    attachment = attachment_of(optimizer)
    assert attachment is not None
    batches = tiny.batches(STEPS, rows=8)
    attachment.calibrate(model, batches, micro_batch)
    for step, batch in enumerate(batches):
        torch.manual_seed(step)
        optimizer.zero_grad()
        attachment.accumulate(model, batch, micro_batch)
        optimizer.step()
    assert attachment.steps == STEPS
    attachment.detach()
    return tiny.snapshot(model)


@pytest.mark.parametrize(
    ("method", "micro_batch"),
    [*((method, 3) for method in (*MADE, METHODS["r-drop"](), dps.Vanilla())), (DENSE, 1)],
    ids=lambda value: getattr(value, "name", value),
)
def test_parts_of_a_batch_train_as_the_batch_does(method: dps.Method, micro_batch: int) -> None:
    whole, parts = trained(method, None), trained(method, micro_batch)
    before = tiny.snapshot(tiny.bert().double())
    assert not torch.allclose(whole["classifier.weight"], before["classifier.weight"], atol=1e-4)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-9)


def test_the_loss_of_the_parts_is_the_loss_of_the_batch() -> None:
    model, (batch,) = tiny.bert(), tiny.batches(1, rows=7)
    optimizer = dps.Vanilla().attach(model, tiny.OPTIMIZERS["sgd"](model.parameters()), STEPS)
    attachment = attachment_of(optimizer)
    assert attachment is not None
    whole = attachment.accumulate(model, batch)
    torch.testing.assert_close(attachment.accumulate(model, batch, 3), whole)
    assert torch.equal(attachment.accumulate(model, batch, 7), whole)


Run = Callable[..., FineTuneResult]


@pytest.fixture
def go(tiny_base: PretrainedEncoder, tiny_data: TaskData) -> Run:
    config = FineTuneConfig(method=DENSE, learning_rate=2e-3, max_steps=STEPS, batch_size=8, evaluations=2)
    return lambda **changes: finetune_model(replace(config, **changes), tiny_base, tiny_data)


@pytest.mark.parametrize(
    "method", [*MADE[:2], METHODS["vanilla-no-dropout"]()], ids=lambda method: method.name
)
def test_a_run_in_parts_comes_to_the_same(go: Run, method: dps.Method) -> None:
    whole, parts = go(method=method), go(method=method, micro_batch=3)
    assert [step for step, _ in parts.scores] == [step for step, _ in whole.scores]
    np.testing.assert_allclose(parts.logits["dev"], whole.logits["dev"], atol=2e-3)
    assert parts.selected_share == pytest.approx(whole.selected_share, abs=1e-3)


def test_no_more_than_a_micro_batch_is_in_the_model(go: Run) -> None:
    method = Recording()
    assert go(method=method, micro_batch=3, max_steps=2).steps == 2
    parts = [len(rows) for rows in method.seen]
    assert max(parts) == 3
    assert len(parts) > 2


def test_memory_is_known_to_be_full_in_whichever_words() -> None:
    assert is_out_of_memory(FULL)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")
    )
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


class Near:
    """A mailbox in this process: its coroutines run at once."""

    def __init__(self) -> None:
        self.box, self.loop = Mailbox(), asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Any:
        if name == "wait_for_signal":
            return SimpleNamespace(remote=lambda job: None)
        return SimpleNamespace(
            remote=lambda *given: self.loop.run_until_complete(getattr(self.box, name)(*given))
        )


@pytest.mark.parametrize(
    ("oom_retry", "fits", "tried", "outcome"),
    [
        (True, 16, [None], Outcome.COMPLETED),
        (True, 4, [None, 8, 4], Outcome.COMPLETED),
        (True, 0, [None, 8, 4, 2, 1], Outcome.OUT_OF_MEMORY),
        (False, 4, [None], Outcome.OUT_OF_MEMORY),
    ],
)
def test_a_run_out_of_memory_is_tried_again_with_half_until_it_fits(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    oom_retry: bool,
    fits: int,
    tried: list[int | None],
    outcome: Outcome,
) -> None:
    seen: list[int | None] = []

    def run(config: FineTuneConfig, *others: Any, **named: Any) -> FineTuneResult:
        seen.append(config.micro_batch)
        if (config.micro_batch or config.batch_size) > fits:
            raise FULL
        return FineTuneResult(outcome=Outcome.COMPLETED, scores=[(20, 0.5)], micro_batch=config.micro_batch)

    monkeypatch.setattr(worker, "finetune_model", run)
    monkeypatch.setattr(worker.ray, "get", lambda answer: answer)
    mailbox = Near()
    one = worker._Worker(mailbox, "slot", 60.0)
    monkeypatch.setattr(one, "_load_inputs", lambda job: (None, None))
    configuration = {"method": "vanilla", "learning_rate": 1e-4}
    mailbox.submit.remote(Job("3", "search", configuration, 0, SETTINGS, str(tmp_path), oom_retry=oom_retry))
    while (job := mailbox.next_job.remote(0.01)) is not None:
        one.run_job(job)
    result: RunResult = mailbox.next_report.remote().result
    assert (result.outcome, seen) == (outcome, tried)
    assert mailbox.box._reports.empty()
    if outcome == Outcome.OUT_OF_MEMORY:
        assert result.error is not None
        assert "CUDA out of memory" in result.error
        had = "1 example" if tried[-1] == 1 else f"{tried[-1] or 'all'} examples"
        assert f"{had} of a step at once" in result.error
        return
    assert result.micro_batch == tried[-1]
    assert any("memory ran out" in warning for warning in result.warnings) == (len(tried) > 1)
