"""report.html: what it shows, of whatever a search came to, and that hostile names stay text."""

from __future__ import annotations

import copy
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dps.training.result import Outcome
from tests.unit.tune.helpers import (
    OLD_SEARCHES,
    FakeTune,
    end_well,
    last_report,
    make_plan,
    make_space,
    open_ledger,
    strategy,
)
from tests.unit.tune.reporting.test_document import HOSTILE, end, proven, told, with_finalists
from tune import report
from tune.core.run import Job, RunReport
from tune.records.ledger import Ledger
from tune.records.search_document import SearchDocument
from tune.reporting import page as reporting_page
from tune.reporting import page_content, summary
from tune.reporting.figures import analysis, confirmed
from tune.reporting.figures import plots as reporting_plots
from tune.strategy.phases import SearchPhases

Found = dict[str, Any]
ROOT = Path(__file__).parents[4]


def of(folder: Path, trials: int = 5, end: Any = end, confirm: int = 3, **changes: Any) -> Found:
    """The search.json of a search, as it is read again."""
    ledger = open_ledger(folder)
    searcher = SearchPhases(
        ledger, strategy(folder, trials, confirmation_seeds=confirm, **changes), [], lambda: False
    )
    FakeTune(searcher, end=end).run()
    return told(make_plan(), ledger).to_json()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Two methods; trial 1 diverges, trial 2 fails with hostile words."""
    return of(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """With a race, a baseline, two objectives and a profile."""
    folder = tmp_path_factory.mktemp("whole")
    ledger = proven(folder)[0]
    found = told(make_plan(objectives="score,seconds"), ledger, folder).to_json()
    shares = {"training": 0.9, "evaluation": 0.08, "between_runs": 0.02}
    before = {"plan_and_cluster": 1.5, "slots": 2.5}
    found["profile"] = {"before_first_step": before, "slot_seconds": 24.0, "shares": shares, "gap": None}
    return found


@pytest.fixture(scope="module")
def whole_page(whole: Found) -> str:
    return made(whole)


@pytest.fixture(scope="module")
def small_page(small: Found) -> str:
    return made(small)


def made(found: Found) -> str:
    document = SearchDocument.model_validate(found)
    text = reporting_page.render_search_page(document, summary.format_certainty_lines(document))
    assert "could not be drawn" not in text
    assert not re.search(r"\d %", text), "a line may end before the sign"
    return text.replace("\u00a0", " ")


class Tags(HTMLParser):
    """The tags and the text of a page outside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data.replace("\u00a0", " ") if not {*self.tags[-1:]} & {"script", "style"} else ""


def figures(text: str) -> dict[str, ElementTree.Element]:
    """The plots of a page by name; raises for one that is not well-formed."""
    held = re.findall(r'(<div class="plot" id="(.*?)".*?</div>)</div></figure>', text, re.DOTALL)
    return {name: ElementTree.fromstring(markup) for markup, name in held}


def titles(plot: ElementTree.Element) -> list[str]:
    """What a pointer is told on the marks of a plot."""
    return [each.text or "" for each in plot.iter("title")]


def texts(plot: ElementTree.Element, name: str) -> list[str]:
    """The labels or values of the rows of a plot."""
    return [each.text or "" for each in plot.iter("span") if each.get("class") == name and each.text]


def test_every_plot_of_a_whole_search_is_there_and_valid(whole_page: str) -> None:
    drawn = figures(whole_page)
    assert [*drawn] == [
        "differences", "luck", "fresh", "cost", "curves", "race", "pareto-seconds", "effect-0", "effect-1",
        "effect-2", "effect-3", "surface-0", "surface-1", "parallel", "time",
    ]  # fmt: skip
    for plot in drawn.values():
        places = [each.get("x", "").removesuffix("%") for each in plot.iter() if "%" in each.get("x", "")]
        assert all(-1 <= float(place) <= 101 for place in places)


