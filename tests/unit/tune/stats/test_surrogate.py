"""The surrogate: exact where that can be worked out, and in simulation as good and as sure as it says.

The simulated surfaces are bumps and waves, not draws of the surrogate's own prior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import optimize

from tune.stats import gaussian_process
from tune.stats.gaussian_process import Float64Array
from tune.stats.surrogate import Observation, Posterior, fit_posterior

CHANCE = 0.5


@dataclass
class World:
    """Configurations with true scores f, and what every seed would score: runs (n, seeds)."""

    x: Float64Array
    f: Float64Array
    runs: Float64Array

    def observe(self, seeds: int = 1, rows: range | None = None) -> list[Observation]:
        """One observation for each configuration and each of the first seeds."""
        chosen = range(len(self.x)) if rows is None else rows
        return [Observation(c, s, float(self.runs[c, s])) for c in chosen for s in range(seeds)]


def make_world(
    seed: int, count: int = 30, columns: int = 2, noise: float = 0.05, seed_sd: float = 0.02, seeds: int = 10
) -> World:
    """A bump of 0.1 and a wave of 0.01, effects of the seeds (which sum to 0), noise."""
    rng = np.random.default_rng(seed)
    x = rng.random((count, columns))
    centre, width = rng.random(columns), rng.uniform(0.25, 0.8, columns)
    wave = np.cos(x @ rng.normal(0, 3, columns) + rng.uniform(0, 6))
    f = 0.75 + 0.1 * np.exp(-(((x - centre) / width) ** 2).sum(axis=1) / 2) + 0.01 * wave
    effects = rng.normal(0, seed_sd, seeds)
    runs = f[:, None] + effects - effects.mean() + rng.normal(0, noise, (count, seeds))
    return World(x, f, runs)


def sd(posterior: Posterior) -> Float64Array:
    return np.sqrt(np.diag(posterior.covariance))


def z_of_contrasts(posterior: Posterior, f: Float64Array) -> Float64Array:
    """Standardised errors of the differences to the mean over all configurations."""
    count = len(f)
    contrast = np.eye(count) - 1 / count
    spread = np.sqrt(np.diag(contrast @ posterior.covariance @ contrast))
    return contrast @ (f - posterior.mean) / spread


def test_the_posterior_is_that_of_the_dense_formulas() -> None:
    """Every observation's covariance with every other written out, one run seen at two shares."""
    x = np.array([[0.0], [0.3], [1.0]])
    observations = [
        Observation(0, 0, 0.80),
        Observation(0, 1, 0.84),
        Observation(1, 0, 0.70, 0.5),
        Observation(1, 0, 0.78, 1.0),
        Observation(0, 2, 0.71, 0.5),
    ]
    start = fit_posterior(x, observations)
    theta = np.log([1.1, 0.3, 0.5, 0.4, 0.6, 0.7])
    fitted = replace(start, hyperparameters=gaussian_process.Hyperparameters(theta[None], np.ones(1), 0.1))
    posterior = fit_posterior(x, observations, fitted=fitted)
    smooth, own, noise, seed, drift, length = np.exp(theta)
    r = np.sqrt(5) * np.abs(x - x.T) / length
    prior = smooth**2 * (1 + r + r**2 / 3) * np.exp(-r) + own**2 * np.eye(3) + 2.0**2
    configuration, seeds = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 0, 0, 2])
    early = np.array([0, 0, 1, 0, 1])
    same_run = (configuration[:, None] == configuration) & (seeds[:, None] == seeds)
    both_early = np.outer(early, early)
    covariance = prior[np.ix_(configuration, configuration)]
    covariance = covariance + seed**2 * (seeds[:, None] == seeds) + noise**2 * same_run
    covariance += both_early * np.log(2) * (3.0**2 + drift**2 * same_run)
    cross = prior[:, configuration]
    centre = (0.80 + 0.84 + 0.78) / 3
    y = (np.array([0.80, 0.84, 0.70, 0.78, 0.71]) - centre) / 0.1
    weights = np.linalg.inv(covariance)
    np.testing.assert_allclose(posterior.mean, centre + 0.1 * cross @ weights @ y, rtol=1e-8)
    np.testing.assert_allclose(
        posterior.covariance, 0.01 * (prior - cross @ weights @ cross.T), rtol=1e-6, atol=1e-12
    )
    assert posterior.noise == pytest.approx(0.05)
    assert posterior.seed_sd == pytest.approx(0.04)
    gap = 0.1 * (3.0**2 * np.log(2) * early) @ weights @ y
    assert posterior.gaps[0] == pytest.approx(gap)
    assert posterior.noise_at(0.5) == pytest.approx(0.1 * np.hypot(noise, drift * np.sqrt(np.log(2))))


