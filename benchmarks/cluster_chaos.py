"""Disturb the network and the machines under a search, one by one; then count what was lost.

    python benchmarks/cluster_chaos.py > FILE          # or: make cluster-chaos
    python benchmarks/cluster_chaos.py --only cut      # one of them

Four machines (`benchmarks/machines.py`): the head of a Ray cluster, two nodes of one core each, over which
every trial spreads its two DDP workers, and one that serves an S3-compatible store and MLflow. The driver
runs on the first node; what happens, happens to the second or to the head. A node whose Ray ends is started
again, as a supervisor would; a search that broke off is resumed, as its user would. The same search runs
once more undisturbed. Exit status 1 where a check fails. Prints Markdown; what happens meanwhile goes to
standard error. Needs root, or the right to make namespaces: else it says why not, and ends with 0.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import chaos, chaos_checks, cluster_listeners, cluster_report, machines
from benchmarks.chaos import Run, Scenario, say
from benchmarks.chaos_checks import Kill, Verdict
from benchmarks.cluster_report import Finding
from benchmarks.machines import ROOT, Machine
from tests import object_store

LASTS_S = 60.0
REPORTS_BETWEEN = 3  # of the search, before anything happens, or happens again
DONE_WITHIN_S = 3600.0
STARTS_WITHIN_S = 600.0
TRIALS = 3  # and one confirmation
MAX_SITTINGS = 3
SILENT = r"node \S+ has not answered for \d+ s; runs there wait"
LOST_HEAD = r"the head of the cluster, \S+, has not answered for \d+ s; .* go on with: .* --resume "
OPTIONS = (
    *("--workers-per-trial", "2"),
    *("--storage", f"s3://{object_store.BUCKET}/searches"),
)
# While it starts, whatever else the machine does: a raylet waits for its agent for 15 s, and then ends.
FIRST = ("sh", "-c", 'echo -15 > /proc/self/autogroup; exec nice -n -15 "$@"', "sh")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
RAY = str(Path(sys.executable).with_name("ray"))


@dataclass(frozen=True)
class Disturbance:
    """What happens to a machine. begin, end: make and end it; says: what the user must be told in one line,
    as a pattern; at_head: whether it happens to the head, not to the third node."""

    name: str
    title: str
    begin: Callable[[Machine], None]
    end: Callable[[Machine], None]
    says: str
    at_head: bool = False


def _freeze(machine: Machine) -> None:
    machine.send_to_all(signal.SIGSTOP)


def _wake(machine: Machine) -> None:
    machine.send_to_all(signal.SIGCONT)


def _kill(machine: Machine) -> None:
    machine.send_to_all(signal.SIGKILL)


DISTURBANCES = (
    Disturbance("cut", "link cut", lambda m: m.disturb(lost=1.0), Machine.mend, SILENT),
    Disturbance(
        "loss", "link that loses 5 %", lambda m: m.disturb(lost=0.05), Machine.mend, r"node \S+ loses packets"
    ),
    Disturbance(
        "delay",
        "link with 200 ms",
        lambda m: m.disturb(delay_s=0.2),
        Machine.mend,
        r"node \S+ is 2\d\d ms away",
    ),
    Disturbance("frozen", "node frozen", _freeze, _wake, SILENT),
    Disturbance("head", "head lost", _kill, lambda m: None, LOST_HEAD, at_head=True),
)


class Cluster:
    """The Ray cluster of three machines, and the servers on the fourth."""

    def __init__(self, made: list[Machine]) -> None:
        *self.nodes, self.server = made
        self.head = self.nodes[0]
        store = self._serve("moto.server", "-H", self.server.address, "-p", "5555")
        self.tracking = self._serve(
            *("mlflow", "server", "--host", self.server.address, "--port", "5000", "--workers", "1"),
            *("--backend-store-uri", "sqlite:////tmp/mlflow.db", "--artifacts-destination", "/tmp/artifacts"),
        )
        _wait_for(store)
        self.env = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "RAY_worker_niceness": "0",
            "RAY_raylet_start_wait_time_s": "60",
            **object_store.make_bucket(store),
        }
        (first, *_), options = made, chaos_checks.tiny_search(made[0].folder)
        words = [word.replace(str(first.folder), "/tmp") for word in options]
        words[words.index("--tracking-uri") + 1] = self.tracking
        self.options = (*words, *OPTIONS)
        for machine in self.nodes[1:]:
            for name in ("data", "model"):
                shutil.copytree(first.folder / name, machine.folder / name)
        _wait_for(f"{self.tracking}/health")
        _take_turns(self.server)
        self.start_missing_nodes()

    def _serve(self, *words: str) -> str:
        log = (self.server.folder / f"{words[0]}.log").open("wb")
        command = self.server.command(*FIRST, sys.executable, "-m", *words, env=QUIET)
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        return f"http://{self.server.address}:{words[words.index('-p' if '-p' in words else '--port') + 1]}"

    def start_missing_nodes(self) -> None:
        """Start Ray where it does not run, or not any more."""
        for machine in self.nodes:
            living = _list_living(machine)
            if any(line.split()[0].endswith("/raylet/raylet") for line in living.values()):
                continue
            is_head = machine is self.head
            for process, line in living.items():  # but for a driver, what an ended Ray left
                if "ray" in " ".join(line.split()[:2]):
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            where = ("--head",) if is_head else ("--address", f"{self.head.address}:6379")
            cores = "0" if is_head else "1"
            sizes = ("--num-cpus", cores, "--object-store-memory", "80000000", "--disable-usage-stats")
            say(f"Ray starts on {machine.name}")
            with suppress(RuntimeError, subprocess.TimeoutExpired):  # the head may be away: again later
                start = (*FIRST, RAY, "start", *where, *sizes)
                machine.run(*start, env=self.env, timeout=STARTS_WITHIN_S)
            _take_turns(machine)

    def start_again(self) -> None:
        """End Ray on all nodes, and start it, as after the loss of the head."""
        for machine in self.nodes:
            machine.send_to_all(signal.SIGKILL)
        self.start_missing_nodes()

    def find_listeners(self) -> set[tuple[str, str]]:
        """Return what listens on all machines, and where."""
        every = (cluster_listeners.find_listeners(machine) for machine in (*self.nodes, self.server))
        return set().union(*every)

    def has_worker(self, machine: Machine) -> bool:
        """Return whether a DDP worker runs there."""
        return any("RayTrainWorker" in line for line in _list_living(machine).values())


def _list_living(machine: Machine) -> dict[psutil.Process, str]:
    """Return the command lines of what runs there; those of zombies are empty."""
    lines = {process: chaos.get_command(process) for process in machine.list_processes()}
    return {process: line for process, line in lines.items() if line}


def _take_turns(machine: Machine) -> None:
    """End what FIRST began."""
    for process in machine.list_processes():
        with suppress(psutil.NoSuchProcess, OSError):
            process.nice(0)
            Path(f"/proc/{process.pid}/autogroup").write_text("0", encoding="ascii")


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@dataclass
class MachineRun(Run):
    """A search whose driver runs on a machine; `folder` is there, as this process sees it."""

    machine: Machine = field(kw_only=True)
    waiting: list[Disturbance] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    listeners: set[tuple[str, str]] = field(default_factory=set)

    def start(self, common: tuple[str, ...]) -> subprocess.Popen[bytes]:
        seen = Path("/tmp") / self.folder.relative_to(self.machine.folder)
        command = self.machine.command(*replace(self, folder=seen).command(common), env=self.env)
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.scenario.name}.log"

    def count_reports(self) -> int:
        return sum(event.what == "reported" for event in self.events)

    def begin(self, what: Disturbance, at: Machine) -> None:
        """Begin a disturbance."""
        self.kills.append(Kill(time.time(), what.title))
        self.findings.append(Finding(what.title, at.name, self.count_reports(), self.log.stat().st_size))
        say(f"{what.title} at {at.name}")
        what.begin(at)

    def end(self, what: Disturbance, at: Machine) -> None:
        """End it; what is told of it until the next begins belongs to it."""
        what.end(at)
        self.kills.append(Kill(time.time(), f"end of: {what.title}"))
        self.findings[-1].reports_after = self.count_reports()
        say(f"end of: {what.title}")

    def read_told(self, finding: Finding, says: str) -> None:
        """Read what the driver said of a disturbance."""
        following = [each.log_at for each in self.findings if each.log_at > finding.log_at]
        text = self.log.read_bytes()[finding.log_at : min(following, default=None)].decode(errors="replace")
        text = text.replace(sys.executable, "python").replace(f"{ROOT}/", "")
        finding.told = [line for line in text.splitlines() if re.search(f"warning: {says}", line)]


def search(cluster: Cluster, name: str, wanted: list[Disturbance], seed: int) -> MachineRun:
    """A search, and what happens in it. The driver's machine is not the head's."""
    driver_at = cluster.nodes[1]
    (folder := driver_at.folder / "runs").mkdir(exist_ok=True)
    scenario = Scenario(name, TRIALS, {}, (0, 0), confirm=1)
    env = {**cluster.env, "RAY_ADDRESS": f"{cluster.head.address}:6379"}
    run = MachineRun(folder, scenario, random.Random(seed), env, machine=driver_at, waiting=list(wanted))
    began = time.monotonic()
    while run.statuses[-1:] != [0] and len(run.statuses) < MAX_SITTINGS and run.error is None:
        driver = run.start(cluster.options)
        try:
            _sit(cluster, run, driver)
        finally:
            if driver.poll() is None:
                for process in psutil.Process(driver.pid).children(recursive=True):
                    process.kill()
                driver.kill()
            run.statuses.append(driver.wait())
        say(f"{name}: sitting {len(run.statuses)} ended with {run.statuses[-1]}")
        if run.statuses[-1] != 0:
            cluster.start_again()
    run.seconds = time.monotonic() - began
    return run


def _sit(cluster: Cluster, run: MachineRun, driver: subprocess.Popen[bytes]) -> None:
    """One sitting, up to its end; in its course one disturbance after another, each after new reports."""
    deadline, until, seen = time.monotonic() + DONE_WITHIN_S, 0.0, run.count_reports()
    what: Disturbance | None = None
    last = cluster.nodes[-1]
    while driver.poll() is None:
        time.sleep(0.5)
        if time.monotonic() > deadline:
            run.error = f"not done after {DONE_WITHIN_S:.0f} s"
            return
        if what is None:
            cluster.start_missing_nodes()
            if run.count_reports() < seen + REPORTS_BETWEEN:
                continue
            run.listeners = run.listeners or cluster.find_listeners()
            if run.waiting and cluster.has_worker(last):
                what, until = run.waiting.pop(0), time.monotonic() + LASTS_S
                run.begin(what, cluster.head if what.at_head else last)
        elif time.monotonic() > until:
            run.end(what, cluster.head if what.at_head else last)
            what, seen = None, run.count_reports()
    if what is not None:
        run.end(what, cluster.head if what.at_head else last)


def judge(
    run: MachineRun, undisturbed: MachineRun | None, wanted: list[Disturbance], tracking: str
) -> Verdict:
    """What came of a search. undisturbed: the same, without disturbances; None if it was not done."""
    name, sittings = run.scenario.name, len(run.statuses)
    if run.error is not None or run.statuses[-1:] != [0]:
        reason = run.error or f"the sittings ended with {run.statuses}"
        verdict = Verdict(name, {}, wrong=[reason], sittings=sittings)
    else:
        verdict = chaos_checks.judge(
            *(name, run.output, undisturbed and undisturbed.output, tracking, run.events, run.kills),
            *(1, chaos.CHECKPOINT_EVERY_S),
            same_scores=True,
        )
    verdict.sittings, verdict.seconds = sittings, run.seconds
    verdict.check(not run.waiting, f"did not come to: {[what.name for what in run.waiting]}")
    for what, finding in zip(wanted, run.findings, strict=False):
        run.read_told(finding, what.says)
        verdict.check(len(finding.told) == 1, f"{what.title}: not told in one line: {finding.told}")
    verdict.wrong += cluster_listeners.find_faults(run.listeners)
    return verdict


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[each.name for each in DISTURBANCES], action="append")
    parser.add_argument("--logs", type=Path, help="folder for what the driver printed")
    chosen = parser.parse_args(argv)
    if (obstacle := machines.find_obstacle()) is not None:
        print(f"skipped: no machines can be made here ({obstacle})")
        return 0
    machines.enter_namespaces([__file__, *argv])
    wanted = [each for each in DISTURBANCES if chosen.only is None or each.name in chosen.only]
    runs: list[MachineRun] = []
    with machines.started(4) as made:
        cluster = Cluster(made)
        with suppress(KeyboardInterrupt):  # then it reports on the searches that came to their end
            for name, happens in (("disturbed", wanted), ("undisturbed", [])):
                runs.append(search(cluster, name, happens, chosen.seed))
                if chosen.logs:
                    shutil.copy(runs[-1].log, chosen.logs)
                    shutil.copy(runs[-1].log.with_suffix(".jsonl"), chosen.logs)
                say(f"{judge(runs[-1], None, happens, cluster.tracking)}")
        if not runs:
            return 130
        calm = runs[1] if runs[1:] and runs[1].statuses[-1:] == [0] else None
        verdicts = [judge(run, calm, wanted, cluster.tracking) for run in runs[:1]]
        verdicts += [judge(run, None, [], cluster.tracking) for run in runs[1:]]
        verdicts[0].check(calm is not None, "not compared with a search that nobody disturbed")
    print(cluster_report.document(runs[0].findings, verdicts, runs[0].listeners, chosen.seed, LASTS_S))
    return int(any(verdict.wrong for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