def test_the_first_screen_holds_verdict_differences_leaderboard_and_luck(
    whole: Found, whole_page: str
) -> None:
    first, folded = Tags(whole_page.partition("<details")[0]), Tags(whole_page)
    places = [first.text.index(text) for text in ("won: ", "How much better", "Leaderboard", "luck went")]
    assert places == sorted(places)
    verdict = summary.list_verdict_lines(SearchDocument.model_validate(whole))
    assert len(verdict) <= 4
    assert all(reporting_page.format_prose(line) in first.text for line in verdict)
    assert whole["sentence"] not in first.text
    assert whole["sentence"] in folded.text
    assert "Generated data, built in for trying out: scores are not results on the real cola." in first.text
    other = {**whole, "data": {**whole["data"], "source": "folder"}}
    assert "Generated data" not in made(other)


def test_the_forest_plot_has_each_seed_the_mean_and_its_interval(whole: Found, whole_page: str) -> None:
    plot = figures(whole_page)["differences"]
    mine = whole["confirmation"]["scores"]
    expected, values = [], []
    for baseline in whole["baselines"]:
        theirs, difference = baseline["confirmation"]["scores"], baseline["difference"]
        pairs = sorted((100 * (mine[seed] - theirs[seed]), seed) for seed in mine)
        expected += [f"seed {seed}: {points:+.1f}" for points, seed in pairs]
        expected.append(f"mean {difference['points']:+.1f}")
        ends = [f"{100 * end:+.1f}" for end in difference["interval"] or ()]
        known = " to ".join(ends) or "all pairs the same"
        values.append(f"{difference['points']:+.1f} ({known})")
    assert titles(plot) == expected
    assert texts(plot, "value") == values
    assert any(line.get("class") == "zero" for line in plot.iter("line"))


def test_the_page_stands_alone_and_says_so_to_the_browser(whole_page: str) -> None:
    tags = Tags(whole_page)
    assert not [a for a in tags.attributes if "src" in a or (a.get("href") or "#")[0] != "#"]
    (policy,) = [a["content"] for a in tags.attributes if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "script" not in tags.tags


def test_it_can_be_read_without_seeing(whole_page: str) -> None:
    tags = Tags(whole_page)
    assert tags.attributes[tags.tags.index("html")]["lang"] == "en"
    assert any(a.get("name") == "viewport" for a in tags.attributes)
    plots = [a for a in tags.attributes if a.get("class") == "plot"]
    assert len(plots) == len(figures(whole_page))
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 30 for a in plots)
    assert whole_page.count("<table>") == whole_page.count('role="group"')  # boxes that scroll
    levels = [int(tag[1]) for tag in tags.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def contrast(one: str, other: str) -> float:
    """As WCAG 2 has it, of two colours #rgb or #rrggbb."""

    def light(colour: str) -> float:
        digits = colour.lstrip("#")
        digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_has_contrast_in_light_and_dark(small_page: str) -> None:
    pairs = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", small_page)
    colours = {name: (light, dark) for name, light, dark in pairs}
    for name in ("text", "muted", "accent", "cool"):
        for mode in (0, 1):
            assert contrast(colours[name][mode], colours["paper"][mode]) >= 4.5, (name, mode)


def test_hostile_words_are_shown_and_not_run(small: Found) -> None:
    found = copy.deepcopy(small)
    found["task"] = found["metric"] = found["data"]["name"] = HOSTILE
    found["sentence"] = found["provenance"]["command"][0] = HOSTILE
    found["confirmation"] = None
    found["baselines"] = []
    found["confirmation_runs"] = []
    found["winner"]["configuration"][HOSTILE] = HOSTILE
    for trial in found["trials"]:
        trial["configuration"][HOSTILE] = HOSTILE
    found["space"][HOSTILE] = {"kind": "choice", "values": [HOSTILE, "</script><img src=x onerror=alert(1)>"]}
    text = made(found)
    tags = Tags(text)
    assert "script" not in tags.tags
    assert "img" not in tags.tags
    assert not [a for a in tags.attributes if any(name.startswith("on") for name in a)]
    assert tags.text.count(HOSTILE) > 10
    assert any(HOSTILE in title for plot in figures(text).values() for title in titles(plot))


def test_failures_stand_by_kind_with_their_errors(small_page: str) -> None:
    text = Tags(small_page).text
    section = text[text.index("Failures and collapsed runs: 2 and 0") :]
    assert re.search(r"diverged\s*1\s*trial 1\s*-", section)
    assert re.search(r"failed\s*1\s*trial 2\s*RuntimeError: <script>", section)


def cells(text: str, section: str) -> list[list[str]]:
    """The rows of the first table of a section, as their texts."""
    table = text[text.index(f'id="{section}"') :].partition("<table>")[2].partition("</table>")[0]
    rows = re.findall(r"<tr.*?>(.*?)</tr>", table, re.DOTALL)
    return [[cell.strip() for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL)] for row in rows]


