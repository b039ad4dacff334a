"""Search spaces: the learning rate, for each method what its file in `dps.methods` publishes, and on request
the model and how it trains (`dps.training.config.TRAINING_PARAMETERS`).

The learning rate's range follows the size of the model (docs/howto/search.md), as the best peak
shrinks as models grow, and the method's `learning_rate_factor`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from dps.errors import InputError
from dps.methods import METHODS
from dps.ranges import Choice, Domain, Range
from dps.training.config import TRAINING_PARAMETERS

INITIAL_RATE_COUNT = 3  # learning rates among the starting configurations


def suggest_value(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    """Suggest a value of a domain for an Optuna trial."""
    if isinstance(domain, Range):
        return float(trial.suggest_float(name, domain.low, domain.high, log=domain.log))
    return trial.suggest_categorical(name, domain.values)


def _make_distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    if isinstance(domain, Range):
        return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)
    return optuna.distributions.CategoricalDistribution(domain.values)


def _draw_latin_column(domain: Domain, count: int, rng: np.random.Generator) -> list[Any]:
    """Draw `count` values of one parameter for a Latin hypercube."""
    order = rng.permutation(count)
    if isinstance(domain, Choice):
        value_order = rng.permutation(len(domain.values))
        return [domain.values[value_order[index % len(value_order)]] for index in order]
    return [_value_at_share(domain, float(share)) for share in (order + rng.random(count)) / count]


def _value_at_share(domain: Domain, share: float) -> Any:
    """Return the value at a relative position in [0, 1) of a domain."""
    if isinstance(domain, Choice):
        return domain.values[int(share * len(domain.values))]
    if domain.log:
        return domain.low * (domain.high / domain.low) ** share
    return domain.low + share * (domain.high - domain.low)


@dataclass(frozen=True)
class SearchSpace:
    """A search space.

    parameters: domains by study name.
    study_names: for each method, its hyper-parameters with their study names, which differ only where two
        methods have different ranges; where they differ between models, those of one of them, see
        `find_study_name`.
    training_values: of the training parameters, with which the search begins.
    """

    methods: tuple[str, ...]
    parameters: dict[str, Domain]
    study_names: dict[str, dict[str, str]]
    training_values: dict[str, Any] = field(default_factory=dict)

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Suggest a configuration: "method", "learning_rate" and the method's own hyper-parameters."""
        method = self.methods[0]
        if len(self.methods) > 1:
            method = suggest_value(trial, "method", Choice(self.methods))
        model = suggest_value(trial, "model", self.parameters["model"]) if self.models else None
        names = self.name_parameters(method, model).items()
        values = {key: suggest_value(trial, name, self.parameters[name]) for key, name in names}
        return {"method": method, **values}

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are searched; empty where all runs have the same."""
        domain = self.parameters.get("model")
        return tuple(map(str, domain.values)) if isinstance(domain, Choice) else ()

    def name_parameters(self, method: str, model: str | None) -> dict[str, str]:
        """Return the study names of the hyper-parameters of a method on a model, None for the only one."""
        names = self.study_names[method]
        if model is None:
            return names
        return {key: find_study_name(self.parameters, method, model, key) for key in names}

    def list_names(self, method: str) -> list[str]:
        """Return the study names of a method's hyper-parameters, on any model."""
        parts = [self.name_parameters(method, model) for model in self.models or (None,)]
        return list(dict.fromkeys(name for part in parts for name in part.values()))

    def from_study_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """Convert values by study name to a configuration; the inverse of `to_study_values`."""
        method = values.get("method", self.methods[0])
        names = self.name_parameters(method, values.get("model")).items()
        return {"method": method, **{key: values[name] for key, name in names}}

    def to_study_values(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Convert a configuration to values by study name."""
        method = configuration["method"]
        names = self.name_parameters(method, configuration.get("model")).items()
        return {"method": method, **{name: configuration[key] for key, name in names}}

    def for_method(self, method: str) -> SearchSpace:
        """Return the space of one method; for a method outside this space, without its own parameters."""
        if method not in self.methods:
            return self.for_baseline(method)
        parameters = {name: self.parameters[name] for name in self.list_names(method)}
        return SearchSpace((method,), parameters, {method: self.study_names[method]}, self.training_values)

    def for_baseline(self, method: str) -> SearchSpace:
        """Return the space of a method with its published values: what all methods share is searched, the
        learning rates by its `learning_rate_factor`."""
        source = method if method in self.methods else self.methods[0]
        factor = METHODS[method].learning_rate_factor / METHODS[source].learning_rate_factor
        parameters: dict[str, Domain] = {}
        names: dict[str, str] = {}
        for model in self.models or (None,):
            found = self.name_parameters(source, model)
            for key in (key for key in ("model", "learning_rate", *TRAINING_PARAMETERS) if key in found):
                domain = self.parameters[found[key]]
                name = names[key] = found[key].removeprefix(f"{source}.")
                parameters[name] = domain.scale(factor) if key == "learning_rate" else domain
        return SearchSpace((method,), parameters, {method: names}, self.training_values)

    def get_published(self, method: str, model: str | None = None) -> dict[str, Any] | None:
        """Return the published values of a method on a model, at the middle learning rate; None if the space
        lacks them. model: None for the first."""
        found = self.for_method(method).list_published()
        return next((each for each in found if model in (None, each.get("model"))), None)

    def list_lengths(self, model: str | None) -> list[int]:
        """Return the lengths of texts that are searched on a model, None for the only one."""
        names = [self.name_parameters(method, model).get("max_length") for method in self.methods]
        return [value for name in names if name for value in self.parameters[name].extremes]

    def count_open(self, method: str) -> int:
        """Return how many hyper-parameters of a method have several values, on any model; 1 at least."""
        parts = [self.name_parameters(method, model).items() for model in self.models or (None,)]
        return (
            len({key for part in parts for key, name in part if _count_values(self.parameters[name]) > 1})
            or 1
        )

    @property
    def size(self) -> float:
        """The number of configurations; infinite if a parameter has a range."""
        domains = [
            [
                self.parameters[name]
                for key, name in self.name_parameters(method, model).items()
                if key != "model"
            ]
            for method in self.methods
            for model in self.models or (None,)
        ]
        return sum(math.prod(map(_count_values, each)) for each in domains)

    def list_grid(self) -> dict[str, list[Any]]:
        """Return every value of every parameter. Raises InputError if one has a range."""
        for name, domain in self.parameters.items():
            if not isinstance(domain, Choice):
                raise InputError(
                    f"--sampler: grid needs a list for every parameter, but {name} of "
                    f"{', '.join(self.methods)} is {domain}; give --space"
                )
        return {name: list(domain.values) for name, domain in self.parameters.items()}  # type: ignore[union-attr]

    def shuffle_grid(self, seed: int) -> list[dict[str, Any]]:
        """Return all grid combinations by study name, in an order shuffled with `seed`. Raises InputError as
        `list_grid` does."""
        grid = self.list_grid()
        rows = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        return [rows[number] for number in np.random.default_rng(seed).permutation(len(rows))]

    def draw_latin_hypercube(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Draw a Latin hypercube of `count` configurations by study name.

        Each range is cut into `count` parts and each part is used once, the values of a list equally often
        (give or take one). A parameter's values depend on its own name, `count` and `seed` alone, so that all
        methods get the same learning rates, and models those at the same place of their ranges.

        Source: McKay, Beckman and Conover, Technometrics 1979.
        """
        columns = {
            name: _draw_latin_column(
                domain, count, np.random.default_rng([seed, *name.rpartition(".")[2].encode()])
            )
            for name, domain in self.parameters.items()
        }
        return [{name: column[number] for name, column in columns.items()} for number in range(count)]

    def list_published(self) -> list[dict[str, Any]]:
        """Return the starting configurations: each method's published defaults on each model, clipped to its
        ranges, at learning rates spread over the range, the middle one first, and trained as
        `training_values` say. Skips a method whose list lacks its default."""
        branches = [(method, model) for method in self.methods for model in self.models or (None,)]
        count = max(1, INITIAL_RATE_COUNT // len(branches))
        shares = sorted(
            ((number + 0.5) / count for number in range(count)), key=lambda share: abs(share - 0.5)
        )
        configurations: list[dict[str, Any]] = []
        for method, model in branches:
            found = self.name_parameters(method, model)
            rate = self.parameters[found["learning_rate"]]
            defaults = {**vars(METHODS[method]()), **self.training_values}
            names = {key: name for key, name in found.items() if key in defaults}
            hyper = {
                key: _find_nearest_value(self.parameters[name], defaults[key], key in TRAINING_PARAMETERS)
                for key, name in names.items()
            }
            if None not in hyper.values():
                own = {"method": method} if model is None else {"method": method, "model": model}
                configurations += [
                    {**own, "learning_rate": _value_at_share(rate, share), **hyper} for share in shares
                ]
        return [*{make_configuration_key(each): each for each in configurations}.values()]

    def get_distributions(
        self, configuration: dict[str, Any]
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return the distributions of a configuration's parameters, as `suggest` draws them."""
        names = self.name_parameters(configuration["method"], configuration.get("model"))
        domains = {name: self.parameters[name] for name in names.values()}
        if len(self.methods) > 1:
            domains = {"method": Choice(self.methods), **domains}
        return {name: _make_distribution(domain) for name, domain in domains.items()}

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any], study_names: dict[str, dict[str, str]]
    ) -> SearchSpace:
        """Rebuild a space from its description."""
        parameters: dict[str, Domain] = {
            name: Range(value["low"], value["high"], value["log"])
            if value["kind"] == "range"
            else Choice(tuple(value["values"]))
            for name, value in description.items()
            if name != "method"
        }
        return cls(tuple(description["method"]), parameters, study_names)

    def to_description(self) -> dict[str, Any]:
        """Return the space as JSON values; equal for equal spaces."""
        parameters = {
            name: {"kind": type(value).__name__.lower(), **asdict(value)}
            for name, value in self.parameters.items()
        }
        return {"method": list(self.methods), **parameters}


def describe_searched(spaces: Iterable[SearchSpace]) -> dict[str, str]:
    """Describe by name what a parameter is in any of the spaces: "searched: 2 to 10", or its only value."""
    found: dict[str, dict[str, None]] = {}
    for space in spaces:
        for name, domain in space.parameters.items():
            said = f"searched: {domain}" if _count_values(domain) > 1 else f"{domain}"
            found.setdefault(name.split(".")[-1], {})[said] = None
    return {name: " or ".join(said) for name, said in found.items()}


def find_study_name(known: Collection[str], method: str, model: str | None, key: str) -> str:
    """Return the study name of a hyper-parameter of a method on a model: with the name of the model, the
    method or both before it, where its domain depends on these. known: all study names."""
    names = (f"{method}.{model}.{key}", f"{model}.{key}", f"{method}.{key}")
    return next((name for name in names if name in known), key)


def _find_nearest_value(domain: Domain, value: Any, is_scale: bool) -> Any:
    """Return the nearest value of a range, and of a list of numbers on a scale; of another list the value
    itself, or None if it lacks it."""
    if isinstance(domain, Range):
        return float(min(max(value, domain.low), domain.high))
    if is_scale:
        return min(domain.values, key=lambda each: abs(each - value))
    return next((each for each in domain.values if each == value), None)  # as listed: 0 for 0.0


def _count_values(domain: Domain) -> float:
    if isinstance(domain, Choice):
        return len(domain.values)
    return 1.0 if domain.low == domain.high else math.inf


def make_configuration_key(configuration: Mapping[str, Any]) -> str:
    """Return a string key, equal for equal configurations."""
    return json.dumps(configuration, sort_keys=True)


def encode_configurations(
    space: SearchSpace, configurations: Sequence[dict[str, Any]]
) -> NDArray[np.float64]:
    """Encode configurations as rows in [0, 1]: (n, d).

    A range has a column on its own scale. A choice, and the method if there are several, has a column for
    each value; different values have distance 1. A missing parameter is encoded by the middle.
    """
    rows = [space.to_study_values(configuration) for configuration in configurations]
    domains: dict[str, Domain] = dict(space.parameters)
    if len(space.methods) > 1:
        domains = {"method": Choice(space.methods), **domains}
    columns = [
        np.array([_encode_value(domain, row.get(name)) for row in rows]).reshape(
            len(rows), _count_columns(domain)
        )
        for name, domain in domains.items()
    ]
    return np.concatenate([np.zeros((len(rows), 0)), *columns], axis=1)


def _count_columns(domain: Domain) -> int:
    return len(domain.values) if isinstance(domain, Choice) else 1


def _encode_value(domain: Domain, value: Any) -> list[float]:
    if isinstance(domain, Choice):
        count = len(domain.values)
        one_hot = [float(value == element) for element in domain.values]
        return [weight / math.sqrt(2) for weight in (one_hot if any(one_hot) else [1 / count] * count)]
    if value is None or domain.low == domain.high:
        return [0.5]
    low, high = domain.low, domain.high
    if domain.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return [min(max((value - low) / (high - low), 0.0), 1.0)]
