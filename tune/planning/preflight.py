"""Before money is spent: what must hold on every node of a cluster, asked and judged."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune.core.options import CommonOptions, SearchOptions
from tune.core.storage import (
    describe_storage_error,
    is_remote_location,
    join_location,
    remove_location,
    resolve_location,
    write_location,
)
from tune.planning import probe
from tune.planning.probe import (
    DRIVER_NOTE_NAME,
    MISSING_VERSION,
    Listener,
    NodeChecks,
    NodeReport,
    collect_versions,
    open_listener,
    probe_node,
)
from tune.records.stores import find_mlflow_error, resolve_tracking_uri

if TYPE_CHECKING:
    from tune.planning.plan import Plan

NODE_ANSWER_TIMEOUT_S = 180.0
MAX_CLOCK_SKEW_S = 5.0  # between two clocks
BYTES_PER_WEIGHT = 4
TENSORS_PER_CHECKPOINT = 3  # the weights and Adam's two, in the checkpoint that a slot could resume
STORAGE_HEADROOM_BYTES = 2**30  # bytes, for logs and the ledger
PREFLIGHT_PASSED = (
    "preflight    nothing is wrong: versions, code, clocks, data, model, storage, ports, GPUs, MLflow"
)


@dataclass(frozen=True)
class PreflightFinding:
    """Something that is wrong: what, where, what to do."""

    where: str
    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.do}"


def run_preflight_checks(plan: Plan, output: Path) -> list[PreflightFinding]:
    """What a plan would come to grief on: a cluster's nodes, the model registry; with --preflight a local Ray
    and MLflow too."""
    options = plan.options
    found = check_nodes(plan, output) if plan.cluster.address or options.preflight else []
    uri = resolve_tracking_uri(options.tracking_uri, output.parent)
    if uri is None:
        return found
    if options.preflight and (why := find_mlflow_error(uri)):
        do = "start MLflow, mend the address or its credentials, or give --tracking-uri none"
        found.append(PreflightFinding("--tracking-uri", why, do))
    elif _registers_model(options) and (why := find_mlflow_error(uri, registry=True)):
        found.append(
            PreflightFinding("--register", why, "give the MLflow of a model registry, or leave it out")
        )
    return found


def _registers_model(options: CommonOptions) -> bool:
    return isinstance(options, SearchOptions) and options.register is not None


def check_nodes(plan: Plan, output: Path, joined: str | None = None) -> list[PreflightFinding]:
    """What is wrong with the nodes of the connected cluster; nothing is left behind. output: where the
    results will lie, on the driver; joined: look at this node alone, which came later."""
    given = plan.options.storage
    folder = resolve_location(given) if given else str(output.resolve().parent)
    note = join_location(folder, f".preflight-{uuid.uuid4().hex[:8]}")
    try:
        write_location(join_location(note, DRIVER_NOTE_NAME), b"here")
        with _open_driver_listener(several=joined is not None or plan.cluster.nodes > 1) as door:
            found = [*_check_each_node(_build_node_checks(plan, note if given else None, door), plan, joined)]
        settled = joined is not None or is_remote_location(folder)
        return found if settled else [*found, *_check_free_space(plan, Path(folder))]
    except OSError as error:
        do = "name a place that can be written"
        return [PreflightFinding(folder, f"cannot write: {describe_storage_error(error)}", do)]
    finally:
        remove_location(note)


def _open_driver_listener(several: bool) -> AbstractContextManager[Listener | None]:
    """Where the nodes can reach the driver's; None where it is the only one."""
    if not several:
        return nullcontext()
    import ray

    here = ray.get_runtime_context().get_node_id()
    return open_listener(next(n["NodeManagerAddress"] for n in ray.nodes() if n["NodeID"] == here))


def _build_node_checks(plan: Plan, note: str | None, door: Listener | None) -> NodeChecks:
    from dps.models import BUILTIN_MODEL_PACKAGE

    named = ((plan.data.source, plan.settings.data), (plan.model.source, plan.settings.model))
    return NodeChecks(
        paths=tuple(path for source, path in named if source == "folder"),
        packages=(BUILTIN_MODEL_PACKAGE,) if plan.model.source == "builtin" else (),
        storage=note,
        door=door,
    )


