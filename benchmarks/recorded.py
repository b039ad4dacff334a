"""Real runs, replayed: the table that benchmarks/record_table.py writes, as a world of simulations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulator import Lookup
from dps.errors import InputError
from dps.training.result import Outcome
from tune.core.space import SearchSpace, encode_configurations

RUN_COLUMNS = {"configuration", "seed", "outcome", "seconds", "dev", "step", "score"}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Recorded runs of C configurations with S seeds, K evaluations each.

    steps: (K,). scores: (C, S, K) on the selection data, NaN from where a run diverged. seconds: (C, S).
    final: (C, S) on the evaluation set, `chance` of a run that diverged.
    """

    configurations: list[dict[str, Any]]
    steps: list[int]
    scores: Floats
    seconds: Floats
    final: Floats
    space: SearchSpace
    metadata: dict[str, Any]

    @classmethod
    def read(cls, file: Path, chance: float = 0.0) -> Table:
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
        steps = sorted({row["step"] for row in rows if row["outcome"] == Outcome.COMPLETED})
        scores = np.full((count, len(seeds), len(steps)), np.nan)
        seconds, final = np.zeros((count, len(seeds))), np.full((count, len(seeds)), chance)
        for (number, seed), run in runs.items():
            place = number, seeds.index(seed)
            outcome, seconds[place] = run[0]["outcome"], run[0]["seconds"]
            if outcome not in (Outcome.COMPLETED, Outcome.DIVERGED):
                raise InputError(f"table: {file}: configuration {number}, seed {seed} ended {outcome}")
            for row in run:
                if row["step"] in steps and row["score"] is not None:
                    scores[*place, steps.index(row["step"])] = row["score"]
            if outcome == Outcome.COMPLETED:
                final[place] = run[0]["dev"]
        configurations = [_configuration(runs[number, seeds[0]][0]) for number in range(count)]
        space = SearchSpace.from_description(metadata["space"], metadata["names"])
        return cls(configurations, steps, scores, seconds, final, space, metadata)


def _configuration(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in RUN_COLUMNS and value is not None}


class Replay:
    """A `benchmarks.simulator.World` of recorded runs.

    The recorded configuration nearest to the one asked for stands for it; `seeds` says which of the recorded
    seeds (0 to S - 1) stands for a seed.
    """

    def __init__(self, table: Table, seeds: Callable[[int], int]) -> None:
        self.table, self.seeds = table, seeds
        self._places = encode_configurations(table.space, table.configurations)

    @property
    def steps(self) -> Sequence[int]:
        """See `benchmarks.simulator.World`."""
        return self.table.steps

    def nearest(self, configuration: dict[str, Any]) -> int:
        """The number of the recorded configuration that stands for this one."""
        distance = np.square(self._places - encode_configurations(self.table.space, [configuration])).sum(
            axis=1
        )
        return int(distance.argmin())

    def run(self, configuration: dict[str, Any], seed: int) -> Lookup:
        """See `benchmarks.simulator.World`."""
        place = self.nearest(configuration), self.seeds(seed)
        curve = [*zip(self.table.steps, map(float, self.table.scores[place]), strict=True)]
        return Lookup(curve, float(self.table.seconds[place]), float(self.table.final[place]))

    def truth(self, configuration: dict[str, Any]) -> float:
        """See `benchmarks.simulator.World`."""
        return float(self.table.final[self.nearest(configuration)].mean())
