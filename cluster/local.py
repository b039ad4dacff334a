"""Start a Ray cluster of several nodes on this machine, to try out what a real one does.

python cluster/local.py --nodes 3 --cpus-per-node 1
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package
    sys.path[0] = str(Path(__file__).resolve().parents[1])

    from cluster import local as package

    sys.exit(package.main(sys.argv[1:]))

import argparse
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil

from dps.command import CommandParser
from dps.errors import InputError
from dps.wording import format_count
from tune.core.command import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_REFUSED,
    EXIT_WRONG_INPUT,
    format_command,
    print_error,
)
from tune.core.run import RefusedError
from tune.execution.auth_token import make_auth_token
from tune.execution.ray_private import write_cluster_address

LOOPBACK_HOST = "127.0.0.1"
DEFAULT_JOB_PORT = 8265
SHUTDOWN_TIMEOUT_S = 20.0
NODE_MEMORY_SHARE = 0.7  # of the free memory, for all nodes together
NODE_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every port on loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",  # a busy machine takes longer than Ray's 30 s
}
EXAMPLES = """
Every node is a separate raylet with its own ports. All listen only on loopback and require the token in
~/.ray/auth_token, which is created if it does not exist. Ctrl-C stops the cluster.

examples:
  python cluster/local.py --nodes 3 --cpus-per-node 1
  python cluster/local.py --nodes 2 --cpus-per-node 4 --port 8300
"""


@dataclass(frozen=True)
class LocalCluster:
    """Running cluster. address: for RAY_ADDRESS; jobs_url: of job server and dashboard."""

    address: str
    jobs_url: str
    nodes: int


def main(argv: list[str]) -> int:
    """Run the command until Ctrl-C; return its exit status."""
    try:
        chosen = _make_parser().parse_args(argv)
        print(f"starting {format_count(chosen.nodes, 'node')}", flush=True)
        with run_local_cluster(chosen.nodes, chosen.cpus_per_node, chosen.port) as cluster:
            stop = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):  # in place of the handler that Ray has set
                signal.signal(number, lambda *_: stop.set())
            print("\n".join(describe_cluster(cluster, chosen.cpus_per_node)), flush=True)
            stop.wait()
            print("\nstopping the cluster", flush=True)
    except InputError as error:
        return print_error(str(error), EXIT_WRONG_INPUT)
    except RefusedError as error:
        return print_error(str(error), EXIT_REFUSED)
    except KeyboardInterrupt:
        return print_error("interrupted before all nodes had started", EXIT_INTERRUPTED)
    return EXIT_DONE


def describe_cluster(cluster: LocalCluster, cpus: int) -> list[str]:
    """Describe the cluster, with commands to use it, a line each. cpus: of a node."""
    job = ("--task", "cola", "--storage", "/tmp/dps-storage")
    nodes, cores = format_count(cluster.nodes, "node"), format_count(cpus, "core")
    return [
        f"{nodes} of {cores} each, on loopback; Ctrl-C stops them",
        "",
        f"  RAY_ADDRESS  {cluster.address}",
        f"  jobs         {cluster.jobs_url}  (and the dashboard)",
        "",
        "in another terminal:",
        f"  {format_command('python cluster/submit.py', '--address', cluster.jobs_url, *job)}",
        f"  RAY_AUTH_MODE=token RAY_ADDRESS={cluster.address} "
        f"{format_command('python tune/search.py', '--preflight', *job)}",
    ]


@contextmanager
def run_local_cluster(nodes: int, cpus: int, port: int) -> Iterator[LocalCluster]:
    """Run a cluster inside this context; it ends with this process, too, whatever ends that.

    cpus: cores of each node.
    port: of job server and dashboard.

    Raises InputError if the port is taken, RefusedError if Ray does not start.
    """
    _check_port(port)
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: the path of a socket may have 107 bytes
    try:
        _set_environment(folder)
        make_auth_token()
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        try:
            _start_nodes(cluster, Path(folder), nodes, cpus, port)
            yield LocalCluster(cluster.address, f"http://{LOOPBACK_HOST}:{port}", nodes)
        finally:
            processes = psutil.Process().children(recursive=True)
            with suppress(AssertionError):  # raised for a process that ends slowly
                cluster.shutdown()
            psutil.wait_procs(
                processes, timeout=SHUTDOWN_TIMEOUT_S
            )  # they write to the folder until they end
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start_nodes(cluster: Any, folder: Path, nodes: int, cpus: int, port: int) -> None:
    """Start the nodes, each with its own folder, where a job finds the address of the cluster.

    In a common folder the nodes would unpack a job's files over one another.
    """
    head = {"include_dashboard": True, "dashboard_host": LOOPBACK_HOST, "dashboard_port": port}
    share = int(psutil.virtual_memory().available * NODE_MEMORY_SHARE / nodes)
    try:
        for number in range(nodes):
            node_folder = folder / f"node-{number}"
            cluster.add_node(
                temp_dir=str(node_folder),
                node_ip_address=LOOPBACK_HOST,
                num_cpus=cpus,
                memory=share,
                dashboard_agent_listen_port=None,  # any free port: another Ray may have the usual one
                **({} if number else head),
            )
            write_cluster_address(cluster.address, str(node_folder))
    except Exception as error:  # Ray raises Exception itself
        raise RefusedError(
            f"--nodes: Ray did not start ({error}); try fewer nodes, or wait until the machine is less busy"
        ) from None


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK_HOST, port))
        except OSError:
            raise InputError(
                f"--port: {port} is taken, perhaps by another Ray; choose another port"
            ) from None


def _set_environment(folder: str) -> None:
    """Set what nodes and their jobs inherit: this Python first on PATH, token authentication, the folder."""
    os.environ.pop("RAY_ADDRESS", None)
    (Path(folder) / "ray").mkdir()  # Ray writes the address of the cluster there
    os.environ.update({**NODE_ENVIRONMENT, "RAY_TMPDIR": folder})
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def _make_parser() -> CommandParser:
    parser = CommandParser(
        "python cluster/local.py",
        "Start a Ray cluster of several nodes on this machine, with dashboard and job server.",
        EXAMPLES,
    )
    for option, default, meaning in (
        ("--nodes", 2, "number of nodes (default: 2)"),
        ("--cpus-per-node", 1, "cores per node (default: 1)"),
        ("--port", DEFAULT_JOB_PORT, "port of dashboard and job server (default: 8265)"),
    ):
        parser.add_argument(option, type=_parse_positive, default=default, metavar="N", help=meaning)
    return parser


def _parse_positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, but got {text!r}")
    return int(text)
