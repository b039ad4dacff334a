"""Options that a search and a comparison share, and the properties in which the two commands differ."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dps.errors import InputError, suggest_name
from dps.tasks.metrics import get_metric_range
from dps.tasks.registry import get_task_name
from tune.core.arm_definition import ArmDefinition
from tune.core.durations import Duration, TimeoutDuration, parse_duration
from tune.core.option_types import (
    FolderPath,
    GpuShare,
    Location,
    LocationList,
    NameList,
    SamplerName,
    SchedulerName,
    Shots,
    Space,
    Threshold,
    expand_tasks,
    name_size,
    split_names,
)

MAX_OPTION_VALUE = 1_000_000
MAX_FRESH_SEEDS = 999  # the seeds of a race begin 1,000 after the search's own
OBJECTIVES = ("score", "seconds", "memory", "stability")
warnings.filterwarnings(  # an old pydantic method
    "ignore", message='Field name "json" in "CommonOptions" shadows'
)


def define_option(default: Any, text: str, **rules: Any) -> Any:
    """Define an option by its default, its help text and pydantic's rules for its value."""
    return Field(default, description=text, **rules)


class CommonOptions(BaseModel):
    """Options of both commands: task, data, model, training, slots, tracking."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
    command: ClassVar[str]
    examples: ClassVar[str]
    keeps_models: ClassVar[bool] = False  # of the confirmations
    searches_epochs: ClassVar[bool] = False  # where neither they nor the steps are given, and data are few

    # What only a search has options for.
    finalists: ClassVar[int] = 1
    race: ClassVar[int] = 0
    target: ClassVar[float | None] = None
    time_budget: ClassVar[Duration | None] = None
    gpu_hours: ClassVar[float | None] = None
    cpu_hours: ClassVar[float | None] = None
    warm_start: ClassVar[str | None] = None
    objectives: ClassVar[str] = "score"
    profile: ClassVar[bool] = False
    ensemble: ClassVar[bool] = False

    # What only a comparison has options for.
    arms: ClassVar[dict[str, dict[str, Any]]] = {}
    tune: ClassVar[str] = "each"

    task: LocationList = define_option(
        "cola",
        "cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, snli, sick, scitail, or the YAML file of a task "
        "of your own; several with commas, or glue for the paper's eight: they end in a table with the "
        "average",
    )
    freeze: Literal["gradient", "update", "search"] = define_option(
        "gradient",
        "what DPS does with unselected weights: mask their gradient, undo their update, or let the "
        "search choose",
    )
    trials: int = define_option(8, "configurations to try", gt=0, le=MAX_OPTION_VALUE)
    confirm: int = define_option(
        3, "fresh seeds that the winner is trained with on all training data", gt=0, le=MAX_FRESH_SEEDS
    )
    seed: int = define_option(
        0,
        "random seed of the search (proposals, held-out slice, runs); confirmations use the seeds after it",
        ge=0,
        lt=2**31,
    )
    output: FolderPath | None = define_option(
        None, "folder for the results (default: runs/<task>-<date-time>)"
    )
    data: Location = define_option(
        "auto", "auto, hub, builtin, task (the files named in its YAML), or a folder with files", min_length=1
    )
    model: Location = define_option(
        "auto", "auto, builtin, a name on the hub, or a transformers folder", min_length=1
    )
    epochs: float | None = define_option(
        None,
        "passes over the training data of a full run (default: 4; of 1,000 examples or fewer a search finds "
        "them, from 2 to as many as make 5,000 examples, at most 10)",
        gt=0,
        le=MAX_OPTION_VALUE,
        allow_inf_nan=False,
    )
    max_steps: int | None = define_option(
        None, "optimizer steps of a full run, instead of --epochs", gt=0, le=MAX_OPTION_VALUE
    )
    batch_size: int = define_option(
        16, "examples per step, over all workers of a trial", gt=0, le=MAX_OPTION_VALUE
    )
    max_length: int | None = define_option(
        None,
        "tokens at which an example is cut (default: 128, or as many as the longest text needs, a "
        "multiple of 8, at most 512 and what the model can read)",
        gt=4,
        le=MAX_OPTION_VALUE,
    )
    train_size: int | None = define_option(
        None, "train on a stratified subset of this many examples (low resource)", gt=1
    )
    shots: Shots | None = define_option(
        None,
        "train on this many examples of each class, redrawn for each seed, instead of --train-size; "
        "several with commas: one table of the sizes",
    )
    loss: Literal["plain", "balanced", "focal"] = define_option(
        "plain",
        "plain: cross entropy (squared error for a regression); balanced: rare classes weigh more, by "
        "frequency; focal: hard examples weigh more",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = define_option(
        "auto",
        "auto: bf16 or fp16 on a GPU; on a CPU bf16 if it has it in hardware (AVX512_BF16), else fp32",
    )
    max_concurrent: int | None = define_option(
        None, "trials at once (default: as many as the cluster has room for)", gt=0
    )
    workers_per_trial: int = define_option(1, "DDP workers per trial", gt=0)
    shard: bool = define_option(
        False,
        "the workers of a trial share weights, gradients and optimizer state (FSDP2) in place of a copy "
        "each, for a model that one GPU is too small for",
    )
    gradient_checkpointing: bool = define_option(
        False,
        "compute again in the backward pass what a block kept of the forward pass: much less memory, about a "
        "third more time, the same result",
    )
    gpus_per_worker: GpuShare | None = define_option(
        None, "GPUs per worker, may be a fraction (default: 1 if there are any)", ge=0, allow_inf_nan=False
    )
    share_gpus: bool = define_option(
        False,
        "measure how much GPU memory a run needs, and let as many workers as fit share a GPU, at most 8",
    )
    cpus_per_worker: int = define_option(1, "CPU cores, and threads, per worker", gt=0)
    price: float | None = define_option(
        None,
        "price of one GPU-hour, or of one core-hour without GPUs; plan and results then show costs",
        gt=0,
        le=MAX_OPTION_VALUE,
        allow_inf_nan=False,
    )
    oom_retry: bool = define_option(
        False,
        "retry a run that ran out of memory at once, with half as many examples in memory; gradients are "
        "accumulated over the same batch, only dropout draws differ",
    )
    step_timeout: TimeoutDuration = define_option(
        "10m",
        "stop a run that takes no step for this long (three times as long for its first), and restart "
        "its workers",
    )
    trial_timeout: TimeoutDuration | None = define_option(None, "stop a run that takes longer than this")
    scheduler: SchedulerName = define_option(
        "asha",
        "asha stops trials that fall behind; none runs all to the end",
    )
    sampler: SamplerName = define_option(
        "tpe",
        "how configurations are proposed: tpe and gp learn from results; latin spreads --trials points "
        "evenly over every range; grid takes every combination of a --space of lists",
    )
    space: Space = define_option(
        {},
        "what to search instead of the default: {learning_rate: [1e-5, 2e-5], epochs: 2..8}; "
        "also batch_size, weight_decay, warmup_ratio, max_length, label_smoothing, model, method and its "
        "hyper-parameters",
    )
    select_on: Literal["holdout", "dev"] = define_option(
        "holdout",
        "data that ranks configurations: a held-out slice of the training data, or dev (the paper's "
        "protocol)",
    )
    transfer: NameList | None = define_option(
        None, "also test confirmations on other tasks: paper, or names with commas (snli,sick,scitail,rte)"
    )
    probe: Location | None = define_option(
        None, "a second task: measure how far features moved, and how accurate a linear probe for it still is"
    )
    threshold: Threshold | None = define_option(
        None,
        "probability above which the second of two classes, or a label, is predicted (default: the "
        "task's, 0.5); tuned: the best for the metric on the held-out slice",
    )
    evaluations: int = define_option(
        6, "evaluations per trial, each of which may stop it", gt=0, le=MAX_OPTION_VALUE
    )
    patience: int | None = define_option(
        None,
        "end a run after this many evaluations without a better score on its held-out slice, and keep "
        "its best step; fresh seeds then hold out a slice too",
        gt=0,
        le=MAX_OPTION_VALUE,
    )
    tracking_uri: Location | None = define_option(
        None,
        "MLflow server (default: MLFLOW_TRACKING_URI, else SQLite next to the runs; none: no tracking)",
        min_length=1,
    )
    experiment: str | None = define_option(None, "MLflow experiment (default: <task>-<data>)", min_length=1)
    config: FolderPath | None = define_option(None, "YAML file of options; the command line takes precedence")
    resume: FolderPath | None = define_option(None, "continue the search or comparison in this folder")
    dry_run: bool = define_option(False, "print the plan and start nothing")
    preflight: bool = define_option(
        False, "check every node, the storage and MLflow, report problems, and train nothing"
    )
    quiet: bool = define_option(False, "print only the result; warnings and errors go to standard error")
    json: bool = define_option(  # type: ignore[assignment]
        False, "print only JSON, one line per event (docs/howto/logs.md)"
    )
    storage: Location | None = define_option(
        None,
        "folder that every node of the cluster sees, or s3://BUCKET/PATH (required with two nodes or more)",
        min_length=1,
    )

    @model_validator(mode="after")
    def _check_quiet_and_json(self) -> Self:
        if self.quiet and self.json:
            raise ValueError("--quiet, --json: they exclude each other; leave one out")
        return self

    @model_validator(mode="after")
    def _check_patience(self) -> Self:
        if self.patience is None:
            return self
        if self.select_on == "dev":
            raise ValueError(
                "--patience, --select-on: a step that is chosen on dev is not shown by dev; leave one out"
            )
        if self.patience >= self.evaluations:
            raise ValueError(
                f"--patience, --evaluations: {self.evaluations} evaluations hold no {self.patience} after "
                f"the first; lower the one, or raise the other"
            )
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if not isinstance(self.shots, tuple):
            return self
        if len(self.tasks) > 1:
            raise ValueError("--task, --shots: several sizes are of one task; name one task, or one size")
        if any("shots" in arm for arm in self.arms.values()):
            raise ValueError("--arms, --shots: an arm has its own shots; leave one out")
        return self

    @model_validator(mode="after")
    def _check_gpu_sharing(self) -> Self:
        if self.share_gpus and self.gpus_per_worker is not None:
            raise ValueError("--share-gpus, --gpus-per-worker: the first measures the second; leave one out")
        if self.share_gpus and self.workers_per_trial > 1:
            raise ValueError(
                "--share-gpus, --workers-per-trial: workers of one trial cannot share a GPU; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _check_shard(self) -> Self:
        if self.shard and self.workers_per_trial == 1:
            raise ValueError("--shard, --workers-per-trial: one worker has nothing to share; give 2 or more")
        if self.shard and self.precision == "fp16":
            raise ValueError("--shard, --precision: split weights need fp32 or bf16; give one of them")
        if self.shard and self.probe is not None:
            raise ValueError("--shard, --probe: a probe needs the whole model on one worker; leave one out")
        return self

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that --task names, one at least."""
        return expand_tasks(self.task)

    @property
    def shot_count(self) -> int | None:
        """The one number of examples of each class that --shots names, or None."""
        return self.shots if isinstance(self.shots, int) else None

    @property
    def members(self) -> list[tuple[str, dict[str, Any]]]:
        """What runs in a folder of its own, one at least: the tasks, or the sizes of one task. Each is the
        folder's name with the options that differ."""
        if isinstance(self.shots, tuple):
            return [(name_size(shots), {"shots": shots}) for shots in self.shots]
        return [(get_task_name(task), {"task": task}) for task in self.tasks]

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods that the options name."""
        raise NotImplementedError

    @property
    def arm_definitions(self) -> dict[str, ArmDefinition]:
        """What is explored side by side, the baseline of a comparison first."""
        raise NotImplementedError

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """What the winner of a search is compared with; empty in a comparison."""
        return ()

    @property
    def baseline_methods(self) -> tuple[str, ...]:
        """The methods among the baselines, each of which is an arm of the search."""
        return ()

    @property
    def dropped_baselines(self) -> tuple[str, ...]:
        """The methods that were named as baselines, beside the usual ones, and are what is searched."""
        return ()

    @property
    def confirms_published(self) -> bool:
        """Whether the published values of the winner's method are confirmed beside it."""
        return False

    @property
    def begins_with_published(self) -> bool:
        """Whether the published configurations are tried first."""
        return False

    @property
    def registered_name(self) -> str | None:
        """The name that the winner's model gets in the model registry."""
        return None

    @property
    def objective_names(self) -> tuple[str, ...]:
        """The objectives that the result is judged by. Raises InputError for a wrong list."""
        return parse_objectives(self.objectives)

    @property
    def resource_limits(self) -> dict[str, float]:
        """The budgets that are set: seconds of "time", hours of "GPU" and "CPU"."""
        seconds = parse_duration(self.time_budget) if self.time_budget else None
        limits = {"time": seconds, "GPU": self.gpu_hours, "CPU": self.cpu_hours}
        return {name: limit for name, limit in limits.items() if limit}

    def check_scale(self, metric: str) -> None:
        """Raise InputError for a --target beyond the scale of the metric."""
        lowest, highest = get_metric_range(metric)
        scale = f"{metric} lies between {lowest:g} and {highest:g}"
        if self.target is not None and not lowest <= self.target <= highest:
            raise InputError(f"--target: {scale}, but got {self.target:g}; 95 points are 0.95")

    def get_explicit(self) -> dict[str, Any]:
        """Return the options set explicitly, on the command line or in a file."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}

    def copy_with(self, **changes: Any) -> Self:
        """Return a copy with these options set."""
        return type(self)(**{**self.get_explicit(), **changes})


def parse_objectives(objectives: str) -> tuple[str, ...]:
    """Split a list of objectives. Raises InputError for an unknown name, and if score is missing."""
    names = split_names(objectives)
    for name in names:
        if name not in OBJECTIVES:
            advice = suggest_name(name, OBJECTIVES)
            raise InputError(f"--objectives: there is no objective {name!r}; {advice}")
    if "score" not in names:
        raise InputError(f"--objectives: {objectives!r} lacks score; name it too")
    return names
