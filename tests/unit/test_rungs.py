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

from tune import rungs
from tune.rungs import SLACK, Asha, Median, Never, Pasha, StopPolicy, Swaps, levels, make, replay

STEPS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
MAX_STEPS = STEPS[-1]  # rungs: 10, 30, 90
NOISES: dict[str, Callable[[float], float | None]] = {
    "exact": lambda share: 0.0,
    "noisy": lambda share: 0.05,
    "unknown": lambda share: None,
}
POLICIES: dict[str, Callable[[], StopPolicy]] = {
    "asha": lambda: Asha(MAX_STEPS, 10),
    **{f"pasha-{name}": lambda noise=noise: Pasha(MAX_STEPS, 10, noise) for name, noise in NOISES.items()},
    "median": lambda: Median(MAX_STEPS, 10, least=3),
    "none": Never,
}
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
UNUSABLE = (None, math.nan, math.inf, -math.inf)

Curves = list[list[float]]


@dataclass
class Search:
    """Trials with known curves, evaluated as the order says until they are stopped."""

    policy: StopPolicy
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
        stop = self.policy.report(str(trial), step, score)
        if stop:
            self.stopped.add(trial)
        return trial, step, stop

    def records(self) -> list[Any]:
        """The trials as a ledger has them."""
        return [SimpleNamespace(id=str(trial), scores=self.told[trial]) for trial in sorted(self.told)]

    @property
    def cost(self) -> int:
        """Steps of all trials."""
        return sum(told[-1][0] for told in self.told.values() if told)


def make_search(seed: int, trials: int, digits: int) -> tuple[Curves, list[int]]:
    """Random curves, with ties where the digits are few, and in which order their evaluations arrive."""
    draws = random.Random(seed)
    curves = [[round(draws.uniform(-1, 1), digits) for _ in STEPS] for _ in range(trials)]
    order = [trial for trial in range(trials) for _ in STEPS]
    draws.shuffle(order)
    return curves, order


searches = st.builds(make_search, st.integers(0, 2**32), st.integers(1, 20), st.sampled_from((1, 15)))
quick = settings(max_examples=25, deadline=None)


def enter(policy: StopPolicy, step: int, *values: float) -> list[bool]:
    """New trials with these scores at this step, one after another."""
    return [policy.report(f"{step}-{number}", step, value) for number, value in enumerate(values)]


# --- what every policy promises ---


@every_policy
@pytest.mark.parametrize("score", UNUSABLE)
@pytest.mark.parametrize("step", [5, 10, 20, 90])
def test_what_diverged_is_stopped(policy: Callable[[], StopPolicy], score: float | None, step: int) -> None:
    assert policy().report("0", step, score)


@every_policy
@quick
@given(search=searches)
def test_what_diverged_changes_nothing_for_the_others(
    policy: Callable[[], StopPolicy], search: tuple[Curves, list[int]]
) -> None:
    curves, order = search
    clean, dirty = Search(policy(), curves), Search(policy(), curves)
    for number, trial in enumerate(order):
        bad = UNUSABLE[number % len(UNUSABLE)]
        dirty.policy.report(f"diverged-{number}", STEPS[number % len(STEPS)], bad)
        dirty.policy.completed(f"diverged-{number}", bad)
        dirty.policy.recall(f"diverged-{number}", 10, bad)
        assert clean.advance(trial) == dirty.advance(trial)


@every_policy
@quick
@given(search=searches)
def test_a_step_reported_again_is_answered_as_before_and_changes_nothing(
    policy: Callable[[], StopPolicy], search: tuple[Curves, list[int]]
) -> None:
    curves, order = search
    once, twice = Search(policy(), curves), Search(policy(), curves)
    for trial in order:
        decision = once.advance(trial)
        assert twice.advance(trial) == decision
        if decision is not None:
            told = twice.told[trial]
            again = [twice.policy.report(str(trial), step, score + 0.5) for step, score in told]
            assert again == [decision[2]] * len(told)


@every_policy
@quick
@given(search=searches)
def test_a_trial_that_has_done_all_its_steps_is_never_behind(
    policy: Callable[[], StopPolicy], search: tuple[Curves, list[int]]
) -> None:
    decisions = Search(policy(), *search[:1]).go(search[1])
    assert not any(stop for _, step, stop in decisions if step == MAX_STEPS)


