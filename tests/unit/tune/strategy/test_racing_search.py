"""A search that races, from its first trial to the confirmation, under a made-up Tune."""

from __future__ import annotations

import itertools
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import STEPS, FakeTune, last_report, make_space, open_ledger, strategy
from tune.core.run import Job, RunPurpose, RunReport
from tune.core.space import make_configuration_key
from tune.records.ledger import Ledger
from tune.records.replicates import choose_winner
from tune.strategy.budget import TrialLimit, WallTimeLimit
from tune.strategy.phases import SearchPhases
from tune.strategy.race import RACE_NOTE, RACE_SEED_OFFSET, RACED_CONFIGURATIONS

SPACE = make_space(("dps-dense",))
METRIC = "matthews_correlation"


def score(job: Job, step: int = STEPS[-1]) -> float:
    """Best near a learning rate of 1e-4, with luck that is larger than what most trials differ by."""
    away = abs(np.log(job.configuration["learning_rate"] / 1e-4))
    luck = np.random.default_rng(
        [zlib.crc32(make_configuration_key(job.configuration).encode()), job.seed]
    ).standard_normal()
    return float(step / STEPS[-1] * (0.6 - 0.1 * away + 0.05 * luck))


def end(job: Job) -> RunReport:
    final = {"dev": {METRIC: score(job)}} if job.purpose == "confirmation" else {}
    scores = [(STEPS[-1], score(job))]
    return last_report(job.id, Outcome.COMPLETED, scores=scores, seconds=3.0, final=final)


def search(ledger: Ledger, trials: int = 10, **changes: Any) -> SearchPhases:
    settings = {
        "space": SPACE,
        "race_seeds": 4,
        "confirms_published": True,
        "chance": 0.0,
    } | changes
    return SearchPhases(ledger, strategy(Path("work"), trials, **settings), [], lambda: False)


def ran(ledger: Ledger, order: int = 0, **changes: Any) -> tuple[SearchPhases, FakeTune]:
    made = search(ledger, **changes)
    tune = FakeTune(made, order, end, score=score)
    tune.run()
    return made, tune


def test_one_slot_races_alike_whatever_the_seconds() -> None:
    """The same seed chooses the same runs, in the same order, on a machine that is busy now and then."""
    runs = []
    for pace in (lambda number: 3.0, lambda number: 0.5, lambda number: 300.0 if number % 3 else 0.1):
        ledger, count = Ledger(None, "max"), itertools.count()

        def end_at_pace(job: Job, pace: Callable[[int], float] = pace, count: Any = count) -> RunReport:
            report = end(job)
            return replace(report, result=replace(report.result, seconds=pace(next(count))))

        made = search(ledger, slots=1, confirmation_seeds=1)
        FakeTune(made, end=end_at_pace, score=score).run()
        runs.append([(run.id, run.seed, run.configuration) for run in ledger.records()])
    assert any(name.startswith("race") for name, _, _ in runs[0])
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize("order", range(3))
def test_it_explores_then_races_then_confirms(order: int) -> None:
    ledger = Ledger(None, "max")
    made, tune = ran(ledger, order)
    purposes = [job.purpose for job in tune.seen]
    assert tune.finished
    assert purposes == sorted(purposes, key=[*RunPurpose].index)
    assert purposes.count("race") == 4 * RACED_CONFIGURATIONS
    assert purposes.count("confirmation") == 2 * 3
    assert made.exploration_end == "10 trials"
    assert made.race_end == "the best 3 ran on 4 further seeds"


def test_a_slot_with_nothing_left_to_explore_races_while_another_explores() -> None:
    ledger = Ledger(None, "max")
    made = search(ledger)
    tune = FakeTune(made, 0, end, score=score)
    slow = "tune-0-9"  # the last of ten trials
    while len(ledger.records("race")) < 3:
        tune.fill()
        tune.advance(next(name for name in tune.jobs if name != slow))
    assert tune.jobs[slow].purpose == "search"
    assert made.race_end is None
    for record in ledger.records("race"):
        assert record.configuration != tune.jobs[slow].configuration
    tune.run()
    assert tune.finished
    assert made.race_end is not None
    assert made.current_winner() is not None


def test_no_race_is_over_and_nothing_is_confirmed_while_a_trial_is_explored() -> None:
    ledger = Ledger(None, "max")
    made = search(ledger, race_stop_rules=[WallTimeLimit(0.0)])  # there is time for none
    tune = FakeTune(made, 0, end, score=score)
    slow = "tune-0-9"
    while len(tune.seen) < 10 or len(tune.jobs) > 1:
        tune.fill()
        tune.advance(next(name for name in tune.jobs if name != slow))
    tune.fill()
    assert [*tune.jobs] == [slow]
    assert made.race_end is None
    tune.run()
    assert ledger.records("race") == []
    assert len(ledger.records("confirmation")) == 6


