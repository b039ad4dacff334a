"""What the runs in a search.json say together: how the best score changed as the search went on, what each
parameter does, how much each matters.

How configurations stand is worked out again from the runs with `tune.strategy.race`, by which the search
chose.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dps.ranges import Choice, Domain, Range
from dps.wording import format_count
from tune.core.run import RunPurpose
from tune.core.space import SearchSpace, encode_configurations, find_study_name
from tune.records.ledger import TrialRecord
from tune.records.replicates import collect_full_scores, group_by_configuration
from tune.records.search_document import SearchDocument
from tune.strategy.race import Standing, find_leader, rank_configurations

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor


MAX_TRAJECTORY_POINTS = 24  # along the cost, at which the runs so far are taken together
EFFECT_POINTS, SURFACE_POINTS = 13, 9  # of a range, at which an effect is shown; of each of two
EFFECT_BACKGROUND_POINTS, SURFACE_BACKGROUND_POINTS = (
    32,
    8,
)  # points over which the other parameters are averaged
MAX_JOINT_POINTS = 72  # points that are asked about together: the time grows with their square
MIN_SMOOTH_LENGTH, MAX_SMOOTH_LENGTH = 0.1, 10.0  # over which a surface may change, in shares of the range
FLAT_TOLERANCE = 1e-6  # in the metric's scale
MIN_IMPORTANCE_CONFIGURATIONS = 8  # of full length, for importances
MIN_SURFACE_CONFIGURATIONS = 4  # of full length, for anything over a parameter
MAX_IMPORTANCE_CONFIGURATIONS, MAX_SURFACE_CONFIGURATIONS = 120, 400  # taken at most, evenly over the search
IMPORTANCE_RESAMPLES = 10  # of the configurations, for the spread of an importance
FANOVA_TREES, RESAMPLE_TREES = 64, 16  # of fANOVA; of one on a resample
NORMAL_QUANTILE = 1.96  # standard deviations to either end of a 95 % interval
SURFACE_PARAMETERS = ("learning_rate", "selection_ratio", "update_ratio")


@dataclass(frozen=True)
class IncumbentPoint:
    """The best configuration by all runs that ended within the first `cost` slot seconds.

    mean: of its scores at full length.
    """

    cost: float
    trial: int
    mean: float


@dataclass(frozen=True)
class ParameterEffect:
    """The expected score over the values of a parameter, the others averaged; means, lows, highs: (n,)."""

    name: str
    domain: Domain
    values: list[Any]
    means: list[float]
    lows: list[float]
    highs: list[float]


@dataclass(frozen=True)
class ParameterSurface:
    """The expected score over two parameters. means, sds: rows by the second one, columns by the first."""

    names: tuple[str, str]
    domains: tuple[Range, Range]
    values: tuple[list[float], list[float]]
    means: list[list[float]]
    sds: list[list[float]]


@dataclass(frozen=True)
class ParameterImportance:
    """The share of the variance of the score that a parameter explains alone.

    low, high: its least and its most over IMPORTANCE_RESAMPLES draws of the configurations with replacement.
    """

    name: str
    share: float
    low: float
    high: float


class SearchAnalysis:
    """What the runs of one search say together."""

    def __init__(self, document: SearchDocument) -> None:
        self.document, self.sign = document, document.direction.sign
        self.chance = document.chance

    @cached_property
    def runs(self) -> list[TrialRecord]:
        """Return the runs of search and race that are over, in the order in which they ended."""
        runs = [*self.document.trials, *self.document.race_runs]
        return sorted((run for run in runs if run.outcome.is_final), key=lambda run: run.ended)

    @cached_property
    def space(self) -> SearchSpace:
        """Return the space that was searched."""
        return _restore_space(self.document.space, [trial.configuration for trial in self.document.trials])

    @property
    def varied(self) -> dict[str, Domain]:
        """Return the parameters with more than one searched value, by their names in the study."""
        domains: dict[str, Domain] = dict(self.space.parameters)
        if len(self.space.methods) > 1:
            domains = {"method": Choice(self.space.methods), **domains}
        return {name: domain for name, domain in domains.items() if not _is_single(domain)}

    @cached_property
    def standings(self) -> list[Standing]:
        """Return how the configurations stand, the best first."""
        return rank_configurations(*_split_purposes(self.runs), self.document.direction, self.chance)

    def compute_trajectory(self) -> list[IncumbentPoint]:
        """Return the best configuration at MAX_TRAJECTORY_POINTS moments of the search at most."""
        costs = np.cumsum([run.seconds for run in self.runs])
        counts = np.unique(
            np.linspace(1, len(self.runs), min(MAX_TRAJECTORY_POINTS, len(self.runs))).astype(int)
        )
        points = []
        for count in map(int, counts):
            so_far = _split_purposes(self.runs[:count])
            best = find_leader(*so_far, self.document.direction, self.chance)
            if best is not None and math.isfinite(best.mean):
                points.append(IncumbentPoint(float(costs[count - 1]), best.trial.number, best.mean))
        return points

    def compute_effects(self) -> list[ParameterEffect]:
        """Return the effect of each varied parameter; none if too few runs have ended."""
        made = []
        for name, domain in self.varied.items():
            values = _spread_values(domain, EFFECT_POINTS)
            background = self._background(name)
            means, sds = self._average(
                [[_replace_value(row, name, value) for row in background] for value in values]
            )
            if len(means):
                middle, reach = self.sign * means, NORMAL_QUANTILE * sds
                bands = middle.tolist(), (middle - reach).tolist(), (middle + reach).tolist()
                made.append(ParameterEffect(name, domain, values, *bands))
        return made

    def compute_surfaces(self) -> list[ParameterSurface]:
        """Return the surfaces that are not flat, of each two of SURFACE_PARAMETERS that were varied, or else
        of the first three varied ranges."""
        ranges = {name: domain for name, domain in self.varied.items() if isinstance(domain, Range)}
        names = [name for name in SURFACE_PARAMETERS if name in ranges]
        names = names if len(names) > 1 else [*ranges][:3]
        pairs = [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]
        return [surface for pair in pairs if (surface := self._surface(pair, ranges)) is not None]

    def _surface(self, pair: tuple[str, str], ranges: dict[str, Range]) -> ParameterSurface | None:
        (one, other), (xs, ys) = pair, (_spread_values(ranges[name], SURFACE_POINTS) for name in pair)
        background = [
            row
            for row in self._background(one, SURFACE_BACKGROUND_POINTS)
            if other in self._names(row["method"])
        ]
        rows = [
            [_replace_value(_replace_value(row, one, x), other, y) for row in background]
            for y in ys
            for x in xs
        ]
        means, sds = self._average(rows)
        if not len(means) or np.ptp(means) < FLAT_TOLERANCE:
            return None
        shape = len(ys), len(xs)
        grid, spread = (self.sign * np.reshape(means, shape)).tolist(), np.reshape(sds, shape).tolist()
        return ParameterSurface(pair, (ranges[one], ranges[other]), (xs, ys), grid, spread)

    def _names(self, method: str) -> set[str]:
        """Return the names of the parameters that a method has, in the study; none of one that was not
        tried."""
        names = self.space.list_names(method)
        return {"method", *names} if names else set()

    def _background(self, name: str, count: int = EFFECT_BACKGROUND_POINTS) -> list[dict[str, Any]]:
        """Return points of the space that have this parameter, in the names of the study, methods in turn."""
        methods = [method for method in self.space.methods if name in self._names(method)]
        rows = self.space.draw_latin_hypercube(count, 0)
        cycle = itertools.cycle(methods)
        points = [{**row, "method": method} for row, method in zip(rows, cycle, strict=False)]
        models = [model for model in self.space.models if f"{model}.{name.rpartition('.')[2]}" == name]
        return [{**point, **({"model": models[0]} if models else {})} for point in points]

    def _average(self, rows: Sequence[Sequence[dict[str, Any]]]) -> tuple[Any, Any]:
        """Return the expected score (higher is better) of the mean over each row of points, with its standard
        deviation; both are empty if too few runs have ended."""
        smooth = self._smooth_surface
        if smooth is None or not rows or not rows[0]:
            return [], []
        means, sds, size = [], [], len(rows[0])
        step = max(1, MAX_JOINT_POINTS // size)
        for some in (rows[first : first + step] for first in range(0, len(rows), step)):
            asked = [self.space.from_study_values(point) for row in some for point in row]
            mean, covariance = smooth.predict(encode_configurations(self.space, asked), return_cov=True)
            blocks = covariance.reshape(len(some), size, len(some), size)
            means.append(mean.reshape(-1, size).mean(axis=1))
            sds.append(np.sqrt(np.maximum(np.einsum("iaib->i", blocks) / size**2, 0.0)))
        return np.concatenate(means), np.concatenate(sds)

    @cached_property
    def _smooth_surface(self) -> GaussianProcessRegressor | None:
        """Return a Gaussian process through the means of full-length scores (higher is better), without the
        noise around it; None for too few."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        full = self.full_means
        if len(full) < MIN_SURFACE_CONFIGURATIONS:
            return None
        full = full[:: math.ceil(len(full) / MAX_SURFACE_CONFIGURATIONS)]
        x = encode_configurations(self.space, [configuration for configuration, _ in full])
        y = [self.sign * mean for _, mean in full]
        lengths = RBF(np.ones(x.shape[1]), (MIN_SMOOTH_LENGTH, MAX_SMOOTH_LENGTH))
        kernel = ConstantKernel() * lengths + WhiteKernel(0.5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a hyper-parameter at its bound
            noisy = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(x, y).kernel_
            return GaussianProcessRegressor(
                noisy.k1, alpha=noisy.k2.noise_level, optimizer=None, normalize_y=True
            ).fit(x, y)

    @cached_property
    def full_means(self) -> list[tuple[dict[str, Any], float]]:
        """Return (configuration, mean score) of those that were run to their end. A diverged run counts as
        chance; if that is unknown, its configuration is left out."""
        lost = math.nan if self.chance is None else self.chance
        made = []
        for runs in group_by_configuration(self.runs):
            scores = [lost if math.isnan(s) else s for s in collect_full_scores(runs).values()]
            if scores and not math.isnan(mean := float(np.mean(scores))):
                made.append((runs[0].configuration, mean))
        return made

    @cached_property
    def importances(self) -> tuple[list[ParameterImportance], str]:
        """Return fANOVA of the full-length scores, the most important parameter first; or none, and why.

        Source: Hutter, Hoos and Leyton-Brown, ICML 2014, as optuna.importance has it.
        """
        full, names = self.full_means, [*self.varied]
        if len(names) < 2:
            return [], "fewer than two parameters were varied"
        if len(full) < MIN_IMPORTANCE_CONFIGURATIONS:
            count = format_count(len(full), "configuration")
            return [], f"{count} ran to the end, and {MIN_IMPORTANCE_CONFIGURATIONS} are needed"
        if len({mean for _, mean in full}) == 1:
            return [], "all configurations have the same score"
        shared = [name for name in names if all(name in self.space.to_study_values(c) for c, _ in full)]
        if len(shared) < 2:
            return [], "the methods share fewer than two parameters"
        full = full[:: math.ceil(len(full) / MAX_IMPORTANCE_CONFIGURATIONS)]
        whole = self._fanova(full, shared, FANOVA_TREES)
        rng = np.random.default_rng(0)
        draws = [rng.integers(len(full), size=len(full)) for _ in range(IMPORTANCE_RESAMPLES)]
        again = [self._fanova([full[place] for place in draw], shared, RESAMPLE_TREES) for draw in draws]
        drawn = {name: [whole[name], *(one[name] for one in again if one)] for name in shared}
        made = [ParameterImportance(name, whole[name], min(seen), max(seen)) for name, seen in drawn.items()]
        return sorted(made, key=lambda one: -one.share), ""

    def _fanova(
        self, full: Sequence[tuple[dict[str, Any], float]], names: Sequence[str], trees: int
    ) -> dict[str, float]:
        """Return shares by name; empty if all scores are the same."""
        import optuna

        if len({mean for _, mean in full}) == 1:
            return {}
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study()
        for configuration, mean in full:
            values = self.space.to_study_values(configuration)
            domains = self.space.get_distributions(configuration)
            study.add_trial(
                optuna.trial.create_trial(
                    params={name: values[name] for name in names},
                    distributions={name: domains[name] for name in names},
                    value=mean,
                )
            )
        optuna.logging.set_verbosity(verbosity)
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=trees, seed=0)
        shares = evaluator.evaluate(study, params=list(names))
        return {name: float(share) for name, share in shares.items()}