@every_policy
@quick
@given(search=searches, cut=st.floats(0, 1))
def test_replay_then_going_on_is_the_same_as_never_being_interrupted(
    policy: Callable[[], StopPolicy], search: tuple[Curves, list[int]], cut: float
) -> None:
    curves, order = search
    at = round(cut * len(order))
    through, first = Search(policy(), curves), Search(policy(), curves)
    decisions = through.go(order)
    before = first.go(order[:at])
    resumed = policy()
    replay(resumed, first.records())
    second = Search(resumed, curves, first.told, first.stopped)
    assert before + second.go(order[at:]) == decisions
    assert getattr(resumed, "cap", None) == getattr(through.policy, "cap", None)


def test_replay_of_scores_where_less_is_better() -> None:
    policy = Asha(MAX_STEPS, 10)
    replay(policy, [SimpleNamespace(id=str(n), scores=[(10, 0.2)]) for n in range(3)], "min")
    assert policy.report("worse", 10, -0.3)
    assert not policy.report("better", 10, -0.1)


def test_a_repeated_step_after_a_replay_goes_on() -> None:
    policy = Asha(MAX_STEPS, 10)
    replay(policy, [SimpleNamespace(id=str(n), scores=[(10, 0.9 - n / 10)]) for n in range(5)])
    assert not policy.report("4", 10, 0.5)  # it was let go on when it was first reported


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
    assert levels(max_steps, grace, reduction) == expected


@pytest.mark.parametrize(("grace", "reduction"), [(0, 3), (10, 1)])
def test_levels_that_cannot_be(grace: int, reduction: float) -> None:
    with pytest.raises(ValueError, match="grace >= 1 and reduction > 1"):
        levels(100, grace, reduction)


@quick
@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=9), share=st.floats(0, 1))
def test_quantile_is_that_of_numpy(values: list[float], share: float) -> None:
    assert rungs.quantile(sorted(values), share) == np.quantile(values, share)


@pytest.mark.parametrize("reduction", [*range(2, 18), 1.5, 2.9])
def test_the_cutoff_is_that_of_ray_to_the_last_bit(reduction: float) -> None:
    rung, held = rungs.Rung(10), []
    for number in range(40):
        held.append(0.1 * number)
        rung.add(str(number), 0.1 * number)
        assert rung.cutoff(reduction) == np.nanpercentile(held, (1 - 1 / reduction) * 100)


def test_the_best_of_a_rung_whatever_the_order() -> None:
    trials = {"a": 0.5, "b": 0.9, "c": 0.5, "d": 0.1, "e": 0.5}
    for order in (trials, reversed(trials)):
        rung = rungs.Rung(10)
        for trial in order:
            rung.add(trial, trials[trial])
        assert rung.best(3) == ["c", "e", "b"]
        assert rung.best(9) == ["d", "a", "c", "e", "b"]


# --- ASHA ---


def test_asha_by_hand() -> None:
    policy = Asha(MAX_STEPS, 10)
    assert enter(policy, 10, 0.1, 0.2, 0.4, 0.8) == [False] * 4  # each the best so far
    # the cut-off of 0.1, 0.2, 0.4, 0.8 is their 2/3 quantile, place 2 of 0..3: 0.4
    assert policy.rungs[0].cutoff(3) == pytest.approx(0.4)
    assert policy.report("below", 10, 0.39)
    # of 0.1, 0.2, 0.39, 0.4, 0.8: place 2 2/3, 0.39 + 2/3 * 0.01
    assert policy.rungs[0].cutoff(3) == pytest.approx(0.39 + 0.01 * 2 / 3)
    assert not policy.report("above", 10, 0.4)
    assert not policy.report("above", 20, 0.0)  # between the rungs
    assert not policy.report("above", 30, 0.0)  # the first at the next rung
    assert policy.report("10-3", 30, -0.1)


def test_asha_lets_ties_go_on() -> None:
    assert enter(Asha(MAX_STEPS, 10), 10, *[0.3] * 20) == [False] * 20


def test_asha_says_nothing_before_the_first_rung() -> None:
    policy = Asha(MAX_STEPS, 10)
    assert enter(policy, 9, 0.9, 0.1) == [False, False]
    assert enter(policy, 10, 0.1) == [False]


