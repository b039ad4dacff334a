"""Options of a search and of a comparison: the single source of the command line and of YAML files.

`tune.core.parsing` makes both from the fields below; pydantic checks types and ranges.
"""

# mypy: disable-error-code="misc"
# An option of a search takes the place of the class variable that a comparison has.

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from dps.errors import InputError
from tune.core.arm_definition import ArmDefinition
from tune.core.common_options import MAX_FRESH_SEEDS, MAX_OPTION_VALUE, CommonOptions, define_option
from tune.core.durations import Duration
from tune.core.option_types import (
    ArmTable,
    FolderPath,
    LocationList,
    NameList,
    SamplerName,
    SchedulerName,
    split_names,
)

__all__ = ["CommonOptions", "CompareOptions", "SearchOptions"]

ALTERNATIVES = ("method", "model")  # of which --space lists several, each with a space of its own

METHOD_PRESETS = {  # methods that go by one name
    "popular": ("vanilla", "vanilla-no-dropout", "dps-dense", "lora", "llrd", "lp-ft", "ema"),
    "controls": (
        *("vanilla", "vanilla-no-dropout", "dps-dense", "dps-random"),
        *("random-mask", "magnitude-mask", "gradient-mask"),
    ),
}

PUBLISHED = "published"  # among the baselines: the winner's method with its published values
USUAL_BASELINES = f"{PUBLISHED},vanilla,vanilla-no-dropout"


