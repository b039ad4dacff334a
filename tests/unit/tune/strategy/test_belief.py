"""What is believed of a search, and the race that it decides, on ledgers written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import STEPS, make_space
from tune.records.ledger import Ledger, TrialRecord
from tune.strategy.belief import MIN_RUNS_TO_FIT, Estimator
from tune.strategy.race import RACE_SEED_OFFSET, Race, RaceSettings

SPACE = make_space(("vanilla",))
SEED = 5
Score = Callable[[float, int], float]


def configuration(rate: float) -> dict[str, Any]:
    return {"method": "vanilla", "learning_rate": rate}


RATES = [float(rate) for rate in np.geomspace(4e-5, 4e-4, 8)]


def run(
    ledger: Ledger, rate: float, scores: list[float | None], seed: int = SEED, purpose: Any = "search"
) -> TrialRecord:
    """A run that reports these scores, at the evaluations of a trial; None: it diverges there."""
    record = ledger.replicate(configuration(rate), SPACE, seed, purpose)
    reached = [(step, score) for step, score in zip(STEPS, scores, strict=False) if score is not None]
    outcome = Outcome.COMPLETED if len(scores) == len(STEPS) else Outcome.STOPPED
    if scores[-1] is None:
        outcome = Outcome.DIVERGED
    seconds = STEPS[len(scores) - 1]
    return ledger.finish(record.id, RunResult(outcome=outcome, scores=reached, seconds=seconds))


def make(direction: str = "max", chance: float | None = 0.0) -> tuple[Ledger, Estimator]:
    ledger = Ledger(None, direction)
    return ledger, Estimator(ledger, SPACE, direction, STEPS[-1], chance)


def explored(scores: list[float], direction: str = "max") -> tuple[Ledger, Estimator]:
    """A ledger of completed trials with these last scores."""
    ledger, belief = make(direction, 0.0 if direction == "max" else 1.0)
    for rate, score in zip(RATES, scores, strict=False):
        run(ledger, rate, [0.5 * score, 0.8 * score, score])
    return ledger, belief


def test_nothing_is_believed_of_few_runs() -> None:
    ledger, belief = explored([0.5] * (MIN_RUNS_TO_FIT - 1))
    assert belief.view() is None
    assert belief.leader() is None
    assert belief.noise(1.0) is None
    assert belief.estimates() == {}
    run(ledger, RATES[-1], [0.1, 0.2, 0.3])
    assert belief.leader() is not None


def test_a_lucky_score_is_shrunk_towards_its_neighbours() -> None:
    _, belief = explored([0.40, 0.41, 0.39, 0.40, 0.52, 0.41, 0.40, 0.39])
    estimate = belief.estimates()[4]
    assert 0.40 < estimate < 0.50


def test_further_seeds_take_the_luck_away() -> None:
    ledger, belief = explored([0.40, 0.45, 0.41, 0.44, 0.50, 0.43, 0.42, 0.40])
    assert belief.leader() is not None
    assert belief.leader().number == 4
    for seed in range(4):
        run(ledger, RATES[4], [0.2, 0.3, 0.36 + 0.01 * seed], RACE_SEED_OFFSET + seed, "race")
        run(ledger, RATES[1], [0.2, 0.4, 0.46 + 0.01 * seed], RACE_SEED_OFFSET + seed, "race")
    assert belief.leader().number == 1
    assert belief.estimates()[1] > belief.estimates()[4]


def test_where_less_is_better_estimates_keep_their_sign() -> None:
    _, belief = explored([0.4, 0.3, 0.2, 0.3, 0.4, 0.5], "min")
    assert belief.leader() is not None
    assert belief.leader().number == 2
    assert belief.best() == pytest.approx(0.2, abs=0.08)


def test_a_stopped_trial_is_believed_in_but_does_not_lead() -> None:
    """It would be ahead of all others at full length, but was not seen there."""
    ledger, belief = explored([0.40, 0.41, 0.42, 0.41, 0.40])
    run(ledger, RATES[6], [0.5])
    assert belief.estimates()[5] > 0.45
    assert belief.leader() is not None
    assert belief.leader().number in (1, 2, 3)


def test_diverged_runs_count_as_runs_that_learnt_nothing() -> None:
    ledger, belief = explored([0.40, 0.41, 0.42, 0.41, 0.40, 0.41])
    before = belief.estimates()[2]
    for seed in range(3):
        run(ledger, RATES[2], [None], RACE_SEED_OFFSET + seed, "race")
    assert belief.estimates()[2] < before - 0.15
    assert belief.leader() is not None
    assert belief.leader().number != 2


def test_the_noise_is_larger_early_in_a_run() -> None:
    rng = np.random.default_rng(0)
    ledger, belief = make()
    for rate in RATES:
        last = 0.4 + 0.01 * rng.standard_normal()
        run(ledger, rate, [last + 0.1 * rng.standard_normal(), last + 0.05 * rng.standard_normal(), last])
    early, late = belief.noise(STEPS[0] / STEPS[-1]), belief.noise(1.0)
    assert early is not None
    assert late is not None
    assert early > 1.5 * late


def test_a_further_trial_promises_more_while_little_was_tried() -> None:
    _, few = explored([0.2, 0.3, 0.4, 0.5])
    ledger, many = make()
    for rate in np.geomspace(3.1e-5, 4.9e-4, 24):
        run(ledger, float(rate), [0.2, 0.3, 0.4])
    assert few.gain(0) is not None
    assert many.gain(0) is not None
    assert few.gain(0) > 3 * many.gain(0) > 0
    assert few.gain(0) == few.gain(0)


# --- the race


def field(belief: Estimator, **changes: Any) -> Race:
    return Race(belief, RaceSettings(**({"seeds": 4, "share": 10.0, "worth": 0.0} | changes)), SEED)


def proven(scores: list[float], replicates: int = 2) -> tuple[Ledger, Estimator]:
    """The two best have had so many further seeds, with much the same scores."""
    ledger, belief = explored(scores)
    for place in np.argsort(scores)[-2:]:
        for seed in range(replicates):
            last = scores[place] + 0.03 * (-1) ** (seed + place)
            run(ledger, RATES[place], [0.5 * last, 0.8 * last, last], SEED + RACE_SEED_OFFSET + seed, "race")
    return ledger, belief


def test_nothing_is_decided_on_one_seed() -> None:
    """The one is far ahead on it, and yet runs on further seeds, with the next behind it."""
    ledger, belief = explored([0.10, 0.12, 0.50, 0.20, 0.11, 0.10, 0.12, 0.11])
    racing, seen = field(belief, worth=9.0), []
    while (found := racing.next([])) is not None:
        seen.append((found[0]["learning_rate"], found[1]))
        last = 0.5 if found[0]["learning_rate"] == RATES[2] else 0.2
        run(ledger, found[0]["learning_rate"], [0.5 * last, 0.8 * last, last], found[1], "race")
    further = [SEED + RACE_SEED_OFFSET, SEED + RACE_SEED_OFFSET + 1]
    assert [seed for rate, seed in seen if rate == RATES[2]] == further
    assert 4 <= len(seen) <= 8
    assert len(set(seen)) == len(seen)


def test_the_promising_race_on_the_same_seeds() -> None:
    ledger, belief = proven([0.10, 0.12, 0.50, 0.49, 0.11, 0.10, 0.12, 0.11])
    racing, seen = field(belief), []
    for _ in range(4):
        found = racing.next([])
        if found is None:
            break
        seen.append((found[0]["learning_rate"], found[1]))
        run(ledger, found[0]["learning_rate"], [0.2, 0.3, 0.5], found[1], "race")
    assert {rate for rate, _ in seen} <= {RATES[2], RATES[3]}
    assert len(set(seen)) == len(seen) >= 2
    order = [SEED + RACE_SEED_OFFSET + number for number in range(2, 4)]
    for rate in (RATES[2], RATES[3]):
        seeds = [seed for other, seed in seen if other == rate]
        assert seeds == order[: len(seeds)]


def test_what_is_under_way_is_not_run_twice() -> None:
    ledger, belief = explored([0.10, 0.12, 0.50, 0.49, 0.11, 0.10, 0.12, 0.11])
    racing, live = field(belief), []
    for _ in range(4):
        found = racing.next(live)
        assert found is not None
        live.append(ledger.replicate(found[0], SPACE, found[1], "race"))
    assert len({(record.configuration["learning_rate"], record.seed) for record in live}) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"share": 0.01}, "1% of what the exploration took"),
        ({"worth": 9.0}, "not more than its cost of 9e+02"),
        ({"seeds": 0}, "every candidate has had every seed"),
    ],
)
def test_a_race_ends_and_says_why(changes: dict[str, Any], reason: str) -> None:
    _, belief = proven([0.40, 0.42, 0.50, 0.49, 0.41, 0.40, 0.42, 0.41])
    racing = field(belief, **changes)
    assert racing.next([]) is None
    assert racing.over is not None
    assert reason in racing.over


def test_a_race_ends_when_one_is_left() -> None:
    ledger, belief = explored([0.10, 0.12, 0.50, 0.49, 0.11, 0.10, 0.12, 0.11])
    for seed in range(4):
        for rate, score in ((RATES[2], 0.5), (RATES[3], 0.44)):
            last = score + 0.001 * seed
            run(ledger, rate, [0.5 * last, 0.8 * last, last], SEED + RACE_SEED_OFFSET + seed, "race")
    racing = field(belief, seeds=8)
    assert racing.next([]) is None
    assert racing.over == "one configuration is left"


def test_a_belief_that_grew_with_its_ledger_is_that_of_a_resume() -> None:
    ledger, grown = make()
    for number, rate in enumerate(RATES):
        run(ledger, rate, [0.2, 0.3, 0.4 + 0.02 * (-1) ** number])
        grown.view()
    resumed = Estimator(ledger, SPACE, "max", STEPS[-1], 0.0)
    assert grown.estimates() == resumed.estimates()


def test_the_same_ledger_decides_the_same() -> None:
    _, belief = explored([0.40, 0.42, 0.50, 0.49, 0.41, 0.40, 0.42, 0.41])
    again = Estimator(belief.ledger, SPACE, "max", STEPS[-1], 0.0)
    assert field(belief).next([]) == field(again).next([])