def test_the_gradient_is_that_of_the_objective() -> None:
    rng = np.random.default_rng(0)
    count, latent = 14, 9  # 5 configurations, 2 seeds, 2 steps
    design = np.zeros((count, latent))
    for row in design[:10]:
        row[[rng.integers(5), 5 + rng.integers(2)]] = 1
    design[6:, 7] = design[3:8, 8] = 1
    rows = gaussian_process.ObservationRows(
        y=rng.normal(size=count),
        design=design,
        is_last=np.repeat([1.0, 0.0], [10, 4]),
        drift_variance=design[:, 7:] @ [1.1, 0.7],
        configurations=np.arange(5),
        seed_count=2,
        gap_lengths=np.array([1.1, 0.7]),
    )
    squares = gaussian_process.compute_squared_differences(rng.random((5, 3)))
    theta = rng.normal(-0.5, 0.3, gaussian_process.COMMON_HYPERPARAMETER_COUNT + 3)
    value = lambda at: gaussian_process.compute_negative_log_posterior(at, rows, squares)[0]  # noqa: E731
    _, gradient = gaussian_process.compute_negative_log_posterior(theta, rows, squares)
    np.testing.assert_allclose(gradient, optimize.approx_fprime(theta, value, 1e-6), rtol=1e-3, atol=1e-4)


def test_shrinking_towards_neighbours_beats_the_best_raw_score() -> None:
    """One noisy run each; the regret of the choice over 150 surfaces."""
    raw, shrunk = [], []
    for number in range(150):
        world = make_world(number, columns=2 + number % 2)
        posterior = fit_posterior(world.x, world.observe())
        raw.append(world.f.max() - world.f[world.runs[:, 0].argmax()])
        shrunk.append(world.f.max() - world.f[posterior.mean.argmax()])
    ratio = np.mean(shrunk) / np.mean(raw)
    assert ratio <= 0.7, f"regret of the surrogate's choice / of the best raw score = {ratio:.2f}"


def test_intervals_hold_what_they_say() -> None:
    inside, differences, errors = [], [], []
    for number in range(100):
        world = make_world(number, noise=0.03 + 0.03 * (number % 2), columns=1 + number % 3)
        posterior = fit_posterior(world.x, world.observe(3, range(10)) + world.observe(1))
        z = (world.f - posterior.mean) / sd(posterior)
        inside.append(np.abs(z) < 1.96)
        differences.append(np.abs(z_of_contrasts(posterior, world.f)) < 1.96)
        errors.append(posterior.mean[posterior.mean.argmax()] - world.f[posterior.mean.argmax()])
    assert 0.85 <= np.mean(inside) <= 0.99, f"coverage {np.mean(inside):.3f}"
    assert 0.85 <= np.mean(differences) <= 0.99, f"coverage of contrasts {np.mean(differences):.3f}"
    assert abs(np.mean(errors)) < 0.01, f"optimism of the choice {np.mean(errors):.4f}"


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_the_noise_is_measured(noise: float) -> None:
    for number in range(5):
        posterior = fit_posterior(*_seen(make_world(number, noise=noise), 3))
        assert posterior.noise == pytest.approx(noise, rel=0.25)


