"""Are the statements right? Worlds whose truth is known, through the functions of searches and comparisons.

    python benchmarks/calibration_of_claims.py > benchmarks/calibration_DATE.md     # 15 minutes of one core
    python benchmarks/calibration_of_claims.py --replays 20                         # half a minute

Runs are crossed with examples: seeds and examples have effects that methods share in part, and some runs
collapse to one answer for all examples. Where an aim is missed, the first lines say so. Prints Markdown.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tune.stats.evidence import PairedDifference, estimate_difference, estimate_mean
from tune.stats.verdict import adjust_p_values, estimate_more_seeds, is_distinguishable

EXAMPLES = 277  # of RTE's dev set
COLLAPSES = (0.0, 0.1, 0.2)
SEEDS = (5, 10, 30)
MAX_SEEDS = 60  # to which the advice is followed
GAINS = (0.02, 0.05)
Array = NDArray[Any]


class Draw(NamedTuple):
    """labels: (n,). runs: predictions (seeds, n) of each method."""

    labels: Array
    runs: list[Array]


class World(Protocol):
    """Draws examples and the runs of methods whose true means differ by given gains."""

    metric: str

    def mean(self, collapse: float) -> float:
        """The true mean of the first method, over seeds and examples."""
        ...

    def draw(self, rng: np.random.Generator, seeds: int, gains: Sequence[float], collapse: float) -> Draw:
        """Draw runs of methods whose true means are the first one's plus these gains."""
        ...


def collapse_runs(rng: np.random.Generator, runs: Array, rate: float, answer: float) -> Array:
    """Return the runs, of which each gives one answer to all examples with this probability."""
    return np.where(rng.random((len(runs), 1)) < rate, np.asarray(answer, runs.dtype), runs)


@dataclass(frozen=True)
class Classes:
    """Two classes; a run is right where normal effects of its seed and its example add up to enough, so that
    the true accuracy is exact. Seeds move it by 3 points (standard deviation)."""

    metric: str = "accuracy"
    accuracy: float = 0.75
    majority: float = 0.6

    def mean(self, collapse: float) -> float:
        return (1 - collapse) * self.accuracy + collapse * self.majority

    def draw(self, rng: np.random.Generator, seeds: int, gains: Sequence[float], collapse: float) -> Draw:
        labels = (rng.random(EXAMPLES) < self.majority).astype(int)
        shared = rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 1, EXAMPLES)
        spread, runs = math.sqrt(0.1**2 + 1 + 0.08**2 + 0.3**2 + 1), []
        for gain in gains:
            own = rng.normal(0, 0.08, (seeds, 1)) + rng.normal(0, 0.3, EXAMPLES)
            enough = stats.norm.ppf(self.accuracy + gain / (1 - collapse)) * spread
            right = enough + shared + own + rng.normal(size=(seeds, EXAMPLES)) > 0
            runs.append(collapse_runs(rng, np.where(right, labels, 1 - labels), collapse, 1))
        return Draw(labels, runs)


@dataclass(frozen=True)
class Numbers:
    """A regression scored by Pearson's correlation, which a run has exactly but for the examples. Seeds move
    it by 3 points (standard deviation)."""

    metric: str = "pearson"
    correlation: float = 0.6

    def mean(self, collapse: float) -> float:
        return (1 - collapse) * self.correlation

    def draw(self, rng: np.random.Generator, seeds: int, gains: Sequence[float], collapse: float) -> Draw:
        labels, shared, runs = rng.normal(size=EXAMPLES), rng.normal(size=EXAMPLES), []
        luck = rng.normal(0, 0.02, (seeds, 1))
        for gain in gains:
            own = rng.normal(0, 0.022, (seeds, 1))
            true = self.correlation + gain / (1 - collapse) + luck + own
            noise = (shared + 0.5 * rng.normal(size=EXAMPLES) + rng.normal(size=(seeds, EXAMPLES))) / 1.5
            made = true * labels + np.sqrt(1 - true**2) * noise
            runs.append(collapse_runs(rng, made, collapse, 0.0))
        return Draw(labels, runs)


