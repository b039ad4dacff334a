"""A made-up world of runs, for simulations: a surface of true scores, and the noise of seeds over it.

The noise is that of small data: the seed moves the score about as much as the configuration does, early
evaluations are noisier than late ones, and some runs never learn.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.simulator import Lookup
from tune.core.space import SearchSpace, encode_configurations, make_configuration_key

HALF_WAY = 0.25  # share of the steps at which a run has learnt half of what it will


@dataclass(frozen=True)
class Surface:
    """A `benchmarks.simulator.World`. Scores are in the metric's scale, higher is better.

    The true mean of runs that learn is `best` at the point `at` of the space (a row of
    `encode_configurations`), and less
    by `fall` times the mean squared distance. A run deviates from it by an effect of its seed that all
    configurations share (`seed_std`), one of its own (`run_std`), and at each evaluation but the last by one
    more, which shrinks as it goes on (from `curve_std`). With probability `collapse` it stays at `chance`.
    seconds: of a run.
    """

    space: SearchSpace
    at: Sequence[float]
    best: float = 0.5
    fall: float = 0.8
    chance: float = 0.0
    seed_std: float = 0.03
    run_std: float = 0.04
    curve_std: float = 0.05
    collapse: float = 0.05
    seconds: float = 60.0
    steps: Sequence[int] = (12, 25, 37, 50, 62, 75)
    seed: int = 0

    def run(self, configuration: dict[str, Any], seed: int) -> Lookup:
        """See `benchmarks.simulator.World`."""
        name = make_configuration_key(configuration).encode()
        own = np.random.default_rng([self.seed, seed, zlib.crc32(name), 1])
        shared = self.seed_std * np.random.default_rng([self.seed, seed, 0]).standard_normal()
        collapsed, luck = own.random() < self.collapse, self.run_std * own.standard_normal()
        wobble = self.curve_std * own.standard_normal(len(self.steps))
        final = self.chance if collapsed else self._learnt(configuration) + shared + luck
        end = self.steps[-1]
        curve = []
        for step, noise in zip(self.steps, wobble, strict=True):
            left = 1 - step / end
            learnt = (1 - 2 ** (-step / end / HALF_WAY)) / (1 - 2 ** (-1 / HALF_WAY))
            score = (
                self.chance + (final - self.chance) * learnt + (0.0 if collapsed else noise * math.sqrt(left))
            )
            curve.append((step, float(score)))
        return Lookup(curve, self.seconds, float(final))

    def truth(self, configuration: dict[str, Any]) -> float:
        """See `benchmarks.simulator.World`."""
        return self.collapse * self.chance + (1 - self.collapse) * self._learnt(configuration)

    def _learnt(self, configuration: dict[str, Any]) -> float:
        distance = np.square(encode_configurations(self.space, [configuration])[0] - np.asarray(self.at))
        return self.best - self.fall * float(distance.mean())
