"""How good is what a search chooses, and is the score that it reports true? Replays at equal cost.

    python benchmarks/search_quality.py benchmarks/tables/stsb.parquet --replays 300
    python benchmarks/search_quality.py --replays 300                   # a synthetic surface

Every replay is a whole search against a virtual clock (`tune.simulate`) over a recorded table of real runs,
or over a synthetic surface, from another seed and with the recorded seeds in another order. Every strategy
may use as many slot seconds, all that it spends on confirming among them. Prints Markdown.

regret: the best true mean there is less that of the configuration chosen; true means are over all recorded
seeds (of the surface: known). top fifth: how often one of the truly best fifth is chosen. optimism: the score
reported less the true mean of the same kind of score. coverage: how often the interval over the fresh seeds
holds their true mean. In a table fresh seeds are drawn, with replacement, from the half of the recorded seeds
that took no part in the search, and their true mean is over that half.
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
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
os.environ.setdefault("OMP_NUM_THREADS", "1")  # there is a process for each core

import numpy as np

from dps import tasks
from dps.ranges import Choice
from tune import replicates, space
from tune.belief import FIRST_RACE_SEED, Belief, Racing
from tune.budget import DeviceHours
from tune.job import Settings
from tune.ledger import Record
from tune.preflight import EXPLORE_SHARE
from tune.proposals import Proposals
from tune.provenance import provenance
from tune.recorded import Replay, Table
from tune.searcher import LedgerSearcher
from tune.simulate import Simulation, Slot, simulate
from tune.space import encode, key
from tune.strategy import Strategy
from tune.synthetic import Surface

STRATEGIES = ("random", "tpe + asha", "grid", "repeater", "ours")
CONFIRM, FIXED_SEEDS, RESAMPLES, POINTS = 5, 3, 2000, 2000
COLUMNS = (
    "strategy",
    "regret, points",
    "top fifth",
    "optimism, points",
    "coverage",
    "cost, runs",
    "our regret to theirs",
)
TASK = "cola"  # of the synthetic surface


@dataclass(frozen=True)
class Result:
    """Of one replay."""

    regret: float
    top_fifth: bool
    optimism: float
    covered: bool | None
    runs: float  # full-length ones that cost as much


# --- what is replayed


class TableGround:
    """A recorded table; the same for every replay but for the order of its seeds."""

    def __init__(self, file: Path, number: int) -> None:
        self.table = _table(file)
        seeds = np.random.default_rng(number).permutation(self.table.final.shape[1])
        self.selecting, self.fresh = np.array_split(seeds, 2)
        self.drawn = np.random.default_rng([number, 1]).choice(self.fresh, CONFIRM)
        self.seed, self.space = number, self.table.space
        self.world = Replay(self.table, self._recorded)
        self.further = len(self.selecting) - 1
        self.run_seconds = float(self.table.seconds.mean())

    def _recorded(self, seed: int) -> int:
        after = seed - self.seed
        if 1 <= after <= CONFIRM:
            return int(self.drawn[after - 1])
        return int(self.selecting[max(0, after - FIRST_RACE_SEED + 1) if after else 0])

    def proposed(self, configuration: dict[str, Any], tried: set[str]) -> dict[str, Any]:
        """The nearest recorded configuration that was not tried."""
        distance = np.square(self._places - encode(self.space, [configuration])).sum(axis=1)
        order = [self.table.configurations[number] for number in np.argsort(distance, kind="stable")]
        return next((one for one in order if key(one) not in tried), configuration)

    @property
    def _places(self) -> Any:
        return encode(self.space, self.table.configurations)

    @property
    def count(self) -> float:
        return len(self.table.configurations)

    def truths(self) -> np.ndarray:
        return self.table.final.mean(axis=1)

    def selection_truth(self, configuration: dict[str, Any]) -> float:
        return float(np.nan_to_num(self.table.scores[self.world.nearest(configuration), :, -1]).mean())

    def fresh_truth(self, configuration: dict[str, Any]) -> float:
        return float(self.table.final[self.world.nearest(configuration)][self.fresh].mean())


@cache
def _table(file: Path) -> Table:
    return Table.read(file)


class SurfaceGround:
    """Another synthetic surface for every replay, whose configurations differ by less than the luck of a
    run."""

    further, count, run_seconds = 6, math.inf, 60.0

    def __init__(self, number: int) -> None:
        self.space = space.build(("dps-dense",), "gradient", 22_000_000, 75)
        at = np.random.default_rng([number, 2]).random(3)
        self.world = Surface(self.space, at=list(at), fall=0.25, collapse=0.02, seed=number)

    def proposed(self, configuration: dict[str, Any], tried: set[str]) -> dict[str, Any]:
        return configuration

    def truths(self) -> np.ndarray:
        drawn = (self.space.from_study(row) for row in self.space.latin(POINTS, 0))
        best = (1 - self.world.collapse) * self.world.best
        return np.array([best, *(self.world.truth(one) for one in drawn)])

    def selection_truth(self, configuration: dict[str, Any]) -> float:
        return self.world.truth(configuration)

    fresh_truth = selection_truth


# --- the strategies


class Within(Proposals):
    """Proposes what the ground has."""

    def __init__(self, name: str, strategy: Strategy, ledger: Any, belief: Belief, ground: Any) -> None:
        super().__init__(strategy, ledger, belief)
        self.ground = ground
        if name == "grid":
            self._design = iter(_grid(strategy.space).combinations(strategy.seed))

    def _fresh(self) -> dict[str, Any] | None:
        if len(self._tried) >= self.ground.count:
            return None
        found = super()._fresh()
        return found and self.ground.proposed(found, self._tried)


class Means(Belief):
    """Believes the plain mean of the seeds that a configuration has had."""

    def estimates(self) -> dict[int, float]:
        raced = self.ledger.records("race")
        return {
            trial.number: statistics.fmean(scores)
            for trial in self.ledger.records("search")
            if (
                scores := [
                    r.score for r in (trial, *raced) if r.configuration == trial.configuration and r.score
                ]
            )
        }


class Repeater(LedgerSearcher):
    """As Ray's Repeater: every configuration with the same few seeds, the best plain mean wins."""

    def _new(self) -> Record | None:
        trials, raced = self.ledger.records("search"), self.ledger.records("race")
        if len(raced) < (FIXED_SEEDS - 1) * len(trials):
            number, turn = divmod(len(raced), FIXED_SEEDS - 1)
            seed = self.strategy.seed + FIRST_RACE_SEED + turn
            return self.ledger.replicate(trials[number].configuration, self.strategy.space, seed, "race")
        return self._explore()

    def winner(self) -> Record | None:
        means = self.belief.estimates()
        best = max(means, key=lambda number: means[number], default=None)
        return None if best is None else self.ledger.records("search")[best]


