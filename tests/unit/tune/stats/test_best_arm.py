"""The race: each decision on posteriors made by hand, and whole races in simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from tests.unit.tune.stats.test_surrogate import make_world
from tune.stats.best_arm import (
    choose_candidates,
    choose_next_replicate,
    compute_expected_gain,
    compute_win_probability,
    drop_inferior_candidates,
    find_leader,
    weigh_replicate,
)
from tune.stats.gaussian_process import Float64Array, Hyperparameters
from tune.stats.surrogate import Observation, Posterior, fit_posterior

SEEDS = tuple(range(10))


def make_posterior(mean: list[float], sd: float | list[float], common: float = 0.0) -> Posterior:
    """Independent but for a part that all share, of standard deviation `common`."""
    count = len(mean)
    spread = np.broadcast_to(np.asarray(sd, dtype=float), (count,))
    return Posterior(
        mean=np.array(mean, dtype=float),
        covariance=np.diag(spread**2) + common**2,
        noise=0.02,
        noise_with_collapses=np.full(count, 0.02),
        seed_sd=0.01,
        collapse_probability=np.zeros(count),
        gaps=np.zeros(1),
        drift=0.0,
        hyperparameters=Hyperparameters(np.zeros((1, 5)), np.ones(1), 1.0),
    )


def test_the_leader_has_the_highest_mean_and_the_lowest_index_of_equals() -> None:
    posterior = make_posterior([0.9, 0.7, 0.8, 0.8], 0.1)
    assert find_leader(posterior, [1, 2, 3]) == 2
    assert find_leader(posterior, [3, 2]) == 2
    assert find_leader(posterior, [0]) == 0


def test_what_cannot_win_does_not_enter() -> None:
    posterior = make_posterior([0.5, 0.8, 0.79, 0.6, 0.805], 0.02)
    assert choose_candidates(posterior, 10) == [4, 1, 2]
    assert choose_candidates(posterior, 2) == [4, 1]


def test_candidates_that_are_all_the_same_enter() -> None:
    assert sorted(choose_candidates(make_posterior([0.7] * 5, 0.02), 10)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("looks", [1, 2, 30])
@pytest.mark.parametrize("rivals", [1, 9])
def test_one_is_dropped_at_the_corrected_level(looks: int, rivals: int) -> None:
    """The leader against rivals that are a little better, or a little worse, than the threshold."""
    threshold = stats.norm.isf(0.05 / (rivals * looks * (looks + 1))) * 0.02 * np.sqrt(2)
    near, far = 0.8 - 0.999 * threshold, 0.8 - 1.001 * threshold
    candidates = list(range(rivals + 1))
    assert (
        drop_inferior_candidates(make_posterior([0.8] + [near] * rivals, 0.02), candidates, looks)
        == candidates
    )
    assert drop_inferior_candidates(make_posterior([0.8] + [far] * rivals, 0.02), candidates, looks) == [0]


def test_all_looks_together_spend_no_more_than_the_level() -> None:
    assert sum(1 / (k * (k + 1)) for k in range(1, 100_000)) < 1


def test_differences_are_paired() -> None:
    """What all share does not count: without that, nothing could be told."""
    paired, alone = make_posterior([0.8, 0.7], 0.01, common=0.2), make_posterior([0.8, 0.7], 0.2)
    assert drop_inferior_candidates(paired, [0, 1], 1) == [0]
    assert drop_inferior_candidates(alone, [0, 1], 1) == [0, 1]
    assert compute_win_probability(paired, 1, 0) == pytest.approx(
        stats.norm.cdf(-0.1 / (0.01 * np.sqrt(2))), rel=1e-6
    )


def test_the_alive_keep_their_order_and_one_stays() -> None:
    posterior = make_posterior([0.2, 0.8, 0.79], 0.02)
    assert drop_inferior_candidates(posterior, [2, 0, 1], 1) == [2, 1]
    assert drop_inferior_candidates(posterior, [0], 1) == [0]
    with pytest.raises(ValueError, match="look: must be at least 1, but got 0"):
        drop_inferior_candidates(posterior, [0, 1], 0)


def test_known_equals_stay() -> None:
    assert drop_inferior_candidates(make_posterior([0.7] * 3, 0.0), [0, 1, 2], 5) == [0, 1, 2]


def test_a_replicate_is_of_the_next_paired_seed() -> None:
    posterior = make_posterior([0.8, 0.79, 0.1], 0.01)
    done = {0: {7, 3}, 1: {7, 3}, 2: {7}}
    got = choose_next_replicate(posterior, [0, 1, 2], done, {}, (7, 3, 5, 9), np.random.default_rng(0))
    assert got in {(0, 5), (1, 5)}


def test_pending_replicates_count_as_given() -> None:
    posterior, rng = make_posterior([0.8, 0.8], 0.01), np.random.default_rng(0)
    pending: dict[int, set[int]] = {}
    given = []
    while (
        got := choose_next_replicate(posterior, [0, 1], {0: {0}, 1: {0}}, pending, (0, 1, 2), rng)
    ) is not None:
        pending.setdefault(got[0], set()).add(got[1])
        given.append(got)
    assert sorted(given) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert {got[1] for got in given[:2]} == {1}  # pairs get complete first


def test_when_the_best_two_have_had_all_seeds_another_runs() -> None:
    posterior = make_posterior([0.8, 0.79, 0.5], 0.001)
    done = {0: {0, 1}, 1: {0, 1}, 2: {0}}
    assert choose_next_replicate(posterior, [0, 1, 2], done, {}, (0, 1), np.random.default_rng(0)) == (2, 1)


def test_one_candidate_is_run_until_its_seeds_are_used() -> None:
    posterior, rng = make_posterior([0.8], 0.01), np.random.default_rng(0)
    assert choose_next_replicate(posterior, [0], {}, {}, (4, 5), rng) == (0, 4)
    assert choose_next_replicate(posterior, [0], {0: {4}}, {0: {5}}, (4, 5), rng) is None


def test_the_top_two_get_the_replicates() -> None:
    posterior, rng = make_posterior([0.8, 0.79, 0.7, 0.5], 0.01), np.random.default_rng(1)
    given = [choose_next_replicate(posterior, range(4), {}, {}, SEEDS, rng) for _ in range(50)]
    chosen = [got[0] for got in given if got]
    assert set(chosen) == {0, 1}
    assert min(chosen.count(0), chosen.count(1)) > 10


def test_the_same_generator_gives_the_same_replicates() -> None:
    posterior = make_posterior([0.8] * 6, 0.02)
    first, second = (
        [choose_next_replicate(posterior, range(6), {}, {}, SEEDS, rng) for _ in range(10)]
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert first == second


def test_the_expected_gain_is_that_of_the_formula() -> None:
    """Two candidates: s * phi(d / s) - d * Phi(-d / s), with s the spread of the mean difference to come."""
    difference, sd = 0.01, 0.03
    posterior = make_posterior([0.8, 0.8 - difference], sd, common=0.4)
    gains = []
    for batch in (1, 2, 4, 8, 16):
        s = sd**2 / np.sqrt(sd**2 + 0.02**2 / batch)
        gain = s * stats.norm.pdf(difference / s) - difference * stats.norm.sf(difference / s)
        gains.append(gain / batch)
    assert compute_expected_gain(posterior, [0, 1]) == pytest.approx(max(gains), rel=0.02)


def test_nothing_is_gained_where_nothing_can_change() -> None:
    assert compute_expected_gain(make_posterior([0.8], 0.1), [0]) == 0
    assert compute_expected_gain(make_posterior([0.8, 0.7], 0.0), [0, 1]) == 0
    assert compute_expected_gain(make_posterior([0.8, 0.2], 0.01), [0, 1]) == pytest.approx(0, abs=1e-12)


def test_a_search_that_is_not_worth_its_cost_says_why() -> None:
    posterior = make_posterior([0.8, 0.79], 0.02)
    assert weigh_replicate(posterior, [0, 1], 0.0001)
    verdict = weigh_replicate(posterior, [0, 1], 0.02)
    assert not verdict
    assert "not more than its cost of 2" in verdict.reason
    assert f"probability {verdict.best_probability:.2f}" in verdict.reason
    assert 0.5 < verdict.best_probability < 0.75
    assert 0 < verdict.gain < 0.02


@dataclass
class Race:
    """What came of one: the regret of its choice, and whether it dropped the truly best candidate."""

    regret: float
    dropped_best: bool


def run_race(
    x: Float64Array, f: Float64Array, runs: Float64Array, explored: int, budget: int, seed: int
) -> Race:
    """Explore so many configurations on one seed, then race on three slots until the budget is spent."""
    rng = np.random.default_rng(seed)
    seen = [Observation(c, 0, float(runs[c, 0])) for c in range(explored)]
    done = {c: {0} for c in range(explored)}
    posterior = fit_posterior(x[:explored], seen)
    candidates = choose_candidates(posterior, 10)
    best = max(candidates, key=lambda c: f[c])
    dropped, looks = False, 0
    while len(seen) < budget and len(candidates) > 1:
        pending: dict[int, set[int]] = {}
        for _ in range(min(3, budget - len(seen))):
            if got := choose_next_replicate(posterior, candidates, done, pending, SEEDS, rng):
                pending.setdefault(got[0], set()).add(got[1])
        for c, seeds in pending.items():
            seen += [Observation(c, s, float(runs[c, s])) for s in seeds]
            done[c] |= seeds
        looks += 1
        posterior = fit_posterior(x[:explored], seen, fitted=posterior if looks % 2 else None)
        candidates = drop_inferior_candidates(posterior, candidates, looks)
        dropped = dropped or best not in candidates
    choice = find_leader(posterior, range(explored))
    return Race(float(f.max() - f[choice]), dropped)


BUDGET = 48


def test_a_race_has_about_half_the_regret_of_one_seed_at_the_same_cost() -> None:
    """48 runs: 48 configurations on one seed, or 16 on three seeds each, or a race over some. Regret to the
    best of all 48. Also, the best candidate is dropped in few races."""
    races, one_seed, three_seeds = [], [], []
    for number in range(50):
        world = make_world(number, count=BUDGET, columns=2 + number % 2)
        races.append(run_race(world.x, world.f, world.runs, 33, BUDGET, number))
        one_seed.append(world.f.max() - world.f[world.runs[:, 0].argmax()])
        three_seeds.append(world.f.max() - world.f[world.runs[:16, :3].mean(axis=1).argmax()])
    ours = np.mean([race.regret for race in races])
    told = f"{ours / np.mean(one_seed):.2f} of one seed, {ours / np.mean(three_seeds):.2f} of three"
    assert ours < 0.6 * np.mean(one_seed), told
    assert ours < 0.7 * np.mean(three_seeds), told
    assert np.mean([race.dropped_best for race in races]) < 0.05
