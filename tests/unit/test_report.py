"""What a search leaves behind: search.json, report.html and the sentence."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.tune_helpers import (
    PROVENANCE,
    FakeTune,
    end_well,
    make_plan,
    make_space,
    open_ledger,
    strategy,
)
from tune import report
from tune.budget import Spent
from tune.job import Job, Report
from tune.ledger import SCHEMA_VERSION, Ledger
from tune.outcomes import Outcome
from tune.preflight import Plan
from tune.searcher import LedgerSearcher

HOSTILE = '<script>alert("x")</script>&\'"'
CURVES = re.compile(r"<svg.*?</svg>", re.DOTALL)


def end(job: Job) -> Report:
    """Trial 1 diverges, trial 2 fails; the others complete."""
    if job.id == "1":
        return Report(job.id, Outcome.DIVERGED, 60, 60, float("nan"))
    if job.id == "2":
        return Report(job.id, Outcome.FAILED, error=f"RuntimeError: {HOSTILE} (x.py:3)")
    return end_well(job)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    folder = tmp_path_factory.mktemp("search")
    made = open_ledger(folder)
    FakeTune(LedgerSearcher(made, strategy(folder, 5), [], lambda: False), end=end).run()
    return made


def document(ledger: Ledger, plan: Plan | None = None) -> dict[str, Any]:
    return report.document(plan or make_plan(), ledger, Spent(5, 61.5, 24.0), PROVENANCE)


def test_search_json_has_its_fixed_keys(ledger: Ledger) -> None:
    found = json.loads(json.dumps(document(ledger), allow_nan=False))
    fixed = {"schema_version", "task", "metric", "direction", "data", "model", "provenance", "space"}
    fixed |= {"trials", "winner", "confirmation", "spent"}
    assert fixed <= found.keys()
    assert found["schema_version"] == SCHEMA_VERSION
    assert (found["task"], found["metric"], found["direction"]) == ("cola", "matthews_correlation", "max")
    assert found["data"] == {"source": "builtin", "name": "built-in cola", "fingerprint": "d" * 16}
    assert found["model"] == {"source": "builtin", "name": "MiniLM", "fingerprint": "m" * 16}
    assert found["space"] == json.loads(json.dumps(make_space().describe()))
    assert found["spent"] == {"seconds": 61.5, "slot_seconds": 24.0, "trials": 5}


def test_search_json_has_every_trial_as_the_ledger_has_it(ledger: Ledger) -> None:
    found = document(ledger)
    for trial, record in zip(found["trials"], ledger.records("search"), strict=True):
        keys = ("id", "configuration", "seed", "outcome", "scores", "seconds")
        assert {key: trial[key] for key in keys} == {
            "id": record.number,
            "configuration": record.configuration,
            "seed": record.seed,
            "outcome": str(record.outcome),
            "scores": [[step, score] for step, score in record.scores],
            "seconds": record.seconds,
        }
    assert found["outcomes"] == {"completed": 3, "diverged": 1, "failed": 1}


def test_search_json_has_the_winner_and_its_confirmation(ledger: Ledger) -> None:
    found = document(ledger)
    best = max((t for t in found["trials"] if t["outcome"] == "completed"), key=lambda t: t["scores"][-1][1])
    assert found["winner"] == {"trial": best["id"], "configuration": best["configuration"]}
    confirmation = found["confirmation"]
    assert confirmation.keys() == {"scores", "mean", "std", "interval", "level"}
    assert sorted(confirmation["scores"]) == [6, 7, 8]
    low, high = confirmation["interval"]
    assert low < confirmation["mean"] < high
    assert confirmation["level"] == 0.95


def test_a_search_without_a_finished_trial_has_no_winner(tmp_path: Path) -> None:
    found = document(open_ledger(tmp_path))
    assert (found["winner"], found["confirmation"], found["trials"]) == (None, None, [])
    assert found["sentence"] == "No trial finished."
    report.write(found, tmp_path)
    assert "No trial finished." in (tmp_path / "report.html").read_text(encoding="utf-8")


def confirmed(scores: dict[int, float] | None, std: float | None = None) -> dict[str, Any]:
    confirmation = None
    if scores:
        mean = sum(scores.values()) / len(scores)
        interval = None if std is None else (mean - 0.02, mean + 0.02)
        confirmation = {"scores": scores, "mean": mean, "std": std, "interval": interval, "level": 0.95}
    configuration = {"method": "dps-dense", "learning_rate": 1.234e-4, "selection_ratio": 0.7}
    return {
        "metric": "matthews_correlation",
        "winner": {"trial": 3, "configuration": configuration},
        "confirmation": confirmation,
    }


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (confirmed(None), " It was not confirmed."),
        (confirmed({4: 0.63}), " On dev, over 1 fresh seed: matthews_correlation 0.6300."),
        (
            confirmed({1: 0.61, 2: 0.63, 3: 0.65}, 0.02),
            " On dev, over 3 fresh seeds: matthews_correlation 0.6300 (standard deviation 0.0200, "
            "95% interval of the mean 0.6100 to 0.6500).",
        ),
    ],
    ids=["0 seeds", "1 seed", "3 seeds"],
)
def test_the_sentence(found: dict[str, Any], said: str) -> None:
    won = "Trial 3 won: dps-dense  lr 0.000123  selection_ratio 0.7."
    assert report.sentence(found) == won + said


def test_the_summary_names_the_runner_up_the_seeds_and_the_place(ledger: Ledger, tmp_path: Path) -> None:
    found = document(ledger)
    text = "\n".join(report.summary_lines(found, tmp_path, "mlflow ui --backend-store-uri x"))
    assert found["sentence"] in text
    assert "a single seed does not prove such a gap" in text
    assert [f"seed {seed}:" in text for seed in (6, 7, 8)] == [True] * 3
    assert "3 completed, 1 diverged, 1 failed. 62 s, 24 slot seconds." in text
    assert str(tmp_path) in text
    assert "mlflow ui --backend-store-uri x" in text


def test_the_runner_up_is_of_the_trials_that_went_as_far_as_the_winner(ledger: Ledger) -> None:
    found = document(ledger)
    cut = [(0, "stopped", 20, 0.5), (1, "stopped", 20, 0.7), (2, "completed", 60, 0.6), (3, "lost", 20, 0.65)]
    found["trials"] = [
        {"id": trial, "outcome": outcome, "scores": [[step, score]]} for trial, outcome, step, score in cut
    ]
    found["winner"] = {"trial": 1, "configuration": {}}
    said = report._runner_up(found)
    assert said is not None
    assert said.startswith(
        "On the selection data, one seed: 0.7000; the next, trial 0, 0.5000 (0.2000 behind"
    )
    found["winner"]["trial"] = 2
    assert report._runner_up(found) is None


def test_what_is_written_is_strict_json_and_no_half_file_is_left(ledger: Ledger, tmp_path: Path) -> None:
    report.write(document(ledger), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "search.json"]

    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = (tmp_path / "search.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse)["task"] == "cola"


def test_a_number_that_json_lacks_is_refused_and_leaves_what_was_there(
    ledger: Ledger, tmp_path: Path
) -> None:
    report.write(document(ledger), tmp_path)
    before = (tmp_path / "search.json").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        report.write({**document(ledger), "odd": float("nan")}, tmp_path)
    assert (tmp_path / "search.json").read_bytes() == before


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_words_are_shown_and_not_run(ledger: Ledger) -> None:
    page = Tags(report.page(document(ledger, make_plan(data_name=HOSTILE))))
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) == 2  # the name of the data, the error of trial 2


def test_the_report_stands_alone(ledger: Ledger) -> None:
    page = Tags(report.page(document(ledger)))
    assert [link for link in page.links if not link.startswith("#")] == []


def test_the_learning_curves_are_valid_svg_with_a_line_a_trial(ledger: Ledger) -> None:
    found = document(ledger)
    (curves,) = CURVES.findall(report.page(found))
    lines = [
        element
        for element in ElementTree.fromstring(curves).iter("{http://www.w3.org/2000/svg}g")
        if re.fullmatch(r"line2d_\d+", element.get("id", ""))
        and "#64748b" in ElementTree.tostring(element).decode()
    ]
    scored = [trial for trial in found["trials"] if trial["scores"]]
    assert len(lines) == len(scored) - 1  # and the winner, in its own colour
    assert "#c2410c" in curves


def test_the_best_trial_comes_first_in_the_table(ledger: Ledger) -> None:
    found = document(ledger)
    rows = re.findall(r'<tr class="(\w*)">\s*<td>(\d+)</td>', report.page(found))
    assert len(rows) == 5
    assert rows[0] == ("won", str(found["winner"]["trial"]))
    assert [row[0] for row in rows[1:]] == [""] * 4