def _seen(world: World, seeds: int) -> tuple[Float64Array, list[Observation]]:
    return world.x, world.observe(seeds)


def test_seed_effects_are_measured() -> None:
    for number in range(5):
        posterior = fit_posterior(*_seen(make_world(number, seed_sd=0.08, noise=0.02), 10))
        assert 0.04 < posterior.seed_sd < 0.16


def test_a_lucky_seed_for_all_changes_no_ranking() -> None:
    """Configurations 0 to 9 ran on a second seed, on which every score is 0.3 higher."""
    world = make_world(3)
    before = fit_posterior(world.x, world.observe() + world.observe(2, range(10)))
    world.runs[:, 1] += 0.3
    after = fit_posterior(world.x, world.observe() + world.observe(2, range(10)))
    shift = (after.mean - after.mean.mean()) - (before.mean - before.mean.mean())
    assert np.abs(shift).max() < 0.5 * sd(before).min()
    assert after.mean.argmax() == before.mean.argmax()


def test_a_constant_added_to_all_scores_is_added_to_the_mean() -> None:
    world = make_world(4)
    before = fit_posterior(world.x, world.observe(2))
    world.runs += 7
    after = fit_posterior(world.x, world.observe(2))
    np.testing.assert_allclose(after.mean, before.mean + 7, atol=1e-5)
    np.testing.assert_allclose(after.covariance, before.covariance, rtol=1e-3, atol=1e-9)


def test_configurations_without_a_run_are_told_too() -> None:
    world = make_world(5, count=40)
    posterior = fit_posterior(world.x, world.observe(3, range(30)))
    assert sd(posterior)[30:].mean() > sd(posterior)[:30].mean()
    assert np.corrcoef(posterior.mean[30:], world.f[30:])[0, 1] > 0.5


@pytest.mark.parametrize("score", [0.8, CHANCE])
def test_scores_that_are_all_equal(score: float) -> None:
    world = make_world(6, count=8)
    for chance in (None, CHANCE):
        posterior = fit_posterior(world.x, [Observation(c, 0, score) for c in range(8)], chance)
        np.testing.assert_allclose(posterior.mean, score, atol=1e-6)
        assert (posterior.best_probability() > 0.02).all()
        assert posterior.best_probability().sum() == pytest.approx(1)
        assert 0 < posterior.noise < 0.03


def test_one_configuration_and_one_observation() -> None:
    alone = fit_posterior(np.zeros((1, 0)), [Observation(0, 3, 0.7)])
    assert alone.mean == pytest.approx([0.7])
    assert alone.best_probability().tolist() == [1]
    assert 0.01 < sd(alone)[0] < 0.2
    several = fit_posterior(make_world(0, count=5).x, [Observation(2, 0, 0.7)])
    assert several.mean == pytest.approx(np.full(5, 0.7))
    assert sd(several).argmin() == 2


def test_three_observations_are_not_believed() -> None:
    world = make_world(7, count=3)
    posterior = fit_posterior(world.x, world.observe())
    spread = np.ptp(world.runs[:, 0])
    assert np.ptp(posterior.mean) < spread
    assert posterior.best_probability().max() < 0.95


def stopped(seed: int, share: float = 1 / 3) -> tuple[World, list[Observation], list[int], Float64Array]:
    """A search whose worse half at a share of the steps was stopped there; early scores are 0.15 lower and
    have a noise of 0.03 more. The world, all that was seen, who was stopped, the early scores."""
    world = make_world(seed, count=40, noise=0.02, seed_sd=0.01)
    early = world.runs[:, 0] - 0.15 + np.random.default_rng(1000 + seed).normal(0, 0.03, 40)
    order = [int(c) for c in np.argsort(early)]
    seen = [Observation(c, 0, float(early[c]), share) for c in order]
    full = [Observation(c, 0, float(world.runs[c, 0])) for c in order[20:]]
    return world, seen + full, order[:20], early