def test_the_seeds_of_search_race_and_confirmation_are_none_of_the_others() -> None:
    ledger = Ledger(None, "max")
    ran(ledger)
    seeds = {purpose: {r.seed for r in ledger.records(purpose)} for purpose in RunPurpose}
    assert seeds["search"] == {5}
    assert seeds["race"] <= {5 + RACE_SEED_OFFSET + number for number in range(4)}
    assert seeds["confirmation"] == {6, 7, 8}


def test_winner_and_published_values_have_the_same_seeds_and_the_winners_models_are_kept() -> None:
    ledger = Ledger(None, "max")
    made, tune = ran(ledger)
    winner = made.current_winner()
    assert winner is not None
    assert made.confirmed_winner is winner
    confirming = [job for job in tune.seen if job.purpose == "confirmation"]
    for configuration in (winner.configuration, SPACE.get_published("dps-dense")):
        assert [job.seed for job in confirming if job.configuration == configuration] == [6, 7, 8]
    assert [job.configuration == winner.configuration for job in tune.seen] == [
        job.keep_model or (job.purpose != "confirmation" and job.configuration == winner.configuration)
        for job in tune.seen
    ]


@pytest.mark.parametrize("seeds", [0, 4])
def test_the_next_best_are_confirmed_too_where_asked_for(seeds: int) -> None:
    ledger = Ledger(None, "max")
    made, tune = ran(ledger, race_seeds=seeds, finalist_count=3)
    first, second, third = (trial.configuration for trial in made.rank_finalists(3))
    published = SPACE.get_published("dps-dense")
    confirming = [job for job in tune.seen if job.purpose == "confirmation"]
    assert len(confirming) == 4 * 3
    for configuration in (first, second, third, published):
        mine = [job for job in confirming if job.configuration == configuration]
        assert [job.seed for job in mine] == [6, 7, 8]
        assert [job.keep_model for job in mine] == [configuration == first] * 3
    assert made.current_winner() is made.confirmed_winner


def test_published_values_that_win_are_confirmed_once() -> None:
    ledger, published = Ledger(None, "max"), SPACE.get_published("dps-dense")
    made, _ = ran(ledger, trials=1, first_configurations=[published])
    assert made.current_winner().configuration == published  # type: ignore[union-attr]
    assert [run.configuration for run in ledger.records("confirmation")] == [published] * 3


def test_without_a_race_one_seed_says_who_wins() -> None:
    ledger = Ledger(None, "max")
    made, _ = ran(ledger, race_seeds=0)
    assert ledger.records("race") == []
    assert made.current_winner() is max(ledger.records("search"), key=lambda record: record.score or 0.0)


def test_without_a_race_the_winner_is_the_one_that_a_comparison_reports() -> None:
    """It went to its end, though what another one was stopped behind has diverged since."""
    ledger = Ledger(None, "max")
    ends = [(Outcome.COMPLETED, (0.3, 0.4, 0.5)), (Outcome.STOPPED, (0.35,)), (Outcome.DIVERGED, (0.5,))]
    for number, (outcome, scores) in enumerate(ends):
        configuration = SPACE.get_published("dps-dense") | {"learning_rate": 1e-5 * (1 + number)}
        record = ledger.replicate(configuration, SPACE, 5, RunPurpose.SEARCH)
        ledger.finish(record.id, RunResult(outcome=outcome, scores=[*zip(STEPS, scores, strict=False)]))
    reported = choose_winner(ledger.records("search"), "max")
    assert reported is ledger.records("search")[0]
    assert search(ledger, race_seeds=0).current_winner() is reported
    assert search(ledger, race_seeds=3).current_winner() is reported


def test_the_race_corrects_what_one_seed_says() -> None:
    """Over some searches: the winner of the race is truly better than who was best on one seed."""
    gains = []
    for seed in range(20):
        ledger = Ledger(None, "max")
        made, _ = ran(ledger, trials=12, seed=100 * seed)
        lucky = max(ledger.records("search"), key=lambda record: record.score or 0.0)
        winner = made.current_winner()
        assert winner is not None
        rates = (winner.configuration["learning_rate"], lucky.configuration["learning_rate"])
        gains.append(-abs(np.log(rates[0] / 1e-4)) + abs(np.log(rates[1] / 1e-4)))
    assert np.mean(gains) > 0.03


