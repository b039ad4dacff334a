"""A cluster that grows as a search asks for it, and shrinks after: Ray's autoscaler, whose provider for tests
starts the nodes on this machine."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.cli import SMALL, search
from tests.integration.test_cluster import end_processes_of, free_port, ray_start

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COMMANDS = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands"),
)
LEAVES_WITHIN_S = 120.0
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, folder) of a head of one core, whose autoscaler may add one node as large."""
    folder = tmp_path_factory.mktemp("ray")
    port = free_port()
    head, worker = "ray.head.default", "one-core"
    document = {
        "cluster_name": "grows",
        "provider": {
            "type": "fake_multinode",
            "gcs_address": f"127.0.0.1:{port}",
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "use_node_id_as_ip": True,  # all nodes have the address of this machine
        },
        "max_workers": 1,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.2,
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in (*COMMANDS, "cluster_synced_files")},
        "head_node_type": head,
        "available_node_types": {
            head: {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
            worker: {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
        },
    }
    (folder / "autoscaler.json").write_text(json.dumps(document), encoding="utf-8")
    env = {
        **os.environ,
        **TOKEN,
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    env.pop("RAY_ADDRESS", None)
    options = ["--head", "--num-cpus", "1", "--node-ip-address", "127.0.0.1", "--port", str(port)]
    options += ["--ray-client-server-port", str(free_port()), "--temp-dir", str(folder)]
    options += ["--include-dashboard", "false", "--autoscaling-config", str(folder / "autoscaler.json")]
    try:
        ray_start(env, *options)
        yield f"127.0.0.1:{port}", folder
    finally:
        end_processes_of(folder)


def raylets(folder: Path) -> int:
    """Nodes that run, by their processes."""
    return sum(str(folder) in words and "raylet/raylet\0" in words for words in map(_words, psutil.pids()))


def _words(pid: int) -> str:
    """The command line of a process, each word ended by a null; nothing of one that has gone."""
    try:
        return "".join(f"{word}\0" for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def test_the_autoscaler_brings_a_node_for_the_slots_asked_for_and_takes_it_back(
    cluster: tuple[str, Path], tmp_path: Path
) -> None:
    address, folder = cluster
    assert raylets(folder) == 1
    done = search(
        tmp_path / "rte",
        *("--task", "rte", "--trials", "16", "--confirm", "1", "--max-concurrent", "2", *SMALL),
        *("--storage", str(tmp_path / "shared"), "--scheduler", "none"),
        env={"RAY_ADDRESS": address, **TOKEN},
    )
    assert done.status == 0, done.text
    assert "slots        1 of 2; the autoscaler, if any, is asked for the others" in done.text
    assert "slots        2: a node joined" in done.text
    assert len({trial["slot"] for trial in done.found["trials"]}) == 2
    deadline = time.monotonic() + LEAVES_WITHIN_S
    while raylets(folder) > 1:
        assert time.monotonic() < deadline, "the node stayed"
        time.sleep(1)
