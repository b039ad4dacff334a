"""Preflight on a connected cluster: a task on every node probes it, before anything is trained."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from tune.core.storage import (
    describe_storage_error,
    is_remote_location,
    join_location,
    remove_location,
    resolve_location,
    write_location,
)
from tune.planning import probe
from tune.planning.cluster import Cluster
from tune.planning.plan import Plan
from tune.planning.preflight import (
    PreflightFinding,
    build_node_checks,
    check_free_space,
    check_mlflow,
    judge_node_report,
)
from tune.planning.probe import (
    DRIVER_NOTE_NAME,
    Listener,
    NodeChecks,
    NodeReport,
    collect_versions,
    has_bf16_in_hardware,
    open_listener,
    probe_node,
)

NODE_ANSWER_TIMEOUT_S = 180.0
BF16_ANSWER_TIMEOUT_S = 60.0


def run_preflight_checks(plan: Plan, output: Path) -> list[PreflightFinding]:
    """Return the problems that would stop a plan: of a cluster's nodes, of the model registry; with
    --preflight also of a local Ray and of MLflow."""
    asks_nodes = plan.cluster.address is not None or plan.options.preflight
    return [*(check_nodes(plan, output) if asks_nodes else []), *check_mlflow(plan, output)]


def ask_for_bf16(cluster: Cluster) -> Cluster:
    """Return the connected cluster with whether all nodes that have cores have bf16 in hardware; not, where
    one does not answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(has_bf16_in_hardware)
    places = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in cluster.nodes if node.cpus]
    answers = [ask.options(scheduling_strategy=place).remote() for place in places]
    ready, missing = ray.wait(answers, num_returns=len(answers), timeout=BF16_ANSWER_TIMEOUT_S)
    try:
        return replace(cluster, has_bf16=not missing and all(ray.get(ready)))
    except ray.exceptions.RayError:  # the preflight says what is wrong with the node
        return replace(cluster, has_bf16=False)


def check_nodes(plan: Plan, output: Path, joined: str | None = None) -> list[PreflightFinding]:
    """Return the problems of the connected cluster's nodes, leaving no files behind. output: results folder
    on the driver; joined: id of a node that joined later, to check it alone."""
    storage = plan.options.storage
    folder = resolve_location(storage) if storage else str(output.resolve().parent)
    note_location = join_location(folder, f".preflight-{uuid.uuid4().hex[:8]}")
    several = joined is not None or plan.cluster.node_count > 1
    try:
        write_location(join_location(note_location, DRIVER_NOTE_NAME), b"here")
        with _open_driver_listener() if several else nullcontext() as listener:
            checks = build_node_checks(plan, note_location if storage else None, listener, joined is not None)
            findings = list(_check_each_node(checks, plan.gpus_per_worker > 0, joined))
        has_space = joined is not None or is_remote_location(folder)
        return findings if has_space else [*findings, *check_free_space(plan, Path(folder))]
    except OSError as error:
        problem = f"cannot write: {describe_storage_error(error)}"
        return [PreflightFinding(folder, problem, "name a place that can be written")]
    finally:
        remove_location(note_location)


def _open_driver_listener() -> AbstractContextManager[Listener]:
    import ray

    driver = ray.get_runtime_context().get_node_id()
    return open_listener(next(n["NodeManagerAddress"] for n in ray.nodes() if n["NodeID"] == driver))


def _check_each_node(checks: NodeChecks, gpus: bool, joined: str | None) -> Iterator[PreflightFinding]:
    began, versions = time.time(), collect_versions()
    for node, report in query_nodes(checks, gpus, joined):
        if isinstance(report, Exception):
            error = " ".join(str(report).split())[:300]
            remedy = "see the logs of Ray there, or restart it"
            yield PreflightFinding(node, f"the probe failed: {error}", remedy)
            continue
        yield from judge_node_report(node, report, versions, (began, time.time()))
        if checks.storage_location and not report.storage_error:
            note = join_location(checks.storage_location, _make_note_name(node))
            if not probe.wait_for_file(note):
                problem = "--storage: its file is not visible on the driver"
                yield PreflightFinding(node, problem, "mount the same folder")


def query_nodes(
    checks: NodeChecks, gpus: bool, only: str | None = None
) -> Iterator[tuple[str, NodeReport | Exception]]:
    """Yield (node, report or error) as nodes answer. gpus: probe them too; only: id of a single node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    waiting: dict[Any, str] = {}
    probe_remotely = ray.remote(num_cpus=0, max_retries=0)(probe_node)
    for node in (node for node in ray.nodes() if node["Alive"] and only in (None, node["NodeID"])):
        name = f"node {node['NodeManagerAddress']} ({node['NodeID'][:6]})"
        there = probe_remotely.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        )
        gpu_count = int(node["Resources"].get("GPU", 0)) if gpus else 0
        waiting[there.remote(_make_note_name(name), checks, gpu_count)] = name
    deadline = time.monotonic() + NODE_ANSWER_TIMEOUT_S
    while waiting:
        ready, _ = ray.wait(list(waiting), timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        try:
            report = ray.get(ready[0])
        except ray.exceptions.RayError as error:
            report = error
        yield waiting.pop(ready[0]), report
    for name in waiting.values():
        yield name, TimeoutError(f"no answer within {NODE_ANSWER_TIMEOUT_S:.0f} s")


def _make_note_name(node: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in node)
