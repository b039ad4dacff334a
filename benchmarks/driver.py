"""What a search costs its driver: many slots, many reports a second, of workers that are simulated.

    python benchmarks/driver.py                          # two minutes on 2 cores
    python benchmarks/driver.py --slots 64 --trials 128 --a-second 10   # eight minutes there, 16 GB
    python benchmarks/driver.py --loop --slots 256 --trials 10000       # without Ray: the ledger grows

A whole `python tune/search.py` with all of it: TPE, ASHA, race, ledger, MLflow on
SQLite. Only the slots are made up: an actor each, as in a search, that makes up the scores of its job
instead of training, an evaluation at a time. Prints Markdown: the driver's CPU seconds (all its
threads; not Ray's own processes) in the seconds that all slots had work, and the reports that arrived of
those that were given. Exit status 1 where one was lost.

--loop leaves Ray out, and MLflow: the same calls of the same objects in the order in which Ray Tune makes
them, one report after the other. Prints what a report costs as the ledger grows, and then what a resume and
a report of it take, each a command of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import psutil

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import ray
import ray.tune

from benchmarks.heading import format_heading
from dps.training.result import Evaluation, Outcome, RunResult
from tune import execution, search, startup
from tune.core.run import Job, RunPurpose, RunReport
from tune.execution import connection, trainable
from tune.planning.cluster import Cluster, Node
from tune.strategy.phases import NoJob

ROOT = Path(__file__).resolve().parents[1]
EVALUATIONS = 6
MEMORY = 2.0**40  # bytes that the simulated node says it has
STEPS = 75


def scores(configuration: dict[str, Any], seed: int) -> list[tuple[int, float]]:
    """(step, score) at each evaluation of a made-up run: always the same, and different for all."""
    drawn = random.Random(f"{sorted(configuration.items())} {seed}")
    last = drawn.uniform(0.1, 0.6)
    shares = [(place + 1) / EVALUATIONS for place in range(EVALUATIONS)]
    return [(round(STEPS * share), last * share**0.5 + drawn.gauss(0.0, 0.02)) for share in shares]


class SimulatedTrial(ray.tune.Trainable):
    """Stands in for `tune.execution.trainable.SlotTrainable`: evaluations come `every` seconds."""

    every: float
    slot = "simulated"

    def setup(self, config: dict[str, Any], slot: Any) -> None:  # type: ignore[override]
        self.slot = self.trial_id
        self._take(config["job"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._take(new_config["job"])
        return True

    def _take(self, job: Job) -> None:
        self.job, self.began, self.given = job, time.time(), 0
        self.curve = scores(job.configuration, job.seed)
        if job.purpose == RunPurpose.CONFIRMATION:
            self.curve = self.curve[-1:]

    def step(self) -> dict[str, Any]:
        report = self.make_report()
        return {"done": report.is_last, "score": report.result.score, "report": report}

    def make_report(self) -> RunReport:
        """The next one, `every` seconds after the one before."""
        if self.given < len(self.curve):
            time.sleep(self.every)
            step, score = self.curve[self.given]
            self.given += 1
            evaluation = Evaluation(step, self.curve[-1][0], {}, None, 0.0, self.curve[: self.given])
            so_far = RunResult(scores=evaluation.curve, **self._timing())
            return RunReport(self.job.id, so_far, evaluation)
        score = self.curve[-1][1]
        confirms = self.job.purpose == RunPurpose.CONFIRMATION
        final = {"dev": {"matthews_correlation": score}} if confirms else {}
        done = {"scores": self.curve, "final": final, **self._timing()}
        return RunReport(self.job.id, RunResult(outcome=Outcome.COMPLETED, **done))

    def _timing(self) -> dict[str, Any]:
        seconds = time.time() - self.began
        return {"seconds": seconds, "began": self.began, "slot": self.slot}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing."""


def watched(over: threading.Event, samples: list[tuple[float, float]]) -> None:
    """Takes (time, CPU seconds of this process so far) twice a second."""
    me = psutil.Process()
    while not over.wait(0.5):
        used = me.cpu_times()
        samples.append((time.time(), used.user + used.system))