def test_a_race_cut_off_and_continued_loses_and_doubles_nothing(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    for part in range(40):
        tune = FakeTune(search(open_ledger(tmp_path)), part, end, score=score)
        tune.run(events=15)
        if tune.finished and not tune.jobs:
            break
    else:
        pytest.fail("it does not end")
    ledger = open_ledger(tmp_path)
    raced = [(make_configuration_key(r.configuration), r.seed) for r in ledger.records("race")]
    assert len(set(raced)) == len(raced) >= 4 * RACED_CONFIGURATIONS
    confirmed = [(make_configuration_key(r.configuration), r.seed) for r in ledger.records("confirmation")]
    assert len(set(confirmed)) == len(confirmed) == 6
    assert len(ledger.records("search")) == 10


def test_a_target_ends_the_exploration() -> None:
    ledger = Ledger(None, "max")
    made, _ = ran(ledger, trials=50, target_score=0.3)
    assert 2 <= len(ledger.records("search")) < 10
    best = max(ledger.records("search"), key=lambda record: record.score or 0.0)
    assert made.exploration_end == f"target score 0.3 reached: trial {best.number} scored {best.score:.4f}"


def test_a_single_configuration_does_not_race() -> None:
    ledger = Ledger(None, "max")
    made, _ = ran(ledger, trials=1)
    assert ledger.records("race") == []
    assert made.race_end == "fewer than two trials went to their end"
    assert made.current_winner() is not None


def test_runs_of_the_race_that_fail_are_told_and_not_made_again() -> None:
    def fail_on_further_seeds(job: Job) -> RunReport:
        if job.purpose == "race" and job.seed == 5 + RACE_SEED_OFFSET:
            return last_report(job.id, Outcome.FAILED, error="no luck")
        return end(job)

    ledger = Ledger(None, "max")
    made = search(ledger)
    FakeTune(made, end=fail_on_further_seeds, score=score).run()
    assert made.race_end == "the best 3 ran on 4 further seeds, 3 runs failed"
    assert len(ledger.records("race")) == 4 * RACED_CONFIGURATIONS


def begun_by_another_version(began: Sequence[float]) -> Ledger:
    """A search that did not race as this version does, with a first confirmation of trial 0, the worst, for
    each of these times at which one began."""
    ledger = Ledger(None, "max")
    for rate, last in ((1e-5, 0.1), (1e-4, 0.5), (2e-4, 0.4)):
        configuration = SPACE.get_published("dps-dense") | {"learning_rate": rate}
        record = ledger.replicate(configuration, SPACE, 5, RunPurpose.SEARCH)
        done = {"scores": [(STEPS[-1], last)], "began": 1.0, "seconds": 1.0}
        ledger.finish(record.id, RunResult(outcome=Outcome.COMPLETED, **done))
    for seed, at in enumerate(began):
        worst = ledger.records("search")[0].configuration
        record = ledger.replicate(worst, SPACE, 6 + seed, RunPurpose.CONFIRMATION)
        if at:
            done = {"scores": [(STEPS[-1], 0.1)], "began": time.time() + at, "seconds": 1.0}
            ledger.finish(record.id, RunResult(outcome=Outcome.COMPLETED, **done))
    return ledger


@pytest.mark.parametrize("began", [[9.0, 10.0], [0.0, 9.0], [0.0]])  # 0: interrupted before its first step
def test_what_an_earlier_version_began_to_confirm_is_not_chosen_anew(began: list[float]) -> None:
    ledger = begun_by_another_version(began)
    made, _ = ran(ledger, trials=3)
    assert ledger.records("race") == []
    assert made.race_end == "an earlier version chose, and the confirmation has begun"
    assert made.confirmed_winner is not None
    assert made.confirmed_winner.number == 0


@pytest.mark.parametrize(("began", "raced"), [([9.0], 0), ([], 2)])
def test_a_baseline_that_an_earlier_version_confirmed_does_not_race_either(
    began: list[float], raced: int
) -> None:
    """That version noted three that race, of a baseline too, for which it had no race."""
    ledger = begun_by_another_version(began)
    ledger.note(RACE_NOTE, RACED_CONFIGURATIONS)
    trials = 3 if raced else 4  # for which its budget was too small
    made, _ = ran(ledger, trials=trials, raced_configurations=2, is_baseline=True)
    assert len(ledger.records("search")) == 3
    assert len({run.configuration_key for run in ledger.records("race")}) == raced
    assert len(ledger.records("race")) == 4 * raced
    assert made.confirmed_winner is not None
    assert (made.confirmed_winner.number == 0) == (not raced)


def test_what_an_earlier_version_did_not_confirm_races_as_usual() -> None:
    ledger = begun_by_another_version([])
    made, _ = ran(ledger, trials=3)
    assert len(ledger.records("race")) == 4 * RACED_CONFIGURATIONS
    again, _ = ran(ledger, trials=3, race_seeds=5)  # now it is one of this version
    assert again.race_end == "the best 3 ran on 5 further seeds"
    assert len(ledger.records("race")) == 5 * RACED_CONFIGURATIONS
    assert made.current_winner() is not None


def test_a_budget_of_time_ends_the_race_too() -> None:
    ledger = Ledger(None, "max")
    made, _ = ran(ledger, rules=[TrialLimit(10)], race_stop_rules=[WallTimeLimit(0.0)])
    assert ledger.records("race") == []
    assert len(ledger.records("confirmation")) == 6
    assert made.current_winner() is not None
