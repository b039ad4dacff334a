"""A file of examples is looked at: the task that is proposed, and what is said of the data."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dps import propose, sources
from dps.data_checks import TaskProposal, list_data_warnings
from dps.errors import InputError
from dps.models import locate_model
from dps.propose import inspect_data
from dps.sources import readers
from dps.sources.examples import make_dataset
from dps.sources.readers import get_data_origin, read_rows
from dps.tasks import registry
from dps.training.config import FineTuneConfig
from dps.training.preview import preview_run
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
    assert "a stratified 20 % of train will be held out" in said
    assert "'text': median 5 words, 95 % have at most 5, the longest 5" in said
    assert "3 classes: 'billing' 60 (33 %), 'bug' 60 (33 %), 'praise' 60 (33 %)" in said
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


def test_a_dry_run_shows_the_file_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "tickets.csv", rows(60))
    assert main(["--init-task", str(file), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "60 rows" in said
    assert [*tmp_path.iterdir()] == [file]
    assert main(["--init-task", str(file), "--preflight"]) == 2
    assert "--preflight, --init-task: a file is inspected" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == [file]
    assert main(["--init-task", str(file)]) == 0
    written = (tmp_path / "tickets.yaml").read_text(encoding="utf-8")
    assert said.endswith(f"Not written, as this is a dry run: {tmp_path / 'tickets.yaml'}, with\n{written}")
    assert main(["--init-task", str(file), "--dry-run"]) == 2
    assert "tickets.yaml exists already" in capsys.readouterr().err


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
        (["01", "2.0", "null", "~"], ("01", "2.0", "null", "~")),
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
    (refused,) = said
    assert refused.startswith(
        f"1 row that a search refuses, the first: {tmp_path}/dev.csv:62: label 'new' is not one"
    )


def test_too_few_examples(tmp_path: Path) -> None:
    assert found_in(tmp_path, rows(24)) == [
        "dev has about 5 examples: differences between models will hardly show",
        "classes with fewer than 10 examples: 'billing', 'bug', 'praise'",
    ]
    assert found_in(tmp_path, rows(8))[0] == (
        f"a search refuses this: {tmp_path / 'train.csv'}: 8 different texts are too few to split off dev; "
        f"give a dev set, or more texts"
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
        f"3 rows that a search refuses, the first: {file}:182: column 'text' is empty (''); give a text or "
        f"remove the row"
    ]


def test_classes_that_are_numbers_or_differ_in_capitals(tmp_path: Path) -> None:
    stars = [(n, f"this is text number {n}", n % 5 + 1) for n in range(300)]
    assert found_in(tmp_path, stars) == [
        "the classes are numbers; if their order matters, change it to `kind: regression`"
    ]
    (tmp_path / "b").mkdir()
    capitals = [(n, f"this is text number {n}", ["Bug", "bug"][n % 2]) for n in range(200)]
    assert found_in(tmp_path / "b", capitals) == ["classes that differ only in capitals: 'Bug', 'bug'"]


def labelled(first: int, *labels: object) -> list[tuple[Any, ...]]:
    return [(n, f"this is text number {n}", label) for n, label in enumerate(labels, start=first)]


NUMBERS = [n / 7 for n in range(60)]
CLASSES = ["a", "b"] * 30


@pytest.mark.parametrize(
    ("labels", "dev", "refused"),
    [
        (CLASSES, ["a"] * 40, "data: every example of dev has the label 'a'"),
        (NUMBERS, [1.5] * 40, "data: every example of dev has the label 1.5"),
        ([2.5] * 60, None, "data: every example of train has the label 2.5"),
        (["a"] * 59 + ["b"], None, "data: every example of dev has the label 'a'"),
        (
            ["a"] * 59 + ["b"],
            CLASSES,
            "metric: macro_f1 is 1 for the best model and the worst on the slice of",
        ),
        (CLASSES[:8], None, "8 different texts are too few to split off dev"),
        (
            [*NUMBERS, "oops"],
            None,
            "train.csv:62: label must be a number, got 'oops'; give one or remove the",
        ),
        ([*NUMBERS, ""], None, "train.csv:62: label must be a number, got ''"),
        ([*NUMBERS, "NaN"], None, "train.csv:62: label must be a number, got 'NaN'"),
        ([*NUMBERS[:8] * 9, "n/a"], NUMBERS, "train.csv:74: label must be a number, got 'n/a'"),
        (NUMBERS, [*NUMBERS, "bad"], "dev.csv:62: label must be a number, got 'bad'"),
    ],
)
def test_what_a_search_refuses_is_said_in_its_words(
    tmp_path: Path, labels: list[object], dev: list[object] | None, refused: str
) -> None:
    file = write(tmp_path / "train.csv", labelled(0, *labels), ("id", "text", "label"))
    if dev is not None:
        write(tmp_path / "dev.csv", labelled(500, *dev), ("id", "text", "label"))
    found = inspect_data(file)
    said = [line for line in list_data_warnings(found) if refused in line]
    assert len(said) == 1
    task = registry.get_task(str(propose.write_proposal(found)))
    config = FineTuneConfig(task=task, model="builtin", select_on="holdout")
    with pytest.raises(InputError) as refusal:
        preview_run(config, task, sources.open_data_source(None, task), locate_model("builtin"))
    assert refused in str(refusal.value)
    assert said[0].endswith(str(refusal.value).removeprefix(f"{file.with_suffix('.yaml')}: "))


def test_names_among_decimals_are_classes_where_they_repeat(tmp_path: Path) -> None:
    """Versions, say: "1.5", "2.0", "nightly". One cell that is no number is a slip among numbers."""
    for number, (others, labels) in enumerate(((2, ("1.5", "2.0", "nightly")), (1, ()))):
        values = [*["1.5", "2.0"] * 15, *["nightly"] * others]
        file = write(tmp_path / f"{number}.csv", labelled(0, *values), ("id", "text", "label"))
        assert inspect_data(file).task.labels == labels


def lines(*values: object, key: str = "label") -> str:
    """JSON lines of texts with these labels."""
    return "\n".join(json.dumps({"text": f"this is text number {n}", key: v}) for n, v in enumerate(values))


def table(header: str, *labels: str, separator: str = ",") -> str:
    rows = [f"this is text number {n}{separator}{label}" for n, label in enumerate(labels)]
    return "\n".join([header, *rows]) + "\n"


AB = ("a", "b") * 20


@pytest.mark.parametrize(
    ("name", "content", "labels", "warning"),
    [
        ("a.jsonl", lines(*[0.0, 1.0] * 20), ("0", "1"), None),
        ("a.csv", table("text,label", *["1.0", "2.0", "1", "2.0", "1"] * 8), ("1", "2.0"), None),
        ("a.csv", table("text,label", *["1.0", "2.0"] * 20), ("1.0", "2.0"), None),
        ("a.jsonl", lines(*AB[:-1], math.nan), ("a", "b"), ":40: label is missing (nan)"),
        ("a.jsonl", lines(*AB[:-1], None), ("a", "b"), ":40: label is missing (None)"),
        ("a.csv", table("text,team,,,", *[f"{x},,," for x in AB]), ("a", "b"), None),
        ("a.csv", "sep=,\n" + table("text,label", *AB), ("a", "b"), None),
        ("a.csv", "sep=;\n" + table("text;label", *AB, separator=";"), ("a", "b"), None),
        ("a.CSV", table("text,label", *AB), ("a", "b"), None),
        ("a.csv", table("text,label", *AB).replace("\n", "\r"), ("a", "b"), None),
        ("a.csv", table("text,label", *AB).replace("\n", "\r\n"), ("a", "b"), None),
        ("a.csv", table("text,label", *AB).replace("number 3", "x " * 90_000), ("a", "b"), None),
        ("a.csv", table("text,label", *["caf\u00e9", "cafe\u0301"] * 20), None, r"'cafe\u0301', 'caf\xe9'"),
        ("a.csv", table("text,label", *["bar", "bar\u200b"] * 20), None, "in nothing that can be seen"),
        ("a.csv", table("text,b", *AB), ("a", "b"), "the header looks like a row: its label 'b' is one of"),
        ("a.csv", table("text,0.5", *[str(n / 7) for n in range(40)]), (), "its label '0.5' is a number"),
        ("a.jsonl", lines(*AB) + '\n{"text": 5, "label": "a"}', ("a", "b"), ":41: column 'text' must be"),
        ("a.jsonl", lines(*AB) + '\n{"text": null, "label": "a"}', ("a", "b"), ":41: column 'text' must"),
        ("a.jsonl", lines(*AB).replace("number 5", "number 5\\ud83d"), ("a", "b"), "half a surrogate pair"),
        ("a.csv", table("text,label", *map(str, [*range(60)] * 5)), tuple(map(str, range(60))), "numbers"),
        ("a.csv", table("text,label", *[f"c{n}" for n in range(77)] * 3), None, "fewer than 10 examples"),
        ("a.csv", table("text,label", *map(str, range(60))), (), "numbers up to 59"),
        ("a.csv", table("text,label", *["1e40", "2.5"] * 20), (), "numbers up to 1e+40"),
        ("a.csv", table("text,label", *["[NA]", "a", "b"] * 14), ("[NA]", "a", "b"), None),
        ("a.jsonl", lines([1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]), ("label-1", "label-2", "label-3"),
         "'label' has lists of 0 and 1, one place a label: name the labels"),
        ("a.jsonl", lines([0], [1], [0, 1], []), ("0", "1"), None),
    ],
)  # fmt: skip
def test_what_is_proposed_is_what_a_search_reads(
    tmp_path: Path, name: str, content: str, labels: tuple[str, ...] | None, warning: str | None
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    found = inspect_data(tmp_path / name)
    task = registry.get_task(str(propose.write_proposal(found)))
    assert replace(task, data_location=None) == found.task
    if labels is not None:
        assert task.labels == labels
    if warning is not None:
        assert warning in "\n".join(list_data_warnings(found))
    checked = found.checked["train"]
    if not checked.defects:
        read = make_dataset(task, get_data_origin(tmp_path / name), read_rows(tmp_path / name))
        assert read["label"][:] == checked.labels


def test_a_second_text_that_is_the_label_in_words_is_not_read(tmp_path: Path) -> None:
    words = ("a bad thing", "a dull thing", "a good thing")
    rows = [f"this is text number {n},{n % 3},{words[n % 3]}\n" for n in range(60)]
    (tmp_path / "a.csv").write_text("text,label,label_text\n" + "".join(rows))
    found = inspect_data(tmp_path / "a.csv")
    assert (found.task.columns, found.unused_columns) == (("text",), ("label_text",))


def test_columns_of_other_kinds_are_proposed_or_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [f"this is text number {n}" for n in range(40)]
    for name, values, labels in (
        ("decimal", [Decimal(n) / 4 for n in range(40)], ()),
        ("bool", [n % 2 == 0 for n in range(40)], ("false", "true")),
        ("float", [float(n % 2) for n in range(40)], ("0", "1")),
    ):
        pq.write_table(pa.table({"text": texts, "label": values}), tmp_path / f"{name}.parquet")
        assert proposed(tmp_path / f"{name}.parquet").task.labels == labels
    days = [date(2026, 1, 1 + n % 2) for n in range(40)]
    pq.write_table(pa.table({"text": texts, "label": days}), tmp_path / "dates.parquet")
    with pytest.raises(InputError, match="column 'label' holds date, where text, numbers or lists must be"):
        inspect_data(tmp_path / "dates.parquet")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("data.csv", None, "--init-task: there is no"),
        ("data.xlsx", "text,label\n", "only .csv, .tsv, .jsonl, .parquet files are read"),
        ("data.csv", "text,label\n", "has no rows"),
        (
            "data.csv",
            "text;label\n" + "a b c;x\n" * 20,
            "no column looks like a label ('text;label'); columns separated by ';' do not match the suffix; "
            "save it with commas as .csv",
        ),
        (
            "data.tsv",
            table("text,label", *AB),
            "columns separated by ',' do not match the suffix; call it .csv",
        ),
        (
            "data.csv",
            table("text\tlabel", *AB, separator="\t"),
            "by '\\t' do not match the suffix; call it .tsv",
        ),
        ("data.csv", table('"text, label"', *AB[:4]).replace(",a", "").replace(",b", ""), "call it 'label'"),
        (
            "data.csv",
            "a,b\n" + "".join(f"one text {n},{n}\n" for n in range(40)),
            "call it 'label' in the file",
        ),
        ("data.csv", "a,label\n" + "1,x\n2,y\n" * 20, "no column looks like text ('a'); call it 'text'"),
        (
            "data.csv",
            "text,label\n" + "a b,x\n" * 20,
            "column 'label' has 1 different value; a classification",
        ),
        (
            "data.csv",
            "text,label\n" + "a b,x\n" * 20 + "a b,\n" * 30,
            "column 'label' has 1 different value and 30 empty cells",
        ),
        (
            "data.txt",
            table("text\tlabel", *AB, separator="\t"),
            "call a file with tabs between the columns .tsv",
        ),
        ("data.csv.gz", "text,label\n", "only .csv, .tsv, .jsonl, .parquet files are read; unpack it"),
        ("data.csv", table("text,", *AB), "('text'); a column has no name: give it one in the header"),
        (
            "data.csv",
            table("label, text", *[f' "so, {n}"' for n in range(12)]),
            "data.csv:2: 3 columns where 2 are expected (a quote after a space does not quote; remove",
        ),
        (
            "data.tsv",
            "text\tlabel\n" + '"some\ttext"\ta\n' * 12,
            "quotes are ordinary characters in this format",
        ),
        ("data.csv", "text;score\n" + "a b c;3,5\n" * 12, "columns separated by ';' do not match the suffix"),
        (
            "data.tsv",
            table("text\tscore", *["3,5", "4,5", "2", "1,5"] * 10, separator="\t"),
            "column 'score' has commas in numbers, such as '3,5'; write '3.5'",
        ),
        (
            "data.tsv",
            table("text\tprice", *["1,000", "1,250"] * 10, separator="\t"),
            "such as '1,000'; write '1000', or '1.000' if the comma is a decimal one",
        ),
        (
            "data.tsv",
            table("text\tprice", *["1,000", "1,250,000.5"] * 10, separator="\t"),
            "such as '1,000'; write '1000'",
        ),
        (
            "data.jsonl",
            '{"text": {"en": "a b"}, "label": "x"}\n' * 12,
            "column 'text' holds dict, where texts",
        ),
        (
            "data.csv",
            table("text,bug,ui,praise", *["1,0,0", "0,1,1", "0,0,1"] * 10),
            "columns 'bug', 'ui', 'praise' hold 0 and 1 alone",
        ),
        (
            "data.csv",
            table("text,tags", *["\"['bug', 'ui']\"", "['bug']", "['ui']"] * 10),
            "column 'tags' has lists that were written as text",
        ),
        ("data.csv", table("text,label", *map(str, range(40)), "x"), "has 41 different values"),
        ("data.csv", "a,b\nx\ry,z\nu,v\n", "a CR that ends no line"),
        ("data.csv", '"text", "label"\n' + '"some text", "a"\n' * 9, "(a quote after a space does not quote"),
        (
            "data.tsv",
            '"text"\t"label"\n' + '"some text"\t"a"\n' * 9,
            "column '\"text\"' has its quotes in its",
        ),
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


@pytest.mark.parametrize("words", [300, 600])
def test_texts_that_a_search_reads_in_part_are_counted(tmp_path: Path, words: int) -> None:
    rows = [f"{'word ' * (words if number == 3 else 5)}{number},{'ab'[number % 2]}" for number in range(40)]
    (tmp_path / "long.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    proposal = inspect_data(tmp_path / "long.csv")
    said = [line for line in list_data_warnings(proposal) if "tokens" in line]
    expected = "texts are cut at 512 tokens: 1 of 40 train have more, as the built-in model counts; "
    assert [line.startswith(expected) for line in said] == ([True] if words > 512 else [])


def test_separators_are_looked_for_where_a_file_has_some() -> None:
    assert readers.explain_separator("a.jsonl", ["a|b"]) == ""
    assert readers.explain_separator("a.tsv", ["a|b"]).endswith("save it with commas as .csv")