def test_stopped_trials_inform() -> None:
    """The stopped ones' scores are known better with what they had when they were stopped, and less well
    than those of the full-length ones."""
    without, including, sure, less_sure = [], [], [], []
    for number in range(15):
        world, seen, out, _ = stopped(number)
        posterior = fit_posterior(world.x, seen)
        blind = fit_posterior(world.x, [one for one in seen if one.step_share == 1])
        including.append(np.mean((posterior.mean - world.f)[out] ** 2))
        without.append(np.mean((blind.mean - world.f)[out] ** 2))
        sure.append(np.delete(sd(posterior), out).mean())
        less_sure.append(sd(posterior)[out].mean())
    assert np.mean(including) < 0.6 * np.mean(without)
    assert np.mean(sure) < np.mean(less_sure)


def test_the_gap_is_not_that_of_the_survivors() -> None:
    """Who went on was lucky early, so that the survivors' gap is too small."""
    told, survivors, noise = [], [], []
    for number in range(15):
        world, seen, out, early = stopped(number)
        posterior = fit_posterior(world.x, seen)
        on = np.setdiff1d(np.arange(40), out)
        told.append(posterior.gaps[0])
        survivors.append((early - world.runs[:, 0])[on].mean())
        noise.append(posterior.noise_at(1 / 3))
    bias, naive = np.mean(told) + 0.15, np.mean(survivors) + 0.15
    assert abs(bias) < 0.6 * abs(naive), f"bias {bias:.4f}, of the survivors {naive:.4f}"
    assert np.mean(noise) == pytest.approx(np.hypot(0.02, 0.03), rel=0.35)


def test_stopped_trials_do_not_mislead() -> None:
    """Among them are late bloomers; they are off by no more than their standard deviations say."""
    z = []
    for number in range(15):
        world, seen, out, _ = stopped(number)
        posterior = fit_posterior(world.x, seen)
        z.append(((world.f - posterior.mean) / sd(posterior))[out])
    assert np.mean(np.abs(z) < 1.96) > 0.85
    assert np.abs(z).max() < 5


def test_a_late_bloomer_is_not_ruled_out() -> None:
    """The best configuration was behind by two standard deviations of the drift when it was stopped."""
    world = make_world(11, count=40, noise=0.02, seed_sd=0.0)
    best = int(world.f.argmax())
    early = world.runs[:, 0] - 0.15 + np.random.default_rng(0).normal(0, 0.03, 40)
    early[best] = world.f[best] - 0.15 - 0.06
    full = [Observation(c, 0, float(world.runs[c, 0])) for c in range(40) if c % 2 and c != best]
    posterior = fit_posterior(world.x, [Observation(c, 0, float(early[c]), 1 / 3) for c in range(40)] + full)
    assert abs(posterior.mean[best] - world.f[best]) < 2.5 * sd(posterior)[best]


def collapsing(seed: int) -> tuple[World, Float64Array]:
    """Of the configurations with x above 0.6 every fourth run collapses: the world, who they are."""
    world = make_world(seed, noise=0.02, seed_sd=0.0)
    frail = world.x[:, 0] > 0.6
    lost = np.random.default_rng(seed).random(world.runs.shape) < 0.25 * frail[:, None]
    world.runs[lost] = CHANCE
    world.f = np.where(frail, 0.75 * world.f + 0.25 * CHANCE, world.f)
    return world, frail


def test_collapses_count_in_full_but_are_no_noise_of_the_others() -> None:
    z, gaps, noises, ratios = [], [], [], []
    for number in range(12):
        world, frail = collapsing(number)
        posterior = fit_posterior(world.x, world.observe(4), chance=CHANCE)
        z.append((world.f - posterior.mean) / sd(posterior))
        gaps.append(
            posterior.collapse_probability[frail].mean() - posterior.collapse_probability[~frail].mean()
        )
        noises.append(posterior.noise)
        ratios.append(
            posterior.noise_with_collapses[frail].mean() / posterior.noise_with_collapses[~frail].mean()
        )
    assert np.mean(noises) == pytest.approx(0.02, rel=0.25)
    assert np.mean(gaps) > 0.1
    assert np.mean(ratios) > 1.5
    assert np.mean(np.abs(np.concatenate(z)) < 1.96) > 0.8


