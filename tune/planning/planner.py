"""Planner: resolves `auto`, data and model, and what fits the cluster, before the first trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dps.errors import InputError
from dps.wording import format_count
from tune.core.options import PUBLISHED, CommonOptions
from tune.core.run import RefusedError
from tune.core.space import SearchSpace
from tune.planning.arms import plan_arms
from tune.planning.cluster import (
    SHARING_MEASURED_LATER,
    Cluster,
    choose_gpus_per_worker,
    count_slots,
    count_trials_by_resource,
)
from tune.planning.locations import check_storage, check_tracking
from tune.planning.models import make_paths_absolute
from tune.planning.plan import Plan
from tune.planning.space_options import check_baselines
from tune.strategy.strategy import NO_WARM_START, WarmStart
from tune.strategy.warm_start import adapt_to_space, propose_first_trials, read_earlier_searches

WARM_START_SHARE = 0.25  # share of trials taken from earlier searches


def make_plan(options: CommonOptions, cluster: Cluster) -> Plan:
    """Make the plan from data, model and cluster. Raises InputError for bad input, RefusedError for what the
    cluster lacks."""
    _check_options(options, cluster)
    gpus = choose_gpus_per_worker(options, cluster)
    slots = _count_slots_or_refuse(options, cluster, gpus)
    options, arms = plan_arms(options, cluster, gpus)
    options = options.copy_with(space=make_paths_absolute(options.space))
    lengths = {arm.settings.max_length for arm in arms.values() if not arm.chooses_length}
    if len(lengths) == 1:
        options = options.copy_with(max_length=lengths.pop())
    return Plan(
        options=options,
        arms=arms,
        slots=slots,
        gpus_per_worker=gpus,
        cluster=cluster,
        gpu_note=SHARING_MEASURED_LATER if options.share_gpus and gpus else "",
        warm_start=_load_warm_start(options, next(iter(arms.values())).space),
    )


def plan_each_task(requests: Sequence[CommonOptions], make: Callable[[CommonOptions], Plan]) -> list[Plan]:
    """Return the plan of each task or size, as `make` makes it. Raises InputError that names, of several,
    those that have none, and what else could run."""
    kind = "shots" if len({options.task for options in requests}) < len(requests) else "task"
    plans: list[Plan] = []
    errors: dict[str, InputError] = {}
    for options in requests:
        try:
            plans.append(make(options))
        except InputError as error:
            if len(requests) == 1:
                raise
            errors[str(getattr(options, kind))] = error
    if errors:
        (first, reason), *others = errors.items()
        also = f"; nor is there a plan for {', '.join(name for name, _ in others)}" if others else ""
        left = ",".join(name for each in requests if (name := str(getattr(each, kind))) not in errors)
        remedy = f"; without them: --{kind} {left}" if left else ""
        raise InputError(f"--{kind}: {first}: {str(reason).removeprefix('--')}{also}{remedy}")
    return [replace(plan, tasks=len(plans)) for plan in plans]


def _check_options(options: CommonOptions, cluster: Cluster) -> None:
    check_storage(options, cluster)
    check_tracking(options)
    check_baselines(options.baseline_names)
    if (dropped := options.dropped_baselines) and dropped == options.baseline_names and not options.resume:
        rule = f"give {PUBLISHED} (its published values), another method, or none"
        raise InputError(f"--baseline: {dropped[0]} is itself what is searched; {rule}")
    _ = options.objective_names  # raises InputError for a wrong list


def _load_warm_start(options: CommonOptions, space: SearchSpace) -> WarmStart:
    """Read the warm start; a resume takes it from the ledger instead."""
    sources = options.warm_start
    if not sources or options.resume:
        return NO_WARM_START
    earlier = read_earlier_searches(sources, options.tracking_uri)
    fitting = adapt_to_space(earlier, space)
    if not fitting:
        raise InputError(
            f"--warm-start: no configuration of {sources} fits this search space; "
            f"give --method or --space as there, or another source"
        )
    first = propose_first_trials(earlier, space, max(1, round(WARM_START_SHARE * options.trials)))
    observations = [(observation.configuration, observation.normal_score) for observation in fitting]
    return WarmStart(first, observations, list(dict.fromkeys(search.origin for search in earlier)))


def _count_slots_or_refuse(options: CommonOptions, cluster: Cluster, gpus: float) -> int:
    """Return the number of slots. Raises RefusedError if one trial does not fit."""
    slots = count_slots(options, cluster, gpus)
    if slots < 1:
        room = count_trials_by_resource(options, cluster, gpus)
        scarce = min(room, key=lambda name: room[name])
        raise RefusedError(
            f"--workers-per-trial: the cluster has too little ({scarce}) for one trial of "
            f"{options.workers_per_trial} x {format_count(options.cpus_per_worker, 'core')} and "
            f"{format_count(gpus, 'GPU')}; it has {format_count(cluster.cpus, 'core')}, "
            f"{format_count(cluster.gpus, 'GPU')}, {cluster.memory / 2**30:.0f} GiB"
        )
    if "GPU" in options.resource_limits and not gpus:
        raise RefusedError("--gpu-hours: the plan uses no GPU; use --time-budget")
    return slots
