"""Which configuration wins, and what its fresh seeds say."""

from __future__ import annotations

import math

import pytest

from dps.training.result import Outcome
from tests.unit.tune.helpers import make_record, make_replicate
from tune.records.ledger import TrialRecord
from tune.records.replicates import (
    choose_median_replicate,
    choose_winner,
    collect_full_scores,
    group_by_configuration,
    summarise_confirmation,
)

METRIC = "matthews_correlation"
DONE, STOPPED = Outcome.COMPLETED, Outcome.STOPPED


def trial(number: int, score: float | None, outcome: Outcome = DONE, step: int = 60) -> TrialRecord:
    """A trial of 60 steps that reached `step`, evaluated every 20."""
    scores = [*((at, 0.99) for at in range(20, step, 20)), (step, score)]
    return make_record(number, outcome, scores=[] if score is None else scores)


def number(records: list[TrialRecord], direction: str = "max") -> int | None:
    found = choose_winner(records, direction)
    return None if found is None else found.number


@pytest.mark.parametrize(("direction", "best"), [("max", 1), ("min", 2)])
def test_the_best_last_score_wins(direction: str, best: int) -> None:
    assert number([trial(0, 0.5), trial(1, 0.7), trial(2, 0.1)], direction) == best


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_earlier_trial_wins_a_tie(direction: str) -> None:
    records = [trial(0, 0.4), trial(2, 0.7), trial(1, 0.7), trial(3, 0.7)]
    assert number(records if direction == "max" else records[1:], direction) == 1


def test_a_negative_score_or_zero_can_win() -> None:
    assert number([trial(0, -0.3), trial(1, -0.1), trial(2, -0.2)]) == 1
    assert number([trial(0, -0.3), trial(1, 0.0)]) == 1


def test_what_was_stopped_behind_it_does_not_win_over_what_completed() -> None:
    stopped = make_record(0, STOPPED, scores=[(10, 0.4), (20, 0.5)])
    completed = make_record(1, DONE, scores=[(10, 0.3), (20, 0.6), (60, 0.1)])
    assert number([stopped, completed]) == 1


def test_a_trial_that_patience_ended_early_keeps_its_score() -> None:
    early = make_record(0, DONE, scores=[(20, 0.6), (40, 0.6)])
    later, behind = (
        make_record(n, DONE, scores=[(20, 0.3), (40, 0.4), (60, s)]) for n, s in ((1, 0.7), (2, 0.5))
    )
    assert [number([early, later]), number([early, behind])] == [1, 0]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_what_was_stopped_never_wins_over_what_completed(direction: str) -> None:
    """The one that led, and because of which it was stopped, diverged."""
    sign = 1 if direction == "max" else -1
    completed = make_record(0, DONE, scores=[(20, sign * 0.4), (60, sign * 0.8)])
    led = make_record(1, Outcome.DIVERGED, scores=[(20, sign * 0.6), (40, sign * 0.7)])
    stopped = make_record(2, STOPPED, scores=[(20, sign * 0.5)])
    assert number([completed, led, stopped], direction) == 0
    assert number([led, stopped], direction) == 2


def test_trials_of_different_length_that_were_stopped_are_compared_at_the_same_share() -> None:
    short = make_record(0, STOPPED, scores=[(10, 0.3), (20, 0.4)])
    long = make_record(1, STOPPED, scores=[(40, 0.2), (80, 0.5)])
    assert number([short, long]) == 1
    assert number([make_record(0, STOPPED, scores=[(10, 0.3), (20, 0.6)]), long]) == 0


def test_where_all_were_stopped_the_best_of_those_that_went_furthest_wins() -> None:
    records = [
        trial(0, 0.9, STOPPED, 20),
        trial(1, 0.3, STOPPED, 40),
        trial(2, 0.5, STOPPED, 40),
    ]
    assert number(records) == 2


@pytest.mark.parametrize("outcome", [one for one in Outcome if one not in (DONE, STOPPED)])
def test_a_trial_without_a_usable_end_never_wins(outcome: Outcome) -> None:
    assert number([trial(0, 0.99, outcome)]) is None
    assert number([trial(0, 0.99, outcome), trial(1, 0.1)]) == 1


def test_without_a_score_there_is_no_winner() -> None:
    assert number([]) is None
    assert number([trial(0, None), trial(1, None, STOPPED)]) is None


def test_mean_and_deviation_are_those_worked_by_hand() -> None:
    found = summarise_confirmation(
        [make_replicate(seed, score) for seed, score in ((1, 0.5), (2, 0.6), (3, 0.7))], METRIC
    )
    assert found is not None
    assert found.scores == {1: 0.5, 2: 0.6, 3: 0.7}
    assert found.mean == pytest.approx(0.6)
    assert found.std == pytest.approx(0.1)


def test_one_seed_has_a_mean_and_no_deviation() -> None:
    found = summarise_confirmation([make_replicate(4, 0.6)], METRIC)
    assert found is not None
    assert (found.scores, found.mean, found.std) == ({4: 0.6}, 0.6, None)


def test_only_completed_replicates_count() -> None:
    bad = make_replicate(2, 0.0)
    bad.outcome = Outcome.DIVERGED
    unscored = make_record(3, id="confirm-3", purpose="confirmation", seed=3)
    found = summarise_confirmation([make_replicate(1, 0.5), bad, unscored], METRIC)
    assert found is not None
    assert found.scores == {1: 0.5}
    assert summarise_confirmation([bad, unscored], METRIC) is None
    assert summarise_confirmation([], METRIC) is None


@pytest.mark.parametrize(
    ("scores", "median"),
    [([0.5], 0.5), ([0.7, 0.5], 0.5), ([0.9, 0.1, 0.5], 0.5), ([0.4, 0.9, 0.1, 0.6], 0.4)],
)
def test_the_typical_replicate_has_the_lower_median_score(scores: list[float], median: float) -> None:
    found = choose_median_replicate(
        [make_replicate(seed, score) for seed, score in enumerate(scores)], METRIC
    )
    assert found is not None
    assert found.final["dev"][METRIC] == median


def test_without_a_completed_replicate_none_is_typical() -> None:
    bad = make_replicate(2, 0.9)
    bad.outcome = Outcome.FAILED
    assert choose_median_replicate([bad], METRIC) is None


def test_records_are_grouped_by_configuration_whatever_the_order_of_its_keys() -> None:
    one, other = {"method": "a", "learning_rate": 1e-4}, {"method": "a", "learning_rate": 2e-4}
    swapped = dict(reversed(one.items()))
    records = [make_record(n, configuration=c) for n, c in enumerate((one, other, swapped))]
    assert [[r.number for r in group] for group in group_by_configuration(records)] == [[0, 2], [1]]
    assert group_by_configuration([]) == []


def test_full_scores_are_of_runs_that_ended_the_first_of_a_seed_and_nan_of_a_diverged_one() -> None:
    def run(seed: int, score: float, outcome: Outcome = DONE) -> TrialRecord:
        return make_record(seed, outcome, seed=seed, scores=[(20, 0.9), (60, score)])

    unscored = make_record(9, DONE, seed=9)
    records = [
        run(0, 0.5),
        run(1, 0.6),
        run(1, 0.7),
        run(2, 0.8, STOPPED),
        run(3, 0.8, Outcome.LOST),
        unscored,
    ]
    assert collect_full_scores(records) == {0: 0.5, 1: 0.6}
    found = collect_full_scores([*records, run(4, 0.9, Outcome.DIVERGED)])
    assert list(found) == [0, 1, 4]
    assert math.isnan(found[4])