def test_a_first_score_beyond_several_rungs_enters_the_highest() -> None:
    policy = Asha(MAX_STEPS, 10)
    policy.report("late", 41, 0.9)
    assert not policy.report("0", 10, 0.1)
    assert policy.report("1", 30, 0.1)


def test_a_completed_trial_counts_in_the_last_rung() -> None:
    policy = Asha(MAX_STEPS, 10)
    policy.completed("done", 0.9)
    assert not policy.report("0", 10, 0.1)
    assert policy.report("0", 90, 0.1)


@quick
@given(search=searches)
def test_the_best_so_far_at_a_rung_is_never_stopped(search: tuple[Curves, list[int]]) -> None:
    curves, order = search
    best: dict[int, float] = {}
    for trial, step, stop in Search(Asha(MAX_STEPS, 10), curves).go(order):
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
    plain, moved = Asha(MAX_STEPS, 10), Asha(MAX_STEPS, 10)
    seen: dict[int, int] = {}
    behind: set[int] = set()  # at the first rung, and so for good; a rounded score may decide that
    for trial in order:  # nobody is stopped, so that both see the same trials at the second rung
        place = seen[trial] = seen.get(trial, -1) + 1
        step, score = STEPS[place], curves[trial][place]
        other = factor * score + shift if step < 30 else score
        decisions = plain.report(str(trial), step, score), moved.report(str(trial), step, other)
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
        grace_period=10,
        reduction_factor=reduction,
    )
    trials: list[Any] = [SimpleNamespace(trial_id=str(number)) for number in range(len(curves))]
    for trial in trials:
        theirs.on_trial_add(None, trial)  # type: ignore[arg-type]
    decisions = Search(Asha(MAX_STEPS, 10, reduction), curves).go(order)
    for number, step, stop in decisions:
        result = {"step": step, "score": curves[number][STEPS.index(step)]}
        if step < MAX_STEPS:
            answer = theirs.on_trial_result(None, trials[number], result)  # type: ignore[arg-type]
            assert stop == (answer == TrialScheduler.STOP)
        else:
            theirs.on_trial_complete(None, trials[number], result)  # type: ignore[arg-type]


def test_ten_thousand_trials_cost_little() -> None:
    policy, draws = Asha(60, 10), random.Random(0)
    began = time.process_time()
    for trial, step in itertools.product(map(str, range(10_000)), range(10, 61, 10)):
        policy.report(trial, step, draws.random())
    assert (time.process_time() - began) / 60_000 < 0.2e-3


# --- PASHA ---


def pasha(noise: float | None = 0.0, **changes: Any) -> Pasha:
    """Rungs 10, 30, 90 of 100."""
    return Pasha(MAX_STEPS, 10, lambda share: noise, **changes)


def curve(policy: Pasha, trial: str, *values: float) -> None:
    """A trial's scores at 10, 20, 30, ..., nothing decided."""
    for step, score in zip(STEPS, values, strict=False):
        policy.recall(trial, step, score)


def test_the_cap_starts_at_the_second_rung_and_trials_stop_there() -> None:
    policy = pasha()
    assert policy.cap == 30
    assert [policy.report("0", step, 0.5) for step in (10, 20, 30)] == [False, False, True]
    assert policy.cap == 30


def test_parallel_curves_leave_the_cap() -> None:
    policy = pasha()
    for trial in range(20):
        curve(policy, str(trial), *(trial / 20 + step / 1000 for step in (1, 2, 3)))
    assert policy.cap == 30


def test_crossing_curves_raise_the_cap_rung_by_rung_to_the_last_step() -> None:
    policy = pasha()
    curve(policy, "a", 0.5, 0.5, 0.5)
    assert policy.cap == 30
    assert not any(policy.report("b", step, score) for step, score in ((10, 0.6), (20, 0.6)))
    assert policy.report("b", 30, 0.4)  # raises the cap, and is itself behind
    assert policy.cap == 90
    assert not any(policy.report("c", step, 0.7) for step in STEPS[:8])
    assert policy.report("c", 90, 0.7)  # at the new cap
    assert not any(policy.report("d", step, 0.8) for step in STEPS[:8])
    assert policy.cap == 90
    assert policy.report("d", 90, 0.6)
    assert policy.cap == MAX_STEPS
    assert not any(policy.report("e", step, 0.9) for step in STEPS)


