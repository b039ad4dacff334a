"""Ray: connect to the cluster there is, or start a local one on loopback."""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tune.core.command import is_in_ray_job
from tune.execution import ray_private
from tune.planning.cluster import Cluster, Node

SOURCE_ROOT = Path(__file__).resolve().parents[2]
CLUSTER_CONNECT_TIMEOUT_S = 5.0
MALLOC_ENVIRONMENT = {
    # A step on a CPU frees and takes the same large pieces again. glibc shall keep them: the system hands
    # them out a page at a time (`benchmarks/cpu.py`). Only its first arena can, and Ray Train's function runs
    # in a thread, which would have another one.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}
COMMON_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a worker group starts and ends seconds sooner
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    **MALLOC_ENVIRONMENT,
}
DRIVER_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the search has its own
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the ledger is what a resume reads
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # slots start side by side, as many as the searcher says
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
LOOPBACK_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"  # no other machine: every port on loopback, on Linux too
}
LOCAL_ENVIRONMENT = {
    **LOOPBACK_ENVIRONMENT,
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody takes this machine away: a process less a slot
}
RESOURCE_NAMES = ("CPU", "GPU", "memory")  # of a node, as Ray names them
FORWARDED_VARIABLES = (
    "DPS_CACHE_DIR",
    ray_private.PUBLIC_ONLY_VARIABLE,
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
)

TOKEN_HINT = (
    "something answers there: where the cluster asks for a token, set RAY_AUTH_MODE=token, with the head's "
    "~/.ray/auth_token here or its text in RAY_AUTH_TOKEN"
)


def get_cluster_address() -> str | None:
    """The cluster that the environment names; a job finds its own there."""
    return os.environ.get("RAY_ADDRESS") or None


def connect_to_cluster() -> Cluster:
    """Connect or start; quiet. Raises ConnectionError where the named cluster does not answer."""
    where = get_cluster_address()
    if where is not None:
        _check_reachable(where)
    mine = LOCAL_ENVIRONMENT if where is None else LOOPBACK_ENVIRONMENT if _is_on_loopback(where) else {}
    os.environ.update({**COMMON_ENVIRONMENT, **DRIVER_ENVIRONMENT, **mine})
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    ray_private.hide_raylet_notices()
    if where is None:
        ray_private.disable_gc_in_new_processes()
        with _import_in_background("tune.execution.trainable", "tune.strategy.phases"):
            ray.init(address="local", include_dashboard=False, **quiet)
    else:
        try:
            ray.init(address=where, runtime_env=_build_runtime_env(), **quiet)
        except ConnectionError as error:
            raise ConnectionError(f"{error}; {TOKEN_HINT}") from None
        ray_private.report_missing_names()
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return read_cluster_resources(where)


def freeze_imported_objects() -> None:
    """Collect garbage from now on, but do not look through what was imported: that stays."""
    gc.freeze()
    gc.enable()


@contextmanager
def _import_in_background(*modules: str) -> Iterator[None]:
    """Ray's processes take four seconds to start: time to import what comes next."""

    def load() -> None:
        with suppress(Exception):  # who needs it imports it again, and says why it fails
            for module in modules:
                import_module(module)
            ray_private.report_missing_names()

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    yield
    thread.join()


def read_cluster_resources(where: str | None) -> Cluster:
    """What the cluster that is connected offers now, without nodes that will be taken away soon. where: its
    address, None for a local one."""
    import ray

    going = ray_private.list_draining_nodes()
    stay = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in going]
    return Cluster(where, tuple(_parse_node(found) for found in stay))


def _parse_node(found: dict[str, Any]) -> Node:
    cpus, gpus, memory = (found["Resources"].get(name, 0.0) for name in RESOURCE_NAMES)
    return Node(cpus, gpus, memory, found["NodeID"])


def _is_on_loopback(where: str) -> bool:
    """Whether the head listens on loopback alone, as that of `cluster/local.py`; Ray would else look for it
    at the address that the machine has for others."""
    return where.rpartition(":")[0] in ("127.0.0.1", "localhost")


def _check_reachable(where: str) -> None:
    """Ray itself tries for minutes to reach a head that is not there."""
    if where.startswith("ray://"):
        raise ConnectionError(f"{where} is a Ray Client address; give HOST:PORT of the head, or submit a job")
    host, colon, port = where.rpartition(":")
    if where in ("auto", "local"):
        return
    if not host or not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConnectionError(f"{where!r} is no HOST:PORT of a cluster's head, and not auto")
    try:
        socket.create_connection((host, int(port)), timeout=CLUSTER_CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:
        raise ConnectionError(
            f"no Ray cluster answers at {where} ({getattr(error, 'strerror', None) or error})"
        ) from None


def _build_runtime_env() -> dict[str, Any]:
    """Return the runtime environment on a cluster that others made: the variables, and this project's two
    packages. A submitted
    job has its working directory there already."""
    variables = {
        **COMMON_ENVIRONMENT,
        **{name: os.environ[name] for name in FORWARDED_VARIABLES if name in os.environ},
    }
    if is_in_ray_job():
        return {"env_vars": {name: variables[name] for name in variables.keys() - _get_job_variables()}}
    return {"env_vars": variables, "py_modules": [str(SOURCE_ROOT / "dps"), str(SOURCE_ROOT / "tune")]}


def _get_job_variables() -> set[str]:
    """Those that the job was submitted with: workers have them, and Ray refuses to hear of one twice."""
    config = json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])
    return set((config.get("runtime_env") or {}).get("env_vars") or {})


def read_local_resources() -> Cluster:
    """What a cluster of one's own would offer, without starting it."""
    gpus = 0
    if os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        import torch

        gpus = torch.cuda.device_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Cluster(None, (Node(float(len(os.sched_getaffinity(0))), float(gpus), float(memory)),))
