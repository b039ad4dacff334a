"""Models among which a search chooses: found and named before the first trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.models import ModelFolder, locate_model
from dps.training.preview import RunPreview
from tune.core.options import CommonOptions, read_alternatives
from tune.core.run import RunSettings
from tune.planning.estimate import TrainingSpeed
from tune.planning.inputs import ResolvedInput
from tune.planning.space_options import ModelSize


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
