"""Earlier searches: every kind of source is read as it is, ranked within itself, fitted to a new space."""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from dps.errors import InputError
from dps.ranges import Choice, Range
from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import PROVENANCE, make_plan, make_space, open_ledger, open_ledgers, track_plan
from tune import startup
from tune.console.plan import format_plan
from tune.core.options import SearchOptions
from tune.core.run import RunPurpose
from tune.core.space import SearchSpace, encode_configurations
from tune.planning import planner
from tune.records import stores
from tune.records.ledger import Ledger
from tune.search_session import SearchSession
from tune.strategy.proposals import STARTUP_TRIALS
from tune.strategy.race import RACE_NOTE
from tune.strategy.strategy import NO_WARM_START, WarmStart
from tune.strategy.warm_start import (
    MIN_PROPOSAL_DISTANCE,
    EarlierConfiguration,
    adapt_to_space,
    count_trusted_trials,
    propose_first_trials,
    read_earlier_searches,
)
from tune.tracking.mlflow import MlflowTracker

SPACE = make_space(("dps-dense", "vanilla"))
IDENTITY = {"task": "cola"}
RATES = [1e-4, 1.5e-4, 2e-4, 2.5e-4, 3e-4, 3.5e-4]
GIVE = "give the output folder of a search, its study.db or mlflow:EXPERIMENT"
TEXT = "no database, and longer than the header of one\n" * 9
EXPERIMENT = "cola-builtin-dddddddd"


def vanilla(rate: float) -> dict[str, Any]:
    return {"method": "vanilla", "learning_rate": rate}


def put(
    ledger: Ledger,
    rate: float,
    outcome: Outcome,
    *scores: tuple[int, float],
    purpose: RunPurpose = "search",
    seed: int = 0,
) -> None:
    """A trial of vanilla that reported these scores by step, then ended so."""
    record = ledger.replicate(vanilla(rate), SPACE, seed, purpose)
    ledger.report(record.id, RunResult(scores=[*scores]))
    if outcome.is_final:
        ledger.finish(record.id, RunResult(outcome=outcome, scores=[*scores]))


def put_all(ledger: Ledger) -> None:
    """RATES from the best to the worst, and what says nothing."""
    put(ledger, RATES[4], Outcome.STOPPED, (20, 0.3))
    put(ledger, RATES[2], Outcome.STOPPED, (20, 0.1), (40, 0.2))
    put(ledger, RATES[1], Outcome.COMPLETED, (20, 0.1), (60, 0.25))
    put(ledger, RATES[5], Outcome.DIVERGED, (20, 0.9))
    put(ledger, RATES[3], Outcome.STOPPED, (20, 0.8), (40, 0.1))
    put(ledger, RATES[0], Outcome.COMPLETED, (20, 0.0), (60, 0.5))
    put(ledger, 4e-4, Outcome.FAILED, (20, 0.9))
    put(ledger, 4.1e-4, Outcome.LOST, (20, 0.9))
    put(ledger, 4.2e-4, Outcome.STOPPED)
    put(ledger, 4.3e-4, Outcome.RUNNING, (20, 0.9))
    put(ledger, 4.4e-4, Outcome.COMPLETED, (75, 0.9), purpose="confirmation")


