"""What is expected of configurations, on ledgers written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import STEPS, make_space
from tune.core.run import RunPurpose
from tune.records.ledger import Ledger, TrialRecord
from tune.strategy.estimator import MIN_RUNS, Estimator
from tune.strategy.race import RACE_SEED_OFFSET

SPACE = make_space(("vanilla",))
SEED = 5
Score = Callable[[float, int], float]


def configuration(rate: float) -> dict[str, Any]:
    return {"method": "vanilla", "learning_rate": rate}


RATES = [float(rate) for rate in np.geomspace(4e-5, 4e-4, 8)]


def run(
    ledger: Ledger,
    rate: float,
    scores: list[float | None],
    seed: int = SEED,
    purpose: Any = "search",
    **changes: Any,
) -> TrialRecord:
    """A run that reports these scores, at the evaluations of a trial; None: it diverges there."""
    record = ledger.replicate(configuration(rate), SPACE, seed, purpose)
    reached = [(step, score) for step, score in zip(STEPS, scores, strict=False) if score is not None]
    outcome = Outcome.COMPLETED if len(scores) == len(STEPS) else Outcome.STOPPED
    if scores[-1] is None:
        outcome = Outcome.DIVERGED
    seconds = STEPS[len(scores) - 1]
    return ledger.finish(record.id, RunResult(outcome=outcome, scores=reached, seconds=seconds, **changes))


def make(direction: str = "max", chance: float | None = 0.0) -> tuple[Ledger, Estimator]:
    ledger = Ledger(None, direction)
    return ledger, Estimator(ledger, direction, len(STEPS), chance)


def explored(scores: list[float], direction: str = "max") -> tuple[Ledger, Estimator]:
    """A ledger of completed trials with these last scores."""
    ledger, estimator = make(direction, 0.0 if direction == "max" else 1.0)
    for rate, score in zip(RATES, scores, strict=False):
        run(ledger, rate, [0.5 * score, 0.8 * score, score])
    return ledger, estimator


def test_nothing_is_believed_of_few_runs() -> None:
    ledger, estimator = explored([0.5] * (MIN_RUNS - 1))
    assert estimator.estimate() is None
    assert estimator.rank_trials() == []
    assert estimator.expected_scores() == {}
    run(ledger, RATES[-1], [0.1, 0.2, 0.3])
    assert estimator.rank_trials()


def test_a_lucky_score_is_shrunk_towards_all_others() -> None:
    _, estimator = explored([0.40, 0.41, 0.39, 0.40, 0.52, 0.41, 0.40, 0.39])
    common = np.mean([0.40, 0.41, 0.39, 0.40, 0.52, 0.41, 0.40, 0.39])
    assert estimator.expected_scores()[4] == pytest.approx((0.52 + 2 * common) / 3)


def test_further_seeds_take_the_luck_away() -> None:
    ledger, estimator = explored([0.40, 0.45, 0.41, 0.44, 0.50, 0.43, 0.42, 0.40])
    assert estimator.rank_trials()[0].number == 4
    for seed in range(4):
        run(ledger, RATES[4], [0.2, 0.3, 0.36 + 0.01 * seed], RACE_SEED_OFFSET + seed, "race")
        run(ledger, RATES[1], [0.2, 0.4, 0.46 + 0.01 * seed], RACE_SEED_OFFSET + seed, "race")
    assert estimator.rank_trials()[0].number == 1
    assert estimator.expected_scores()[1] > estimator.expected_scores()[4]


def test_where_less_is_better_estimates_keep_their_sign() -> None:
    _, estimator = explored([0.4, 0.3, 0.2, 0.3, 0.4, 0.5], "min")
    assert estimator.rank_trials()[0].number == 2
    assert 0.2 < estimator.best_expected_score() < 0.35  # between its one score and the mean of all


def test_nothing_is_expected_of_what_was_not_seen_at_full_length() -> None:
    ledger, estimator = explored([0.40, 0.41, 0.42, 0.41, 0.40])
    run(ledger, RATES[6], [0.5])
    assert 5 not in estimator.expected_scores()
    assert estimator.rank_trials()[0].number == 2


def test_diverged_runs_count_as_runs_that_learnt_nothing() -> None:
    ledger, estimator = explored([0.40, 0.41, 0.42, 0.41, 0.40, 0.41])
    before = estimator.expected_scores()[2]
    for seed in range(3):
        run(ledger, RATES[2], [None], RACE_SEED_OFFSET + seed, "race")
    assert estimator.expected_scores()[2] < before - 0.1
    assert estimator.rank_trials()[0].number != 2


def test_a_run_that_was_made_twice_counts_once() -> None:
    ledger, estimator = explored([0.40, 0.41, 0.42, 0.41])
    before = estimator.expected_scores()
    run(ledger, RATES[0], [0.2, 0.3, 0.40])
    assert estimator.expected_scores() == before


def test_a_further_trial_promises_more_where_trials_differ_more() -> None:
    _, alike = explored([0.40, 0.41, 0.42, 0.41])
    _, unlike = explored([0.2, 0.3, 0.4, 0.5])
    assert alike.expected_improvement() is not None
    assert unlike.expected_improvement() is not None
    assert unlike.expected_improvement() > alike.expected_improvement() > 0


def test_estimates_that_grew_with_the_ledger_are_those_of_a_resume() -> None:
    """To the last bit, in whatever order runs end: else a search that was resumed could choose another."""
    ledger, grown = make()
    rng = np.random.default_rng(3)
    seeds = range(SEED + RACE_SEED_OFFSET, SEED + RACE_SEED_OFFSET + 3)
    started = [ledger.replicate(configuration(rate), SPACE, SEED, RunPurpose.SEARCH) for rate in RATES]
    started += [
        ledger.replicate(configuration(rate), SPACE, seed, RunPurpose.RACE)
        for rate in RATES[:4]
        for seed in seeds
    ]
    for place in rng.permutation(len(started)):
        end, share = rng.normal(0.4, 0.1), 1.0 if place % 5 == 0 else 0.6
        result = RunResult(outcome=Outcome.COMPLETED, scores=[(STEPS[-1], end)], seconds=1.0, top_share=share)
        ledger.finish(started[place].id, result)
        found, anew = grown.estimate(), Estimator(ledger, "max", len(STEPS), 0.0).estimate()
        assert (found is None) == (anew is None)
        if found and anew:
            assert found.trials == anew.trials
            assert [[*each.items()] for each in found.full_scores] == [
                [*each.items()] for each in anew.full_scores
            ]
            assert found.means.mean.tolist() == anew.means.mean.tolist()
            assert found.means.noise == anew.means.noise


def test_a_collapsed_run_counts_at_chance_whatever_its_slice_of_the_data_scored_it() -> None:
    """One answer for all of 67 examples is right for 0.80597 of them, where it is for 0.8056 of all."""
    ledger, estimator = make(chance=0.8056)
    for rate in RATES[:2]:
        run(ledger, rate, [0.85, 0.87, 0.88])
    run(ledger, RATES[2], [0.81, 0.81, 0.80597], top_share=1.0)
    run(ledger, RATES[3], [0.81, 0.81, 0.80597])
    estimates = estimator.estimate()
    assert estimates is not None
    assert [scores[SEED] for scores in estimates.full_scores] == [0.88, 0.88, 0.8056, 0.80597]
