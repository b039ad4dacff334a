"""Search spaces: the learning rate, and for each method what its file in `dps.methods` publishes.

The learning rate's range follows the size of the model (README, "What is searched"): the best peak
shrinks as models grow.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from dps.errors import InputError
from dps.methods import METHODS
from dps.ranges import Choice, Domain, Range

LEARNING_RATES = (  # (up to so many parameters, low, high)
    (50e6, 3e-5, 5e-4),
    (200e6, 1e-5, 1e-4),
    (float("inf"), 5e-6, 5e-5),
)
FIRST_RATES = 3  # that a search begins with


def draw(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    """A value for `trial`."""
    if isinstance(domain, Range):
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
    return trial.suggest_categorical(name, domain.values)


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    if isinstance(domain, Range):
        return optuna.distributions.FloatDistribution(domain.low, domain.high, log=domain.log)
    return optuna.distributions.CategoricalDistribution(domain.values)


def _column(domain: Domain, count: int, rng: np.random.Generator) -> list[Any]:
    """`count` values of one parameter of a Latin hypercube."""
    order = rng.permutation(count)
    if isinstance(domain, Choice):
        turns = rng.permutation(len(domain.values))
        return [domain.values[turns[place % len(turns)]] for place in order]
    return [_at(domain, float(share)) for share in (order + rng.random(count)) / count]


def _at(domain: Domain, share: float) -> Any:
    """The value at a share of the way, in [0, 1)."""
    if isinstance(domain, Choice):
        return domain.values[int(share * len(domain.values))]
    if domain.log:
        return domain.low * (domain.high / domain.low) ** share
    return domain.low + share * (domain.high - domain.low)


@dataclass(frozen=True)
class Space:
    """What is searched. parameters: by the name in the study. names: for each method, its hyper-parameters
    and their names in the study, which are the same but where two methods differ on a range."""

    methods: tuple[str, ...]
    parameters: dict[str, Domain]
    names: dict[str, dict[str, str]]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """A configuration: "method", "learning_rate" and the method's own hyper-parameters."""
        method = self.methods[0]
        if len(self.methods) > 1:
            method = draw(trial, "method", Choice(self.methods))
        hyper = {key: draw(trial, name, self.parameters[name]) for key, name in self.names[method].items()}
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

    def of(self, method: str) -> Space:
        """The part of one method; of a method that is not in the space, the learning rate alone."""
        names = self.names.get(method, {"learning_rate": "learning_rate"})
        return Space((method,), {name: self.parameters[name] for name in names.values()}, {method: names})

    @property
    def size(self) -> float:
        """How many configurations there are; infinity where one of the parameters has a range."""
        return sum(
            math.prod(_values(self.parameters[name]) for name in self.names[method].values())
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
            name: _column(domain, count, np.random.default_rng([seed, *name.encode()]))
            for name, domain in self.parameters.items()
        }
        return [{name: column[number] for name, column in columns.items()} for number in range(count)]

    def published(self) -> list[dict[str, Any]]:
        """Where a search may begin: each method as its paper has it (its defaults, or what comes nearest in a
        range), at learning rates spread over the range, the middle one first. A method with a list that
        lacks its default is left out."""
        rate, count = self.parameters["learning_rate"], max(1, FIRST_RATES // len(self.methods))
        shares = sorted(
            ((number + 0.5) / count for number in range(count)), key=lambda share: abs(share - 0.5)
        )
        found: list[dict[str, Any]] = []
        for method in self.methods:
            defaults = vars(METHODS[method]())
            names = {key: name for key, name in self.names[method].items() if key in defaults}
            hyper = {key: _nearest(self.parameters[name], defaults[key]) for key, name in names.items()}
            if None not in hyper.values():
                found += [{"method": method, "learning_rate": _at(rate, share), **hyper} for share in shares]
        return found

    def distributions(
        self, configuration: dict[str, Any]
    ) -> dict[str, optuna.distributions.BaseDistribution]:
        """Of the parameters that the configuration has, as `suggest` draws them."""
        method = configuration["method"]
        own = {name: self.parameters[name] for name in self.names[method].values()}
        domains = {"method": Choice(self.methods), **own} if len(self.methods) > 1 else own
        return {name: _distribution(domain) for name, domain in domains.items()}

    @classmethod
    def described(cls, description: Mapping[str, Any], names: dict[str, dict[str, str]]) -> Space:
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
        """For search.json and for telling two spaces apart."""
        parameters = {
            name: {"kind": type(value).__name__.lower(), **asdict(value)}
            for name, value in self.parameters.items()
        }
        return {"method": list(self.methods), **parameters}


def _nearest(domain: Domain, value: Any) -> Any:
    """The value of a range that is nearest; of a list the value itself, None where it lacks it."""
    if isinstance(domain, Range):
        return min(max(value, domain.low), domain.high)
    return value if value in domain.values else None


def _values(domain: Domain) -> float:
    if isinstance(domain, Choice):
        return len(domain.values)
    return 1.0 if domain.low == domain.high else math.inf


def key(configuration: Mapping[str, Any]) -> str:
    """The same for equal configurations."""
    return json.dumps(configuration, sort_keys=True)


def encode(space: Space, configurations: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Configurations as rows in [0, 1]: (n, d).

    A range has a column on its own scale; a choice, and the method where there are several, a column for
    each value, two values being 1 apart. A parameter that a configuration does not have sits in the middle.
    """
    rows = [space.in_study(configuration) for configuration in configurations]
    domains: dict[str, Domain] = dict(space.parameters)
    if len(space.methods) > 1:
        domains = {"method": Choice(space.methods), **domains}
    columns = [
        np.array([_place(domain, row.get(name)) for row in rows]).reshape(len(rows), _width(domain))
        for name, domain in domains.items()
    ]
    return np.concatenate([np.zeros((len(rows), 0)), *columns], axis=1)


def _width(domain: Domain) -> int:
    return len(domain.values) if isinstance(domain, Choice) else 1


def _place(domain: Domain, value: Any) -> list[float]:
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


def check(methods: tuple[str, ...], sampler: str = "tpe") -> None:
    """Raises InputError for a method that there is none of, and for a sampler that cannot propose them."""
    if unknown := [name for name in methods if name not in METHODS]:
        raise InputError(f"--method: there is no {', '.join(unknown)!r}; choose among {', '.join(METHODS)}")
    if sampler not in ("", "tpe", "random") and len(methods) > 1:
        raise InputError(f"--sampler: {sampler} cannot search several methods at once; use tpe or random")


def build(
    methods: tuple[str, ...],
    freeze: str,
    model_parameters: int,
    max_steps: int,
    layers: int = 0,
    named: dict[str, Any] | None = None,
) -> Space:
    """The default space, or what `named` puts in its place. max_steps: optimizer steps of a full trial;
    layers: of the model, 0 where it does not say; named: by hyper-parameter a value, a list of values, or
    low, high and log. Raises InputError as `check` does, and for what no method can take.
    """
    check(methods)
    low, high = next((low, high) for most, low, high in LEARNING_RATES if model_parameters < most)
    given = {key: _domain(key, value) for key, value in (named or {}).items()}
    rate = _rate(given.pop("learning_rate", Range(low, high, log=True)))
    parameters: dict[str, Domain] = {"learning_rate": rate}
    names: dict[str, dict[str, str]] = {}
    for method in methods:
        names[method] = {"learning_rate": "learning_rate"}
        for key, domain in _own(method, freeze, max_steps, layers, given).items():
            name = key if parameters.get(key, domain) == domain else f"{method}.{key}"
            parameters[name], names[method][key] = domain, name
    if unused := sorted(set(given) - {key for own in names.values() for key in own}):
        raise InputError(f"--space: {', '.join(methods)} has no hyper-parameter {unused[0]!r}")
    return Space(methods, parameters, names)


def _own(
    method: str, freeze: str, max_steps: int, layers: int, given: dict[str, Domain]
) -> dict[str, Domain]:
    """The hyper-parameters of a method alone."""
    known = {field.name: field.type for field in fields(METHODS[method])}
    mine = {key: domain for key, domain in given.items() if key in known}
    for key, domain in mine.items():
        if known[key] == "int" and not (isinstance(domain, Choice) and _whole(domain.values)):
            raise InputError(f"--space: {method}: {key} takes a list of whole numbers, but got {domain}")
        _try(method, key, domain)
    domains = METHODS[method].space(max_steps, layers)
    if freeze != "gradient" and "freeze" in known:
        domains["freeze"] = Choice(("gradient", "update") if freeze == "search" else (freeze,))
    return domains | mine


def _domain(key: str, value: Any) -> Domain:
    if isinstance(value, dict):
        return _range(key, value)
    values = [_number(one) for one in (value if isinstance(value, list) else [value])]
    if not values:
        raise InputError(f"--space: {key} has an empty list; give at least one value")
    for one in values:
        if not isinstance(one, str | int | float) or (isinstance(one, float) and not math.isfinite(one)):
            raise InputError(f"--space: {key} takes finite numbers, words, true and false, but got {one!r}")
    return Choice(tuple(dict.fromkeys(values)))


def _range(key: str, value: dict[str, Any]) -> Range:
    if unknown := set(value) - {"low", "high", "log"}:
        raise InputError(f"--space: {key} takes low, high and log, but got {', '.join(map(str, unknown))!r}")
    if missing := [end for end in ("low", "high") if end not in value]:
        raise InputError(f"--space: {key} needs low and high, but has no {missing[0]}")
    low, high, log = _number(value["low"]), _number(value["high"]), value.get("log", False)
    if not (_is_number(low) and _is_number(high) and low < high):
        raise InputError(f"--space: {key} needs finite numbers with low < high, but got {value}")
    if not isinstance(log, bool):
        raise InputError(f"--space: log of {key} is true or false, but got {log!r}")
    if log and not low > 0:
        raise InputError(f"--space: {key} needs low above 0 on a log scale, but got {value}")
    return Range(float(low), float(high), log)


def _rate(domain: Domain) -> Domain:
    """The learning rates, which no method checks."""
    for value in (domain.low, domain.high) if isinstance(domain, Range) else domain.values:
        if not _is_number(value) or not value > 0:
            raise InputError(f"--space: learning_rate must be a number above 0, but got {value!r}")
    return domain


def _number(value: Any) -> Any:
    """YAML reads 1e-5 as text: a number after all."""
    for kind in (int, float) if isinstance(value, str) else ():
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _try(method: str, key: str, domain: Domain) -> None:
    """Raises InputError where the method refuses a value of the domain."""
    for value in (domain.low, domain.high) if isinstance(domain, Range) else domain.values:
        try:
            METHODS[method](**{key: value})
        except (ValueError, TypeError) as error:
            raise InputError(f"--space: {method}: {error}") from None
