"""Real runs, replayed: the table that benchmarks/record_table.py writes, as a world of simulations.

A table can be reflected (its parameter ranges mirrored, so that published values are nowhere special) and
drawn anew (its mean surface as the known truth, with other seeds of the recorded covariance).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulator import Lookup
from dps.errors import InputError
from dps.methods import METHODS
from dps.ranges import Choice, Domain
from dps.training.config import TRAINING_PARAMETERS, FineTuneConfig
from dps.training.result import Outcome
from tune.core.space import SearchSpace, encode_configurations

RUN_COLUMNS = {"configuration", "seed", "outcome", "seconds", "dev", "step", "score"}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Recorded runs of C configurations with S seeds, K evaluations each.

    steps: (C, K) of the evaluations. scores: (C, S, K) on the selection data, NaN from where a run diverged.
    final: (C, S) on the evaluation set, `chance` of a run that diverged. passes: (C,) forward-backward passes
    over an example that a full run takes. truth: (C, 2) known true means of the last score and of `final`,
    None where nobody knows.
    """

    configurations: list[dict[str, Any]]
    steps: NDArray[np.int64]
    scores: Floats
    final: Floats
    passes: Floats
    space: SearchSpace
    metadata: dict[str, Any]
    chance: float = 0.0
    truth: Floats | None = None

    @classmethod
    def read(cls, file: Path) -> Table:
        """Raises InputError where runs are missing, or where one neither completed nor diverged."""
        import pyarrow.parquet as pq

        stored = pq.read_table(file)
        metadata = json.loads((stored.schema.metadata or {}).get(b"dps", b"{}"))
        rows = stored.to_pylist()
        if not rows or "space" not in metadata:
            raise InputError(f"table: {file} is no table of benchmarks/record_table.py")
        runs: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for row in rows:
            runs.setdefault((row["configuration"], row["seed"]), []).append(row)
        count, seeds = 1 + max(number for number, _ in runs), sorted({seed for _, seed in runs})
        if missing := [key for key in np.ndindex(count, len(seeds)) if (key[0], seeds[key[1]]) not in runs]:
            raise InputError(f"table: {file} lacks {len(missing)} of {count} x {len(seeds)} runs")
        chance = float(metadata.get("chance") or 0.0)
        steps = [_steps_of([runs[number, seed] for seed in seeds]) for number in range(count)]
        scores = np.full((count, len(seeds), max(map(len, steps))), np.nan)
        final = np.full((count, len(seeds)), chance)
        for (number, seed), run in runs.items():
            place, outcome = (number, seeds.index(seed)), run[0]["outcome"]
            if outcome not in (Outcome.COMPLETED, Outcome.DIVERGED):
                raise InputError(f"table: {file}: configuration {number}, seed {seed} ended {outcome}")
            for row in run:
                if row["step"] in steps[number] and row["score"] is not None:
                    scores[*place, steps[number].index(row["step"])] = row["score"]
            if outcome == Outcome.COMPLETED:
                final[place] = run[0]["dev"]
        configurations = [_configuration(runs[number, seeds[0]][0]) for number in range(count)]
        options = metadata.get("options", {})
        usual = {name: options.get(name) or getattr(FineTuneConfig, name) for name in TRAINING_PARAMETERS}
        passes = [
            METHODS[each["method"]]().cost.passes(at[-1], 0) * each.get("batch_size", usual["batch_size"])
            for each, at in zip(configurations, steps, strict=True)
        ]
        space = SearchSpace.from_description(metadata["space"], metadata["names"])
        space = replace(space, training_values=usual)
        return cls(configurations, np.array(steps), scores, final, np.array(passes), space, metadata, chance)

    def reflect(self, rng: np.random.Generator) -> Table:
        """Return the table with the ranges of some parameters, at least one, mirrored: what was recorded at
        one end stands at the other, the distances between configurations stay."""
        names = [name for name, domain in self.space.parameters.items() if not _is_fixed(domain)]
        chosen = {name for name in names if rng.random() < 0.5} or {names[rng.integers(len(names))]}
        configurations = []
        for configuration in self.configurations:
            values = self.space.to_study_values(configuration)
            mirrored = {
                name: _mirror(self.space.parameters[name], value) if name in chosen else value
                for name, value in values.items()
            }
            configurations.append(self.space.from_study_values(mirrored))
        return replace(self, configurations=configurations)

    def redraw(self, rng: np.random.Generator, seeds: int) -> Table:
        """Return a table of so many new seeds, whose truth is this one's means.

        A run is its configuration's mean curve, an effect of its seed that all configurations share, and one
        of its own; both are normal, with the covariance over evaluations that was recorded (of its own: for
        each configuration).
        """
        scores = np.where(np.isnan(self.scores), self.chance, self.scores)
        runs = np.concatenate([scores, self.final[:, :, None]], axis=2)
        count, recorded = self.final.shape
        mean = runs.mean(axis=1)
        shared = (runs - mean[:, None]).mean(axis=0)
        own = runs - mean[:, None] - shared
        freedom = recorded - 1
        drawn = (
            mean[:, None]
            + rng.standard_normal((seeds, recorded)) @ shared / freedom**0.5
            + rng.standard_normal((count, seeds, recorded)) @ own / (freedom * (1 - 1 / count)) ** 0.5
        )
        return replace(self, scores=drawn[:, :, :-1], final=drawn[:, :, -1], truth=mean[:, -2:])


