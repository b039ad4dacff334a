"""The files in configs/: each is read by its command, and what it names can be searched."""

from __future__ import annotations

from pathlib import Path

import pytest

from dps.tasks import registry, transfer
from tune.core.option_types import TASK_PRESETS
from tune.core.options import CompareOptions, SearchOptions
from tune.core.parsing import parse_options
from tune.planning import space_options

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
STEPS = {"rte": 468, "mrpc": 690, "stsb": 1080, "cola": 1605}  # of the paper, batch 16, three epochs


def test_the_presets_are_there() -> None:
    assert {f"paper-{task}" for task in STEPS} | {"low-resource"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("task", STEPS)
def test_the_papers_protocol(task: str) -> None:
    (path,) = [path for path in CONFIGS if path.stem == f"paper-{task}"]
    options = parse_options(["--config", str(path)], SearchOptions)
    assert (options.task, options.model, options.max_steps) == (task, "bert-large-cased", STEPS[task])
    assert (options.batch_size, options.max_length, options.select_on) == (16, 128, "dev")
    made = space_options.build_search_space(
        options.method_names, options.freeze, 335_000_000, STEPS[task], 24, options.space
    )
    assert made.list_grid() == {
        "learning_rate": [1e-5, 2e-5, 3e-5, 4e-5],
        "selection_ratio": [0.7],
        "update_ratio": [0.05],
    }
    assert options.trials == 4


def test_the_papers_table_is_one_command() -> None:
    options = parse_options(["--config", "paper-table", "--task", "cola,rte"], CompareOptions)
    assert options.tasks == ("cola", "rte")
    assert parse_options(["--config", "paper-table"], CompareOptions).tasks == TASK_PRESETS["glue"]
    assert all(registry.get_task(task).name == task for task in TASK_PRESETS["glue"])
    space_options.check_methods_and_sampler(options.method_names)
    assert {"vanilla", "dps-dense", "dps-mix"} < {*options.method_names}


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if not path.stem.startswith("paper-")], ids=lambda path: path.stem
)
def test_the_scenarios_of_a_comparison(path: Path) -> None:
    options = parse_options(["--config", str(path)], CompareOptions)
    space_options.check_methods_and_sampler(options.method_names)
    assert options.baseline in options.method_names
    if options.transfer:
        assert transfer.TRANSFER_TARGETS[registry.get_task(options.task).name]
    if "mnli" in path.stem or "snli" in path.stem:
        assert (options.train_size, options.max_steps) == (8000, 1500)
