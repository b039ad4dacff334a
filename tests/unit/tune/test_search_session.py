"""Sessions of a search, killed and resumed: what belongs together is whole in the end, or made again."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.exceptions import StorageInternalError
from safetensors.numpy import load_file, save_file

from dps.models import list_models
from dps.models.manifest import MANIFEST_FILE
from dps.paths import hash_file
from dps.training.result import Outcome
from tests.unit.tune.helpers import (
    PROVENANCE,
    FakeTune,
    change_spaces,
    end_session,
    end_well,
    last_report,
    make_plan,
)
from tune import session
from tune.console.progress import ProgressDisplay
from tune.core.command import EXIT_INTERRUPTED
from tune.core.run import Job, RunReport
from tune.records.ledger import Ledger
from tune.records.search_document import read_search_document
from tune.reporting import best_model, ensemble_model
from tune.reporting.model_card import write_model_card as write_card
from tune.search_session import SearchSession
from tune.strategy.arms import Arms
from tune.strategy.phases import SearchPhases


class KilledError(BaseException):
    """The process is killed here."""


def killed(*_: object, **__: object) -> Any:
    raise KilledError


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Job]]]:
    """Run a session of a small search without Ray; returns the jobs that it ran."""
    output = tmp_path / "out"
    output.mkdir()
    ran: list[FakeTune] = []

    def run(arms: Arms, *_: object) -> None:
        ran.append(FakeTune(arms, order=len(ran)))
        ran[-1].run()

    monkeypatch.setattr("tune.execution.run_trials", run)

    def one(status: int = 0, **options: Any) -> list[Job]:
        given = {"trials": 3, "race": 0, "confirm": 3, "baseline": "none"} | options
        assert (
            end_session(SearchSession(make_plan(output=output, tracking_uri="none", **given)).run) == status
        )
        return ran[-1].seen

    yield one
    assert not [path for path in output.iterdir() if path.name.startswith(".")]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_that_a_session_is_over_is_told_once(
    search: Callable[..., list[Job]], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the results were written comes too late to make it an interrupted one."""
    heard: list[bool] = []

    def interrupt(_: SearchSession) -> None:
        raise KeyboardInterrupt

    def hear(_: ProgressDisplay, output: Path, interrupted: bool) -> None:
        heard.append(interrupted)

    monkeypatch.setattr(SearchSession, "show_tracking", interrupt)
    monkeypatch.setattr(ProgressDisplay, "session_ended", hear)
    search(EXIT_INTERRUPTED)
    assert (output / "search.json").is_file()
    assert heard == [False]


def test_what_a_baseline_took_stays_spent_when_it_is_left_out(
    search: Callable[..., list[Job]], output: Path
) -> None:
    taken = []
    for baseline in ("vanilla", "none"):
        search(baseline=baseline)
        taken.append(read_search_document(output).spent.slot_seconds)
    assert 0 < taken[0] == taken[1]


def test_the_study_says_which_trial_was_chosen_and_what_its_values_are(
    search: Callable[..., list[Job]], output: Path
) -> None:
    """Optuna's best trial is the luckiest seed."""
    search(trials=4, race=2)
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{output}/study.db")
    winner = json.loads((output / "search.json").read_text(encoding="utf-8"))["winner"]["trial"]
    assert study.user_attrs["chosen"].startswith(f"trial {winner}, by the mean over seeds")
    assert study.metric_names == ["matthews_correlation of one seed"]


def is_whole(output: Path) -> bool:
    """Whether best/ holds the model of the seed that its card names."""
    card = (output / "best/README.md").read_text(encoding="utf-8")
    ((seed,),) = {tuple(line.split()[1:2]) for line in card.splitlines() if "(this model)" in line}
    weights = load_file(output / "best/model.safetensors")["weight"]
    return best_model.holds_whole_model(output / "best") and bool(np.all(weights == float(seed)))


