"""The multi-fidelity rules: cut-offs by hand, properties, Ray as the reference, replay."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from dps.training.result import Outcome
from tune.strategy import early_stopping
from tune.strategy.early_stopping import (
    Asha,
    EarlyStoppingPolicy,
    NoEarlyStopping,
    compute_rung_levels,
    make_early_stopping,
    replay_records,
)

STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)  # numbers of evaluations
MAX_STEPS = STEPS[-1]  # rungs: 1, 3, 9
POLICIES: dict[str, Callable[[], EarlyStoppingPolicy]] = {
    "asha": lambda: Asha(MAX_STEPS, 1),
    "none": lambda: NoEarlyStopping(MAX_STEPS),
}
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
UNUSABLE = (None, math.nan, math.inf, -math.inf)

Curves = list[list[float]]


def record(trial: int, scores: list[tuple[int, float]], outcome: Outcome = Outcome.RUNNING) -> Any:
    """A trial as a ledger has it."""
    return SimpleNamespace(id=str(trial), scores=scores, outcome=outcome)


@dataclass
class Search:
    """Trials with known curves, evaluated as the order says until they are stopped."""

    policy: EarlyStoppingPolicy
    curves: Curves
    told: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)

    def go(self, order: Sequence[int]) -> list[tuple[int, int, bool]]:
        """What was decided: (trial, step, stop)."""
        return [decision for trial in order if (decision := self.advance(trial)) is not None]

    def advance(self, trial: int) -> tuple[int, int, bool] | None:
        """The next evaluation of a trial, if there is one."""
        told = self.told.setdefault(trial, [])
        if trial in self.stopped or len(told) == len(self.curves[trial]):
            return None
        step, score = STEPS[len(told)], self.curves[trial][len(told)]
        told.append((step, score))
        stop = self.policy.should_stop(str(trial), step, score)
        if stop:
            self.stopped.add(trial)
        return trial, step, stop

    def records(self) -> list[Any]:
        """The trials as a ledger has them."""
        return [record(trial, self.told[trial]) for trial in sorted(self.told)]


def make_search(seed: int, trials: int, digits: int) -> tuple[Curves, list[int]]:
    """Random curves, with ties where the digits are few, and in which order their evaluations arrive."""
    draws = random.Random(seed)
    curves = [[round(draws.uniform(-1, 1), digits) for _ in STEPS] for _ in range(trials)]
    order = [trial for trial in range(trials) for _ in STEPS]
    draws.shuffle(order)
    return curves, order


searches = st.builds(make_search, st.integers(0, 2**32), st.integers(1, 20), st.sampled_from((1, 15)))
quick = settings(max_examples=25)


def enter(policy: EarlyStoppingPolicy, step: int, *values: float) -> list[bool]:
    """New trials with these scores at this step, one after another."""
    return [policy.should_stop(f"{step}-{number}", step, value) for number, value in enumerate(values)]


# --- what every policy promises ---


@every_policy
@pytest.mark.parametrize("score", UNUSABLE)
@pytest.mark.parametrize("step", [1, 2, 9])
def test_what_diverged_is_stopped(
    policy: Callable[[], EarlyStoppingPolicy], score: float | None, step: int
) -> None:
    assert policy().should_stop("0", step, score)


@every_policy
@quick
@given(search=searches)
def test_what_diverged_changes_nothing_for_the_others(
    policy: Callable[[], EarlyStoppingPolicy], search: tuple[Curves, list[int]]
) -> None:
    curves, order = search
    clean, dirty = Search(policy(), curves), Search(policy(), curves)
    for number, trial in enumerate(order):
        bad = UNUSABLE[number % len(UNUSABLE)]
        dirty.policy.should_stop(f"diverged-{number}", STEPS[number % len(STEPS)], bad)
        dirty.policy.record_completion(f"diverged-{number}", bad)
        dirty.policy.record_earlier(f"diverged-{number}", 1, bad)
        assert clean.advance(trial) == dirty.advance(trial)


@every_policy
@quick
@given(search=searches)
def test_a_step_reported_again_is_answered_as_before_and_changes_nothing(
    policy: Callable[[], EarlyStoppingPolicy], search: tuple[Curves, list[int]]
) -> None:
    curves, order = search
    once, twice = Search(policy(), curves), Search(policy(), curves)
    for trial in order:
        decision = once.advance(trial)
        assert twice.advance(trial) == decision
        if decision is not None:
            told = twice.told[trial]
            again = [twice.policy.should_stop(str(trial), step, score + 0.5) for step, score in told]
            assert again == [decision[2]] * len(told)


@every_policy
@quick
@given(search=searches)
def test_a_trial_that_has_done_all_its_steps_is_never_behind(
    policy: Callable[[], EarlyStoppingPolicy], search: tuple[Curves, list[int]]
) -> None:
    decisions = Search(policy(), *search[:1]).go(search[1])
    assert not any(stop for _, step, stop in decisions if step == MAX_STEPS)


@every_policy
@quick
@given(search=searches, cut=st.floats(0, 1))
def test_replay_then_going_on_is_the_same_as_never_being_interrupted(
    policy: Callable[[], EarlyStoppingPolicy], search: tuple[Curves, list[int]], cut: float
) -> None:
    curves, order = search
    at = round(cut * len(order))
    through, first = Search(policy(), curves), Search(policy(), curves)
    decisions = through.go(order)
    before = first.go(order[:at])
    resumed = policy()
    replay_records(resumed, first.records())
    second = Search(resumed, curves, first.told, first.stopped)
    assert before + second.go(order[at:]) == decisions


def test_replay_of_scores_where_less_is_better() -> None:
    policy = Asha(MAX_STEPS, 1)
    replay_records(policy, [record(n, [(1, 0.2)]) for n in range(3)], "min")
    assert policy.should_stop("worse", 1, -0.3)
    assert not policy.should_stop("better", 1, -0.1)


def test_what_completed_before_its_last_evaluation_counts_on_the_rungs_behind_it() -> None:
    policy = Asha(MAX_STEPS, 1)
    replay_records(policy, [record(n, [(1, 0.9)], Outcome.COMPLETED) for n in range(3)])  # by patience
    assert policy.should_stop("behind", 9, 0.5)


def test_a_repeated_step_after_a_replay_goes_on() -> None:
    policy = Asha(MAX_STEPS, 1)
    replay_records(policy, [record(n, [(10, 0.9 - n / 10)]) for n in range(5)])
    assert not policy.should_stop("4", 1, 0.5)  # it was let go on when it was first reported


# --- rungs ---


@pytest.mark.parametrize(
    ("max_steps", "grace", "reduction", "expected"),
    [
        (60, 10, 3, [10, 30]),
        (90, 10, 3, [10, 30]),
        (91, 10, 3, [10, 30, 90]),
        (100, 10, 2.5, [10, 25, 62.5]),
        (10, 10, 3, []),
    ],
)
def test_levels(max_steps: int, grace: int, reduction: float, expected: list[float]) -> None:
    assert compute_rung_levels(max_steps, grace, reduction) == expected


@quick
@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=9), share=st.floats(0, 1))
def test_quantile_is_that_of_numpy(values: list[float], share: float) -> None:
    assert early_stopping.compute_sorted_quantile(sorted(values), share) == np.quantile(values, share)


@pytest.mark.parametrize("reduction", [*range(2, 18), 1.5, 2.9])
def test_the_cutoff_is_that_of_ray_to_the_last_bit(reduction: float) -> None:
    rung, held = early_stopping.Rung(10), []
    for number in range(40):
        held.append(0.1 * number)
        rung.add(str(number), 0.1 * number)
        assert rung.cutoff(reduction) == np.nanpercentile(held, (1 - 1 / reduction) * 100)


# --- ASHA ---


def test_asha_by_hand() -> None:
    policy = Asha(MAX_STEPS, 1)
    assert enter(policy, 1, 0.1, 0.2, 0.4, 0.8) == [False] * 4  # each the best so far
    # the cut-off of 0.1, 0.2, 0.4, 0.8 is their 2/3 quantile, place 2 of 0..3: 0.4
    assert policy.rungs[0].cutoff(3) == pytest.approx(0.4)
    assert policy.should_stop("below", 1, 0.39)
    # of 0.1, 0.2, 0.39, 0.4, 0.8: place 2 2/3, 0.39 + 2/3 * 0.01
    assert policy.rungs[0].cutoff(3) == pytest.approx(0.39 + 0.01 * 2 / 3)
    assert not policy.should_stop("above", 1, 0.4)
    assert not policy.should_stop("above", 2, 0.0)  # between the rungs
    assert not policy.should_stop("above", 3, 0.0)  # the first at the next rung
    assert policy.should_stop("10-3", 3, -0.1)


def test_asha_lets_ties_go_on() -> None:
    assert enter(Asha(MAX_STEPS, 1), 1, *[0.3] * 20) == [False] * 20


def test_asha_says_nothing_before_the_first_rung() -> None:
    policy = Asha(MAX_STEPS, 1)
    assert enter(policy, 0, 0.9, 0.1) == [False, False]
    assert enter(policy, 1, 0.1) == [False]


def test_a_first_score_beyond_several_rungs_enters_the_highest() -> None:
    policy = Asha(MAX_STEPS, 1)
    policy.should_stop("late", 5, 0.9)
    assert not policy.should_stop("0", 1, 0.1)
    assert policy.should_stop("1", 3, 0.1)


def test_a_completed_trial_counts_in_the_last_rung() -> None:
    policy = Asha(MAX_STEPS, 1)
    policy.record_completion("done", 0.9)
    assert not policy.should_stop("0", 1, 0.1)
    assert policy.should_stop("0", 9, 0.1)


@quick
@given(search=searches)
def test_the_best_so_far_at_a_rung_is_never_stopped(search: tuple[Curves, list[int]]) -> None:
    curves, order = search
    best: dict[int, float] = {}
    for trial, step, stop in Search(Asha(MAX_STEPS, 1), curves).go(order):
        score = curves[trial][STEPS.index(step)]
        if score >= best.get(step, -math.inf):
            assert not stop
            best[step] = score


@quick
@given(search=searches, shift=st.floats(-1, 1), factor=st.floats(0.01, 5))
def test_decisions_do_not_depend_on_the_scores_of_other_rungs(
    search: tuple[Curves, list[int]], shift: float, factor: float
) -> None:
    curves, order = search
    plain, moved = Asha(MAX_STEPS, 1), Asha(MAX_STEPS, 1)
    seen: dict[int, int] = {}
    behind: set[int] = set()  # at the first rung, and so for good; a rounded score may decide that
    for trial in order:  # nobody is stopped, so that both see the same trials at the second rung
        place = seen[trial] = seen.get(trial, -1) + 1
        step, score = STEPS[place], curves[trial][place]
        other = factor * score + shift if step < 30 else score
        decisions = plain.should_stop(str(trial), step, score), moved.should_stop(str(trial), step, other)
        if step < 30 and any(decisions):
            behind.add(trial)
        assert step < 30 or trial in behind or decisions[0] == decisions[1]


@pytest.mark.parametrize("reduction", [2, 3, 6])
@quick
@given(search=searches)
def test_asha_decides_as_ray_does(reduction: int, search: tuple[Curves, list[int]]) -> None:
    curves, order = search
    theirs = AsyncHyperBandScheduler(
        time_attr="step",
        metric="score",
        mode="max",
        max_t=MAX_STEPS,
        grace_period=1,
        reduction_factor=reduction,
    )
    trials: list[Any] = [SimpleNamespace(trial_id=str(number)) for number in range(len(curves))]
    for trial in trials:
        theirs.on_trial_add(None, trial)  # type: ignore[arg-type]
    decisions = Search(Asha(MAX_STEPS, 1, reduction=reduction), curves).go(order)
    for number, step, stop in decisions:
        result = {"step": step, "score": curves[number][STEPS.index(step)]}
        if step < MAX_STEPS:
            answer = theirs.on_trial_result(None, trials[number], result)  # type: ignore[arg-type]
            assert stop == (answer == TrialScheduler.STOP)
        else:
            theirs.on_trial_complete(None, trials[number], result)  # type: ignore[arg-type]


def test_ten_thousand_trials_cost_little() -> None:
    policy, draws = Asha(6, 1), random.Random(0)
    began = time.process_time()
    for trial, step in itertools.product(map(str, range(10_000)), range(1, 7)):
        policy.should_stop(trial, step, draws.random())
    assert (time.process_time() - began) / 60_000 < 0.2e-3


# --- the choice ---


@pytest.mark.parametrize(
    ("kind", "evaluations", "expected"),
    [
        ("asha", 6, Asha),
        ("none", 6, NoEarlyStopping),
        ("asha", 1, NoEarlyStopping),
    ],
)
def test_make(kind: str, evaluations: int, expected: type) -> None:
    assert type(make_early_stopping(kind, evaluations)) is expected


def test_make_gives_the_first_evaluation_as_grace() -> None:
    made = make_early_stopping("asha", 6)
    assert isinstance(made, Asha)
    assert [rung.level for rung in made.rungs] == [1, 3]


def test_make_knows_no_other() -> None:
    with pytest.raises(ValueError, match="scheduler: must be one of asha, none, but got 'x'"):
        make_early_stopping("x", 6)


def test_the_rules_load_none_of_the_heavy_libraries() -> None:
    heavy = "{'ray', 'optuna', 'torch'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", f"import sys, tune.strategy.early_stopping; assert not {heavy}"],
        check=True,
    )
