"""Every bad input of the table is refused in one line with its exit status, before anything starts."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.bad_inputs import BAD_INPUTS, PICKLE, PROOF, Bad, stock, tried


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stock(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: f"{bad.kind}: {bad.given}")
def test_it_is_refused_in_one_line(bad: Bad, good: Path, tmp_path: Path) -> None:
    answer = tried(bad, good, tmp_path)
    assert (answer.status, answer.harmed) == (bad.status, False), answer.said
    assert answer.said.startswith("error: ")
    assert answer.said.count("\n") == 1
    assert [words for words in bad.says if words not in answer.said] == [], answer.said
    assert "hush" not in answer.said
    assert not (tmp_path / "runs").exists()


def test_no_case_stands_twice_and_there_are_many() -> None:
    names = [(bad.kind, bad.given) for bad in BAD_INPUTS]
    assert len(set(names)) == len(names) >= 60


def test_what_is_hostile_would_do_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(PICKLE)
    assert (tmp_path / PROOF).exists()
