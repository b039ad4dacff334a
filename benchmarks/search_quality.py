"""How good is what a search chooses, and is the score that it reports true? Replays at equal cost.

    python benchmarks/search_quality.py benchmarks/tables/stsb.parquet --replays 300
    python benchmarks/search_quality.py --replays 300                   # a synthetic surface

Every replay is a whole search against a virtual clock (`benchmarks.simulator`) over a recorded table of real
runs, or over a synthetic surface, from another seed and with the recorded seeds in another order. Every
strategy
may use as many slot seconds, all that it spends on confirming among them. Prints Markdown.

"begun alike" is with the published configurations that ours begins with, too.

regret: the best true mean there is less that of the configuration chosen; true means are over all recorded
seeds (of the surface: known). top fifth: how often one of the truly best fifth is chosen. optimism: the score
reported less the true mean of the same kind of score. coverage: how often the interval over the fresh seeds
holds their true mean. In a table fresh seeds are drawn, with replacement, from the half of the recorded seeds
that took no part in the search, and their true mean is over that half. Few values draw the same one again and
again, which makes an interval too narrow: how often it covers at best is what it does with normal scores.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process for each core

import numpy as np

from benchmarks.replays import CONFIRM, STRATEGIES, Result, recorded, replay
from tune.core.provenance import collect_provenance
from tune.records.replicates import compute_t_interval

RESAMPLES = 2000
SHARES = (0.5, 0.35, 0.25)  # of the regret of choosing blindly
SHOWN = ("task", "train_size", "max_steps", "max_length", "trials", "seeds", "evaluations", "sampler")
COLUMNS = (
    "strategy",
    "regret, points",
    "top fifth",
    "optimism, points",
    "coverage",
    "cost, runs",
    "our regret to theirs",
)


def _mean(values: Sequence[float]) -> str:
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * statistics.fmean(values):.2f} ± {100 * half:.2f}"


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the ratio of mean regrets, with a 95 % interval from resampled replays."""
    one, other = np.array(ours), np.array(theirs)
    drawn = np.random.default_rng(0).integers(len(one), size=(RESAMPLES, len(one)))
    low, high = np.quantile(one[drawn].mean(axis=1) / other[drawn].mean(axis=1), [0.025, 0.975])
    return f"{one.mean() / other.mean():.2f} [{low:.2f}, {high:.2f}]"


def _row(name: str, results: Sequence[Result], ours: Sequence[float]) -> str:
    covered = [one.covered for one in results if one.covered is not None]
    regrets = [one.regret for one in results]
    cells = [
        name,
        _mean(regrets),
        f"{statistics.fmean(one.top_fifth for one in results):.0%}",
        _mean([one.optimism for one in results]),
        f"{statistics.fmean(covered):.1%}" if covered else "-",
        f"{statistics.fmean(one.runs for one in results):.1f}",
        "-" if name == "ours" else _ratio(ours, regrets),
    ]
    return "| " + " | ".join(cells) + " |"


def _verdicts(found: dict[str, list[Result]]) -> str:
    """What was aimed at, and whether it was reached."""
    ours, theirs = ([one.regret for one in found[name]] for name in ("ours", "tpe + asha"))
    ratio = statistics.fmean(ours) / statistics.fmean(theirs)
    optimism = [one.optimism for one in found["ours"]]
    off = abs(statistics.fmean(optimism)) / (statistics.stdev(optimism) / math.sqrt(len(optimism)))
    covered = statistics.fmean(bool(one.covered) for one in found["ours"])
    lines = (
        ("at most half the regret of tpe + asha", ratio <= 0.5, f"{ratio:.2f} of it"),
        ("a reported score without bias", off <= 1.96, f"{off:.1f} standard errors from none"),
        ("an interval that covers the truth in 90 to 98 %", 0.9 <= covered <= 0.98, f"{covered:.1%}"),
    )
    return "\n".join(f"- {aim}: {'reached' if met else 'not reached'}, {how}" for aim, met, how in lines)


def _heading() -> str:
    origin = collect_provenance("python benchmarks/search_quality.py")
    versions = ", ".join(f"{name} {version}" for name, version in origin.packages.items())
    return (
        "# How good is what a search chooses\n\n"
        f"{time.strftime('%Y-%m-%d')}, {origin.cores} cores, {origin.platform}, "
        f"Python {origin.python}, {versions}; commit {(origin.git_commit or 'unknown')[:10]}"
        f"{', with changes' if origin.git_dirty else ''}. Made with\n\n    {' '.join(origin.command)}\n"
    )


