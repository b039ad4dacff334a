"""Kill whatever a search is made of, at random moments, until it is done; then count what was lost.

    python benchmarks/chaos.py > benchmarks/chaos_2-cores_2026-11-29.md        # or: make chaos
    python benchmarks/chaos.py --only driver --kills 3                         # one search, fewer kills

SIGKILL to workers, to one of two DDP workers, to trial actors, to the driver, to the head of the driver's own
Ray, to a node of a two-node cluster. Moments, kinds and victims are drawn with --seed. Exit status 1 where a
check fails. Prints Markdown; what happens meanwhile goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import chaos_checks
from benchmarks.chaos_checks import Event, Kill, Verdict

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT_EVERY_S = 1.0
CONFIRM = 3
SEARCH = (
    *("--task", "cola", "--sampler", "random", "--scheduler", "none", "--race", "0", "--baseline", "none"),
    *("--batch-size", "8", "--max-steps", "400", "--evaluations", "8"),
    *("--precision", "fp32"),  # the same on one machine and on a cluster
)
ACTIVE_WITHIN_S = 240.0
HEAD_IS_MISSED_WITHIN_S = 45.0
SITTINGS = 40


@dataclass(frozen=True)
class Scenario:
    """A search and what is killed in it. kinds: the order is shuffled; pause: seconds between two kills, at
    least and at most."""

    name: str
    trials: int
    kinds: dict[str, int]
    pause: tuple[float, float]
    options: tuple[str, ...] = ()
    nodes: int = 0  # of a cluster made for it; 0: the driver starts a Ray of its own
    confirm: int = CONFIRM


SCENARIOS = (
    Scenario("workers", 40, {"worker": 30, "trial actor": 9}, (0.5, 3.5)),
    Scenario("ddp", 6, {"one of two DDP workers": 4}, (1.0, 6.0), ("--workers-per-trial", "2")),
    Scenario("driver", 10, {"driver": 4, "head": 1}, (1.0, 6.0)),
    Scenario("node", 8, {"raylet of a node": 2}, (2.0, 8.0), nodes=2),
)


@dataclass
class Run:
    """A search on its way: sittings, kills, what it said."""

    folder: Path
    scenario: Scenario
    random: random.Random
    env: dict[str, str]
    kills: list[Kill] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    below: dict[int, psutil.Process] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None  # why it did not get to its end

    @property
    def output(self) -> Path:
        return self.folder / self.scenario.name

    @property
    def events(self) -> list[Event]:
        return chaos_checks.read_events(self.folder / f"{self.scenario.name}.jsonl")

    def command(self, common: tuple[str, ...]) -> list[str]:
        """The command of another sitting."""
        command = [sys.executable, __file__, "--drive", str(self.folder / f"{self.scenario.name}.jsonl")]
        if self.statuses:
            return [*command, "--resume", str(self.output)]
        trials = ("--trials", str(self.scenario.trials), "--confirm", str(self.scenario.confirm))
        return [*command, *SEARCH, *common, *trials, *self.scenario.options, "--output", str(self.output)]

    def start(self, common: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """Another sitting."""
        with (self.folder / f"{self.scenario.name}.log").open("ab") as log:
            env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **self.env}
            return subprocess.Popen(
                self.command(common), cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT
            )

    def processes(self, driver: subprocess.Popen[bytes], word: str) -> list[psutil.Process]:
        """Return the processes of the search with this word in their command line, by id."""
        try:
            own = psutil.Process(driver.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.below |= {process.pid: process for process in own}
        return sorted((p for p in own if word in get_command(p)), key=lambda p: p.pid)


def get_command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


WORDS = {
    "worker": "ray::RayTrainWorker",
    "one of two DDP workers": "ray::RayTrainWorker",
    "trial actor": "ray::ResourceTrainable",  # what Tune makes of the trainable
}


def strike(run: Run, driver: subprocess.Popen[bytes], kind: str, nodes: Nodes | None) -> bool:
    """One kill of this kind; False where there is nothing of the kind at the moment."""
    if kind == "driver":
        run.processes(driver, "")  # remembered, to see them go
        driver.kill()
    elif kind == "head":
        head = [p for word in ("gcs_server", "raylet/raylet") for p in run.processes(driver, word)]
        if len(head) < 2:
            return False
        _kill(head)
    elif kind == "raylet of a node":
        assert nodes is not None
        nodes.kill_one()
    else:
        found = run.processes(driver, WORDS[kind])
        if not found:
            return False
        _kill([run.random.choice(found)])
    run.kills.append(Kill(time.time(), kind))
    say(f"{run.scenario.name}: kill {len(run.kills)}, {kind}")
    return True


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def until_done(run: Run, common: tuple[str, ...], nodes: Nodes | None) -> None:
    """Sitting after sitting, until one ends with status 0. Raises RuntimeError where none does."""
    kinds = [kind for kind, count in run.scenario.kinds.items() for _ in range(count)]
    run.random.shuffle(kinds)
    while True:
        driver = run.start(common)
        try:
            run.statuses.append(sitting(run, driver, kinds, nodes))
        finally:
            driver.kill()
            driver.wait()
        say(f"{run.scenario.name}: sitting {len(run.statuses)} ended with {run.statuses[-1]}")
        if run.statuses[-1] == 0:
            return
        if len(run.statuses) == SITTINGS:
            raise RuntimeError(f"{run.scenario.name} is not done after {SITTINGS} sittings: {run.statuses}")


def sitting(run: Run, driver: subprocess.Popen[bytes], kinds: list[str], nodes: Nodes | None) -> int:
    """One sitting, with kills from `kinds`; returns its exit status. Between two kills some run reports."""
    heard = time.monotonic()  # of a report; or since it was last waited for
    seen = len(run.events)
    due: float | None = None
    head_died: float | None = None
    while driver.poll() is None:
        time.sleep(0.1)
        now = time.monotonic()
        if head_died is not None:
            if now - head_died > HEAD_IS_MISSED_WITHIN_S:  # a user would lose patience too
                driver.kill()
        elif due is None:
            if any(event.what == "reported" for event in run.events[seen:]):
                heard, due = now, now + run.random.uniform(*run.scenario.pause)
            elif now - heard > ACTIVE_WITHIN_S:
                raise RuntimeError(f"{run.scenario.name}: nothing was reported for {ACTIVE_WITHIN_S:.0f} s")
        elif now >= due:
            due, seen, heard = None, len(run.events), now
            kind = kinds.pop(0) if kinds else None
            if kind is not None and not strike(run, driver, kind, nodes):
                kinds.append(kind)
            elif kind == "head":
                head_died = now
    return driver.wait()


class Nodes:
    """A two-node cluster of `ray start`, whose second node is killed and replaced."""

    def __init__(self, folder: Path) -> None:
        from tests.integration import test_cluster

        self.cluster, self.folder = test_cluster, folder
        free = test_cluster.free_port
        self.env = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_raylet_start_wait_time_s": "120",
        }
        self.env.pop("RAY_ADDRESS", None)
        ports = [str(free()) for _ in range(3)]
        head = [
            "--head",
            "--port",
            ports[0],
            "--dashboard-port",
            ports[1],
            "--ray-client-server-port",
            ports[2],
        ]
        said = self._start(*head, "--temp-dir", str(folder))
        found = re.search(r"--address='([^']+)'", said)
        assert found, said
        self.address = found[1]
        self.head = self._raylets()
        self._start("--address", self.address)

    def _start(self, *options: str) -> str:
        return self.cluster.ray_start(self.env, *options, "--num-cpus", "1")

    def _raylets(self) -> set[int]:
        mine = [p for p in Path("/proc").iterdir() if p.name.isdigit() and self.cluster.of(p, self.folder)]
        return {int(p.name) for p in mine if b"raylet/raylet" in (p / "cmdline").read_bytes().split(b"\0")[0]}

    def kill_one(self) -> None:
        """SIGKILL to the raylet that is not the head's; another node joins."""
        for pid in self._raylets() - self.head:
            os.kill(pid, signal.SIGKILL)
        self._start("--address", self.address)

    def end(self) -> None:
        self.cluster.end_processes_of(self.folder)


