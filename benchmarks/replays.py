"""Whole searches over recorded tables: the product's against a virtual clock, and those it is compared with.

`benchmarks/search_quality.py` says what comes out of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.libraries import LIBRARIES
from benchmarks.play import CONFIRMING, Ground, Play
from benchmarks.recorded import Table
from benchmarks.simulator import Slot, simulate
from benchmarks.strategies import STRATEGIES
from tune.core.options import SearchOptions
from tune.core.run import RunSettings
from tune.core.space import make_configuration_key
from tune.records.ledger import Ledger
from tune.strategy.budget import DeviceHoursLimit, SlotCount, StopRule, TrialLimit, find_exploration_share
from tune.strategy.phases import SearchPhases
from tune.strategy.proposals import Proposer
from tune.strategy.race import RACE_SEED_OFFSET, RACED_CONFIGURATIONS
from tune.strategy.strategy import Strategy

OURS = "ours"
TRIALS, RACE_SEEDS = SearchOptions(task="cola").trials, SearchOptions(task="cola").race
DEFAULT = f"ours by default: {TRIALS} trials, the best {RACED_CONFIGURATIONS} with {RACE_SEEDS} further seeds"
REDRAWN_SEEDS = 8  # of a recording drawn anew; all of them select
OVERRUN = 1.5  # mean full runs that its limit is lower by, since two slots end what they have begun
SETTINGS = RunSettings("cola", "recorded", "recorded", 3, None, 16, 64, None, "auto", 6, "holdout")


@dataclass(frozen=True)
class Replayed:
    """What one replay came to, in the metric's scale.

    regret: the best true mean there is less that of the choice. score: the choice's true mean. optimism: the
    score by which it was chosen less its true mean. blind: the regret of a configuration drawn at random.
    runs: cost in mean full runs, confirming among them.
    """

    regret: float
    score: float
    optimism: float
    blind: float
    runs: float


@cache
def read_table(file: Path) -> Table:
    """Read a table once for all replays of a process."""
    return Table.read(file)


def make_ground(file: Path, recording: int, reflected: bool, number: int) -> Ground:
    """Return what a replay searches. recording: 0 as it was recorded, else the number of the re-drawing.
    number: of the replay, which decides the order of the seeds and what is reflected."""
    table = read_table(file)
    if recording:
        table = table.redraw(np.random.default_rng([recording, 1]), REDRAWN_SEEDS)
    if reflected:
        table = table.reflect(np.random.default_rng([number, recording, 2]))
    return Ground(table, number)


def list_strategies() -> dict[str, bool]:
    """Return the names of all strategies that can be played, and whether a replay takes seconds."""
    return {
        OURS: False,
        DEFAULT: False,
        **{name: plain.costly for name, plain in (STRATEGIES | LIBRARIES).items()},
    }


def replay_recording(
    name: str, file: Path, recording: int, reflected: bool, runs: float, replays: int
) -> list[Replayed]:
    """Play so many searches of one recording."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    first = recording * 1000  # no two recordings share the luck of a search
    return [replay(name, file, recording, reflected, runs, first + number) for number in range(replays)]


def replay(name: str, file: Path, recording: int, reflected: bool, runs: float, number: int) -> Replayed:
    """Play one search to its end. runs: its budget, in mean full runs, those for confirming among them."""
    ground = make_ground(file, recording, reflected, number)
    if name in (OURS, DEFAULT):
        budget = runs - CONFIRMING - OVERRUN if name == OURS else math.inf
        chosen, mean, spent = search_as_ours(ground, budget)
    else:
        plain = (STRATEGIES | LIBRARIES)[name]
        play = Play(ground, runs - CONFIRMING, plain.begun, plain.sampler)
        chosen = plain.play(play)
        mean, spent = play.mean(chosen), play.spent
    truth = ground.truth
    return Replayed(
        regret=float(truth.max() - truth[chosen]),
        score=float(truth[chosen]),
        optimism=mean - float(ground.expected[chosen]),
        blind=float(truth.max() - truth.mean()),
        runs=spent + CONFIRMING * float(ground.cost[chosen]),
    )


class Within(Proposer):
    """Proposes what the table has."""

    def __init__(self, strategy: Strategy, ledger: Ledger, ground: Ground) -> None:
        super().__init__(strategy, ledger)
        self.ground = ground

    def _next_untried(self) -> dict[str, Any] | None:
        configurations = self.ground.table.configurations
        taken = [
            number
            for number, each in enumerate(configurations)
            if make_configuration_key(each) in self._tried
        ]
        found = super()._next_untried() if len(taken) < len(configurations) else None
        return None if found is None else configurations[self.ground.place(found, taken)]


def search_as_ours(ground: Ground, budget: float) -> tuple[int, float, float]:
    """Search as the product does, on two slots, which end what they have begun at the limit.

    budget: in mean full runs, without a limit on the trials (`--trials 1000 --cpu-hours H`); infinite for the
    trials that a search has by default. Returns the number of the configuration chosen, the mean by which it
    was, and the cost.
    """
    seed = ground.number
    second = ground.table.passes.mean()  # the clock counts passes over an example
    race_seeds = min(RACE_SEEDS, ground.scores.shape[1] - 1)
    rules: list[StopRule] = [TrialLimit(TRIALS)]
    race_rules: list[StopRule] = []
    if budget < math.inf:
        share = find_exploration_share(race_seeds * RACED_CONFIGURATIONS, budget)
        rules = [DeviceHoursLimit("CPU", budget * second / 3600, 1.0, share)]
        race_rules = [DeviceHoursLimit("CPU", budget * second / 3600, 1.0)]
    strategy = Strategy(
        space=ground.space,
        settings=SETTINGS,
        direction="max",
        sampler="tpe",
        seed=seed,
        design_size=1000,
        confirmation_seeds=0,
        slots=SlotCount(2),
        stop_rules=rules,
        race_stop_rules=race_rules,
        folder="nowhere",
        race_seeds=race_seeds,
        chance=ground.table.chance,
        first_configurations=[ground.table.configurations[number] for number in ground.published],
    )
    ground.world.seeds = lambda each: max(0, each - seed - RACE_SEED_OFFSET + 1) if each != seed else 0

    def make_searcher(*arguments: Any, **named: Any) -> SearchPhases:
        made = SearchPhases(*arguments, **named)
        made.proposer = Within(strategy, made.ledger, ground)
        return made

    made = simulate(strategy, ground.world, "asha", [Slot()] * 2, make_searcher)  # type: ignore[arg-type]
    best = made.searcher.rank()[0]
    spent = sum(record.seconds for record in made.ledger.records()) / second
    return ground.world.nearest(best.trial.configuration), best.mean, float(spent)
