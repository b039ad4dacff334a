"""What is expected of configurations, on ledgers written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import STEPS, make_space
from tune.records.ledger import Ledger, TrialRecord
from tune.stats.surrogate import Posterior
from tune.strategy.estimator import MIN_RUNS_TO_FIT, Estimator
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
    return ledger, Estimator(ledger, SPACE, direction, len(STEPS), chance)


def explored(scores: list[float], direction: str = "max") -> tuple[Ledger, Estimator]:
    """A ledger of completed trials with these last scores."""
    ledger, estimator = make(direction, 0.0 if direction == "max" else 1.0)
    for rate, score in zip(RATES, scores, strict=False):
        run(ledger, rate, [0.5 * score, 0.8 * score, score])
    return ledger, estimator


def test_nothing_is_believed_of_few_runs() -> None:
    ledger, estimator = explored([0.5] * (MIN_RUNS_TO_FIT - 1))
    assert estimator.estimate() is None
    assert estimator.rank_trials() == []
    assert estimator.noise_at(1.0) is None
    assert estimator.expected_scores() == {}
    run(ledger, RATES[-1], [0.1, 0.2, 0.3])
    assert estimator.rank_trials()


def test_a_lucky_score_is_shrunk_towards_its_neighbours() -> None:
    _, estimator = explored([0.40, 0.41, 0.39, 0.40, 0.52, 0.41, 0.40, 0.39])
    estimate = estimator.expected_scores()[4]
    assert 0.40 < estimate < 0.50


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


def test_a_stopped_trial_is_believed_in_but_does_not_lead() -> None:
    """It would be ahead of all others at full length, but was not seen there."""
    ledger, estimator = explored([0.40, 0.41, 0.42, 0.41, 0.40])
    run(ledger, RATES[6], [0.5])
    assert estimator.expected_scores()[5] > 0.42
    assert estimator.rank_trials()[0].number != 5


def test_diverged_runs_count_as_runs_that_learnt_nothing() -> None:
    ledger, estimator = explored([0.40, 0.41, 0.42, 0.41, 0.40, 0.41])
    before = estimator.expected_scores()[2]
    for seed in range(3):
        run(ledger, RATES[2], [None], RACE_SEED_OFFSET + seed, "race")
    assert estimator.expected_scores()[2] < before - 0.15
    assert estimator.rank_trials()[0].number != 2


def test_the_noise_is_larger_early_in_a_run() -> None:
    rng = np.random.default_rng(0)
    ledger, estimator = make()
    for rate in RATES:
        last = 0.4 + 0.01 * rng.standard_normal()
        run(ledger, rate, [last + 0.1 * rng.standard_normal(), last + 0.05 * rng.standard_normal(), last])
    early, late = estimator.noise_at(STEPS[0] / STEPS[-1]), estimator.noise_at(1.0)
    assert early is not None
    assert late is not None
    assert early > 1.5 * late


def test_a_further_trial_promises_more_while_little_was_tried() -> None:
    _, few = explored([0.2, 0.3, 0.4, 0.5])
    ledger, many = make()
    for rate in np.geomspace(3.1e-5, 4.9e-4, 24):
        run(ledger, float(rate), [0.2, 0.3, 0.4])
    assert few.expected_improvement(0) is not None
    assert many.expected_improvement(0) is not None
    assert few.expected_improvement(0) > 3 * many.expected_improvement(0) > 0
    assert few.expected_improvement(0) == few.expected_improvement(0)


def test_estimates_that_grew_with_the_ledger_are_those_of_a_resume() -> None:
    ledger, grown = make()
    for number, rate in enumerate(RATES):
        run(ledger, rate, [0.2, 0.3, 0.4 + 0.02 * (-1) ** number])
        grown.estimate()
    resumed = Estimator(ledger, SPACE, "max", len(STEPS), 0.0)
    assert grown.expected_scores() == resumed.expected_scores()


def test_a_collapsed_run_counts_at_chance_whatever_its_slice_of_the_data_scored_it() -> None:
    """One answer for all of 67 examples is right for 0.80597 of them, where it is for 0.8056 of all."""

    def explore(score: float, **changes: Any) -> Posterior:
        ledger, estimator = make(chance=0.8056)
        for rate in RATES[:-1]:
            run(ledger, rate, [0.85, 0.87, 0.88])
        for seed in (SEED, SEED + 1):
            run(ledger, RATES[-1], [0.81, 0.81, score], seed, "search" if seed == SEED else "race", **changes)
        estimates = estimator.estimate()
        assert estimates is not None
        return estimates.posterior

    constant = explore(0.80597, top_share=1.0)
    assert constant.collapse_probability[-1] > 0.5
    assert np.array_equal(constant.mean, explore(0.8056, top_share=1.0).mean)
    assert not explore(0.80597).collapse_probability.any()  # nothing says that it is one
