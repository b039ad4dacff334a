"""A slot that hears that the search stops, and one that hears of nothing any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError

from dps.training.result import Outcome
from tests.unit.tune.execution.test_worker import died
from tests.unit.tune.helpers import last_report
from tune.execution import trainable


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