def opened(folder: Path) -> Ledger:
    folder.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(folder)
    ledger.open(IDENTITY)
    return ledger


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a search that holds `put_all`."""
    folder = tmp_path_factory.mktemp("finished")
    put_all(opened(folder))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "runs" / "cola-1")
    return tmp_path / "runs" / "cola-1"


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made: they take seconds."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store beside the runs, where a search without --tracking-uri writes, in the working directory."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")


def track(store: Path, search_id: str, output: Path, interrupted: bool = False) -> None:
    """What a search whose results lie in this folder leaves in MLflow at its end."""
    tracker = MlflowTracker(f"sqlite:///{store}", track_plan(make_plan()), PROVENANCE, search_id, output.name)
    tracker.session_ended(output, interrupted)
    assert tracker.error == ""


def normal_scores(count: int) -> list[float]:
    """Of `count` places without ties, from the best."""
    return [NormalDist().inv_cdf(1 - (place + 0.5) / count) for place in range(count)]


def by_rate(found: list[EarlierConfiguration]) -> dict[float, float]:
    """Normal scores, from the best."""
    ordered = sorted(found, key=lambda one: -one.normal_score)
    return {one.configuration["learning_rate"]: one.normal_score for one in ordered}


def expect(found: list[EarlierConfiguration], *rates: float) -> None:
    """These learning rates, from the best to the worst, without ties."""
    scores = by_rate(found)
    assert list(scores) == list(rates)
    assert list(scores.values()) == pytest.approx(normal_scores(len(rates)))


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize("source", ["{0}", "{0}/study.db", "sqlite:///{0}/study.db", " {0} ,"])
def test_a_search_is_read_from_its_folder_its_file_or_its_url(folder: Path, source: str) -> None:
    found = read_earlier_searches(source.format(folder))
    expect(found, *RATES)
    assert {one.origin for one in found} == {f"{source.format(folder).strip(' ,')} (cola, 6 trials)"}
    assert {one.configuration["method"] for one in found} == {"vanilla"}


def test_a_source_may_lie_in_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent.parent)
    shutil.copy(folder / "study.db", "a study 100%?#.db")
    for source in ("runs/cola-1", "sqlite:///runs/cola-1/study.db", "a study 100%?#.db"):
        expect(read_earlier_searches(source), *RATES)


def test_reading_makes_and_changes_nothing(folder: Path) -> None:
    before = tree(folder.parent.parent)
    read_earlier_searches(str(folder))
    assert tree(folder.parent.parent) == before


def test_a_search_that_is_writing_is_read_as_it_was_before(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "study.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM trials")
        expect(read_earlier_searches(str(folder)), *RATES)
        writer.rollback()
    ledger = open_ledger(folder)
    ledger.propose(SPACE, ledger.study.sampler, 0)
    expect(read_earlier_searches(str(folder)), *RATES)


def test_what_a_killed_search_was_writing_is_undone(folder: Path, tmp_path: Path) -> None:
    """Pages of a transaction are in the file and their old content in the journal, as a kill leaves them."""
    killed = tmp_path / "killed"
    with closing(sqlite3.connect(folder / "study.db", isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        writer.execute("DELETE FROM trial_user_attributes")
        writer.execute("DELETE FROM trials")
        shutil.copytree(folder, killed)
        writer.execute("ROLLBACK")
    assert (killed / "study.db-journal").stat().st_size > 0
    assert (killed / "study.db").read_bytes() != (folder / "study.db").read_bytes()
    expect(read_earlier_searches(str(killed)), *RATES)


def test_a_file_that_stays_locked_is_not_waited_for_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "SQLITE_LOCK_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(folder / "study.db")) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match=r"cannot be read \(database is locked\); give"):
            read_earlier_searches(str(folder))


def test_ties_share_their_rank(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    for rate, score in zip(RATES[:4], (0.5, 0.4, 0.4, 0.1), strict=True):
        put(ledger, rate, Outcome.COMPLETED, (60, score))
    best, _, _, worst = normal_scores(4)
    assert by_rate(read_earlier_searches(str(tmp_path))) == pytest.approx(
        dict(zip(RATES[:4], (best, 0.0, 0.0, worst), strict=True))
    )


def test_one_trial_stands_in_the_middle(tmp_path: Path) -> None:
    put(opened(tmp_path), RATES[0], Outcome.DIVERGED)
    (only,) = read_earlier_searches(str(tmp_path))
    assert (only.normal_score, only.origin) == (0.0, f"{tmp_path} (cola, 1 trial)")


def test_less_is_better_where_the_study_minimizes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "study.db", "min")
    ledger.open(IDENTITY)
    put_all(ledger)
    expect(read_earlier_searches(str(tmp_path)), *(RATES[number] for number in (1, 0, 3, 2, 4, 5)))


def test_further_seeds_of_a_configuration_count(tmp_path: Path) -> None:
    """One was lucky with the seed of the search; what did not race is not before those that did."""
    ledger = opened(tmp_path)
    for rate, score in zip((RATES[2], RATES[0], RATES[1], RATES[3]), (0.9, 0.8, 0.7, 0.65), strict=True):
        put(ledger, rate, Outcome.COMPLETED, (60, score))
    put(ledger, RATES[4], Outcome.STOPPED, (20, 0.95))
    expect(read_earlier_searches(str(tmp_path)), *(RATES[number] for number in (2, 0, 1, 3, 4)))
    for seed in (1, 2):
        for rate, score in ((RATES[2], 0.05 * seed), (RATES[0], 0.8), (RATES[1], 0.55)):
            put(ledger, rate, Outcome.COMPLETED, (60, score), purpose="race", seed=seed)
    put(ledger, RATES[2], Outcome.STOPPED, (20, 9.0), purpose="race", seed=3)
    put(ledger, 4e-4, Outcome.COMPLETED, (60, 0.99), purpose="race", seed=3)
    expect(read_earlier_searches(str(tmp_path)), *RATES[:5])


@pytest.mark.parametrize("direction", ["max", "min"])
def test_further_seeds_that_failed_or_diverged_count(tmp_path: Path, direction: str) -> None:
    """A lucky first seed does not help what failed in the race; a seed that diverged is as the worst one."""
    sign = 1 if direction == "max" else -1
    ledger = Ledger(tmp_path / "study.db", direction)
    ledger.open(IDENTITY)
    for rate, score in zip((RATES[2], RATES[1], RATES[0], RATES[3]), (0.9, 0.8, 0.7, 0.1), strict=True):
        put(ledger, rate, Outcome.COMPLETED, (60, sign * score))
    for seed in (1, 2):
        put(ledger, RATES[2], Outcome.FAILED, purpose="race", seed=seed)
        diverged = Outcome.DIVERGED if seed == 1 else Outcome.COMPLETED
        put(ledger, RATES[1], diverged, (60, sign * 0.8), purpose="race", seed=seed)
        put(ledger, RATES[0], Outcome.COMPLETED, (60, sign * 0.7), purpose="race", seed=seed)
    expect(read_earlier_searches(str(tmp_path)), *RATES[:4])


def test_of_a_baseline_two_race(tmp_path: Path) -> None:
    """Its ledger says so: by one further seed each, the third was lucky."""
    ledger = opened(tmp_path)
    ledger.note(RACE_NOTE, 2)
    for rate, score in zip((RATES[0], RATES[1], RATES[2]), (0.9, 0.8, 0.7), strict=True):
        put(ledger, rate, Outcome.COMPLETED, (60, score))
    for rate, score in ((RATES[0], 0.7), (RATES[1], 0.4)):
        put(ledger, rate, Outcome.COMPLETED, (60, score), purpose="race", seed=1)
    expect(read_earlier_searches(str(tmp_path)), *RATES[:3])


def test_a_configuration_tried_twice_is_one(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    for rate, score in ((RATES[0], 0.9), (RATES[1], 0.5), (RATES[0], 0.3), (RATES[2], 0.4)):
        put(ledger, rate, Outcome.COMPLETED, (60, score))
    expect(read_earlier_searches(str(tmp_path)), *RATES[:3])


def test_the_arms_of_a_comparison_are_searches_of_their_own(tmp_path: Path) -> None:
    for arm, ledger in open_ledgers(tmp_path, ("vanilla", "dps-dense")).items():
        ledger.open({"task": "rte"})
        for number in range(3):
            put(ledger, RATES[number], Outcome.COMPLETED, (60, number + 10 * (arm == "vanilla")))
    found = read_earlier_searches(str(tmp_path))
    expect(found[:3], *reversed(RATES[:3]))
    expect(found[3:], *reversed(RATES[:3]))
    assert {one.origin for one in found} == {f"{tmp_path} (rte, 6 trials)"}


def test_an_experiment_is_read_search_by_search(store: Path, finished: Path, tmp_path: Path) -> None:
    arms = open_ledgers(opened(tmp_path / "arms").file.parent, ("vanilla", "dps-dense"))  # type: ignore[union-attr]
    for ledger in arms.values():
        ledger.open({"task": "rte"})
        put(ledger, RATES[0], Outcome.COMPLETED, (60, 0.1))
    for number, output in enumerate((finished, tmp_path / "arms", finished)):
        track(store, f"search{number}", output, interrupted=number == 2)
    before = tree(store.parent.parent)
    found = read_earlier_searches(f"mlflow:{EXPERIMENT}")
    assert tree(store.parent.parent) == before
    expect(found[:6], *RATES)
    assert [one.configuration for one in found[6:]] == [vanilla(RATES[0])] * 2
    left_out = "left out: 1 of 3 runs, which have no study.db"
    assert {one.origin for one in found} == {f"mlflow:{EXPERIMENT} (cola, rte, 8 trials, {left_out})"}


def test_another_store_can_be_named(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(opened(tmp_path / "one"), RATES[0], Outcome.COMPLETED, (60, 0.1))
    track(store, "one", tmp_path / "one")
    uri = f"sqlite:///{shutil.move(store, tmp_path / 'elsewhere.db')}"
    assert len(read_earlier_searches(f"mlflow:{EXPERIMENT}", uri)) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert len(read_earlier_searches(f"mlflow:{EXPERIMENT}")) == 1


def test_several_sources_are_ranked_one_by_one(folder: Path, tmp_path: Path) -> None:
    other = opened(tmp_path / "other")
    for rate in RATES[:2]:
        put(other, rate, Outcome.COMPLETED, (60, 1e3 * rate))
    found = read_earlier_searches(f"{folder}, {tmp_path}/other/study.db,{folder}")
    expect(found[:6], *RATES)
    expect(found[6:], RATES[1], RATES[0])
    assert [one.origin for one in found[5:7]] == [
        f"{folder} (cola, 6 trials)",
        f"{tmp_path}/other/study.db (cola, 2 trials)",
    ]


def test_a_file_that_is_no_store_is_not_made_one(store: Path) -> None:
    with closing(sqlite3.connect("plain.db")) as made, made:
        made.execute("CREATE TABLE numbers (number INTEGER)")
    before = tree(Path())
    with pytest.raises(
        InputError, match=r"^--warm-start: mlflow:a names no experiment of sqlite:///plain\.db"
    ):
        read_earlier_searches("mlflow:a", "sqlite:///plain.db")
    assert tree(Path()) == before


@pytest.fixture(scope="module")
def unreadable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what cannot be read."""
    folder = tmp_path_factory.mktemp("unreadable")
    for name in ("empty", "folder/study.db"):
        (folder / name).mkdir(parents=True)
    (folder / "text.db").write_text(TEXT)
    (folder / "nothing.db").touch()
    for name in ("studies", "numbers"):
        with closing(sqlite3.connect(folder / f"{name}.db")) as made, made:
            made.execute(f"CREATE TABLE {name} (number INTEGER)")
    ledgers = {}
    for name in ("begun", "foreign", "future"):
        (folder / name).mkdir()
        ledgers[name] = open_ledger(folder / name)
        if name != "foreign":
            ledgers[name].open(IDENTITY)
        put(ledgers[name], RATES[0], Outcome.FAILED)
    ledgers["future"].note("schema_version", 2)
    return folder