@contextmanager
def cluster(scenario: Scenario) -> Iterator[Nodes | None]:
    """The cluster that the scenario asks for."""
    if not scenario.nodes:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        nodes = Nodes(Path(folder))
        try:
            yield nodes
        finally:
            nodes.end()


def one(scenario: Scenario, folder: Path, common: tuple[str, ...], seed: int) -> Run:
    """The scenario from its first sitting to its last."""
    with cluster(scenario) as nodes:
        env = {"RAY_gcs_rpc_server_reconnect_timeout_s": "10", "RAY_worker_niceness": "0"}
        if nodes is not None:
            names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
            env |= {"RAY_ADDRESS": nodes.address} | {name: nodes.env[name] for name in names}
            common = (*common, "--storage", str(folder / "seen-by-all"))
        run = Run(folder, scenario, random.Random(f"{seed} {scenario.name}"), env)
        began = time.monotonic()
        try:
            until_done(run, common, nodes)
        except RuntimeError as error:
            run.error = str(error)
        run.seconds = time.monotonic() - began
    return run


def drive(events: Path, argv: list[str]) -> int:
    """The search, with checkpoints at short intervals, and a line for everything that it hears of."""
    from tune import search
    from tune.console import progress
    from tune.execution import tuner

    tuner.CHECKPOINT_INTERVAL_S = CHECKPOINT_EVERY_S

    class Noting(progress.ProgressDisplay):
        def trial_started(self, record: object) -> None:
            chaos_checks.note(events, "started", record)
            super().trial_started(record)  # type: ignore[arg-type]

        def trial_reported(self, record: object, report: object) -> None:
            chaos_checks.note(events, "reported", record, report)
            super().trial_reported(record, report)  # type: ignore[arg-type]

        def trial_ended(self, record: object) -> None:
            chaos_checks.note(events, "ended", record)
            super().trial_ended(record)  # type: ignore[arg-type]

    progress.ProgressDisplay = Noting  # type: ignore[misc]
    return search.main(argv)


