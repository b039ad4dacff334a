"""Examples from a folder: every layout, and every refusal with its message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dps.errors import InputError
from dps.sources.folder import FolderSource
from dps.tasks.registry import get_task
from dps.tasks.task import LABEL_COLUMN

BOM = "\N{BYTE ORDER MARK}"
COLA_TSV = 'gj04\t1\t\tIt is so.\ngj04\t0\t*\tIs so "it.\n'
SST2_TSV = "sentence\tlabel\nfine film \t1\ndull film \t0\n"
MRPC_TSV = f'{BOM}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe said "no.\tHe said no.\n'
STSB_TSV = (
    "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    "0\tcaptions\tMSRvid\t2012\t1\tnone\tnone\tA plane.\tAn air plane.\t4.250\n"
)
QQP_TSV = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n9\t1\t2\tWho?\tWho is it?\t0\n"
MNLI_TSV = "index\tgenre\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
MNLI_TSV += "0\tfiction\t( a )\tIt rains.\tIt is wet.\tneutral\tentailment\n"
QNLI_TSV = "index\tquestion\tsentence\tlabel\n0\tWho?\tThe king.\tentailment\n"
RTE_TSV = "index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt snows.\tnot_entailment\n"


def write(folder: Path, files: dict[str, str]) -> FolderSource:
    """Puts files into a folder; every name is relative to it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return FolderSource(folder)


def first(source: FolderSource, task: str, split: str = "train") -> dict[str, Any]:
    row: dict[str, Any] = source.load(get_task(task), split)[0]
    return row


GLUE_LAYOUTS = [
    ("cola", "CoLA/train.tsv", COLA_TSV, {"sentence": "It is so.", "label": 1}),
    ("sst2", "SST-2/train.tsv", SST2_TSV, {"sentence": "fine film ", "label": 1}),
    (
        "mrpc",
        "MRPC/train.tsv",
        MRPC_TSV,
        {"sentence1": 'He said "no.', "sentence2": "He said no.", "label": 1},
    ),
    (
        "stsb",
        "STS-B/train.tsv",
        STSB_TSV,
        {"sentence1": "A plane.", "sentence2": "An air plane.", "label": 4.25},
    ),
    ("qqp", "QQP/train.tsv", QQP_TSV, {"question1": "Who?", "question2": "Who is it?", "label": 0}),
    ("mnli", "MNLI/train.tsv", MNLI_TSV, {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0}),
    ("qnli", "QNLI/train.tsv", QNLI_TSV, {"question": "Who?", "sentence": "The king.", "label": 0}),
    ("rte", "RTE/train.tsv", RTE_TSV, {"sentence1": "It rains.", "sentence2": "It snows.", "label": 1}),
]


