"""A slot that hears that the search stops, and one that hears of nothing any more."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError

from dps.training.result import Outcome
from tests.unit.tune.execution.test_worker import died
from tests.unit.tune.helpers import last_report
from tune.execution import trainable, tuner, watchdog


@pytest.mark.parametrize("lost", [False, True])
def test_a_run_is_suspended_when_the_signal_is_set_and_not_when_it_is_lost(
    monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    slot: Any = object.__new__(trainable.SlotTrainable)
    slot.pending_report, slot.stop_requested = "report", "stop"
    suspended = last_report("3", Outcome.SUSPENDED)
    monkeypatch.setattr(slot, "_suspend", lambda: suspended)
    heard = SimpleNamespace(wait=lambda *_, **__: (["stop"], ["report"]), get=died if lost else print)
    monkeypatch.setattr(trainable, "ray", heard)
    if lost:
        with pytest.raises(RayActorError):
            slot.step()
    else:
        assert slot.step()["report"] is suspended


class Hanging:
    """A mailbox of which nothing is heard; killed: whether it was ended."""

    def __init__(self) -> None:
        self.killed = False

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *_: name)


@pytest.mark.parametrize("stopping", [False, True])
@pytest.mark.parametrize("act", ["_submit_job", "step", "cleanup"])
def test_a_slot_waits_for_no_mailbox_without_an_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, act: str, stopping: bool
) -> None:
    mailbox = Hanging()

    def wait(asked: list[Any], timeout: float, num_returns: int = 1) -> tuple[list[Any], list[Any]]:
        return [each for each in asked if each == "stop" and stopping], []

    heard = SimpleNamespace(wait=wait, get=died, kill=lambda actor: setattr(actor, "killed", True))
    monkeypatch.setattr(trainable, "ray", heard)
    monkeypatch.setattr(watchdog, "ray", heard)
    slot: Any = object.__new__(trainable.SlotTrainable)
    slot.mailbox, slot.stop_requested, slot.folder = mailbox, "stop", str(tmp_path)
    slot.pending_report, slot.group = (
        "report",
        SimpleNamespace(is_alive=lambda: True, join=lambda timeout: None),
    )
    slot.slot = SimpleNamespace(step_timeout_s=0.0)
    slot.watchdog = watchdog.Watchdog(mailbox, "slot", 0.0, None)
    monkeypatch.setattr(slot, "_suspend", lambda: last_report("3", Outcome.SUSPENDED))
    if act == "cleanup":
        slot.cleanup()
        assert mailbox.killed
    elif act == "_submit_job" and stopping:
        slot._submit_job(slot.slot)
    elif act == "_submit_job":
        with pytest.raises(TimeoutError, match="no answer from the slot's mailbox"):
            slot._submit_job(slot.slot)
    elif not stopping:
        slot.job = slot.slot
        with pytest.raises(TimeoutError, match="no answer from the slot's mailbox"):
            slot.step()
        assert mailbox.killed


def test_tune_saves_nothing_of_a_trial_where_the_drivers_folder_need_not_be(tmp_path: Path) -> None:
    """Tune would save a trial at its end in the folder of the driver, and retry it where it cannot."""
    saving = tuner.make_run_config(tmp_path).checkpoint_config
    assert saving is not None
    assert (saving.checkpoint_at_end, saving.checkpoint_frequency) == (False, 0)
