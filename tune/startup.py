"""Options become a checked plan on a connected cluster, or the reasons why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from tune.console.progress import show_waiting
from tune.core.options import CommonOptions
from tune.core.run import RefusedError, RunPurpose
from tune.execution import addresses, connection
from tune.execution.gpu_measurement import measure_gpu_memory_on_cluster
from tune.execution.node_checks import ask_for_bf16, check_nodes, run_preflight_checks
from tune.planning.cluster import Cluster
from tune.planning.gpu_sharing import share_gpus
from tune.planning.locations import check_output, claim_output
from tune.planning.plan import Plan
from tune.planning.planner import make_plan, plan_each_task
from tune.planning.preflight import PREFLIGHT_PASSED as PREFLIGHT_PASSED
from tune.planning.preflight import PreflightFinding
from tune.records.ledger import Ledger, TrialRecord, check_ledger, make_ledger_error
from tune.records.stores import ErrorFactory, open_sqlite_copy


def plan_dry_run(options: CommonOptions, output: Path) -> Plan:
    """Return the plan without starting or writing anything; a cluster is only asked what it offers. What the
    run itself would refuse is refused."""
    cluster, _ = _find_cluster([options])
    plan = _make_first_plan(options, cluster)
    if options.resume is not None:
        refuse = partial(make_ledger_error, output / "study.db")
        with open_sqlite_copy(output / "study.db", refuse) as copy:
            return _adopt_resumed_search(plan, copy, refuse)
    if options.output is not None:
        check_output(output, resume=False, writing=False)
    return plan


def plan_on_cluster(requests: Sequence[tuple[CommonOptions, Path]], holding: ExitStack) -> list[Plan]:
    """Return a plan for each of these options, which share the slots of a cluster that is connected; its
    options name its output folder.

    requests: options, with the output folder that they mean. What the user gave is checked before Ray starts,
    and `holding` keeps the locks of the output folders from then on.
    """
    every = [options for options, _ in requests]
    cluster, is_connected = _find_cluster(every)
    plans = plan_each_task(every, lambda options: _make_first_plan(options, cluster))
    plans = [_claim_output(plan, output, holding) for plan, (_, output) in zip(plans, requests, strict=True)]
    if not is_connected:
        with show_waiting(requests[0][0], "starting Ray"):
            connection.connect_to_cluster()
    if not (plans[0].options.share_gpus and plans[0].gpus_per_worker):
        return plans
    shared = [share_gpus(plan, measure_gpu_memory_on_cluster(plan)) for plan in plans]
    largest = max(shared, key=lambda plan: plan.gpus_per_worker)
    return [plan.with_gpu_share(largest.gpus_per_worker, largest.gpu_note) for plan in shared]


def _claim_output(plan: Plan, output: Path, holding: ExitStack) -> Plan:
    options = plan.options
    is_given, resume = options.output is not None, options.resume is not None
    if not options.preflight:
        output = claim_output(output, is_given, resume, holding)
        plan = replace(plan, options=options.copy_with(output=output))
    elif is_given:
        check_output(output, resume, writing=False)
    return _adopt_resumed_search(plan, output / "study.db") if resume else plan


def name_written_places(output: Path) -> str:
    """Name the folders that a search writes to on this machine, in words: one of their disks may be full."""
    if addresses.get_cluster_address() is not None:
        return str(output)
    return f"{output} and for Ray's files in {connection.choose_ray_folder()}"


def _find_cluster(requests: Sequence[CommonOptions]) -> tuple[Cluster, bool]:
    """Return the resources, and whether a cluster is connected: one that was named. Its CPUs are asked for
    bf16 where that decides on the precision."""
    if addresses.get_cluster_address() is None:
        return connection.read_local_resources(), False
    cluster = connection.connect_to_cluster()
    on_cpus = not cluster.gpus or any(options.gpus_per_worker == 0 for options in requests)
    if on_cpus and any(options.precision in ("auto", "bf16") for options in requests):
        return ask_for_bf16(cluster), True
    return cluster, True


def _make_first_plan(options: CommonOptions, cluster: Cluster) -> Plan:
    if options.resume is not None:
        check_ledger(options.resume / "study.db")
    with show_waiting(options, "reading data and model (the first time they are downloaded, or made)"):
        return make_plan(options, cluster)


def check_obstacles(plan: Plan, output: Path) -> None:
    """Raise RefusedError with what the plan would come to grief on, see `tune.planning.preflight`."""
    with show_waiting(plan.options, "checking nodes, disk and MLflow"):
        obstacles = run_preflight_checks(plan, output)
    if obstacles:
        raise RefusedError("\n".join(map(str, obstacles)))


def make_node_check(plans: Sequence[Plan], output: Path) -> Callable[[str], list[PreflightFinding]]:
    """Return what finds the faults of a node that joins later, by its ID, for any of these plans."""

    def find_faults(node: str) -> list[PreflightFinding]:
        found = (finding for plan in plans for finding in check_nodes(plan, output, node))
        return list(dict.fromkeys(found))

    return find_faults


def _count_ended(plan: Plan, arm: str, runs: Sequence[TrialRecord]) -> Counter[RunPurpose]:
    """Count by purpose the runs of an arm that ended. Of the confirmations only those of as many
    configurations as are planned, the furthest ones: another one's are of no use to these."""
    ended = Counter(run.purpose for run in runs if run.outcome.is_final)
    confirmed = Counter(
        run.configuration_key
        for run in runs
        if run.purpose == RunPurpose.CONFIRMATION and run.outcome.is_final
    )
    seeds = plan.options.confirm
    planned = plan.count_confirmations(arm) // max(1, seeds)
    ended[RunPurpose.CONFIRMATION] = sum(min(count, seeds) for _, count in confirmed.most_common(planned))
    return ended


def _adopt_resumed_search(plan: Plan, file: Path, refuse: ErrorFactory | None = None) -> Plan:
    """Return the plan with the precision of the saved search, whose ledger is `file`, and what it ran. Raises
    InputError if it is another one, refuse(reason) if it cannot be read."""
    ledgers = {arm: Ledger(file, plan.task.direction, arm, refuse) for arm in plan.arms}
    notes = next(iter(ledgers.values()))
    plan = plan.with_first_precision(notes.noted("precision"))
    first, observations = notes.noted("warm_start") or ((), ())
    for arm, ledger in ledgers.items():
        ledger.open(plan.get_identity(arm))
    runs = {arm: ledger.records() for arm, ledger in ledgers.items()}
    return replace(
        plan,
        warm_start=replace(plan.warm_start, initial_configurations=first, observations=observations),
        ended={arm: _count_ended(plan, arm, own) for arm, own in runs.items()},
        spent_seconds=max(ledger.seconds for ledger in ledgers.values()),
        spent_slot_seconds={arm: sum(run.seconds for run in own) for arm, own in runs.items()},
    )
