"""Options become a checked plan on a connected cluster, or the reasons why not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tune.core.options import CommonOptions
from tune.execution import connection
from tune.execution.gpu_measurement import measure_gpu_memory_on_cluster
from tune.execution.node_checks import check_nodes, run_preflight_checks
from tune.planning.gpu_sharing import share_gpus
from tune.planning.locations import check_output, hold_folder_lock
from tune.planning.plan import Plan
from tune.planning.planner import make_plan
from tune.planning.preflight import PREFLIGHT_PASSED as PREFLIGHT_PASSED
from tune.planning.preflight import PreflightFinding
from tune.records.ledger import Ledger, check_ledger


def plan_dry_run(options: CommonOptions) -> Plan:
    """Return the plan without starting anything; a cluster is only asked what it offers."""
    _check_resumed_ledger(options)
    named = connection.get_cluster_address() is not None
    return make_plan(options, connection.connect_to_cluster() if named else connection.read_local_resources())


def plan_on_cluster(options: CommonOptions, output: Path, holding: ExitStack) -> Plan:
    """Return the plan on a cluster that is connected. What the user gave is checked before Ray starts, and
    `holding` keeps the lock of the output folder from then on."""
    _check_resumed_ledger(options)
    named = connection.get_cluster_address() is not None
    plan = make_plan(options, connection.connect_to_cluster() if named else connection.read_local_resources())
    if not options.preflight:
        check_output(output, options.resume is not None)
        holding.enter_context(hold_folder_lock(output))
    if options.resume is not None:
        plan = _adopt_resumed_search(plan, output)
    if not named:
        connection.connect_to_cluster()
    if not (options.share_gpus and plan.gpus_per_worker):
        return plan
    return share_gpus(plan, measure_gpu_memory_on_cluster(plan))


def find_obstacles(plan: Plan, output: Path) -> list[PreflightFinding]:
    """Return what the plan would come to grief on, see `tune.planning.preflight`."""
    return run_preflight_checks(plan, output)


def make_node_check(plan: Plan, output: Path) -> Callable[[str], list[PreflightFinding]]:
    """Return what finds the faults of a node that joins later, by its ID."""
    return partial(check_nodes, plan, output)


def _check_resumed_ledger(options: CommonOptions) -> None:
    if options.resume is not None:
        check_ledger(options.resume / "study.db")


def _adopt_resumed_search(plan: Plan, output: Path) -> Plan:
    """Return the plan with the precision of the saved search. Raises InputError if that is another one."""
    ledgers = {arm: Ledger(output / "study.db", plan.task.direction, arm) for arm in plan.arms}
    plan = plan.with_first_precision(next(iter(ledgers.values())).noted("precision"))
    for arm, ledger in ledgers.items():
        ledger.open(plan.get_identity(arm))
    return plan