def _grid(of: space.Space) -> space.Space:
    """The paper's: learning rates over the range, its selection ratio and staging interval."""
    rates = np.geomspace(of.parameters["learning_rate"].low, of.parameters["learning_rate"].high, 6)[1:-1]
    ratios = {"selection_ratio": 0.7, "update_ratio": 0.05}
    domains = {"learning_rate": Choice(tuple(map(float, rates)))}
    return replace(
        of, parameters=domains | {name: Choice((ratios[name],)) for name in list(of.parameters)[1:]}
    )


def replay(name: str, file: Path | None, number: int, runs: float) -> Result:
    """One search. runs: its budget, in full runs."""
    ground = SurfaceGround(number) if file is None else TableGround(file, number)
    ours = name == "ours"
    hours = (runs - (CONFIRM if ours else 0)) * ground.run_seconds / 3600
    strategy = Strategy(
        space=ground.space,
        settings=_settings(file),
        direction="max",
        sampler="random" if name == "random" else "tpe",
        seed=number,
        trials=1000,
        confirm=CONFIRM if ours else 0,
        slots=2,
        rules=[DeviceHours("CPU", hours, 1.0, EXPLORE_SHARE if ours else 1.0)],
        race_rules=[DeviceHours("CPU", hours, 1.0)],
        folder=Path("nowhere"),
        max_steps=ground.world.steps[-1],
        racing=Racing(ground.further) if ours else Racing(1 if name == "repeater" else 0),
        chance=0.0,
    )
    made = simulate(
        strategy,
        ground.world,
        "asha" if name in ("ours", "tpe + asha") else "none",
        [Slot()] * strategy.slots,
        lambda *arguments, **named: _searcher(name, ground, *arguments, **named),
    )
    return _result(made, ground)


