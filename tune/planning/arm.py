"""An arm of a plan: a search, a baseline, or an arm of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dps.ranges import Choice
from dps.tasks.task import Task
from dps.training.preview import RunPreview
from tune.core.run import RunSettings
from tune.core.space import SearchSpace
from tune.planning.estimate import TrainingSpeed
from tune.planning.inputs import ResolvedInput
from tune.planning.models import SearchedModel


@dataclass(frozen=True)
class Arm:
    """What the runs of a search, a baseline or an arm of a comparison are made of.

    model, preview, settings: of several models, all as one, and those of the first; models: by the names that
    they have in the space, empty where all runs have the same.
    named: what the arm names in place of the options, see `ArmDefinition`. given: whether it has one
    configuration, which is not tuned.
    """

    task: Task
    data: ResolvedInput
    model: ResolvedInput
    preview: RunPreview
    settings: RunSettings
    speed: TrainingSpeed
    space: SearchSpace
    model_parameters: int = 0
    precision_note: str = ""
    models: Mapping[str, SearchedModel] = field(default_factory=dict)
    named: Mapping[str, Any] = field(default_factory=dict)
    given: bool = False

    @property
    def chooses_length(self) -> bool:
        """Whether the length of texts depends on what is searched."""
        return bool(self.models) or "max_length" in self.space.parameters

    def with_precision(self, precision: str, note: str) -> Arm:
        """Return the arm with another precision; note: why."""
        models = {
            label: replace(model, settings=replace(model.settings, precision=precision))
            for label, model in self.models.items()
        }
        settings = replace(self.settings, precision=precision)
        return replace(self, settings=settings, models=models, precision_note=note)

    @property
    def given_configuration(self) -> dict[str, Any] | None:
        """The configuration that is taken as given; None where the arm is tuned."""
        if not self.given:
            return None
        return self.space.from_study_values(
            {name: values[0] for name, values in self.space.list_grid().items()}
        )

    def describe(self) -> dict[str, str]:
        """Return everything that decides its runs, as short texts."""
        settings = self.settings
        place = self.task.data_location if settings.data == "task" else None
        train = place.get_place("train") if place is not None and place.hub is None else self.data.name
        of_each = f" ({settings.shots} of each class)" if settings.shots else ""
        values: dict[str, Any] = {
            "method": " | ".join(self.space.methods),
            "model": Path(self.model.name).name,
            "training data": Path(train or "").name,
            "training examples": f"{self.preview.examples['train']:,}{of_each}",
            "epochs": settings.epochs if settings.max_steps is None else "-",
            "batch size": settings.batch_size,
            "max length": settings.max_length,
            "precision": settings.precision,
            "loss": settings.loss,
            "threshold": settings.threshold or self.task.threshold,
            "patience": settings.patience or "-",
            "steps": f"{self.preview.full_max_steps:,}",
        }
        single = {
            name: domain.values[0]
            for name, domain in self.space.parameters.items()
            if name in self.named and isinstance(domain, Choice) and len(domain.values) == 1
        }
        return {
            key: f"{value:g}" if isinstance(value, float) else str(value)
            for key, value in {**values, **single}.items()
        }


def list_differences(arms: Mapping[str, Arm]) -> dict[str, dict[str, str]]:
    """Return by arm the values of what is not the same in all, "tuned" for what is tuned there and "-"
    for what it does not have."""
    described = {name: arm.describe() for name, arm in arms.items()}
    for key, part in (("model", "model"), ("training data", "data")):
        found = {(getattr(arm, part).fingerprint, described[name][key]) for name, arm in arms.items()}
        if len(found) > len({text for _, text in found}):  # others have the same short name
            for name, arm in arms.items():
                described[name][key] = getattr(arm, part).name
    keys = dict.fromkeys(key for values in described.values() for key in values)
    differing = [key for key in keys if len({values.get(key) for values in described.values()}) > 1]
    tuned = {name: {key.rpartition(".")[2] for key in arm.space.parameters} for name, arm in arms.items()}
    return {
        name: {key: values.get(key, "tuned" if key in tuned[name] else "-") for key in differing}
        for name, values in described.items()
    }
