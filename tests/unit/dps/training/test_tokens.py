"""Tokenised examples in memory, and the cache that the processes of a node share."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dps.errors import InputError
from dps.sources.examples import fingerprint_examples
from dps.sources.folder import FolderSource
from dps.tasks import registry
from dps.tasks.definition import read_task_file
from dps.tasks.task import Task
from dps.training.data import TaskData
from dps.training.tokens import EncodedExamples, TokenCache, fingerprint_tokenizer
from tests import tiny

RTE = registry.get_task("rte")


def encoded(lengths: list[int]) -> tuple[list[dict[str, list[int]]], EncodedExamples]:
    tokens = [{"input_ids": [*range(9, 9 + n)], "attention_mask": [1] * n} for n in lengths]
    return tokens, EncodedExamples.from_tokens(tokens, np.arange(len(lengths)))


@settings(max_examples=50)
@given(st.lists(st.integers(0, 6), max_size=12), st.data())
def test_examples_come_back_as_they_were_given_whatever_is_taken(lengths: list[int], data: Any) -> None:
    tokens, made = encoded(lengths)
    assert (made.tokens, len(made), made.lengths().tolist()) == (tokens, len(lengths), lengths)
    chosen = data.draw(st.lists(st.sampled_from(range(len(lengths))), max_size=9)) if lengths else []
    part = made.take(np.array(chosen, dtype=int))
    again = part.take(np.arange(len(part))[::-1])
    assert part.tokens == [tokens[i] for i in chosen]
    assert again.tokens == [tokens[i] for i in reversed(chosen)]
    assert again.lengths().tolist() == [lengths[i] for i in reversed(chosen)]
    assert again.labels.tolist() == chosen[::-1]


def test_what_is_kept_is_mapped_and_is_what_was_made(tmp_path: Path) -> None:
    tokens, made = encoded([3, 1, 2])
    cache = TokenCache(tmp_path)
    cache.get(["a"], lambda: made)
    (file,) = cache.folder.glob("*.safetensors")
    found = cache.get(["a"], lambda: pytest.fail("it was made again"))
    assert (found.tokens, found.labels.tolist()) == (tokens, [0, 1, 2])
    assert found.ids["input_ids"].dtype == np.int32
    assert str(file) in Path("/proc/self/maps").read_text()
    other = cache.get(["b"], lambda: encoded([1])[1])
    assert other.tokens == encoded([1])[0]


def flip(content: bytes, array: str) -> bytes:
    """The content with the last bit of an array's first value flipped."""
    size = int.from_bytes(content[:8], "little")
    start = 8 + size + json.loads(content[8 : 8 + size])[array]["data_offsets"][0]
    return content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :]


ARRAYS = ("labels", "input_ids", "starts", "texts", "attention_mask")
SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "zeros": lambda content: b"\x00" * 40,
    "another": lambda content: b'{"a": 1}',
    "cut": lambda content: content[:-1],
    **{f"a bit of {name}": partial(flip, array=name) for name in ARRAYS},
}


@pytest.mark.parametrize("way", SPOILED)
def test_a_file_that_is_not_what_was_written_is_made_anew(tmp_path: Path, way: str) -> None:
    cache, (tokens, made) = TokenCache(tmp_path), encoded([2, 2])
    cache.get(["a"], lambda: made)
    (file,) = cache.folder.glob("*.safetensors")
    file.write_bytes(SPOILED[way](file.read_bytes()))
    assert cache.get(["a"], lambda: made).labels.tolist() == [0, 1]
    assert cache.get(["a"], lambda: made).tokens == tokens
    assert cache.get(["a"], lambda: pytest.fail("it was made again")).tokens == tokens
    assert not list(cache.folder.glob("*.part"))


def test_a_file_under_the_name_of_another_is_made_anew(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path)
    cache.get(["a"], lambda: encoded([2])[1])
    (mine,) = cache.folder.glob("*.safetensors")
    cache.get(["b"], lambda: encoded([3])[1])
    (other,) = {*cache.folder.glob("*.safetensors")} - {mine}
    mine.replace(other)
    assert cache.get(["b"], lambda: encoded([3])[1]).tokens == encoded([3])[0]


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("in the way")
    tokens, made = encoded([2])
    assert TokenCache(tmp_path).get(["a"], lambda: made).tokens == tokens


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safetensors.numpy.save_file", full)
    tokens, made = encoded([2])
    assert TokenCache(tmp_path).get(["a"], lambda: made).tokens == tokens
    assert not list((tmp_path / "tokens").glob("*.safetensors"))


