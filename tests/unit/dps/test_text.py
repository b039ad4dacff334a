"""Planted passwords and tokens: not in what is shown, not in what is kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dps.text import format_json_line, redact_secrets, sanitise_line, sanitise_text
from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import PROVENANCE, make_plan, make_space, open_ledger
from tune.console.progress import ProgressDisplay
from tune.core import command, parsing
from tune.core.provenance import collect_provenance
from tune.records.search_document import read_search_document
from tune.records.stores import format_view_command
from tune.reporting import document, page
from tune.strategy.budget import SpentResources

PLANTED = {
    "HF_TOKEN": "hf_plantedToken",
    "MLFLOW_TRACKING_PASSWORD": "planted/pass+word",
    "AWS_SECRET_ACCESS_KEY": "plantedSecretKey",
    "AWS_ACCESS_KEY_ID": "plantedKeyId",
    "RAY_AUTH_TOKEN": "plantedAuthToken",
    "PGPASSWORD": "plantedDatabase",
}
URI = "http://user:planted-in-uri@somewhere:5000"
LEAK = "401 for http://user:planted-in-uri@somewhere:5000/api?token=planted-in-query with " + " ".join(
    PLANTED.values()
)


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)


def is_clean(text: str) -> bool:
    return "planted" not in text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("http://user:planted@host:5000/x", "http://***@host:5000/x"),
        ("postgresql://u:plan/ted@h/db", "postgresql://***@h/db"),
        ("s3://planted:p@ss@bucket", "s3://***@bucket"),
        ("https://planted@github.com/a/b", "https://***@github.com/a/b"),
        ("'http://a:planted@h' and http://b:planted@w", "'http://***@h' and http://***@w"),
        ("x?a=1&access_token=planted&b=2", "x?a=1&access_token=***&b=2"),
        ("mssql://h/db?Password=planted;x=1", "mssql://h/db?Password=***;x=1"),
        ("planted%2Fpass%2Bword", "***"),
        (LEAK, "401 for http://***@somewhere:5000/api?token=*** with *** *** *** *** *** ***"),
    ],
)
def test_secrets_are_struck_out(text: str, left: str) -> None:
    assert redact_secrets(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/path", "sqlite:////data/runs/mlflow.db", "sqlite:////data/a@b/mlflow.db", "a@b.c",
        "step 20/60: f1 0.5", "owner/model@main", "lr 1e-05", "", "TOKENIZERS_PARALLELISM=false", "key=value",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "step 20/60")
    monkeypatch.setenv("SHORT_TOKEN", "f1")
    assert redact_secrets(text) == text


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        *((name, True) for name in (
            "GITHUB_PAT", "JWT", "DB_PASSPHRASE", "SESSION_COOKIE", "AUTH_HEADER", "PASSWORD_DB",
            "SLACK_WEBHOOK", "SLACK_WEBHOOK_URL", "BASIC_AUTH", "secret_value",
        )),
        *((name, False) for name in (
            "PATH", "PWD", "OLDPWD", "SSH_AUTH_SOCK", "RAY_AUTH_MODE", "PASSWORD_FILE", "XAUTHORITY",
        )),
    ],
)  # fmt: skip
def test_names_of_secrets(name: str, is_secret: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "nobody-knows")
    assert (redact_secrets("nobody-knows") == "***") == is_secret


def test_the_environment_may_change_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    class Vanishing(dict[str, str]):
        def __iter__(self) -> Iterator[str]:
            return iter([*super().__iter__(), "GONE_TOKEN"])

    monkeypatch.setattr("dps.text.os.environ", Vanishing(HF_TOKEN="plantedToken"))
    assert redact_secrets("plantedToken") == "***"


def test_a_secret_that_is_an_ordinary_word_changes_nothing_that_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, word in enumerate(("developer", "completed", "vanilla", "builtin", "matthews_correlation")):
        monkeypatch.setenv(f"WORD_{number}_TOKEN", word)
    given = parsing.parse_options(["--data", "/home/developer/glue", "--storage", "/developer"])
    parsing.write_options(given, tmp_path / "config.yaml")
    assert parsing.read_options(tmp_path / "config.yaml")["data"] == "/home/developer/glue"
    ledger = open_ledger(tmp_path)
    record = ledger.replicate({"method": "vanilla", "learning_rate": 1e-4}, make_space(), 0, "search")
    final = {"dev": {"matthews_correlation": 0.5}}
    ended = RunResult(outcome=Outcome.COMPLETED, scores=[(60, 0.5)], final=final, error="completed")
    ledger.finish(record.id, ended)
    (held,) = open_ledger(tmp_path).records()
    assert (held.outcome, held.final, held.error) == (Outcome.COMPLETED, final, "***")
    found = document.build_search_document(
        make_plan(), {"": ledger}, {"": held}, SpentResources(1, 1.0, 1.0), PROVENANCE, tmp_path
    )
    page.write_search_results(found, tmp_path)
    assert read_search_document(tmp_path).trials == [replace(held, waited=None)]


def test_control_characters_and_those_that_turn_text_around_are_escaped() -> None:
    assert sanitise_text("a\x1b[31m\u202eb\u2066") == r"a\x1b[31m\u202eb\u2066"
    assert sanitise_text("größe 数 \U0001f600") == "größe 数 \U0001f600"
    assert sanitise_line("a\n  b\r\tc") == "a b c"


def test_an_error_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.print_error(LEAK, 2) == 2
    assert is_clean(capsys.readouterr().err)


def test_the_configuration_that_is_kept(tmp_path: Path) -> None:
    given = parsing.parse_options(["--tracking-uri", URI])
    parsing.write_options(given, tmp_path / "config.yaml")
    kept = (tmp_path / "config.yaml").read_text()
    assert is_clean(kept)
    assert "tracking_uri: http://***@somewhere:5000" in kept
    assert given.tracking_uri == URI


def test_where_a_result_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["search.py", "--tracking-uri", URI, f"--experiment={LEAK}"])
    assert is_clean(str(collect_provenance("python tune/search.py")))


def test_ledger_search_json_and_report(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    record = ledger.replicate({"method": "vanilla", "learning_rate": 1e-4}, make_space(), 0, "search")
    ledger.finish(record.id, RunResult(outcome=Outcome.FAILED, error=LEAK, warnings=[LEAK]))
    origin = replace(PROVENANCE, command=["python", LEAK])
    plan = make_plan(data_name=URI, tracking_uri=URI)
    found = document.build_search_document(
        plan, {"": ledger}, {"": None}, SpentResources(1, 1.0, 1.0), origin
    )
    page.write_search_results(found, tmp_path)
    for file in tmp_path.rglob("*"):
        assert b"planted" not in file.read_bytes(), file
    assert "***" in (tmp_path / "search.json").read_text()


def test_what_the_terminal_says(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ProgressDisplay(make_plan(), [], 3)
    progress.say(LEAK)
    progress.plain(LEAK)
    print(format_view_command(URI), format_view_command("postgresql://user:planted@host/db"))
    assert is_clean(capsys.readouterr().out)


def test_a_sitting_that_breaks_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tune.search_session import SearchSession

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://never:asked@nowhere")
    (tmp_path / "out").mkdir()
    search = SearchSession(make_plan(output=tmp_path / "out", tracking_uri="none"))

    def fail(*values: object) -> None:
        raise RuntimeError(LEAK)

    monkeypatch.setattr("tune.execution.run_trials", fail)
    with pytest.raises(command.UnfinishedError) as ended:
        search.run()
    assert ended.value.status == command.print_error(str(ended.value), command.EXIT_CRASHED)
    assert is_clean(capsys.readouterr().err)
    assert "RuntimeError" in (tmp_path / "out/error.log").read_text()
    for file in (tmp_path / "out").rglob("*"):
        assert b"planted" not in file.read_bytes(), file


def test_a_line_of_json_is_read_back_and_deceives_no_terminal() -> None:
    value = {"größe \u202e": "a\x1b[31m\x9b\x7f\u2028é数", "n": [1.5, None]}
    line = format_json_line(value)
    assert json.loads(line) == value
    assert line.isprintable()
    assert "größe" in line
