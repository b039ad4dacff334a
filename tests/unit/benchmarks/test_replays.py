"""Replays of searches: reflected and re-drawn tables, what a strategy may spend, what is reported."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.libraries import LIBRARIES
from benchmarks.play import Ground, Play
from benchmarks.recorded import Replay, Table
from benchmarks.replays import (
    DEFAULT,
    OURS,
    TRIALS,
    Replayed,
    Within,
    list_strategies,
    make_ground,
    replay,
    search_as_ours,
)
from benchmarks.search_quality import TABLES, _points, average_recordings, main, report_all, resample
from benchmarks.strategies import REPEATS, STRATEGIES

FILE = TABLES / "snli.parquet"


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.read(FILE)


@pytest.fixture(scope="module")
def certain(table: Table) -> Table:
    """A table without luck: every run scores its configuration's mean, from the first evaluation on."""
    means = np.sort(table.final.mean(axis=1))
    final = np.repeat(means[:, None], table.final.shape[1], axis=1)
    scores = np.repeat(final[:, :, None], table.scores.shape[2], axis=2)
    return Table(**{**vars(table), "final": final, "scores": scores, "passes": np.ones(len(means))})


def distances(table: Table) -> np.ndarray:
    places = Replay(table).places
    return np.square(places[:, None] - places[None]).sum(axis=2)


def test_a_reflected_table_has_its_configurations_elsewhere_and_equally_far_apart(table: Table) -> None:
    reflected = [table.reflect(np.random.default_rng(number)) for number in range(8)]
    assert all(each.configurations != table.configurations for each in reflected)
    for each in reflected:
        assert distances(each) == pytest.approx(distances(table))
    assert len({str(each.configurations[0]) for each in reflected}) > 3


def test_a_table_drawn_anew_has_the_recorded_means_and_covariance(table: Table) -> None:
    drawn = table.redraw(np.random.default_rng(0), 4000)
    assert drawn.truth is not None
    assert drawn.truth[:, 1] == pytest.approx(table.final.mean(axis=1))
    assert drawn.final.mean(axis=1) == pytest.approx(drawn.truth[:, 1], abs=0.02)
    spread, recorded = (one.final.var(axis=1, ddof=1).mean() for one in (drawn, table))
    assert spread == pytest.approx(recorded, rel=0.1)
    shared, seen = (one.final.mean(axis=0).var(ddof=1) for one in (drawn, table))
    own = (recorded - seen) / len(table.final)  # what each draws for itself moves the mean of all too
    assert shared == pytest.approx(seen + own, rel=0.1)


def test_seeds_that_select_are_not_those_of_the_truth(table: Table) -> None:
    ground = Ground(table, 3)
    selecting, truth = ground.world.table.final.mean(axis=1), ground.truth
    assert ground.scores.shape[1] == table.final.shape[1] // 2
    assert (selecting + truth) / 2 == pytest.approx(table.final.mean(axis=1))


@pytest.mark.parametrize("budget", [10.0, 19.0])
@pytest.mark.parametrize("name", [name for name, plain in STRATEGIES.items() if not plain.costly])
def test_a_strategy_keeps_to_its_budget_and_uses_it(name: str, budget: float) -> None:
    plain = STRATEGIES[name]
    for number in range(3):
        ground = make_ground(FILE, 0, False, number)
        play = Play(ground, budget, plain.begun, plain.sampler)
        plain.play(play)
        assert play.spent <= budget + 1e-9
        if not name.startswith(("published", "grid")):  # which have no more seeds
            assert play.spent > budget - REPEATS * ground.cost.max()


def test_ours_exceeds_its_budget_by_the_runs_in_progress_at_most() -> None:
    for number in range(2):
        ground = make_ground(FILE, 0, False, number)
        _, _, spent = search_as_ours(ground, 19)
        assert 12 < spent < 19 + 2 * ground.cost.max()