@pytest.mark.parametrize(("task", "name", "text", "expected"), GLUE_LAYOUTS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_glue_layout(
    tmp_path: Path, task: str, name: str, text: str, expected: dict[str, Any], ending: str
) -> None:
    source = write(tmp_path, {name: text.replace("\n", ending)})
    assert first(source, task) == expected
    assert first(FolderSource(tmp_path / name.split("/", maxsplit=1)[0]), task) == expected


@pytest.mark.parametrize("folder", ["STS-B", "stsb", "sts-b", "STSB", "STS_B"])
def test_folder_names_in_any_case(tmp_path: Path, folder: str) -> None:
    assert first(write(tmp_path, {f"{folder}/train.tsv": STSB_TSV}), "stsb")["label"] == 4.25


def test_headless_cola_keeps_every_row_and_its_quotes(tmp_path: Path) -> None:
    data = write(tmp_path, {"train.tsv": COLA_TSV}).load(get_task("cola"), "train")
    assert data["sentence"][:] == ["It is so.", 'Is so "it.']
    assert data["label"][:] == [1, 0]


def test_cola_with_a_header(tmp_path: Path) -> None:
    text = "source\tlabel\tmark\tsentence\nx\tacceptable\t\tIt is so.\n"
    assert first(write(tmp_path, {"train.tsv": text}), "cola") == {"sentence": "It is so.", "label": 1}


def test_mrpc_as_its_authors_publish_it(tmp_path: Path) -> None:
    test = MRPC_TSV.replace("He said no.", "She did.")
    source = write(tmp_path, {"msr_paraphrase_train.txt": MRPC_TSV, "msr_paraphrase_test.txt": test})
    assert first(source, "mrpc")["sentence2"] == "He said no."
    assert first(source, "mrpc", "dev")["sentence2"] == "She did."


def test_mrpc_train_file_goes_before_the_authors_own(tmp_path: Path) -> None:
    glue = MRPC_TSV.replace("He said no.", "She did.")
    source = write(tmp_path, {"msr_paraphrase_test.txt": MRPC_TSV, "train.tsv": glue})
    assert first(source, "mrpc")["sentence2"] == "She did."
    with pytest.raises(InputError, match="no file for dev"):
        source.load(get_task("mrpc"), "dev")


@pytest.mark.parametrize("dev", ["dev", "validation", "val", "dev_matched", "validation_matched"])
@pytest.mark.parametrize("mismatched", ["dev_mismatched", "validation_mismatched"])
def test_mnli_splits(tmp_path: Path, dev: str, mismatched: str) -> None:
    other = MNLI_TSV.replace("It rains.", "It hails.")
    source = write(tmp_path, {f"{dev}.tsv": MNLI_TSV, f"{mismatched}.tsv": other})
    assert first(source, "mnli", "dev")["premise"] == "It rains."
    assert first(source, "mnli", "dev_mismatched")["premise"] == "It hails."


EXAMPLES = [
    ("train.csv", 'sentence,label\n"It is, ""so"".\nIndeed.",1\n'),
    ("train.tsv", "label\tsentence\nacceptable\tIt is so.\n"),
    ("train.jsonl", '{"label": 1, "sentence": "It is so."}\n\n{"label": "0", "sentence": "x"}\n'),
    ("cola/train.jsonl", '{"label": " acceptable ", "sentence": "It is so."}\n'),
]


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_own_files(tmp_path: Path, name: str, text: str) -> None:
    row = first(write(tmp_path, {name: text}), "cola")
    assert row["sentence"].startswith("It is")
    assert row["label"] == 1


@pytest.mark.parametrize("label", [1, "1", "acceptable"])
def test_parquet(tmp_path: Path, label: int | str) -> None:
    pq.write_table(pa.table({"sentence": ["It is so."], "label": [label]}), tmp_path / "train.parquet")
    assert first(FolderSource(tmp_path), "cola") == {"sentence": "It is so.", "label": 1}


def test_label_types(tmp_path: Path) -> None:
    source = write(tmp_path, {"cola/train.tsv": COLA_TSV, "stsb/train.tsv": STSB_TSV})
    kinds = {
        task: {*map(type, source.load(get_task(task), "train")[LABEL_COLUMN])} for task in ("cola", "stsb")
    }
    assert kinds == {"cola": {int}, "stsb": {float}}


def qqp(defects: int, rows: int = 20_000) -> str:
    lines = QQP_TSV.splitlines()
    return "\n".join([lines[0], *["\tbroken\t0"] * defects, *[lines[1]] * rows])


def test_the_few_broken_rows_of_the_published_qqp_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write(tmp_path, {"train.tsv": qqp(defects=2)}).load(get_task("qqp"), "train")
    assert len(data) == 20_000
    assert "2 unusable rows left out" in caplog.text


def test_more_broken_rows_of_qqp_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path, {"train.tsv": qqp(defects=3)})
    with pytest.raises(InputError, match=r"train\.tsv:2: 3 columns where 6 are expected"):
        source.load(get_task("qqp"), "train")


