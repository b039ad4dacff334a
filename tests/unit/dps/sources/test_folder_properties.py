"""Examples from a folder, for any content: what is written is read back, or refused in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dps.errors import InputError
from dps.sources.folder import FolderSource
from dps.tasks.registry import GLUE_TASKS


def texts(without: str = "") -> st.SearchStrategy[str]:
    """Texts a source accepts: any characters but surrogates and those a format cannot hold."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters=without)
    return st.text(characters, min_size=1, max_size=30).filter(str.strip)


def pairs(without: str = "") -> st.SearchStrategy[list[tuple[str, str, str]]]:
    labels = st.sampled_from(GLUE_TASKS["rte"].labels)
    return st.lists(st.tuples(texts(without), texts(without), labels), min_size=1, max_size=8)


def round_trip(name: str, write_rows: Any, rows: list[tuple[str, str, str]]) -> None:
    """What is written under `name` is read back, in order."""
    with TemporaryDirectory() as folder:
        with (Path(folder) / name).open("w", encoding="utf-8", newline="") as file:
            write_rows(file, rows)
        data = FolderSource(folder).load(GLUE_TASKS["rte"], "train").columns
    read = zip(data["sentence1"], data["sentence2"], data["label"], strict=True)
    assert list(read) == [(one, two, GLUE_TASKS["rte"].labels.index(label)) for one, two, label in rows]


def write_csv(file: Any, rows: list[tuple[str, str, str]]) -> None:
    writer = csv.writer(file)
    writer.writerows([("sentence1", "sentence2", "label"), *rows])


def write_tsv(file: Any, rows: list[tuple[str, str, str]]) -> None:
    file.writelines("\t".join(row) + "\n" for row in [("sentence1", "sentence2", "label"), *rows])


def write_jsonl(file: Any, rows: list[tuple[str, str, str]]) -> None:
    for one, two, label in rows:
        example = {"sentence1": one, "sentence2": two, "label": label}
        file.write(json.dumps(example, ensure_ascii=len(one) % 2 == 0) + "\n")


quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(pairs())
def test_csv_round_trip(rows: list[tuple[str, str, str]]) -> None:
    round_trip("train.csv", write_csv, rows)


@quick
@given(pairs(without="\t\n"))
def test_tsv_round_trip(rows: list[tuple[str, str, str]]) -> None:
    round_trip("train.tsv", write_tsv, rows)


@quick
@given(pairs())
def test_jsonl_round_trip(rows: list[tuple[str, str, str]]) -> None:
    round_trip("train.jsonl", write_jsonl, rows)


@quick
@given(st.floats(0, 5))
def test_scores_are_read_exactly(score: float) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "train.tsv").write_text(f"sentence1\tsentence2\tlabel\nA.\tB.\t{score!r}\n")
        assert FolderSource(folder).load(GLUE_TASKS["stsb"], "train")[0]["label"] == score


@quick
@given(st.binary(max_size=60), st.sampled_from(["tsv", "csv", "jsonl", "parquet"]))
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes, suffix: str) -> None:
    refusal = ""
    with TemporaryDirectory() as folder:
        (Path(folder) / f"train.{suffix}").write_bytes(b"sentence,label\n" * (suffix == "csv") + content)
        try:
            assert len(FolderSource(folder).load(GLUE_TASKS["cola"], "train")) > 0
        except InputError as error:
            refusal = str(error)
    assert len(refusal.splitlines()) <= 1
