"""Connection to Ray: to the cluster that the environment names, or to a local one started on loopback."""

from __future__ import annotations

import gc
import json
import logging
import os
import stat
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dps.errors import InputError, is_disk_full
from dps.lazy import torch
from tune.core.command import is_in_ray_job
from tune.core.run import RefusedError
from tune.core.wording import get_last_line
from tune.execution import ray_private
from tune.execution.addresses import (
    PRIVATE_FOLDER_PREFIX,
    check_control_store,
    get_cluster_address,
    is_on_loopback,
)
from tune.execution.auth_token import make_auth_token, protect_auth_token
from tune.planning.cluster import Cluster, Node

GPU_DEVICES = "nvidia[0-9]*", "kfd", "dxg"  # in /dev: of CUDA, ROCm, and Windows' own Linux
SOURCE_ROOT = Path(__file__).resolve().parents[2]
MAX_RAY_FOLDER_BYTES = 40  # Ray adds 66 for a session and a socket; its path may have 107
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
    "it wants a token: set RAY_AUTH_MODE=token, with the head's ~/.ray/auth_token here or its text in "
    "RAY_AUTH_TOKEN"
)


def prepare_environment() -> None:
    """Set the variables that Ray reads, some of them when it is imported: to be called before that.

    Raises InputError for PYTHONWARNINGS=error, ConnectionError for RAY_ADDRESS=auto where none runs.
    """
    if any(action.strip().startswith("error") for action in os.environ.get("PYTHONWARNINGS", "").split(",")):
        raise InputError("PYTHONWARNINGS: Ray ends at the first warning that becomes an error; unset it")
    address = get_cluster_address()
    on_loopback = {} if address and not is_on_loopback(address) else LOOPBACK_ENVIRONMENT
    local = {} if address else LOCAL_ENVIRONMENT
    os.environ.update({**COMMON_ENVIRONMENT, **DRIVER_ENVIRONMENT, **on_loopback, **local})


def connect_to_cluster() -> Cluster:
    """Connect to the named cluster or start a local one, with Ray's logs off.

    Raises ConnectionError if the named cluster does not answer, RefusedError if a local one does not start.
    """
    address = get_cluster_address()
    needs_token = address is not None and check_control_store(address)
    prepare_environment()
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    ray_private.hide_raylet_notices()
    if address is None:
        _start_local_ray(quiet)
    else:
        protect_auth_token()
        try:
            ray.init(address=address, runtime_env=_build_runtime_env(), **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            hint = TOKEN_HINT if needs_token else "see its logs, or restart it"
            raise ConnectionError(f"{address} cannot be joined ({get_last_line(error)}); {hint}") from None
        ray_private.report_missing_names()
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return read_cluster_resources(address)


def check_disconnected() -> None:
    """Raise InputError where this process has joined Ray by itself: a search would end that connection."""
    if "ray" in sys.modules:
        import ray

        if ray.is_initialized():
            raise InputError(
                "ray: this process is connected to Ray already; call ray.shutdown() before a search"
            )


def disconnect_from_cluster() -> None:
    """Leave the cluster, and end a local one, so that the same process can connect again."""
    if "ray" in sys.modules:
        import ray

        ray.shutdown()


def _start_local_ray(options: dict[str, Any]) -> None:
    """Start Ray on loopback. Raises RefusedError if it does not start."""
    import ray

    folder = choose_ray_folder()
    _make_private(Path(folder).parent)
    make_auth_token()
    ray_private.disable_gc_in_new_processes()
    ray_private.start_in_own_groups()
    try:
        with _run_in_background(ray_private.report_missing_names), _own_copy_first():
            ray.init(address="local", include_dashboard=False, _temp_dir=folder, **options)
    except Exception as error:  # of many kinds: sockets, folders, processes
        if is_disk_full(error):
            raise
        raise RefusedError(
            f"Ray does not start ({type(error).__name__}: {get_last_line(error)}); it needs a home folder "
            f"and a folder for temporary files that can be written (HOME, RAY_TMPDIR); where the machine is "
            f"busy, try again"
        ) from None


@contextmanager
def _own_copy_first() -> Iterator[None]:
    """Let the processes that start now, the slots' own, import this copy of the project, whatever else is
    installed. What this process starts later, such as a user's own programs, is left as it was."""
    before = os.environ.get("PYTHONPATH")
    if Path(sysconfig.get_path("purelib")) != SOURCE_ROOT:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(SOURCE_ROOT), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before


def choose_ray_folder() -> str:
    """Return the folder for the logs and sockets of a local Ray: in RAY_TMPDIR, else in TMPDIR, or in /tmp
    where the path of a socket would be too long. Ray opens it to everybody, so it lies in one that must be
    private. Raises RefusedError for a RAY_TMPDIR that cannot be used."""
    named = os.environ.get("RAY_TMPDIR")
    name = f"{PRIVATE_FOLDER_PREFIX}{os.getuid()}/r"
    for parent in [named] if named else [tempfile.gettempdir(), "/tmp"]:
        folder = Path(parent).absolute() / name
        fits = len(os.fsencode(folder)) <= MAX_RAY_FOLDER_BYTES
        if fits and os.access(parent, os.W_OK | os.X_OK):
            return str(folder)
    room = MAX_RAY_FOLDER_BYTES - len(name) - 1
    reason = (
        "cannot be written" if fits else f"has {len(parent)} characters; sockets in it leave room for {room}"
    )
    option = "RAY_TMPDIR" if named else "TMPDIR"
    raise RefusedError(f"{option}: {parent} {reason}; name another folder in RAY_TMPDIR")


def _make_private(folder: Path) -> None:
    """Make a folder that no other user can enter. Raises RefusedError for another's, or a link."""
    try:
        with suppress(FileExistsError):
            folder.mkdir(0o700)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            folder.chmod(0o700)
            return
        reason = "is a link or of another user"
    except OSError as error:
        reason = f"cannot be made private ({error.strerror})"
    raise RefusedError(f"RAY_TMPDIR: {folder} {reason}; remove it, or name another folder in RAY_TMPDIR")


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
    raylet = f"{node_info['NodeManagerAddress']}:{node_info['NodeManagerPort']}"
    return Node(cpus, gpus, memory, node_info["NodeID"], raylet)


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
    has_driver = any(any(Path("/dev").glob(name)) for name in GPU_DEVICES)
    gpus = torch.cuda.device_count() if has_driver and os.environ.get("CUDA_VISIBLE_DEVICES") != "" else 0
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Cluster(None, (Node(float(len(os.sched_getaffinity(0))), float(gpus), float(memory)),))