def full(arrays: Any, file: Path, metadata: Any) -> None:
    file.write_bytes(b"half of i")
    raise OSError(28, "No space left on device")


def make_slowly(folder: str, ready: Any, go: Any, made: Any) -> None:
    def make() -> EncodedExamples:
        with open(Path(folder) / f"made-{os.getpid()}", "w"):
            pass
        return encoded([1, 2])[1]

    ready.put(os.getpid())
    go.wait(60)
    made.put(len(TokenCache(Path(folder)).get(["a"], make)))


def test_of_the_processes_of_a_node_one_tokenises(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, go, made = context.Queue(), context.Event(), context.Queue()
    workers = [
        context.Process(target=make_slowly, args=(str(tmp_path), ready, go, made), daemon=True)
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.get(timeout=60)
    go.set()
    assert [made.get(timeout=60) for _ in workers] == [2] * 4
    assert len(list(tmp_path.glob("made-*"))) == 1


class Counting(FolderSource):
    loads = 0

    def load(self, task: Any, split: str) -> Any:
        self.loads += 1
        return super().load(task, split)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "RTE").mkdir()
    for split, count in (("train", 8), ("dev", 3), ("test", 2)):
        rows = [
            f"{n}\tw{n % 9} w2\tw3\t{'not_' * (n % 2)}entailment" if split != "test" else f"{n}\tw1\tw2"
            for n in range(count)
        ]
        head = "index\tsentence1\tsentence2" + ("\tlabel" if split != "test" else "")
        (tmp_path / "RTE" / f"{split}.tsv").write_text("\n".join([head, *rows]) + "\n")
    return tmp_path


def fingerprint_splits(source: FolderSource, task: Task = RTE) -> dict[str, str]:
    return {split: fingerprint_examples(task, source.load(task, split)) for split in task.splits}


def test_a_second_search_on_the_same_data_reads_and_tokenises_nothing(folder: Path, tmp_path: Path) -> None:
    planned = fingerprint_splits(FolderSource(folder))

    def data(source: FolderSource, length: int = 16) -> TaskData:
        return TaskData(RTE, source, tiny.tokenizer(), length, TokenCache(tmp_path / "cache"), planned)

    first, second = Counting(folder), Counting(folder)
    plain = TaskData(RTE, FolderSource(folder), tiny.tokenizer(), 16)
    for source in (first, second):
        made = data(source)
        assert made.get_train_examples(None).tokens == plain.get_train_examples(None).tokens
        assert made.get_split("dev").labels.tolist() == plain.get_split("dev").labels.tolist()
    assert (first.loads, second.loads) == (2, 0)
    data(second, length=8).get_train_examples(None)
    assert second.loads == 1  # cut elsewhere
    file = folder / "RTE" / "dev.tsv"
    file.write_text(file.read_text().replace("w3", "w4"))
    assert data(second).get_split("dev").tokens == plain.get_split("dev").tokens  # as planned
    planned = fingerprint_splits(FolderSource(folder))
    changed = Counting(folder)
    assert data(changed).get_split("dev").tokens != plain.get_split("dev").tokens
    assert changed.loads == 1


@pytest.mark.parametrize("keep", [True, False])
def test_data_that_changed_after_the_plan_are_refused_and_never_kept(
    folder: Path, tmp_path: Path, keep: bool
) -> None:
    planned, file = fingerprint_splits(FolderSource(folder)), folder / "RTE" / "train.tsv"
    cache, before = TokenCache(tmp_path / "cache") if keep else None, file.read_text()

    def data() -> TaskData:
        return TaskData(RTE, FolderSource(folder), tiny.tokenizer(), 16, cache, planned)

    file.write_text(before.replace("not_entailment", "entailment"))
    with pytest.raises(InputError, match=f"data: train of {folder} is not what the plan was made from"):
        data().get_split("train")
    file.write_text(before)
    assert data().get_split("train").labels.tolist() == [0, 1] * 4


DEFINITION = {
    "name": "essays", "columns": ["text"], "label": "style", "kind": "classification",
    "labels": ["a", "b", "c"], "metric": ["accuracy", "macro_f1"],
}  # fmt: skip
ESSAYS = [
    {"text": f"w{n}", "other": f"w{n} w2", "style": "abc"[n % 3], "grammar": "acb"[n % 3]} for n in range(12)
]
OTHER_DEFINITIONS: dict[str, dict[str, Any]] = {
    "label": {"label": "grammar"},
    "order of the labels": {"labels": ["b", "a", "c"]},
    "a label more": {"labels": ["a", "b", "c", "d"]},
    "kind": {"kind": "multi-label", "metric": "micro_f1"},
    "metric": {"metric": "accuracy"},
    "order of the metrics": {"metric": ["macro_f1", "accuracy"]},
    "column": {"columns": ["other"]},
    "columns": {"columns": ["text", "other"]},
}


def write_essays(file: Path, rows: list[dict[str, str]], document: dict[str, Any], note: str = "") -> Task:
    """The task of a YAML file beside its data, which --data names."""
    for split in ("train", "dev"):
        (file.parent / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    file.write_text(f"# {note}\n{yaml.safe_dump(document, sort_keys=False)}")
    return read_task_file(file)


def fingerprint(task: Task, folder: Path) -> tuple[str, dict[str, str]]:
    source = FolderSource(folder)
    return source.fingerprint(task), fingerprint_splits(source, task)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations([*DEFINITION]), st.text("abc ", max_size=9), st.sampled_from([*OTHER_DEFINITIONS]))
def test_a_fingerprint_knows_whatever_decides_the_numbers_and_nothing_else(
    tmp_path: Path, order: list[str], note: str, other: str
) -> None:
    before = fingerprint(write_essays(tmp_path / "a.yaml", ESSAYS, DEFINITION), tmp_path)
    same = write_essays(tmp_path / "b.yaml", ESSAYS, {key: DEFINITION[key] for key in order}, note)
    assert fingerprint(same, tmp_path) == before
    changed = DEFINITION | OTHER_DEFINITIONS[other]
    after = fingerprint(write_essays(tmp_path / "a.yaml", ESSAYS, changed), tmp_path)
    assert after[0] != before[0]
    assert {*after[1].values()}.isdisjoint(before[1].values())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(ESSAYS) - 1), st.sampled_from([("text", "w99"), ("style", "b"), ("style", "c")]))