WORLDS: tuple[World, ...] = (Classes(), Numbers())


@dataclass(frozen=True)
class Figure:
    """A share or a mean over replays, with what it should be.

    aim: (lowest, highest), None without one. error: 1.96 standard errors.
    """

    value: float
    error: float
    aim: tuple[float, float] | None = None

    @property
    def is_missed(self) -> bool:
        """Return whether the aim lies outside of what luck explains."""
        return (
            self.aim is not None
            and self.error > 0
            and not (self.value + self.error >= self.aim[0] and self.value - self.error <= self.aim[1])
        )

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "-"
        text = f"{100 * self.value:.1f} ± {100 * self.error:.1f}"
        return f"**{text}**" if self.is_missed else text


def count_share(hits: Sequence[bool], aim: tuple[float, float] | None = None) -> Figure:
    """Return the share of hits; its error is Wilson's half-width, which is not 0 where all are hits."""
    if not hits:
        return Figure(math.nan, math.nan)
    interval = stats.binomtest(int(np.sum(hits)), len(hits)).proportion_ci(method="wilson")
    return Figure(float(np.mean(hits)), float(interval.high - interval.low) / 2, aim)


@dataclass
class Table:
    """A table of figures under a title. rows: of names and figures."""

    title: str
    columns: Sequence[str]
    rows: list[list[str | Figure]]

    def missed(self) -> list[str]:
        """Return a line for each figure that misses its aim."""
        return [
            f"{self.title}; {', '.join(str(cell) for cell in row if not isinstance(cell, Figure))}: "
            f"{name.split(' (')[0]} {100 * cell.value:.1f} %"
            for row in self.rows
            for name, cell in zip(self.columns, row, strict=True)
            if isinstance(cell, Figure) and cell.is_missed
        ]

    def __str__(self) -> str:
        lines = [f"## {self.title}", "", f"| {' | '.join(self.columns)} |", "|" + "---|" * len(self.columns)]
        return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in self.rows), ""])


def is_told(difference: PairedDifference, look: int = 1) -> bool:
    """Return whether a verdict is "better" or "worse"."""
    adjusted = None if difference.p is None else adjust_p_values([difference.p], look)[0]
    return is_distinguishable(adjusted, difference.interval, difference.level)


def covers(interval: tuple[float, float] | None, truth: float) -> bool | None:
    return None if interval is None else interval[0] <= truth <= interval[1]


def simulate_intervals(world: World, seeds: int, collapse: float, replays: int) -> list[str | Figure]:
    """Return a row: coverage of a mean, of a difference, false alarms, power at GAINS."""
    rng = np.random.default_rng([seeds, round(100 * collapse), len(world.metric)])
    truth, gains = world.mean(collapse), (0.0, 0.0, *GAINS)
    mean, above, seen, learnt, difference, alarms = ([] for _ in range(6))  # type: ignore[var-annotated]
    power = tuple([] for _ in GAINS)  # type: ignore[var-annotated]
    for number in range(replays):
        labels, (baseline, *methods) = world.draw(rng, seeds, gains, collapse)
        estimate = estimate_mean(world.metric, labels, baseline, number)
        interval = estimate.interval or (math.nan, math.nan)
        mean.append(covers(estimate.interval, truth))
        above.append(interval[0] > truth)
        if np.ptp(baseline, axis=1).min() == 0:
            seen.append(mean[-1])
        else:
            learnt.append(covers(estimate.interval, world.mean(0)))
        same, *better = (
            estimate_difference(world.metric, labels, baseline, runs, number) for runs in methods
        )
        alarms.append(is_told(same))
        difference.append(covers(better[-1].interval, GAINS[-1]))
        for told, each in zip(power, better, strict=True):
            told.append(is_told(each) and each.mean > 0)
    covered = [count_share(each, (0.95, 1)) for each in (mean, seen, learnt, difference)]
    wrong = [count_share(above, (0, 0.025)), count_share(alarms, (0, 0.05))]
    name: list[str | Figure] = [world.metric, f"{collapse:.0%}", str(seeds)]
    return [*name, *covered, *wrong, *map(count_share, power)]


