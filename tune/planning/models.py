"""Models among which a search chooses: found and named before the first trial."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.models import ModelFolder, locate_model
from dps.training.preview import RunPreview, preview_run
from tune.core.job_config import make_fine_tune_config
from tune.core.options import CommonOptions, read_alternatives
from tune.core.run import Job, RunPurpose, RunSettings
from tune.planning.estimate import TrainingSpeed, estimate_speed
from tune.planning.inputs import USUAL_EPOCHS, ResolvedInput, SearchInputs
from tune.planning.space_options import ModelSize, parse_training_domains

EPOCHS = 2.0, 10.0  # that are searched, at most
TRAINED_EXAMPLES = 5000  # that a run sees where training is long, of few examples each many times


@dataclass(frozen=True)
class SearchedModel:
    """One of the models that a search chooses among: what it is, how its runs go.

    preview: of its longest run.
    """

    described: ResolvedInput
    size: ModelSize
    preview: RunPreview
    settings: RunSettings
    speed: TrainingSpeed


def locate_models(options: CommonOptions) -> dict[str, ModelFolder]:
    """Return the models that --space lists by the names that they have in the search: their own, of a folder
    the last part of its path where no other ends so. Raises InputError for one that is not there."""
    names = list(read_alternatives(options.space, "model"))
    if names and options.model != "auto":
        raise InputError("--space: the model is searched; leave --model out, or model out of --space")
    try:
        folders = [locate_model(name) for name in names]
    except InputError as error:
        raise InputError(f"--space: {error}") from None
    ends = Counter(map(_shorten_name, folders))
    found = {_shorten_name(one) if ends[_shorten_name(one)] == 1 else one.name: one for one in folders}
    if len({folder.path for folder in folders}) < len(names):
        raise InputError("--space: model names one twice; name each once")
    return found


def choose_epochs(options: CommonOptions, inputs: SearchInputs) -> CommonOptions:
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
    chosen = options.train_size or (options.shot_count or math.inf) * max(1, len(inputs.task.labels))
    examples = min(len(inputs.source.load(inputs.task, "train")), chosen)
    longest = min(EPOCHS[1], float(TRAINED_EXAMPLES // examples))
    if longest <= USUAL_EPOCHS:
        return options
    found = {"low": EPOCHS[0], "high": longest, "log": True}
    return options.copy_with(space={**options.space, "epochs": found})


def preview_model(
    options: CommonOptions,
    inputs: SearchInputs,
    methods: tuple[str, ...],
    gpus: float,
    precision: str,
    own: Mapping[str, Any] | None = None,
) -> SearchedModel:
    """Look at the longest run on a model, with all that the run reads. own: what is searched on it alone."""
    settings = inputs.build_settings(options, precision)
    longest = _choose_longest_training(options)
    read_here = parse_training_domains({**options.space, **(own or {}), "model": {"": None}})
    longest.pop("max_length", None)
    if "max_length" in read_here:
        longest["max_length"] = max(read_here["max_length"].extremes)
    configuration = {"method": "vanilla", "learning_rate": 1.0, **longest}
    trial = Job("0", RunPurpose.SEARCH, configuration, options.seed, settings, "", transfers=True)
    config = replace(make_fine_tune_config(trial), max_length=longest.get("max_length", options.max_length))
    try:
        preview = preview_run(
            config, inputs.task, inputs.source, inputs.model, (*methods, *options.baseline_methods)
        )
    except InputError as error:
        option = "--space: max_length:" if "max_length" in longest else "--max-length:"
        raise InputError(str(error).replace("--max-length:", option)) from None
    model, read = inputs.model, options.copy_with(max_length=preview.lengths.max_length)
    return SearchedModel(
        inputs.describe_model(),
        ModelSize(model.count_parameters(), model.read_dimensions()[0], preview.lengths.max_length),
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


def join_models(models: Mapping[str, SearchedModel]) -> ResolvedInput:
    """Return the models of a search as one input."""
    described = [model.described for model in models.values()]
    if len(described) == 1:
        return described[0]
    prints = [
        "+".join(each.fingerprint for each in described),
        "+".join(each.tokenizer for each in described),
    ]
    return ResolvedInput("several", ", ".join(models), prints[0], "searched", prints[1])


def _shorten_name(model: ModelFolder) -> str:
    return model.path.name if model.kind == "folder" else model.name


def rename_models(space: Mapping[str, Any], models: Mapping[str, ModelFolder]) -> dict[str, Any]:
    """Return a space that names its models as the search does."""
    if not models:
        return dict(space)
    return {**space, "model": dict(zip(models, read_alternatives(space, "model").values(), strict=True))}


def make_paths_absolute(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space whose models are found from any folder."""
    alternatives = read_alternatives(space, "model")
    if not alternatives:
        return dict(space)
    models = {
        str(Path(name).resolve()) if Path(name).is_dir() else name: own for name, own in alternatives.items()
    }
    return {**space, "model": models if any(models.values()) else list(models)}
