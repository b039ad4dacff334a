"""What a user would run instead: other tools' searches beside this one, what they take and what they find.

    pip install -c constraints.txt accelerate syne-tune==0.16.0
    python benchmarks/peers.py runs/peers --data ../glue --train-size 500    # 25 minutes on 2 cores
    python benchmarks/peers.py --trials 4 --steps 10 --train-size 320 --seeds 0    # a look, on built-in data

CoLA, so many configurations of learning rate, weight decay and warm-up, the same steps and the same
precision for all; a fifth of the examples is held out to select by, nothing is stopped early. The loops of
the others are in benchmarks/peer_loops.py. Of this project there are two: *vanilla, as they train* does what
they do, and nothing else; *DPS, its own search* is the default one over as many configurations: it stops
early, spends seeds on the best three, and here tunes and confirms no baseline.

This project begins with the published values, as it does by default; the others begin as they do by default.

- *seconds*: of the whole command, from its start to its end, on an idle machine. Ours also trains, with one
  fresh seed on all examples, what it chose, and keeps that model and a report; the others do not.
- *CPU seconds*: that the machine was busy meanwhile.
- *memory*: the largest sum over the command's processes of the memory that is theirs alone or their share of
  what they share (PSS), looked at every second.
- *true mean*: of the values that it would go on with, trained by this project with --seeds fresh seeds on all
  examples and scored on dev; the same seeds for all, so that differences are paired. Intervals are over seeds
  and examples: they are about what this one search of each tool chose, another one would choose anew.

What ended is not run again: the folder keeps it. A side that is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.heading import format_heading
from benchmarks.peer_loops import BATCH, LENGTH, LOOPS, RANGES, Setting
from tune.reporting.tables import format_markdown_table

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 3
OURS_PLAIN, OURS = "this project: vanilla, as they train", "this project: DPS, its own search"
LOG = "log.txt"
TRUE_COLUMNS = ("true mean, MCC x 100", "less ours (vanilla)")
LOOK_S = 1.0  # between two looks at the memory


@dataclass(frozen=True)
class Taken:
    """What a side took, and what it would go on with. memory: bytes."""

    seconds: float
    cpu_seconds: float
    memory: int
    values: dict[str, Any]


class MemoryWatch(threading.Thread):
    """The most memory that a process and its descendants had together."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.over = process, 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(LOOK_S):
            self.peak = max(self.peak, sum(map(_measure_memory, self._list_processes())))

    def _list_processes(self) -> list[psutil.Process]:
        try:
            return [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _measure_memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def run_measured(command: list[str], environment: dict[str, str], folder: Path) -> tuple[float, float, int]:
    """Run a command in a folder and return its seconds, the machine's busy seconds and the memory at its
    peak.

    Raises CalledProcessError where it fails; what it said is in the folder's log.txt.
    """
    busy, began = _measure_busy(), time.monotonic()
    with (folder / LOG).open("w", encoding="utf-8") as said:
        process = psutil.Popen(command, stdout=said, stderr=said, env=environment, cwd=folder)
        watch = MemoryWatch(process)
        watch.start()
        code = process.wait()
    seconds = time.monotonic() - began
    watch.over.set()
    if code:
        raise subprocess.CalledProcessError(code, command)
    return seconds, _measure_busy() - busy, watch.peak


def _measure_busy() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def make_setting(options: argparse.Namespace, size: int) -> Setting:
    """Hold out what our search with seed 0 would."""
    import torch

    from dps import sources
    from dps.models import PretrainedEncoder, locate_model
    from dps.tasks import registry
    from dps.training.config import FineTuneConfig
    from dps.training.data import TaskData, split_holdout

    task, model = registry.get_task("cola"), locate_model("builtin")
    data = TaskData(
        task, sources.open_data_source(options.data), PretrainedEncoder(model, task).tokenizer, LENGTH
    )
    parts = split_holdout(task, data.get_train_examples(size), FineTuneConfig.holdout_share, 0)
    rows = data.load_split("train")
    train, held = (
        [
            {"text": rows["sentence"][row], "label": int(label)}
            for row, label in zip(part.rows.tolist(), part.labels, strict=True)
        ]
        for part in parts
    )
    steps = options.steps or EPOCHS * -(-len(train) // BATCH)
    bf16 = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return Setting(str(model.path), train, held, options.trials, steps, bf16, seed=0)


def prepare_setting(options: argparse.Namespace, size: int) -> Setting:
    """Make the setting in another process: what this one loads, those that are measured would share."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(make_setting, (options, size))


def run_ours(folder: Path, name: str, options: argparse.Namespace, size: int, setting: Setting) -> Taken:
    """Run this project's search to its end."""
    space = {key: {"low": low, "high": high} for key, (low, high) in RANGES.items()}
    space["learning_rate"]["log"] = True  # type: ignore[assignment]
    output = folder / "search"
    command = [sys.executable, str(ROOT / "tune/search.py"), *list_options(options, size, setting)]
    command += ["--trials", str(setting.trials), "--space", json.dumps(space), "--baseline", "none"]
    command += ["--confirm", "1", "--output", str(output)]
    if name == OURS_PLAIN:
        command += ["--method", "vanilla", "--scheduler", "none", "--race", "0", "--evaluations", "1"]
    seconds, busy, memory = run_measured(command, dict(os.environ), folder)
    winner = json.loads((output / "search.json").read_text(encoding="utf-8"))["winner"]
    return Taken(seconds, busy, memory, winner["configuration"])


def list_options(options: argparse.Namespace, size: int, setting: Setting) -> list[str]:
    """Return what defines a run, for our own commands."""
    words = f"--task cola --train-size {size} --max-steps {setting.steps} --batch-size {BATCH} "
    words += f"--max-length {LENGTH} --tracking-uri none --model builtin"
    return [*words.split(), "--data", options.data]


def run_peer(folder: Path, name: str, setting: Setting) -> Taken:
    """Run a loop of another tool to its end."""
    file = folder / "setting.json"
    file.write_text(json.dumps(asdict(setting)), encoding="utf-8")
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PEER_SETTING": str(file),
        "SYNETUNE_FOLDER": str(folder / "syne-tune"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split()]),
    }
    environment.pop("OMP_NUM_THREADS", None)  # as a user would have it: each tool sets what it wants
    command = [sys.executable, str(ROOT / "benchmarks/peer_loops.py"), "--setting", str(file), "--loop", name]
    seconds, busy, memory = run_measured(command, environment, folder)
    said = (folder / LOG).read_text(encoding="utf-8").splitlines()
    values = next(json.loads(line) for line in reversed(said) if line.startswith("{"))
    return Taken(seconds, busy, memory, {"method": "vanilla", **values})