HEAD = "sentence\tlabel\n"
PAIR = "sentence1\tsentence2\tlabel\n"
ROWS = [
    (
        "cola",
        "train.tsv",
        HEAD + "So.\tmaybe\n",
        ":2: label 'maybe' is not one of task cola: unacceptable or 0",
    ),
    ("cola", "train.tsv", HEAD + "So.\t1\nIs.\t2\n", ":3: label '2' is not one of task cola"),
    ("cola", "train.tsv", HEAD + "So.\t-1\n", ":2: label '-1' is not one of task cola"),
    ("cola", "train.tsv", HEAD + "So.\t\n", ":2: label is missing ('')"),
    ("cola", "train.tsv", HEAD + "So.\t1\n\n \t1\n", ":4: column 'sentence' is empty (' ')"),
    ("cola", "train.tsv", HEAD + "So.\t1\tx\n", ":2: 3 columns where 2 are expected"),
    ("cola", "train.tsv", COLA_TSV + "a\tb\n", ":3: 2 columns where 4 are expected"),
    (
        "cola",
        "train.tsv",
        "text\tlabel\nSo.\t1\n",
        ":2: no column 'sentence'; the columns are 'text', 'label'",
    ),
    ("cola", "train.tsv", "label\tlabel\n1\t1\n", ":1: column 'label' appears twice in the header"),
    ("cola", "train.tsv", "", ": no rows; at least one is needed"),
    ("cola", "train.tsv", HEAD, ": no rows; at least one is needed"),
    ("cola", "train.csv", 'sentence,label\n"a\nb",1\n"c" d,1\n', ":4: broken CSV: "),
    ("cola", "train.csv", 'sentence,label\nSo.,1\n"open,1\n', ":3: broken CSV: "),
    ("cola", "train.csv", 'sentence,label\n"a\nb",1\n\nSo.,no\n', ":5: label 'no'"),
    (
        "cola",
        "train.jsonl",
        '{"sentence": "So.", "label": 1}\n{"sentence"\n',
        ":2: not JSON: '{\"sentence\"'",
    ),
    (
        "cola",
        "train.jsonl",
        '{"sentence": "So.", "label": 1, "label": 0}\n',
        "(key 'label' appears twice; remove one)",
    ),
    ("cola", "train.jsonl", "[1]\n", ":1: '[1]' is not a JSON object"),
    ("cola", "train.jsonl", '{"label": 1}\n', ":1: no column 'sentence'; the columns are 'label'"),
    (
        "cola",
        "train.jsonl",
        '{"sentence": "So.", "label": 1}\n{"sentence": "So."}\n',
        ":2: no column 'label'; the columns are 'sentence'",
    ),
    ("cola", "train.jsonl", "{}\n", ":1: no column 'sentence'; the columns are none"),
    ("cola", "train.jsonl", '{"sentence": 3, "label": 1}\n', ":1: column 'sentence' must be text, got 3"),
    ("cola", "train.jsonl", '{"sentence": null, "label": 1}\n', "column 'sentence' must be text, got None"),
    ("cola", "train.jsonl", '{"sentence": "\\ud800", "label": 1}\n', "has half a surrogate pair"),
    ("cola", "train.jsonl", '{"sentence": "So.", "label": true}\n', ":1: label True is not one of"),
    ("cola", "train.jsonl", '{"sentence": "So.", "label": 1.5}\n', ":1: label 1.5 is not one of"),
    ("cola", "train.parquet", "not parquet", ": not a readable parquet file: "),
    ("stsb", "train.tsv", PAIR + "A.\tB.\tnan\n", ":2: label must be a number in [0, 5], got 'nan'"),
    ("stsb", "train.tsv", PAIR + "A.\tB.\tinf\n", ":2: label must be a number in [0, 5], got 'inf'"),
    ("stsb", "train.tsv", PAIR + "A.\tB.\t5.1\n", ":2: label must be a number in [0, 5], got '5.1'"),
    ("stsb", "train.tsv", PAIR + "A.\tB.\t-1\n", ":2: label must be a number in [0, 5], got '-1'"),
    ("stsb", "train.tsv", PAIR + "A.\tB.\tfour\n", ":2: label must be a number in [0, 5], got 'four'"),
    (
        "stsb",
        "train.jsonl",
        '{"sentence1": "A", "sentence2": "B", "label": null}\n',
        ":1: label must be a number in [0, 5], got None",
    ),
    (
        "mnli",
        "train.tsv",
        MNLI_TSV.replace("entailment", "-"),
        ":2: label '-' (the annotators did not agree; remove the row) is not one of task mnli",
    ),
    ("qqp", "train.tsv", QQP_TSV.replace("Who?", ""), ":2: column 'question1' is empty ('')"),
    (
        "rte",
        "train.tsv",
        "x" * 200 + "\tlabel\n1\t1\n",
        "the columns are 'xxxxxxxxxxxxxxxxxxxxxxxxxx..., 'label'",
    ),
]


@pytest.mark.parametrize(("task", "name", "text", "message"), ROWS)
def test_bad_row(tmp_path: Path, task: str, name: str, text: str, message: str) -> None:
    source = write(tmp_path, {name: text})
    with pytest.raises(InputError) as caught:
        source.load(get_task(task), "train")
    assert str(caught.value).startswith(f"{tmp_path / name}{message}") or message in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["train.tsv", "train.csv", "train.jsonl"])