def test_finalists_stand_beside_the_winner_by_seed(tmp_path: Path) -> None:
    found = with_finalists(tmp_path).to_json()
    text, (first, second) = made(found), found["finalists"]
    rows = {row[0]: row[1:] for row in cells(text, "fresh-section")}
    names = [f"trial {one['trial']}" for one in (first, second)]
    rivals = [*found["baselines"], first, second]
    rate = found["baselines"][1]["configuration"]["learning_rate"]
    own = f"vanilla at its own learning rate ({rate:.3g})"
    winner = f"trial {found['winner']['trial']}, the winner"
    assert rows["seed"] == [winner, "the published values", own, *names]
    sides = [found["confirmation"], *(one["confirmation"] for one in rivals)]
    assert [*rows][1:5] == ["6", "7", "8", "9"]
    for seed in "678":
        assert rows[seed] == [f"{s['scores'][seed]:.4f}" if seed in s["scores"] else "failed" for s in sides]
    assert rows["7"][4] == "failed"
    assert rows["mean"] == [f"{side['mean']:.4f}" for side in sides]
    intervals = [one["evidence"]["interval"] for one in (found, *rivals)]
    shown = ["{:.4f} to {:.4f}".format(*interval) if interval else "-" for interval in intervals]
    assert rows["95 % interval"] == shown
    ahead, (low, high) = 100 * (sides[0]["mean"] - sides[2]["mean"]), rivals[1]["difference"]["interval"]
    better = rows["the winner is better by, points (95 % interval)"]
    assert [better[place] for place in (0, 2)] == [
        "-",
        f"{ahead:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
    ]

    plot = figures(text)["fresh"]
    assert texts(plot, "label") == [winner, "the published values", own, *names]
    marks = [f"seed {seed}: {score:.4f}" for side in sides for seed, score in side["scores"].items()]
    assert sorted(title for title in titles(plot) if "seed" in title) == sorted(marks)
    assert re.search(rf"failed\s*1\s*{names[1]}, confirmed, seed 7", Tags(text).text)
    for one in (first, second):  # a search.json of before
        del one["runs"]
    document = SearchDocument.model_validate(found)
    sides = confirmed.collect_confirmed_configurations(document)
    older = dict(page_content.tabulate_scores_by_seed(document, sides))
    assert (older[6], older[7][4]) == (rows["6"], "-")


def test_what_the_runs_answered_stands_below_their_scores(whole: Found, whole_page: str) -> None:
    rows = {row[0]: row[1:] for row in cells(whole_page, "fresh-section")}
    answers = [one["evidence"]["answers"] for one in (whole, *whole["baselines"])]
    ensembles = [each["ensemble"] for each in answers]
    assert rows["collapsed"] == ["0 of 4 (up to 53 %)"] * 3
    assert rows["log loss"] == [f"{each['log_loss']:.4f}" for each in answers]
    assert rows["calibration error (ECE)"] == [f"{each['calibration_error']:.4f}" for each in answers]
    assert rows["ensemble of the seeds"] == [f"{each['score']:.4f}" for each in ensembles]
    assert ensembles[0]["interval"] is None  # it is right of all examples
    low, high = ensembles[2]["interval"]
    assert rows["ensemble: 95 % interval"] == ["-", "-", f"{low:.4f} to {high:.4f}"]
    assert rows["ensemble: log loss"] == [f"{each['log_loss']:.4f}" for each in ensembles]
    said = Tags(whole_page).text
    together = ensembles[0]
    assert (
        f"The ensemble of the 4 models: {whole['metric']} 1.0000; log loss {together['log_loss']:.4f}" in said
    )

    older = copy.deepcopy(whole)
    older["evidence"]["answers"]["ensemble"]["interval"] = [0.9, 0.95]
    assert "1.0000, 95 % interval 0.9000 to 0.9500 over the examples; log loss" in Tags(made(older)).text
    for part in (older, *older["baselines"]):
        del part["evidence"]["answers"]
    text = made(older)
    assert "ensemble" not in text
    assert "log loss" not in text


