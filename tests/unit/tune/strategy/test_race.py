"""The race: who runs next on which seed, and why it ends, on ledgers written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.tune.helpers import STEPS
from tests.unit.tune.strategy.test_estimator import RATES, SEED, SPACE, explored, run
from tune.records.ledger import Ledger
from tune.strategy.estimator import Estimator
from tune.strategy.race import RACE_SEED_OFFSET, Race, RaceSettings


def make_race(estimator: Estimator, **changes: Any) -> Race:
    settings = {"max_seeds": 4, "max_cost_ratio": 10.0, "min_gain": 0.0} | changes
    return Race(estimator, RaceSettings(**settings), SEED)


def proven(scores: list[float], replicates: int = 2) -> tuple[Ledger, Estimator]:
    """The two best have had so many further seeds, with much the same scores."""
    ledger, estimator = explored(scores)
    for index in np.argsort(scores)[-2:]:
        for seed in range(replicates):
            last = scores[index] + 0.03 * (-1) ** (seed + index)
            run(ledger, RATES[index], [0.5 * last, 0.8 * last, last], SEED + RACE_SEED_OFFSET + seed, "race")
    return ledger, estimator


def test_who_is_far_ahead_on_one_seed_runs_on_the_next_first() -> None:
    ledger, estimator = explored([0.10, 0.12, 0.50, 0.20, 0.11, 0.10, 0.12, 0.11])
    race, seen = make_race(estimator), []
    for _ in range(6):
        choice = race.next_replicate([])
        assert choice is not None
        seen.append((choice[0]["learning_rate"], choice[1]))
        run(ledger, choice[0]["learning_rate"], [0.1, 0.15, 0.2], choice[1], "race")
    assert seen[0] == (RATES[2], SEED + RACE_SEED_OFFSET)
    assert {rate for rate, _ in seen} == {RATES[2], RATES[3]}  # it was lucky: the next gets its chance
    assert len(set(seen)) == len(seen)


def test_the_promising_race_on_the_same_seeds() -> None:
    ledger, estimator = proven([0.10, 0.12, 0.50, 0.49, 0.11, 0.10, 0.12, 0.11])
    race, seen = make_race(estimator), []
    for _ in range(4):
        choice = race.next_replicate([])
        if choice is None:
            break
        seen.append((choice[0]["learning_rate"], choice[1]))
        run(ledger, choice[0]["learning_rate"], [0.2, 0.3, 0.5], choice[1], "race")
    assert {rate for rate, _ in seen} <= {RATES[2], RATES[3]}
    assert len(set(seen)) == len(seen) >= 2
    order = [SEED + RACE_SEED_OFFSET + number for number in range(2, 4)]
    for rate in (RATES[2], RATES[3]):
        seeds = [seed for other, seed in seen if other == rate]
        assert seeds == order[: len(seeds)]


def test_what_is_under_way_is_not_run_twice() -> None:
    ledger, estimator = explored([0.10, 0.12, 0.50, 0.49, 0.11, 0.10, 0.12, 0.11])
    race, running = make_race(estimator), []
    for _ in range(4):
        choice = race.next_replicate(running)
        assert choice is not None
        running.append(ledger.replicate(choice[0], SPACE, choice[1], "race"))
    assert len({(record.configuration["learning_rate"], record.seed) for record in running}) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_cost_ratio": 0.01}, "1 % of the exploration's training is used"),
        ({"min_gain": 9.0}, "not more than its cost of 9e+02"),
        ({"max_seeds": 0}, "every configuration has run with every seed"),
    ],
)
def test_a_race_ends_and_says_why(changes: dict[str, Any], reason: str) -> None:
    _, estimator = proven([0.40, 0.42, 0.50, 0.49, 0.41, 0.40, 0.42, 0.41])
    race = make_race(estimator, **changes)
    assert race.next_replicate([]) is None
    assert race.end_reason is not None
    assert reason in race.end_reason


def test_the_same_ledger_decides_the_same() -> None:
    _, estimator = explored([0.40, 0.42, 0.50, 0.49, 0.41, 0.40, 0.42, 0.41])
    again = Estimator(estimator.source, "max", len(STEPS), 0.0)
    assert make_race(estimator).next_replicate([]) == make_race(again).next_replicate([])
