"""Commands: signals that stop them, and the command lines that they print."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tune.core.command import catch_stop_signals, format_command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_for_the_end(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = signal.signal(number, signal.default_int_handler)  # `nohup` ignores one of them
    try:
        with catch_stop_signals() as stop:
            os.kill(os.getpid(), number)
            assert stop.wait(5)
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, found)
    assert "writing checkpoints" in capsys.readouterr().err


def test_a_hangup_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with catch_stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.wait(0.1)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("program", "said"),
    [("python -m tune.tracking", "choose from"), ("python tune/report.py", "DIR: ")],
)
def test_a_printed_command_runs_in_any_folder_without_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path)
    printed = format_command(program, Path("a b"))
    assert shlex.split(printed)[-1] == str(tmp_path / "a b")
    done = subprocess.run(
        printed, shell=True, cwd="/", env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_job_keeps_the_short_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    printed = format_command("python tune/search.py", "--resume", Path("/shared/a b"))
    assert printed == "python tune/search.py --resume '/shared/a b'"
