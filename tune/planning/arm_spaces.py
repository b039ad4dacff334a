"""Search spaces of arms, from the options, the model and the length of the runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dps.errors import InputError
from dps.ranges import Choice
from dps.training.config import TRAINING_PARAMETERS, FineTuneConfig
from tune.core.options import CommonOptions
from tune.core.space import SearchSpace
from tune.planning.models import SearchedModel
from tune.planning.space_options import build_search_space


def build_arm_space(
    options: CommonOptions,
    methods: tuple[str, ...],
    models: Mapping[str, SearchedModel],
    named: Mapping[str, Any],
) -> SearchSpace:
    """Return the space of methods on models. named: its domains, see `build_search_space`. Raises InputError
    for what cannot be searched."""
    first = next(iter(models.values()))
    settings = first.settings
    usual = {name: getattr(settings, name, getattr(FineTuneConfig, name)) for name in TRAINING_PARAMETERS}
    space = build_search_space(
        methods,
        options.freeze,
        first.size.parameters,
        first.preview.max_steps,
        first.size.layers,
        named,
        usual,
        {label: model.size for label, model in models.items() if label},
    )
    if options.sampler == "grid":
        space.list_grid()  # raises InputError for a range
    return space


def fix_space(space: SearchSpace) -> SearchSpace:
    """Return the space of one configuration: single values as they are, the others as published, the middle
    learning rate. Raises InputError for a list of several values without the published one."""
    (method,) = space.methods
    names = space.study_names[method]
    single = {
        key: domain.values[0]
        for key, name in names.items()
        if isinstance(domain := space.parameters[name], Choice) and len(domain.values) == 1
    }
    open_names = {key: name for key, name in names.items() if key == "learning_rate" or key not in single}
    published = replace(space, study_names={method: open_names}).list_published()
    if not published:
        raise InputError("--tune: none needs one value for each list of the space; name it")
    values = published[0] | single
    return replace(space, parameters={name: Choice((values[key],)) for key, name in names.items()})
