"""What is proposed next: nothing twice, all of a space of lists, the same again on the same ledger."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from dps.errors import InputError
from dps.ranges import Choice, Range
from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import STEPS, make_space, strategy
from tune.core.space import SearchSpace, make_configuration_key
from tune.planning.space_options import check_methods_and_sampler
from tune.records.ledger import Ledger
from tune.strategy.proposals import STARTUP_TRIALS, Proposer

DENSE = make_space(("dps-dense",))
LISTS = replace(
    DENSE,
    parameters={
        "learning_rate": Choice((1e-5, 2e-5, 3e-5)),
        "selection_ratio": Choice((0.5, 0.7)),
        "update_ratio": Choice((0.05, 0.1)),
    },
)
BOTH = make_space(("dps-dense", "vanilla"))


def value(configuration: dict[str, Any]) -> float:
    """Best at a learning rate of 1e-4."""
    return 0.5 - abs(configuration["learning_rate"] - 1e-4) * 1e3


def proposed(
    space: SearchSpace, sampler: str, count: int, ledger: Ledger | None = None, **changes: Any
) -> list[dict[str, Any]]:
    """So many trials, each of them run to its end before the next one is asked for."""
    ledger = ledger or Ledger(None, "max")
    plan = strategy(Path("nowhere"), space=space, sampler=sampler, trials=8, **changes)
    proposals, found = Proposer(plan, ledger), []
    for _ in range(count):
        record = proposals.propose_next()
        if record is None:
            break
        found.append(record.configuration)
        scores = [(STEPS[-1], value(record.configuration))]
        ledger.finish(record.id, RunResult(outcome=Outcome.COMPLETED, scores=scores, seconds=1.0))
    return found


@pytest.mark.parametrize("sampler", ["tpe", "random", "latin"])
def test_proposals_lie_in_the_space_and_none_comes_twice(sampler: str) -> None:
    found = proposed(DENSE, sampler, 12)
    assert len({make_configuration_key(one) for one in found}) == 12
    for name, domain in DENSE.parameters.items():
        assert isinstance(domain, Range)
        assert all(domain.low <= one[name] <= domain.high for one in found)


@pytest.mark.parametrize("sampler", ["tpe", "random", "latin", "grid"])
def test_a_space_of_lists_is_tried_whole_and_then_there_is_nothing_left(sampler: str) -> None:
    found = proposed(LISTS, sampler, 50)
    assert len(found) == len({make_configuration_key(one) for one in found}) == LISTS.size == 12


def test_a_space_of_lists_with_two_methods_is_tried_whole() -> None:
    space = replace(BOTH, parameters=LISTS.parameters)
    found = proposed(space, "tpe", 50)
    assert len(found) == space.size == 12 + 3
    assert sum(one["method"] == "vanilla" for one in found) == 3


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "latin"])
def test_a_search_that_is_resumed_proposes_what_it_would_have(sampler: str) -> None:
    whole = proposed(DENSE, sampler, 10)
    ledger = Ledger(None, "max")
    parts = [*proposed(DENSE, sampler, 8, ledger), *proposed(DENSE, sampler, 2, ledger)]
    assert parts == whole


@pytest.mark.parametrize(("sampler", "count"), [("tpe", 40), ("gp", 12)])
def test_what_is_shared_with_the_sampler_proposes_as_a_study_with_copies_of_it(
    sampler: str, count: int
) -> None:
    """Some trials run on, some were stopped, some diverged, and all are looked at again each time."""
    ledger = Ledger(None, "max")
    proposals = Proposer(strategy(Path("nowhere"), space=BOTH, sampler=sampler), ledger)
    ends = (Outcome.COMPLETED, Outcome.STOPPED, None, Outcome.DIVERGED, Outcome.COMPLETED)
    running = []
    for number in range(count):
        shared = proposals._sampler_study(proposals._sampler(number))
        copied = optuna.create_study(direction="maximize", sampler=proposals._sampler(number))
        copied.add_trials(shared.trials)
        assert BOTH.suggest(shared.ask()) == BOTH.suggest(copied.ask())
        record = proposals.propose_next()
        assert record is not None
        scores = [(STEPS[0], value(record.configuration))]
        if (outcome := ends[number % len(ends)]) is None:
            running.append((record.id, scores))
        else:
            ledger.finish(record.id, RunResult(outcome=outcome, scores=scores))
        if len(running) > 2:
            late, scores = running.pop(0)
            ledger.finish(late, RunResult(outcome=Outcome.COMPLETED, scores=scores))


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_those_that_learn_come_near_to_the_best(sampler: str) -> None:
    space = make_space(("vanilla",))
    found = proposed(space, sampler, 24)
    late, early = found[-3:], found[:STARTUP_TRIALS]
    assert max(map(value, late)) > 0.48
    assert statistics.fmean(map(value, late)) > statistics.fmean(map(value, early)) + 0.02


@pytest.mark.parametrize("sampler", ["tpe", "gp"])  # gp sees only what is complete
@pytest.mark.parametrize(("chance", "lost"), [(0.1, 0.1), (None, 0.5)])
def test_a_trial_that_diverged_learnt_nothing_for_the_sampler_whatever_it_scored_before(
    sampler: str, chance: float | None, lost: float
) -> None:
    ledger, space = Ledger(None, "max"), make_space(("vanilla",))
    proposals = Proposer(strategy(Path("nowhere"), space=space, sampler=sampler, chance=chance), ledger)
    ends = [(Outcome.COMPLETED, 0.5), (Outcome.STOPPED, 0.1), (Outcome.DIVERGED, 0.9), (Outcome.FAILED, 0.9)]
    for outcome, score in ends:
        record = proposals.propose_next()
        assert record is not None
        ledger.finish(record.id, RunResult(outcome=outcome, scores=[(STEPS[0], score)]))
    seen = proposals._sampler_study(proposals._sampler(0)).trials
    assert [(each.state.name, each.value, each.intermediate_values) for each in seen] == [
        ("COMPLETE", 0.5, {STEPS[0]: 0.5}), ("PRUNED", None, {STEPS[0]: 0.1}), ("COMPLETE", lost, {}),
    ]  # fmt: skip


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "latin"])
def test_every_seed_that_the_option_takes_proposes(sampler: str) -> None:
    for seed in (42_949, 2**31 - 1):
        assert len(proposed(make_space(("vanilla",)), sampler, 10, seed=seed)) == 10


@pytest.mark.parametrize("few", ["vanilla", "dps-dense"])  # tpe holds on to the method that is better
def test_a_method_whose_few_configurations_were_all_tried_does_not_end_the_search(few: str) -> None:
    space = replace(BOTH, parameters={**BOTH.parameters, "learning_rate": Choice((1e-4, 2e-4, 4e-4))})
    if few == "dps-dense":
        ratios = {"selection_ratio": Choice((0.5,)), "update_ratio": Choice((0.1,))}
        space = replace(BOTH, parameters={**BOTH.parameters, **ratios})
    found = proposed(space, "tpe", 24)
    assert len({make_configuration_key(one) for one in found}) == 24


def test_what_was_given_comes_first() -> None:
    first = [{"method": "vanilla", "learning_rate": rate} for rate in (7e-5, 9e-5)]
    found = proposed(BOTH, "tpe", 4, first_configurations=first)
    assert found[:2] == first
    assert found[2] not in first


def test_of_very_many_trials_a_sampler_sees_the_best_and_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune.strategy.proposals.MAX_SAMPLER_TRIALS", 10)
    ledger, space = Ledger(None, "max"), make_space(("vanilla",))
    proposed(space, "random", 40, ledger)
    plan = strategy(Path("nowhere"), space=space, sampler="tpe")
    proposals = Proposer(plan, ledger)
    shown = [record.number for record in proposals._informative_trials()]
    worth = {record.number: record.score or 0.0 for record in ledger.records("search")}
    best = sorted(worth, key=lambda number: -worth[number])[:5]
    others = [number for number in range(40) if number not in best]
    assert shown == sorted(best) + others[-5:]
    assert len(proposals._sampler_study(proposals._sampler(0)).trials) == 10
    assert proposals.propose_next() is not None


def test_other_searches_are_listened_to_less_and_less() -> None:
    """They say that the learning rate should be low, which is not so here."""
    space = make_space(("vanilla",))
    earlier = [({"method": "vanilla", "learning_rate": 3e-5 + 1e-7 * n}, 2.0 - 0.1 * n) for n in range(16)]
    alone = [one["learning_rate"] for one in proposed(space, "tpe", 30)]
    told = [one["learning_rate"] for one in proposed(space, "tpe", 30, earlier_configurations=earlier)]
    assert statistics.median(told[2:8]) < 7e-5 < 1e-4 < statistics.median(alone[2:8])
    assert 7e-5 < statistics.median(told[-8:]) < 1.5e-4


@pytest.mark.parametrize("sampler", ["gp", "grid", "latin"])
def test_several_methods_need_a_sampler_that_can(sampler: str) -> None:
    with pytest.raises(InputError, match=f"--sampler: {sampler} cannot search several methods at once"):
        check_methods_and_sampler(("dps-dense", "vanilla"), sampler)
