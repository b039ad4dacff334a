"""Connection to Ray: to the cluster that the environment names, or to a local one started on loopback."""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tune.core.command import is_in_ray_job
from tune.execution import ray_private
from tune.execution.auth_token import make_auth_token, protect_auth_token
from tune.planning.cluster import Cluster, Node

SOURCE_ROOT = Path(__file__).resolve().parents[2]
CLUSTER_CONNECT_TIMEOUT_S = 5.0
MALLOC_ENVIRONMENT = {
    # A step on a CPU frees and takes the same large blocks again. These settings make glibc keep them: the
    # system hands them out a page at a time (`benchmarks/cpu.py`). Only the first arena can keep them, and
    # the training loop runs in a thread, which would otherwise get another one.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}
COMMON_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # worker groups start and end seconds sooner
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    **MALLOC_ENVIRONMENT,
}
DRIVER_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # a session has its own handler
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # a resume reads the ledger instead
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # all slots start at once
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
LOOPBACK_ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"  # no other machine: every port on loopback, on Linux too
}
LOCAL_ENVIRONMENT = {
    **LOOPBACK_ENVIRONMENT,
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # saves a process per slot
}
RESOURCE_NAMES = ("CPU", "GPU", "memory")
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
    "something answers there: if the cluster needs a token, set RAY_AUTH_MODE=token, with the head's "
    "~/.ray/auth_token here or its text in RAY_AUTH_TOKEN"
)


def get_cluster_address() -> str | None:
    """Return the cluster address in RAY_ADDRESS, or None. Ray sets it in a submitted job."""
    return os.environ.get("RAY_ADDRESS") or None


def prepare_environment() -> None:
    """Set the variables that Ray reads, some of them when it is imported: to be called before that."""
    address = get_cluster_address()
    on_loopback = {} if address and not _is_on_loopback(address) else LOOPBACK_ENVIRONMENT
    local = {} if address else LOCAL_ENVIRONMENT
    os.environ.update({**COMMON_ENVIRONMENT, **DRIVER_ENVIRONMENT, **on_loopback, **local})


def connect_to_cluster() -> Cluster:
    """Connect to the named cluster or start a local one, with Ray's logs off.

    Raises ConnectionError if the named cluster does not answer.
    """
    address = get_cluster_address()
    if address is not None:
        _check_reachable(address)
    prepare_environment()
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    ray_private.hide_raylet_notices()
    if address is None:
        make_auth_token()
        ray_private.disable_gc_in_new_processes()
        with _run_in_background(ray_private.report_missing_names):
            ray.init(address="local", include_dashboard=False, **quiet)
    else:
        protect_auth_token()
        try:
            ray.init(address=address, runtime_env=_build_runtime_env(), **quiet)
        except ConnectionError as error:
            raise ConnectionError(f"{error}; {TOKEN_HINT}") from None
        ray_private.report_missing_names()
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return read_cluster_resources(address)


def freeze_imported_objects() -> None:
    """Turn garbage collection on and exempt everything imported so far."""
    gc.freeze()
    gc.enable()


@contextmanager
def _run_in_background(function: Callable[[], None]) -> Iterator[None]:
    """Run a function in a thread inside this context: Ray takes about four seconds to start."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    yield
    thread.join()


def read_cluster_resources(address: str | None) -> Cluster:
    """Read the current resources of the connected cluster, without draining nodes. address: None if local."""
    import ray

    draining = ray_private.list_draining_nodes()
    alive = [node for node in ray.nodes() if node["Alive"]]
    return Cluster(address, tuple(_parse_node(node) for node in alive if node["NodeID"] not in draining))


def _parse_node(node_info: dict[str, Any]) -> Node:
    cpus, gpus, memory = (node_info["Resources"].get(name, 0.0) for name in RESOURCE_NAMES)
    return Node(cpus, gpus, memory, node_info["NodeID"])


def _is_on_loopback(address: str) -> bool:
    """Return whether the head listens on loopback only, as `cluster/local.py` starts it; Ray would otherwise
    look for it at the machine's outer address."""
    return address.rpartition(":")[0] in ("127.0.0.1", "localhost")


def _check_reachable(address: str) -> None:
    """Raise ConnectionError at once if no head answers; Ray itself would try for minutes."""
    if address.startswith("ray://"):
        raise ConnectionError(
            f"{address} is a Ray Client address; give HOST:PORT of the head, or submit a job"
        )
    host, colon, port = address.rpartition(":")
    if address in ("auto", "local"):
        return
    if not host or not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConnectionError(f"{address!r} is no HOST:PORT of a cluster's head, and not auto")
    try:
        socket.create_connection((host, int(port)), timeout=CLUSTER_CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:
        raise ConnectionError(
            f"no Ray cluster answers at {address} ({getattr(error, 'strerror', None) or error})"
        ) from None


def _build_runtime_env() -> dict[str, Any]:
    """Build the runtime environment on an existing cluster: variables and this project's two packages. A
    submitted job has the packages in its working directory already."""
    variables = {
        **COMMON_ENVIRONMENT,
        **{name: os.environ[name] for name in FORWARDED_VARIABLES if name in os.environ},
    }
    if is_in_ray_job():
        return {"env_vars": {name: variables[name] for name in variables.keys() - _get_job_variables()}}
    return {"env_vars": variables, "py_modules": [str(SOURCE_ROOT / "dps"), str(SOURCE_ROOT / "tune")]}


def _get_job_variables() -> set[str]:
    """Return the variables set at job submission; Ray rejects setting them again."""
    config = json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])
    return set((config.get("runtime_env") or {}).get("env_vars") or {})


def read_local_resources() -> Cluster:
    """Read the resources of this machine without starting Ray."""
    gpus = 0
    if os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        import torch

        gpus = torch.cuda.device_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Cluster(None, (Node(float(len(os.sched_getaffinity(0))), float(gpus), float(memory)),))
