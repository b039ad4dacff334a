"""The study of a search in optuna-dashboard, as the documentation opens it."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import optuna
import pytest

from dps.training.result import Outcome, RunResult
from tests.integration.test_cluster import free_port
from tests.unit.tune.helpers import make_space, open_ledger

pytestmark = pytest.mark.integration
PAGE = Path(__file__).parents[2] / "docs/howto/report.md"
ANSWERS_WITHIN_S = 120.0


def command(folder: Path, port: int) -> list[str]:
    """The documented one, on this folder."""
    (line,) = re.findall(r"^(optuna-dashboard .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    program, address = shlex.split(line)
    assert address == "sqlite:///runs/first/study.db"
    place = address.replace("runs/first", str(folder))
    return [str(Path(sys.executable).parent / program), "--port", str(port), place]


def asked(address: str, server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the server says, as soon as it answers."""
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
            return found
        except OSError:
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_the_dashboard_shows_trials_scores_and_parameters(tmp_path: Path) -> None:
    ledger, space = open_ledger(tmp_path), make_space()
    for seed, last in enumerate((0.4, 0.6)):
        trial = ledger.propose(space, optuna.samplers.RandomSampler(seed=seed), 7)
        for step in (20, 40):
            ledger.report(trial.id, RunResult(scores=[(step, 0.3)]))
        ledger.finish(trial.id, RunResult(outcome=Outcome.COMPLETED, scores=[(60, last)]))
    ledger.replicate(trial.configuration, space, 1)
    file = Path(ledger.file or "")
    port = free_port()
    server = subprocess.Popen(
        command(file.parent, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}"
        studies = asked(f"{address}/api/studies", server)["study_summaries"]
        ids = {study["study_name"]: study["study_id"] for study in studies}
        shown = asked(f"{address}/api/studies/{ids['search']}?after=0", server)["trials"]
        assert ids.keys() >= {"search", "confirmation"}
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)
    assert [trial["values"] for trial in shown] == [[0.4], [0.6]]
    assert [trial["state"] for trial in shown] == ["Complete", "Complete"]
    assert [len(trial["intermediate_values"]) for trial in shown] == [3, 3]
    named = [{parameter["name"] for parameter in trial["params"]} for trial in shown]
    assert named == [set(trial.params) for trial in ledger.study.trials]