def test_a_fingerprint_knows_every_text_and_label(tmp_path: Path, row: int, change: tuple[str, str]) -> None:
    before = fingerprint(write_essays(tmp_path / "a.yaml", ESSAYS, DEFINITION), tmp_path)
    rows = [{**values, change[0]: change[1]} if row == n else values for n, values in enumerate(ESSAYS)]
    after = fingerprint(write_essays(tmp_path / "a.yaml", rows, DEFINITION), tmp_path)
    assert (after[1] != before[1]) == (after[0] != before[0]) == (rows != ESSAYS)


def test_tasks_that_differ_in_their_label_column_share_no_tokens(tmp_path: Path) -> None:
    cache, found = TokenCache(tmp_path / "cache"), {}
    for label in ("style", "grammar"):
        task = write_essays(tmp_path / f"{label}.yaml", ESSAYS, DEFINITION | {"label": label})
        for planned in (None, fingerprint_splits(FolderSource(tmp_path), task)):
            data = TaskData(task, FolderSource(tmp_path), tiny.tokenizer(), 16, cache, planned)
            found[label] = data.get_split("train").labels.tolist()
            assert found[label] == ["abc".index(row[label]) for row in ESSAYS]
    assert found["style"] != found["grammar"]


def test_the_identity_of_a_tokenizer_is_that_of_its_rules() -> None:
    one, other = tiny.tokenizer(), tiny.tokenizer()
    one(["w1 w2 w3"], truncation=True, max_length=3, padding=True)
    assert fingerprint_tokenizer(one) == fingerprint_tokenizer(other) is not None
    other.truncation_side = "left"
    assert fingerprint_tokenizer(one) != fingerprint_tokenizer(other)
    assert fingerprint_tokenizer(object()) is None  # type: ignore[arg-type]


def test_sets_of_other_tasks_are_those_of_the_plan(folder: Path) -> None:
    planned = {"rte/dev": fingerprint_splits(FolderSource(folder))["dev"]}
    cola = registry.get_task("cola")

    def data() -> TaskData:
        return TaskData(cola, FolderSource(folder), tiny.tokenizer(), 16, None, planned).for_task(RTE)

    assert len(data().get_split("dev")) == 3
    file = folder / "RTE" / "dev.tsv"
    file.write_text(file.read_text().replace("w3", "w4"))
    for read in (TaskData.get_split, TaskData.load_split):
        with pytest.raises(InputError, match=r"data: dev of .* is not what the plan was made from"):
            read(data(), "dev")
    assert len(data().get_split("train")) == 8