def _split_purposes(runs: Sequence[TrialRecord]) -> tuple[list[TrialRecord], list[TrialRecord]]:
    """Return the trials among these runs, and the runs of the race."""
    trials, race_runs = (
        [run for run in runs if run.purpose == purpose] for purpose in (RunPurpose.SEARCH, RunPurpose.RACE)
    )
    return trials, race_runs


def _restore_space(described: dict[str, Any], configurations: Sequence[dict[str, Any]]) -> SearchSpace:
    """Return the space that was searched, from its description."""
    names: dict[str, dict[str, str]] = {method: {} for method in described["method"]}
    for configuration in configurations:
        method = configuration["method"]
        for key in configuration:
            if key != "method":
                names[method][key] = find_study_name(described, method, configuration.get("model"), key)
    return SearchSpace.from_description(described, names)


def _is_single(domain: Domain) -> bool:
    return len(domain.values) < 2 if isinstance(domain, Choice) else domain.low == domain.high


def _spread_values(domain: Domain, count: int) -> list[Any]:
    """Return `count` values over a range, evenly on its scale; all of a list."""
    if isinstance(domain, Choice):
        return list(domain.values)
    space = np.geomspace if domain.log else np.linspace
    return [float(value) for value in space(domain.low, domain.high, count)]


def _replace_value(row: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {**row, name: value}
