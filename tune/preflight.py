"""Before the first trial: what `auto` means, what data and model are, what fits; or why not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps import metrics, tasks, transfer
from dps.data import SUBSET_SEED, stratified
from dps.errors import InputError
from dps.methods import METHODS
from dps.tasks import LABEL, Task
from tune import chance, devices, estimate, pareto, places, slots, space, warm
from tune.errors import Refused
from tune.job import Settings
from tune.options import CompareOptions, RunOptions, SearchOptions
from tune.plan import NOT_WARM, Identified, Plan, WarmStart
from tune.runtime import Cluster
from tune.space import Space

if TYPE_CHECKING:
    from datasets import Dataset

    from dps.models import ModelFolder
    from dps.sources import Source

PAPER_MODEL = "bert-large-cased"
HOLDOUT_SHARE = 0.2
WARM_SHARE = 0.25  # of the trials that repeat what did well elsewhere


def make_plan(options: RunOptions, cluster: Cluster, gpus: float | None = None) -> Plan:
    """Look at data, model and cluster. gpus: of a worker, where that was measured. Raises InputError for what
    the user gave, Refused for what the cluster lacks."""
    places.check_storage(options, cluster)
    places.check_tracking(options)
    space.check(options.method_names, "" if isinstance(options, CompareOptions) else options.sampler)
    if isinstance(options, SearchOptions):
        pareto.check(options.objectives)
    task = tasks.get(options.task)
    source, data_note = _open_data(options.data, task)
    splits = {split: source.load(task, split) for split in task.splits}
    for split, examples in splits.items():
        _check_labels(task, split, examples)
    train = _train_size(options, splits["train"])
    if metrics.are_scored(task):
        _check_scored(options, task, {split: np.asarray(held[LABEL]) for split, held in splits.items()})
    folder, model_note = _find_model(options.model, cluster)
    searched = train - (max(1, round(train * HOLDOUT_SHARE)) if options.select_on == "holdout" else 0)
    max_steps, confirm_steps = _steps(options, searched), _steps(options, train)
    gpus = devices.gpus_per_worker(options, cluster) if gpus is None else gpus
    precision, precision_note = devices.precision(options, cluster, gpus)
    slots_now = _slots(options, cluster, gpus)
    _check_model(options, folder, task)
    held_out = train - searched or len(splits["dev"])
    speed = estimate.speed(options, folder, splits["train"], task, gpus, precision)
    arms = _arms(options, folder, max_steps)
    passes = tuple(1 + METHODS[arm]().cost.extra_passes if arm else 1.0 for arm in arms)
    work = estimate.Work(max_steps, confirm_steps, held_out, len(splits["dev"]), slots_now, passes)
    model = Identified(folder.kind, folder.name, folder.fingerprint(), model_note)
    return Plan(
        options=options,
        task=task,
        data=Identified(source.kind, source.name, source.fingerprint(task), data_note),
        model=model,
        examples={"train": train, **{name: len(splits[name]) for name in task.dev_splits}},
        settings=_settings(options, task, source, folder, precision),
        precision_note=precision_note,
        gpu_note=devices.MEASURED_LATER if options.share_gpus and gpus else "",
        arms=arms,
        max_steps=max_steps,
        confirm_steps=confirm_steps,
        slots=slots_now,
        gpus_per_worker=gpus,
        cluster=cluster,
        expected=estimate.expected(options, speed, work),
        warm=_warm_start(options, arms),
        weights=folder.parameters(),
        chance=chance.chance(task, np.asarray(splits["train"][LABEL])),
    )


def _arms(options: RunOptions, folder: ModelFolder, max_steps: int) -> dict[str, Space]:
    """One space of all methods for a search; one of each method for a comparison."""
    layers, weights = folder.hidden()[0], folder.parameters()

    def build(*methods: str) -> Space:
        made = space.build(methods, options.freeze, weights, max_steps, layers, options.space)
        if options.sampler == "grid":
            made.grid()
        return made

    if isinstance(options, CompareOptions):
        return {method: build(method) for method in options.method_names}
    return {"": build(*options.method_names)}


def _warm_start(options: RunOptions, arms: dict[str, Space]) -> WarmStart:
    """Read where the search begins; a resume finds in its ledger what was read then."""
    if not isinstance(options, SearchOptions) or not options.warm_start or options.resume:
        return NOT_WARM
    read = warm.read(options.warm_start, options.tracking_uri)
    (searched,) = arms.values()
    fitting = warm.fitting(read, searched)
    if not fitting:
        raise InputError(
            f"--warm-start: no configuration of {options.warm_start} fits this search space; "
            f"give --method or --space as there, or another source"
        )
    first = warm.proposals(read, searched, max(1, round(WARM_SHARE * options.trials)))
    earlier = [(one.configuration, one.standing) for one in fitting]
    return WarmStart(first, earlier, list(dict.fromkeys(one.origin for one in read)))


def _settings(
    options: RunOptions, task: Task, source: Source, folder: ModelFolder, precision: str
) -> Settings:
    return Settings(
        task=task.name if task.name in tasks.TASKS else task,
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
        transfer=_transfer(options, task, source),
        probe=_probe(options, source),
    )


def _transfer(options: RunOptions, task: Task, source: Source) -> tuple[str, ...]:
    """The evaluation sets of --transfer, each of which can be read and mapped."""
    if not options.transfer:
        return ()
    names = tuple(name.strip() for name in options.transfer.split(","))
    if names == ("paper",):
        names = transfer.TARGETS.get(task.name, ())
        if not names:
            raise InputError(f"--transfer: the paper tests no model of {task.name} on other tasks; name them")
    for name in names:
        target = transfer.targets(name)
        transfer.check(task, target)
        source.load(target.task, target.split)
    return names


def _probe(options: RunOptions, source: Source) -> str | None:
    if options.probe is not None:
        if tasks.get(options.probe).multi_label:
            raise InputError(f"--probe: {options.probe} has several labels an example; give a task of one")
        for split in ("train", "dev"):
            source.load(tasks.get(options.probe), split)
    return options.probe


def _open_data(data: str, task: Task) -> tuple[Source, str]:
    """(source, the line that says what was taken)."""
    from dps.sources import open_source

    if data == "task" or (data == "auto" and task.name not in tasks.TASKS):
        from dps.sources.own import OwnSource

        own = OwnSource(task)
        return own, own.note
    if data != "auto":
        source = open_source(data)
        return source, f"{source.name} (named)"
    from dps.hub import reachable

    if reachable():
        source = open_source("hub")
        return source, f"{source.name} (auto: the hub answers)"
    return open_source("builtin"), "built-in generator (auto: no hub answers)"


def _find_model(model: str, cluster: Cluster) -> tuple[ModelFolder, str]:
    """(folder, the line that says what was taken)."""
    from dps.models import locate

    if model != "auto":
        return locate(model), f"{model} (named)"
    if not cluster.gpus:
        return locate("builtin"), "built-in MiniLM encoder (auto: no GPU)"
    from dps.hub import reachable

    if reachable():
        return locate(PAPER_MODEL), f"{PAPER_MODEL} (auto: GPUs, and the hub answers)"
    return locate("builtin"), "built-in MiniLM encoder (auto: no hub answers)"


def _check_labels(task: Task, split: str, examples: Dataset) -> None:
    first, *others = examples[LABEL]
    if all(other == first for other in others):
        if task.multi_label:
            label = ", ".join(name for name, has in zip(task.labels, first, strict=True) if has) or "none"
        else:
            label = first if task.is_regression else task.labels[first]
        raise InputError(
            f"data: every example of {split} has the label {label!r}, so that nothing can be told apart; "
            f"give examples of two classes or more"
        )


def _check_scored(options: RunOptions, task: Task, labels: dict[str, NDArray[Any]]) -> None:
    """Some scorers need every class: raises InputError where one is undefined. labels: by split."""
    train = labels.pop("train")
    if options.train_size is not None and options.train_size < len(train):
        train = train[stratified(task, train, options.train_size, SUBSET_SEED)[0]]
    if options.select_on == "holdout":
        size = max(1, round(HOLDOUT_SHARE * len(train)))
        labels["the held-out slice of train"] = train[stratified(task, train, size, options.seed)[0]]
    for where, gold in labels.items():
        for name in task.metrics:
            if math.isnan(chance.chance(replace(task, metrics=(name,)), gold)):
                why = f"is undefined on {where}, where a class is missing"
                raise InputError(f"metric: {name} {why}; give more examples of it, or another metric")


def _check_model(options: RunOptions, folder: ModelFolder, task: Task) -> None:
    """Load it here, before anything starts, as each slot will; what is built in is known to be whole."""
    from dps.models import Base

    if folder.kind == "builtin":
        most = folder.config().get("max_position_embeddings")
    else:
        most = Base(folder, task).most_tokens
    default = RunOptions.model_fields[
        "max_length"
    ].default  # fits most models, and stands in every config.yaml
    if most is not None and most < options.max_length != default:
        raise InputError(
            f"--max-length: {folder.name!r} takes at most {most} tokens, but got {options.max_length}"
        )


def _train_size(options: RunOptions, train: Dataset) -> int:
    if options.train_size is not None and options.train_size > len(train):
        raise InputError(
            f"--train-size: {options.train_size} examples were asked for, but there are {len(train)}"
        )
    return options.train_size or len(train)


def _steps(options: RunOptions, examples: int) -> int:
    per_epoch = math.ceil(examples / options.batch_size)
    return options.max_steps or max(1, round(options.epochs * per_epoch))


def _slots(options: RunOptions, cluster: Cluster, gpus: float) -> int:
    """Trials at once. Raises Refused where there is too little for one."""
    number = slots.count(options, cluster, gpus)
    if number < 1:
        room = slots.room(options, cluster, gpus)
        scarce = min(room, key=lambda name: room[name])
        raise Refused(
            f"--workers-per-trial: the cluster has too little ({scarce}) for one trial of "
            f"{options.workers_per_trial} x "
            f"{options.cpus_per_worker} cores and {gpus:g} GPUs; it has {cluster.cpus:g} cores, "
            f"{cluster.gpus:g} GPUs, {cluster.memory / 2**30:.0f} GiB"
        )
    if isinstance(options, SearchOptions) and options.gpu_hours and not gpus:
        raise Refused("--gpu-hours: the plan uses no GPU; use --time-budget")
    return number
