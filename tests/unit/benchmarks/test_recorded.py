"""Recorded tables come back as they were written, and stand for the runs of a search."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record_table import _without_folders, list_runs_left, write
from benchmarks.recorded import Replay, Table
from benchmarks.simulator import Slot, simulate
from dps.errors import InputError
from dps.methods import METHODS
from dps.training.result import Outcome
from tests.unit.tune.helpers import make_record, make_space, strategy
from tune.records.ledger import TrialRecord

SPACE = make_space(("dps-dense",))
CONFIGURATIONS = [SPACE.from_study_values(values) for values in SPACE.draw_latin_hypercube(5, 0)]
SEEDS = (7, 8, 9)
STEPS = (20, 40, 60)
METADATA = {"space": SPACE.to_description(), "names": SPACE.study_names, "chance": -1.0}


def score(number: int, seed: int, step: int) -> float:
    return number / 10 + seed / 100 + step / 10_000


def records() -> list[TrialRecord]:
    """Five configurations with three seeds each; configuration 3 diverged with seed 8."""
    made = []
    for number, configuration in enumerate(CONFIGURATIONS):
        for seed in SEEDS:
            diverged = (number, seed) == (3, 8)
            changes: dict[str, Any] = {
                "purpose": "search",
                "configuration": configuration,
                "seed": seed,
                "scores": [(step, score(number, seed, step)) for step in STEPS[: 1 if diverged else None]],
                "seconds": 60.0 + number,
                "final": {} if diverged else {"cola": {"matthews_correlation": number / 10, "accuracy": 0.1}},
            }
            made.append(
                make_record(len(made), Outcome.DIVERGED if diverged else Outcome.COMPLETED, **changes)
            )
    return made


@pytest.fixture
def table(tmp_path: Path) -> Table:
    write(tmp_path / "table.parquet", records(), METADATA)
    return Table.read(tmp_path / "table.parquet")


def test_a_table_holds_what_was_recorded(table: Table) -> None:
    assert table.configurations == CONFIGURATIONS
    assert table.steps.tolist() == [list(STEPS)] * 5
    assert table.space.to_description() == SPACE.to_description()
    assert set(table.passes) == {16 * METHODS["dps-dense"]().cost.passes(60, 0)}
    assert table.scores.shape == (5, 3, 3)
    assert table.scores[2, 1].tolist() == [score(2, 8, step) for step in STEPS]
    assert table.scores[3, 1, 0] == score(3, 8, 20)
    assert all(math.isnan(value) for value in table.scores[3, 1, 1:])
    assert table.final[4].tolist() == [0.4] * 3
    assert table.final[3].tolist() == [0.3, -1.0, 0.3]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda runs: runs[:-1], r"lacks 1 of 5 x 3 runs"),
        (lambda runs: [*runs[:-1], make_last(Outcome.LOST)], r"configuration 4, seed 9 ended lost"),
        (lambda runs: [], r"is no table of benchmarks/record_table\.py"),
    ],
)
def test_a_table_with_gaps_is_refused(tmp_path: Path, changed: Any, message: str) -> None:
    write(tmp_path / "table.parquet", changed(records()), METADATA)
    with pytest.raises(InputError, match=message):
        Table.read(tmp_path / "table.parquet")


def make_last(outcome: Outcome) -> TrialRecord:
    last = records()[-1]
    last.outcome = outcome
    return last


def test_the_nearest_recorded_configuration_stands_for_a_new_one(table: Table) -> None:
    world = Replay(table, SEEDS.index)
    for number, configuration in enumerate(CONFIGURATIONS):
        near = {**configuration, "learning_rate": configuration["learning_rate"] * 1.01}
        assert world.nearest(near) == number
    lookup = world.run(CONFIGURATIONS[2], 8)
    assert (lookup.curve, lookup.seconds, lookup.final) == (
        [(step, score(2, 8, step)) for step in STEPS],
        table.passes[2],
        0.2,
    )
    assert world.truth(CONFIGURATIONS[3]) == pytest.approx((0.3 - 1.0 + 0.3) / 3)


def test_a_search_runs_over_a_table(table: Table) -> None:
    plan = strategy(Path("nowhere"), trials=12, space=SPACE, sampler="random", seed=1)
    world = Replay(table, lambda seed: seed % 3)
    made = simulate(plan, world, "none", [Slot(), Slot()])
    tried = {world.nearest(record.configuration): record.outcome for record in made.ledger.records("search")}
    assert len(tried) > 2
    assert all((outcome == Outcome.DIVERGED) == (number == 3) for number, outcome in tried.items())
    best = max(tried.keys() - {3})
    assert made.searcher.confirmed_winner is not None
    assert world.nearest(made.searcher.confirmed_winner.configuration) == best
    finals = [record.final["dev"]["matthews_correlation"] for record in made.ledger.records("confirmation")]
    assert finals == [best / 10] * 3


def test_a_table_that_is_handed_on_names_no_folder_of_its_machine() -> None:
    found = _without_folders({"data": "/home/me/glue", "command": ["python", "--data", "/x/y"], "seeds": 8})
    assert found == {"data": "glue", "command": ["python", "--data", "y"], "seeds": 8}


def test_a_table_that_is_resumed_with_more_trials_and_seeds_keeps_what_it_has(tmp_path: Path) -> None:
    small, large = (strategy(tmp_path, space=SPACE, seed=7, design_size=size) for size in (6, 9))
    runs = list_runs_left([], small, 2)
    made = [make_record(number, configuration=each, seed=seed) for number, (each, seed) in enumerate(runs)]
    assert [seed for _, seed in runs] == [7] * 6 + [8] * 6
    assert list_runs_left(made[:4], small, 2) == runs[4:]
    more = list_runs_left(made, large, 3)
    assert [seed for _, seed in more] == [7] * 3 + [8] * 3 + [9] * 9
    assert [each for each, _ in more[6:12]] == [each for each, _ in runs[:6]]
    begun = [
        make_record(100 + number, configuration=each, seed=seed)
        for number, (each, seed) in enumerate(more[:2])
    ]
    assert list_runs_left([*made, *begun], large, 3) == more[2:]
    with pytest.raises(InputError, match="--trials: more were recorded"):
        list_runs_left([*made, *begun], small, 3)
