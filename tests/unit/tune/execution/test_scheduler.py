"""Early stopping: who may be stopped, and whose scores count."""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from dps.training.result import Outcome
from tests.unit.tune.helpers import SETTINGS, progress_report, strategy
from tune.core.run import Job, RunPurpose, RunReport
from tune.execution.scheduler import SearchScheduler
from tune.records.ledger import Ledger
from tune.strategy.arms import Arms
from tune.strategy.early_stopping import EARLY_STOPPING_NAMES, EarlyStoppingPolicy, NoEarlyStopping
from tune.strategy.phases import SearchPhases

GO, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP
STEPS, EVALUATIONS = 60, 6  # rungs of ASHA: 10, 30


class FakeController:
    """What the scheduler uses of Tune's controller."""

    def __init__(self) -> None:
        self.warm: list[tuple[Any, int]] = []
        self._actor_cache = SimpleNamespace(
            increase_max=lambda group, most: self.warm.append((group, most)), num_cached_objects=0
        )
        self.live: list[Any] = []
        self.all: list[Any] = []
        self._trial_to_actor: dict[Any, str] = {}
        self.let_go = 0

    def get_live_trials(self) -> list[Any]:
        return self.live

    def get_trials(self) -> list[Any]:
        return self.all

    def _cleanup_cached_actors(self, force_all: bool) -> None:
        assert force_all
        self.let_go += self._actor_cache.num_cached_objects
        self._actor_cache.num_cached_objects = 0


class FakePolicy(NoEarlyStopping):
    """Notes what it is told; stops everything."""

    def __init__(self) -> None:
        super().__init__(STEPS)
        self.told: list[tuple[Any, ...]] = []

    def should_stop(self, trial: str, step: int, score: float | None) -> bool:
        self.told.append((trial, step, score))
        return True

    def record_completion(self, trial: str, score: float | None) -> None:
        self.told.append((trial, "completed", score))

    def record_earlier(self, trial: str, step: int, score: float | None) -> None:
        raise AssertionError("the adapter replays nothing")


class Rig:
    """A scheduler with its controller."""

    def __init__(self, policy: EarlyStoppingPolicy | str = "asha", direction: str = "max") -> None:
        name = policy if isinstance(policy, str) else "none"
        plan = strategy(
            Path("work"),
            slots=3,
            direction=direction,
            scheduler=name,
            evaluations=EVALUATIONS,
        )
        ledgers = [Ledger(None, direction, arm) for arm in ("", "arm")]
        searches = [SearchPhases(ledger, plan, [], lambda: False) for ledger in ledgers]
        for search in searches:
            search.early_stopping = search.early_stopping if isinstance(policy, str) else policy
        self.searches = {search.ledger.arm: search for search in searches}
        self.scheduler = SearchScheduler(Arms(searches))
        self.controller = FakeController()
        self.ids = itertools.count(100)

    def trial(self, id: str | None = None, purpose: RunPurpose = "search") -> Any:
        name = id or str(next(self.ids))
        job = Job(name, purpose, {"method": "vanilla", "learning_rate": 1e-4}, 0, SETTINGS, "")
        made = SimpleNamespace(
            trial_id=f"what Tune calls {name}", config={"job": job}, placement_group_factory="group"
        )
        self.scheduler.jobs.owners[made.trial_id] = self.searches[job.arm]
        self.scheduler.on_trial_add(self.controller, made)
        return made

    def tell(self, trial: Any, score: float, step: int = 10, max_steps: int = STEPS) -> str:
        return self.scheduler.on_trial_result(self.controller, trial, result(score, step, max_steps))

    def good(self, count: int = 3, step: int = 10) -> None:
        """Trials that did well at this step."""
        for _ in range(count):
            assert self.tell(self.trial(), 0.8, step) == GO


def result(
    score: float, step: int, max_steps: int = STEPS, outcome: Outcome = Outcome.RUNNING
) -> dict[str, Any]:
    report = progress_report("0", step, max_steps, score, outcome=outcome)
    every = max_steps // EVALUATIONS
    curve = [(at, score) for at in range(every, step + 1, every)] or [(step, score)]
    evaluation = replace(report.evaluation, curve=curve)  # type: ignore[type-var]
    return {"score": score, "report": replace(report, evaluation=evaluation)}


@pytest.mark.parametrize("step", [10, 30])
def test_what_is_worse_than_its_rung_is_stopped(step: int) -> None:
    rig = Rig()
    rig.good(step=step)
    assert rig.tell(rig.trial(), 0.2, step) == STOP
    assert rig.tell(rig.trial(), 0.9, step) == GO


