"""Search spaces: the learning rate, and for each method what its file in `dps.methods` publishes.

The learning rate's range follows the size of the model (README, "What is searched"): the best peak
shrinks as models grow.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from dps.errors import InputError
from dps.methods import METHODS
from dps.ranges import Choice, Domain, Range

INITIAL_RATE_COUNT = 3  # that a search begins with


def suggest_value(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    """A value for `trial`."""
    if isinstance(domain, Range):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    return trial.suggest_categorical(name, domain.values)


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    if isinstance(domain, Range):
        return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)
    return optuna.distributions.CategoricalDistribution(domain.values)


def _draw_latin_column(domain: Domain, count: int, rng: np.random.Generator) -> list[Any]:
    """`count` values of one parameter of a Latin hypercube."""
    order = rng.permutation(count)
    if isinstance(domain, Choice):
        turns = rng.permutation(len(domain.values))
        return [domain.values[turns[place % len(turns)]] for place in order]
    return [_value_at_share(domain, float(share)) for share in (order + rng.random(count)) / count]


def _value_at_share(domain: Domain, share: float) -> Any:
    """The value at a share of the way, in [0, 1)."""
    if isinstance(domain, Choice):
        return domain.values[int(share * len(domain.values))]
    if domain.log:
        return domain.low * (domain.high / domain.low) ** share
    return domain.low + share * (domain.high - domain.low)


@dataclass(frozen=True)
class SearchSpace:
    """What is searched. parameters: by the name in the study. names: for each method, its hyper-parameters
    and their names in the study, which are the same but where two methods differ on a range."""

    methods: tuple[str, ...]
    parameters: dict[str, Domain]
    names: dict[str, dict[str, str]]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """A configuration: "method", "learning_rate" and the method's own hyper-parameters."""
        method = self.methods[0]
        if len(self.methods) > 1:
            method = suggest_value(trial, "method", Choice(self.methods))
        hyper = {
            key: suggest_value(trial, name, self.parameters[name]) for key, name in self.names[method].items()
        }
        return {"method": method, **hyper}

    def from_study(self, values: dict[str, Any]) -> dict[str, Any]:
        """The inverse of `in_study`: a configuration from values in the names of the study."""
        method = values.get("method", self.methods[0])
        return {"method": method, **{key: values[name] for key, name in self.names[method].items()}}

    def in_study(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """A configuration in the names of the study."""
        method = configuration["method"]
        hyper = {name: configuration[key] for key, name in self.names[method].items()}
        return {"method": method, **hyper}

    def of(self, method: str) -> SearchSpace:
        """The part of one method; of a method that is not in the space, the learning rate alone."""
        names = self.names.get(method, {"learning_rate": "learning_rate"})
        return SearchSpace(
            (method,), {name: self.parameters[name] for name in names.values()}, {method: names}
        )

    @property
    def size(self) -> float:
        """How many configurations there are; infinity where one of the parameters has a range."""
        return sum(
            math.prod(_count_values(self.parameters[name]) for name in self.names[method].values())
            for method in self.methods
        )

    def grid(self) -> dict[str, list[Any]]:
        """Every value of every parameter. Raises InputError where one has a range."""
        for name, domain in self.parameters.items():
            if not isinstance(domain, Choice):
                raise InputError(
                    f"--sampler: grid needs a list for every parameter, but {name} of "
                    f"{', '.join(self.methods)} is {domain}; give --space"
                )
        return {name: list(domain.values) for name, domain in self.parameters.items()}  # type: ignore[union-attr]

    def combinations(self, seed: int) -> list[dict[str, Any]]:
        """Every combination of the grid once, in the names of the study, in an order drawn with `seed`: the
        first few are no neighbours. Raises InputError as `grid` does."""
        grid = self.grid()
        rows = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        return [rows[number] for number in np.random.default_rng(seed).permutation(len(rows))]

    def latin(self, count: int, seed: int) -> list[dict[str, Any]]:
        """A Latin hypercube of `count` configurations, in the names of the study: each range is cut into
        `count` parts and each part is used once, the values of a list equally often (give or take one). A
        parameter's values depend on its name, `count` and `seed` alone, so that methods are given the same
        learning rates.

        Source: McKay, Beckman and Conover, Technometrics 1979.
        """
        columns = {
            name: _draw_latin_column(domain, count, np.random.default_rng([seed, *name.encode()]))
            for name, domain in self.parameters.items()
        }
        return [{name: column[number] for name, column in columns.items()} for number in range(count)]

    def published(self) -> list[dict[str, Any]]:
        """Where a search may begin: each method as its paper has it (its defaults, or what comes nearest in a
        range), at learning rates spread over the range, the middle one first. A method with a list that
        lacks its default is left out."""
        rate, count = self.parameters["learning_rate"], max(1, INITIAL_RATE_COUNT // len(self.methods))
        shares = sorted(
            ((number + 0.5) / count for number in range(count)), key=lambda share: abs(share - 0.5)
        )
        found: list[dict[str, Any]] = []
        for method in self.methods:
            defaults = vars(METHODS[method]())
            names = {key: name for key, name in self.names[method].items() if key in defaults}
            hyper = {
                key: _find_nearest_value(self.parameters[name], defaults[key]) for key, name in names.items()
            }
            if None not in hyper.values():
                found += [
                    {"method": method, "learning_rate": _value_at_share(rate, share), **hyper}
                    for share in shares
                ]
        return found

    def distributions(
        self, configuration: dict[str, Any]
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return the distributions of the parameters that the configuration has, as `suggest` draws them."""
        method = configuration["method"]
        own = {name: self.parameters[name] for name in self.names[method].values()}
        domains = {"method": Choice(self.methods), **own} if len(self.methods) > 1 else own
        return {name: _distribution(domain) for name, domain in domains.items()}

    @classmethod
    def described(cls, description: Mapping[str, Any], names: dict[str, dict[str, str]]) -> SearchSpace:
        """The space that `describe` described. names: as in the space."""
        parameters: dict[str, Domain] = {
            name: Range(value["low"], value["high"], value["log"])
            if value["kind"] == "range"
            else Choice(tuple(value["values"]))
            for name, value in description.items()
            if name != "method"
        }
        return cls(tuple(description["method"]), parameters, names)

    def describe(self) -> dict[str, Any]:
        """Return a description for search.json and for telling two spaces apart."""
        parameters = {
            name: {"kind": type(value).__name__.lower(), **asdict(value)}
            for name, value in self.parameters.items()
        }
        return {"method": list(self.methods), **parameters}


def _find_nearest_value(domain: Domain, value: Any) -> Any:
    """The value of a range that is nearest; of a list the value itself, None where it lacks it."""
    if isinstance(domain, Range):
        return min(max(value, domain.low), domain.high)
    return value if value in domain.values else None


def _count_values(domain: Domain) -> float:
    if isinstance(domain, Choice):
        return len(domain.values)
    return 1.0 if domain.low == domain.high else math.inf


def make_configuration_key(configuration: Mapping[str, Any]) -> str:
    """The same for equal configurations."""
    return json.dumps(configuration, sort_keys=True)


def encode_configurations(
    space: SearchSpace, configurations: Sequence[dict[str, Any]]
) -> NDArray[np.float64]:
    """Configurations as rows in [0, 1]: (n, d).

    A range has a column on its own scale; a choice, and the method where there are several, a column for
    each value, two values being 1 apart. A parameter that a configuration does not have sits in the middle.
    """
    rows = [space.in_study(configuration) for configuration in configurations]
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
        hot = [float(value == one) for one in domain.values]
        return [h / math.sqrt(2) for h in (hot if any(hot) else [1 / count] * count)]
    if value is None or domain.low == domain.high:
        return [0.5]
    low, high = domain.low, domain.high
    if domain.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return [min(max((value - low) / (high - low), 0.0), 1.0)]
