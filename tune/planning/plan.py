"""The plan: everything decided before a search starts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dps.methods import METHODS, MethodCost
from dps.tasks.definition import make_definition
from dps.tasks.task import Task
from dps.training.preview import RunPreview
from tune.core.options import CommonOptions
from tune.core.run import RunPurpose, RunSettings
from tune.core.space import INITIAL_RATE_COUNT, SearchSpace, describe_searched
from tune.planning.arm import Arm, list_differences
from tune.planning.cluster import Cluster, count_slots
from tune.planning.estimate import ArmLoad, DurationEstimate, estimate_duration, estimate_run
from tune.planning.inputs import ResolvedInput
from tune.planning.models import SearchedModel
from tune.strategy.budget import (
    RACE_MARGIN,
    AfterFirstTrial,
    Budgets,
    SlotCount,
    SlotDevices,
    SpentResources,
    StopRule,
    TrialLimit,
    find_exploration_share,
)
from tune.strategy.race import RACED_CONFIGURATIONS
from tune.strategy.strategy import NO_WARM_START, Strategy, WarmStart

SEARCH_DECISIONS = ("seed", "scheduler", "sampler")  # options of the identity that no run knows
CHANGEABLE_OPTIONS = {  # options that may change on a resume; all others stand in the identity
    *("trials", "confirm", "finalists", "race", "baseline", "methods", "objectives", "register", "ensemble"),
    *("time_budget", "gpu_hours", "cpu_hours", "target", "price", "warm_start"),
    *("max_concurrent", "workers_per_trial", "gpus_per_worker", "share_gpus", "cpus_per_worker"),
    *("oom_retry", "step_timeout", "trial_timeout", "storage", "tracking_uri", "experiment"),
    *("output", "config", "resume", "dry_run", "preflight", "quiet", "json", "profile", "shard"),
    *("init_task", "results", "allow_dirty", "gradient_checkpointing"),
    *("arms", "tune"),  # which the identity of each arm holds
}
MAX_BASELINE_SHARE = 0.4  # of a search's budget, for tuning the baselines
RACED_OF_BASELINE = 2  # configurations of a baseline that race
TRIALS_PER_PARAMETER = 2  # of a baseline, for each parameter of several values but the learning rate


@dataclass(frozen=True)
class Plan:
    """Everything decided before a search starts.

    arms: of a search by baseline, its own first, with an empty name; the baseline of a comparison first.
    gpu_note: of --share-gpus.
    ended: in a search that is resumed, how many runs ended by now, by arm and purpose.
    spent_seconds, spent_slot_seconds: wall time of its sessions by now; time of all its runs, by arm.
    tasks: that share the slots and a time budget.
    """

    options: CommonOptions
    arms: dict[str, Arm]
    slots: int
    gpus_per_worker: float
    cluster: Cluster
    warm_start: WarmStart = NO_WARM_START
    gpu_note: str = ""
    ended: Mapping[str, Mapping[RunPurpose, int]] = field(default_factory=dict)
    spent_seconds: float = 0.0
    spent_slot_seconds: Mapping[str, float] = field(default_factory=dict)
    tasks: int = 1

    @property
    def first(self) -> Arm:
        """The search itself, or the baseline of a comparison."""
        return next(iter(self.arms.values()))

    @property
    def task(self) -> Task:
        """The task; the arms of a comparison may have other training examples."""
        return self.first.task

    @property
    def data(self) -> ResolvedInput:
        """The data of the first arm."""
        return self.first.data

    @property
    def model(self) -> ResolvedInput:
        """The model of the first arm."""
        return self.first.model

    @property
    def preview(self) -> RunPreview:
        """The preview of the first arm."""
        return self.first.preview

    @property
    def settings(self) -> RunSettings:
        """The settings of the first arm's runs."""
        return self.first.settings

    @property
    def space(self) -> SearchSpace:
        """The space of a search."""
        return self.arms[""].space

    @property
    def models(self) -> Mapping[str, SearchedModel]:
        """The models that a search chooses among, by their names in the space; empty where there is one."""
        return self.first.models

    @property
    def model_parameters(self) -> int:
        """The parameters of the largest model."""
        return max(arm.model_parameters for arm in self.arms.values())

    @property
    def precision_note(self) -> str:
        """How the precision was chosen."""
        return "; ".join(dict.fromkeys(arm.precision_note for arm in self.arms.values()))

    def get_shared(self, option: str) -> str:
        """Return what "data", "model" or "precision" came to, for the arms that do not name their own."""
        values = (getattr(arm.settings, option) for arm in self.arms.values() if option not in arm.named)
        return str(next(values, getattr(self.options, option)))

    def change_arms(self, **changes: Any) -> Plan:
        """Return the plan with these changes in every arm."""
        return replace(self, arms={name: replace(arm, **changes) for name, arm in self.arms.items()})

    def list_differences(self) -> dict[str, dict[str, str]]:
        """Return by arm the values of what is not the same in all, "tuned" for what is tuned there."""
        return list_differences(self.arms)

    @property
    def baseline_arms(self) -> tuple[str, ...]:
        """The methods that a search tunes to compare its winner with."""
        return tuple(self.arms)[1:] if "" in self.arms else ()

    @property
    def max_steps(self) -> int:
        """Optimizer steps of a full trial, of the longest where they differ."""
        return max(arm.preview.max_steps for arm in self.arms.values())

    @property
    def confirm_steps(self) -> int:
        """Optimizer steps of a confirmation, at most."""
        return max(arm.preview.full_max_steps for arm in self.arms.values())

    @property
    def mean_training_share(self) -> float:
        """Mean training of the space's configurations, as a share of that of its longest, in examples."""
        found = (arm.space.parameters.get("epochs") for arm in self.arms.values())
        lengths = [domain.extremes for domain in found if domain is not None]
        return statistics.fmean(sum(each) / len(each) / max(each) for each in lengths) if lengths else 1.0

    @property
    def initial_configurations(self) -> list[dict[str, Any]]:
        """Starting configurations of a search whose sampler learns, else none."""
        return self.space.list_published() if self.options.begins_with_published else []

    @property
    def confirms_published(self) -> bool:
        """Whether published values are confirmed beside the winner: not where the space has none."""
        return self.options.confirms_published and any(map(self.space.get_published, self.space.methods))

    @property
    def planned_runs(self) -> int:
        """The number of trials, race runs and confirmations over all arms."""
        counts = (self.count_trials, self.count_race_runs, self.count_confirmations)
        return sum(count(arm) for count in counts for arm in self.arms)

    @property
    def ended_runs(self) -> int:
        """The number of runs that ended by now, in a search that is resumed."""
        return sum(sum(counts.values()) for counts in self.ended.values())

    @property
    def trials(self) -> int:
        """The number of trials over all arms."""
        return sum(map(self.count_trials, self.arms))

    def count_trials(self, arm: str) -> int:
        """Return the number of trials of an arm: of a baseline as many as learning rates that a search begins
        with, and more for each further parameter of several values; all configurations of a smaller space;
        none where the configuration is given."""
        space, trials = self.arms[arm].space, self.options.trials
        if self.arms[arm].given:
            return 0
        if arm in self.baseline_arms:
            trials = INITIAL_RATE_COUNT + TRIALS_PER_PARAMETER * (space.count_open(arm) - 1)
        return int(min(trials, space.size))

    def count_race_runs(self, arm: str, completed: int | None = None) -> int:
        """Return the number of further seeds over all configurations of an arm that race. completed: trials
        that go to their end, None for all."""
        most = RACED_OF_BASELINE if arm in self.baseline_arms else RACED_CONFIGURATIONS
        raced = min(most, self.count_trials(arm) if completed is None else completed)
        return self.options.race * raced if raced > 1 else 0

    def count_confirmations(self, arm: str) -> int:
        """Return the number of runs with fresh seeds that an arm has."""
        finalists = min(self.options.finalists, self.count_trials(arm)) or 1
        configurations = finalists + self.confirms_published if not arm else 1
        return configurations * self.options.confirm

    @property
    def estimate(self) -> DurationEstimate:
        """The expected duration of the search, of what is left of a resumed one."""
        loads = [self._make_load(arm) for arm in self.arms]
        return estimate_duration(self.options, self.slots, loads).scale(self.mean_training_share)

    def _make_load(self, arm: str) -> ArmLoad:
        """Return what an arm has left to run."""
        own, ended, is_baseline = self.arms[arm], self.ended.get(arm, {}), arm in self.baseline_arms
        planned = (self.count_trials(arm), self.count_race_runs(arm), self.count_confirmations(arm))
        trials, race_runs, confirmations = (
            max(0, count - ended.get(purpose, 0))
            for purpose, count in zip(RunPurpose, planned, strict=True)  # in the order of the phases
        )
        shares = (self._get_share(arm) if is_baseline else self._exploration_share, self._get_share(arm))
        spent = SpentResources(0, self.spent_seconds, self.spent_slot_seconds.get(arm, 0.0))
        number = len(self.baseline_arms) if is_baseline else 0
        left = (self.budgets.measure_slot_seconds(share, spent, number) for share in shares)
        exploring, budget = (seconds / self.mean_training_share for seconds in left)
        begins = exploring > 0 or not ended.get(RunPurpose.SEARCH)
        counts = trials, race_runs, confirmations, (1 if is_baseline else self.slots) if begins else 0
        return ArmLoad(*counts, self.get_cost(arm), is_baseline, exploring, budget, own.preview, own.speed)

    @property
    def slot_devices(self) -> SlotDevices:
        """The devices of one slot: its GPUs, or its cores if it has none."""
        options, gpus = self.options, self.gpus_per_worker
        per_worker = gpus or options.cpus_per_worker
        return SlotDevices("GPU" if gpus else "CPU", per_worker * options.workers_per_trial, options.price)

    def get_stop_rules(self) -> list[StopRule]:
        """Return the stop rules of the exploration of an arm that is no baseline."""
        return [TrialLimit(self.options.trials), *self.budgets.make_rules(self._exploration_share)]

    @property
    def _exploration_share(self) -> float:
        """The share of the budgets that the trials of an arm that is no baseline may use."""
        race_s = self._estimate_runs(next(iter(self.arms)), self.count_race_runs)
        return self.own_budget_share * find_exploration_share(race_s, self.measure_budget(""))

    def measure_budget(self, arm: str) -> float:
        """Return the slot seconds that the budgets leave for trials and race of an arm."""
        return self.budgets.measure_slot_seconds(self._get_share(arm))

    def _get_share(self, arm: str) -> float:
        return self._share_of_baseline if arm in self.baseline_arms else self.own_budget_share

    def get_cost(self, arm: str) -> MethodCost:
        """Return what a run of an arm costs beyond vanilla, on average over its methods."""
        return MethodCost.average([METHODS[method]().cost for method in self.arms[arm].space.methods])

    def _estimate_runs(self, arm: str, *counts: Callable[[str], int]) -> float:
        """Return the expected slot seconds of so many trials and race runs of an arm."""
        preview, speed = self.arms[arm].preview, self.arms[arm].speed
        run = estimate_run(self.options, preview, speed, self.get_cost(arm))
        return sum(count(arm) for count in counts) * run.trial * self.mean_training_share

    @property
    def budgets(self) -> Budgets:
        """The budgets of the search."""
        workers = self.options.workers_per_trial
        devices = {"GPU": workers * self.gpus_per_worker, "CPU": workers * self.options.cpus_per_worker}
        return Budgets(self.options.resource_limits, devices, self.slots / self.tasks)

    @property
    def own_budget_share(self) -> float:
        """The share of the budgets that the baselines leave to trials and race."""
        return 1 - self._share_of_baseline * len(self.baseline_arms)

    @property
    def _share_of_baseline(self) -> float:
        """The share of the budgets that is kept for each baseline: of all of them RACE_MARGIN times what they
        are expected to take, and no more than MAX_BASELINE_SHARE."""
        counts, number = (self.count_trials, self.count_race_runs), len(self.baseline_arms)
        expected = sum(self._estimate_runs(arm, *counts) for arm in self.baseline_arms)
        whole = self.budgets.measure_slot_seconds()
        return min(MAX_BASELINE_SHARE, RACE_MARGIN * expected / whole) / max(1, number)

    def make_strategy(self, arm: str, slots: SlotCount, folder: str, warm: Sequence[Any]) -> Strategy:
        """Return the strategy of an arm. folder: location of its runs' files, see `tune.core.storage`; warm:
        initial configurations and observations of the warm start, as the first session read them."""
        options, own = self.options, self.arms[arm]
        initial_configurations, observations = warm
        strategy = Strategy(
            space=own.space,
            settings=own.settings,
            settings_by_model={label: model.settings for label, model in own.models.items()},
            direction=self.task.direction,
            sampler=options.sampler,
            seed=options.seed,
            design_size=options.trials,
            confirmation_seeds=options.confirm,
            slots=slots,
            stop_rules=self.get_stop_rules(),
            folder=folder,
            scheduler=options.scheduler,
            evaluations=options.evaluations,
            chance=own.preview.chance_level,
            keep_models=options.keeps_models,
            oom_retry=options.oom_retry,
            race_seeds=options.race,
            race_stop_rules=self.budgets.make_rules(self.own_budget_share),
            target_score=options.target,
            first_configurations=[*initial_configurations, *self.initial_configurations],
            earlier_configurations=[(configuration, score) for configuration, score in observations],
            finalist_count=options.finalists,
            confirms_published=options.confirms_published,
            fingerprints=own.preview.fingerprints,
            given_configuration=own.given_configuration,
        )
        return self._make_baseline_strategy(arm, strategy) if arm in self.baseline_arms else strategy

    def _make_baseline_strategy(self, arm: str, strategy: Strategy) -> Strategy:
        """Return the strategy of a baseline, which finds the learning rate of published values."""
        rules = self.budgets.make_rules(self._share_of_baseline, of_time=1.0)
        return replace(
            strategy,
            sampler="latin",
            design_size=self.count_trials(arm),
            stop_rules=[TrialLimit(self.count_trials(arm)), *map(AfterFirstTrial, rules)],
            scheduler="none",
            keep_models=False,
            race_seeds=self.options.race if self.count_race_runs(arm) else 0,
            raced_configurations=RACED_OF_BASELINE,
            race_stop_rules=rules,
            target_score=None,
            first_configurations=strategy.space.list_published(),
            earlier_configurations=(),
            finalist_count=1,
            confirms_published=False,
            is_baseline=True,
        )

    def with_gpu_share(self, gpus_per_worker: float, note: str) -> Plan:
        """Return the plan with workers that have this share of a GPU, and as many slots as then fit."""
        slots = count_slots(self.options, self.cluster, gpus_per_worker)
        return replace(self, gpus_per_worker=gpus_per_worker, slots=slots, gpu_note=note)

    def with_first_precision(self, precision: str | None) -> Plan:
        """Return the plan with the precision of the first session, which may have run on another machine.
        None: written by a version that knew only fp32 on CPUs."""
        precision = precision or ("auto" if self.gpus_per_worker else "fp32")
        if self.options.precision != "auto" or precision == self.get_shared("precision"):
            return self
        note = f"{precision} (as the search began)"
        arms = {
            name: arm if "precision" in arm.named else arm.with_precision(precision, note)
            for name, arm in self.arms.items()
        }
        return replace(self, arms=arms)

    def get_identity(self, arm: str) -> dict[str, object]:
        """Return what a resume must not change. Data and model may lie elsewhere by then."""
        own = self.arms[arm]
        return {
            **vars(own.settings),
            "task": own.task.name,
            "definition": make_definition(own.task),
            "data": own.data.fingerprint,
            "examples": dict(own.preview.fingerprints),
            "model": own.model.fingerprint,
            "tokenizer": own.model.tokenizer,
            **{name: getattr(self.options, name) for name in SEARCH_DECISIONS},
            "space": own.space.to_description(),
            "search_steps": own.preview.max_steps,
        }


def describe_plan(plan: Plan) -> dict[str, Any]:
    """Return the plan as search.json and compare.json store it."""
    return {
        "task": plan.task.name,
        "metric": plan.task.metric,
        "direction": plan.task.direction,
        "data": plan.data.to_json(),
        "model": plan.model.to_json(),
        "models": {
            label: {**model.described.to_json(), "max_length": model.settings.max_length}
            for label, model in plan.models.items()
        },
        "plan": {
            "examples": plan.preview.examples,
            "cut": plan.preview.lengths.cut,
            "max_steps": plan.max_steps,
            "confirm_steps": plan.confirm_steps,
            "slots": plan.slots,
            "settings": plan.settings.to_json(),
            "searched": describe_searched(arm.space for arm in plan.arms.values()),
        },
    }
