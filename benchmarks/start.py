"""How long the commands take to answer, what of it is imports, and when a search takes its first step.

    python benchmarks/start.py                       # two minutes on 2 cores
    python benchmarks/start.py --against ../other    # beside another checkout, in turns

CPU seconds of the process, all of its threads, and wall seconds: medians. Of a short search of the built-in
model and data: the seconds from the command to its first step, and those from the end of a trial to the first
step of the next in its slot. Prints Markdown.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.heading import format_heading

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("--help", "--task cola --data builtin --dry-run")
LARGEST = 12  # libraries that are listed
SEARCH = (
    "--task cola --data builtin --model builtin --method vanilla --trials 8 --max-steps 10 --train-size 320 "
    "--evaluations 1 --scheduler none --race 0 --baseline none --confirm 1 --tracking-uri none"
)
IMPORT_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(\w+)")


def time_command(root: Path, options: str) -> tuple[float, float]:
    """Run `tune/search.py` of a checkout; return its CPU and wall seconds."""
    before, began = os.times(), time.monotonic()
    command = [sys.executable, str(root / "tune/search.py"), *options.split()]
    subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4]), time.monotonic() - began


def time_search(root: Path) -> tuple[float, float]:
    """Search with a checkout; return the seconds to its first step, and the median of those between the end
    of a trial and the first step of the next in its slot."""
    with tempfile.TemporaryDirectory(prefix="start-") as folder:
        output, began = Path(folder) / "out", time.time()
        command = [sys.executable, str(root / "tune/search.py"), *SEARCH.split(), "--output", str(output)]
        subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=True)
        trials = json.loads((output / "search.json").read_text(encoding="utf-8"))["trials"]
    slots: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        slots.setdefault(trial["slot"], []).append((trial["began"], trial["began"] + trial["seconds"]))
    gaps = [
        following[0] - ended
        for runs in map(sorted, slots.values())
        for (_, ended), following in itertools.pairwise(runs)
    ]
    return min(trial["began"] for trial in trials) - began, statistics.median(gaps)


def list_imports(root: Path, options: str) -> Counter[str]:
    """Return the seconds that modules of each top-level package take to import, by its name."""
    command = [sys.executable, "-X", "importtime", str(root / "tune/search.py"), *options.split()]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stderr
    spent: Counter[str] = Counter()
    for microseconds, package in IMPORT_LINE.findall(said):
        spent[package] += int(microseconds)
    return spent


def time_sides(
    measure: Callable[[Path], tuple[float, float]], sides: dict[str, Path], turns: int
) -> dict[str, list[tuple[float, float]]]:
    """Measure each checkout so often, in turns."""
    taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(turns):
        for side, root in sides.items():
            taken[side].append(measure(root))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--turns", type=int, default=5)
    setting = parser.parse_args()
    sides = {"here": ROOT, **({"there": setting.against.resolve()} if setting.against else {})}
    print(format_heading("How long the commands take to answer", "python benchmarks/start.py"))
    print("\n| | CPU seconds | wall seconds |\n|---|---|---|")
    for options in COMMANDS:
        taken = time_sides(functools.partial(time_command, options=options), sides, setting.turns)
        for side, pairs in taken.items():
            cpu, wall = map(statistics.median, zip(*pairs, strict=True))
            print(f"| `{options}`, {side} | {cpu:.2f} | {wall:.2f} |")
    print(
        "\n| | seconds to the first step | from a trial's end to the next one's first step |\n|---|---|---|"
    )
    for side, pairs in time_sides(time_search, sides, setting.turns).items():
        first, gap = map(statistics.median, zip(*pairs, strict=True))
        print(f"| {side} | {first:.1f} | {gap:.2f} |")
    print(f"\nImports of `{COMMANDS[-1]}`, seconds of the process while it is watched:\n")
    found = {side: list_imports(root, COMMANDS[-1]) for side, root in sides.items()}
    names = [name for name, _ in sum(found.values(), Counter[str]()).most_common(LARGEST)]
    print(f"| | {' | '.join(sides)} |\n|---{'|---' * len(sides)}|")
    for name in names:
        print(f"| {name} | {' | '.join(f'{spent[name] / 1e6:.2f}' for spent in found.values())} |")
    print(f"| all | {' | '.join(f'{spent.total() / 1e6:.2f}' for spent in found.values())} |")


if __name__ == "__main__":
    main()
