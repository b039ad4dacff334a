"""Means shrunk towards that of all: against the formula, simulation and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from tune.stats.shrinkage import PRIOR_NOISE, PRIOR_RUNS, shrink_means


def test_means_are_shrunk_by_two_runs_at_the_common_mean() -> None:
    made = shrink_means([[0.6], [0.4, 0.2, 0.3], [0.5]])
    common = (0.6 + 0.4 + 0.5) / 3
    assert made.common == pytest.approx(common)
    assert made.mean == pytest.approx(
        [(0.6 + 2 * common) / 3, (0.9 + 2 * common) / 5, (0.5 + 2 * common) / 3]
    )
    assert made.measure_sd() == pytest.approx(made.noise / np.sqrt([3, 5, 3]))
    assert made.measure_sd(np.array([2, 0, 0])) == pytest.approx(made.noise / np.sqrt([5, 5, 3]))


def test_a_collapse_lowers_the_chance_to_learn_and_not_what_is_learnt() -> None:
    """(1 - q) m + q chance; of 6 runs one collapsed, so that 1/7 of 8 further runs are believed to have."""
    scores, lost = [[0.6, 0.9, 0.6], [0.4, 0.4], [0.5]], [[False, True, False], [False] * 2, [False]]
    made, without = shrink_means(scores, lost, 0.1), shrink_means([[0.6, 0.6], [0.4, 0.4], [0.5]])
    q = (np.array([1, 0, 0]) + 8 / 7) / (np.array([3, 2, 1]) + 8)
    assert made.collapse == pytest.approx(q)
    assert made.learnt == pytest.approx(without.mean)
    assert made.noise == without.noise
    assert made.mean == pytest.approx((1 - q) * without.mean + q * 0.1)
    assert made.common == pytest.approx(6 / 7 * 0.5 + 0.1 / 7)
    assert (made.measure_sd() > (1 - q) * without.measure_sd()).all()
    assert shrink_means([[0.1], [0.1]], [[True], [True]], 0.1).mean == pytest.approx([0.1, 0.1])


def test_the_chance_of_a_collapse_is_found_and_the_leader_kept() -> None:
    """Of many configurations as good as each other the estimate is the truth, whichever collapsed."""
    rng = np.random.default_rng(0)
    lost = rng.random((40, 6)) < 0.2
    scores = np.where(lost, 0.0, rng.normal(0.5, 0.03, lost.shape))
    made = shrink_means(scores.tolist(), lost.tolist(), 0.0)
    plain = shrink_means(scores.tolist())
    assert made.mean.mean() == pytest.approx(0.4, abs=0.02)
    assert made.mean.std() < 0.75 * plain.mean.std()


def test_the_noise_is_that_within_configurations_once_there_are_seeds() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.normal(0, 0.2, (40, 1)) + rng.normal(0, 0.1, (40, 8))).tolist()
    assert shrink_means(scores).noise == pytest.approx(0.1, rel=0.1)
    assert shrink_means([[0.5], [0.5]]).noise == pytest.approx(PRIOR_NOISE / np.sqrt(2))


def test_the_gain_is_that_of_simulated_further_runs() -> None:
    """Of one more run, where it is worth more than a share of several."""
    made = shrink_means([[0.50, 0.52], [0.51, 0.49], [0.1, 0.12]])
    rng, sd = np.random.default_rng(0), made.measure_sd()
    for index in range(2):
        truth = made.mean[index] + sd[index] * rng.standard_normal(400_000)
        score = truth + made.noise * rng.standard_normal(400_000)
        weight = made.counts[index] + PRIOR_RUNS
        after = (weight * made.mean[index] + score) / (weight + 1)
        other = max(np.delete(made.mean, index))
        gain = np.maximum(after, other).mean() - made.mean.max()
        assert made.compute_gains()[index] == pytest.approx(gain, rel=0.03)
    assert made.compute_gains()[2] < made.compute_gains()[:2].min()


def test_a_new_configuration_promises_what_simulated_ones_bring() -> None:
    made = shrink_means([[0.3], [0.35], [0.42]])
    drawn = made.common + made.spread * np.random.default_rng(0).standard_normal(400_000)
    gain = np.maximum(drawn - made.mean.max(), 0).mean()
    assert made.compute_improvement() == pytest.approx(gain, rel=0.02)


@pytest.mark.parametrize("scores", [[], [[0.5], []]])
def test_a_configuration_without_a_score_is_refused(scores: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="every configuration needs one"):
        shrink_means(scores)
