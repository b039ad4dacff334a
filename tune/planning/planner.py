"""Planner: resolves `auto`, data and model, and what fits the cluster, before the first trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dps.errors import InputError
from dps.training.config import TRAINING_PARAMETERS, FineTuneConfig
from dps.training.preview import preview_run
from tune.core.job_config import make_fine_tune_config
from tune.core.options import CommonOptions
from tune.core.run import Job, RefusedError, RunPurpose
from tune.core.space import SearchSpace
from tune.planning.cluster import (
    SHARING_MEASURED_LATER,
    Cluster,
    choose_gpus_per_worker,
    choose_precision,
    count_slots,
    count_trials_by_resource,
)
from tune.planning.estimate import average_speeds, estimate_speed
from tune.planning.inputs import USUAL_EPOCHS, SearchInputs, resolve_inputs
from tune.planning.locations import check_storage, check_tracking
from tune.planning.models import (
    SearchedModel,
    join_models,
    locate_models,
    make_paths_absolute,
    rename_models,
)
from tune.planning.plan import NO_WARM_START, Plan, WarmStart
from tune.planning.space_options import (
    ModelSize,
    build_search_space,
    check_baselines,
    check_methods_and_sampler,
    parse_training_domains,
    refuse_regression,
    refuse_shared_layers,
)
from tune.strategy.warm_start import adapt_to_space, propose_first_trials, read_earlier_searches

EPOCHS = 2.0, 10.0  # that are searched, at most
TRAINED_EXAMPLES = 5000  # that a run sees where training is long, of few examples each many times
WARM_START_SHARE = 0.25  # share of trials taken from earlier searches


def make_plan(options: CommonOptions, cluster: Cluster) -> Plan:
    """Make the plan from data, model and cluster. Raises InputError for bad input, RefusedError for what the
    cluster lacks."""
    _check_options(options, cluster)
    folders = locate_models(options)
    inputs = resolve_inputs(options, cluster, [*folders.values()])
    options = _choose_epochs(options, inputs)
    options.check_scale(inputs.task.metric)
    refuse_regression(options.method_names, inputs.task)
    refuse_regression(options.baseline_methods, inputs.task, "--baseline")
    gpus = choose_gpus_per_worker(options, cluster)
    precision, precision_note = choose_precision(options, cluster, gpus)
    slots = _count_slots_or_refuse(options, cluster, gpus)
    models = {
        label: _preview_model(options, replace(inputs, model=folder), gpus, precision)
        for label, folder in (folders or {"": inputs.model}).items()
    }
    first = next(iter(models.values()))
    options = options.copy_with(space=make_paths_absolute(options.space))
    if not folders and "max_length" not in options.space:
        options = options.copy_with(max_length=first.settings.max_length)
    arms = {
        arm: _build_search_space(options, methods, models, rename_models(options.space, folders))
        for arm, methods in options.methods_by_arm.items()
    }
    arms |= {method: arms[""].for_baseline(method) for method in options.baseline_methods}
    for folder in folders.values() or (inputs.model,):
        layers, blocks = folder.read_dimensions()[0], folder.count_blocks()
        refuse_shared_layers(options.method_names, layers, blocks)
        refuse_shared_layers(options.baseline_methods, layers, blocks, "--baseline")
    return Plan(
        options=options,
        task=inputs.task,
        data=inputs.describe_data(),
        model=join_models(models),
        preview=first.preview,
        settings=first.settings,
        precision_note=precision_note,
        gpu_note=SHARING_MEASURED_LATER if options.share_gpus and gpus else "",
        arms=arms,
        slots=slots,
        gpus_per_worker=gpus,
        cluster=cluster,
        speed=average_speeds([model.speed for model in models.values()]),
        warm_start=_load_warm_start(options, arms),
        model_parameters=max(model.size.parameters for model in models.values()),
        models=models if folders else {},
    )


def _choose_epochs(options: CommonOptions, inputs: SearchInputs) -> CommonOptions:
    """Return the options with epochs: those given, else of few examples the range that is searched.

    The range begins at EPOCHS[0], and ends where a run sees TRAINED_EXAMPLES, at EPOCHS[1] at most. It is
    searched if that is more than USUAL_EPOCHS, as with 1,000 examples or fewer.
    """
    if options.epochs is not None:
        return options
    options = options.copy_with(epochs=USUAL_EPOCHS)
    is_open = options.searches_epochs and options.max_steps is None and options.sampler != "grid"
    if not is_open or "epochs" in parse_training_domains(options.space):
        return options
    examples = min(len(inputs.source.load(inputs.task, "train")), options.train_size or math.inf)
    longest = min(EPOCHS[1], float(TRAINED_EXAMPLES // examples))
    if longest <= USUAL_EPOCHS:
        return options
    found = {"low": EPOCHS[0], "high": longest, "log": True}
    return options.copy_with(space={**options.space, "epochs": found})


def _preview_model(
    options: CommonOptions, inputs: SearchInputs, gpus: float, precision: str
) -> SearchedModel:
    """Look at the longest run on a model, with all that the run reads."""
    settings = inputs.build_settings(options, precision)
    longest = _choose_longest_training(options)
    configuration = {"method": "vanilla", "learning_rate": 1.0, **longest}
    trial = Job("0", RunPurpose.SEARCH, configuration, options.seed, settings, "", transfers=True)
    config = replace(make_fine_tune_config(trial), max_length=longest.get("max_length", options.max_length))
    try:
        methods = (*options.method_names, *options.baseline_methods)
        preview = preview_run(config, inputs.task, inputs.source, inputs.model, methods)
    except InputError as error:
        option = "--space: max_length:" if "max_length" in longest else "--max-length:"
        raise InputError(str(error).replace("--max-length:", option)) from None
    model, read = inputs.model, options.copy_with(max_length=preview.lengths.max_length)
    return SearchedModel(
        inputs.describe_model(),
        ModelSize(model.count_parameters(), model.read_dimensions()[0]),
        preview,
        replace(settings, max_length=preview.lengths.max_length),
        estimate_speed(read, model, preview.mean_words, gpus, precision, config.batch_size),
    )


def _choose_longest_training(options: CommonOptions) -> dict[str, Any]:
    """Return the values of the searched training parameters with which a trial has the most steps. Raises
    InputError for wrong ones, and where an option has no effect beside them."""
    domains = parse_training_domains(options.space)
    if "epochs" in domains and options.max_steps is not None:
        raise InputError("--space: epochs has no effect beside --max-steps; leave one of them out")
    if "max_length" in domains and options.max_length is not None:
        raise InputError("--space: max_length is searched; leave --max-length out, or max_length of --space")
    values = {name: [*domain.extremes] for name, domain in domains.items()}
    for name in ("epochs", "batch_size"):
        if name in values and name not in options.space:  # only some methods or models search it
            values[name].append(getattr(options, name))
    return {name: (min if name == "batch_size" else max)(each) for name, each in values.items()}


def _check_options(options: CommonOptions, cluster: Cluster) -> None:
    check_storage(options, cluster)
    check_tracking(options)
    for methods in options.methods_by_arm.values():
        check_methods_and_sampler(methods, options.sampler)
    check_baselines(options.baseline_names)
    _ = options.objective_names  # raises InputError for a wrong list


def _build_search_space(
    options: CommonOptions,
    methods: tuple[str, ...],
    models: Mapping[str, SearchedModel],
    named: Mapping[str, Any],
) -> SearchSpace:
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


def _load_warm_start(options: CommonOptions, arms: dict[str, SearchSpace]) -> WarmStart:
    """Read the warm start; a resume takes it from the ledger instead."""
    sources = options.warm_start
    if not sources or options.resume:
        return NO_WARM_START
    earlier = read_earlier_searches(sources, options.tracking_uri)
    space = arms[""]
    fitting = adapt_to_space(earlier, space)
    if not fitting:
        raise InputError(
            f"--warm-start: no configuration of {sources} fits this search space; "
            f"give --method or --space as there, or another source"
        )
    first = propose_first_trials(earlier, space, max(1, round(WARM_START_SHARE * options.trials)))
    observations = [(observation.configuration, observation.normal_score) for observation in fitting]
    return WarmStart(first, observations, list(dict.fromkeys(search.origin for search in earlier)))


def _count_slots_or_refuse(options: CommonOptions, cluster: Cluster, gpus: float) -> int:
    """Return the number of slots. Raises RefusedError if one trial does not fit."""
    slots = count_slots(options, cluster, gpus)
    if slots < 1:
        room = count_trials_by_resource(options, cluster, gpus)
        scarce = min(room, key=lambda name: room[name])
        raise RefusedError(
            f"--workers-per-trial: the cluster has too little ({scarce}) for one trial of "
            f"{options.workers_per_trial} x {options.cpus_per_worker} cores and {gpus:g} GPUs; it has "
            f"{cluster.cpus:g} cores, {cluster.gpus:g} GPUs, {cluster.memory / 2**30:.0f} GiB"
        )
    if "GPU" in options.resource_limits and not gpus:
        raise RefusedError("--gpu-hours: the plan uses no GPU; use --time-budget")
    return slots
