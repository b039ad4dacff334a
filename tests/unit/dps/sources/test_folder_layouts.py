"""A folder of several tasks: where the files of each are found, and what is refused."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from dps.errors import InputError
from dps.sources.folder import FolderSource
from dps.tasks.registry import GLUE_TASKS, get_task
from dps.tasks.task import Task
from tests.unit.dps.sources.test_folder import COLA_TSV, MNLI_TSV, RTE_TSV, first, write

NLI_TSV = "premise\thypothesis\tlabel\nIt rains.\tIt is wet.\tentailment\n"
NLI_LAYOUTS = [
    "{split}.tsv",
    "{task}_{split}.tsv",
    "{task}/{split}.tsv",
    "{upper}/{split}.tsv",
    "{task}/{task}_{split}.tsv",
    "nli/{task}_{split}.tsv",
    "NLI/{task}_{split}.tsv",
    "nli/{task}/{split}.tsv",
    "glue/{upper}/{split}.tsv",
    "glue/{task}_{split}.tsv",
]


@pytest.mark.parametrize("layout", NLI_LAYOUTS)
@pytest.mark.parametrize("task", ["snli", "sick", "scitail"])
def test_inference_layouts(tmp_path: Path, task: str, layout: str) -> None:
    for split in ("train", "dev", "test"):
        name = layout.format(task=task, upper=task.upper(), split=split)
        write(tmp_path, {name: NLI_TSV.replace("rains", split)})
    source = FolderSource(tmp_path)
    for split in ("train", "dev", "test"):
        row = {"premise": f"It {split}.", "hypothesis": "It is wet.", "label": 0}
        assert list(source.load(get_task(task), split)) == [row]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("word", ["dev", "validation", "val"])
def test_files_after_the_name_of_a_task_go_by_every_name_of_a_split(
    tmp_path: Path, word: str, suffix: str
) -> None:
    text = NLI_TSV if suffix == ".tsv" else NLI_TSV.replace("\t", ",")
    assert first(write(tmp_path, {f"nli/snli_{word}{suffix}": text}), "snli", "dev")["label"] == 0


def test_the_columns_of_snli_as_its_authors_name_them(tmp_path: Path) -> None:
    row = first(write(tmp_path, {"SNLI/train.tsv": MNLI_TSV}), "snli")
    assert row == {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}
    source = write(tmp_path, {"SNLI/dev.tsv": MNLI_TSV.replace("entailment", "-")})
    with pytest.raises(
        InputError, match=r"dev\.tsv:2: label '-' \(the annotators did not agree; remove the row"
    ):
        source.load(get_task("snli"), "dev")


def test_scitail_has_no_contradiction(tmp_path: Path) -> None:
    source = write(tmp_path, {"scitail_test.tsv": NLI_TSV.replace("entailment", "contradiction")})
    with pytest.raises(
        InputError, match="label 'contradiction' is not one of task scitail: entailment or 0, neutral"
    ):
        source.load(get_task("scitail"), "test")


@pytest.mark.parametrize("name", ["glue", "GLUE"])
def test_the_folder_above_glue_serves_as_the_glue_folder(tmp_path: Path, name: str) -> None:
    files = {f"{name}/CoLA/{split}.tsv": COLA_TSV for split in ("train", "dev")}
    above = write(tmp_path, {**files, f"{name}/RTE/train.tsv": RTE_TSV, "nli/snli_test.tsv": NLI_TSV})
    assert first(above, "cola") == first(FolderSource(tmp_path / name), "cola")
    assert above.fingerprint(get_task("cola")) == FolderSource(tmp_path / name).fingerprint(get_task("cola"))
    assert first(above, "rte")["label"] == 1
    assert first(above, "snli", "test")["premise"] == "It rains."


def test_the_test_set_may_be_missing_and_is_not_in_the_fingerprint(tmp_path: Path) -> None:
    source = write(tmp_path, {"snli_train.tsv": NLI_TSV, "snli_dev.tsv": NLI_TSV})
    fingerprint = source.fingerprint(get_task("snli"))
    with pytest.raises(
        InputError, match=r"no file for test of task snli; expected test .*, or 'snli_' before it"
    ):
        source.load(get_task("snli"), "test")
    with_test = write(tmp_path, {"nli/snli_test.tsv": NLI_TSV})
    assert with_test.fingerprint(get_task("snli")) == fingerprint


@pytest.mark.parametrize("task", GLUE_TASKS.values(), ids=GLUE_TASKS)
def test_fingerprint_is_of_the_files_of_every_split_in_order(tmp_path: Path, task: Task) -> None:
    digest = hashlib.sha256()
    for split in task.splits:
        write(tmp_path, {f"glue/{task.name}/{split}.tsv": split, f"glue/{task.name}/test.tsv": "test"})
        digest.update(hashlib.sha256(split.encode()).digest())
    assert FolderSource(tmp_path).fingerprint(task) == digest.hexdigest()[:16]


TWICE = [
    ("dev.tsv", "snli_dev.tsv", "dev.tsv, snli_dev.tsv all serve as dev"),
    ("snli_dev.csv", "snli_dev.tsv", "snli_dev.csv, snli_dev.tsv all serve as dev"),
    ("snli_dev.tsv", "snli_validation.tsv", "snli_dev.tsv, snli_validation.tsv all serve as dev"),
    ("snli_dev.tsv", "nli/snli_dev.tsv", "snli_dev.tsv, nli/snli_dev.tsv all serve as dev"),
    ("dev.tsv", "nli/snli_dev.tsv", "dev.tsv, nli/snli_dev.tsv all serve as dev"),
    ("glue/snli_dev.tsv", "nli/snli_dev.tsv", "glue/snli_dev.tsv, nli/snli_dev.tsv all serve as dev"),
    ("snli/dev.tsv", "nli/snli_dev.tsv", "snli/dev.tsv, nli/snli_dev.tsv all serve as dev"),
    ("nli/SNLI/dev.tsv", "nli/snli_dev.tsv", "nli/SNLI/dev.tsv, nli/snli_dev.tsv all serve as dev"),
    ("SNLI/dev.tsv", "glue/SNLI/dev.tsv", "SNLI, glue/SNLI are all named like"),
    ("glue/snli/dev.tsv", "nli/snli/dev.tsv", "glue/snli, nli/snli are all named like"),
    ("nli/snli_dev.tsv", "NLI/snli_dev.tsv", "NLI/snli_dev.tsv, nli/snli_dev.tsv all serve as dev"),
]


@pytest.mark.parametrize(("one", "other", "message"), TWICE)
def test_two_places_of_one_split_are_both_named(tmp_path: Path, one: str, other: str, message: str) -> None:
    source = write(tmp_path, {one: NLI_TSV, other: NLI_TSV})
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}: {message}")) as caught:
        source.load(get_task("snli"), "dev")
    assert str(caught.value).endswith(" task snli; keep one")


def test_files_of_other_tasks_do_not_serve(tmp_path: Path) -> None:
    files = {"nli/sick_test.tsv": NLI_TSV, "nli/test.tsv": NLI_TSV, "glue/test.tsv": NLI_TSV}
    with pytest.raises(InputError, match="no file for test of task snli"):
        write(tmp_path, files).load(get_task("snli"), "test")


def test_a_folder_named_like_another_task_serves_by_the_names_of_its_files(tmp_path: Path) -> None:
    write(tmp_path / "mnli", {"test.tsv": NLI_TSV, "dev.tsv": NLI_TSV, "snli_test.tsv": NLI_TSV})
    source = FolderSource(tmp_path / "mnli")
    assert first(source, "snli", "test")["label"] == 0
    with pytest.raises(InputError, match="mnli: named like task mnli, not snli; give the folder"):
        source.load(get_task("snli"), "dev")


def test_one_file_does_not_serve_two_tasks(tmp_path: Path) -> None:
    source = write(tmp_path, {"dev.tsv": NLI_TSV})
    assert len(source.load(get_task("mnli"), "dev")) == len(source.load(get_task("mnli"), "dev")) == 1
    message = (
        r"dev\.tsv: already read as task mnli, so it cannot be task snli too; give each task a sub-folder"
    )
    with pytest.raises(InputError, match=message):
        source.load(get_task("snli"), "dev")