def test_the_trial_that_raises_the_cap_goes_on() -> None:
    policy = pasha()
    enter(policy, 10, 0.1, 0.2)
    curve(policy, "a", 0.6, 0.6, 0.4)
    assert not any(policy.report("b", step, 0.5) for step in STEPS[:8])
    assert policy.cap == 90


def test_equal_scores_are_no_disagreement() -> None:
    policy = pasha()
    curve(policy, "a", 0.6, 0.6, 0.5)
    curve(policy, "b", 0.5, 0.5, 0.5)
    curve(policy, "c", 0.5, 0.5, 0.4)
    assert policy.cap == 30


@pytest.mark.parametrize(("noise", "cap"), [(0.0, 90), (0.0178, 90), (0.0179, 30), (1.0, 30)])
def test_a_swap_within_the_noise_leaves_the_cap(noise: float, cap: float) -> None:
    policy = pasha(noise)  # 2.8 * 0.01786 = 0.05
    curve(policy, "a", 0.55, 0.6, 0.4)
    curve(policy, "b", 0.50, 0.5, 0.6)
    assert policy.cap == cap


def test_a_swap_of_just_the_tolerance_leaves_the_cap() -> None:
    policy = pasha(0.25, multiple=1.0)
    curve(policy, "a", 0.75, 0.75, 0.25)
    curve(policy, "b", 0.5, 0.5, 0.5)
    assert policy.cap == 30


def test_the_multiple_of_the_noise_is_a_choice() -> None:
    made = [pasha(0.01, multiple=multiple) for multiple in (4.0, 6.0)]
    for policy in made:
        curve(policy, "a", 0.55, 0.6, 0.4)
        curve(policy, "b", 0.50, 0.5, 0.6)
    assert [policy.cap for policy in made] == [90, 30]


@pytest.mark.parametrize("noise", [None, math.nan, math.inf])
def test_while_the_noise_is_unknown_curves_that_criss_cross_tell_it(noise: float | None) -> None:
    policy = pasha(noise)
    curve(policy, "a", 0.55, 0.55, 0.40)
    curve(policy, "b", 0.50, 0.50, 0.60)
    assert policy.cap == 90
    curve(policy, "c", 0.90, 0.80, 0.90)
    curve(policy, "d", 0.80, 0.90, 0.80)  # apart by 0.1 at the end, there and back
    assert policy.cap == 30


def test_a_cap_that_a_trial_has_used_stays_whatever_the_noise_becomes() -> None:
    noise = [0.0]
    policy = Pasha(MAX_STEPS, 10, lambda share: noise[0])
    curve(policy, "a", 0.6, 0.6, 0.4)
    curve(policy, "b", 0.5, 0.5, 0.5)
    assert policy.cap == 90
    assert not policy.report("b", 40, 0.5)
    noise[0] = 9.0
    assert policy.cap == 90
    assert not policy.report("c", 10, 0.9)
    assert policy.cap == 90


def test_with_fewer_than_two_rungs_there_is_no_cap() -> None:
    policy = Pasha(60, 30, lambda share: 0.0)
    assert policy.cap == 60
    assert not any(policy.report("0", step, 0.5) for step in (30, 60))
    assert Pasha(60, 60, lambda share: 0.0).cap == 60


def test_steps_off_the_rungs_are_at_the_cap_once() -> None:
    policy = Pasha(62, 10, lambda share: 0.0)  # 62 steps evaluated six times; rungs 10, 30
    assert [policy.report("0", step, 0.5) for step in (10, 21, 31)] == [False, False, True]
    assert policy.cap == 30


@pytest.mark.parametrize("noise", [0.0, 0.05, 1.0])
@quick
@given(search=searches)
def test_under_a_tolerance_that_stays_the_cap_never_shrinks(
    noise: float, search: tuple[Curves, list[int]]
) -> None:
    policy = pasha(noise)
    made, caps = Search(policy, search[0]), []
    for trial in search[1]:
        made.advance(trial)
        caps.append(policy.cap)
    assert caps == sorted(caps)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@quick
@given(search=searches)
def test_a_trial_goes_on_below_the_cap_as_under_asha_and_never_beyond_the_cap(
    noise: Callable[[float], float | None], search: tuple[Curves, list[int]]
) -> None:
    curves, order = search
    policy, asha = Pasha(MAX_STEPS, 10, noise), Asha(MAX_STEPS, 10)
    made = Search(policy, curves)
    for trial in order:
        decision = made.advance(trial)
        if decision is not None:
            _, step, stop = decision
            behind = asha.report(str(trial), step, curves[trial][STEPS.index(step)])
            assert step <= policy.cap
            assert stop == (behind or policy.cap == step < MAX_STEPS)


