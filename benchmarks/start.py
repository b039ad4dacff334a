"""How long the commands take to answer, and what of it is imports.

    python benchmarks/start.py                       # a minute: seconds, and what a plan imports
    python benchmarks/start.py --against ../other    # beside another checkout, in turns

CPU seconds of the process, all of its threads, and wall seconds: medians. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("--help", "--task cola --data builtin --dry-run")
LARGEST = 12  # libraries that are listed
IMPORT_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(\w+)")


def time_command(root: Path, options: str) -> tuple[float, float]:
    """Run `tune/search.py` of a checkout; return its CPU and wall seconds."""
    before, began = os.times(), time.monotonic()
    command = [sys.executable, str(root / "tune/search.py"), *options.split()]
    subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4]), time.monotonic() - began


def list_imports(root: Path, options: str) -> Counter[str]:
    """Return the seconds that modules of each top-level package take to import, by its name."""
    command = [sys.executable, "-X", "importtime", str(root / "tune/search.py"), *options.split()]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stderr
    spent: Counter[str] = Counter()
    for microseconds, package in IMPORT_LINE.findall(said):
        spent[package] += int(microseconds)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--turns", type=int, default=5)
    setting = parser.parse_args()
    sides = {"here": ROOT, **({"there": setting.against.resolve()} if setting.against else {})}
    print("| | CPU seconds | wall seconds |\n|---|---|---|")
    for options in COMMANDS:
        taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for _ in range(setting.turns):
            for side, root in sides.items():
                taken[side].append(time_command(root, options))
        for side, pairs in taken.items():
            cpu, wall = map(statistics.median, zip(*pairs, strict=True))
            print(f"| `{options}`, {side} | {cpu:.2f} | {wall:.2f} |")
    print(f"\nImports of `{COMMANDS[-1]}`, seconds of the process while it is watched:\n")
    found = {side: list_imports(root, COMMANDS[-1]) for side, root in sides.items()}
    names = [name for name, _ in sum(found.values(), Counter[str]()).most_common(LARGEST)]
    print(f"| | {' | '.join(sides)} |\n|---{'|---' * len(sides)}|")
    for name in names:
        print(f"| {name} | {' | '.join(f'{spent[name] / 1e6:.2f}' for spent in found.values())} |")
    print(f"| all | {' | '.join(f'{spent.total() / 1e6:.2f}' for spent in found.values())} |")


if __name__ == "__main__":
    main()
