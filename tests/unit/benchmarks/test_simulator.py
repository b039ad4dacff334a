"""Searches against a virtual clock: what is run, when, and what comes of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.simulator import Lookup, Simulation, Slot, simulate
from benchmarks.synthetic import Surface
from dps.training.result import Outcome
from tests.unit.tune.helpers import make_space, strategy
from tune.execution.tuner import MAX_TRIAL_FAILURES
from tune.strategy.budget import TrialLimit, WallTimeLimit

SPACE = make_space(("dps-dense",))
SURFACE = Surface(SPACE, at=[0.3, 0.6, 0.5])


@dataclass
class Plain:
    """A world of runs of 60 s, the later asked for the better; odd: other scores of some, by number."""

    steps: Sequence[int] = (20, 40, 60)
    odd: dict[int, float] = field(default_factory=dict)
    asked: list[tuple[dict[str, Any], int]] = field(default_factory=list)

    def run(self, configuration: dict[str, Any], seed: int) -> Lookup:
        number = len(self.asked)
        self.asked.append((configuration, seed))
        score = self.odd.get(number, 0.01 * number)
        return Lookup([(step, score) for step in self.steps], 60.0, 0.5)

    def truth(self, configuration: dict[str, Any]) -> float:
        return 0.5


def ran(world: Any, trials: int = 4, scheduler: str = "none", slots: int = 2, **changes: Any) -> Simulation:
    """A search with random proposals on `slots` slots."""
    each = changes.pop("each", [Slot()] * slots)
    plan = strategy(Path("nowhere"), trials, space=SPACE, sampler="random", slots=len(each), **changes)
    return simulate(plan, world, scheduler, each)


def outcomes(made: Simulation) -> Counter[str]:
    return Counter(str(record.outcome) for record in made.ledger.records("search"))


def test_time_passes_as_the_slots_allow() -> None:
    assert ran(Plain(), trials=4, slots=1).clock.now == (4 + 3) * 60
    assert ran(Plain(), trials=4, slots=2).clock.now == (2 + 2) * 60
    assert ran(Plain(), trials=4, slots=100).clock.now == (1 + 1) * 60
    assert ran(Plain(), trials=4, each=[Slot(speed=0.5)]).clock.now == (4 + 3) * 120


def test_a_search_and_its_confirmation_are_in_the_ledger_with_their_scores_and_seconds() -> None:
    world = Plain()
    made = ran(world, trials=4)
    assert outcomes(made) == {"completed": 4}
    assert [r.scores for r in made.ledger.records("search")] == [
        [(step, 0.01 * number) for step in world.steps] for number in range(4)
    ]
    assert made.searcher.confirmed_winner is not None
    assert made.searcher.confirmed_winner.number == 3
    replicates = made.ledger.records("confirmation")
    assert [(r.seed, r.final, r.scores) for r in replicates] == [
        (5 + 1 + number, {"dev": {"matthews_correlation": 0.5}}, [(60, 0.5)]) for number in range(3)
    ]
    assert {r.seconds for r in (*made.ledger.records("search"), *replicates)} == {60.0}
    assert made.searcher.spent().slot_seconds == 7 * 60
    assert world.asked == [(r.configuration, r.seed) for r in (*made.ledger.records("search"), *replicates)]


def test_what_falls_behind_is_stopped_and_frees_its_slot() -> None:
    world = Plain(odd={number: -float(number) for number in range(3, 12)})
    made = ran(world, trials=12, scheduler="asha", slots=1)
    assert outcomes(made) == {"completed": 3, "stopped": 9}
    assert made.clock.now == 3 * 60 + 9 * 20 + 3 * 60
    assert made.reports == 3 * 3 + 9 + 3


@pytest.mark.parametrize("scheduler", ["asha", "none"])
def test_what_diverges_ends_there_and_the_search_goes_on(scheduler: str) -> None:
    made = ran(Plain(odd={1: math.nan}), trials=4, scheduler=scheduler, slots=1)
    assert outcomes(made) == {"completed": 3, "diverged": 1}
    assert made.ledger.records("search")[1].scores == []
    assert made.clock.now == 3 * 60 + 20 + 3 * 60


def test_where_less_is_better_less_wins() -> None:
    made = ran(Plain(), trials=4, direction="min")
    assert made.searcher.confirmed_winner is not None
    assert made.searcher.confirmed_winner.number == 0


def test_stop_rules_see_the_virtual_clock() -> None:
    made = ran(Plain(), slots=1, rules=[WallTimeLimit(150), TrialLimit(100)])
    assert made.searcher.exploration_end == "time budget of 150 s"
    assert len(made.ledger.records("search")) == 3


def test_a_run_whose_slot_dies_goes_on_elsewhere_from_its_last_evaluation() -> None:
    made = ran(
        Plain(),
        trials=1,
        each=[Slot(dies_at=30, away=math.inf), Slot(dies_at=0, away=35)],
        confirmation_seeds=0,
    )
    (record,) = made.ledger.records("search")
    assert (record.outcome, [step for step, _ in record.scores]) == (Outcome.COMPLETED, [20, 40, 60])
    assert made.clock.now == 35 + 40
    assert record.slot == "1"


def test_a_slot_that_came_back_is_used_again() -> None:
    made = ran(Plain(), trials=2, each=[Slot(dies_at=110, away=50)], confirmation_seeds=0)
    assert outcomes(made) == {"completed": 2}
    assert made.clock.now == 110 + 50 + 20  # of the second run 10 s were lost


def test_a_run_that_loses_its_slot_once_too_often_is_lost() -> None:
    dying = [*(Slot(dies_at=10 + number) for number in range(MAX_TRIAL_FAILURES + 1)), Slot()]
    assert outcomes(ran(Plain(), trials=1, each=dying)) == {"lost": 1}
    assert outcomes(ran(Plain(), trials=1, each=dying[1:])) == {"completed": 1}


@pytest.mark.parametrize("scheduler", ["asha", "none"])
def test_many_slots_slow_and_dying_lose_no_trial(scheduler: str) -> None:
    rng = np.random.default_rng(0)
    slots = [
        Slot(
            speed=float(rng.uniform(0.2, 2)),
            dies_at=float(rng.uniform(0, 300)) if rng.random() < 0.3 else None,
        )
        for _ in range(50)
    ]
    made = ran(SURFACE, trials=300, scheduler=scheduler, each=slots)
    records = made.ledger.records("search")
    assert len(records) == 300
    assert all(record.outcome.is_final for record in records)
    assert set(outcomes(made)) <= {"completed", "stopped", "lost"}
    assert len(made.ledger.records("confirmation")) == 3


def test_the_same_search_twice_is_the_same() -> None:
    one, other = (ran(SURFACE, trials=40, scheduler="asha", slots=8) for _ in range(2))
    assert one.clock.now == other.clock.now
    assert [r.scores for r in one.ledger.records("search")] == [
        r.scores for r in other.ledger.records("search")
    ]


def test_stopping_early_costs_less_and_finds_about_as_good_a_configuration() -> None:
    quiet = Surface(SPACE, at=[0.3, 0.6, 0.5], seed_std=0, run_std=0, curve_std=0, collapse=0)
    full, early = (ran(quiet, trials=60, scheduler=kind, slots=4) for kind in ("none", "asha"))
    assert early.searcher.spent().slot_seconds < 0.7 * full.searcher.spent().slot_seconds
    chosen = [quiet.truth(made.searcher.confirmed_winner.configuration) for made in (full, early)]  # type: ignore[union-attr]
    assert chosen[1] == pytest.approx(chosen[0], abs=0.02)


def test_the_truth_of_a_surface_is_the_mean_over_its_seeds() -> None:
    configuration = SPACE.from_study_values(SPACE.draw_latin_hypercube(1, 3)[0])
    finals = np.array([SURFACE.run(configuration, seed).final for seed in range(4000)])
    assert finals.mean() == pytest.approx(SURFACE.truth(configuration), abs=4 * finals.std() / 4000**0.5)
    learnt = finals[finals != SURFACE.chance]
    assert len(learnt) / len(finals) == pytest.approx(1 - SURFACE.collapse, abs=0.02)
    assert learnt.std() == pytest.approx(math.hypot(SURFACE.seed_std, SURFACE.run_std), rel=0.1)


def test_seeds_are_paired_on_a_surface() -> None:
    quiet = Surface(SPACE, at=[0.3, 0.6, 0.5], run_std=0.01, seed_std=0.05, collapse=0)
    one, other = (SPACE.from_study_values(values) for values in SPACE.draw_latin_hypercube(2, 3))
    finals = np.array([[quiet.run(c, seed).final for c in (one, other)] for seed in range(500)])
    assert np.corrcoef(finals.T)[0, 1] > 0.9
    assert (finals[:, 0] - finals[:, 1]).std() == pytest.approx(0.01 * math.sqrt(2), rel=0.2)


def test_the_best_point_of_a_surface_is_where_it_says() -> None:
    truths = {
        tuple(values.values()): SURFACE.truth(SPACE.from_study_values(values))
        for values in SPACE.draw_latin_hypercube(200, 0)
    }
    assert max(truths.values()) <= SURFACE.best * (1 - SURFACE.collapse)
    assert max(truths.values()) == pytest.approx(SURFACE.best * (1 - SURFACE.collapse), abs=0.01)