def test_runs_that_collapsed_are_named(whole: Found) -> None:
    found = copy.deepcopy(whole)
    found["trials"][0]["top_share"], found["race_runs"][0]["top_share"] = 1.0, 0.999
    found["evidence"]["answers"]["collapsed"] = 2
    text = made(found)
    assert text.count("completed, collapsed") == 1
    assert "1 of 2 runs with a score collapsed: they gave one answer to all examples." in text
    said = "2 of 4 runs of the winner collapsed to one answer for all examples; the rate of such runs may be"
    assert f"{said} up to 90 % " in text
    assert "collapsed: they gave" not in made(whole)  # of nothing known


def test_curves_tell_how_each_run_ended(small: Found) -> None:
    found = copy.deepcopy(small)
    won = found["winner"]["trial"]
    cut = next(t for t in found["trials"] if t["outcome"] == "completed" and t["id"] != won)
    cut["outcome"], cut["scores"] = "stopped", cut["scores"][:1]
    plot = figures(made(found))["curves"]
    legend = [each[0].tail for each in plot[0]]
    assert {"diverged (1)", "stopped (1)", f"winner (trial {won})"} <= {*legend}
    scores = [score for _, score in found["trials"][won]["scores"]]
    assert [title.rpartition(": ")[2] for title in titles(plot)] == [f"{score:.4f}" for score in scores]


def test_the_best_trial_comes_first_in_the_table(small: Found, small_page: str) -> None:
    rows = re.findall(r'<tr class="(\w*)">\s*<td>(\d+)</td>', small_page)
    assert len(rows) == 5
    assert rows[0] == ("won", str(small["winner"]["trial"]))
    assert [row[0] for row in rows[1:]] == [""] * 4


def fail(job: Job) -> RunReport:
    return last_report(job.id, Outcome.FAILED, error="RuntimeError: no luck")


@pytest.mark.parametrize(
    ("trials", "end", "confirm"),
    [(1, end_well, 3), (1, end_well, 0), (2, end_well, 1), (3, fail, 3)],
    ids=["one trial", "not confirmed", "one seed", "all failed"],
)
def test_a_search_that_came_to_little_has_a_page(trials: int, end: Any, confirm: int, tmp_path: Path) -> None:
    found = of(tmp_path, trials, end, confirm)
    text = made(found)
    assert found["sentence"] in text
    assert "No importance: " in text
    assert "too few runs have ended" in text
    of_several = ["cost", "luck", "race"] if trials > 1 else []
    assert {*figures(text)} <= {"curves", "fresh", "differences", *of_several}