def test_on_a_reflected_table_ours_begins_with_the_published_values_and_goes_on_with_its_sampler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampled: list[str] = []
    usual = Within._candidate_configurations

    def count(self: Within) -> Iterator[dict[str, Any]]:
        sampled.append("asked")
        yield from usual(self)

    monkeypatch.setattr(Within, "_candidate_configurations", count)
    for number in range(2):
        search_as_ours(make_ground(FILE, 0, True, number), 19)
    assert len(sampled) > 2 * 6
    sampled.clear()
    ground = make_ground(FILE, 0, True, 0)
    search_as_ours(ground, math.inf)
    assert len(sampled) == TRIALS - len(ground.published)


@pytest.mark.parametrize("name", [*list_strategies()])
def test_without_luck_the_best_of_what_was_tried_is_chosen(name: str, certain: Table) -> None:
    ground = Ground(certain, 1)
    if name in STRATEGIES | LIBRARIES:
        plain = (STRATEGIES | LIBRARIES)[name]
        play = Play(ground, 9, plain.begun, plain.sampler)
        assert plain.play(play) == max(number for number, _ in play.done)
    else:
        assert search_as_ours(ground, math.inf if name == DEFAULT else 8)[0] >= 20


def test_a_strategy_begun_alike_proposes_the_published_values_first(table: Table) -> None:
    ground = Ground(table, 0)
    play = Play(ground, 19, begun=True)
    assert [play.propose() for _ in range(3)] == ground.published
    others = len(ground.cost) - len(ground.published)
    assert len({play.propose() for _ in range(others)} | {*ground.published}) == len(ground.cost)
    assert play.propose() is None


def test_an_interval_over_tables_and_recordings_holds_what_they_differ_by() -> None:
    alike = [np.full(13, 0.02), np.full(13, 0.04)]
    assert resample(alike[:1]) == pytest.approx((0.02, 0.02, 0.02))
    assert resample(alike) == pytest.approx((0.03, 0.02, 0.04))
    apart = np.array([0.0, *np.linspace(-0.1, 0.1, 12)])
    mean, low, high = resample([apart])
    assert mean == pytest.approx(0)
    assert low < -0.04 < 0.04 < high


def test_replays_of_one_redrawn_table_are_not_independent() -> None:
    assert _points([[0.0, 0.02]]) == "1.00 ± 1.96"
    assert _points([[0.0] * 25, [0.02] * 25]) == "1.00 ± 1.96"


def test_strategies_are_compared_over_the_replays_that_both_have() -> None:
    one = [replay("grid x seeds", FILE, 0, False, 24, number) for number in range(3)]
    assert average_recordings({(0, False): one[:1]}, {(0, False): one}) == pytest.approx([0])


def test_each_table_counts_the_same_whatever_its_scale(capsys: pytest.CaptureFixture[str]) -> None:
    def play(regret: float, blind: float) -> dict[tuple[int, bool], list[Replayed]]:
        return {(number, False): [Replayed(regret, 0.0, 0.0, blind, 1.0)] * 2 for number in range(3)}

    report_all(
        {
            Path("coarse"): {OURS: play(0.1, 0.2), "other": play(0.2, 0.2)},
            Path("fine"): {OURS: play(0.01, 0.01), "other": play(0.0, 0.01)},
        }
    )
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert rows[0].startswith("| other | 50.00 [0.00, 100.00] | -25.00 [-100.00, 50.00] | 10.00 ")
    assert rows[1].startswith("| ours | 75.00 [50.00, 100.00] | - | 5.50 ")


def test_the_quick_report_has_every_strategy_and_table(capsys: pytest.CaptureFixture[str]) -> None:
    tables = [TABLES / "sick.parquet", TABLES / "snli.parquet"]
    assert main([*map(str, tables), "--quick", "--processes", "1"]) == 0
    told = capsys.readouterr().out
    for name, costly in list_strategies().items():
        assert told.count(f"\n| {name} |") == (0 if costly else 1 + len(tables))
