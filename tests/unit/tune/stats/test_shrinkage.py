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