@quick
@given(search=searches, noises=st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_more_tolerance_never_gives_a_higher_cap(
    search: tuple[Curves, list[int]], noises: list[float]
) -> None:
    caps = []
    for noise in sorted(noises):
        policy = pasha(noise)
        for trial, values in enumerate(search[0]):
            curve(policy, str(trial), *values[:3])
        caps.append(policy.cap)
    assert caps == sorted(caps, reverse=True)


def paper_disagrees(pairs: Sequence[tuple[float, float]], tolerance: float) -> bool:
    """Soft ranking as the paper has it: who is in place i at the top rung must be within the tolerance
    of who is in place i below. pairs: scores (below, at the top)."""
    top = sorted(pairs, key=lambda pair: (-pair[1], -pair[0]))
    below = sorted((pair[0] for pair in pairs), reverse=True)
    return any(abs(mine - place) > tolerance for (mine, _), place in zip(top, below, strict=True))


tenths = st.integers(0, 10).map(float)


@quick
@given(pairs=st.lists(st.tuples(tenths, tenths), max_size=9), tolerance=tenths)
def test_the_cap_grows_wherever_the_paper_says_so(pairs: list[tuple[float, float]], tolerance: float) -> None:
    swaps = Swaps()
    for below, here in pairs:
        swaps.add(below, here)
    by_hand = [a[0] - b[0] for a, b in itertools.permutations(pairs, 2) if a[0] > b[0] and a[1] < b[1]]
    assert swaps.largest == max(by_hand, default=0.0)
    assert swaps.largest > tolerance or not paper_disagrees(pairs, tolerance)


@quick
@given(pairs=st.lists(st.tuples(tenths, tenths), min_size=2, max_size=2), tolerance=tenths)
def test_two_trials_disagree_where_the_paper_says_so(
    pairs: list[tuple[float, float]], tolerance: float
) -> None:
    swaps = Swaps()
    for below, here in pairs:
        swaps.add(below, here)
    assert (swaps.largest > tolerance) == paper_disagrees(pairs, tolerance)


def test_crossing_noise_by_hand() -> None:
    there_and_back = [[1.0, 2.0, 3.0], [0.0, 2.5, 2.0]]
    assert rungs.crossing_noise(np.array(there_and_back)) == 1.0
    assert rungs.crossing_noise(np.array([[1.0, 2.0, 3.0], [0.0, 2.5, 3.5]])) == 0.0  # not back
    assert rungs.crossing_noise(np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]])) == 0.0  # not there
    assert rungs.crossing_noise(np.array([[1.0, 2.0, 3.0], [0.0, 2.5, math.nan]])) == 0.0
    two_pairs = np.array([*there_and_back, [11.0, 12.0, 16.0], [10.0, 12.5, 14.0]])
    assert rungs.crossing_noise(two_pairs) == pytest.approx(1.9)  # 90 % of the way from 1 to 2
    assert rungs.crossing_noise(np.empty((0, 0))) == 0.0


# --- median ---


def test_median_by_hand() -> None:
    policy = Median(MAX_STEPS, 10, least=3)
    for trial, values in {"a": (0.2, 0.6), "b": (0.4, 0.4), "c": (0.8, 0.2)}.items():
        assert not any(
            policy.report(trial, step, value) for step, value in zip((10, 20), values, strict=True)
        )
    assert policy.report("d", 10, 0.39)  # the median at 10 of 0.2, 0.4, 0.8 is 0.4
    assert not policy.report("e", 10, 0.395)  # now it is that of 0.2, 0.39, 0.4, 0.8
    # the means up to 20 are 0.4, 0.4, 0.5; what counts of the trial itself is its best
    assert not policy.report("e", 20, 0.401)
    assert not policy.report("f", 10, 0.41)
    assert not policy.report("f", 20, 0.0)
    assert not policy.report("g", 15, 0.0)  # none else was evaluated at 15
    assert policy.report("g", 20, 0.39)