def _searcher(name: str, ground: Any, *arguments: Any, **named: Any) -> LedgerSearcher:
    made = (Repeater if name == "repeater" else LedgerSearcher)(*arguments, **named)
    if name == "repeater":
        made.belief.__class__ = Means
    made.proposals = Within(name, made.strategy, made.ledger, made.belief, ground)
    return made


def _settings(file: Path | None) -> Settings:
    task = TASK if file is None else _table(file).metadata["task"]
    return Settings(task, "recorded", "recorded", 3, None, 16, 64, None, "auto", 6, "holdout")


def _result(made: Simulation, ground: Any) -> Result:
    searcher, ledger = made.searcher, made.ledger
    winner = searcher.winner()
    assert winner is not None
    truths, truth = ground.truths(), ground.world.truth(winner.configuration)
    metric = tasks.get(searcher.strategy.settings.task).metric
    told = replicates.confirm(replicates.of(winner, ledger.records("confirm")), metric)
    spent = sum(r.seconds for purpose in ("search", "race", "confirm") for r in ledger.records(purpose))
    if told is None:
        best = winner.score if not ledger.records("race") else searcher.belief.estimates()[winner.number]
        optimism, covered = best - ground.selection_truth(winner.configuration), None
    else:
        fresh = ground.fresh_truth(winner.configuration)
        optimism, covered = told.mean - fresh, told.interval[0] <= fresh <= told.interval[1]
    return Result(
        regret=float(truths.max() - truth),
        top_fifth=bool(truth >= np.quantile(truths, 0.8)),
        optimism=float(optimism),
        covered=covered,
        runs=spent / ground.run_seconds,
    )


# --- the report


def _mean(values: Sequence[float]) -> str:
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * statistics.fmean(values):.2f} ± {100 * half:.2f}"


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Of mean regrets, with a 95 % interval from resampled replays."""
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
    origin = provenance("python benchmarks/search_quality.py")
    versions = ", ".join(f"{name} {version}" for name, version in origin["packages"].items())
    return (
        "# How good is what a search chooses\n\n"
        f"{time.strftime('%Y-%m-%d')}, {origin['cores']} cores, {origin['platform']}, "
        f"Python {origin['python']}, {versions}; commit {(origin['git_commit'] or 'unknown')[:10]}"
        f"{', with changes' if origin['git_dirty'] else ''}. Made with\n\n    {' '.join(origin['command'])}\n"
    )


def _ground_lines(file: Path | None) -> str:
    """What is replayed, and how noisy it is."""
    if file is None:
        return "\n## A synthetic surface, another one in each replay (`tune/synthetic.py`)\n"
    table = _table(file)
    true, spread = table.final.mean(axis=1), table.final.std(axis=1, ddof=1)
    origin = table.metadata["provenance"]
    shape = f"{len(true)} configurations x {table.final.shape[1]} seeds x {len(table.steps)} evaluations"
    return (
        f"\n## {file.stem}: {shape}\n\n"
        f"Recorded with `{' '.join(origin['command'])}` at commit {origin['git_commit'][:10]}. "
        f"True means on dev lie between {true.min():.4f} and {true.max():.4f} (standard "
        f"deviation {true.std(ddof=1):.4f}); within a configuration the standard "
        f"deviation over seeds is {math.sqrt(float(np.mean(spread**2))):.4f}.\n"
    )


def report(files: Sequence[Path | None], budgets: Sequence[float], replays: int, processes: int) -> None:
    """Print a table for each ground and budget."""
    print(_heading(), *__doc__.split("\n\n")[2:], sep="\n\n")
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for file in files:
            print(_ground_lines(file))
            for runs in budgets:
                _report_budget(pool, file, runs, replays)


def _report_budget(pool: Any, file: Path | None, runs: float, replays: int) -> None:
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
