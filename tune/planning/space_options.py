"""Search spaces from options: the default ranges, overridden by --space."""

from __future__ import annotations

import math
import re
from dataclasses import fields
from typing import Any

from dps.depth import describe_shared_layers
from dps.errors import InputError, suggest_name
from dps.methods import METHODS
from dps.ranges import Choice, Domain, Range
from dps.tasks.task import Task
from dps.training.config import TRAINING_PARAMETERS, FineTuneConfig
from tune.core.options import PUBLISHED
from tune.core.space import SearchSpace

LEARNING_RATE_RANGES = (  # (model parameters below, low, high)
    (50e6, 3e-5, 5e-4),
    (200e6, 1e-5, 1e-4),
    (float("inf"), 5e-6, 5e-5),
)
RANGE_TEXT = re.compile(r"(?P<low>[-+.\deE]+?)\.\.(?P<high>[-+.\deE]+)\s*(?P<log>:\s*log)?")  # 1e-5..1e-3:log


def check_methods_and_sampler(methods: tuple[str, ...], sampler: str = "tpe") -> None:
    """Raise InputError for an unknown method, and for a sampler that cannot propose the methods."""
    if unknown := [name for name in methods if name not in METHODS]:
        raise InputError(f"--method: there is no method {unknown[0]!r}; {suggest_name(unknown[0], METHODS)}")
    for name in methods:
        METHODS[name].require_packages()
    if sampler not in ("", "tpe", "random") and len(methods) > 1:
        raise InputError(f"--sampler: {sampler} cannot search several methods at once; use tpe or random")


def check_baselines(names: tuple[str, ...]) -> None:
    """Raise InputError for a baseline that there is none of, or whose packages are not there."""
    for name in names:
        if name in METHODS:
            METHODS[name].require_packages()
        elif name != PUBLISHED:
            advice = suggest_name(name, (PUBLISHED, "none", *METHODS))
            raise InputError(f"--baseline: there is no method {name!r}; {advice}")


def refuse_shared_layers(
    methods: tuple[str, ...], layers: int, blocks: int, option: str = "--method"
) -> None:
    """Raise InputError for a method that goes by depth, if the layers of the model share fewer blocks.
    option: that named it."""
    by_depth = [method for method in methods if METHODS[method].goes_by_depth]
    if by_depth and blocks < layers:
        raise InputError(f"{option}: {describe_shared_layers(by_depth[0], layers, blocks)}")


def refuse_regression(methods: tuple[str, ...], task: Task, option: str = "--method") -> None:
    """Raise InputError for a method that needs classes, if the labels of the task are numbers. option: that
    named it."""
    needing = [method for method in methods if METHODS[method].needs_classes]
    if needing and task.is_regression:
        raise InputError(
            f"{option}: {needing[0]} needs classes, but the labels of {task.name} are numbers; leave it out"
        )


def build_search_space(
    methods: tuple[str, ...],
    freeze: str,
    model_parameters: int,
    max_steps: int,
    layers: int = 0,
    named: dict[str, Any] | None = None,
    training_values: dict[str, Any] | None = None,
) -> SearchSpace:
    """Build the default space, overridden by `named`.

    max_steps: optimizer steps of the longest trial; layers: of the model, 0 if unknown; named: by parameter
    a value, a list of values, a range as text, or low, high and log; training_values: see `SearchSpace`.
    Raises InputError as `check_methods_and_sampler` does, and for what no method can take.
    """
    check_methods_and_sampler(methods)
    low, high = next((low, high) for limit, low, high in LEARNING_RATE_RANGES if model_parameters < limit)
    given_domains = {key: _parse_domain(key, value) for key, value in (named or {}).items()}
    given_rate = given_domains.pop("learning_rate", None)
    training = parse_training_domains(named or {})
    given_domains = {key: domain for key, domain in given_domains.items() if key not in training}
    parameters: dict[str, Domain] = {}
    study_names: dict[str, dict[str, str]] = {method: {} for method in methods}
    for method in methods:
        rate = given_rate or Range(low, high, log=True).scale(METHODS[method].learning_rate_factor)
        own = _build_method_domains(method, freeze, max_steps, layers, given_domains)
        shared = {"learning_rate": _check_training_values("learning_rate", rate), **training}
        for key, domain in {**shared, **own}.items():
            name = key if parameters.get(key, domain) == domain else f"{method}.{key}"
            parameters[name], study_names[method][key] = domain, name
    known = {key for names in study_names.values() for key in names} | set(TRAINING_PARAMETERS)
    if unused := sorted(set(given_domains) - known):
        meant = suggest_name(unused[0], sorted(known))
        raise InputError(f"--space: {', '.join(methods)} has no hyper-parameter {unused[0]!r}; {meant}")
    return SearchSpace(methods, parameters, study_names, training_values or {})


