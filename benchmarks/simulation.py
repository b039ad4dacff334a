"""What a simulated search costs: the bookkeeping of a trial, and how much faster than real time it is.

    python benchmarks/simulation.py                 # seven minutes; a third of that with --repeats 1

Prints Markdown. Every line is a whole search on a synthetic surface, with ASHA, and with random proposals but
for the last: searcher, ledger, stop policy and stop rules are those of a real search, runs are looked up.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.simulator import Simulation, Slot, simulate
from benchmarks.synthetic import Surface
from tune.core.run import RunPurpose, RunSettings
from tune.planning import space_options
from tune.strategy.budget import SlotCount, TrialLimit, WallTimeLimit
from tune.strategy.race import RaceSettings
from tune.strategy.strategy import Strategy

DAY = 86_400.0
SETTINGS = RunSettings("cola", "synthetic", "synthetic", 3, None, 16, 64, None, "auto", 6, "holdout")
SPACE = space_options.build_search_space(("dps-dense",), "gradient", 22_000_000, 75)


def search(
    trials: int, slots: int, run_seconds: float, seconds: float | None = None, **changes: Any
) -> Simulation:
    """One search of so many trials, or of so many seconds of the virtual clock."""
    strategy = Strategy(
        space=SPACE,
        settings=SETTINGS,
        direction="max",
        sampler="random",
        seed=0,
        design_size=trials,
        confirmation_seeds=5,
        slots=SlotCount(slots),
        stop_rules=[WallTimeLimit(seconds) if seconds else TrialLimit(trials)],
        folder="nowhere",
    )
    strategy = replace(strategy, **changes)
    return simulate(
        strategy, Surface(SPACE, at=[0.5, 0.5, 0.5], seconds=run_seconds), "asha", [Slot()] * slots
    )


def line(
    repeats: int,
    name: str,
    trials: int,
    slots: int,
    run_seconds: float,
    seconds: float | None = None,
    **changes: Any,
) -> str:
    """A row of the table, of medians."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        made = search(trials, slots, run_seconds, seconds, **changes)
        taken.append(time.perf_counter() - began)
    wall, count = statistics.median(taken), len(made.ledger.records(RunPurpose.SEARCH))
    return (
        f"| {name} | {slots:,} | {run_seconds:g} | {count:,} | {made.clock.now:,.0f} | {wall:.1f} | "
        f"{1000 * wall / count:.2f} | {made.clock.now / wall:,.0f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="of each search (3)")
    repeats = parser.parse_args().repeats
    print(
        "| search | slots | seconds of a run | trials | virtual seconds | seconds taken | ms a trial | "
        "times faster |\n|---|---|---|---|---|---|---|---|"
    )
    print(line(repeats, "10,000 trials", 10_000, 1000, 300), flush=True)
    print(line(repeats, "a day", 0, 8, 300, DAY), flush=True)
    print(line(repeats, "a day of short runs", 0, 8, 60, DAY), flush=True)
    learning = {
        "sampler": "tpe",
        "race_settings": RaceSettings(6),
        "first_configurations": SPACE.list_published(),
        "chance": 0.0,
    }
    print(line(repeats, "300 trials, tpe and a race", 300, 8, 300, **learning), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
