"""How good is what a search chooses? Whole searches over recorded tables, at equal cost. Prints Markdown.

    python benchmarks/search_quality.py                        # every table in benchmarks/tables
    python benchmarks/search_quality.py --quick                # a look at it, in seconds

Every replay is a whole search within a budget of mean full runs of its table (counted in
forward-backward passes over an example), five of which are for confirming what it chooses. Strategies are
paired: the same replay has the same seeds, the same reflection and the same re-drawing for all.

- *recorded*: the table as it was recorded. Half of its seeds select, the other half is the truth.
- *re-drawn*: twelve such tables with other seeds (`benchmarks.recorded.Table.redraw`), whose truth is known.
- *reflected*: parameter ranges mirrored, others in each replay, so that the published values lie anywhere.
- *regret*: the best true mean of the table less that of the choice, in points. Where the truth is that of few
  seeds, the best is lucky: regrets of *recorded* are too high, by as much for every strategy.
- *share*: regret as a share of that of a configuration drawn at random, so that each table counts the same
  whatever its metric; the summary over tables goes by it.
- *optimism*: the score by which the configuration was chosen less its true mean, before confirming.
- "begun alike": with the published values, as ours begins.
- *ours* explores within the budget, without a limit on the trials, as `--trials 1000 --cpu-hours H` does;
  *ours by default* has the trials and the race of a search without options, and takes what they take,
  whatever the budget is.
- ± is 1.96 standard errors: over the replays of the table as it was recorded, over the tables re-drawn of it
  for those. Intervals in brackets resample tables and recordings (the recorded one and the re-drawn ones),
  not replays: how far other seeds would move the mean, and other tables, as far as so few can say it.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process for each core

import numpy as np
from numpy.typing import NDArray

from benchmarks.heading import format_heading
from benchmarks.libraries import find_missing
from benchmarks.replays import OURS, REDRAWN_SEEDS, Replayed, list_strategies, read_table, replay_recording

TABLES = Path(__file__).parent / "tables"
STRATEGY = Path(__file__).resolve().parents[1] / "tune/strategy"
PARTS = ("proposals", "early_stopping", "race")  # of it that decide what runs
RESAMPLES = 4000
GROUNDS = ("recorded", "recorded, reflected", "re-drawn", "re-drawn, reflected")
SHOWN = (
    "task",
    "train_size",
    "epochs",
    "max_steps",
    "max_length",
    "trials",
    "seeds",
    "evaluations",
    "sampler",
)
Floats = NDArray[np.float64]
Found = dict[tuple[int, bool], list[Replayed]]  # replays by recording (0: the recorded one) and reflection


@dataclass(frozen=True)
class Extent:
    """How much is replayed. replays: of each of GROUNDS, those of re-drawn tables shared among so many
    re-drawings; costly: one in so many for strategies that take seconds a replay, 0 for none of them."""

    replays: int = 300
    redrawings: int = 12
    costly: int = 12

    def count(self, recording: int, is_costly: bool) -> int:
        """Return the number of replays of a recording, reflected or not."""
        shared = self.replays // (self.redrawings if recording else 1)
        return max(1 if recording else 2, shared // (self.costly if is_costly else 1))


QUICK = Extent(replays=4, redrawings=2, costly=0)


def split_grounds(found: Found) -> list[list[list[Replayed]]]:
    """Return the replays of each of GROUNDS, by recording."""
    return [
        [each for (recording, mirrored), each in found.items() if (recording > 0, mirrored) == kind]
        for kind in ((False, False), (False, True), (True, False), (True, True))
    ]


def average_recordings(found: Found, less: Found | None = None) -> Floats:
    """Return the mean regret of each recording over its reflections, the recorded one first; with `less`
    the mean difference to those of another strategy, over the replays that both have."""
    means: dict[int, list[float]] = {}
    for (recording, mirrored), replays in found.items():
        others = replays if less is None else less[recording, mirrored]
        pairs = zip(replays, others, strict=False)
        means.setdefault(recording, []).append(
            statistics.fmean(one.regret - (0.0 if less is None else other.regret) for one, other in pairs)
        )
    return np.array([statistics.fmean(means[recording]) for recording in sorted(means)])


def resample(recordings: Sequence[Floats]) -> tuple[float, float, float]:
    """Return the mean over tables, with a 95 % interval over tables and recordings.

    recordings: for each table its recordings' means, the recorded one first, which counts as much as all that
    were re-drawn and varies as one of them does.
    """
    rng = np.random.default_rng(0)
    real, drawn = np.array([each[0] for each in recordings]), np.array([each[1:] for each in recordings])
    tables = rng.integers(len(real), size=(RESAMPLES, len(real)))
    again = rng.integers(drawn.shape[1], size=(*tables.shape, drawn.shape[1]))
    one = rng.integers(drawn.shape[1], size=tables.shape)
    luck = drawn - drawn.mean(axis=1, keepdims=True)
    means = (real[tables] + luck[tables, one] + drawn[tables[:, :, None], again].mean(axis=2)) / 2
    low, high = np.quantile(means.mean(axis=1), [0.025, 0.975])
    return float(np.mean((real + drawn.mean(axis=1)) / 2)), float(low), float(high)


def _points(recordings: Sequence[Sequence[float]]) -> str:
    """Format a mean with 1.96 standard errors: over recordings, of one over its replays."""
    values = recordings[0] if len(recordings) == 1 else [*map(statistics.fmean, recordings)]
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * statistics.fmean(values):.2f} ± {100 * half:.2f}"


def _interval(found: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in found)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def _print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for cells in (columns, ["---"] * len(columns), *rows):
        print("| " + " | ".join(cells) + " |")
    sys.stdout.flush()


def _heading() -> str:
    missing = f"\n\nNot installed, so not compared: {', '.join(find_missing())}." * bool(find_missing())
    head = format_heading("How good is what a search chooses", "python benchmarks/search_quality.py")
    parts = {part: len((STRATEGY / f"{part}.py").read_text("utf-8").splitlines()) for part in PARTS}
    lines = ", ".join(f"{part}.py {count}" for part, count in parts.items())
    return f"{head}{missing}\n\nWhat proposes, stops and chooses here (tune/strategy) has {lines} lines.\n"


def _table_lines(file: Path) -> str:
    """What was recorded, and whether there is anything to find in it."""
    table = read_table(file)
    origin, options = table.metadata["provenance"], table.metadata.get("options", {})
    went_by = " ".join(f"--{name.replace('_', '-')} {options[name]}" for name in SHOWN if options.get(name))
    true, seeds = table.final.mean(axis=1), table.final.shape[1]
    within = math.sqrt(float(table.final.var(axis=1, ddof=1).mean()))
    between = math.sqrt(max(0.0, float(true.var(ddof=1)) - within**2 / seeds))
    shape = f"{len(true)} configurations x {seeds} seeds x {table.scores.shape[2]} evaluations"
    return (
        f"\n## {file.stem}: {shape}\n\n"
        f"Recorded with `{' '.join(origin['command'])}` ({went_by}) at commit {origin['git_commit'][:10]}. "
        f"Means on dev lie between {true.min():.4f} and {true.max():.4f}; the standard deviation of "
        f"true means (that of luck taken off) is {between:.4f}, within a configuration over seeds "
        f"{within:.4f}"
        f"{'' if between >= within else ': less, so luck decides much'}.\n"
    )


def report(files: Sequence[Path], budgets: Sequence[float], extent: Extent, processes: int) -> None:
    """Print a table for each ground and budget, and what comes of all."""
    print(_heading(), *__doc__.split("\n\n")[2:], sep="\n\n")
    make_pool = multiprocessing.get_context("spawn").Pool if processes > 1 else ThreadPool
    with make_pool(processes) as pool:
        for runs in sorted(budgets):
            print(f"\n# A budget of {runs:g} mean full runs")
            found = {file: _report_table(pool, file, runs, extent) for file in files}
            report_all(found)


def _report_table(pool: Any, file: Path, runs: float, extent: Extent) -> dict[str, Found]:
    strategies = {name: costly for name, costly in list_strategies().items() if extent.costly or not costly}
    keys = [(recording, mirrored) for mirrored in (False, True) for recording in range(extent.redrawings + 1)]
    jobs: dict[str, list[Any]] = {}
    for name, costly in strategies.items():
        for recording, mirrored in keys:
            count = extent.count(recording, costly)
            jobs.setdefault(name, []).append(
                pool.apply_async(replay_recording, (name, file, recording, mirrored, runs, count))
            )
    found = {name: dict(zip(keys, (job.get() for job in each), strict=True)) for name, each in jobs.items()}
    print(_table_lines(file))
    rows = []
    for name, each in found.items():
        every = [one for replays in each.values() for one in replays]
        rows.append(
            [
                name,
                *(
                    _points([[one.regret for one in replays] for replays in ground])
                    for ground in split_grounds(each)
                ),
                _points([[one.optimism for one in replays] for replays in each.values()]),
                f"{statistics.fmean(one.runs for one in every):.1f}",
                f"{len(every)}",
            ]
        )
    _print_rows(["strategy", *GROUNDS, "optimism", "cost, runs", "replays"], rows)
    blind = _measure_blind(found)
    print(f"\nA configuration drawn at random has a regret of {100 * blind:.2f} points.")
    print(f"\n{_spread(found)}", flush=True)
    return found


def _spread(found: dict[str, Found]) -> str:
    """How much one recording says: the difference to ours in each of the re-drawn ones."""
    lines = [f"How far re-drawings of {REDRAWN_SEEDS} seeds are apart, in regret less that of ours:\n"]
    for name, each in found.items():
        if name != OURS:
            apart = np.sort(100 * average_recordings(each, found[OURS])[1:])
            lines.append(
                f"- {name}: {apart[0]:.2f} to {apart[-1]:.2f}, median {np.median(apart):.2f}; "
                f"ours is ahead in {int((apart > 0).sum())} of {len(apart)}"
            )
    return "\n".join(lines)


def report_all(found: dict[Path, dict[str, Found]]) -> None:
    """Print the means over tables and reflections, the best first."""
    blind = [_measure_blind(each) for each in found.values()]
    rows = []
    for name in next(iter(found.values())):
        regrets = [average_recordings(each[name]) for each in found.values()]
        apart = [average_recordings(each[name], each[OURS]) for each in found.values()]
        share = resample([each / size for each, size in zip(regrets, blind, strict=True)])
        less = resample([each / size for each, size in zip(apart, blind, strict=True)])
        cells = [
            name,
            _interval(share),
            "-" if name == OURS else _interval(less),
            _interval(resample(regrets)),
        ]
        rows.append((share[0], cells))
    print(f"\n## All {len(found)} tables, recorded and re-drawn, as they are and reflected\n")
    columns = ["strategy", "share, %", "less that of ours", "mean regret, points"]
    _print_rows(columns, [row for _, row in sorted(rows)])


def _measure_blind(found: dict[str, Found]) -> float:
    """Return the regret of a configuration drawn at random, over the replays of a table."""
    return statistics.fmean(one.blind for replays in found[OURS].values() for one in replays)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables", type=Path, nargs="*", help="of benchmarks/record_table.py; none: all there are"
    )
    parser.add_argument(
        "--replays", type=int, default=300, help="of each of the four grounds of a table (300)"
    )
    parser.add_argument("--runs", type=float, nargs="+", default=[24], help="budgets, in mean full runs (24)")
    parser.add_argument(
        "--costly", type=int, default=12, help="one replay in so many where one takes seconds"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--quick", action="store_true", help="few replays, and no strategy that takes seconds"
    )
    options = parser.parse_args(arguments)
    files = options.tables or sorted(TABLES.glob("*.parquet"))
    extent = QUICK if options.quick else Extent(options.replays, costly=options.costly)
    report(files, options.runs, extent, options.processes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