def find_missing() -> list[str]:
    """Return the sides whose tool is not installed."""
    return [side for side in LOOPS if "Syne" in side and find_spec("syne_tune") is None]


def run_sides(folder: Path, options: argparse.Namespace, size: int) -> dict[str, list[Taken]]:
    """Run every side, in turns."""
    setting = prepare_setting(options, size)
    subprocess.run([sys.executable, "-c", "import ray, torch, transformers"], check=True)  # from disk once
    sides = [OURS_PLAIN, *(side for side in LOOPS if side not in find_missing()), OURS]
    taken: dict[str, list[Taken]] = {side: [] for side in sides}
    for turn in range(options.turns):
        for number, side in enumerate(sides):
            place = folder / f"{size}-{number}-{turn}"
            kept = place / "taken.json"
            if not kept.is_file():
                place.mkdir(parents=True, exist_ok=True)
                print(f"{size} examples, turn {turn + 1}: {side}", file=sys.stderr, flush=True)
                ours = side in (OURS_PLAIN, OURS)
                found = (
                    run_ours(place, side, options, size, setting) if ours else run_peer(place, side, setting)
                )
                kept.write_text(json.dumps(asdict(found)), encoding="utf-8")
            taken[side].append(Taken(**json.loads(kept.read_text(encoding="utf-8"))))
    return taken


