"""What a run measures beside its scores: other tasks, the probe, passes, memory; and calibration in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import dps
from dps import sources
from dps.methods import make_method
from dps.models import PretrainedEncoder, locate_model
from dps.tasks import metrics, registry, transfer
from dps.training import collapse
from dps.training.config import Checkpointing, FineTuneConfig, FineTuneResult
from dps.training.data import TaskData
from dps.training.result import ControlSignal
from dps.training.run import finetune, finetune_model
from tests import tiny

TRANSFER = ("mnli-mm", "snli")
CONFIG = FineTuneConfig(
    task="rte",
    method=dps.DPSDense(selection_ratio=0.5, update_ratio=0.25),
    learning_rate=5e-3,
    max_steps=16,
    batch_size=4,
    max_length=32,
    evaluations=2,
    transfer=TRANSFER,
    probe="cola",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rte, mnli, snli with its test set, and cola, each in a folder of its own."""
    place = tmp_path_factory.mktemp("tasks")
    for name in ("rte", "mnli", "snli", "cola"):
        tiny.data_folder(place / name, registry.get_task(name))
    rows = tiny.examples(registry.get_task("snli"), 25, 700)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "snli" / "test.jsonl").write_text(text, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def config(folder: Path, tiny_model: Path) -> FineTuneConfig:
    return replace(CONFIG, data=str(folder), model=str(tiny_model))


@pytest.fixture(scope="module")
def result(config: FineTuneConfig) -> FineTuneResult:
    return finetune(config)


def test_the_final_sets_are_those_of_the_task_the_transfer_and_the_probe(result: FineTuneResult) -> None:
    assert result.outcome == "completed"
    assert list(result.final) == ["dev", *TRANSFER, "probe"]
    assert list(result.logits) == list(result.labels) == ["dev", *TRANSFER]
    assert {name: logits.shape for name, logits in result.logits.items()} == {
        "dev": (24, 2), "mnli-mm": (24, 2), "snli": (25, 2),
    }  # fmt: skip
    assert result.final["dev"]["accuracy"] == result.score


def test_scoring_the_kept_logits_again_gives_the_final_scores(result: FineTuneResult) -> None:
    rte = registry.get_task("rte")
    kept = rte, result.labels["dev"], result.logits["dev"]
    figures = metrics.compute_scores(*kept) | metrics.compute_probability_scores(*kept)
    assert figures == result.final["dev"]
    assert list(figures) == ["accuracy", "log_loss", "calibration_error"]
    for name in TRANSFER:
        labels, logits = result.labels[name], result.logits[name]
        assert (
            transfer.compute_transfer_scores(rte, transfer.get_transfer_target(name), labels, logits)
            == result.final[name]
        )


@pytest.mark.parametrize(
    ("name", "file"), [("dev", "rte/dev"), ("mnli-mm", "mnli/dev_mismatched"), ("snli", "snli/test")]
)
def test_logits_and_labels_are_kept_in_the_order_of_the_examples(
    result: FineTuneResult, folder: Path, name: str, file: str
) -> None:
    lines = (folder / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    task = transfer.get_transfer_target(name).task if name in TRANSFER else registry.get_task("rte")
    assert result.labels[name].tolist() == [row["label"] for row in rows]
    assert result.model is not None
    assert result.tokenizer is not None
    alone = []
    with torch.inference_mode():
        for row in rows:
            tokens = result.tokenizer(*(row[column] for column in task.columns), return_tensors="pt")
            alone.append(result.model.eval()(**tokens).logits[0].numpy())
    np.testing.assert_allclose(result.logits[name], np.stack(alone), rtol=1e-4, atol=1e-5)
    assert len({tuple(logits) for logits in np.round(alone, 4).tolist()}) > len(rows) // 2  # they do differ


def test_the_probe_is_that_of_the_model_of_the_run(result: FineTuneResult, config: FineTuneConfig) -> None:
    rte, cola = registry.get_task("rte"), registry.get_task("cola")
    base = PretrainedEncoder(locate_model(config.model), rte)
    data = TaskData(rte, sources.open_data_source(config.data), base.tokenizer, config.max_length)
    assert result.model is not None
    expected = collapse.measure_collapse(base, result.model, data, data.for_task(cola))
    assert result.final["probe"] == pytest.approx(expected, abs=1e-4)
    assert {"cka_last", "distance_last", "probe_cola_matthews_correlation"} <= expected.keys()
    assert expected["distance_last"] > 0.01  # training did move the features


def test_passes_memory_and_coverage_are_filled_in(result: FineTuneResult) -> None:
    assert result.passes == 16
    assert result.peak_memory is None or result.peak_memory > 10 * 2**20
    assert result.covered.startswith("bert: 14 linear weights, ")


def test_an_interval_of_less_than_a_step_becomes_one_step(config: FineTuneConfig) -> None:
    """A search that varies epochs proposes such runs; it is told, and nothing fails."""
    short = replace(config, method=dps.DPSDense(update_ratio=0.05), max_steps=6, transfer=(), probe=None)
    result = finetune(short)
    assert result.outcome == "completed"
    assert 0 < (result.selected_share or 0) < 1
    assert any("6 steps is too short for DPSDense(" in line for line in result.warnings)


@pytest.mark.parametrize("steps", [1, 4, 49, 249, 2999])
def test_one_step_is_one_step(steps: int) -> None:
    """1 / 49 of 49 steps is 0.999... in floating point."""
    assert dps.StageSchedule(steps, dps.DPSDense().fit_to_length(steps).update_ratio).interval >= 1


def test_a_run_selected_on_a_holdout_does_not_look_at_dev(config: FineTuneConfig) -> None:
    result = finetune(replace(config, select_on="holdout", max_steps=4))
    assert result.outcome == "completed"
    assert list(result.final) == [*TRANSFER, "probe"]
    assert list(result.logits) == list(result.labels) == list(TRANSFER)


def test_an_evaluation_set_without_data_is_refused(config: FineTuneConfig) -> None:
    with pytest.raises(dps.InputError, match="scitail"):
        finetune(replace(config, transfer=("scitail",), max_steps=4, probe=None))


@pytest.mark.parametrize(("signal", "outcome"), [("stop", "stopped"), ("suspend", "suspended")])
def test_a_signal_takes_effect_while_the_training_set_is_looked_at(
    tiny_base: PretrainedEncoder, tiny_data: TaskData, tmp_path: Path, signal: ControlSignal, outcome: str
) -> None:
    left = iter(["go", "go", "go"])
    config = FineTuneConfig(method=make_method("child-tuning-d"), max_steps=8, batch_size=10, evaluations=1)
    keeping = Checkpointing(tmp_path)
    result = finetune_model(
        config, tiny_base, tiny_data, control=lambda: next(left, signal), checkpointing=keeping
    )
    assert (result.outcome, result.steps) == (outcome, 0)
    whole, again = (
        finetune_model(config, tiny_base, tiny_data, checkpointing=checkpointing)
        for checkpointing in (None, keeping)
    )
    assert again.outcome == "completed"  # it looks at the training set anew
    assert whole.model is not None
    assert again.model is not None
    assert tiny.same(tiny.snapshot(again.model), tiny.snapshot(whole.model))


def test_a_suspended_run_does_not_look_at_the_training_set_again(
    tiny_base: PretrainedEncoder, tiny_data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FineTuneConfig(method=make_method("child-tuning-d"), max_steps=8, batch_size=10, evaluations=1)
    whole, keeping = finetune_model(config, tiny_base, tiny_data), Checkpointing(tmp_path)
    left = iter(["go"] * 9)  # six batches to look at, three steps
    first = finetune_model(
        config, tiny_base, tiny_data, control=lambda: next(left, "suspend"), checkpointing=keeping
    )
    assert (first.outcome, first.steps) == ("suspended", 3)
    monkeypatch.setattr(config.method.attachment_class, "calibrate", None)
    second = finetune_model(config, tiny_base, tiny_data, checkpointing=keeping)
    assert second.scores == whole.scores
    assert second.model is not None
    assert whole.model is not None
    assert tiny.same(tiny.snapshot(second.model), tiny.snapshot(whole.model))