def test_scores_below_chance_are_raised_to_it() -> None:
    world = make_world(8)
    seen = world.observe(2)
    low = [replace(seen[0], score=-3.0), *seen[1:]]
    at_chance = [replace(seen[0], score=CHANCE), *seen[1:]]
    np.testing.assert_array_equal(
        fit_posterior(world.x, low, CHANCE).mean, fit_posterior(world.x, at_chance, CHANCE).mean
    )


@pytest.mark.parametrize("freak", [0.2, 1.0])
def test_a_freak_score_does_no_more_than_very_good_luck(freak: float) -> None:
    world = make_world(9, noise=0.03)
    seen = world.observe(2)
    ordinary = fit_posterior(world.x, seen)
    odd = fit_posterior(world.x, [replace(seen[0], score=freak), *seen[1:]])
    assert odd.noise < 2 * ordinary.noise
    others = np.abs(odd.mean - ordinary.mean)[1:]
    assert others.max() < 0.06
    assert abs(odd.mean[0] - ordinary.mean[0]) < 0.15


def test_the_same_input_gives_the_same_output() -> None:
    world = make_world(10)
    seen = world.observe(2)
    first, second = fit_posterior(world.x, seen), fit_posterior(world.x, list(reversed(seen)))
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.best_probability(), second.best_probability())
    rng = np.random.default_rng
    np.testing.assert_array_equal(first.draw_scores(rng(1), 5), second.draw_scores(rng(1), 5))


def test_hyper_parameters_can_be_taken_over() -> None:
    world = make_world(10)
    first = fit_posterior(world.x, world.observe(2))
    np.testing.assert_allclose(
        fit_posterior(world.x, world.observe(2), fitted=first).mean, first.mean, rtol=1e-6
    )
    more = fit_posterior(world.x, world.observe(3), fitted=first)
    assert more.noise == first.noise
    assert sd(more).mean() < sd(first).mean()


def test_a_fit_takes_few_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is this times a Cholesky decomposition or two."""
    calls = []
    objective = gaussian_process.compute_negative_log_posterior
    monkeypatch.setattr(
        gaussian_process,
        "compute_negative_log_posterior",
        lambda *given: (calls.append(1), objective(*given))[1],
    )
    world = make_world(12, columns=6)
    fit_posterior(world.x, world.observe(2))
    assert 3 < len(calls) < 60


def test_draws_have_the_posterior_mean_and_covariance() -> None:
    world = make_world(13, count=5)
    posterior = fit_posterior(world.x, world.observe())
    draws = posterior.draw_scores(np.random.default_rng(0), 20_000)
    assert draws.shape == (20_000, 5)
    np.testing.assert_allclose(draws.mean(axis=0), posterior.mean, atol=0.002)
    np.testing.assert_allclose(np.cov(draws.T), posterior.covariance, rtol=0.1, atol=1e-4)
    among = posterior.best_probability([1, 3])
    assert among[[0, 2, 4]].tolist() == [0, 0, 0]
    assert among.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        ([], "observations: there must be one"),
        ([Observation(3, 0, 0.5)], "configuration: must be in 0 to 2, but got 3"),
        ([Observation(0, 0, 0.5, 0.0)], r"step_share: must be in \(0, 1\], but got 0"),
        ([Observation(0, 0, float("nan"))], "score: must be finite, but got nan"),
    ],
)
def test_what_does_not_fit_is_refused(observations: list[Observation], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_posterior(np.zeros((3, 1)), observations)
