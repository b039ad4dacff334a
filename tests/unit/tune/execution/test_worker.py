"""A worker whose mailbox dies before or after the end of a run: what the next one needs is still there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayActorError

from dps.paths import hash_file
from dps.training.config import FineTuneResult
from dps.training.result import Evaluation, Outcome
from tests.unit.tune.helpers import SETTINGS
from tune.core.run import Job, RunReport
from tune.execution import worker
from tune.execution.job_folder import JobFolder
from tune.records.predictions import PREDICTIONS_FILE


def died(*_: object) -> Any:
    raise RayActorError


class Mailbox:
    """Takes reports as long as it lives."""

    def __init__(self, taken: Callable[[RunReport], Any]) -> None:
        self.put_report = SimpleNamespace(remote=taken)
        self.wait_for_signal = SimpleNamespace(remote=lambda job: None)


def job(folder: Path, number: int) -> Job:
    configuration = {"method": "vanilla", "learning_rate": 1e-4}
    return Job(str(number), "search", configuration, 0, SETTINGS, str(folder / f"trial-{number}"))


def make_worker(
    monkeypatch: pytest.MonkeyPatch, folder: Path, taken: Callable[[RunReport], Any], ends: Callable[..., Any]
) -> tuple[Any, Callable[[int], bool]]:
    """(a worker whose runs end like this, whether a trial has a checkpoint)."""
    for number in (0, 1):
        (folder / f"trial-{number}/checkpoints/step-00000010").mkdir(parents=True)
    monkeypatch.setattr(worker, "finetune_model", ends)
    monkeypatch.setattr(worker.ray, "get", lambda answer: answer)
    one = worker._Worker(Mailbox(taken), "slot", 60.0)
    monkeypatch.setattr(one, "_load_inputs", lambda job: (None, None))
    return one, lambda number: any((folder / f"trial-{number}/checkpoints").glob("step-*"))


def completed(*_: object, **__: object) -> FineTuneResult:
    return FineTuneResult(outcome=Outcome.COMPLETED, scores=[(20, 0.5)])


def broken(*_: object, **__: object) -> FineTuneResult:
    raise RuntimeError("of the user's data")


@pytest.mark.parametrize(("taken", "ends"), [(died, completed), (died, broken), (print, died)])
def test_a_run_of_whose_end_nobody_hears_keeps_its_checkpoints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, taken: Callable[..., Any], ends: Callable[..., Any]
) -> None:
    one, has_checkpoint = make_worker(monkeypatch, tmp_path, taken, lambda *_, **__: ends())
    with pytest.raises(RayActorError):
        one.run_job(job(tmp_path, 0))
    assert has_checkpoint(0)


@pytest.mark.parametrize(("ends", "outcome"), [(completed, Outcome.COMPLETED), (broken, Outcome.FAILED)])
def test_checkpoints_go_when_the_next_job_shows_that_the_end_was_heard_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends: Callable[..., Any], outcome: Outcome
) -> None:
    reports: list[RunReport] = []
    one, has_checkpoint = make_worker(monkeypatch, tmp_path, reports.append, ends)
    one.run_job(job(tmp_path, 0))
    assert has_checkpoint(0)
    one.run_job(job(tmp_path, 1))
    assert [report.outcome for report in reports] == [outcome, outcome]
    assert not has_checkpoint(0)
    assert has_checkpoint(1)


def test_results_would_outlast_a_power_cut_before_the_ledger_hears_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def save(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text("{}")

    logits = {"dev": np.zeros((2, 2), np.float32)}
    ended = FineTuneResult(outcome=Outcome.COMPLETED, logits=logits, labels={"dev": np.arange(2)})
    monkeypatch.setattr(ended, "save", save)
    monkeypatch.setattr(worker, "finetune_model", lambda *_, **__: ended)
    one, _ = make_worker(monkeypatch, tmp_path, print, lambda *_, **__: ended)
    confirming = replace(job(tmp_path, 0), purpose="confirmation", keep_model=True)
    on_disk = set[int]()
    monkeypatch.setattr(os, "fsync", lambda descriptor: on_disk.add(os.fstat(descriptor).st_ino))
    result = one._fine_tune(confirming, JobFolder(confirming.location, is_writer=True))
    written = [path for path in (tmp_path / "trial-0").rglob("*") if "checkpoints" not in path.parts]
    assert {path.name for path in written} == {PREDICTIONS_FILE, "model", "model.safetensors", "config.json"}
    assert {path.stat().st_ino for path in written} <= on_disk
    assert result.predictions_sha256 == hash_file(tmp_path / "trial-0" / PREDICTIONS_FILE)


def test_a_run_that_is_stopped_has_told_whether_it_collapsed_by_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a run that the scheduler stops, the report of its last evaluation is all that is known."""

    def evaluate(*_: object, report: Callable[[Evaluation], None], **__: object) -> FineTuneResult:
        report(Evaluation(20, 60, {"f1": 0.5}, 0.7, 3.0, [(20, 0.5)], top_share=1.0))
        return completed()

    reports: list[RunReport] = []
    one, _ = make_worker(monkeypatch, tmp_path, reports.append, evaluate)
    one.run_job(job(tmp_path, 0))
    assert (reports[0].result.scores, reports[0].result.is_collapsed) == ([(20, 0.5)], True)


def test_the_step_is_told_now_and_then_and_that_a_run_is_scored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def train(*_: object, progress: Callable[[int, int, float], None], **__: object) -> FineTuneResult:
        for step in range(1, 61):
            progress(step, 60, step / 10)
        return completed()

    reports: list[RunReport] = []
    one, _ = make_worker(monkeypatch, tmp_path, reports.append, train)
    one.progress_every_s = 1000.0
    one.run_job(job(tmp_path, 0))
    told = [(str(report.progress), report.result.seconds) for report in reports[:-1]]
    assert told == [("1/60", 0.1), ("scoring", 6.0)]
    assert not any(report.is_last or report.evaluation for report in reports[:-1])


def test_inputs_stay_in_memory_by_what_they_are_read_from_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A slot runs jobs of several tasks, models and data; each is checked against its own fingerprints."""

    def load(task: str, data: str, model: str, length: int, cache: object, known: Any) -> SimpleNamespace:
        made.append((task, data, model, length, known["dev"]))
        return SimpleNamespace()

    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr(worker, "load_run_inputs", load)
    one, plain = (
        worker._Worker(Mailbox(print), "slot", 60.0),
        replace(job(tmp_path, 0), fingerprints={"dev": "a"}),
    )
    jobs = [
        plain,
        replace(plain, settings=replace(SETTINGS, task="rte", model="other")),
        replace(plain, fingerprints={"dev": "b"}),
    ]
    kept = [one._load_inputs(each) for each in jobs]
    assert [one._load_inputs(replace(each, id="9", seed=5)) for each in jobs] == kept
    assert made == [
        ("cola", "builtin", "builtin", 128, "a"),
        ("rte", "builtin", "other", 128, "a"),
        ("cola", "builtin", "builtin", 128, "b"),
    ]
    one._load_inputs(replace(plain, settings=replace(SETTINGS, max_length=64)))
    assert len(one.loaded) == worker.MAX_LOADED_INPUTS
    assert one._load_inputs(jobs[1]) is kept[1]
    assert one._load_inputs(plain) is not kept[0]
