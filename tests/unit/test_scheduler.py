"""Early stopping: who may be stopped, and whose scores count."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from tests.unit.tune_helpers import SETTINGS
from tune.job import Job, Purpose, Report
from tune.outcomes import Outcome
from tune.scheduler import SearchScheduler

GO, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP
STEPS, EVALUATIONS = 60, 6  # rungs of ASHA: 10, 30


class FakeController:
    """What the scheduler uses of Tune's controller."""

    def __init__(self) -> None:
        self.warm: list[tuple[Any, int]] = []
        self._actor_cache = SimpleNamespace(increase_max=lambda group, most: self.warm.append((group, most)))


class Rig:
    """A scheduler with its controller."""

    def __init__(self, kind: str = "asha", direction: str = "max", evaluations: int = EVALUATIONS) -> None:
        self.scheduler = SearchScheduler(kind, direction, STEPS, evaluations, slots=3)
        self.controller = FakeController()

    def trial(self, id: str, purpose: Purpose = "search") -> Any:
        job = Job(id, purpose, {"method": "vanilla", "learning_rate": 1e-4}, 0, SETTINGS, "")
        made = SimpleNamespace(trial_id=id, config={"job": job}, placement_group_factory="group")
        self.scheduler.on_trial_add(self.controller, made)
        return made

    def tell(self, trial: Any, score: float | None, step: int = 10, max_steps: int = STEPS) -> str:
        return self.scheduler.on_trial_result(self.controller, trial, result(score, step, max_steps))

    def good(self, count: int = 3, step: int = 10) -> None:
        """Trials that did well at this step."""
        for number in range(count):
            assert self.tell(self.trial(f"good-{step}-{number}"), 0.8, step) == GO


def result(
    score: float | None, step: int, max_steps: int = STEPS, outcome: str | None = None
) -> dict[str, Any]:
    report = Report("0", outcome, step, max_steps, score)
    return {"training_step": step, "score": math.nan if score is None else score, "report": report}


@pytest.mark.parametrize("step", [10, 30])
def test_what_is_worse_than_its_rung_is_stopped(step: int) -> None:
    rig = Rig()
    rig.good(step=step)
    assert rig.tell(rig.trial("bad"), 0.2, step) == STOP
    assert rig.tell(rig.trial("better"), 0.9, step) == GO


def test_where_less_is_better_more_is_stopped() -> None:
    rig = Rig(direction="min")
    rig.good()
    assert rig.tell(rig.trial("bad"), 0.9) == STOP
    assert rig.tell(rig.trial("better"), 0.2) == GO


def test_nothing_is_stopped_before_the_first_rung() -> None:
    rig = Rig()
    rig.good(step=5)
    assert rig.tell(rig.trial("bad"), 0.0, 5) == GO


def test_a_confirmation_is_never_stopped() -> None:
    rig = Rig()
    rig.good()
    trial = rig.trial("confirm-0", "confirm")
    assert [rig.tell(trial, score, step) for score, step in ((0.0, 10), (-1.0, 30), (0.0, 60))] == [GO] * 3


def test_a_confirmation_does_not_count_in_the_rungs() -> None:
    rig = Rig()
    for number in range(5):
        trial = rig.trial(f"confirm-{number}", "confirm")
        rig.tell(trial, 0.99)
        rig.scheduler.on_trial_complete(rig.controller, trial, result(0.99, 60, 60, Outcome.COMPLETED))
    assert rig.tell(rig.trial("0"), 0.1) == GO


@pytest.mark.parametrize("max_steps", [60, 50])
def test_a_trial_that_has_done_all_its_steps_is_not_stopped(max_steps: int) -> None:
    rig = Rig()
    rig.good()
    assert rig.tell(rig.trial("bad"), 0.0, max_steps, max_steps) == GO


@pytest.mark.parametrize(
    "outcome", [Outcome.FAILED, Outcome.DIVERGED, Outcome.LOST, Outcome.OUT_OF_MEMORY, Outcome.SUSPENDED]
)
def test_a_trial_that_failed_does_not_count_in_the_rungs(outcome: Outcome) -> None:
    rig = Rig()
    for number in range(5):
        rig.scheduler.on_trial_complete(
            rig.controller, rig.trial(f"bad-{number}"), result(0.99, 10, STEPS, outcome)
        )
    assert rig.tell(rig.trial("0"), 0.1) == GO


def test_a_trial_that_completed_counts_in_the_last_rung() -> None:
    rig = Rig()
    for number in range(3):
        rig.scheduler.on_trial_complete(
            rig.controller, rig.trial(f"done-{number}"), result(0.9, 60, 60, Outcome.COMPLETED)
        )
    assert rig.tell(rig.trial("0"), 0.1, 30) == STOP


@pytest.mark.parametrize("scores", [[None] * 4, [math.nan] * 4, [None, math.nan, None, math.nan]])
@pytest.mark.filterwarnings("ignore:All-NaN")
def test_scores_that_are_missing_neither_stop_nor_poison_a_rung(scores: Iterable[float | None]) -> None:
    rig = Rig()
    assert [rig.tell(rig.trial(f"odd-{n}"), score) for n, score in enumerate(scores)] == [GO] * 4
    rig.good()
    assert rig.tell(rig.trial("bad"), 0.2) == STOP
    assert rig.tell(rig.trial("better"), 0.9) == GO


@pytest.mark.parametrize("rig", [Rig("none"), Rig("asha", evaluations=1)])
def test_without_asha_or_with_one_evaluation_nothing_is_stopped(rig: Rig) -> None:
    rig.good()
    trial = rig.trial("bad")
    assert [rig.tell(trial, 0.0, step) for step in (10, 30, 60)] == [GO] * 3
    rig.scheduler.on_trial_complete(rig.controller, trial, result(0.0, 60, 60, Outcome.COMPLETED))


def test_every_slot_stays_warm() -> None:
    rig = Rig()
    rig.good(5)
    assert rig.controller.warm == [("group", 3)]