@pytest.fixture
def wrong(unreadable: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the working directory."""
    monkeypatch.chdir(unreadable)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return unreadable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"'' names no source; {GIVE}"),
        (" , ", f"' , ' names no source; {GIVE}"),
        ("runs/none", f"runs/none does not exist; {GIVE}"),
        ("none.db", f"none.db does not exist; {GIVE}"),
        ("sqlite:///none.db", f"sqlite:///none.db does not exist; {GIVE}"),
        ("sqlite:///none/none.db", f"sqlite:///none/none.db does not exist; {GIVE}"),
        ("mysql://a/b", f"mysql://a/b is not a SQLite URL (sqlite:///...); {GIVE}"),
        ("empty", f"empty holds no study.db; {GIVE}"),
        ("folder", f"folder holds no study.db; {GIVE}"),
        ("text.db", f"text.db cannot be read (file is not a database); {GIVE}"),
        ("nothing.db", f"nothing.db cannot be read as a ledger (no such table: studies); {GIVE}"),
        ("numbers.db", f"numbers.db cannot be read as a ledger (no such table: studies); {GIVE}"),
        ("foreign", f"foreign holds no study of a search; {GIVE}"),
        ("begun", f"begun holds no finished trial of a search; {GIVE}"),
        (
            "future",
            "future has version 2, and this program reads 1; use the version that created it; " + GIVE,
        ),
        (
            "mlflow:cola",
            "mlflow:cola names an experiment of sqlite:///{here}/runs/mlflow.db, which does not exist; "
            + GIVE,
        ),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line_and_nothing_is_made(
    wrong: Path, text: str, message: str
) -> None:
    before = tree(wrong), sorted(wrong.rglob("*"))
    with pytest.raises(InputError) as error:
        read_earlier_searches(text)
    assert str(error.value) == "--warm-start: " + message.replace("{here}", str(wrong.resolve()))
    assert (tree(wrong), sorted(wrong.rglob("*"))) == before


def test_a_file_that_only_looks_like_a_study(wrong: Path) -> None:
    with pytest.raises(
        InputError, match=r"^--warm-start: studies\.db cannot be read as a ledger \(.+\); give"
    ):
        read_earlier_searches("studies.db")


def test_one_source_that_cannot_be_read_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"^--warm-start: none does not exist"):
        read_earlier_searches(f"{folder},none")


def test_experiments_that_cannot_be_read(store: Path, tmp_path: Path) -> None:
    put(opened(tmp_path / "one"), RATES[0], Outcome.FAILED)
    track(store, "one", tmp_path / "one")
    uri = f"sqlite:///{store.resolve()}"
    Path("text.db").write_text(TEXT)
    refused = {
        (f"mlflow:{EXPERIMENT}", None): f"mlflow:{EXPERIMENT} holds no finished trial of a search; {GIVE}",
        ("mlflow:none", None): f"mlflow:none names no experiment of {uri}; {GIVE}",
        ("mlflow:a", "none"): f"mlflow:a needs MLflow, which --tracking-uri none turns off; {GIVE}",
        ("mlflow:a", "here"): f"mlflow:a names an experiment of here, which does not exist; {GIVE}",
        (
            "mlflow:a",
            "file:///h/m",
        ): f"mlflow:a names an experiment of file:///h/m, which does not exist; {GIVE}",
        ("mlflow:a", "sqlite:///text.db"): f"mlflow:a cannot be read (file is not a database); {GIVE}",
    }
    refused["mlflow:a", "file:b"] = f"mlflow:a names an experiment of file:b, which does not exist; {GIVE}"
    for (source, named), message in refused.items():
        with pytest.raises(InputError) as error:
            read_earlier_searches(source, named)
        assert str(error.value) == f"--warm-start: {message}"
    with pytest.raises(InputError, match=r"^--warm-start: mlflow:a cannot be read from odd://x \(.+\); give"):
        read_earlier_searches("mlflow:a", "odd://x")


HYPER = SearchSpace(
    methods=("dps-dense", "vanilla"),
    parameters={
        "learning_rate": Range(1e-5, 1e-3, log=True),
        "ratio": Range(0.0, 1.0),
        "layers": Choice((1, 2)),
    },
    study_names={
        "dps-dense": {"learning_rate": "learning_rate", "selection_ratio": "ratio", "layers": "layers"},
        "vanilla": {"learning_rate": "learning_rate"},
    },
)


def dense(rate: float = 1e-4, ratio: float = 0.5, layers: Any = 1, **more: Any) -> dict[str, Any]:
    hyper = {"learning_rate": rate, "selection_ratio": ratio, "layers": layers}
    return {"method": "dps-dense", **hyper, **more}


def earlier(configuration: dict[str, Any], score: float = 1.0, origin: str = "a") -> EarlierConfiguration:
    return EarlierConfiguration(configuration, score, origin)


@pytest.mark.parametrize(
    ("configuration", "expressed"),
    [
        (dense(), dense()),
        (vanilla(1e-4), vanilla(1e-4)),
        (vanilla(1e-6), vanilla(1e-5)),
        (vanilla(1), vanilla(1e-3)),
        (dense(ratio=-1, layers=2.0), dense(ratio=0.0, layers=2)),
        (dense(freeze="update"), dense()),
        (vanilla(1e-4) | {"selection_ratio": 0.5}, vanilla(1e-4)),
        (dense(layers=3), None),
        (dense(layers="1"), None),
        (dense(ratio="0.5"), None),  # type: ignore[arg-type]
        (dense(ratio=True), None),
        ({"method": "dps-dense", "learning_rate": 1e-4, "layers": 1}, None),
        ({"method": "vanilla"}, None),
        ({"method": "r-drop", "learning_rate": 1e-4}, None),
        ({"learning_rate": 1e-4}, None),
    ],
)
def test_what_the_space_can_express(configuration: dict[str, Any], expressed: dict[str, Any] | None) -> None:
    expected = [] if expressed is None else [earlier(expressed)]
    assert adapt_to_space([earlier(configuration)], HYPER) == expected
    for one in adapt_to_space([earlier(configuration)], HYPER):
        assert [type(value) for value in one.configuration.values()] == [
            type(value) for value in expected[0].configuration.values()
        ]
        assert HYPER.from_study_values(HYPER.to_study_values(one.configuration)) == one.configuration


def test_the_best_come_first_and_the_same_are_one() -> None:
    many = [
        earlier(vanilla(1e-4), -0.5),
        earlier(vanilla(2e-3), 0.25, "b"),
        earlier(vanilla(3e-3), 0.75, "c"),
        earlier(vanilla(1e-3), 0.8, "b"),
        earlier(dense(), 0.7),
        earlier(dense(ratio=0.25), 0.7),
    ]
    found = adapt_to_space(many, HYPER)
    assert [one.configuration for one in found] == [dense(ratio=0.25), dense(), vanilla(1e-3), vanilla(1e-4)]
    assert [one.normal_score for one in found] == pytest.approx([0.7, 0.7, 0.6, -0.5])
    assert found[2].origin == "b; c"
    assert adapt_to_space(found, HYPER) == found
    assert many[1].configuration == vanilla(2e-3)
    for seed in range(5):
        mixed = random.Random(seed).sample(many, len(many))
        assert [replace(one, origin="") for one in adapt_to_space(mixed, HYPER)] == [
            replace(one, origin="") for one in found
        ]


def test_the_best_are_proposed() -> None:
    good = [dense(10 ** -(3.2 + 0.3 * number), number / 5) for number in range(5)]
    many = [earlier(one, 1 - number / 5) for number, one in enumerate(good)]
    many += [earlier(vanilla(1e-5), 0.0), earlier(vanilla(1e-3), -1.0), earlier({"method": "r-drop"}, 3.0)]
    for count in range(7):
        assert propose_first_trials(many, HYPER, count) == good[:count]
    assert propose_first_trials([], HYPER, 3) == []


def test_neighbours_are_not_proposed() -> None:
    step = MIN_PROPOSAL_DISTANCE * np.sqrt(encode_configurations(HYPER, [dense()]).shape[1])
    good = [0.5, 0.5 + 0.99 * step, 0.5 - 1.01 * step, 0.5 - 1.5 * step, 0.5 + 1.01 * step]
    many = [earlier(dense(ratio=ratio), 1 - number / 9) for number, ratio in enumerate(good)]
    assert [one["selection_ratio"] for one in propose_first_trials(many, HYPER, 9)] == [
        good[0],
        good[2],
        good[4],
    ]
    assert [one["selection_ratio"] for one in propose_first_trials(many, HYPER, 2)] == [good[0], good[2]]


def test_what_was_moved_into_the_range_is_proposed_once() -> None:
    assert propose_first_trials([earlier(vanilla(2e-3)), earlier(vanilla(9e-3), 0.5)], HYPER, 3) == [
        vanilla(1e-3)
    ]


def test_earlier_trials_fade() -> None:
    assert [count_trusted_trials(own) for own in range(10)] == [16, 14, 12, 10, 8, 6, 4, 2, 0, 0]
    assert all(own + count_trusted_trials(own) >= STARTUP_TRIALS for own in range(100))


# --- in a search


def test_a_plan_holds_what_is_tried_first_and_says_where_it_is_from(folder: Path) -> None:
    options = SearchOptions(warm_start=str(folder), trials=8)
    planned = planner._load_warm_start(options, make_space(("vanilla",)))
    assert planned.initial_configurations == [vanilla(RATES[0]), vanilla(RATES[1])]
    assert [configuration for configuration, _ in planned.observations[:2]] == planned.initial_configurations
    assert planned.origins == [f"{folder} (cola, 6 trials)"]
    lines = format_plan(replace(make_plan(), warm_start=planned))
    assert f"warm start   {folder} (cola, 6 trials)" in lines


@pytest.mark.parametrize(
    ("sampler", "trials", "said"),
    [
        ("tpe", 8, "the best of the warm start: 2 trials; then the published values: 1 trial"),
        ("tpe", 1, "the best of the warm start: 1 trial"),
        ("random", 8, "the best of the warm start: 2 trials"),
    ],
)
def test_the_plan_says_that_the_warm_start_is_tried_before_the_published_values(
    sampler: str, trials: int, said: str, tmp_path: Path
) -> None:
    """One of the two published values is among the best of the warm start. A resume says the same."""
    plan = make_plan(sampler=sampler, trials=trials, output=tmp_path, tracking_uri="none")
    published = plan.space.list_published()
    assert len(published) == 2
    warm = WarmStart([published[1], vanilla(RATES[0])], [(published[1], 1.0)], ["earlier"])
    warmed = replace(plan, warm_start=warm)
    (search,) = SearchSession(warmed).make_arms(threading.Event()).searches
    tried = [search.proposer.propose_next().configuration for _ in range(min(trials, 3))]  # type: ignore[union-attr]
    assert tried[:2] == [*warm.initial_configurations][:trials]
    assert (published[0] in tried) == ("published" in said)
    for each in (warmed, startup._adopt_resumed_search(plan, tmp_path / "study.db")):
        (line,) = [line for line in format_plan(each) if line.startswith("first ")]
        assert line == f"first        {said}"


def test_a_source_of_which_nothing_fits_is_refused(folder: Path) -> None:
    options = SearchOptions(warm_start=str(folder))
    with pytest.raises(InputError, match=r"--warm-start: no configuration of .* fits this search space"):
        planner._load_warm_start(options, make_space(("mixout",)))


def test_a_resume_has_what_the_first_session_read(folder: Path, tmp_path: Path) -> None:
    """The earlier search may be gone by then."""
    options = SearchOptions(warm_start=str(folder), trials=8)
    plan = make_plan(output=tmp_path, tracking_uri="none")
    warm = planner._load_warm_start(options, make_space(("vanilla",)))
    (first,) = SearchSession(replace(plan, warm_start=warm)).make_arms(threading.Event()).searches
    resumed = SearchOptions(warm_start="gone", resume=tmp_path)
    assert planner._load_warm_start(resumed, SPACE) == NO_WARM_START
    (again,) = SearchSession(plan).make_arms(threading.Event()).searches
    one, two = first.strategy, again.strategy
    assert one.first_configurations[:2] == [vanilla(RATES[0]), vanilla(RATES[1])]
    assert two.first_configurations == one.first_configurations
    assert two.earlier_configurations == one.earlier_configurations