def run(setting: argparse.Namespace, output: Path) -> tuple[dict[str, Any], list[tuple[float, float]]]:
    """The search; what it found, and how the CPU seconds of its driver grew."""
    SimulatedTrial.every = setting.slots / setting.a_second
    trainable.SlotTrainable = SimulatedTrial  # type: ignore[assignment,misc]
    connection.read_local_resources = lambda: Cluster(None, (Node(float(setting.slots), 0.0, MEMORY),))
    ray.init = functools.partial(ray.init, num_cpus=setting.slots, _memory=MEMORY)
    options = f"--task cola --data builtin --model builtin --trials {setting.trials} --max-steps {STEPS} "
    options += f"--evaluations {EVALUATIONS} --max-concurrent {setting.slots} --output {output} --quiet"
    over, samples = threading.Event(), list[tuple[float, float]]()
    threading.Thread(target=watched, args=(over, samples), daemon=True).start()
    with contextlib.redirect_stdout(sys.stderr):
        status = search.main(options.split())
    over.set()
    if status:
        sys.exit(f"the search ended with status {status}")
    return json.loads((output / "search.json").read_text(encoding="utf-8")), samples


class Loop:
    """Stands in for `tune.execution.run_trials`: reports come one after the other, of slots in turn.

    rows: at the start and about ten times: runs that ended, reports, CPU seconds for both ends of runs, CPU
        seconds for the reports in between, bytes of memory.
    resumed: CPU seconds of this process before the first question for a run.
    """

    def __init__(self, slots: int, every: int) -> None:
        self.slots, self.every, self.runs, self.reports = slots, every, 0, 0
        self.spent = {"run": 0.0, "report": 0.0}
        self.rows: list[tuple[int, int, float, float, int]] = []
        self.resumed = 0.0

    def __call__(self, jobs: Any, *rest: Any) -> None:
        self.resumed = time.process_time()
        connection.freeze_imported_objects()  # garbage is collected from here on, as in a search
        self._note()
        running: deque[tuple[str, SimulatedTrial]] = deque()
        names, ended = itertools.count(), False
        while not ended or running:
            while len(running) < self.slots and not ended:
                name = str(next(names))
                job = self._time("run", jobs.next_job, name)
                ended = job == NoJob.EVER
                if not isinstance(job, Job):
                    break
                trial = SimulatedTrial.__new__(SimulatedTrial)  # as in a slot's actor, but here
                trial._take(job)
                running.append((name, trial))
            if running:
                self._take_report(jobs, running)
        jobs.raise_first_error()
        self._note()

    def _take_report(self, jobs: Any, running: deque[tuple[str, SimulatedTrial]]) -> None:
        """Let the slot whose turn it is report, as `SearchScheduler` and `TuneSearcher` pass it on."""
        name, trial = running.popleft()
        report = trial.make_report()
        if report.is_last or self._time("report", jobs.is_behind, name, trial.job, report):
            self._time("run", jobs.end_run, name, report)
            self.runs += 1
            if self.runs % self.every == 0:
                self._note()
            return
        self._time("report", jobs.take_report, name, report)
        self.reports += 1
        running.append((name, trial))

    def _time(self, what: str, call: Any, *arguments: Any) -> Any:
        began = time.process_time()
        try:
            return call(*arguments)
        finally:
            self.spent[what] += time.process_time() - began

    def _note(self) -> None:
        memory = psutil.Process().memory_info().rss
        self.rows.append((self.runs, self.reports, *self.spent.values(), memory))
        print(f"{self.runs:,} runs, {sum(self.spent.values()):.0f} CPU seconds", file=sys.stderr, flush=True)


