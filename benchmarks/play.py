"""One search over a recorded table, as simple strategies play it: what they may run, and what it costs.

`benchmarks/strategies.py` has the strategies, `benchmarks/replays.py` whole searches of the product.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import optuna

from benchmarks.recorded import Replay, Table
from dps.ranges import Choice
from tune.core.space import SearchSpace
from tune.strategy.proposals import STARTUP_TRIALS

CONFIRMING = 5  # full runs of every budget, for the fresh seeds of the configuration that is chosen


class Ground:
    """A table, half of whose seeds select and half of which are the truth; of a table with known truth all
    seeds select.

    scores: (C, S, K) on the selection data, of the seeds that select; chance from where a run diverged.
    cost: (C,) of a full run, in mean full runs of the table.
    truth: (C,) mean score on the evaluation set. expected: (C,) mean selection score; both of other seeds.
    published: the configurations that are nearest to the published values, as `SearchSpace.list_published`
        orders them; grid: those nearest to the paper's grid.
    """

    def __init__(self, table: Table, number: int) -> None:
        seeds = np.random.default_rng(number).permutation(table.final.shape[1])
        selecting, fresh = (seeds, seeds) if table.truth is not None else np.array_split(seeds, 2)
        filled = np.where(np.isnan(table.scores), table.chance, table.scores)
        self.scores = filled[:, selecting]
        self.cost = table.passes / table.passes.mean()
        if table.truth is None:
            self.expected, self.truth = filled[:, fresh, -1].mean(axis=1), table.final[:, fresh].mean(axis=1)
        else:
            self.expected, self.truth = table.truth.T
        self.table, self.number, self.space = table, number, table.space
        self.world = Replay(
            replace(table, scores=table.scores[:, selecting], final=table.final[:, selecting])
        )
        self.published = self.place_all(self.space.list_published())
        self.grid = self.place_all(list_grid(self.space))

    def place_all(self, configurations: Sequence[dict[str, Any]]) -> list[int]:
        """Return the numbers of the recorded configurations that stand for these, another one for each."""
        placed: list[int] = []
        for each in configurations[: len(self.cost)]:
            placed.append(self.place(each, placed))
        return placed

    def place(self, configuration: dict[str, Any], taken: Sequence[int]) -> int:
        """Return the nearest recorded configuration that is not taken. Raises StopIteration without one."""
        return next(int(one) for one in self.world.order(configuration) if one not in taken)


def list_grid(space: SearchSpace) -> list[dict[str, Any]]:
    """Return the paper's grid: four learning rates over the range, the published values of all else."""
    domain = space.parameters["learning_rate"]
    ends = (domain.values[0], domain.values[-1]) if isinstance(domain, Choice) else (domain.low, domain.high)
    rates = np.geomspace(*ends, 6)[1:-1]
    first = {one["method"]: one for one in reversed(space.list_published())}
    return [{**one, "learning_rate": float(rate)} for one in first.values() for rate in rates]


@dataclass
class Play:
    """What a strategy may do within its budget.

    budget: mean full runs, those for confirming not among them.
    begun: whether the published configurations are proposed first.
    sampler: makes Optuna's sampler of a seed.
    done: evaluations paid, by configuration and seed. spent: so far.
    """

    ground: Ground
    budget: float
    begun: bool = False
    sampler: Any = optuna.samplers.RandomSampler
    done: dict[tuple[int, int], int] = field(default_factory=dict)
    spent: float = 0.0
    proposed: list[int] = field(default_factory=list)

    @cached_property
    def _study(self) -> optuna.Study:
        sampler = self.sampler(seed=self.ground.number)
        return optuna.create_study(direction="maximize", sampler=sampler)

    @property
    def seeds(self) -> int:
        return self.ground.scores.shape[1]

    @property
    def evaluations(self) -> int:
        return self.ground.scores.shape[2]

    def propose(self) -> int | None:
        """Return the next configuration: one that was not proposed before; None once all were."""
        ground = self.ground
        queue = [one for one in ground.published if one not in self.proposed] if self.begun else []
        if len(self.proposed) == len(ground.cost):
            return None
        number = queue[0] if queue else ground.place(self._ask(), self.proposed)
        self.proposed.append(number)
        return number

    def _ask(self) -> dict[str, Any]:
        trial = self._study.ask()
        configuration = self.ground.space.suggest(trial)
        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return configuration

    def tell(self, number: int, value: float, stopped_at: int | None = None) -> None:
        """Tell the sampler what a configuration is worth; stopped_at: after so many evaluations."""
        configuration, space = self.ground.table.configurations[number], self.ground.space
        distributions, values = space.get_distributions(configuration), space.to_study_values(configuration)
        pruned = stopped_at is not None
        self._study.add_trial(
            optuna.trial.create_trial(
                params={name: values[name] for name in distributions},
                distributions=distributions,
                state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
                value=None if pruned else value,
                intermediate_values={stopped_at: value} if stopped_at is not None else {},
            )
        )

    def run(self, number: int, seed: int | None = None, evaluations: int | None = None) -> float | None:
        """Run on to so many evaluations (all); None where the budget or the seeds do not allow it.

        seed: from 0; the first that the configuration has not had to its end.
        """
        seed = len(self.scores(number)) if seed is None else seed
        until = evaluations or self.evaluations
        before = self.done.get((number, seed), 0)
        price = max(0, until - before) / self.evaluations * self.ground.cost[number]
        if seed >= self.seeds or self.spent + price > self.budget + 1e-9:
            return None
        self.spent += price
        self.done[number, seed] = max(before, until)
        return float(self.ground.scores[number, seed, until - 1])

    def scores(self, number: int) -> list[float]:
        """Return the full-length scores of a configuration, by seed."""
        full = sorted(seed for (one, seed), k in self.done.items() if one == number and k == self.evaluations)
        return [float(self.ground.scores[number, seed, -1]) for seed in full]

    def mean(self, number: int) -> float:
        """Return the mean of the full-length scores; -inf without one."""
        return statistics.fmean(self.scores(number) or [-np.inf])

    def best_mean(self) -> int:
        """Return the configuration with the best mean, whatever its number of seeds."""
        return max({number for number, _ in self.done}, key=self.mean)

    def best(self, numbers: Sequence[int] | None = None) -> int:
        """Return the configuration with the best mean, of those with the most seeds."""
        among = {number for number, _ in self.done} if numbers is None else {*numbers}
        most = max(len(self.scores(number)) for number in among)
        return max((n for n in among if len(self.scores(n)) == most), key=self.mean)


def iterate_proposals(play: Play) -> Iterator[int]:
    """Yield proposals to the end of the table."""
    while (number := play.propose()) is not None:
        yield number


def make_tpe(seed: int) -> optuna.samplers.BaseSampler:
    """Return TPE as a search has it."""
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True, n_startup_trials=STARTUP_TRIALS
    )


def make_gp(seed: int) -> optuna.samplers.BaseSampler:
    """Return Optuna's own Gaussian process."""
    return optuna.samplers.GPSampler(
        seed=seed, n_startup_trials=STARTUP_TRIALS, deterministic_objective=False
    )