def parse_training_domains(named: dict[str, Any]) -> dict[str, Domain]:
    """Return the domains of the training parameters among `named`. Raises InputError for an unusable one."""
    domains = {name: _parse_domain(name, named[name]) for name in TRAINING_PARAMETERS if name in named}
    return {name: _check_training_values(name, domain) for name, domain in domains.items()}


def _build_method_domains(
    method: str, freeze: str, max_steps: int, layers: int, given: dict[str, Domain]
) -> dict[str, Domain]:
    """Return the domains of the hyper-parameters that a method defines."""
    known = {field.name: field.type for field in fields(METHODS[method])}
    given_here = {key: domain for key, domain in given.items() if key in known}
    for key, domain in given_here.items():
        if known[key] == "int" and not (isinstance(domain, Choice) and _are_integers(domain.values)):
            raise InputError(f"--space: {method}: {key} takes a list of whole numbers, but got {domain}")
        _check_accepted_values(method, key, domain)
    domains = METHODS[method].search_space(max_steps, layers)
    if freeze != "gradient" and "freeze" in known:
        domains["freeze"] = Choice(("gradient", "update") if freeze == "search" else (freeze,))
    return domains | given_here


def _parse_domain(key: str, value: Any) -> Domain:
    if isinstance(value, str) and (ends := RANGE_TEXT.fullmatch(value)):
        return _parse_range(key, {"low": ends["low"], "high": ends["high"], "log": ends["log"] is not None})
    if isinstance(value, dict):
        return _parse_range(key, value)
    values = [_parse_number(element) for element in (value if isinstance(value, list) else [value])]
    if not values:
        raise InputError(f"--space: {key} has an empty list; give at least one value")
    for element in values:
        if not isinstance(element, str) and not _is_finite_number(element) and not isinstance(element, bool):
            raise InputError(
                f"--space: {key} takes finite numbers, words, true and false, but got {element!r}"
            )
    return Choice(tuple(dict.fromkeys(values)))


def _parse_range(key: str, value: dict[str, Any]) -> Range:
    if unknown := set(value) - {"low", "high", "log"}:
        raise InputError(f"--space: {key} takes low, high and log, but got {', '.join(map(str, unknown))!r}")
    if missing := [end for end in ("low", "high") if end not in value]:
        raise InputError(f"--space: {key} needs low and high, but has no {missing[0]}")
    low, high, log = _parse_number(value["low"]), _parse_number(value["high"]), value.get("log", False)
    if not (_is_finite_number(low) and _is_finite_number(high) and low < high):
        raise InputError(f"--space: {key} needs finite numbers with low < high, but got {value}")
    if not isinstance(log, bool):
        raise InputError(f"--space: log of {key} is true or false, but got {log!r}")
    if log and not low > 0:
        raise InputError(f"--space: {key} needs low above 0 on a log scale, but got {value}")
    return Range(float(low), float(high), log)


def _check_training_values(name: str, domain: Domain) -> Domain:
    """Check the values of what `dps.FineTuneConfig` itself takes, and return the domain."""
    values = (domain.low, domain.high) if isinstance(domain, Range) else domain.values
    if name == "batch_size" and not (isinstance(domain, Choice) and _are_integers(domain.values)):
        raise InputError(f"--space: batch_size takes a list of whole numbers, but got {domain}")
    for value in values:
        if not _is_finite_number(value):
            raise InputError(f"--space: {name} must be a number, but got {value!r}")
        try:
            FineTuneConfig(**{name: value})
        except InputError as error:
            raise InputError(f"--space: {error}") from None
    return domain


def _parse_number(value: Any) -> Any:
    """Parse numbers that YAML reads as text, such as 1e-5."""
    for kind in (int, float) if isinstance(value, str) else ():
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_integers(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _check_accepted_values(method: str, key: str, domain: Domain) -> None:
    """Raise InputError if the method refuses a value of the domain."""
    for value in (domain.low, domain.high) if isinstance(domain, Range) else domain.values:
        try:
            METHODS[method](**{key: value})
        except (ValueError, TypeError) as error:
            raise InputError(f"--space: {method}: {error}") from None
