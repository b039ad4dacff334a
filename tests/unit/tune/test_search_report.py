"""The report of a search.json that no search wrote: one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tune.helpers import restore_old_search
from tune import report


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return restore_old_search("search", tmp_path / "old")


def change(content: Any, place: str, value: Any) -> None:
    *above, last = place.split(".")
    for name in above:
        content = content[int(name) if name.isdigit() else name]
    content[last] = value


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("plan.confirm_steps", 10**400),
        ("plan.confirm_steps", 0),
        ("spent.seconds", float("inf")),
        ("spent.seconds", float("nan")),
        ("spent.cpu_hours", None),
        ("spent.cpu_hours", 10**400),
        ("trials.0.configuration", {}),
        ("profile", {"before_first_step": {}, "slot_seconds": 1.0, "shares": {}, "gap": None}),
        ("metric", "x" * 5000),
    ],
)
def test_a_document_that_no_search_wrote_is_refused_in_one_line(
    folder: Path, place: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    change(content, place, value)
    (folder / "search.json").write_text(json.dumps(content), encoding="utf-8")
    assert report.main([str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: DIR: ")
    assert said.count("\n") == 1
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"schema_version": 1e999}'])
def test_what_is_no_document_is_refused_in_one_line(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "search.json").write_text(text, encoding="utf-8")
    assert report.main([str(folder)]) == 2
    said = capsys.readouterr().err
    assert "search.json cannot be read" in said
    assert said.count("\n") == 1


def test_the_document_as_it_was_is_reported(folder: Path) -> None:
    assert report.main([str(folder)]) == 0
    assert (folder / "report.html").is_file()
