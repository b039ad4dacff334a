"""--quiet and --json: what standard output holds of a whole search, and that it holds nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dps.errors import InputError
from dps.training.result import Outcome
from tests.unit.dps.test_text import LEAK, PLANTED
from tests.unit.tune.helpers import (
    FakeTune,
    end_well,
    last_report,
    make_comparison,
    make_evaluation,
    make_plan,
    make_record,
)
from tests.unit.tune.reporting.test_tables import made as made_comparison
from tune import compare, search, search_session
from tune.console import quiet as console_quiet
from tune.core import parsing
from tune.core.command import EXIT_WRONG_INPUT
from tune.core.run import Job, RunReport
from tune.planning.plan import Plan
from tune.strategy.arms import Arms

DOCUMENTED = Path(__file__).parents[4] / "docs/howto/logs.md"
Said = tuple[str, str]


def end(job: Job) -> RunReport:
    """Trial 1 fails, with secrets in its error; trial 2 diverges; trial 0 warns."""
    if job.id == "1":
        return last_report(job.id, Outcome.FAILED, error=f"RuntimeError: {LEAK}")
    if job.id == "2":
        return last_report(job.id, Outcome.DIVERGED, scores=[(60, float("nan"))])
    report = end_well(job)
    report.result.warnings = [f"slow: {LEAK}"] if job.id == "0" else []
    return report


def searched(output: Path, capsys: pytest.CaptureFixture[str], **given: Any) -> Said:
    """(standard output, standard error) of a search without Ray."""
    output.mkdir()
    plan = make_plan(
        output=output, tracking_uri="none", trials=4, race=0, confirm=2, baseline="none", **given
    )

    def run(arms: Arms, plan: Plan, ray_files: Path, stop: Any, display: Any, *_: Any) -> None:
        with display:
            FakeTune(arms, end=end).run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tune.execution.run_trials", run)
        assert search_session.SearchSession(plan).run() == 0
    return capsys.readouterr()


def events(text: str) -> list[dict[str, Any]]:
    """The objects, each on a line; strict JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def documented() -> dict[str, set[str]]:
    """The keys of each event, by the table of the documentation."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", DOCUMENTED.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: {*re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", keys))} for name, keys in rows}


def test_quiet_lets_the_result_through_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = searched(tmp_path / "plain", capsys)
    plain = out.replace(str(tmp_path / "plain"), "HERE")
    begin = plain.index("Trial ")  # of "Trial 0 won"
    out, err = searched(tmp_path / "quiet", capsys, quiet=True)
    quiet = out.replace(str(tmp_path / "quiet"), "HERE")
    assert re.sub(r"\d+ s,", "", quiet) == re.sub(r"\d+ s,", "", plain[begin:])
    assert err.startswith("warning: trial 0: slow: 401")
    assert err.count("\n") == 1


def test_json_is_a_line_an_event_with_the_documented_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = searched(tmp_path / "json", capsys, json=True)
    assert err == ""
    told, keys = events(out), documented()
    assert {(one["event"], *sorted(one)) for one in told} == {
        (name, *sorted({"event", "time", "task", *keys[name]})) for name in {one["event"] for one in told}
    }
    names = [one["event"] for one in told]
    assert (names[0], names[-1]) == ("plan", "search_ended")
    assert names.count("trial_started") == names.count("trial_ended") == 6
    by_trial = {one["trial"]: one for one in told if one["event"] == "trial_ended"}
    assert {trial: one["outcome"] for trial, one in by_trial.items()} == {
        "0": "completed", "1": "failed", "2": "diverged", "3": "completed",
        "confirm-0": "completed", "confirm-1": "completed",
    }  # fmt: skip
    assert (by_trial["2"]["score"], by_trial["confirm-0"]["purpose"]) == (None, "confirmation")
    (warning,) = [one for one in told if one["event"] == "warning"]
    assert warning["text"].startswith("trial 0: slow")
    found = json.loads(Path(told[-1]["file"]).read_text(encoding="utf-8"))
    assert told[-1]["score"] == found["confirmation"]["mean"]
    assert (told[-1]["interval"], told[-1]["baselines"]) == (found.get("evidence"), [])
    assert (told[-1]["winner"], told[-1]["sentence"]) == (found["winner"], found["sentence"])
    assert told[0]["output"] == str(tmp_path / "json")


@pytest.mark.parametrize("option", ["quiet", "json"])
def test_no_secret_is_said(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    out, err = searched(tmp_path / "out", capsys, **{option: True})
    assert "***" in out + err
    assert "planted" not in out + err


def test_an_interruption_names_the_command_that_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    console_quiet.choose_display(make_plan(quiet=True)).interrupted("python x")
    assert capsys.readouterr() == ("", "interrupted; go on with: python x\n")
    console_quiet.choose_display(make_plan(json=True)).interrupted("python x")
    (told,) = events(capsys.readouterr().out)
    assert (told["event"], told["resume"]) == ("interrupted", "python x")
    assert documented()["interrupted"] == {"resume"}


def test_a_comparison_ends_with_its_methods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = console_quiet.choose_display(make_comparison(("vanilla", "dps-mix"), json=True))
    shown.planned([], tmp_path)
    document = made_comparison(evaluation_sets=["dev", "snli"])
    shown.comparison_ended(document)
    _, told = events(capsys.readouterr().out)
    assert set(told) == {"event", "time", *documented()["comparison_ended"]}
    assert told["file"] == str(tmp_path / "compare.json")
    baseline, better, _ = told["methods"]
    assert baseline == {
        "method": "vanilla", "score": 0.62, "interval": [0.59, 0.65], "difference": None
    }  # fmt: skip
    assert (better["difference"]["points"], better["difference"]["interval"]) == (3.2, [0.011, 0.053])


def test_a_score_that_is_no_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    shown = console_quiet.choose_display(make_plan(json=True))
    shown.trial_reported(make_record(0, Outcome.RUNNING), make_evaluation(20, float("inf")))
    (told,) = events(capsys.readouterr().out)
    assert (told["event"], told["step"], told["score"]) == ("trial_reported", 20, None)


def test_of_a_dry_run_the_plan_is_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    argv = ["--task", "cola", "--data", "builtin", "--model", "builtin", "--max-steps", "60", "--dry-run"]
    assert search.main([*argv, "--quiet"]) == 0
    assert "searching    8 trials of at most 60 steps" in capsys.readouterr().out
    assert search.main([*argv, "--json", "--output", "here"]) == 0
    (told,) = events(capsys.readouterr().out)
    assert (told["event"], told["task"], told["output"]) == ("plan", "cola", str(tmp_path / "here"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [search, compare])
def test_they_exclude_each_other(command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "both.yaml").write_text("quiet: true\n", encoding="utf-8")
    for argv in (["--quiet", "--json"], ["--json", "--config", str(tmp_path / "both.yaml")]):
        assert command.main(argv) == EXIT_WRONG_INPUT
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == "error: --quiet, --json: they exclude each other; leave one out\n"
    assert search.main(["--json", "--init-task", "x.csv"]) == EXIT_WRONG_INPUT


def test_they_belong_to_one_run(tmp_path: Path) -> None:
    for given in ("--quiet", "--json"):
        parsing.write_options(parsing.parse_options([given]), tmp_path / "config.yaml")
        again = parsing.parse_options(["--config", str(tmp_path / "config.yaml")])
        assert (again.quiet, again.json) == (False, False)
    with pytest.raises(InputError, match="--json"):
        parsing.parse_options(["--json=maybe"])