def run_loop(setting: argparse.Namespace, output: Path) -> Loop:
    """A search, or one that is resumed, without Ray."""
    SimulatedTrial.every, loop = 0.0, Loop(setting.slots, max(10, setting.trials // 10))
    node = Cluster(None, (Node(float(setting.slots), 0.0, MEMORY),))
    connection.read_local_resources = connection.connect_to_cluster = lambda: node
    startup.run_preflight_checks = lambda plan, output: []
    execution.run_trials = loop
    options = (
        f"--resume {output} --quiet"
        if (output / "study.db").exists()
        else (
            f"--task cola --data builtin --model builtin --trials {setting.trials} --max-steps {STEPS} "
            f"--evaluations {EVALUATIONS} --max-concurrent {setting.slots} --output {output} --quiet "
            f"--baseline none --tracking-uri none"
        )
    )
    with contextlib.redirect_stdout(sys.stderr):
        status = search.main(options.split())
    if status:
        sys.exit(f"the search ended with status {status}")
    return loop


def print_loop(setting: argparse.Namespace, folder: Path) -> None:
    """Print what a search, its resume and its report cost, as Markdown."""
    output = folder / "simulated"
    loop = run_loop(setting, output)
    print(format_heading("What a search costs its driver", "python benchmarks/driver.py"))
    print(
        f"\n{setting.slots} slots, {setting.trials:,} trials of {EVALUATIONS} evaluations, "
        f"without Ray and MLflow.\n"
    )
    print(
        "| runs that ended | CPU ms a run, its two ends | CPU ms a report | memory, MB |\n|---|---|---|---|"
    )
    for before, after in itertools.pairwise(loop.rows):
        runs, reports, of_runs, of_reports, _ = (new - old for new, old in zip(after, before, strict=True))
        costs = f"{1000 * of_runs / max(1, runs):.1f} | {1000 * of_reports / max(1, reports):.2f}"
        print(f"| {after[0]:,} | {costs} | {after[-1] / 1e6:.0f} |")
    print("\n| | CPU seconds |\n|---|---|")
    again = [sys.executable, __file__, "--loop", "--slots", str(setting.slots), "--folder", str(folder)]
    said = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True).stdout
    print(f"| a resume, from the command to its first question for a run | {float(said):.1f} |")
    before = os.times()
    subprocess.run([sys.executable, ROOT / "tune/report.py", output], stdout=sys.stderr, check=True)
    after = os.times()
    seconds = sum(after[2:4]) - sum(before[2:4])
    print(f"| `python tune/report.py` | {seconds:.1f} |")
    for name in ("study.db", "search.json", "report.html"):
        print(f"| {name} | {(output / name).stat().st_size / 1e6:.1f} MB |")


def lost(found: dict[str, Any]) -> int:
    """Evaluations of the trials and of the race that are not in the ledger: one in the middle of a curve, or
    at the end of one that was not stopped."""
    missing = 0
    for record in [*found["trials"], *found["race_runs"]]:
        given = scores(record["configuration"], record["seed"])
        have = [tuple(point) for point in record["scores"]]
        expected = given if record["outcome"] == "completed" else given[: len(have)]
        missing += sum(point not in have for point in map(tuple, expected))
    return missing


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slots", type=int, default=6)
    parser.add_argument("--trials", type=int, default=18)
    parser.add_argument("--a-second", type=float, default=6.0, help="reports, of all slots together")
    parser.add_argument("--loop", action="store_true", help="without Ray, and with a resume and a report")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # of a search to resume
    setting = parser.parse_args()
    if setting.folder:
        print(run_loop(setting, setting.folder / "simulated").resumed)
        return 0
    if setting.loop:
        with tempfile.TemporaryDirectory(prefix="driver-") as folder:
            print_loop(setting, Path(folder))
        return 0
    os.environ["RAY_DISABLE_MEMORY_MONITOR"] = "1"
    with tempfile.TemporaryDirectory(prefix="driver-") as folder:
        found, samples = run(setting, Path(folder) / "runs/simulated")
    ran = [*found["trials"], *found["race_runs"]]
    first = sorted(record["began"] for record in ran)[setting.slots - 1]
    last = sorted(record["ended"] for record in found["trials"])[-setting.slots]
    within = [(at, used) for at, used in samples if first <= at <= last]
    (began, used), (ended, used_up) = within[0], within[-1]
    reports = sum(
        first <= record["began"] + (place + 1) * SimulatedTrial.every <= last
        for record in ran
        for place in range(len(record["scores"]))
    )
    missing = lost(found)
    print(
        f"{setting.slots} slots, {len(found['trials'])} trials, {len(found['race_runs'])} runs of the race\n"
    )
    print("| | |\n|---|---|")
    print(f"| seconds with work for every slot | {ended - began:.0f} |")
    print(f"| reports a second | {reports / (ended - began):.1f} |")
    print(f"| the driver's CPU seconds a second | {(used_up - used) / (ended - began):.2f} |")
    print(f"| reports in the ledger | {sum(len(record['scores']) for record in ran)} |")
    print(f"| reports lost | {missing} |")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
