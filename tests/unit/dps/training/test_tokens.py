"""Tokenised examples in memory, and the cache that the processes of a node share."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dps.sources.folder import FolderSource
from dps.tasks import registry
from dps.training.data import TaskData
from dps.training.tokens import EncodedExamples, TokenCache, fingerprint_tokenizer
from tests import tiny

RTE = registry.get_task("rte")


def encoded(lengths: list[int]) -> tuple[list[dict[str, list[int]]], EncodedExamples]:
    tokens = [{"input_ids": [*range(9, 9 + n)], "attention_mask": [1] * n} for n in lengths]
    return tokens, EncodedExamples.from_tokens(tokens, np.arange(len(lengths)))


@settings(deadline=None, max_examples=50)
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


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b'{"a": 1}'])
def test_a_file_that_is_not_whole_is_written_anew(tmp_path: Path, content: bytes) -> None:
    cache, (tokens, made) = TokenCache(tmp_path), encoded([2, 2])
    cache.get(["a"], lambda: made)
    (file,) = cache.folder.glob("*.safetensors")
    file.write_bytes(content)
    assert cache.get(["a"], lambda: made).tokens == tokens
    assert cache.get(["a"], lambda: pytest.fail("it was made again")).tokens == tokens
    assert not list(cache.folder.glob("*.part"))


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("in the way")
    tokens, made = encoded([2])
    assert TokenCache(tmp_path).get(["a"], lambda: made).tokens == tokens


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safetensors.numpy.save_file", full)
    tokens, made = encoded([2])
    assert TokenCache(tmp_path).get(["a"], lambda: made).tokens == tokens
    assert not list((tmp_path / "tokens").glob("*.safetensors"))


def full(arrays: Any, file: Path) -> None:
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


def test_a_second_search_on_the_same_data_reads_and_tokenises_nothing(folder: Path, tmp_path: Path) -> None:
    def data(source: FolderSource, length: int = 16) -> TaskData:
        return TaskData(RTE, source, tiny.tokenizer(), length, TokenCache(tmp_path / "cache"))

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
    changed = Counting(folder)
    assert data(changed).get_split("dev").tokens != plain.get_split("dev").tokens
    assert changed.loads == 1


def test_the_identity_of_a_tokenizer_is_that_of_its_rules() -> None:
    one, other = tiny.tokenizer(), tiny.tokenizer()
    one(["w1 w2 w3"], truncation=True, max_length=3, padding=True)
    assert fingerprint_tokenizer(one) == fingerprint_tokenizer(other) is not None
    other.truncation_side = "left"
    assert fingerprint_tokenizer(one) != fingerprint_tokenizer(other)
    assert fingerprint_tokenizer(object()) is None  # type: ignore[arg-type]