def _ground_lines(file: Path | None) -> str:
    """What is replayed, and how noisy it is."""
    if file is None:
        return "\n## A synthetic surface, another one in each replay (`benchmarks/synthetic.py`)\n"
    table = recorded(file)
    true, spread = table.final.mean(axis=1), table.final.std(axis=1, ddof=1)
    origin = table.metadata["provenance"]
    options = table.metadata.get("options", {})
    went_by = " ".join(f"--{name.replace('_', '-')} {options[name]}" for name in SHOWN if options.get(name))
    shape = f"{len(true)} configurations x {table.final.shape[1]} seeds x {len(table.steps)} evaluations"
    return (
        f"\n## {file.stem}: {shape}\n\n"
        f"Recorded with `{' '.join(origin['command'])}` {f'({went_by}) ' * bool(went_by)}"
        f"at commit {origin['git_commit'][:10]}. "
        f"True means on dev lie between {true.min():.4f} and {true.max():.4f} (standard "
        f"deviation {true.std(ddof=1):.4f}); within a configuration the standard "
        f"deviation over seeds is {math.sqrt(float(np.mean(spread**2))):.4f}. Of normal scores, as many and "
        f"drawn alike, the interval would cover {coverage_of_normal(table.final.shape[1] // 2):.1%}.\n"
    )


def coverage_of_normal(recorded: int, draws: int = 20_000) -> float:
    """How often the interval over CONFIRM seeds, drawn with replacement from so many that have normal scores,
    holds their mean."""
    random = np.random.default_rng(0)
    scores = random.normal(size=(draws, recorded))
    fresh = np.take_along_axis(scores, random.integers(recorded, size=(draws, CONFIRM)), axis=1)
    low, high = np.array([compute_t_interval(row) for row in fresh.tolist()]).T
    return float(np.mean((low <= scores.mean(axis=1)) & (scores.mean(axis=1) <= high)))


def report(files: Sequence[Path | None], budgets: Sequence[float], replays: int, processes: int) -> None:
    """Print a table for each ground and budget."""
    print(_heading(), *__doc__.split("\n\n")[2:], sep="\n\n")
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for file in files:
            print(_ground_lines(file))
            found = {runs: _report_budget(pool, file, runs, replays) for runs in sorted(budgets)}
            print(_costs(found), flush=True)


def _report_budget(pool: Any, file: Path | None, runs: float, replays: int) -> dict[str, list[Result]]:
    print(f"\nBudget of {runs:g} full runs, {replays} replays of each:\n")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    jobs = {
        name: pool.starmap_async(replay, [(name, file, number, runs) for number in range(replays)], 4)
        for name in STRATEGIES
    }
    found = {name: job.get() for name, job in jobs.items()}
    ours = [one.regret for one in found["ours"]]
    for name, results in found.items():
        print(_row(name, results, ours), flush=True)
    print(f"\nOurs:\n\n{_verdicts(found)}", flush=True)
    return found


def _costs(found: dict[float, dict[str, list[Result]]]) -> str:
    """What it costs to reach a share of the regret that choosing blindly has."""
    blind = statistics.fmean(one.blind for results in found.values() for one in results["ours"])
    lines = [
        f"\nCost, in full runs, of a mean regret that is a share of {100 * blind:.2f} points, "
        f"that of choosing blindly:\n",
        "| strategy | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |",
        "|---" * (1 + len(SHARES)) + "|",
    ]
    for name in STRATEGIES:
        spent = [
            (statistics.fmean(one.runs for one in r[name]), statistics.fmean(one.regret for one in r[name]))
            for r in found.values()
        ]
        lines.append(f"| {name} | " + " | ".join(_cost(spent, share * blind) for share in SHARES) + " |")
    return "\n".join(lines)


def _cost(spent: Sequence[tuple[float, float]], regret: float) -> str:
    """Between the budgets (cost, mean regret) on a straight line; below the least, and above the most, it
    is not known."""
    if spent[0][1] <= regret:
        return f"at most {spent[0][0]:.0f}"
    for (cost, above), (more, below) in pairwise(spent):
        if below <= regret:
            return f"{cost + (more - cost) * (above - regret) / (above - below):.0f}"
    return f"not with {spent[-1][0]:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tables",
        type=Path,
        nargs="*",
        help="Parquet of benchmarks/record_table.py; none: a synthetic surface",
    )
    parser.add_argument("--replays", type=int, default=300)
    parser.add_argument("--runs", type=float, nargs="+", default=[16, 24, 40], help="budgets, in full runs")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    report(options.tables or [None], options.runs, options.replays, options.processes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
