"""Where runs under way keep what must outlive their node: a folder, and a real S3-compatible server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dps.config import Checkpointing, FineTuneConfig, FineTuneResult, Signal
from dps.data import TaskData
from dps.errors import InputError
from dps.finetune import run
from dps.methods import Vanilla
from dps.models import Base
from tests import object_store, tiny
from tune import probe, storage
from tune.workplace import Workplace

pytestmark = pytest.mark.integration

CONFIG = FineTuneConfig(method=Vanilla(), max_steps=8, batch_size=10, evaluations=4)
CLEARED_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store.served() as env:
        yield env


@pytest.fixture(params=["folder", "s3"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("DPS_CACHE_DIR", str(tmp_path / "cache"))
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    if request.param == "folder":
        return str(tmp_path / "shared")
    return f"s3://{object_store.BUCKET}/{tmp_path.name}"


def remote(place: str) -> str:
    return place if storage.is_remote(place) else pytest.skip("a folder is written to in place")


def test_what_is_written_is_seen_and_can_be_taken_and_removed(place: str, tmp_path: Path) -> None:
    file = storage.join(place, "a", "note")
    assert not storage.exists(place)
    assert storage.names(place) == []
    storage.check(place, writing=True)
    storage.write(file, b"here")
    assert storage.exists(file)
    assert storage.names(place) == ["a"]
    assert storage.take(storage.join(place, "a"), tmp_path / "taken")
    assert (tmp_path / "taken" / "note").read_bytes() == b"here"
    assert not storage.exists(file)
    assert not storage.take(file, tmp_path / "again")
    storage.write(file, b"here")
    storage.remove(storage.join(place, "a"))
    assert not storage.exists(file)
    storage.remove(place)


def test_a_node_reads_the_drivers_note_and_leaves_its_own(place: str) -> None:
    note = storage.join(place, ".preflight-1")
    storage.write(storage.join(note, probe.DRIVERS_NOTE), b"here")
    assert probe.try_storage(note, "node-1") is None
    assert probe.appears(storage.join(note, "node-1"), within_s=0)
    assert not probe.appears(storage.join(note, "node-2"), within_s=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ftp://host/path", "is no folder and no object store"),
        ("s3://", "is no folder and no object store"),
        ("s3://key:hush@dps/path", "credentials"),
        ("s3://no-such-bucket/path", "cannot write to s3://no-such-bucket/path"),
    ],
)
def test_what_cannot_be_written_to_is_refused(
    given: str, said: str, server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=said) as raised:
        storage.check(given, writing=True)
    assert "--storage" in str(raised.value)
    assert "planted-secret" not in str(raised.value)


def on_a_node(place: str, base: Base, data: TaskData, looks: int = 10**6) -> FineTuneResult:
    """Run there, and leave after so many looks at whether to."""
    at = Workplace(place, writes=True)
    at.fetch()
    left = iter(["go"] * looks)

    def control() -> Signal:
        return next(left, "suspend")

    result = run(
        CONFIG, base, data, control=control, checkpointing=Checkpointing(at.checkpoints, 0, at.written)
    )
    assert at.warnings == []
    if result.outcome == "completed":
        (at.folder / "logits").write_bytes(b"of the run")
        at.keep("logits")
    at.leave(done=result.outcome != "suspended")
    if result.outcome == "completed":
        at.clear()
    return result


def test_a_run_goes_on_where_another_node_left_it(
    place: str, tiny_base: Base, tiny_data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(CONFIG, tiny_base, tiny_data)
    job = storage.join(place, "trial-0")
    first = on_a_node(job, tiny_base, tiny_data, looks=6)
    assert (first.outcome, 1 < first.steps < CONFIG.max_steps) == ("suspended", True)
    kept = storage.names(storage.join(job, "checkpoints"))
    assert kept[-1] == f"step-{first.steps:08d}"
    assert len(kept) <= 2
    monkeypatch.setenv("DPS_CACHE_DIR", str(tmp_path / "of another node"))
    second = on_a_node(job, tiny_base, tiny_data)
    assert second.warnings == []
    assert second.scores == whole.scores
    assert second.model is not None
    assert whole.model is not None
    assert tiny.same(tiny.snapshot(second.model), tiny.snapshot(whole.model))
    deadline = time.monotonic() + CLEARED_WITHIN_S
    while storage.names(job) != ["logits"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [*(tmp_path / "of another node").rglob("step-*")] == []


def test_a_run_goes_on_without_a_store_that_went_away_and_says_so(
    place: str, tiny_base: Base, tiny_data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Workplace(remote(place), writes=True)

    def gone(*_: object) -> None:
        raise OSError("no route to the store")

    monkeypatch.setattr(storage, "send", gone)
    monkeypatch.setattr(storage, "names", gone)
    at.fetch()
    keeping = Checkpointing(at.checkpoints, 0, at.written)
    result = run(replace(CONFIG, max_steps=4), tiny_base, tiny_data, checkpointing=keeping)
    at.leave(done=False)
    assert result.outcome == "completed"
    assert at.warnings == ["checkpoints could not be read from the storage: no route to the store"]
    assert [*at.checkpoints.iterdir()] != []
    shutil.rmtree(at.folder)
