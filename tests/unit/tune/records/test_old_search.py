"""What commit 521c27d stored is still read: reports are made again, new searches begin with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.tune.helpers import restore_old_search
from tune import report
from tune.records.ledger import Ledger
from tune.records.search_document import read_search_document
from tune.strategy.warm_start import read_earlier_searches

NAMES = ("search", "own")


@pytest.mark.parametrize("name", NAMES)
def test_the_report_is_made_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = restore_old_search(name, tmp_path)
    assert report.main([str(folder)]) == 0
    sentence = json.loads((folder / "search.json").read_text(encoding="utf-8"))["sentence"]
    assert sentence.partition(".")[0] in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_document_that_is_read_and_written_is_the_same(name: str, tmp_path: Path) -> None:
    """Keys may join; none goes but an interval that left out the examples, and no value changes."""
    folder = restore_old_search(name, tmp_path)
    stored = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    stored |= {"baselines": [found] if (found := stored.pop("baseline", None)) else []}
    for confirmation in [stored["confirmation"], *(each["confirmation"] for each in stored["baselines"])]:
        del confirmation["interval"], confirmation["level"]
    written = json.loads(json.dumps(read_search_document(folder).to_json()))
    assert find_losses(stored, written, "search.json") == []


@pytest.mark.parametrize("name", NAMES)
def test_its_ledger_and_its_document_hold_the_same_runs(name: str, tmp_path: Path) -> None:
    folder = restore_old_search(name, tmp_path)
    ledger, document = Ledger(folder / "study.db", "max"), read_search_document(folder)
    stored = [replace(run, covered="") for run in ledger.records()]  # of a run, only the ledger had it
    rivals = [run for baseline in document.baselines for run in baseline.runs]
    runs = [*document.trials, *document.race_runs, *document.confirmation_runs, *rivals]
    assert sorted(runs, key=lambda run: run.id) == sorted(stored, key=lambda run: run.id)


def find_losses(stored: object, written: object, place: str) -> list[str]:
    """Where something of what was stored is missing or differs."""
    if isinstance(stored, dict) and isinstance(written, dict):
        return [
            loss for key in stored for loss in find_losses(stored[key], written.get(key), f"{place}.{key}")
        ]
    if isinstance(stored, list) and isinstance(written, list) and len(stored) == len(written):
        pairs = enumerate(zip(stored, written, strict=True))
        return [loss for at, (old, new) in pairs for loss in find_losses(old, new, f"{place}.{at}")]
    return [] if stored == written else [f"{place}: {stored!r} became {written!r}"]


@pytest.mark.parametrize("name", NAMES)
def test_its_configurations_start_a_new_search(name: str, tmp_path: Path) -> None:
    folder = restore_old_search(name, tmp_path)
    tried = [trial["configuration"] for trial in json.loads((folder / "search.json").read_text())["trials"]]
    earlier = read_earlier_searches(str(folder), None)
    assert earlier
    assert all(each.configuration in tried for each in earlier)