def say(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    if argv[:1] == ["--drive"]:
        return drive(Path(argv[1]), argv[2:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[scenario.name for scenario in SCENARIOS], action="append")
    parser.add_argument("--kills", type=int, help="of each kind, at most")
    parser.add_argument(
        "--keep", type=Path, help="folder for the searches: kept, and those in it not done again"
    )
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="chaos-") as made:
        folder = chosen.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        common = chaos_checks.tiny_search(folder)
        most = max(scenario.trials for scenario in SCENARIOS)
        calm = Scenario("undisturbed", most, {}, (0.0, 0.0))
        if (folder / calm.name / "search.json").exists():  # of a run before, with --keep
            undisturbed = Run(folder, calm, random.Random(), {})
        else:
            undisturbed = one(calm, folder, common, chosen.seed)
        verdicts = []
        for scenario in SCENARIOS:
            if chosen.only and scenario.name not in chosen.only:
                continue
            kept = folder / f"{scenario.name}.verdict.json"
            if not kept.exists():
                kinds = {kind: min(count, chosen.kills or count) for kind, count in scenario.kinds.items()}
                run = one(replace(scenario, kinds=kinds), folder, common, chosen.seed)
                kept.write_text(json.dumps(vars(judged(run, undisturbed, folder))), encoding="utf-8")
            verdicts.append(Verdict(**json.loads(kept.read_text(encoding="utf-8"))))
    steps = int(SEARCH[SEARCH.index("--max-steps") + 1])
    seconds = sum(verdict.seconds for verdict in verdicts)
    print(chaos_checks.document(verdicts, chosen.seed, seconds, steps, CHECKPOINT_EVERY_S))
    return int(any(verdict.wrong for verdict in verdicts))


def judged(run: Run, undisturbed: Run, folder: Path) -> Verdict:
    if run.error is not None:
        say(run.error)
        kills = dict(Counter(kill.kind for kill in run.kills))
        return Verdict(run.scenario.name, kills, sittings=len(run.statuses), wrong=[run.error])
    _, left = psutil.wait_procs(list(run.below.values()), timeout=60)
    verdict = chaos_checks.judge(
        run.scenario.name,
        run.output,
        undisturbed.output,
        f"sqlite:///{folder}/mlflow.db",
        run.events,
        run.kills,
        CONFIRM,
        CHECKPOINT_EVERY_S,
        same_scores=run.scenario.name != "ddp",  # sums over two workers are rounded otherwise
    )
    if left:
        verdict.wrong.append(f"{len(left)} processes are left: {[get_command(p)[:60] for p in left][:5]}")
    verdict.sittings, verdict.seconds = len(run.statuses), run.seconds
    for wrong in verdict.wrong:
        say(f"{run.scenario.name}: WRONG: {wrong}")
    return verdict


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
