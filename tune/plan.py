"""Everything that is decided before a search starts: what the other parts work from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dps.tasks import Task
from tune import budget, estimate
from tune.durations import seconds
from tune.job import Settings
from tune.options import RunOptions, SearchOptions
from tune.runtime import Cluster
from tune.space import Space

EXPLORE_SHARE = 0.4  # of a budget of time or hours; the rest is for the race


@dataclass(frozen=True)
class Identified:
    """Where data or a model come from, and what exactly they are."""

    source: str
    name: str
    fingerprint: str
    note: str


@dataclass(frozen=True)
class WarmStart:
    """What earlier searches say. first: configurations that are tried before any is proposed. earlier:
    (configuration, standing), see `tune.warm.Earlier`. origins: where they are from."""

    first: Sequence[dict[str, Any]] = ()
    earlier: Sequence[tuple[dict[str, Any], float]] = ()
    origins: Sequence[str] = ()


NOT_WARM = WarmStart()


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a search starts. arms: the spaces that are searched side by side,
    by method; of a search there is one, of no name."""

    options: RunOptions
    task: Task
    data: Identified
    model: Identified
    examples: dict[str, int]
    settings: Settings
    arms: dict[str, Space]
    max_steps: int
    confirm_steps: int
    slots: int
    gpus_per_worker: float
    cluster: Cluster
    expected: estimate.Expected
    chance: float | None = None  # the primary metric of the best constant prediction
    warm: WarmStart = NOT_WARM
    weights: int = 0  # of the model
    precision_note: str = ""
    gpu_note: str = ""  # of --share-gpus

    @property
    def space(self) -> Space:
        """The one space of a search."""
        (space,) = self.arms.values()
        return space

    @property
    def published(self) -> list[dict[str, Any]]:
        """What a search begins with whose sampler learns; see `Space.published`."""
        learns = isinstance(self.options, SearchOptions) and self.options.sampler in ("tpe", "gp")
        return self.space.published() if learns else []

    @property
    def runs(self) -> int:
        """Trials and confirmations, of all arms; those of a race are not known beforehand."""
        confirmed = self.options.confirmed
        return len(self.arms) * (self.options.trials + confirmed * self.options.confirm)

    @property
    def devices(self) -> budget.Devices:
        """What one slot holds: its GPUs, or its cores where it has none."""
        options, gpus = self.options, self.gpus_per_worker
        each = gpus or options.cpus_per_worker
        return budget.Devices("GPU" if gpus else "CPU", each * options.workers_per_trial, options.price)

    @property
    def keep_models(self) -> bool:
        """Whether confirmations write their models."""
        return isinstance(self.options, SearchOptions)

    def rules(self, arm: str) -> list[budget.StopRule]:
        """The stop rules of an arm."""
        options = self.options
        share = EXPLORE_SHARE if isinstance(options, SearchOptions) and options.race else 1.0
        return [budget.Trials(options.trials), *self.budgets(share)]

    def budgets(self, share: float = 1.0) -> list[budget.StopRule]:
        """The rules on time and hours, of which a share may be used."""
        options, rules = self.options, list[budget.StopRule]()
        if not isinstance(options, SearchOptions):
            return rules
        workers = options.workers_per_trial
        if options.time_budget:
            rules.append(budget.WallTime(seconds(options.time_budget), share))
        if options.gpu_hours:
            rules.append(budget.DeviceHours("GPU", options.gpu_hours, self.gpus_per_worker * workers, share))
        if options.cpu_hours:
            rules.append(
                budget.DeviceHours("CPU", options.cpu_hours, options.cpus_per_worker * workers, share)
            )
        return rules

    def as_begun(self, precision: str | None) -> Plan:
        """The same with what "auto" meant when the search began, on another machine perhaps; None: by a
        version that knew fp32 alone on CPUs."""
        precision = precision or ("auto" if self.gpus_per_worker else "fp32")
        if self.options.precision != "auto" or precision == self.settings.precision:
            return self
        settings = replace(self.settings, precision=precision)
        return replace(self, settings=settings, precision_note=f"{precision} (as the search began)")

    def identity(self, arm: str) -> dict[str, object]:
        """What may not change when the search is resumed."""
        same = ("batch_size", "epochs", "max_length", "evaluations", "train_size", "select_on")
        same_too = ("precision", "transfer", "probe")
        return {
            "task": self.task.name,
            "data": self.data.fingerprint,
            "model": self.model.fingerprint,
            "space": self.arms[arm].describe(),
            "max_steps": self.max_steps,
            "seed": self.options.seed,
            "scheduler": self.options.scheduler,
            "sampler": self.options.sampler,
            **{name: getattr(self.options, name) for name in (*same, *same_too)},
        }
