"""A file of examples is looked at: the task that is proposed, and what is said of the data."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from dps import propose, sources
from dps.data_checks import TaskProposal, list_data_warnings
from dps.errors import InputError
from dps.propose import inspect_data
from dps.tasks import registry
from tune.search import main

TEAMS = ["billing", "bug", "praise"]


def rows(count: int, first: int = 0) -> list[tuple[Any, ...]]:
    return [(n, f"this is text number {n}", TEAMS[n % 3]) for n in range(first, first + count)]


def write(
    file: Path, values: list[tuple[Any, ...]], header: tuple[str, ...] = ("id", "text", "team")
) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *values])
    return file


def test_the_command_proposes_a_task_that_reads_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "tickets.csv", rows(180))
    assert main(["--init-task", str(file)]) == 0
    said = capsys.readouterr().out
    assert "180 rows" in said
    assert "a stratified 20% of train will be split off" in said
    assert "'text': median 5 words, 95% have at most 5, the longest 5" in said
    assert "3 classes: 'billing' 60 (33%), 'bug' 60 (33%), 'praise' 60 (33%)" in said
    assert "not used     'id'" in said
    assert "check  " not in said
    assert said.endswith(f"then: --task {tmp_path / 'tickets.yaml'}\n")
    task = registry.get_task(str(tmp_path / "tickets.yaml"))
    assert (task.name, task.columns, task.label, task.labels) == ("tickets", ("text",), "team", tuple(TEAMS))
    assert len(sources.open_data_source(None, task).load(task, "train")) == 144


def test_a_proposal_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "tickets.csv", rows(60))
    (tmp_path / "tickets.yaml").write_text("mine", encoding="utf-8")
    assert main(["--init-task", str(file)]) == 2
    assert "tickets.yaml exists already" in capsys.readouterr().err
    assert (tmp_path / "tickets.yaml").read_text(encoding="utf-8") == "mine"


def proposed(file: Path) -> TaskProposal:
    """What is found in a file; its proposal reads every row."""
    found = inspect_data(file)
    task = registry.get_task(str(propose.write_proposal(found)))
    source = sources.open_data_source(None, task)
    total = sum(len(source.load(task, split)) for split in ("train", "dev"))
    assert total == sum(len(part.rows) for part in found.files.values())
    return found


def test_a_dev_set_beside_train_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "my tickets"
    folder.mkdir()
    write(folder / "validation.csv", rows(60, first=180))
    found = proposed(write(folder / "train.csv", rows(180)))
    assert list(found.files) == ["train", "dev"]
    assert found.task.name == "my-tickets"
    assert list_data_warnings(found) == []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["yes", "no"], ("no", "yes")),
        ([1, 2, 10], ("1", "2", "10")),
        (["01", "1.0", "null", "~"], ("01", "1.0", "null", "~")),
        (["a: b", "#c", "ü", "- d"], ("#c", "- d", "a: b", "ü")),
        (["True", "False"], ("False", "True")),
    ],
)
def test_classes_are_named_as_in_the_file(
    tmp_path: Path, labels: list[Any], expected: tuple[str, ...]
) -> None:
    values = [(f"this is text number {n}", labels[n % len(labels)]) for n in range(60)]
    found = proposed(write(tmp_path / "data.csv", values, ("text", "label")))
    assert sorted(found.task.labels) == sorted(expected)


@pytest.mark.parametrize("labels", [[True, False], [0, 1], ["a", "b"]])
def test_json_lines(tmp_path: Path, labels: list[Any]) -> None:
    lines = [json.dumps({"text": f"text number {n} here", "y": labels[n % 2]}) for n in range(40)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert len(proposed(tmp_path / "data.jsonl").task.labels) == 2


def test_parquet_with_fractions_is_a_regression_of_pairs(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "score": [n / 7 for n in range(70)],
        "first": [f"a first text {n}" for n in range(70)],
        "when": [f"2026-01-{n % 28 + 1:02} 10:00" for n in range(70)],
        "second": [f"and another text {n}" for n in range(70)],
    }
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    found = proposed(tmp_path / "pairs.parquet")
    task = found.task
    assert (task.columns, task.label, task.is_regression) == (("first", "second"), "score", True)
    assert list_data_warnings(found) == [
        "dev has about 14 examples: differences between models will hardly show"
    ]
    assert "a number from 0 to 9.85714 (regression)" in "\n".join(
        propose.describe_proposal(found, tmp_path / "x.yaml")
    )


def test_numbers_that_training_does_not_reach(tmp_path: Path) -> None:
    values = [(n, f"this is text number {n}", 900 + n / 7) for n in range(300)]
    assert found_in(tmp_path, values) == [
        "numbers up to 942.714: training starts near 0; scale them to about -10 to 10"
    ]


def test_a_name_that_another_task_has_is_changed(tmp_path: Path) -> None:
    assert proposed(write(tmp_path / "cola.csv", rows(60))).task.name == "my-cola"


def found_in(
    folder: Path, values: list[tuple[Any, ...]], dev: list[tuple[Any, ...]] | None = None
) -> list[str]:
    if dev is not None:
        write(folder / "dev.csv", dev)
    return list_data_warnings(inspect_data(write(folder / "train.csv", values)))


def test_repeated_texts(tmp_path: Path) -> None:
    assert found_in(tmp_path, rows(180) + rows(12)) == [
        "12 rows of train repeat the text of another; they stay on one side of the split"
    ]


def test_the_same_text_under_different_labels(tmp_path: Path) -> None:
    (repeated, torn) = found_in(tmp_path, [*rows(180), (0, "this is text number 0", "praise")])
    assert repeated.startswith("1 row of train repeat")
    assert torn == ("1 text has different labels, the first: 'this is text number 0' as 'billing', 'praise'")


def test_texts_that_train_and_dev_share(tmp_path: Path) -> None:
    assert found_in(tmp_path, rows(180), rows(60, first=150)) == [
        "30 rows of dev are in train too: scores will be too good; remove them from either"
    ]


def test_dev_labels_that_train_lacks(tmp_path: Path) -> None:
    said = found_in(tmp_path, rows(180), [*rows(60, first=180), (0, "a text of its own", "new")])
    assert said == ["dev has labels that train does not have: 'new'"]


def test_too_few_examples(tmp_path: Path) -> None:
    assert found_in(tmp_path, rows(24)) == [
        "dev has about 5 examples: differences between models will hardly show",
        "classes with fewer than 10 examples: 'billing', 'bug', 'praise'",
    ]
    assert (
        found_in(tmp_path, rows(8))[0]
        == "8 different texts are too few to split off dev; at least 10 are needed"
    )


def test_classes_of_very_different_size(tmp_path: Path) -> None:
    values = [(n, f"this is text number {n}", "rare" if n % 20 == 0 else "usual") for n in range(400)]
    found = inspect_data(write(tmp_path / "train.csv", values))
    assert found.task.metrics == ("macro_f1",)
    assert list_data_warnings(found) == [
        "class sizes differ by a factor of more than 10: accuracy hardly depends on the small ones"
    ]


def test_rows_that_a_search_refuses_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "train.csv", [*rows(180), (1, "", "bug"), (2, "a text", "")])
    file.write_text(file.read_text(encoding="utf-8") + "broken\n", encoding="utf-8")
    assert list_data_warnings(inspect_data(file)) == [
        f"3 rows that a search refuses, the first: {file}:184: 1 columns where 3 are expected"
    ]


def test_classes_that_are_numbers_or_differ_in_capitals(tmp_path: Path) -> None:
    stars = [(n, f"this is text number {n}", n % 5 + 1) for n in range(300)]
    assert found_in(tmp_path, stars) == [
        "the classes are numbers; if their order matters, change it to `kind: regression`"
    ]
    (tmp_path / "b").mkdir()
    capitals = [(n, f"this is text number {n}", ["Bug", "bug"][n % 2]) for n in range(200)]
    assert found_in(tmp_path / "b", capitals) == ["classes that differ only in capitals: 'Bug', 'bug'"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data.csv", None, "--init-task: there is no"),
        ("data.xlsx", "text,label\n", "only .csv, .tsv, .jsonl, .parquet files are read"),
        ("data.csv", "text,label\n", "has no rows"),
        (
            "data.csv",
            "text;label\n" + "a b c;x\n" * 20,
            "no column looks like a label ('text;label'); its separators",
        ),
        (
            "data.csv",
            "a,b\n" + "".join(f"one text {n},{n}\n" for n in range(40)),
            "call it 'label' in the file",
        ),
        ("data.csv", "a,label\n" + "1,x\n2,y\n" * 20, "no column looks like text ('a'); call it 'text'"),
        ("data.csv", "text,label\n" + "a b,x\n" * 20, "column 'label' has 1 different values"),
    ],
)
def test_what_cannot_be_proposed_is_said_in_one_line(
    tmp_path: Path, name: str, content: str | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert main(["--init-task", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.yaml"))


def test_every_message_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"text,label\n\xff,x\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        inspect_data(tmp_path / "bad.csv")
