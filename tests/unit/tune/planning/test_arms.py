"""Arms of any kind: what each trains, what is refused, what is taken as given."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dps.errors import InputError
from dps.tasks.registry import GLUE_TASKS
from tests.tiny import data_folder, examples, model_folder
from tests.unit.tune.helpers import FakeTune, open_ledgers
from tune.console.plan import format_plan
from tune.core.options import CompareOptions
from tune.planning.cluster import Cluster, Node
from tune.planning.plan import Plan
from tune.planning.planner import make_plan
from tune.strategy.arms import make_arms
from tune.strategy.budget import SlotCount

HERE = Cluster(None, (Node(64.0, 0.0, 2.0**40),))
TASK = """
name: own
columns: sentence
labels: [unacceptable, acceptable]
metric: accuracy
files: {train: train.csv, dev: dev.csv}
"""


def write_rows(file: Path, count: int, first: int = 0) -> None:
    rows = list(examples(GLUE_TASKS["cola"], count, first))
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["sentence", "label"])
        writer.writerows([row["sentence"], ("unacceptable", "acceptable")[row["label"]]] for row in rows)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an own task, another training file, a task without a dev file, and two models."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.yaml").write_text(TASK, encoding="utf-8")
    (folder / "split.yaml").write_text(TASK.replace(", dev: dev.csv", ""), encoding="utf-8")
    for name, count, first in (("train", 60, 0), ("more", 80, 100), ("dev", 24, 300)):
        write_rows(folder / f"{name}.csv", count, first)
    data_folder(folder / "data", GLUE_TASKS["cola"])
    data_folder(folder / "other", GLUE_TASKS["cola"], dev=20)
    for name in ("one", "two"):
        model_folder(folder / name)
    return folder


def plan(folder: Path, arms: Any, task: str = "own.yaml", **options: Any) -> Plan:
    named = {"task": str(folder / task) if task.endswith("yaml") else task, "model": str(folder / "one")}
    return make_plan(CompareOptions(**{**named, "arms": arms, **options}), HERE)


def test_each_arm_has_what_it_names_and_the_rest_of_the_options(own: Path) -> None:
    made = plan(
        own,
        {
            "usual": None,
            "long": {"model": str(own / "two"), "epochs": 6, "learning_rate": 2e-5},
            "more": {"method": "dps-dense", "files.train": str(own / "more.csv"), "train_size": 70},
        },
        epochs=2,
        batch_size=8,
    )
    usual, long, more = made.arms.values()
    assert [Path(arm.settings.model).name for arm in made.arms.values()] == ["one", "two", "one"]
    assert [arm.settings.epochs for arm in made.arms.values()] == [2, 6, 2]
    assert [arm.preview.examples["train"] for arm in made.arms.values()] == [60, 60, 70]
    assert [arm.space.methods for arm in made.arms.values()] == [("vanilla",), ("vanilla",), ("dps-dense",)]
    assert {arm.preview.fingerprints["dev"] for arm in made.arms.values()} == {
        usual.preview.fingerprints["dev"]
    }
    assert more.preview.fingerprints["train"] != usual.preview.fingerprints["train"]
    assert [made.count_trials(name) for name in made.arms] == [4, 1, 4]  # a named learning rate is fixed
    assert long.space.list_grid() == {"learning_rate": [2e-5]}
    jobs = {name: made.make_strategy(name, SlotCount(1), "work", [[], []]) for name in made.arms}
    assert jobs["more"].fingerprints == more.preview.fingerprints
    assert jobs["long"].settings is long.settings
    said = "\n".join(format_plan(made))
    assert (
        "usual                method vanilla, model one, training data train.csv, training examples 60"
        in said
    )
    assert "learning_rate 2e-05" in said


def test_arms_differ_in_loss_threshold_and_shots(own: Path) -> None:
    made = plan(own, ["loss=focal", "b: threshold=0.3", "shots=5", "threshold=tuned"])
    settings = [arm.settings for arm in made.arms.values()]
    assert [each.loss for each in settings] == ["focal", "plain", "plain", "plain"]
    assert [each.threshold for each in settings] == [None, 0.3, None, "tuned"]
    assert [each.shots for each in settings] == [None, None, 5, None]
    differs = made.list_differences()
    assert [differs[name]["threshold"] for name in made.arms] == ["0.5", "0.3", "0.5", "tuned"]
    assert differs["shots-5"]["training examples"] == "10 (5 of each class)"
    assert not any(line.startswith(("loss", "threshold")) for line in format_plan(made))
    patient = plan(own, ["a: method=vanilla", "b: patience=2"])
    assert patient.list_differences()["b"]["patience"] == "2"
    assert not any(line.startswith("patience") for line in format_plan(patient))
    assert plan(own, ["a: max_steps=5", "b: epochs=3"]).list_differences()["a"] == {
        "epochs": "-",
        "steps": "5",
    }


def test_methods_are_the_short_form_of_arms_that_differ_in_the_method_alone(own: Path) -> None:
    short = plan(own, {}, methods="dps-dense")
    arms = plan(own, ["method=vanilla", "method=dps-dense"])
    assert list(short.arms) == list(arms.arms) == ["vanilla", "dps-dense"]
    assert [short.get_identity(arm) for arm in short.arms] == [arms.get_identity(arm) for arm in arms.arms]


def test_what_is_given_is_confirmed_alone(own: Path) -> None:
    made = plan(
        own, ["method=vanilla", "method=dps-dense,learning_rate=1e-5,epochs=3"], tune="none", confirm=3
    )
    ledgers = open_ledgers(None, list(made.arms))
    strategies = {arm: made.make_strategy(arm, SlotCount(2), "work", [[], []]) for arm in made.arms}
    tune = FakeTune(make_arms(ledgers, strategies, [], lambda: False, 0.0))
    tune.run()
    assert tune.finished
    assert Counter((job.arm, str(job.purpose)) for job in tune.seen) == {
        ("vanilla", "confirmation"): 3,
        ("dps-dense+lr-1e-5+epochs-3", "confirmation"): 3,
    }
    given = {job.arm: job.configuration for job in tune.seen}["dps-dense+lr-1e-5+epochs-3"]
    assert (given["learning_rate"], given["selection_ratio"]) == (1e-5, 0.7)  # named, and published
    assert made.trials == 0
    assert any("each as given: 3 paired seeds" in line for line in format_plan(made))


@pytest.mark.parametrize(
    ("arm", "task", "says"),
    [
        ("metod=dps-dense", "own.yaml", "b: metod: an arm cannot name it; did you mean method?"),
        ("method=dps-dens", "own.yaml", "there is no method 'dps-dens'; did you mean dps-dense?"),
        ("epochs=-1", "own.yaml", "b: epochs: must be greater than 0, but got -1"),
        ("selection_ratio=0.5", "own.yaml", "b: selection_ratio: an arm cannot name it"),
        ("train_size=20,30", "own.yaml", "b: train_size: takes one value, but got [20, 30]"),
        ("epochs=2,max_steps=5", "own.yaml", "b: epochs: has no effect beside max_steps"),
        ("threshold=0.3..0.5", "own.yaml", "b: threshold: takes one value, but got '0.3..0.5'"),
        ("files.train=none.csv", "own.yaml", "files: train: there is no none.csv"),
        ("files.train={}/more.csv", "split.yaml", "b: its dev has other examples than that of a; it is"),
        ("files.train={}/more.csv", "cola", "b: files.train: cola reads no files of its own here"),
        ("data={}/other", "cola", "b: its dev has other examples than that of a; arms are"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_line(own: Path, arm: str, task: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        plan(
            own,
            ["a: method=vanilla", f"b: {arm.format(own)}"],
            task,
            data=str(own / "data") if task == "cola" else "auto",
        )
    assert str(refused.value).startswith("--arms: b: ")
    assert says in str(refused.value)
