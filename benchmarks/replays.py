"""Whole searches, ours and those it is compared with, over recorded tables and synthetic surfaces.

`benchmarks/search_quality.py` says what comes out of them.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recorded import Replay, Table
from benchmarks.simulator import Simulation, Slot, simulate
from benchmarks.synthetic import Surface
from dps.ranges import Choice
from dps.tasks import registry
from tune.core import space
from tune.core.run import RunPurpose, RunSettings
from tune.core.space import encode_configurations, make_configuration_key
from tune.planning import space_options
from tune.planning.plan import EXPLORATION_BUDGET_SHARE
from tune.records import replicates
from tune.records.ledger import TrialRecord
from tune.strategy.budget import DeviceHoursLimit, SlotCount
from tune.strategy.estimator import Estimator
from tune.strategy.phases import SearchPhases
from tune.strategy.proposals import Proposer
from tune.strategy.race import RACE_SEED_OFFSET, RaceSettings
from tune.strategy.strategy import Strategy

STRATEGIES = ("random", "tpe + asha", "tpe + asha, begun alike", "grid", "repeater", "ours")
CONFIRM, FIXED_SEEDS, POINTS = 5, 3, 2000
TASK = "cola"  # of the synthetic surface


@dataclass(frozen=True)
class Result:
    """What one replay came to."""

    regret: float
    top_fifth: bool
    optimism: float
    covered: bool | None
    runs: float  # full-length ones that cost as much
    blind: float  # the regret of a configuration drawn at random


# --- what is replayed


class TableGround:
    """A recorded table; the same for every replay but for the order of its seeds."""

    def __init__(self, file: Path, number: int) -> None:
        self.table = recorded(file)
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
        return int(self.selecting[max(0, after - RACE_SEED_OFFSET + 1) if after else 0])

    def proposed(self, configuration: dict[str, Any], tried: set[str]) -> dict[str, Any]:
        """The nearest recorded configuration that was not tried."""
        distance = np.square(self._places - encode_configurations(self.space, [configuration])).sum(axis=1)
        order = [self.table.configurations[number] for number in np.argsort(distance, kind="stable")]
        return next((one for one in order if make_configuration_key(one) not in tried), configuration)

    @property
    def _places(self) -> Any:
        return encode_configurations(self.space, self.table.configurations)

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
def recorded(file: Path) -> Table:
    return Table.read(file)


class SurfaceGround:
    """Another synthetic surface for every replay, whose configurations differ by less than the luck of a
    run."""

    further, count, run_seconds = 6, math.inf, 60.0

    def __init__(self, number: int) -> None:
        self.space = space_options.build_search_space(("dps-dense",), "gradient", 22_000_000, 75)
        at = np.random.default_rng([number, 2]).random(3)
        self.world = Surface(self.space, at=list(at), fall=0.25, collapse=0.02, seed=number)

    def proposed(self, configuration: dict[str, Any], tried: set[str]) -> dict[str, Any]:
        return configuration

    def truths(self) -> np.ndarray:
        drawn = (self.space.from_study_values(row) for row in self.space.draw_latin_hypercube(POINTS, 0))
        best = (1 - self.world.collapse) * self.world.best
        return np.array([best, *(self.world.truth(one) for one in drawn)])

    def selection_truth(self, configuration: dict[str, Any]) -> float:
        return self.world.truth(configuration)

    fresh_truth = selection_truth


# --- the strategies


class Within(Proposer):
    """Proposes what the ground has."""

    def __init__(self, name: str, strategy: Strategy, ledger: Any, estimator: Estimator, ground: Any) -> None:
        super().__init__(strategy, ledger, estimator)
        self.ground = ground
        if name == "grid":
            self._design = iter(_grid(strategy.space).shuffle_grid(strategy.seed))

    def _next_untried(self) -> dict[str, Any] | None:
        if len(self._tried) >= self.ground.count:
            return None
        found = super()._next_untried()
        return found and self.ground.proposed(found, self._tried)


class Means(Estimator):
    """Believes the plain mean of the seeds that a configuration has had."""

    def expected_scores(self) -> dict[int, float]:
        raced = self.source.records(RunPurpose.RACE)
        return {
            trial.number: statistics.fmean(scores)
            for trial in self.source.records(RunPurpose.SEARCH)
            if (
                scores := [
                    r.score
                    for r in (trial, *raced)
                    if r.configuration == trial.configuration and r.score is not None
                ]
            )
        }


class Repeater(SearchPhases):
    """Ray's Repeater: every configuration with the same few seeds, the best plain mean wins."""

    def _start_new_run(self) -> TrialRecord | None:
        trials, raced = self.ledger.records(RunPurpose.SEARCH), self.ledger.records(RunPurpose.RACE)
        if len(raced) < (FIXED_SEEDS - 1) * len(trials):
            number, turn = divmod(len(raced), FIXED_SEEDS - 1)
            seed = self.strategy.seed + RACE_SEED_OFFSET + turn
            return self.ledger.replicate(
                trials[number].configuration, self.strategy.space, seed, RunPurpose.RACE
            )
        return self._next_exploration()

    def current_winner(self) -> TrialRecord | None:
        means = self.estimator.expected_scores()
        best = max(means, key=lambda number: means[number], default=None)
        return None if best is None else self.ledger.records(RunPurpose.SEARCH)[best]


def _grid(of: space.SearchSpace) -> space.SearchSpace:
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
        design_size=1000,
        confirmation_seeds=CONFIRM if ours else 0,
        slots=SlotCount(2),
        stop_rules=[DeviceHoursLimit("CPU", hours, 1.0, EXPLORATION_BUDGET_SHARE if ours else 1.0)],
        race_stop_rules=[DeviceHoursLimit("CPU", hours, 1.0)],
        folder="nowhere",
        race_settings=RaceSettings(ground.further) if ours else RaceSettings(1 if name == "repeater" else 0),
        chance=0.0,
        first_configurations=ground.space.list_published()
        if ours or name == "tpe + asha, begun alike"
        else (),
    )
    made = simulate(
        strategy,
        ground.world,
        "asha" if ours or name.startswith("tpe + asha") else "none",
        [Slot()] * strategy.slots.now,
        lambda *arguments, **named: _searcher(name, ground, *arguments, **named),
    )
    return _result(made, ground)


def _searcher(name: str, ground: Any, *arguments: Any, **named: Any) -> SearchPhases:
    made = (Repeater if name == "repeater" else SearchPhases)(*arguments, **named)
    if name == "repeater":
        made.estimator.__class__ = Means
    made.proposer = Within(name, made.strategy, made.ledger, made.estimator, ground)
    return made


def _settings(file: Path | None) -> RunSettings:
    task = TASK if file is None else recorded(file).metadata["task"]
    return RunSettings(task, "recorded", "recorded", 3, None, 16, 64, None, "auto", 6, "holdout")


def _result(made: Simulation, ground: Any) -> Result:
    searcher, ledger = made.searcher, made.ledger
    winner = searcher.current_winner()
    assert winner is not None
    truths, truth = ground.truths(), ground.world.truth(winner.configuration)
    metric = registry.get_task(searcher.strategy.settings.task).metric
    told = replicates.summarise_confirmation(
        replicates.select_by_configuration(winner.configuration, ledger.records(RunPurpose.CONFIRMATION)),
        metric,
    )
    spent = sum(record.seconds for record in ledger.records())
    if told is None:
        raced = ledger.records(RunPurpose.RACE)
        best = searcher.estimator.expected_scores()[winner.number] if raced else winner.score
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
        blind=float(truths.max() - truths.mean()),
    )