def find_true_means(
    folder: Path, options: argparse.Namespace, size: int, taken: dict[str, list[Taken]]
) -> dict[str, Any]:
    """Train what each side of the first turn would go on with, with fresh seeds; return what compare.json
    says of each side by name."""
    setting = prepare_setting(options, size)
    output = folder / f"{size}-true"
    if not (output / "compare.json").is_file():
        arms = {f"side-{number}": each[0].values for number, each in enumerate(taken.values())}
        file = folder / f"{size}-arms.yaml"
        file.write_text(json.dumps({"arms": arms}), encoding="utf-8")
        words = ["--tune", "none", "--confirm", str(options.seeds), "--seed", "5000"]
        begin = [
            *list_options(options, size, setting),
            "--config",
            str(file),
            *words,
            "--output",
            str(output),
        ]
        more = ["--resume", str(output)] if (output / "study.db").is_file() else begin
        subprocess.run([sys.executable, "tune/compare.py", *more], check=True, stdout=sys.stderr, cwd=ROOT)
    found = json.loads((output / "compare.json").read_text(encoding="utf-8"))
    methods = next(iter(found["results"].values()))["methods"]
    return dict(zip(taken, (methods[f"side-{number}"] for number in range(len(taken))), strict=True))


def report_size(taken: dict[str, list[Taken]], means: dict[str, Any], trials: int) -> str:
    """Return the table of one size, as Markdown. means: see `find_true_means`; empty without."""
    own = statistics.median(one.seconds for one in taken[OURS_PLAIN])
    rows = []
    for side, each in taken.items():
        seconds = statistics.median(one.seconds for one in each)
        rows.append(
            [
                side,
                f"{seconds:.0f}",
                f"{seconds / trials:.1f}",
                f"{own / seconds:.2f}",
                f"{statistics.median(one.cpu_seconds for one in each):.0f}",
                f"{max(one.memory for one in each) / 2**30:.1f}",
                *(_format_means(means[side]) if means else ()),
            ]
        )
    columns = ["search", "seconds", "a configuration", "ours (vanilla) / this", "CPU seconds", "memory, GiB"]
    return format_markdown_table([*columns, *(TRUE_COLUMNS if means else ())], rows)


def _format_means(found: dict[str, Any]) -> tuple[str, str]:
    """Return the true mean of a side and its difference to ours (vanilla), each with its interval."""
    difference = found["difference"]
    less = "-" if difference is None else _format_interval(difference["mean"], difference["interval"], "+")
    return _format_interval(found["mean"], found["interval"]), less


def _format_interval(mean: float, interval: tuple[float, float] | None, sign: str = "") -> str:
    if interval is None:
        return f"{100 * mean:{sign}.1f}"
    low, high = interval
    return f"{100 * mean:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="keeps what they wrote; else it is removed")
    parser.add_argument("--data", default="builtin", help="builtin, or a folder with GLUE files")
    parser.add_argument("--train-size", type=int, nargs="+", default=[500, 1000], help="training examples")
    parser.add_argument("--trials", type=int, default=16, help="configurations of each search")
    parser.add_argument("--steps", type=int, help=f"of a run; else {EPOCHS} epochs of it")
    parser.add_argument("--turns", type=int, default=1, help="how often each search runs; medians are shown")
    parser.add_argument(
        "--seeds", type=int, default=20, help="fresh seeds of what each goes on with; 0: none"
    )
    options = parser.parse_args()
    if options.data != "builtin":
        options.data = str(Path(options.data).absolute())  # each side runs in a folder of its own
    sizes = {}
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        for size in options.train_size:
            taken = run_sides(folder, options, size)
            means = find_true_means(folder, options, size, taken) if options.seeds else {}
            sizes[size] = report_size(taken, means, options.trials)
    head = format_heading("This project beside what a user would run instead", "python benchmarks/peers.py")
    print(head, *(__doc__ or "").split("\n\n")[2:-1], sep="\n\n")
    if find_missing():
        print(f"\nNot installed, so not compared: {', '.join(find_missing())}.")
    for size, table in sizes.items():
        print(f"\n## {size} examples, {options.trials} configurations\n\n{table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