def test_bytes_that_are_not_utf8(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"sentence\tlabel\nSo.\t1\nCaf\xe9.\t1\n")
    with pytest.raises(InputError, match=rf"{name}:3: byte 0xe9 is not UTF-8"):
        FolderSource(tmp_path).load(get_task("cola"), "train")


def test_bad_parquet_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"sentence": ["a", "b"], "label": [1, None]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"train\.parquet: row 2: label is missing \(None\)"):
        FolderSource(tmp_path).load(get_task("cola"), "train")


FOLDERS = [
    ({}, "no file for train of task cola; expected train with .csv, .tsv, .jsonl, .parquet"),
    ({"train.pkl": "x", "train.bin": "x", "train.txt": "x"}, "no file for train of task cola"),
    (
        {"train.csv": HEAD, "train.tsv": HEAD},
        "train.csv, train.tsv all serve as train of task cola; keep one",
    ),
    ({"CoLA/train.tsv": COLA_TSV, "cola/train.tsv": COLA_TSV}, "CoLA, cola are all named like task cola"),
]


@pytest.mark.parametrize(("files", "message"), FOLDERS)
def test_bad_folder(tmp_path: Path, files: dict[str, str], message: str) -> None:
    source = write(tmp_path, files)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path}: {message}")):
        source.load(get_task("cola"), "train")


def test_two_names_of_one_split(tmp_path: Path) -> None:
    source = write(tmp_path, {"dev.tsv": HEAD, "validation.tsv": HEAD})
    with pytest.raises(InputError, match=r"dev\.tsv, validation\.tsv all serve as dev"):
        source.load(get_task("cola"), "dev")


def test_missing_dev_names_what_was_looked_for(tmp_path: Path) -> None:
    message = r"expected dev or validation or val with .*, or msr_paraphrase_test\.txt"
    with pytest.raises(InputError, match=message):
        FolderSource(tmp_path).load(get_task("mrpc"), "dev")


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        FolderSource(tmp_path / "nowhere").load(get_task("cola"), "train")


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split: task cola has no split 'test'; choose one of train, dev"):
        FolderSource(tmp_path).load(get_task("cola"), "test")


def test_the_folder_of_another_task(tmp_path: Path) -> None:
    write(tmp_path, {"SST-2/train.tsv": SST2_TSV})
    with pytest.raises(InputError, match="SST-2: named like task sst2, not cola; give the folder"):
        FolderSource(tmp_path / "SST-2").load(get_task("cola"), "train")


def test_a_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read_bytes = Path.read_bytes

    def spy(path: Path) -> bytes:
        opened.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", spy)
    write(tmp_path, {"train.pkl": "x", "train": "x", "train.tsv": COLA_TSV}).load(get_task("cola"), "train")
    assert opened == [tmp_path / "train.tsv"]


def test_fingerprint_is_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    here = write(tmp_path / "a", {"train.tsv": COLA_TSV, "dev.tsv": COLA_TSV})
    there = write(tmp_path / "b" / "CoLA", {"train.tsv": COLA_TSV, "validation.tsv": COLA_TSV})
    other = write(tmp_path / "c", {"train.tsv": COLA_TSV, "dev.tsv": COLA_TSV.replace("0", "1")})
    fingerprint = here.fingerprint(get_task("cola"))
    assert re.fullmatch("[0-9a-f]{16}", fingerprint)
    assert there.fingerprint(get_task("cola")) == fingerprint
    assert other.fingerprint(get_task("cola")) != fingerprint


def test_fingerprint_covers_every_split_and_is_kept(tmp_path: Path) -> None:
    files = {f"{name}.tsv": MNLI_TSV for name in ("train", "dev_matched", "dev_mismatched")}
    before = write(tmp_path, files)
    fingerprint = before.fingerprint(get_task("mnli"))
    after = write(tmp_path, {"dev_mismatched.tsv": MNLI_TSV.replace("rains", "hails")})
    assert after.fingerprint(get_task("mnli")) != fingerprint
    assert before.fingerprint(get_task("mnli")) == fingerprint


def test_fingerprint_of_a_missing_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file for dev"):
        write(tmp_path, {"train.tsv": COLA_TSV}).fingerprint(get_task("cola"))
