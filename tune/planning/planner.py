"""Before the first trial: what `auto` means, what data and model are, what fits; or why not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.methods import METHODS
from dps.tasks.metrics import has_sklearn_metric
from dps.tasks.registry import TASKS, get_task
from dps.tasks.splits import SUBSET_SEED, split_stratified
from dps.tasks.task import LABEL_COLUMN, Task
from dps.tasks.transfer import TRANSFER_TARGETS, check_transfer, get_transfer_target
from tune.core.options import CommonOptions, CompareOptions, SearchOptions, parse_objectives
from tune.core.run import RefusedError, RunSettings
from tune.core.space import SearchSpace
from tune.planning.cluster import (
    SHARING_MEASURED_LATER,
    Cluster,
    choose_gpus_per_worker,
    choose_precision,
    count_slots,
    count_trials_by_resource,
)
from tune.planning.estimate import Workload, estimate_duration, estimate_speed
from tune.planning.locations import check_storage, check_tracking
from tune.planning.plan import NO_WARM_START, Plan, ResolvedInput, WarmStart
from tune.planning.space_options import build_search_space, check_methods_and_sampler
from tune.stats.chance import chance_level
from tune.strategy.warm_start import adapt_to_space, propose_first_trials, read_earlier_searches

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.models import ModelFolder
    from dps.sources import Source

PAPER_MODEL = "bert-large-cased"
HOLDOUT_SHARE = 0.2
WARM_START_SHARE = 0.25  # of the trials that repeat what did well elsewhere


def make_plan(options: CommonOptions, cluster: Cluster, gpus: float | None = None) -> Plan:
    """Look at data, model and cluster. gpus: of a worker, where that was measured. Raises InputError for what
    the user gave, Refused for what the cluster lacks."""
    check_storage(options, cluster)
    check_tracking(options)
    check_methods_and_sampler(
        options.method_names, "" if isinstance(options, CompareOptions) else options.sampler
    )
    if isinstance(options, SearchOptions):
        parse_objectives(options.objectives)
    task = get_task(options.task)
    source, data_note = _choose_data_source(options.data, task)
    splits = {split: source.load(task, split) for split in task.splits}
    for split, examples in splits.items():
        _check_labels(task, split, examples)
    train = _choose_train_size(options, splits["train"])
    if has_sklearn_metric(task):
        _check_metrics_defined(
            options, task, {split: np.asarray(held[LABEL_COLUMN]) for split, held in splits.items()}
        )
    folder, model_note = _choose_model(options.model, cluster)
    searched = train - (max(1, round(train * HOLDOUT_SHARE)) if options.select_on == "holdout" else 0)
    max_steps, confirm_steps = _count_steps(options, searched), _count_steps(options, train)
    gpus = choose_gpus_per_worker(options, cluster) if gpus is None else gpus
    precision, precision_note = choose_precision(options, cluster, gpus)
    slots_now = _count_slots_or_refuse(options, cluster, gpus)
    _check_max_length(options, folder, task)
    held_out = train - searched or len(splits["dev"])
    speed = estimate_speed(options, folder, splits["train"], task, gpus, precision)
    arms = _build_search_spaces(options, folder, max_steps)
    passes = tuple(1 + METHODS[arm]().cost.extra_passes if arm else 1.0 for arm in arms)
    work = Workload(max_steps, confirm_steps, held_out, len(splits["dev"]), slots_now, passes)
    model = ResolvedInput(folder.kind, folder.name, folder.fingerprint(), model_note)
    return Plan(
        options=options,
        task=task,
        data=ResolvedInput(source.kind, source.name, source.fingerprint(task), data_note),
        model=model,
        examples={"train": train, **{name: len(splits[name]) for name in task.dev_splits}},
        settings=_build_settings(options, task, source, folder, precision),
        precision_note=precision_note,
        gpu_note=SHARING_MEASURED_LATER if options.share_gpus and gpus else "",
        arms=arms,
        max_steps=max_steps,
        confirm_steps=confirm_steps,
        slots=slots_now,
        gpus_per_worker=gpus,
        cluster=cluster,
        expected=estimate_duration(options, speed, work),
        warm=_load_warm_start(options, arms),
        weights=folder.count_parameters(),
        chance=chance_level(task, np.asarray(splits["train"][LABEL_COLUMN])),
    )


def _build_search_spaces(
    options: CommonOptions, folder: ModelFolder, max_steps: int
) -> dict[str, SearchSpace]:
    """One space of all methods for a search; one of each method for a comparison."""
    layers, weights = folder.read_dimensions()[0], folder.count_parameters()

    def build(*methods: str) -> SearchSpace:
        made = build_search_space(methods, options.freeze, weights, max_steps, layers, options.space)
        if options.sampler == "grid":
            made.grid()
        return made

    if isinstance(options, CompareOptions):
        return {method: build(method) for method in options.method_names}
    return {"": build(*options.method_names)}


def _load_warm_start(options: CommonOptions, arms: dict[str, SearchSpace]) -> WarmStart:
    """Read where the search begins; a resume finds in its ledger what was read then."""
    if not isinstance(options, SearchOptions) or not options.warm_start or options.resume:
        return NO_WARM_START
    read = read_earlier_searches(options.warm_start, options.tracking_uri)
    (searched,) = arms.values()
    fitting = adapt_to_space(read, searched)
    if not fitting:
        raise InputError(
            f"--warm-start: no configuration of {options.warm_start} fits this search space; "
            f"give --method or --space as there, or another source"
        )
    first = propose_first_trials(read, searched, max(1, round(WARM_START_SHARE * options.trials)))
    earlier = [(one.configuration, one.standing) for one in fitting]
    return WarmStart(first, earlier, list(dict.fromkeys(one.origin for one in read)))


def _build_settings(
    options: CommonOptions, task: Task, source: Source, folder: ModelFolder, precision: str
) -> RunSettings:
    return RunSettings(
        task=task.name if task.name in TASKS else task,
        data=str(Path(source.name).resolve()) if source.kind == "folder" else source.kind,
        model=str(folder.path) if folder.kind == "folder" else folder.name,
        epochs=options.epochs,
        max_steps=options.max_steps,
        batch_size=options.batch_size,
        max_length=options.max_length,
        train_size=options.train_size,
        precision=precision,
        evaluations=options.evaluations,
        select_on=options.select_on,
        transfer=_check_transfer(options, task, source),
        probe=_check_probe_task(options, source),
    )


def _check_transfer(options: CommonOptions, task: Task, source: Source) -> tuple[str, ...]:
    """The evaluation sets of --transfer, each of which can be read and mapped."""
    if not options.transfer:
        return ()
    names = tuple(name.strip() for name in options.transfer.split(","))
    if names == ("paper",):
        names = TRANSFER_TARGETS.get(task.name, ())
        if not names:
            raise InputError(f"--transfer: the paper tests no model of {task.name} on other tasks; name them")
    for name in names:
        target = get_transfer_target(name)
        check_transfer(task, target)
        source.load(target.task, target.split)
    return names


def _check_probe_task(options: CommonOptions, source: Source) -> str | None:
    if options.probe is not None:
        if get_task(options.probe).multi_label:
            raise InputError(f"--probe: {options.probe} has several labels an example; give a task of one")
        for split in ("train", "dev"):
            source.load(get_task(options.probe), split)
    return options.probe


def _choose_data_source(data: str, task: Task) -> tuple[Source, str]:
    """(source, the line that says what was taken)."""
    from dps.sources import open_data_source

    if data == "task" or (data == "auto" and task.name not in TASKS):
        from dps.sources.task_files import TaskSource

        own = TaskSource(task)
        return own, own.description
    if data != "auto":
        source = open_data_source(data)
        return source, f"{source.name} (named)"
    from dps.hub import is_hub_reachable

    if is_hub_reachable():
        source = open_data_source("hub")
        return source, f"{source.name} (auto: the hub answers)"
    return open_data_source("builtin"), "built-in generator (auto: no hub answers)"


def _choose_model(model: str, cluster: Cluster) -> tuple[ModelFolder, str]:
    """(folder, the line that says what was taken)."""
    from dps.models import locate_model

    if model != "auto":
        return locate_model(model), f"{model} (named)"
    if not cluster.gpus:
        return locate_model("builtin"), "built-in MiniLM encoder (auto: no GPU)"
    from dps.hub import is_hub_reachable

    if is_hub_reachable():
        return locate_model(PAPER_MODEL), f"{PAPER_MODEL} (auto: GPUs, and the hub answers)"
    return locate_model("builtin"), "built-in MiniLM encoder (auto: no hub answers)"


def _check_labels(task: Task, split: str, examples: Dataset) -> None:
    first, *others = examples[LABEL_COLUMN]
    if all(other == first for other in others):
        if task.multi_label:
            label = ", ".join(name for name, has in zip(task.labels, first, strict=True) if has) or "none"
        else:
            label = first if task.is_regression else task.labels[first]
        raise InputError(
            f"data: every example of {split} has the label {label!r}, so that nothing can be told apart; "
            f"give examples of two classes or more"
        )


def _check_metrics_defined(options: CommonOptions, task: Task, labels: dict[str, NDArray[Any]]) -> None:
    """Some scorers need every class: raises InputError where one is undefined. labels: by split."""
    train = labels.pop("train")
    if options.train_size is not None and options.train_size < len(train):
        train = train[split_stratified(task, train, options.train_size, SUBSET_SEED)[0]]
    if options.select_on == "holdout":
        size = max(1, round(HOLDOUT_SHARE * len(train)))
        labels["the held-out slice of train"] = train[split_stratified(task, train, size, options.seed)[0]]
    for where, gold in labels.items():
        for name in task.metrics:
            if math.isnan(chance_level(replace(task, metrics=(name,)), gold)):
                why = f"is undefined on {where}, where a class is missing"
                raise InputError(f"metric: {name} {why}; give more examples of it, or another metric")


def _check_max_length(options: CommonOptions, folder: ModelFolder, task: Task) -> None:
    """Load it here, before anything starts, as each slot will; what is built in is known to be whole."""
    from dps.models import PretrainedEncoder

    if folder.kind == "builtin":
        most = folder.read_config().get("max_position_embeddings")
    else:
        most = PretrainedEncoder(folder, task).max_tokens
    default = CommonOptions.model_fields[
        "max_length"
    ].default  # fits most models, and stands in every config.yaml
    if most is not None and most < options.max_length != default:
        raise InputError(
            f"--max-length: {folder.name!r} takes at most {most} tokens, but got {options.max_length}"
        )


def _choose_train_size(options: CommonOptions, train: Dataset) -> int:
    if options.train_size is not None and options.train_size > len(train):
        raise InputError(
            f"--train-size: {options.train_size} examples were asked for, but there are {len(train)}"
        )
    return options.train_size or len(train)


def _count_steps(options: CommonOptions, examples: int) -> int:
    per_epoch = math.ceil(examples / options.batch_size)
    return options.max_steps or max(1, round(options.epochs * per_epoch))


def _count_slots_or_refuse(options: CommonOptions, cluster: Cluster, gpus: float) -> int:
    """Trials at once. Raises Refused where there is too little for one."""
    number = count_slots(options, cluster, gpus)
    if number < 1:
        room = count_trials_by_resource(options, cluster, gpus)
        scarce = min(room, key=lambda name: room[name])
        raise RefusedError(
            f"--workers-per-trial: the cluster has too little ({scarce}) for one trial of "
            f"{options.workers_per_trial} x "
            f"{options.cpus_per_worker} cores and {gpus:g} GPUs; it has {cluster.cpus:g} cores, "
            f"{cluster.gpus:g} GPUs, {cluster.memory / 2**30:.0f} GiB"
        )
    if isinstance(options, SearchOptions) and options.gpu_hours and not gpus:
        raise RefusedError("--gpu-hours: the plan uses no GPU; use --time-budget")
    return number
