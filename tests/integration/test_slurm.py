"""cluster/slurm/search.sbatch on a real Slurm of one node, where that is installed and may be started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cli import ROOT, SMALL
from tests.integration.test_cluster import free_port

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
MISSING = [name for name in NEEDED if shutil.which(name) is None]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed ({', '.join(MISSING)} missing)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Slurm's daemons are started as root"),
]

CONFIG = """
ClusterName=dps
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ReturnToService=2
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
STARTS_WITHIN_S = 60
ENDS_WITHIN_S = 600


@dataclass
class Slurm:
    """A Slurm that runs, and the environment of its commands."""

    folder: Path
    env: dict[str, str]

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def state(self, job: str) -> str:
        return self.run("squeue", "--noheader", "--states=all", "--format=%T", "--jobs", job).strip()


def until(true: Callable[[], bool], within_s: float, what: Callable[[], str]) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    folder = tmp_path_factory.mktemp("slurm")
    for sub in ("state", "spool"):
        (folder / sub).mkdir()
    config = folder / "slurm.conf"
    host = socket.gethostname()
    config.write_text(
        CONFIG.format(host=host, folder=folder, ctld=free_port(), slurmd=free_port()), encoding="utf-8"
    )
    env = {**os.environ, "SLURM_CONF": str(config), "HF_HUB_OFFLINE": "1"}
    for name in [name for name in env if name.startswith(("RAY_", "MLFLOW_"))]:
        del env[name]
    started = Slurm(folder, env)
    try:
        start_munge(folder, env)
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([daemon, *(["-N", host] if daemon == "slurmd" else [])], env=env, check=True)
        until(
            lambda: "idle" in subprocess.run(["sinfo"], env=env, capture_output=True, text=True).stdout,
            STARTS_WITHIN_S,
            lambda: (folder / "slurmctld.log").read_text(encoding="utf-8"),
        )
        yield started
    finally:
        for daemon in ("slurmd", "slurmctld", "munged"):
            end(folder / f"{daemon}.pid")


def start_munge(folder: Path, env: dict[str, str]) -> None:
    """munged wants a key of its own, and no folder above it that others may write to."""
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    files = {"key": key, "socket": folder / "munge.socket", "pid": folder / "munged.pid"}
    command = ["munged", "--force", f"--key-file={files['key']}", f"--socket={files['socket']}"]
    command += [f"--pid-file={files['pid']}", f"--log-file={folder}/munged.log", f"--seed-file={folder}/seed"]
    subprocess.run(command, env=env, check=True, capture_output=True)


def end(pid_file: Path) -> None:
    if pid_file.is_file():
        pid = int(pid_file.read_text(encoding="utf-8"))
        os.kill(pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists(), 30, lambda: str(pid_file))


def test_a_search_is_queued_again_at_its_time_limit_and_goes_on(slurm: Slurm, tmp_path: Path) -> None:
    output, log = tmp_path / "rte", tmp_path / "job.log"
    slurm.env |= {"VENV": str(Path(sys.prefix)), "OUTPUT": str(output), "STORAGE": str(tmp_path / "shared")}
    options = ("--task", "rte", "--trials", "2", "--confirm", "1", "--scheduler", "none", *SMALL)
    limits = ("--nodes=1", "--cpus-per-task=2", f"--output={log}", "--time=30")
    said = slurm.run("sbatch", "--parsable", *limits, "cluster/slurm/search.sbatch", *options)
    job = said.strip()

    def text() -> str:
        return log.read_text(encoding="utf-8") if log.is_file() else f"no log; {slurm.state(job)}"

    until(lambda: "step 6/18" in text() or slurm.state(job) == "FAILED", ENDS_WITHIN_S, text)
    slurm.run("scancel", "--batch", "--signal=USR1", job)  # what --signal sends before the limit
    until(lambda: "queued again" in text() or slurm.state(job) == "FAILED", ENDS_WITHIN_S, text)
    assert not (output / "search.json").exists()
    until(lambda: slurm.state(job) in ("COMPLETED", "FAILED", ""), ENDS_WITHIN_S, text)

    found = json.loads((output / "search.json").read_text(encoding="utf-8"))
    assert [trial["outcome"] for trial in found["trials"]] == ["completed"] * 2, text()
    assert slurm.state(job) in ("COMPLETED", ""), text()
    assert [path.name for path in (tmp_path / "shared").iterdir() if path.name.startswith(".ray")] == []
    assert list(Path("/tmp").glob(f"ray-{job}*")) == []
