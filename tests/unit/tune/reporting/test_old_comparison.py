"""A comparison that an earlier version finished is read, analysed again, and joined with another."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tune.compare import main

KEPT = Path(__file__).parents[3] / "data" / "521c27d" / "compare"  # as commit 521c27d wrote it


def read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    return document


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The same comparison, of another method."""
    copy = shutil.copytree(KEPT, tmp_path / "other")
    for file in (copy / "predictions").glob("dps-dense*"):
        file.rename(file.with_name(file.name.replace("dps-dense", "mixout")))
    text = (copy / "compare.json").read_text(encoding="utf-8")
    (copy / "compare.json").write_text(text.replace("dps-dense", "mixout"), encoding="utf-8")
    return copy


def test_an_old_comparison_says_the_same_again(tmp_path: Path) -> None:
    assert main(["--results", str(KEPT), "--output", str(tmp_path / "joined")]) == 0
    old, new = read(KEPT), read(tmp_path / "joined")
    for name, row in old["results"]["dev"]["methods"].items():
        again = new["results"]["dev"]["methods"][name]
        assert again["scores"] == row["scores"]
        assert (len(row["scores"]), again["interval"]) == (3, None)  # which it had, of three seeds
        if row["difference"] is not None:
            assert again["difference"]["mean"] == pytest.approx(row["difference"]["mean"])
            assert again["verdict"].endswith("3 pairs: too few to tell)")
    assert new["costs"] == old["costs"]
    assert [method["configuration"] for method in new["methods"]] == [
        method["configuration"] for method in old["methods"]
    ]
    assert new["joined"][0]["git_commit"].startswith("521c27d")


@pytest.mark.parametrize("option", ["--dry-run", "--preflight"])
def test_results_of_finished_comparisons_have_no_plan(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--results", str(KEPT), "--output", str(tmp_path / "joined"), option]) == 2
    said = f"error: {option}, --results: nothing is run, so nothing is planned; leave one out\n"
    assert capsys.readouterr().err == said
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("baseline"), "malformed at baseline: Field required"),
        (lambda d: d["methods"][0]["runs"][1].pop("id"), "malformed at methods.0.runs.1.id: Field required"),
        (lambda d: d["methods"][0]["runs"][1].update(id="1 2"), "malformed at methods.0.runs.1: .*'1 2'"),
        (
            lambda d: d["methods"][1]["trials"][0].update(outcome="x"),
            "malformed at methods.1.trials.0.outcome",
        ),
        (lambda d: d["plan"].update(settings=None), "malformed at plan.settings"),
        (lambda d: d.update(evaluation_sets=[]), "malformed at evaluation_sets"),
        (lambda d: d.update(schema_version=2), "has version 2, and this program reads 1"),
    ],
)
def test_a_malformed_document_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], Any], says: str
) -> None:
    document = read(KEPT)
    change(document)
    (tmp_path / "compare.json").write_text(json.dumps(document), encoding="utf-8")
    assert main(["--results", str(tmp_path), "--output", str(tmp_path / "joined")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(f"--results: {tmp_path}/compare.json.* {says}", error), error


def test_two_old_comparisons_share_a_table(
    other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--results", f"{KEPT},{other}", "--output", str(tmp_path / "joined")]) == 0
    rows = read(tmp_path / "joined")["results"]["dev"]["methods"]
    assert [*rows] == ["vanilla", "dps-dense", "mixout"]
    assert rows["mixout"]["scores"] == rows["dps-dense"]["scores"]
    assert rows["mixout"]["difference"]["adjusted_p"] is None  # three pairs are too few
    assert "corrected for" not in capsys.readouterr().out
    assert "mixout" in (tmp_path / "joined" / "compare.html").read_text(encoding="utf-8")
