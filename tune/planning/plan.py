"""Everything that is decided before a search starts: what the other parts work from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dps.tasks.task import Task
from tune.core.durations import parse_duration
from tune.core.options import CommonOptions, SearchOptions
from tune.core.run import RunSettings
from tune.core.space import SearchSpace
from tune.planning.cluster import Cluster
from tune.planning.estimate import DurationEstimate
from tune.strategy.budget import (
    DeviceHoursLimit,
    SlotCount,
    SlotDevices,
    StopRule,
    TrialLimit,
    WallTimeLimit,
)
from tune.strategy.race import RaceSettings
from tune.strategy.strategy import Strategy

EXPLORATION_BUDGET_SHARE = 0.4  # of a budget of time or hours; the rest is for the race


@dataclass(frozen=True)
class ResolvedInput:
    """Where data or a model come from, and what exactly they are."""

    source: str
    name: str
    fingerprint: str
    note: str


@dataclass(frozen=True)
class WarmStart:
    """What earlier searches say. first: configurations that are tried before any is proposed. earlier:
    (configuration, standing), see `tune.strategy.warm_start.EarlierConfiguration`. origins: where they are
    from."""

    first: Sequence[dict[str, Any]] = ()
    earlier: Sequence[tuple[dict[str, Any], float]] = ()
    origins: Sequence[str] = ()


NO_WARM_START = WarmStart()


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a search starts. arms: the spaces that are searched side by side,
    by method; of a search there is one, of no name."""

    options: CommonOptions
    task: Task
    data: ResolvedInput
    model: ResolvedInput
    examples: dict[str, int]
    settings: RunSettings
    arms: dict[str, SearchSpace]
    max_steps: int
    confirm_steps: int
    slots: int
    gpus_per_worker: float
    cluster: Cluster
    expected: DurationEstimate
    chance: float | None = None  # the primary metric of the best constant prediction
    warm: WarmStart = NO_WARM_START
    weights: int = 0  # of the model
    precision_note: str = ""
    gpu_note: str = ""  # of --share-gpus

    @property
    def space(self) -> SearchSpace:
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
    def devices(self) -> SlotDevices:
        """What one slot holds: its GPUs, or its cores where it has none."""
        options, gpus = self.options, self.gpus_per_worker
        each = gpus or options.cpus_per_worker
        return SlotDevices("GPU" if gpus else "CPU", each * options.workers_per_trial, options.price)

    @property
    def keep_models(self) -> bool:
        """Whether confirmations write their models."""
        return isinstance(self.options, SearchOptions)

    def rules(self, arm: str) -> list[StopRule]:
        """The stop rules of an arm."""
        options = self.options
        share = EXPLORATION_BUDGET_SHARE if isinstance(options, SearchOptions) and options.race else 1.0
        return [TrialLimit(options.trials), *self.budgets(share)]

    def budgets(self, share: float = 1.0) -> list[StopRule]:
        """The rules on time and hours, of which a share may be used."""
        options, rules = self.options, list[StopRule]()
        if not isinstance(options, SearchOptions):
            return rules
        workers = options.workers_per_trial
        if options.time_budget:
            rules.append(WallTimeLimit(parse_duration(options.time_budget), share))
        if options.gpu_hours:
            rules.append(DeviceHoursLimit("GPU", options.gpu_hours, self.gpus_per_worker * workers, share))
        if options.cpu_hours:
            rules.append(DeviceHoursLimit("CPU", options.cpu_hours, options.cpus_per_worker * workers, share))
        return rules

    def make_strategy(self, arm: str, slots: SlotCount, folder: str, warm: Sequence[Any]) -> Strategy:
        """Return the strategy of an arm. folder: where its runs keep their files, see
        `tune.core.storage`; warm: the configurations that are tried first, and what earlier searches say
        (`WarmStart.first`, `WarmStart.earlier`) as the first session read it."""
        options = self.options
        strategy = Strategy(
            space=self.arms[arm],
            settings=self.settings,
            direction=self.task.direction,
            sampler=options.sampler,
            seed=options.seed,
            trials=options.trials,
            confirm=options.confirm,
            slots=slots,
            rules=self.rules(arm),
            folder=folder,
            max_steps=self.max_steps,
            scheduler=options.scheduler,
            evaluations=options.evaluations,
            chance=self.chance,
            keep_models=self.keep_models,
            oom_retry=options.oom_retry,
        )
        if not isinstance(options, SearchOptions):
            return strategy
        worth = options.worth and options.worth / 100
        first, earlier = warm
        return replace(
            strategy,
            racing=RaceSettings(options.race, worth=worth or RaceSettings.worth),
            race_rules=self.budgets(),
            target=options.target,
            worth=worth,
            first=[*first, *self.published],
            earlier=[(configuration, standing) for configuration, standing in earlier],
            finalists=options.finalists,
            baseline=options.baseline,
        )

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


def describe_plan(plan: Plan) -> dict[str, Any]:
    """What was planned, as search.json and compare.json hold it."""
    return {
        "task": plan.task.name,
        "metric": plan.task.metric,
        "direction": plan.task.direction,
        "data": {"source": plan.data.source, "name": plan.data.name, "fingerprint": plan.data.fingerprint},
        "model": {
            "source": plan.model.source,
            "name": plan.model.name,
            "fingerprint": plan.model.fingerprint,
        },
        "plan": {
            "examples": plan.examples,
            "max_steps": plan.max_steps,
            "confirm_steps": plan.confirm_steps,
            "slots": plan.slots,
            "settings": plan.settings.described(),
        },
    }