def test_arms_are_stopped_by_their_own_trials_alone() -> None:
    rig = Rig()
    rig.good()
    assert rig.tell(rig.trial("arm:0"), 0.2) == GO
    assert rig.tell(rig.trial("arm:1"), 0.1) == STOP


def test_where_less_is_better_more_is_stopped() -> None:
    rig = Rig(direction="min")
    rig.good()
    assert rig.tell(rig.trial(), 0.9) == STOP
    assert rig.tell(rig.trial(), 0.2) == GO


def test_a_confirmation_is_never_stopped() -> None:
    rig = Rig()
    rig.good()
    trial = rig.trial("confirm-0", "confirmation")
    assert [rig.tell(trial, score, step) for score, step in ((0.0, 10), (-1.0, 30), (0.0, 60))] == [GO] * 3


@pytest.mark.parametrize("max_steps", [60, 50])
def test_a_trial_that_has_done_all_its_steps_is_not_stopped(max_steps: int) -> None:
    rig = Rig()
    rig.good()
    assert rig.tell(rig.trial(), 0.0, max_steps, max_steps) == GO


@pytest.mark.parametrize("kind", EARLY_STOPPING_NAMES)
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_what_diverged_is_stopped_and_poisons_no_rung(kind: str, score: float) -> None:
    rig = Rig(kind)
    assert [rig.tell(rig.trial(), score) for _ in range(4)] == [STOP] * 4
    rig.good(6)
    assert rig.tell(rig.trial(), 0.2) == (GO if kind == "none" else STOP)
    assert rig.tell(rig.trial(), 0.9) == GO


@pytest.mark.parametrize("kind", EARLY_STOPPING_NAMES)
@pytest.mark.parametrize("score", [math.nan, 0.1])
def test_what_has_done_all_its_steps_or_was_not_evaluated_yet_goes_on(kind: str, score: float) -> None:
    rig = Rig(kind)
    rig.good(6)
    assert rig.tell(rig.trial(), score, STEPS) == GO
    answer = rig.scheduler.on_trial_result(rig.controller, rig.trial(), {"report": RunReport("0")})
    assert answer == GO


def test_without_a_rule_nothing_is_stopped() -> None:
    rig = Rig("none")
    rig.good()
    trial = rig.trial()
    assert [rig.tell(trial, 0.0, step) for step in (10, 30, 60)] == [GO] * 3


@pytest.mark.parametrize(("direction", "sign"), [("max", 1), ("min", -1)])
def test_the_policy_knows_trials_by_the_ids_of_the_ledger_and_higher_is_better(
    direction: str, sign: int
) -> None:
    policy = FakePolicy()
    rig = Rig(policy, direction)
    trial = rig.trial("arm:7")
    assert rig.tell(trial, 0.25) == STOP
    assert rig.tell(trial, 0.75, 20) == STOP
    assert policy.told == [
        ("arm:7", 1, sign * 0.25),
        ("arm:7", 2, sign * 0.75),
    ]


def test_tune_can_write_it_down_whatever_the_policy_holds() -> None:
    policy = FakePolicy()
    policy.lock = threading.Lock()  # type: ignore[attr-defined]
    cloudpickle.loads(cloudpickle.dumps(Rig(policy).scheduler))


def test_every_slot_stays_warm() -> None:
    rig = Rig()
    rig.good(5)
    assert rig.controller.warm == [("group", 3)]


def test_as_many_slots_stay_warm_as_there_are_now() -> None:
    rig = Rig()
    for number in (3, 5, 4):
        rig.scheduler.slots.become(number)
        rig.trial()
    assert rig.controller.warm == [("group", 3), ("group", 2), ("group", -1)]


def test_a_slot_without_work_is_let_go_where_a_trial_may_wait_for_its_cores() -> None:
    rig = Rig()
    rig.controller.live = [SimpleNamespace(status=status) for status in ("RUNNING", "RUNNING", "PENDING")]
    rig.controller._actor_cache.num_cached_objects = 1
    assert rig.scheduler.choose_trial_to_run(rig.controller) is None
    assert rig.controller.let_go == 0
    rig.scheduler.slots.become(2)
    for _ in range(2):
        rig.scheduler.choose_trial_to_run(rig.controller)
    assert rig.controller.let_go == 1


def test_a_slot_that_is_starting_is_not_given_up_for_an_idle_one() -> None:
    rig = Rig()
    lost, starting = (Trial("job", stub=True) for _ in range(2))
    rig.controller.all = [starting]
    assert rig.scheduler.choose_trial_to_run(rig.controller) is starting
    rig.controller._trial_to_actor[starting] = "its slot"
    assert rig.scheduler.choose_trial_to_run(rig.controller) is None
    rig.controller.all = [lost]
    assert rig.scheduler.choose_trial_to_run(rig.controller) is lost