def test_a_page_goes_on_without_a_plot_that_cannot_be_drawn(
    small: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(found: Found) -> Any:
        raise RuntimeError("a <b>plot</b>")

    monkeypatch.setattr(reporting_plots, "plot_learning_curves", broken)
    text = reporting_page.render_search_page(SearchDocument.model_validate(small), [])
    assert "A plot could not be drawn: RuntimeError: a &lt;b&gt;plot" in text
    assert "curves" not in figures(text)
    assert "parallel" in figures(text)


def spread(trials: int) -> Found:
    """A search.json of completed trials, whose score depends on the learning rate alone."""
    space = make_space(("dps-dense",))
    rows = [space.from_study_values(row) for row in space.draw_latin_hypercube(trials, 0)]
    runs = [
        {
            "id": number, "configuration": row, "seed": 0, "outcome": "completed", "seconds": 10.0,
            "scores": [[30, 0.1], [60, -abs(math.log(row["learning_rate"] / 1e-4))]], "ended": 10.0 * number,
        }
        for number, row in enumerate(rows)
    ]  # fmt: skip
    nothing = told(make_plan(), Ledger(None, "max")).to_json()
    return {**nothing, "metric": "accuracy", "chance": None, "space": space.to_description(), "trials": runs}


def analyse(found: Found) -> analysis.SearchAnalysis:
    return analysis.SearchAnalysis(SearchDocument.model_validate(found))


def test_the_learning_rate_is_found_to_matter() -> None:
    told = analyse(spread(12))
    made, why = told.importances
    assert (made[0].name, why) == ("learning_rate", "")
    assert made[0].share > 0.5 > max(one.share for one in made[1:])
    assert all(0 <= one.low <= one.share <= one.high <= 1 for one in made)
    effects = {one.name: one for one in told.compute_effects()}
    rates = effects["learning_rate"]
    best = rates.values[max(range(len(rates.means)), key=lambda place: rates.means[place])]
    assert 6e-5 < best < 1.7e-4
    flat = effects["selection_ratio"]
    assert max(flat.means) - min(flat.means) < 0.3 * (max(rates.means) - min(rates.means))
    assert all(low < mean < high for low, mean, high in zip(flat.lows, flat.means, flat.highs, strict=True))
    assert len(told.compute_surfaces()) == 3
    flat_scores = spread(12)
    for trial in flat_scores["trials"]:
        trial["scores"] = [[60, 0.0]]
    same = analyse(flat_scores)
    assert (same.compute_surfaces(), same.importances) == ([], ([], "all configurations have the same score"))
    few, why = analyse(spread(7)).importances
    assert (few, why) == ([], "7 configurations ran to the end, and 8 are needed")


def test_a_lower_score_is_better_where_the_metric_says_so() -> None:
    up, down = spread(8), spread(8)
    down["direction"] = "min"
    for trial in down["trials"]:
        trial["scores"] = [[step, -score] for step, score in trial["scores"]]
    one, other = (analyse(found).compute_trajectory() for found in (up, down))
    assert [(p.trial, p.cost) for p in one] == [(p.trial, p.cost) for p in other]
    assert [p.mean for p in one] == pytest.approx([-p.mean for p in other])
    rising, falling = (analyse(found).compute_effects()[0] for found in (up, down))
    assert rising.means == pytest.approx([-mean for mean in falling.means])


def test_the_score_against_cost_is_the_mean_of_what_leads_not_of_the_luckiest() -> None:
    found = spread(10)
    course = analyse(found).compute_trajectory()
    assert [point.cost for point in course] == [10.0 * count for count in range(1, 11)]
    lucky = copy.deepcopy(found)
    lucky["race_runs"] = [
        {**lucky["trials"][0], "id": f"race-{seed}", "seed": seed, "ended": 200.0 + seed,
         "scores": [[60, score]]} for seed, score in ((1000, 3.0), (1001, -2.5), (1002, -2.6), (1003, -2.4))
    ]  # fmt: skip
    assert analyse(lucky).compute_trajectory()[-1].mean < 1.0


def test_the_command_makes_the_page_again(whole: Found, whole_page: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "search.json").write_text(json.dumps(whole), encoding="utf-8")
    assert report.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ") == whole_page


def test_several_searches_stand_side_by_side(
    whole: Found, small: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = {**small, "task": "rte", "confirmation": None, "sentence": "It was not confirmed."}
    named = {"one": whole, "<img src=x>": small, "rte": other}
    for name, found in named.items():
        Path(name).mkdir()
        (tmp_path / name / "search.json").write_text(json.dumps(found), encoding="utf-8")
    assert report.main(list(named)) == 0
    text = Path("searches.html").read_text(encoding="utf-8")
    tags = Tags(text)
    for name, found in named.items():
        assert name in tags.text
        verdict = summary.list_verdict_lines(SearchDocument.model_validate(found))
        assert reporting_page.format_prose(verdict[0]) in tags.text
    assert "img" not in tags.tags
    head, first, *_ = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    names = re.findall(r"<th.*?>(.*?)</th>", head, re.DOTALL)
    words = dict(zip(names, re.findall(r"<t[dh].*?>(.*?)</t[dh]>", first, re.DOTALL), strict=True))
    answers = whole["evidence"]["answers"]
    losses = f"{answers['log_loss']:.4f}, {answers['calibration_error']:.4f}"
    assert words["log loss, calibration error"] == losses
    assert words["ensemble"] == f"{answers['ensemble']['score']:.4f}"
    drawn = figures(text)
    assert [*drawn] == ["confirmed-0", "cost-0", "cost-1"]  # plots for each task
    assert [each[0].tail for each in drawn["cost-0"][0]] == ["one", "<img src=x>"]
    assert texts(drawn["confirmed-0"], "label") == ["one", "<img src=x>"]
    assert "not confirmed" in tags.text


def test_searches_too_short_for_a_course_stand_side_by_side(small: Found) -> None:
    short = SearchDocument.model_validate({**small, "trials": small["trials"][:1], "race_runs": []})
    page = reporting_page.render_overview_page([("one", short), ("two", short)])
    assert [*figures(page)] == ["confirmed-0"]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (None, "", "holds no search.json"),
        ("compare.json", "{}", "holds a comparison"),
        ("search.json", "{", "cannot be read"),
        ("search.json", "[]", "holds no JSON object"),
        ("search.json", "[" * 100_000, "cannot be read (maximum recursion depth"),
        ("search.json", '{"schema_version": 99}', "version 99"),
        ("search.json", '{"schema_version": 1}', "malformed at task: Field required; resume"),
    ],
)
def test_what_is_no_search_is_refused_in_one_line(
    file: str | None, content: str, said: str, tmp_path: Path, capsys: Any
) -> None:
    if file is not None:
        (tmp_path / file).write_text(content)
    assert report.main([str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("winner", "configuration", "update_ratio"), -1),
        (("winner", "configuration", "update_ratio"), "x"),
        (("winner", "configuration", "selection_ratio"), "x"),
        (("trials", 0, "configuration"), {}),
        (("confirmation_runs", 0, "final", "dev"), {}),
    ],
)
def test_values_that_cannot_be_are_refused_in_one_line(
    place: tuple[str | int, ...], value: Any, tmp_path: Path, capsys: Any
) -> None:
    found: Any = json.loads((OLD_SEARCHES / "search" / "search.json").read_text(encoding="utf-8"))
    (tmp_path / "search.json").write_text(json.dumps(replaced(found, place, value)))
    assert report.main([str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"error: DIR: search.json of {tmp_path} is malformed (")
    assert line.endswith("; resume the search to make it again\n")
    assert line.count("\n") == 1


def replaced(content: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """The content with this value in this place."""
    *above, last = place
    node = content
    for key in above:
        node = node[key]
    node[last] = value
    return content


def test_what_cannot_be_written_is_said(small: Found, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "search.json").write_text(json.dumps(small))
    assert report.main([str(tmp_path), "--output", str(tmp_path / "none" / "x.html")]) == 2
    assert "--output: " in capsys.readouterr().err
    assert report.main(["--tracking-uri", "", str(tmp_path)]) == 2
    assert "--tracking-uri: must not be empty; give a value" in capsys.readouterr().err
    assert report.main([]) == 2


def test_the_command_runs_as_a_script_and_says_how() -> None:
    done = subprocess.run(
        [sys.executable, "tune/report.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "examples:" in done.stdout


def test_no_line_of_a_verdict_ends_within_an_option() -> None:
    kept = reporting_page._keep_options_whole("<b> more (--epochs)")
    assert kept == '&lt;b&gt; more (<span class="option">--epochs</span>)'