@pytest.mark.parametrize(
    "point",
    [
        (best_model, "take_from_location"),
        (best_model, "write_model_card"),
        (best_model, "sync_tree"),
        (Path, "rename"),
        (SearchSession, "close"),
    ],
    ids=lambda point: point[1],
)
def test_the_model_and_its_card_are_whole_after_a_kill(
    search: Callable[..., list[Job]], output: Path, monkeypatch: pytest.MonkeyPatch, point: tuple[Any, str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(*point, killed)
        with pytest.raises(KilledError):
            search()
    assert not (output / "best").exists() or is_whole(output)
    assert search() == []  # nothing is trained again
    assert is_whole(output)


@pytest.mark.parametrize(
    "lost",
    [
        lambda best: shutil.rmtree(best),
        lambda best: (best / "model.safetensors").write_bytes(b""),
        lambda best: (best / "model.safetensors").write_bytes((best / "model.safetensors").read_bytes()[:-4]),
        lambda best: (best / "config.json").unlink(),
    ],
    ids=["gone", "empty", "cut", "without config.json"],
)
def test_a_model_that_is_gone_is_made_again(
    search: Callable[..., list[Job]], output: Path, capsys: pytest.CaptureFixture[str], lost: Any
) -> None:
    search()
    before = load_file(output / "best/model.safetensors")
    records = Ledger(output / "study.db", "max").records()
    lost(output / "best")
    capsys.readouterr()
    (again,) = search()
    assert again.keep_model
    assert is_whole(output)
    assert (load_file(output / "best/model.safetensors")["weight"] == before["weight"]).all()
    assert Ledger(output / "study.db", "max").records() == records
    said = "".join(capsys.readouterr())
    assert f"the model in best/ is gone: {again.id} is trained once more" in said
    assert search() == []


@pytest.mark.parametrize("listed", [True, False])
def test_a_whole_model_of_another_search_is_not_taken_for_this_one(
    search: Callable[..., list[Job]], output: Path, listed: bool
) -> None:
    def take(best: Path, weight: float) -> None:
        save_file({"weight": np.full(4, weight, np.float32)}, best / "model.safetensors")
        checksums = {"model.safetensors": hash_file(best / "model.safetensors")}
        (best / MANIFEST_FILE).write_text(json.dumps({"sha256": checksums}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            best_model, "write_model_card", lambda *given: (take(given[2], 1.0), write_card(*given))
        )
        search()
    take(output / "best", 2.0)
    if not listed:  # the user's own change
        (output / "best" / MANIFEST_FILE).unlink()
    assert best_model.holds_whole_model(output / "best")
    assert len(search()) == listed


def read_seeds(output: Path) -> list[float]:
    """The seeds of the models in ensemble/, which are whole."""
    models = list_models(output / "ensemble")
    assert all(map(best_model.holds_whole_model, models))
    assert {path.name for path in (output / "ensemble").iterdir()} == {
        "ensemble.json",
        *(p.name for p in models),
    }
    return [float(load_file(path / "model.safetensors")["weight"][0]) for path in models]


def test_the_models_of_all_seeds_are_kept_on_request(search: Callable[..., list[Job]], output: Path) -> None:
    search()
    assert not (output / "ensemble").exists()
    assert len(search(ensemble=True)) == 2  # that in best/ is there
    seeds = read_seeds(output)
    assert seeds == [1, 2, 3]
    assert search(ensemble=True) == []
    assert len(search(ensemble=True, confirm=4)) == 1
    assert read_seeds(output) == [*seeds, 4]
    assert is_whole(output)


@pytest.mark.parametrize(
    "point",
    [
        (ensemble_model, "take_from_location"),
        (ensemble_model, "write_ensemble"),
        (ensemble_model, "sync_tree"),
        (shutil, "copytree"),
        (SearchSession, "close"),
    ],
    ids=lambda point: point[1],
)
def test_the_ensemble_is_whole_after_a_kill(
    search: Callable[..., list[Job]], output: Path, monkeypatch: pytest.MonkeyPatch, point: tuple[Any, str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(*point, killed)
        with pytest.raises(KilledError):
            search(ensemble=True)
    assert not (output / "ensemble").exists() or read_seeds(output)
    assert search(ensemble=True) == []  # nothing is trained again
    assert read_seeds(output) == [1, 2, 3]
    assert is_whole(output)


@pytest.mark.parametrize(
    ("lose", "count"),
    [
        (lambda folder: shutil.rmtree(folder), 2),
        (lambda folder: shutil.rmtree(folder / "confirm-0"), 1),
        (lambda folder: (folder / "confirm-0/model.safetensors").write_bytes(b""), 1),
        (lambda folder: (folder / "ensemble.json").write_text("{}"), 2),
    ],
    ids=["gone", "without a model", "with an empty model", "without its list"],
)
def test_an_ensemble_that_is_gone_is_made_again(
    search: Callable[..., list[Job]],
    output: Path,
    capsys: pytest.CaptureFixture[str],
    lose: Callable[[Path], object],
    count: int,
) -> None:
    search(ensemble=True)
    records = Ledger(output / "study.db", "max").records()
    lose(output / "ensemble")
    capsys.readouterr()
    again = search(ensemble=True)
    assert len(again) == count
    names = ", ".join(sorted(job.id for job in again))
    assert f"models of ensemble/ are not there: trained once more are {names}" in "".join(capsys.readouterr())
    assert read_seeds(output) == [1, 2, 3]
    assert Ledger(output / "study.db", "max").records() == records


@pytest.mark.parametrize("name", ["search.json", "report.html", "best/README.md"])
def test_a_result_that_is_gone_is_made_again_and_said(
    search: Callable[..., list[Job]], output: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    search()
    (output / name).unlink()
    (output / "error.log").write_text("of a session before")
    capsys.readouterr()
    assert search() == []
    assert (output / name).is_file()
    assert not (output / "error.log").exists()
    assert f"made again: {name}" in capsys.readouterr().out


def test_further_seeds_bring_model_and_card_up_to_date(
    search: Callable[..., list[Job]], output: Path
) -> None:
    search()
    assert len(search(confirm=5)) == 2
    assert is_whole(output)
    assert "Of 5 fresh seeds" in (output / "best/README.md").read_text(encoding="utf-8")


def test_another_commit_is_said_and_kept(
    search: Callable[..., list[Job]],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for commit in ("aaaa1111", "aaaa1111", "bbbb2222", "cccc3333"):
        made = replace(PROVENANCE, git_commit=commit)
        monkeypatch.setattr(session, "collect_provenance", lambda command, made=made: replace(made))
        search()
        said = "".join(capsys.readouterr())
        assert ("ran this before, now it is" in said) == (commit in ("bbbb2222", "cccc3333"))
    provenance = json.loads((output / "search.json").read_text())["provenance"]
    assert (provenance["git_commit"], provenance["earlier_commits"]) == ("cccc3333", ["bbbb2222", "aaaa1111"])
    assert (
        "commit `cccc3333`, before it `bbbb2222`, before it `aaaa1111`"
        in (output / "best/README.md").read_text()
    )


def test_the_seconds_of_a_session_that_was_killed_count(
    search: Callable[..., list[Job]], output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time budget goes on where the last evaluation of the killed session left it."""
    now = itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(SearchPhases.__init__, "__defaults__", (0.0, lambda: 10.0 * next(now)))
        patch.setattr(FakeTune, "complete", killed)
        with pytest.raises(KilledError):
            search(time_budget="1000h")
    spent = Ledger(output / "study.db", "max").seconds
    assert spent >= 40
    search(time_budget="1000h")
    assert spent < json.loads((output / "search.json").read_text())["spent"]["seconds"] < spent + 10


@pytest.mark.parametrize(
    ("is_gone", "said"),
    [
        (True, "out/study.db was removed or moved while the search ran"),
        (False, "the search broke off: DatabaseError: file is not a database"),
    ],
)
def test_what_became_of_the_ledger_in_a_search_is_said(
    search: Callable[..., list[Job]],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_gone: bool,
    said: str,
) -> None:
    def complete(*_: object) -> None:
        try:
            if is_gone:
                shutil.rmtree(output)
                output.mkdir()
            raise sqlite3.DatabaseError("file is not a database")
        except sqlite3.DatabaseError as error:
            raise StorageInternalError("An exception is raised during the commit.") from error

    monkeypatch.setattr(FakeTune, "complete", complete)
    search(status=1)
    error = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert said in error
    assert "during the commit" not in error


def test_ctrl_c_while_the_results_are_written_says_how_to_go_on(
    search: Callable[..., list[Job]],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SearchSession, "finish", interrupt)
        search(status=130)
    said = capsys.readouterr().err
    assert "error: interrupted while the results were written; every run is kept: " in said
    assert f"--resume {output}" in said
    assert search() == []
    assert (output / "search.json").is_file()


@pytest.mark.parametrize(("failing", "advice"), [("search", "--trials 16"), ("confirmation", "--confirm 16")])
def test_after_failures_in_a_row_the_advice_leads_on(
    search: Callable[..., list[Job]],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: str,
    advice: str,
) -> None:
    def end(job: Job) -> RunReport:
        return last_report(job.id, Outcome.OUT_OF_MEMORY) if job.purpose == failing else end_well(job)

    def make_fail(tune: FakeTune) -> None:
        tune.random, tune.end = random.Random(0), end

    def run(**changes: int) -> int:
        given = {
            "trials": 8,
            "confirm": 8,
            "race": 0,
            "baseline": "vanilla",
            "tracking_uri": "none",
        } | changes
        plan = make_plan(output=output, **given)
        with_baseline = change_spaces(plan, {"": plan.space, "vanilla": plan.space.for_baseline("vanilla")})
        return end_session(SearchSession(with_baseline).run)

    with monkeypatch.context() as patch:
        patch.setattr(FakeTune, "__post_init__", make_fail)
        assert run() == (4 if failing == "search" else 130)
    assert f"--resume {output} {advice}; " in capsys.readouterr().err
    option, count = advice.split()
    assert run(**{option.removeprefix("--"): int(count)}) == 0
    assert read_search_document(output).winner is not None