def read_alternatives(space: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Return the methods or models that a space lists, each with what it searches in place of the others.

    name: "method" or "model". A value is one name, a list, or a mapping from names to parts of a space.
    Raises InputError for anything else.
    """
    value = space.get(name, [])
    if not isinstance(value, Mapping):
        value = dict.fromkeys(value if isinstance(value, list) else [value])
    for each, own in value.items():
        if not isinstance(each, str) or not isinstance(own, Mapping | None):
            raise InputError(
                f"--space: {name} takes names, or names with a space of their own, as in {name}: "
                f"{{A: {{learning_rate: 1e-5..1e-4:log}}, B: }}; but got {each!r}: {own!r}"
            )
    if name in space and not value:
        raise InputError(f"--space: {name} has an empty list; give at least one value")
    return {each: dict(own or {}) for each, own in value.items()}


def _read_yes_or_no(value: Any) -> Any:
    """Return the baselines that yes and no stand for, which files of earlier versions have."""
    words = {"true": USUAL_BASELINES, "false": "none"}
    return words.get(str(value).lower(), value)


BaselineList = Annotated[NameList, BeforeValidator(_read_yes_or_no)]

# It shadows a method of ABCMeta, and the values that `CommonOptions` has in place of options of a search.
warnings.filterwarnings("ignore", 'Field name "[a-z_]+" in "(Search|Compare)Options" shadows')


class SearchOptions(CommonOptions):
    """Find the fine-tuning configuration that is truly better for a task, and prove
    it on fresh seeds."""

    command: ClassVar[str] = "python tune/search.py"
    keeps_models: ClassVar[bool] = True
    searches_epochs: ClassVar[bool] = True
    examples: ClassVar[str] = """
examples:
  python tune/search.py --task cola
  python tune/search.py --init-task tickets.csv         # proposes tickets.yaml
  python tune/search.py --task tickets.yaml --trials 100 --time-budget 2h
  python tune/search.py --task rte --method dps-dense,vanilla --trials 24
  python tune/search.py --resume runs/rte-20261125-120000
"""

    method: NameList = define_option(
        "dps-dense",
        "dps-dense, lora, vanilla, ... (docs/methods.md); several with commas: the search chooses",
    )
    confirm: int = define_option(
        5,
        "fresh seeds with which the winner and every baseline are trained on all training data",
        gt=0,
        le=MAX_FRESH_SEEDS,
    )
    finalists: int = define_option(
        1,
        "number of best configurations trained with those seeds; the winner is chosen before",
        gt=0,
        le=MAX_OPTION_VALUE,
    )
    race: int = define_option(
        3,
        "number of further seeds of the best three configurations (of each baseline, the best two), whose "
        "means choose; 0: one seed decides",
        ge=0,
        le=MAX_OPTION_VALUE,
    )
    baseline: BaselineList = define_option(
        USUAL_BASELINES,
        "what the winner is compared with, on the same seeds: published (the published values of its "
        "method) and methods, each at its own best learning rate; with commas, or none",
    )
    time_budget: Duration | None = define_option(
        None, "start no further trial or race run after this long: 30m, 2h, 1h30m"
    )
    gpu_hours: float | None = define_option(
        None, "start no further trial or race run after this many GPU-hours", gt=0, allow_inf_nan=False
    )
    cpu_hours: float | None = define_option(
        None, "start no further trial or race run after this many core-hours", gt=0, allow_inf_nan=False
    )
    warm_start: LocationList | None = define_option(
        None,
        "earlier searches whose best configurations are tried first, with commas: a folder, a study.db, "
        "mlflow:EXPERIMENT; of other tasks too",
    )
    objectives: NameList = define_option(
        "score", "what the Pareto front in the report trades off: score,seconds,memory,stability"
    )
    init_task: FolderPath | None = define_option(
        None, "inspect a file of examples, report what was found, and propose the YAML file of a task"
    )
    target: float | None = define_option(
        None,
        "stop exploring once a trial has this score",
        allow_inf_nan=False,
    )
    ensemble: bool = define_option(
        False,
        "also keep the models of all the winner's confirmations, in ensemble/, whose predictions "
        "dps.predict averages",
    )
    register: str | None = define_option(None, "register the winner's model in MLflow, as models:/NAME@best")
    profile: bool = define_option(False, "print where the time went (always in search.json)")

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods named by --method, or by --space. Raises InputError where both name some."""
        named = tuple(read_alternatives(self.space, "method"))
        if named and self.method not in (SearchOptions.model_fields["method"].default, ",".join(named)):
            raise InputError(
                "--space: the methods are searched; leave --method out, or method out of --space"
            )
        return named or split_names(self.method)

    @property
    def arm_definitions(self) -> dict[str, ArmDefinition]:
        return {"": ArmDefinition(self.method_names)}

    @property
    def baseline_names(self) -> tuple[str, ...]:
        return () if self.baseline == "none" else split_names(self.baseline)

    @property
    def baseline_methods(self) -> tuple[str, ...]:
        return tuple(
            name for name in self.baseline_names if name != PUBLISHED and (name,) != self.method_names
        )

    @property
    def dropped_baselines(self) -> tuple[str, ...]:
        kept = (PUBLISHED, *self.baseline_methods)
        return tuple(
            name for name in self.baseline_names if name not in kept and self.baseline != USUAL_BASELINES
        )

    @property
    def confirms_published(self) -> bool:
        return PUBLISHED in self.baseline_names

    @property
    def begins_with_published(self) -> bool:
        return self.sampler in ("tpe", "gp")

    @property
    def registered_name(self) -> str | None:
        return self.register  # type: ignore[return-value]


class CompareOptions(CommonOptions):
    """Compare methods, models, data, settings: is one better, and how sure is that?"""

    command: ClassVar[str] = "python tune/compare.py"
    examples: ClassVar[str] = """
Each arm is tuned over the same number of configurations with one seed; the best
runs with fresh seeds, the same for all arms. Arms may differ in anything that
defines a run (model, method, epochs, files.train); what an arm sets is fixed.

examples:
  python tune/compare.py --task rte --methods vanilla,dps-dense,lora
  python tune/compare.py --task rte --arms method=vanilla method=lora,epochs=10
  python tune/compare.py --resume runs/compare-rte-20261125-120000 --confirm 20
  python tune/compare.py --results runs/compare-rte-1 runs/compare-rte-2
"""

    methods: NameList = define_option(
        "vanilla,vanilla-no-dropout,dps-dense,dps-mix",
        "methods to compare, with commas (docs/methods.md); controls: those that show what the selection "
        "of DPS is worth; popular: those in daily use",
    )
    arms: ArmTable = define_option(  # type: ignore[assignment]
        {},
        "what to compare instead of --methods, each [NAME:] key=value,key=value; in YAML {name: {key: "
        "value}}; an arm without a method has that of --methods, else vanilla",
    )
    tune: Literal["each", "none"] = define_option(  # type: ignore[assignment]
        "each", "each: tune every arm over --trials; none: take arms as given, or their published values"
    )
    baseline: str = define_option(
        "vanilla",
        "the method or arm that the others are compared with; the first of --arms without a vanilla",
    )
    trials: int = define_option(4, "configurations that each method is tuned over", gt=0, le=MAX_OPTION_VALUE)
    confirm: int = define_option(
        5, "paired fresh seeds with which the best of each method is trained", gt=1, le=MAX_FRESH_SEEDS
    )
    scheduler: SchedulerName = define_option(
        "none", "none trains every configuration to the end; asha as in a search"
    )
    sampler: SamplerName = define_option(
        "latin",
        "how configurations are proposed; latin spreads them evenly, with the same learning rates for all",
    )
    results: LocationList | None = define_option(
        None, "run nothing: compare the results of finished searches and comparisons in these folders"
    )
    allow_dirty: bool = define_option(False, "let --results take runs made with uncommitted changes")

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods of all arms, that of the baseline first."""
        if self.arms:
            return tuple(dict.fromkeys(chain(*(each.methods for each in self.arm_definitions.values()))))
        named = [METHOD_PRESETS.get(name, (name,)) for name in split_names(self.methods)]
        return tuple(dict.fromkeys((self.baseline, *chain.from_iterable(named))))

    @property
    def arm_definitions(self) -> dict[str, ArmDefinition]:
        if not self.arms:
            return {method: ArmDefinition((method,), {"method": method}) for method in self.method_names}
        first = self.baseline if self.baseline in self.arms else next(iter(self.arms))
        usual = "vanilla" if "," in self.methods else self.methods  # the default names several
        return {
            name: ArmDefinition((str(self.arms[name].get("method", usual)),), self.arms[name])
            for name in dict.fromkeys((first, *self.arms))
        }