def _steps_of(runs: list[list[dict[str, Any]]]) -> list[int]:
    """Return the steps at which a configuration was evaluated: those of its longest run."""
    return max((sorted(row["step"] for row in run) for run in runs), key=len)


def _configuration(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in RUN_COLUMNS and value is not None}


def _is_fixed(domain: Domain) -> bool:
    return len(domain.values) == 1 if isinstance(domain, Choice) else domain.low == domain.high


def _mirror(domain: Domain, value: Any) -> Any:
    if isinstance(domain, Choice):
        return domain.values[len(domain.values) - 1 - domain.values.index(value)]
    return domain.low * domain.high / value if domain.log else domain.low + domain.high - value


class Replay:
    """A `benchmarks.simulator.World` of recorded runs.

    The recorded configuration nearest to the one asked for stands for it; `seeds` says which of the recorded
    seeds (0 to S - 1) stands for a seed. The seconds of a run are its passes.
    """

    def __init__(self, table: Table, seeds: Callable[[int], int] = lambda seed: seed) -> None:
        self.table, self.seeds = table, seeds

    @cached_property
    def places(self) -> Floats:
        """The recorded configurations, encoded: (C, d)."""
        return encode_configurations(self.table.space, self.table.configurations)

    @property
    def steps(self) -> Sequence[int]:
        """See `benchmarks.simulator.World`."""
        return [*map(int, self.table.steps[0])]

    def order(self, configuration: dict[str, Any]) -> NDArray[np.int64]:
        """Return the numbers of the recorded configurations, the nearest first."""
        here = encode_configurations(self.table.space, [configuration])
        return np.argsort(np.square(self.places - here).sum(axis=1), kind="stable")

    def nearest(self, configuration: dict[str, Any]) -> int:
        """Return the number of the recorded configuration that stands for this one."""
        return int(self.order(configuration)[0])

    def run(self, configuration: dict[str, Any], seed: int) -> Lookup:
        """See `benchmarks.simulator.World`."""
        number = self.nearest(configuration)
        place = number, self.seeds(seed)
        steps, scores = map(int, self.table.steps[number]), map(float, self.table.scores[place])
        curve = [*zip(steps, scores, strict=True)]
        return Lookup(curve, float(self.table.passes[number]), float(self.table.final[place]))

    def truth(self, configuration: dict[str, Any]) -> float:
        """See `benchmarks.simulator.World`."""
        return float(self.table.final[self.nearest(configuration)].mean())
