"""The options of a search and of a comparison: the one source of the command line and of YAML files.

pydantic-settings makes both from the fields below and checks types and ranges (`tune.core.parsing`).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dps.errors import InputError
from tune.core.durations import Duration, TimeoutDuration

OBJECTIVES = ("score", "seconds", "memory", "stability")

MAX_OPTION_VALUE = 1_000_000
warnings.filterwarnings(
    "ignore", message='Field name "json" in "CommonOptions" shadows'
)  # of pydantic's past


def _check_path(value: Any) -> Any:
    """Refuses what can be no path."""
    if value == "" or "\0" in str(value):
        raise ValueError("must be a path")
    return value


SchedulerName = Literal["asha", "median", "none"]  # tune.strategy.early_stopping.EARLY_STOPPING_NAMES
SamplerName = Literal["tpe", "gp", "random", "grid", "latin"]
FolderPath = Annotated[Path, BeforeValidator(_check_path)]


def define_option(default: Any, text: str, **rules: Any) -> Any:
    return Field(default, description=text, **rules)


class CommonOptions(BaseSettings):
    """What a search and a comparison share: task, data, model, training, slots, tracking."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )
    command: ClassVar[str]
    examples: ClassVar[str]

    task: str = define_option(
        "cola",
        "what to learn: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, snli, sick, scitail, or the YAML file "
        "of a task of your own",
    )
    freeze: Literal["gradient", "update", "search"] = define_option(
        "gradient",
        "how DPS holds unselected weights back: their gradient, their update, or let the search choose",
    )
    trials: int = define_option(12, "configurations to try", gt=0, le=MAX_OPTION_VALUE)
    confirm: int = define_option(
        3, "fresh seeds that the winner is trained with on all training data", gt=0, le=MAX_OPTION_VALUE
    )
    seed: int = define_option(
        0,
        "of the search: proposals, the held-out slice, the runs; confirmation uses the seeds after it",
        ge=0,
        lt=2**31,
    )
    output: FolderPath | None = define_option(
        None, "folder for the results (default: runs/<task>-<date-time>)"
    )
    data: str = define_option(
        "auto", "auto, hub, builtin, task (what its YAML names), or a folder with files", min_length=1
    )
    model: str = define_option(
        "auto", "auto, builtin, a name on the hub, or a transformers folder", min_length=1
    )
    epochs: float = define_option(
        3, "passes over the training data of a full run", gt=0, le=MAX_OPTION_VALUE, allow_inf_nan=False
    )
    max_steps: int | None = define_option(
        None, "optimizer steps of a full run, in place of --epochs", gt=0, le=MAX_OPTION_VALUE
    )
    batch_size: int = define_option(
        16, "examples a step, over all workers of a trial", gt=0, le=MAX_OPTION_VALUE
    )
    max_length: int = define_option(128, "tokens that an example is cut at", gt=4, le=MAX_OPTION_VALUE)
    train_size: int | None = define_option(
        None, "train on a stratified subset of so many examples (low resource)", gt=1
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = define_option(
        "auto",
        "auto: bf16 or fp16 on a GPU; on this machine's CPU bf16 where it is in hardware (AVX512_BF16), else "
        "fp32",
    )
    max_concurrent: int | None = define_option(
        None, "trials at once (default: as many as the cluster has room for)", gt=0
    )
    workers_per_trial: int = define_option(1, "DDP workers of one trial", gt=0)
    gpus_per_worker: float | None = define_option(
        None,
        "GPUs of a worker, fractions too (default: 1 where there are any)",
        ge=0,
        allow_inf_nan=False,
    )
    share_gpus: bool = define_option(
        False,
        "measure how much of a GPU's memory a run needs, and let as many workers as fit share it, 8 at most",
    )
    cpus_per_worker: int = define_option(1, "CPU cores, and threads, of a worker", gt=0)
    price: float | None = define_option(
        None,
        "of one GPU for an hour, or of one CPU core where no GPU is used: plan and results say what the runs "
        "cost",
        gt=0,
        le=MAX_OPTION_VALUE,
        allow_inf_nan=False,
    )
    oom_retry: bool = define_option(
        False,
        "try a run that ran out of memory again at once, with half as many examples in memory and the same "
        "batch: their gradients are added up; dropout draws differ then",
    )
    step_timeout: TimeoutDuration = define_option(
        "10m",
        "a run that shows no step for so long has timed out, and its workers start anew; three times as long "
        "for its first step",
    )
    trial_timeout: TimeoutDuration | None = define_option(
        None, "a run that takes longer than this has timed out"
    )
    scheduler: SchedulerName = define_option(
        "asha",
        "asha stops trials that fall behind; median stops what is below the median of the others; none runs "
        "all to the end",
    )
    sampler: SamplerName = define_option(
        "tpe",
        "how configurations are proposed: tpe and gp learn from results; latin: spread evenly over every "
        "range, in as many steps as --trials; grid: every combination of a --space of lists",
    )
    space: dict[str, Any] = define_option(
        {}, "search these in place of the default, best in YAML: {learning_rate: [1e-5, 2e-5], p: [0.1, 0.8]}"
    )
    select_on: Literal["holdout", "dev"] = define_option(
        "holdout",
        "what ranks configurations: a held-out slice of the training data, or dev (the paper's protocol)",
    )
    transfer: str | None = define_option(
        None, "also test confirmations on other tasks: paper, or names with commas (snli,sick,scitail,rte)"
    )
    probe: str | None = define_option(
        None, "a second task: measure how far features moved, and what a linear probe of it still finds"
    )
    evaluations: int = define_option(
        6, "times a trial is evaluated, and can be stopped", gt=0, le=MAX_OPTION_VALUE
    )
    tracking_uri: str | None = define_option(
        None,
        "MLflow (default: MLFLOW_TRACKING_URI, else SQLite beside the runs; none: no tracking)",
        min_length=1,
    )
    experiment: str | None = define_option(None, "MLflow experiment (default: <task>-<data>)", min_length=1)
    config: FolderPath | None = define_option(None, "YAML file of options; the command line goes before it")
    resume: FolderPath | None = define_option(None, "go on with the search in this folder")
    dry_run: bool = define_option(False, "print the plan and start nothing")
    preflight: bool = define_option(
        False, "look at every node, the storage and MLflow, say what is wrong, and train nothing"
    )
    quiet: bool = define_option(False, "print the result alone; warnings and errors go to standard error")
    json: bool = define_option(  # type: ignore[assignment]
        False, "print JSON alone, a line an event (docs/howto/logs.md), for machines"
    )
    storage: str | None = define_option(
        None,
        "folder that every node of the cluster sees, or s3://BUCKET/PATH (needed from two nodes on)",
        min_length=1,
    )

    @model_validator(mode="after")
    def _quiet_or_json(self) -> Self:
        if self.quiet and self.json:
            raise ValueError("--quiet, --json: they exclude each other; leave one out")
        return self

    @model_validator(mode="after")
    def _gpus_are_shared_by_trials_of_one_worker(self) -> Self:
        if self.share_gpus and self.gpus_per_worker is not None:
            raise ValueError("--share-gpus, --gpus-per-worker: the first measures the second; leave one out")
        if self.share_gpus and self.workers_per_trial > 1:
            raise ValueError(
                "--share-gpus, --workers-per-trial: workers of one trial cannot share a GPU; leave one out"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: Any,
        **named: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods that were named."""
        raise NotImplementedError

    @property
    def confirmed(self) -> int:
        """How many configurations of an arm get fresh seeds."""
        return 1

    def given(self) -> dict[str, Any]:
        """The options that were set, on the command line or in a file."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    def with_(self, **changes: Any) -> Self:
        """A copy with these options set."""
        return type(self)(**{**self.given(), **changes})


# Every class has a method of this name, for abstract base classes; options have none of it.
warnings.filterwarnings("ignore", 'Field name "register" in "SearchOptions" shadows')


class SearchOptions(CommonOptions):
    """Find the fine-tuning configuration that is truly better for a task, and prove it on fresh seeds."""

    command: ClassVar[str] = "python tune/search.py"
    examples: ClassVar[str] = """
examples:
  python tune/search.py --task cola
  python tune/search.py --task rte --trials 24 --confirm 5 --time-budget 2h
  python tune/search.py --task mrpc --data ../glue --train-size 500 --method dps-dense,vanilla
  python tune/search.py --task rte --warm-start runs/cola-20261123-120000 --objectives score,seconds
  python tune/search.py --init-task tickets.csv          # proposes tickets.yaml, a task of your own
  python tune/search.py --task tickets.yaml
  python tune/search.py --config configs/paper-rte.yaml --data hub
  python tune/search.py --config runs/cola-20261123-120000/config.yaml --seed 7
  python tune/search.py --resume runs/cola-20261123-120000
  RAY_ADDRESS=auto python tune/search.py --task cola --model bert-large-cased --gpus-per-worker 1
"""

    method: str = define_option(
        "dps-dense",
        "dps-dense, dps-mix, vanilla, ... (README); several with commas let the search choose among them",
    )
    confirm: int = define_option(
        5,
        "fresh seeds that the winner, and the baseline, are trained with on all training data",
        gt=0,
        le=MAX_OPTION_VALUE,
    )
    finalists: int = define_option(
        1,
        "how many of the best configurations get those seeds; which one won is settled before",
        gt=0,
        le=MAX_OPTION_VALUE,
    )
    race: int = define_option(
        6,
        "further seeds, at most, on which promising configurations race; 0: one seed says who wins",
        ge=0,
        le=MAX_OPTION_VALUE,
    )
    baseline: bool = define_option(
        True, "also confirm ordinary fine-tuning (vanilla) at the winner's learning rate, on the same seeds"
    )
    time_budget: Duration | None = define_option(
        None, "start no further trial, and no run of the race, after this long: 30m, 2h, 1h30m"
    )
    gpu_hours: float | None = define_option(
        None, "the same after so many GPU-hours", gt=0, allow_inf_nan=False
    )
    cpu_hours: float | None = define_option(
        None, "the same after so many hours of a CPU core", gt=0, allow_inf_nan=False
    )
    warm_start: str | None = define_option(
        None,
        "earlier searches whose best configurations are tried first, with commas: a folder, a study.db, "
        "mlflow:EXPERIMENT; of other tasks too",
    )
    objectives: str = define_option(
        "score",
        "what a Pareto front in the report weighs up: score,seconds,memory,stability",
    )
    init_task: Path | None = define_option(
        None, "look at a file of examples, propose the YAML of a task for it, and say what was found"
    )
    target: float | None = define_option(
        None,
        "explore no further once the best configuration is expected to have this score",
        allow_inf_nan=False,
    )
    worth: float | None = define_option(
        None,
        "explore and race no further once one more run is expected to add fewer points (hundredths)",
        gt=0,
        allow_inf_nan=False,
    )
    register: str | None = define_option(
        None, "register the winner's model under this name in MLflow: it is then models:/NAME@best"
    )
    profile: bool = define_option(False, "print where the seconds went (search.json keeps it either way)")

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods named by --method."""
        return _split_names(self.method)

    @property
    def confirmed(self) -> int:
        """The finalists, and the baseline."""
        return self.finalists + self.baseline


class CompareOptions(CommonOptions):
    """Compare methods at an equal budget: is one better for this task, and how sure is that?"""

    command: ClassVar[str] = "python tune/compare.py"
    examples: ClassVar[str] = """
Each method is tuned over the same number of configurations, with one seed, and its best is then trained with
fresh seeds that are the same for all methods: same head, same order of the data.

examples:
  python tune/compare.py --task rte --methods vanilla,dps-dense,dps-mix,child-tuning-d,r-drop
  python tune/compare.py --task cola --data ../glue --train-size 500 --trials 4 --confirm 10
  python tune/compare.py --resume runs/compare-rte-20261125-120000
  python tune/compare.py --resume runs/compare-rte-20261125-120000 --confirm 20      # more seeds
  python tune/compare.py --results runs/compare-rte-1,runs/compare-rte-2             # one table of both
"""

    methods: str = define_option(
        "vanilla,vanilla-no-dropout,dps-dense,dps-mix",
        "what is compared, with commas; README lists them all",
    )
    baseline: str = define_option("vanilla", "the method that the others are compared with")
    trials: int = define_option(4, "configurations that each method is tuned over", gt=0, le=MAX_OPTION_VALUE)
    confirm: int = define_option(
        5, "paired fresh seeds that each method's best is trained with", gt=1, le=MAX_OPTION_VALUE
    )
    scheduler: SchedulerName = define_option(
        "none", "none tunes every configuration to the end; asha and median as in a search"
    )
    sampler: SamplerName = define_option(
        "latin", "how configurations are proposed; latin: spread evenly, the same learning rates for all"
    )
    results: str | None = define_option(
        None, "run nothing: one table from finished comparisons in these folders, with commas"
    )
    allow_dirty: bool = define_option(
        False, "let --results take runs of a working tree with changes that were not committed"
    )

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods named by --methods, the baseline first."""
        return tuple(dict.fromkeys((self.baseline, *_split_names(self.methods))))


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def parse_objectives(objectives: str) -> tuple[str, ...]:
    """The names in a list with commas. Raises InputError for one that is unknown or comes twice, and where
    score is missing."""
    names = tuple(name.strip() for name in objectives.split(","))
    for name in names:
        if name not in OBJECTIVES:
            raise InputError(
                f"--objectives: there is no objective {name!r}; choose among {', '.join(OBJECTIVES)}"
            )
        if names.count(name) > 1:
            raise InputError(f"--objectives: {name} is named twice in {objectives!r}; name it once")
    if "score" not in names:
        raise InputError(f"--objectives: {objectives!r} lacks score; name it too")
    return names
