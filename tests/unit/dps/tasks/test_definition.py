"""A task of one's own: its YAML file, its examples, the split that is made where there is no dev set."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dps import sources
from dps.errors import InputError
from dps.sources.task_files import TaskSource
from dps.tasks import definition, metrics, registry
from dps.tasks.task import Task
from dps.yaml_text import parse_yaml
from tests.unit.tune.helpers import SETTINGS
from tune import compare, search
from tune.core.command import choose_output_folder
from tune.core.job_config import make_fine_tune_config
from tune.core.options import SearchOptions
from tune.core.run import Job

TICKETS = {
    "name": "tickets",
    "columns": "text",
    "label": "team",
    "labels": ["billing", "bug", "praise"],
    "files": {"train": "train.csv", "dev": "dev.csv"},
}


def write(folder: Path, **changes: Any) -> Path:
    """The YAML file of a task; a change to None leaves a key out."""
    document = {key: value for key, value in {**TICKETS, **changes}.items() if value is not None}
    file = folder / "tickets.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


def csv(file: Path, rows: list[tuple[str, ...]], header: str = "text,team") -> None:
    file.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")


def rows(count: int, first: int = 0) -> list[tuple[str, ...]]:
    return [(f"text {number}", TICKETS["labels"][number % 3]) for number in range(first, first + count)]


def test_a_classification(tmp_path: Path) -> None:
    task = registry.get_task(str(write(tmp_path)))
    assert (task.name, task.columns, task.label) == ("tickets", ("text",), "team")
    assert (task.labels, task.metrics) == (("billing", "bug", "praise"), ("macro_f1",))
    assert not task.is_regression
    assert task.data_location is not None
    assert dict(task.data_location.splits) == {
        split: str(tmp_path / f"{split}.csv") for split in ("train", "dev")
    }


def test_a_regression_of_pairs(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        kind="regression",
        labels=None,
        columns=["a", "b"],
        range=[1, 5],
        metric=["spearman", "pearson"],
    )
    task = registry.get_task(str(file))
    assert (task.columns, task.is_regression, task.score_range) == (("a", "b"), True, (1.0, 5.0))
    assert task.metrics == ("spearman", "pearson")


def test_a_definition_makes_the_task_again_without_its_data(tmp_path: Path) -> None:
    for changes in ({}, {"kind": "regression", "labels": None, "range": [0, 1]}, {"metric": ["accuracy"]}):
        task = registry.get_task(str(write(tmp_path, **changes)))
        again = registry.restore_task(json.loads(json.dumps(definition.make_definition(task))))
        assert again.data_location is None
        assert definition.make_definition(again) == definition.make_definition(task)
        definition.write_task_file(task, tmp_path / "again.yaml", {"files": TICKETS["files"]})
        assert registry.get_task(str(tmp_path / "again.yaml")).columns == task.columns
    assert registry.restore_task("cola") is registry.get_task("cola")


def test_labels_that_yaml_would_read_as_something_else_survive_writing(tmp_path: Path) -> None:
    labels = ["no", "yes", "1.0", "null", "a: b", "ü"]
    task = definition.parse_definition({"name": "t", "columns": "text", "labels": labels})
    definition.write_task_file(task, tmp_path / "t.yaml")
    assert registry.get_task(str(tmp_path / "t.yaml")).labels == tuple(labels)


def test_a_task_travels_to_other_processes(tmp_path: Path) -> None:
    task = registry.get_task(str(write(tmp_path)))
    assert pickle.loads(pickle.dumps(task)) == task
    assert registry.get_task(task) is task


def test_the_name_of_a_task(tmp_path: Path) -> None:
    assert registry.get_task_name(str(write(tmp_path))) == "tickets"
    assert registry.get_task_name("cola") == "cola"
    assert registry.get_task_name("cola-rte") == "cola-rte"  # of several comparisons


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lables": ["a", "b"]}, "there is no key 'lables'; did you mean labels?"),
        ({"zzz": 1}, "there is no key 'zzz'; the keys are name, columns"),
        ({"files": {"training": "train.csv"}}, "files: there is no key 'training'; did you mean train?"),
        ({"hub": {"name": "a/b", "confg": "x"}, "files": None}, "hub: there is no key 'confg'; did you mean"),
        ({"name": None}, "name: is missing"),
        ({"name": "../up"}, "name: must be letters"),
        ({"name": "a" * 65}, "name: must be letters"),
        ({"name": "<b>"}, "name: must be letters"),
        ({"name": "cola"}, "name: 'cola' is the name of another task"),
        ({"columns": None}, "columns: is missing"),
        ({"columns": ["a", "b", "c"]}, "columns: must be one text column, or two for pairs, but got 3"),
        ({"columns": ["a", "a"]}, "columns: 'a' appears twice"),
        ({"columns": "label", "label": "y"}, "columns: no text column can be called 'label'"),
        ({"columns": "team"}, "label: 'team' is a text column too"),
        ({"label": ["a", "b"]}, "kind: multi-label reads several labels from one column"),
        ({"kind": "ranking"}, "kind: must be classification, regression or multi-label, but got 'ranking'"),
        ({"labels": None}, "kind: must be classification, regression or multi-label, but it is missing"),
        ({"labels": ["a"]}, "labels: a classification needs at least two classes"),
        ({"labels": ["a", "a"]}, "labels: 'a' appears twice"),
        ({"labels": ["a", True]}, "labels: must be text, but YAML reads True; put it in quotes"),
        ({"labels": ["a", 1.5]}, "labels: must be text, but YAML reads 1.5"),
        ({"labels": ["a", "b "]}, "labels: 'b ' begins or ends with a space"),
        ({"kind": "regression"}, "labels: a regression has none"),
        ({"range": [0, 1]}, "range: a classification has none"),
        ({"separator": ";"}, "separator: a classification has none"),
        ({"group": ["a", "b"]}, "group: must be one column, but got 2"),
        ({"label": "team", "columns": "text", "group": "team"}, "group: 'team' is the label"),
        ({"threshold": 0.3}, "threshold: tickets has 3 classes"),
        ({"labels": ["a", "b"], "threshold": "tuned"}, "threshold: must be a probability in (0, 1)"),
        ({"kind": "multi-label", "range": [0, 1]}, "range: a multi-label task has none"),
        ({"kind": "multi-label", "labels": None}, "labels: is missing"),
        ({"kind": "multi-label", "separator": " "}, "separator: must be text such as '|', but got ' '"),
        ({"kind": "multi-label", "separator": "u"}, "separator: 'u' is part of the label 'bug'"),
        ({"kind": "multi-label", "metric": "accuracy"}, "several labels (micro_f1, macro_f1, samples_f1)"),
        ({"kind": "regression", "labels": None, "range": [1, 0]}, "range: must be [lowest, highest]"),
        ({"metric": "f1"}, "metric: must be one for 3 classes (accuracy, macro_f1"),
        ({"metric": "auroc"}, "but got 'auroc'"),
        ({"kind": "regression", "labels": None, "metric": "accuracy"}, "a regression (pearson, spearman)"),
        ({"files": {"dev": "dev.csv"}}, "train: is missing"),
        ({"files": {"train": "train.xlsx"}}, "files: train must be a .csv, .tsv, .jsonl, .parquet file"),
        ({"files": {"train": "a.csv", "dev": "a.csv"}}, "files: train and dev are the same file"),
        ({"files": {"train": "../a.csv"}}, "files: train: '../a.csv' leads out of"),
        ({"hub": "a/b"}, "files, hub: there must be only one of them"),
        ({"hub": "a/b/c", "files": None}, "hub: must be the name of a data set"),
        ({"hub": {"name": 3}, "files": None}, "hub: name must be text, but got 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    file = write(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        registry.get_task(str(file))
    assert says in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "- a list", "name: [", "!!python/object/apply:os.system ['true']", "\x00", "42"]
)
def test_what_is_no_task_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.yaml"):
        registry.get_task(str(tmp_path / "t.yaml"))


def test_no_file_and_no_such_task() -> None:
    with pytest.raises(InputError, match=r"cannot read nowhere\.yaml"):
        registry.get_task("nowhere.yaml")
    with pytest.raises(InputError, match=r"no task 'poems'; choose one of cola, .* or give a YAML file"):
        registry.get_task("poems")


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    csv(tmp_path / "secret.csv", rows(12))
    (inner / "train.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(InputError, match="leads out of"):
        registry.get_task(str(write(inner, files="train.csv")))
    assert registry.get_task(str(write(inner, files=str(tmp_path / "secret.csv")))).data_location is not None


@pytest.mark.parametrize("labels", [0, 2, 3])
def test_every_fitting_metric_scores_a_perfect_model_with_1(labels: int) -> None:
    gold = np.arange(12) % (labels or 12)
    logits = np.eye(labels)[gold] * 3 - 1 if labels else gold[:, None].astype(np.float32)
    names = metrics.list_fitting_metrics(labels)
    task = Task("t", ("text",), tuple("abc"[:labels]), names)
    assert metrics.compute_scores(task, gold, logits) == pytest.approx(dict.fromkeys(names, 1.0))


def test_macro_f1_and_balanced_accuracy_by_hand() -> None:
    gold, said = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 1])
    assert metrics.METRICS["macro_f1"](gold, said) == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)
    assert metrics.METRICS["balanced_accuracy"](gold, said) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_auroc_is_the_share_of_pairs_in_order_and_is_read_off_the_logits() -> None:
    task = Task("t", ("text",), ("no", "yes"), ("auroc", "accuracy", "f1"))
    gold = np.array([0, 0, 1, 1])
    logits = np.array([[2.0, 0.0], [1.0, 0.0], [1.5, 0.0], [0.0, 0.0]])  # "no" for all, a tie is "no"
    assert metrics.compute_scores(task, gold, logits) == {"auroc": 0.75, "accuracy": 0.5, "f1": 0.0}
    assert metrics.compute_scores(task, np.ones(4, int), logits)["auroc"] == 0.5


def opened(file: Path) -> tuple[Task, TaskSource]:
    task = registry.get_task(str(file))
    source = sources.open_data_source(None, task)
    assert isinstance(source, TaskSource)
    return task, source


def test_files_are_read_as_they_are(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", rows(6))
    csv(tmp_path / "dev.csv", rows(3, first=6))
    task, source = opened(write(tmp_path))
    train = source.load(task, "train")
    assert list(train.columns) == ["text", "label"]
    assert train["text"] == [f"text {number}" for number in range(6)]
    assert train["label"] == [0, 1, 2, 0, 1, 2]
    assert source.load(task, "dev")["label"] == [0, 1, 2]
    assert source.description == "train.csv, dev.csv"


def jsonl(file: Path, values: list[Any]) -> None:
    lines = [json.dumps({"text": f"text {number}", "team": value}) for number, value in enumerate(values)]
    file.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("labels", "values", "ids"),
    [
        (["1", "2", "3"], [1, 3, "2"], [0, 2, 1]),  # a name goes before an id
        (["false", "true"], [True, False], [1, 0]),
        (["bad", "good"], [1, 0.0, "0"], [1, 0, 0]),
    ],
)
def test_labels_are_named_as_in_the_file(
    tmp_path: Path, labels: list[str], values: list[Any], ids: list[int]
) -> None:
    jsonl(tmp_path / "train.jsonl", values)
    jsonl(tmp_path / "dev.jsonl", values)
    task, source = opened(write(tmp_path, labels=labels, files={"train": "train.jsonl", "dev": "dev.jsonl"}))
    assert source.load(task, "train")["label"] == ids


def test_a_number_is_no_id_where_the_names_are_numbers(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", [1, 0])
    task, source = opened(write(tmp_path, labels=["1", "2"], files={"train": "train.jsonl"}))
    with pytest.raises(InputError, match=r"train\.jsonl:2: label 0 is not one of task tickets"):
        source.load(task, "train")


def test_of_many_classes_an_error_names_a_few(tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", ["team a", "other"])
    labels = [f"team {letter}" for letter in "abcdefghijklmnopqrst"]
    task, source = opened(write(tmp_path, labels=labels, files={"train": "train.jsonl"}))
    with pytest.raises(InputError, match=r"team l or 11, and 8 more; a class that is missing"):
        source.load(task, "train")


def test_a_missing_label_column_is_named_and_a_column_called_label_does_not_serve(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", [("text", "bug")], header="text,label")
    task, source = opened(write(tmp_path, files={"train": "train.csv"}))
    with pytest.raises(InputError, match="no column 'team'; the columns are 'text', 'label'"):
        source.load(task, "train")


def test_without_dev_a_stratified_fifth_is_split_off_always_the_same(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", rows(60))
    task, source = opened(write(tmp_path, files="train.csv"))
    train, dev = (source.load(task, split) for split in ("train", "dev"))
    assert sorted([*train["text"], *dev["text"]]) == sorted(f"text {number}" for number in range(60))
    assert [dev["label"].count(label) for label in range(3)] == [4, 4, 4]
    again = opened(tmp_path / "tickets.yaml")[1]
    assert again.load(task, "dev")["text"] == dev["text"]
    assert "train.csv; a stratified 20 % of it is split off as dev, seed 0" in source.description


def test_no_text_of_dev_is_left_in_train(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", rows(60) + rows(60)[::3] + rows(60)[:10])
    task, source = opened(write(tmp_path, files="train.csv"))
    train, dev = (source.load(task, split) for split in ("train", "dev"))
    assert len(train) + len(dev) == 90
    assert not set(train["text"]) & set(dev["text"])


def test_too_few_to_split(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", rows(9) * 5)
    task, source = opened(write(tmp_path, files="train.csv"))
    with pytest.raises(InputError, match="9 different texts are too few to split off dev; give"):
        source.load(task, "dev")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    task, source = opened(write(tmp_path))
    with pytest.raises(InputError, match=r"tickets\.yaml: files: dev: there is no .*dev\.csv"):
        source.load(task, "dev")


def fingerprint(file: Path) -> str:
    task, source = opened(file)
    return source.fingerprint(task)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: csv(folder / "dev.csv", rows(4, first=6)),
        lambda folder: write(folder, metric="accuracy"),
        lambda folder: write(folder, labels=["bug", "billing", "praise"]),
    ],
)
def test_the_fingerprint_is_of_definition_and_files(tmp_path: Path, change: Callable[[Path], Any]) -> None:
    csv(tmp_path / "train.csv", rows(6))
    csv(tmp_path / "dev.csv", rows(3, first=6))
    file = write(tmp_path)
    before = fingerprint(file)
    assert fingerprint(file) == before
    assert len(before) == 16
    change(tmp_path)
    assert fingerprint(file) != before


def test_which_source_serves(tmp_path: Path) -> None:
    task = registry.get_task(str(write(tmp_path)))
    assert sources.open_data_source(None, task).kind == sources.open_data_source("task", task).kind == "task"
    assert sources.open_data_source(None, registry.get_task("cola")).kind == "builtin"
    with pytest.raises(InputError, match="data: task tickets names neither files nor hub; give"):
        sources.open_data_source("task", registry.get_task(str(write(tmp_path, files=None))))
    with pytest.raises(InputError, match=r"has examples of task tickets only, not of cola"):
        sources.open_data_source("task", task).load(registry.get_task("cola"), "train")


def test_a_task_without_files_is_read_from_a_folder(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", rows(6))
    task = registry.get_task(str(write(tmp_path, files=None)))
    assert sources.open_data_source(str(tmp_path), task).load(task, "train")["label"] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("command", [search, compare])
def test_a_plan_of_it(
    tmp_path: Path, tiny_model: Path, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    csv(tmp_path / "train.csv", rows(60))
    file = write(tmp_path, files="train.csv", metric=["balanced_accuracy", "accuracy"])
    argv = ["--task", str(file), "--model", str(tiny_model), "--dry-run"]
    assert command.main(argv) == 0
    said = capsys.readouterr().out
    assert "task         tickets (balanced_accuracy, max)\n" in said
    assert "split off as dev, seed 0: 48 train, 12 dev\n" in said
    assert command.main([*argv, "--data", "builtin"]) == 2
    assert "builtin has no examples for task 'tickets'" in capsys.readouterr().err
    assert command.main([*argv, "--probe", "rte"]) == 2
    assert "examples of task tickets only, not of rte" in capsys.readouterr().err


def test_results_are_called_like_the_task_and_hold_its_definition(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert choose_output_folder(SearchOptions(task=str(file))).name.startswith("tickets-20")
    settings = replace(SETTINGS, task=registry.get_task(str(file)))
    described = json.loads(json.dumps(settings.to_json()))
    assert str(tmp_path) not in json.dumps(described)
    assert registry.restore_task(described["task"]).labels == ("billing", "bug", "praise")
    job = Job("0", "search", {"method": "vanilla", "learning_rate": 1e-4}, 0, settings, "")
    assert make_fine_tune_config(pickle.loads(pickle.dumps(job))).task == settings.task


def test_a_whole_run_from_the_yaml_file(tmp_path: Path, tiny_model: Path) -> None:
    import dps

    csv(
        tmp_path / "train.csv",
        [(f"w{label} w{number}", "ab"[label]) for number in range(30) for label in (0, 1)],
    )
    file = write(tmp_path, labels=["a", "b"], metric=["auroc", "accuracy"], files="train.csv")
    result = dps.finetune(
        dps.FineTuneConfig(
            task=str(file),
            model=str(tiny_model),
            max_steps=30,
            batch_size=8,
            learning_rate=3e-3,
            evaluations=2,
        )
    )
    assert result.outcome == "completed"
    assert list(result.final["dev"]) == ["auroc", "accuracy", "log_loss", "calibration_error"]
    assert len(result.labels["dev"]) == 12
    assert result.score == result.final["dev"]["auroc"]


YAML_WORDS = (
    "null", "~", "01", "1e5", "0x1F", "1:30", "2026-11-29", "=", "<<", "yes", "on", ".5", ".inf", "1_000",
    "-", "?", "!a", "&b", "*c", "#d", "%e", "@f", "`g", "1.", "0o17", "a: b", "a #b", "- d",
    "a\u0085b", "a\u2028b", "a\u200bb",
)  # fmt: skip
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(
    YAML_WORDS
)
NAMES = st.lists(names.map(str.strip).filter(bool), min_size=2, max_size=4, unique=True)


@settings(deadline=None)
@given(NAMES, NAMES)
def test_whatever_columns_and_labels_are_called_a_task_file_keeps_them(
    labels: list[str], columns: list[str]
) -> None:
    task = Task("own", (f"{columns[0]}.",), tuple(labels), ("macro_f1",), label=columns[1])
    if task.label not in task.columns:
        assert definition.parse_definition(parse_yaml(definition.format_task_file(task))) == task


def test_half_a_surrogate_pair_is_no_name() -> None:
    task = Task("own", ("text",), ("a", "b\ud83d"), ("macro_f1",))
    with pytest.raises(InputError, match=r"labels: .* has half a surrogate pair"):
        definition.parse_definition(definition.make_definition(task))
