"""Preflight checks: what the driver asks of a cluster's nodes and services, and how it judges the answers.

`tune.execution.node_checks` asks; nothing here knows Ray.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dps.models import BUILTIN_MODEL_PACKAGE
from tune.core.storage import is_remote_location
from tune.planning.plan import Plan
from tune.planning.probe import MISSING_VERSION, Listener, NodeChecks, NodeReport
from tune.records.saved_options import find_runs_folder
from tune.records.stores import (
    find_mlflow_error,
    find_sqlite_file,
    find_store_fault,
    name_experiment,
    resolve_tracking_uri,
)

MAX_CLOCK_SKEW_S = 5.0
BYTES_PER_WEIGHT = 4
TENSORS_PER_CHECKPOINT = 3  # the weights and Adam's two moments
STORAGE_HEADROOM_BYTES = 2**30  # for logs and the ledger
PREFLIGHT_PASSED = "preflight    passed: versions, code, clocks, data, model, storage, ports, GPUs, MLflow"


@dataclass(frozen=True)
class PreflightFinding:
    """A problem found before the start: location, problem, remedy."""

    location: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.location}: {self.problem}; {self.remedy}"


def build_node_checks(
    plan: Plan, note_location: str | None, listener: Listener | None, has_joined: bool = False
) -> NodeChecks:
    """Return what every node must have for a plan. note_location: of the driver's note in the storage;
    has_joined: whether it is for a node that joined after the precision was chosen."""
    arms, models = plan.arms.values(), list[tuple[str, str]]()
    for arm in arms:
        several = [(model.described.source, model.settings.model) for model in arm.models.values()]
        models += several or [(arm.model.source, arm.settings.model)]
    inputs = [*((arm.data.source, arm.settings.data) for arm in arms), *models]
    return NodeChecks(
        paths=tuple(dict.fromkeys(path for source, path in inputs if source == "folder")),
        packages=(BUILTIN_MODEL_PACKAGE,) if "builtin" in dict(models) else (),
        storage_location=note_location,
        listener=listener,
        needs_bf16=has_joined and plan.options.precision == "auto" and plan.get_shared("precision") == "bf16",
    )


def judge_node_report(
    node: str, report: NodeReport, driver_versions: Mapping[str, str], asked_between: tuple[float, float]
) -> list[PreflightFinding]:
    """Return the problems in a node's report. asked_between: the driver's clock before and after it asked."""
    problems = []
    for name, wanted in driver_versions.items():
        if (version := report.versions.get(name, MISSING_VERSION)) != wanted:
            remedy = "install the same on all nodes (constraints.txt, or one image)"
            if name == "project":
                remedy = "another copy of this project comes first there; pip uninstall dps-tune"
            problems.append((f"{name} is {version}, but {wanted} on the driver", remedy))
    before, after = asked_between
    if not before - MAX_CLOCK_SKEW_S <= report.clock_seconds <= after + MAX_CLOCK_SKEW_S:
        skew = max(before - report.clock_seconds, report.clock_seconds - after)
        problems.append((f"its clock is off by {skew:.0f} s", "synchronise all nodes with chrony or ntpd"))
    if report.missing_items:
        missing = f"{', '.join(report.missing_items)}: missing"
        problems.append((missing, "put it there, at the same path on every node"))
    if report.storage_error:
        remedy = "mount the same folder, writable, on every node"
        if is_remote_location(report.storage_error):
            remedy = "let every node reach it, with credentials in its environment or a role of its machine"
        problems.append((f"--storage: {report.storage_error}", remedy))
    if report.listener_error:
        problems.append((report.listener_error, "open the nodes' ports to one another"))
    if report.lacks_bf16:
        remedy = "take CPUs of one kind, or start the search with --precision fp32"
        problems.append(("its CPU lacks bf16 in hardware, which the others have", remedy))
    if report.gpu_error:
        problems.append((f"GPU: {report.gpu_error}", "check nvidia-smi, the driver, the build of torch"))
    return [PreflightFinding(node, problem, remedy) for problem, remedy in problems]


def check_free_space(plan: Plan, folder: Path) -> list[PreflightFinding]:
    """Return a finding if the storage has less space than a plan may need."""
    needed, free = estimate_storage_bytes(plan), shutil.disk_usage(folder).free
    if free >= needed:
        return []
    problem = f"{free / 2**30:.1f} GiB free, but up to {needed / 2**30:.1f} GiB are needed for a while"
    remedy = "make room, name another folder, or lower --max-concurrent"
    return [PreflightFinding(str(folder), problem, remedy)]


def estimate_storage_bytes(plan: Plan) -> int:
    """Return the maximum bytes in storage at once: a checkpoint per slot, a model per confirmation."""
    models = plan.options.confirm + plan.options.ensemble if plan.options.keeps_models else 0  # one is copied
    tensors = TENSORS_PER_CHECKPOINT * plan.slots + models
    return BYTES_PER_WEIGHT * plan.model_parameters * tensors + STORAGE_HEADROOM_BYTES


def check_mlflow(plan: Plan, output: Path) -> list[PreflightFinding]:
    """Return what is wrong with MLflow's SQLite file, with the model registry and, with --preflight, with a
    server of MLflow."""
    options = plan.options
    uri = resolve_tracking_uri(options.tracking_uri, find_runs_folder(output))
    if uri is None:
        return []
    data = {"source": plan.data.source, "fingerprint": plan.data.fingerprint}
    experiment = name_experiment(options.experiment, plan.task.name, data)
    file = find_sqlite_file(uri)
    if file is not None and (fault := find_store_fault(file, experiment)):
        return [PreflightFinding("--tracking-uri", *fault.rsplit("; ", 1))]
    if options.preflight and (error := find_mlflow_error(uri, experiment)):
        remedy = "start MLflow, mend the address or its credentials, or give --tracking-uri none"
        return [PreflightFinding("--tracking-uri", error, remedy)]
    if options.registered_name is not None and (error := find_mlflow_error(uri)):
        remedy = "give the MLflow of a model registry, or leave it out"
        return [PreflightFinding("--register", error, remedy)]
    return []