def simulate_looks(world: World, collapse: float, gain: float, replays: int) -> list[str | Figure]:
    """Return a row: what five seeds tell, and what is told at last where the advice is followed twice, to
    MAX_SEEDS seeds at most; also where every look is tested at 5 %."""
    rng, first, last, uncorrected, used = np.random.default_rng([9, round(100 * gain)]), [], [], [], []
    for number in range(replays):
        labels, (baseline, method) = world.draw(rng, MAX_SEEDS, (0.0, gain), collapse)
        seeds, naive, told = 5, False, False
        for look in (1, 2, 3):
            found = estimate_difference(world.metric, labels, baseline[:seeds], method[:seeds], number)
            naive = naive or is_distinguishable(found.p, found.interval, found.level)
            told = is_told(found, look)
            if look == 1:
                first.append(told)
            more = estimate_more_seeds(found, look=look)
            if told or more is None or seeds + more[0] > MAX_SEEDS:
                break
            seeds += more[0]
        last.append(told)
        uncorrected.append(naive)
        used.append(seeds)
    aim = (0.0, 0.05) if gain == 0 else None
    return [
        world.metric, f"{collapse:.0%}", f"{100 * gain:.0f}", count_share(first, aim), count_share(last, aim),
        count_share(uncorrected), f"{np.mean(used):.0f}",
    ]  # fmt: skip


def make_tables(replays: int, pool: Executor) -> list[Table]:
    """Simulate everything, a row a job of the pool."""
    submit = pool.submit
    gains = [f"told at +{100 * gain:.0f}" for gain in GAINS]
    intervals = (
        "Intervals and tests at the first look",
        (
            "metric", "collapses", "seeds", "mean covered (at least 95)",
            "mean covered where a collapse was seen (at least 95)",
            "mean of the runs that learn covered where none was (at least 95)",
            "difference of 5 covered (at least 95)", "interval above the truth (at most 2.5)",
            "false alarms (at most 5)", *gains,
        ),
        [
            submit(simulate_intervals, world, seeds, collapse, replays)
            for world in WORLDS for collapse in COLLAPSES for seeds in SEEDS
        ],
    )  # fmt: skip
    looks = (
        f"Following the advice on more seeds twice, from 5 to {MAX_SEEDS} at most",
        ("metric", "collapses", "true difference", "told by 5 seeds (at most 5 of no difference)",
         "told at last (at most 5 of no difference)", "if every look were tested at 5 %", "seeds used"),
        [
            submit(simulate_looks, world, collapse, gain, replays)
            for world in WORLDS for collapse in (COLLAPSES[0], COLLAPSES[-1]) for gain in (0.0, *GAINS)
        ],
    )  # fmt: skip
    tables = []
    for title, columns, jobs in (intervals, looks):
        tables.append(Table(title, columns, [job.result() for job in jobs]))
    return tables


def render_report(tables: Sequence[Table], command: str) -> str:
    """Render the tables under what misses its aim, and what made them."""
    missed = [line for table in tables for line in table.missed()]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    verdict = "Every aim is reached." if not missed else "Aims that are missed (bold in the tables):\n"
    return "\n".join([
        "# Are the statements right?", "", verdict, *(f"- {line}" for line in missed), "",
        f"{datetime.date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"commit {commit}:",
        "", f"    {command}", "",
        f"Shares in percent, differences in points, ± 1.96 standard errors of the simulation; {EXAMPLES} "
        "examples; seeds move a score by 3 points (standard deviation). An aim is missed where the luck of "
        "the simulation does not explain it. An interval knows only the collapses that were seen: where none "
        "was, it is one of the runs that learn.",
        "", *map(str, tables),
    ])  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replays", type=int, default=400, help="of each row (400)")
    parser.add_argument("--processes", type=int, default=1, help="at once (1)")
    options = parser.parse_args()
    command = shlex.join(["python", "benchmarks/calibration_of_claims.py", *sys.argv[1:]])
    with ProcessPoolExecutor(options.processes) as pool:
        print(render_report(make_tables(options.replays, pool), command))
    return 0


if __name__ == "__main__":
    sys.exit(main())
