"""What the simulation of known truths says of the product, in a quick form; its seeds are fixed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchmarks import calibration_of_claims as calibration
from benchmarks.calibration_of_claims import WORLDS, Figure, Table
from tune.stats.resampling import score_runs


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.metric)
def test_the_truth_of_a_world_is_the_mean_of_its_runs(world: Any) -> None:
    scores = []
    for number in range(300):
        labels, runs = world.draw(np.random.default_rng(number), 4, (0.0, 0.05), 0.2)
        scores.append([np.mean(score_runs(world.metric, labels, each)) for each in runs])
    assert np.mean(scores, axis=0) == pytest.approx([world.mean(0.2), world.mean(0.2) + 0.05], abs=0.02)


def values(row: list[str | Figure]) -> list[float]:
    return [cell.value for cell in row if isinstance(cell, Figure)]


def test_intervals_and_tests_keep_what_they_say() -> None:
    covered, _, learnt, difference, above, alarms, small, large = values(
        calibration.simulate_intervals(WORLDS[0], 5, 0.0, 80)
    )
    assert min(covered, learnt, difference) >= 0.9
    assert max(above, alarms) <= 0.07
    assert small < 0.3 < large


def test_an_interval_knows_only_the_collapses_that_were_seen() -> None:
    covered, seen, learnt, *_ = values(calibration.simulate_intervals(WORLDS[0], 5, 0.2, 80))
    assert covered < min(seen, learnt)
    assert min(seen, learnt) >= 0.85


def test_following_the_advice_adds_few_false_alarms() -> None:
    row = calibration.simulate_looks(WORLDS[0], 0.0, 0.0, 80)
    first, last, uncorrected = values(row)
    assert first <= last <= first + 0.03
    assert last < uncorrected


def test_what_misses_its_aim_stands_first() -> None:
    figures = [
        Figure(0.84, 0.02, (0.95, 1)),
        Figure(0.94, 0.02, (0.95, 1)),
        Figure(math.nan, math.nan, (0, 1)),
    ]
    table = Table("Intervals", ("seeds", "covered (95)", "again", "never"), [["5", *figures]])
    head, body = calibration.render_report([table], "python x.py").split("## Intervals")
    assert "- Intervals; 5: covered 84.0 %" in head
    assert "again" not in head
    assert "| 5 | **84.0 ± 2.0** | 94.0 ± 2.0 | - |" in body
