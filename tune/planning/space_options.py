"""Search spaces from options: the default ranges, overridden by --space."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dps.depth import describe_shared_layers
from dps.errors import InputError, suggest_name
from dps.methods import METHODS
from dps.models import USUAL_TOKENS
from dps.ranges import Choice, Domain, Range
from dps.tasks.task import Task
from dps.training.config import TRAINING_PARAMETERS, FineTuneConfig
from tune.core.options import ALTERNATIVES, PUBLISHED, read_alternatives
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
    if "none" in names:
        others = ",".join(name for name in names if name != "none")
        raise InputError(f"--baseline: none is no comparison at all; give it alone, or {others} without it")
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


@dataclass(frozen=True)
class ModelSize:
    """What of a model decides its search space. parameters: weights; layers: 0 if unknown; max_length: of its
    texts, where that is not searched."""

    parameters: int
    layers: int = 0
    max_length: int = USUAL_TOKENS


def build_search_space(
    methods: tuple[str, ...],
    freeze: str,
    model_parameters: int,
    max_steps: int,
    layers: int = 0,
    named: Mapping[str, Any] | None = None,
    training_values: dict[str, Any] | None = None,
    models: Mapping[str, ModelSize] | None = None,
) -> SearchSpace:
    """Build the default space, overridden by `named`.

    max_steps: optimizer steps of the longest trial; layers: of the model, 0 if unknown; named: by parameter
    a value, a list of values, a range as text, or low, high and log, and under "method" and "model" what
    `read_alternatives` reads; training_values: see `SearchSpace`; models: that are searched, by their names
    in `named`, in place of the one. Raises InputError as `check_methods_and_sampler` does, and for what no
    method can take.
    """
    check_methods_and_sampler(methods)
    sizes: Mapping[Any, ModelSize] = models or {None: ModelSize(model_parameters, layers)}
    named = named or {}
    shared = {key: value for key, value in named.items() if key not in ALTERNATIVES}
    own = {name: read_alternatives(named, name) for name in ALTERNATIVES}
    if outside := [method for method in own["method"] if method not in methods]:
        raise InputError(
            f"--space: {outside[0]} is not among the methods, {', '.join(methods)}; name it there"
        )
    domains: dict[tuple[str, str | None], dict[str, Domain]] = {}
    known, asked = {*TRAINING_PARAMETERS, "learning_rate"}, set(shared)
    for method, (model, size) in itertools.product(methods, sizes.items()):
        given = {**shared, **own["model"].get(model or "", {}), **own["method"].get(method, {})}
        asked |= {*given}
        domains[method, model] = _build_domains(method, freeze, size, max_steps, given)
        known |= {field.name for field in fields(METHODS[method])}
        if models:
            domains[method, model] = {"model": Choice(tuple(models)), **domains[method, model]}
    _refuse_unknown_names(asked - known, known, methods)
    for method, (model, size) in itertools.product(methods, sizes.items()):
        usual = {**vars(METHODS[method]()), **(training_values or {}), "max_length": size.max_length}
        keys = [key for (of, _), found in domains.items() if of == method for key in found]
        fixed = {key: Choice((usual[key],)) for key in keys if key not in domains[method, model]}
        domains[method, model].update(fixed)  # what other models alone search
    parameters: dict[str, Domain] = {}
    study_names: dict[str, dict[str, str]] = {method: {} for method in methods}
    for branch, found in domains.items():
        for key, domain in found.items():
            name = _choose_study_name(domains, parameters, branch, key)
            parameters[name], study_names[branch[0]][key] = domain, name
    return SearchSpace(methods, parameters, study_names, training_values or {})


def _choose_study_name(
    domains: Mapping[tuple[str, str | None], Mapping[str, Domain]],
    parameters: Mapping[str, Domain],
    branch: tuple[str, str | None],
    key: str,
) -> str:
    """Return the study name of a hyper-parameter: with what its domain depends on before it."""
    method, model = branch
    every = {each: found[key] for each, found in domains.items() if key in found}
    if len({repr(domain) for (of, _), domain in every.items() if of == method}) == 1 and all(
        len({repr(domain) for (of, _), domain in every.items() if of == other}) == 1 for other, _ in every
    ):
        return key if parameters.get(key, every[branch]) == every[branch] else f"{method}.{key}"
    by_model = all(len({repr(d) for (_, of), d in every.items() if of == other}) == 1 for _, other in every)
    return f"{model}.{key}" if by_model else f"{method}.{model}.{key}"


def _refuse_unknown_names(names: set[str], known: set[str], methods: tuple[str, ...]) -> None:
    """Raise InputError for what --space names and no run knows."""
    if names:
        first = min(names)
        meant = suggest_name(first, sorted(known | set(ALTERNATIVES)))
        raise InputError(f"--space: {', '.join(methods)} has no hyper-parameter {first!r}; {meant}")


def parse_training_domains(named: Mapping[str, Any]) -> dict[str, Domain]:
    """Return the domains of the training parameters among `named`, with all that its methods and models
    search by themselves. Raises InputError for an unusable one."""
    own = [part for name in ALTERNATIVES for part in read_alternatives(named, name).values()]
    found: dict[str, Domain] = {}
    for name in TRAINING_PARAMETERS:
        domains = [_parse_training_domain(name, part[name]) for part in (named, *own) if name in part]
        if len(domains) > 1:
            found[name] = Choice(tuple(value for domain in domains for value in domain.extremes))
        elif domains:
            found[name] = domains[0]
    return found


def _parse_training_domain(name: str, value: Any) -> Domain:
    return _check_training_values(name, _parse_domain(name, value))


def _build_domains(
    method: str, freeze: str, size: ModelSize, max_steps: int, given: Mapping[str, Any]
) -> dict[str, Domain]:
    """Return the domains of all that a method searches on a model."""
    low, high = next((low, high) for limit, low, high in LEARNING_RATE_RANGES if size.parameters < limit)
    rate: Domain = Range(low, high, log=True).scale(METHODS[method].learning_rate_factor)
    if "learning_rate" in given:
        rate = _parse_domain("learning_rate", given["learning_rate"])
    training = {n: _parse_training_domain(n, given[n]) for n in TRAINING_PARAMETERS if n in given}
    shared = {"learning_rate": _check_training_values("learning_rate", rate), **training}
    rest = {key: _parse_domain(key, value) for key, value in given.items() if key not in shared}
    return shared | _build_method_domains(method, freeze, max_steps, size.layers, rest)


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
    if name in ("batch_size", "max_length") and not (
        isinstance(domain, Choice) and _are_integers(domain.values)
    ):
        raise InputError(f"--space: {name} takes a list of whole numbers, but got {domain}")
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
