"""A worker whose mailbox dies before or after the end of a run: what the next one needs is still there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError

from dps.training.config import FineTuneResult
from dps.training.result import Outcome
from tests.unit.tune.helpers import SETTINGS
from tune.core.run import Job, RunReport
from tune.execution import worker


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
    one = worker._Worker(Mailbox(taken), "slot", 60.0, "")
    monkeypatch.setattr(one, "_load_inputs", lambda settings: (None, None))
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
