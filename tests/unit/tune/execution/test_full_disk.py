"""No room on the disk: nothing half written is left, and the search can go on once there is room."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from dps.errors import is_disk_full
from dps.methods import Vanilla
from dps.models import PretrainedEncoder
from dps.training import checkpoint
from dps.training.config import Checkpointing, FineTuneConfig
from dps.training.data import TaskData
from dps.training.result import Outcome
from dps.training.run import finetune_model
from tests.unit.tune.helpers import (
    SETTINGS,
    FakeTune,
    end_session,
    last_report,
    make_plan,
    open_ledger,
    strategy,
)
from tune.core import command
from tune.core.run import Job, RunReport
from tune.execution import worker
from tune.execution.job_folder import JobFolder
from tune.records import predictions
from tune.search_session import SearchSession
from tune.strategy.phases import SearchPhases

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(small_disk: Path) -> None:
    checkpoint.save_checkpoint(small_disk, 1, {"weight": torch.ones(100)})
    with pytest.raises(OSError, match=r"\.part-") as full:
        checkpoint.save_checkpoint(small_disk, 2, {"weight": torch.ones(400_000)})
    assert is_disk_full(full.value)
    assert [file.name for file in small_disk.iterdir()] == ["step-00000001"]
    loaded = checkpoint.load_checkpoint(small_disk)
    assert loaded is not None
    assert torch.equal(loaded["weight"], torch.ones(100))


def wrapped() -> Exception:
    try:
        try:
            raise FULL
        except OSError as error:
            raise RuntimeError("the run failed") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (FULL, True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (wrapped(), True),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), True),
        (SafetensorError('Os { code: 28, kind: StorageFull, message: "No space left on device" }'), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("full"), False),
        (None, False),
    ],
    ids=repr,
)
def test_how_a_full_disk_is_known(error: Exception | None, full: bool) -> None:
    assert is_disk_full(error) == full


def test_a_run_that_cannot_write_checkpoints_goes_on_and_says_so(
    tiny_base: PretrainedEncoder, tiny_data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise FULL

    monkeypatch.setattr(checkpoint, "save_checkpoint", full)
    config = FineTuneConfig(method=Vanilla(), max_steps=4, evaluations=4, batch_size=8)
    result = finetune_model(config, tiny_base, tiny_data, checkpointing=Checkpointing(tmp_path, every_s=0.0))
    assert (result.outcome, result.steps) == ("completed", 4)
    assert [w for w in result.warnings if "checkpoint" in w] == [
        "no checkpoint could be written from step 1 on: [Errno 28] No space left on device"
    ]


class Mailbox:
    """Enough of one for a worker."""

    wait_for_signal = SimpleNamespace(remote=lambda job: None)


@pytest.mark.parametrize(("error", "outcome"), [(FULL, Outcome.SUSPENDED), (OSError(errno.EIO, "x"), None)])
def test_a_confirmation_whose_results_do_not_fit_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, outcome: Outcome | None
) -> None:
    def full(*args: object) -> None:
        raise error

    done = SimpleNamespace(outcome="completed", logits={}, labels={}, warnings=[])
    monkeypatch.setattr(worker, "finetune_model", lambda *args, **kwargs: done)
    monkeypatch.setattr(predictions, "write_predictions", full)
    configuration = {"method": "vanilla", "learning_rate": 1e-4}
    job = Job("confirm-0", "confirmation", configuration, 1, SETTINGS, str(tmp_path))
    kept = tmp_path / "checkpoints" / "step-00000001"
    kept.mkdir(parents=True)
    one, job_folder = worker._Worker(Mailbox(), "slot", 60.0), JobFolder(job.location, is_writer=True)
    monkeypatch.setattr(one, "_load_inputs", lambda job: (None, None))
    if outcome is None:
        with pytest.raises(OSError, match="x"):
            one._fine_tune(job, job_folder)
        return
    result = one._fine_tune(job, job_folder)
    assert result.outcome == outcome
    assert result.error is not None
    assert "No space left on device" in result.error
    assert kept.exists()


def make_search(tmp_path: Path, **changes: Any) -> SearchPhases:
    return SearchPhases(open_ledger(tmp_path), strategy(tmp_path / "work", **changes), [], lambda: False)


def test_a_slot_that_cannot_write_ends_the_search_and_loses_no_trial(tmp_path: Path) -> None:
    search = make_search(tmp_path)

    def end(job: Job) -> RunReport:
        return last_report(job.id, Outcome.SUSPENDED, error="no room in work: No space left on device")

    with pytest.raises(OSError, match="no room in work") as full:
        FakeTune(search, end=end).run()
    assert is_disk_full(full.value)
    held = open_ledger(tmp_path).records("search")
    assert {record.outcome for record in held} == {Outcome.RUNNING}
    FakeTune(make_search(tmp_path)).run()
    ended = open_ledger(tmp_path).records("search")
    assert [record.outcome for record in ended] == [Outcome.COMPLETED] * 12
    assert ended[0].configuration == held[0].configuration


def test_a_ledger_that_cannot_be_written_ends_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = make_search(tmp_path)

    def full(*args: object) -> None:
        raise RuntimeError("(sqlite3.OperationalError) database or disk is full")

    monkeypatch.setattr(search.ledger, "finish", full)
    with pytest.raises(RuntimeError, match="disk is full"):
        FakeTune(search).run()
    with pytest.raises(RuntimeError, match="disk is full"):
        search.raise_first_error()


def test_checkpoints_of_trials_that_are_over_do_not_stay(tmp_path: Path) -> None:
    search = make_search(tmp_path, trials=2)

    def end(job: Job) -> None:
        (Path(job.location) / "checkpoints" / "step-00000001").mkdir(parents=True)
        # the slot is lost: nobody there tidies up

    FakeTune(search, end=end).run()
    assert {record.outcome for record in search.ledger.records("search")} == {Outcome.LOST}
    assert list((tmp_path / "work").rglob("step-*")) == []


@pytest.mark.parametrize(("error", "status"), [(FULL, command.EXIT_INTERRUPTED), (ValueError("x"), 1)])
def test_the_command_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    status: int,
) -> None:
    (tmp_path / "out").mkdir()
    search = SearchSession(make_plan(output=tmp_path / "out", tracking_uri="none"))

    def broken(*values: object) -> None:
        raise RuntimeError("The Ray Tune run failed") from error

    monkeypatch.setattr("tune.execution.run_trials", broken)
    assert end_session(search.run) == status
    said = capsys.readouterr().err
    assert f"--resume {tmp_path / 'out'}" in said
    assert ("the disk is full; make room" in said) == (error is FULL)
    assert ("and for Ray's files in " in said) == (error is FULL)  # it may be that disk
    assert said.count("\n") == 1
