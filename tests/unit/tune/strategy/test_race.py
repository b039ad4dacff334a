"""The race: who runs next on which seed, and how configurations stand, on runs written by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dps.training.result import Outcome
from tests.unit.tune.helpers import make_record
from tune.core.common_options import MAX_FRESH_SEEDS
from tune.records.ledger import TrialRecord
from tune.strategy.race import (
    RACE_SEED_OFFSET,
    choose_raced,
    choose_replicate,
    find_leader,
    rank_configurations,
)

SEED, SEEDS = 5, (1005, 1006)


def run(trial: int, score: float | None, seed: int = SEED) -> TrialRecord:
    """A run of the configuration of a trial: that trial itself, or with another seed one of the race.
    None: it diverged."""
    purpose = "search" if seed == SEED else "race"
    return make_record(
        trial,
        Outcome.DIVERGED if score is None else Outcome.COMPLETED,
        purpose=purpose,
        seed=seed,
        configuration={"method": "vanilla", "learning_rate": 1e-5 * (1 + trial)},
        scores=[] if score is None else [(20, score / 2), (60, score)],
    )


def rank(
    trials: list[TrialRecord],
    race: list[TrialRecord],
    direction: str = "max",
    chance: float | None = 0.0,
) -> list[int]:
    ranked = rank_configurations(trials, race, direction, chance)
    assert find_leader(trials, race, direction, chance) == next(iter(ranked), None)
    return [each.trial.number for each in ranked]


TRIALS = [run(number, score) for number, score in enumerate((0.1, 0.5, 0.3, 0.4, 0.2))]


@pytest.mark.parametrize(("direction", "order"), [("max", [1, 3, 2]), ("min", [0, 4, 2])])
def test_the_best_three_on_one_seed_race_seed_by_seed(direction: str, order: list[int]) -> None:
    raced = choose_raced(TRIALS, direction)
    assert [each.number for each in raced] == order
    started: list[TrialRecord] = []
    while (choice := choose_replicate(raced, started, SEEDS)) is not None:
        place = round(choice[0]["learning_rate"] / 1e-5) - 1
        started.append(make_record(place, Outcome.RUNNING, configuration=choice[0], seed=choice[1]))
    assert [(each.number, each.seed) for each in started] == [(n, seed) for seed in SEEDS for n in order]


def test_what_was_lucky_on_one_seed_falls_behind_by_its_mean() -> None:
    race = [run(1, 0.2, SEEDS[0]), run(3, 0.42, SEEDS[0]), run(2, 0.35, SEEDS[0])]
    assert rank(TRIALS, []) == [1, 3, 2, 4, 0]
    assert rank(TRIALS, race) == [3, 1, 2, 4, 0]


def test_who_did_not_race_does_not_win_by_one_seed() -> None:
    race = [run(number, 0.0, seed) for number in (1, 2, 3) for seed in SEEDS]
    assert rank(TRIALS, race) == [1, 3, 2, 4, 0]  # 0.2 of one seed is more than any mean of three


@pytest.mark.parametrize(
    "race",
    [
        [(1, 0.4), (3, 0.38)],  # --race 1
        [(1, 0.4), (3, 0.38), (1, 0.3)],  # a budget ended it
        [(1, 0.4), (1, 0.4), (3, None), (3, None)],  # None: failed
    ],
)
def test_the_next_best_does_not_win_over_two_that_race(race: list[tuple[int, float | None]]) -> None:
    """Where two race, as those of a baseline, the third has one seed, however close it was."""
    seeds = {1: iter(SEEDS), 3: iter(SEEDS)}
    runs = [
        replace(run(number, score, next(seeds[number])), **({} if score else {"outcome": Outcome.FAILED}))
        for number, score in race
    ]
    trials = [run(0, 0.1), run(1, 0.5), run(2, 0.49), run(3, 0.495)]
    assert rank_configurations(trials, runs, "max", 0.1, 2)[0].trial.number in (1, 3)


def test_who_raced_before_better_trials_came_still_counts_with_its_seeds() -> None:
    """A search that went on with more trials: of the three that race now, none has better means."""
    later = [*TRIALS, run(5, 0.6), run(6, 0.55)]
    before = [run(number, 0.45, seed) for number in (1, 2, 3) for seed in SEEDS]
    now = [run(number, 0.1, seed) for number in (5, 6) for seed in SEEDS]
    assert rank(later, [*before, *now])[0] == 1
    assert rank(later, before)[:2] == [5, 6]  # these have one seed each, so that all count


def test_a_seed_that_diverged_counts_as_one_that_learnt_nothing() -> None:
    race = [run(1, None, SEEDS[0]), run(3, 0.4, SEEDS[0]), run(2, 0.3, SEEDS[0])]
    (best, *others) = rank_configurations(TRIALS, race, "max", 0.1)
    assert best.trial.number == 3
    assert next(each.mean for each in others if each.trial.number == 1) == pytest.approx((0.5 + 0.1) / 2)
    unknown = {each.trial.number: each.mean for each in rank_configurations(TRIALS, race, "max", None)}
    assert unknown[1] == -math.inf
    errors = {each.trial.number: each.mean for each in rank_configurations(TRIALS, race, "min", None)}
    assert errors[1] == math.inf


def test_who_fails_on_all_further_seeds_does_not_win_by_the_luck_of_the_first() -> None:
    trials = [run(number, score) for number, score in enumerate((0.90, 0.89, 0.88, 0.87))]
    race = [run(number, 0.77, seed) for number in (0, 1) for seed in SEEDS]
    failed = [replace(run(2, 0.1, seed), outcome=Outcome.FAILED, scores=[]) for seed in SEEDS]
    assert rank(trials, [*race, *failed]) == [0, 1, 2, 3]


def test_a_race_that_a_budget_ended_compares_means_of_one_seed_more_and_one_less() -> None:
    trials = [run(number, score) for number, score in enumerate((0.90, 0.89, 0.88, 0.87))]
    race = [run(0, 0.5, SEEDS[0]), run(1, 0.6, SEEDS[0])]
    assert rank(trials, race) == [2, 1, 0, 3]


def test_only_what_went_to_its_end_stands() -> None:
    stopped = make_record(7, Outcome.STOPPED, scores=[(20, 0.9)])
    assert rank([*TRIALS, stopped, run(8, None)], []) == [1, 3, 2, 4, 0]
    raced = replace(run(7, 0.6, SEEDS[0]), configuration=stopped.configuration)  # by an earlier version
    assert 7 in rank([*TRIALS, stopped], [raced])


def test_between_one_configuration_and_none_nothing_races() -> None:
    assert choose_replicate(TRIALS[:1], [], SEEDS) is None
    assert choose_replicate([], [], SEEDS) is None


def test_of_one_further_seed_that_failed_the_first_alone_does_not_win() -> None:
    """With --race 1. A run that a budget kept from starting is another thing."""
    race = [run(3, 0.42, SEEDS[0]), run(2, 0.35, SEEDS[0])]
    failed = replace(run(1, 0.0, SEEDS[0]), outcome=Outcome.OUT_OF_MEMORY, scores=[])
    assert rank(TRIALS, [failed, *race])[:3] == [3, 2, 1]
    assert rank(TRIALS, race)[:3] == [1, 3, 2]
    two = TRIALS[1:3]
    assert rank(two, [failed, *(run(2, 0.29, seed) for seed in SEEDS)]) == [2, 1]


def test_no_fresh_seed_is_one_of_the_race() -> None:
    assert MAX_FRESH_SEEDS < RACE_SEED_OFFSET