def _check_each_node(asked: NodeChecks, plan: Plan, joined: str | None) -> Iterator[PreflightFinding]:
    began = time.time()
    here = collect_versions()
    for node, answer in query_nodes(asked, plan.gpus_per_worker > 0, joined):
        if isinstance(answer, Exception):
            line = " ".join(str(answer).split())[:300]
            yield PreflightFinding(
                node, f"the probe failed: {line}", "see the logs of Ray there, or restart it"
            )
            continue
        yield from judge_node_report(node, answer, here, (began, time.time()))
        if (
            asked.storage
            and not answer.storage_error
            and not probe.wait_for_file(join_location(asked.storage, _make_note_name(node)))
        ):
            yield PreflightFinding(
                node, "--storage: what it wrote is not seen on the driver", "mount the same folder"
            )


def query_nodes(
    asked: NodeChecks, gpus: bool, only: str | None = None
) -> Iterator[tuple[str, NodeReport | Exception]]:
    """(node, what it says or why it does not), as they answer. only: the ID of the one to ask."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    waiting: dict[Any, str] = {}
    remote = ray.remote(num_cpus=0, max_retries=0)(probe_node)
    for node in (node for node in ray.nodes() if node["Alive"] and only in (None, node["NodeID"])):
        name = f"node {node['NodeManagerAddress']} ({node['NodeID'][:6]})"
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        count = int(node["Resources"].get("GPU", 0)) if gpus else 0
        waiting[remote.options(scheduling_strategy=there).remote(_make_note_name(name), asked, count)] = name
    deadline = time.monotonic() + NODE_ANSWER_TIMEOUT_S
    while waiting:
        ready, _ = ray.wait(list(waiting), timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        try:
            answer = ray.get(ready[0])
        except ray.exceptions.RayError as error:
            answer = error
        yield waiting.pop(ready[0]), answer
    for name in waiting.values():
        yield name, TimeoutError(f"no answer within {NODE_ANSWER_TIMEOUT_S:.0f} s")


def judge_node_report(
    node: str, said: NodeReport, here: Mapping[str, str], asked: tuple[float, float]
) -> list[PreflightFinding]:
    """What is wrong with what a node says. here: the driver's versions; asked: when the driver asked and
    heard, by its own clock, in seconds."""
    wrong = []
    for name, wanted in here.items():
        if (found := said.versions.get(name, MISSING_VERSION)) != wanted:
            do = "install the same on all nodes (constraints.txt, or one image)"
            if name == "project":
                do = "another copy of this project comes first there; pip uninstall dps-tune"
            wrong.append((f"{name} is {found}, but {wanted} on the driver", do))
    if not asked[0] - MAX_CLOCK_SKEW_S <= said.clock <= asked[1] + MAX_CLOCK_SKEW_S:
        off = max(asked[0] - said.clock, said.clock - asked[1])
        wrong.append((f"its clock is off by {off:.0f} s", "keep time with chrony or ntpd on all nodes"))
    if said.missing:
        wrong.append((f"{', '.join(said.missing)}: missing", "put it there, at the same path on every node"))
    if said.storage_error:
        do = "mount the same folder, writable, on every node"
        if is_remote_location(said.storage_error):
            do = "let every node reach it, with credentials in its environment or a role of its machine"
        wrong.append((f"--storage: {said.storage_error}", do))
    if said.door_error:
        wrong.append((said.door_error, "open the nodes' ports to one another"))
    if said.gpu_error:
        wrong.append((f"GPU: {said.gpu_error}", "check nvidia-smi, the driver, the build of torch"))
    return [PreflightFinding(node, what, do) for what, do in wrong]


def _check_free_space(plan: Plan, folder: Path) -> Iterator[PreflightFinding]:
    finalists = plan.runs - len(plan.arms) * plan.options.trials
    needed = estimate_storage_bytes(plan.weights, plan.slots, finalists if plan.keep_models else 0)
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"{free / 2**30:.1f} GiB free, but up to {needed / 2**30:.1f} GiB are needed for a while"
        yield PreflightFinding(str(folder), what, "make room, name another folder, or lower --max-concurrent")


def estimate_storage_bytes(weights: int, slots: int, models: int) -> int:
    """Most that lies in the storage at a time: a checkpoint for each slot, a model for each confirmation."""
    return BYTES_PER_WEIGHT * weights * (TENSORS_PER_CHECKPOINT * slots + models) + STORAGE_HEADROOM_BYTES


def _make_note_name(node: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in node)