@pytest.mark.parametrize(("others", "stops"), [(4, False), (5, True)])
def test_a_median_of_few_says_nothing(others: int, stops: bool) -> None:
    policy = Median(MAX_STEPS, 10)
    enter(policy, 10, *[0.9] * others)
    assert policy.report("bad", 10, 0.1) == stops


def test_a_median_says_nothing_in_the_time_of_grace() -> None:
    policy = Median(MAX_STEPS, 10)
    enter(policy, 9, *[0.9] * 9)
    assert not policy.report("bad", 9, 0.1)


@quick
@given(search=searches)
def test_the_best_so_far_is_never_below_the_median(search: tuple[Curves, list[int]]) -> None:
    curves, order = search
    best = -math.inf
    for trial, step, stop in Search(Median(MAX_STEPS, 10, least=1), curves).go(order):
        score = curves[trial][STEPS.index(step)]
        assert not (stop and score >= best)
        best = max(best, score)


# --- the choice ---


@pytest.mark.parametrize(
    ("kind", "evaluations", "expected"),
    [
        ("asha", 6, Asha),
        ("pasha", 6, Pasha),
        ("median", 6, Median),
        ("none", 6, Never),
        ("asha", 1, Never),
        ("pasha", 1, Never),
        ("median", 1, Never),
    ],
)
def test_make(kind: str, evaluations: int, expected: type) -> None:
    assert type(make(kind, 60, evaluations, lambda share: None)) is expected


def test_make_gives_the_first_evaluation_as_grace() -> None:
    made = make("asha", 64, 6, lambda share: None)
    assert isinstance(made, Asha)
    assert [rung.level for rung in made.rungs] == [10, 30]
    assert isinstance(made := make("pasha", 3, 6, lambda share: None), Pasha)
    assert [rung.level for rung in made.rungs] == [1]


def test_make_knows_no_other() -> None:
    with pytest.raises(ValueError, match="scheduler: must be one of asha, pasha, median, none, but got 'x'"):
        make("x", 60, 6, lambda share: None)


def test_the_rules_load_none_of_the_heavy_libraries() -> None:
    heavy = "{'ray', 'optuna', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import sys, tune.rungs; assert not {heavy}"], check=True)


# --- a small simulation ---


def simulate(policy: StopPolicy, seed: int, noise: float) -> tuple[int, float]:
    """40 trials, one after another, whose curves are parallel but for noise. Steps spent, and how much
    better (true) the best trial is than the one chosen: the best at the highest rung that the best
    trial of the rung below reached."""
    draws = np.random.default_rng(seed)
    worth = draws.uniform(0, 1, 40)
    curves = worth[:, None] - 2 / np.sqrt(STEPS) + draws.normal(0, noise, (40, len(STEPS)))
    search = Search(policy, curves.tolist())
    search.go([trial for trial in range(40) for _ in STEPS])
    chosen = -1
    for place in (0, 2, 8, 9):
        here = {trial: told[place][1] for trial, told in search.told.items() if len(told) > place}
        if chosen >= 0 and chosen not in here:
            break
        chosen = max(here, key=here.__getitem__)
    return search.cost, worth.max() - worth[chosen]


@pytest.mark.parametrize("noise", [0.001, 0.005])
@pytest.mark.parametrize("known", [True, False])
def test_pasha_spends_less_than_asha_on_easy_surfaces_and_chooses_as_well(noise: float, known: bool) -> None:
    measured = noise if known else None
    ours = [simulate(pasha(measured), seed, noise) for seed in range(20)]
    theirs = [simulate(Asha(MAX_STEPS, 10), seed, noise) for seed in range(20)]
    (cost, regret), (full_cost, full_regret) = np.mean(ours, axis=0), np.mean(theirs, axis=0)
    assert cost < 0.75 * full_cost
    assert regret <= full_regret + noise


def test_a_trial_that_is_behind_by_no_more_than_luck_goes_on() -> None:
    """The slack is asked for at the rung's share of the steps, and nothing is allowed for while it is
    unknown."""
    asked: list[float] = []

    def noise(share: float) -> float | None:
        asked.append(share)
        return 0.02 if asked[1:] else None

    policy = Asha(MAX_STEPS, 10, slack=noise)
    assert not policy.report("first", 10, 0.50)
    assert not policy.report("near", 10, 0.50 - SLACK * 0.0199)
    assert policy.report("far", 10, 0.50 - SLACK * 0.0201 - 0.02)
    assert set(asked) == {10 / MAX_STEPS}
