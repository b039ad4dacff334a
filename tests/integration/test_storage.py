"""Where runs under way keep what must outlive their node: a folder, and a real S3-compatible server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dps.errors import InputError
from dps.methods import Vanilla
from dps.models import PretrainedEncoder
from dps.training.config import Checkpointing, FineTuneConfig, FineTuneResult
from dps.training.data import TaskData
from dps.training.result import ControlSignal
from dps.training.run import finetune_model
from tests import object_store, tiny
from tune.core import storage
from tune.execution.job_folder import JobFolder
from tune.planning import probe

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
    return place if storage.is_remote_location(place) else pytest.skip("a folder is written to in place")


def test_what_is_written_is_seen_and_can_be_taken_and_removed(place: str, tmp_path: Path) -> None:
    file = storage.join_location(place, "a", "note")
    assert not storage.location_exists(place)
    assert storage.list_location(place) == []
    storage.check_location(place, writing=True)
    storage.write_location(file, b"here")
    assert storage.location_exists(file)
    assert storage.list_location(place) == ["a"]
    assert storage.take_from_location(storage.join_location(place, "a"), tmp_path / "taken")
    assert (tmp_path / "taken" / "note").read_bytes() == b"here"
    assert storage.location_exists(file) == storage.is_remote_location(place)
    storage.remove_location(storage.join_location(place, "a"))
    assert not storage.location_exists(file)
    assert not storage.take_from_location(file, tmp_path / "again")
    storage.remove_location(place)


def test_a_node_reads_the_drivers_note_and_leaves_its_own(place: str) -> None:
    note = storage.join_location(place, ".preflight-1")
    storage.write_location(storage.join_location(note, probe.DRIVER_NOTE_NAME), b"here")
    assert probe.check_node_storage(note, "node-1") is None
    assert probe.wait_for_file(storage.join_location(note, "node-1"), timeout_s=0)
    assert not probe.wait_for_file(storage.join_location(note, "node-2"), timeout_s=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ftp://host/path", "is neither a folder nor an object store"),
        ("s3://", "is neither a folder nor an object store"),
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
        storage.check_location(given, writing=True)
    assert "--storage" in str(raised.value)
    assert "planted-secret" not in str(raised.value)


def on_a_node(place: str, base: PretrainedEncoder, data: TaskData, looks: int = 10**6) -> FineTuneResult:
    """Run there, and leave after so many looks at whether to."""
    at = JobFolder(place, is_writer=True)
    at.fetch_checkpoints()
    left = iter(["go"] * looks)

    def control() -> ControlSignal:
        return next(left, "suspend")

    result = finetune_model(
        CONFIG,
        base,
        data,
        control=control,
        checkpointing=Checkpointing(at.checkpoints, 0, at.upload_checkpoint),
    )
    assert at.warnings == []
    if result.outcome == "completed":
        (at.folder / "logits").write_bytes(b"of the run")
        at.keep_result("logits")
    at.finish_run(is_over=result.outcome != "suspended")
    if result.outcome == "completed":
        at.remove_checkpoints()
    return result


def test_a_run_goes_on_where_another_node_left_it(
    place: str,
    tiny_base: PretrainedEncoder,
    tiny_data: TaskData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = finetune_model(CONFIG, tiny_base, tiny_data)
    job = storage.join_location(place, "trial-0")
    first = on_a_node(job, tiny_base, tiny_data, looks=6)
    assert (first.outcome, 1 < first.steps < CONFIG.max_steps) == ("suspended", True)
    kept = storage.list_location(storage.join_location(job, "checkpoints"))
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
    while storage.list_location(job) != ["logits"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [*(tmp_path / "of another node").rglob("step-*")] == []


def test_a_run_goes_on_without_a_store_that_went_away_and_says_so(
    place: str,
    tiny_base: PretrainedEncoder,
    tiny_data: TaskData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = JobFolder(remote(place), is_writer=True)

    def gone(*_: object) -> None:
        raise OSError("no route to the store")

    monkeypatch.setattr(storage, "upload_to_location", gone)
    monkeypatch.setattr(storage, "list_location", gone)
    at.fetch_checkpoints()
    keeping = Checkpointing(at.checkpoints, 0, at.upload_checkpoint)
    result = finetune_model(replace(CONFIG, max_steps=4), tiny_base, tiny_data, checkpointing=keeping)
    at.finish_run(is_over=False)
    assert result.outcome == "completed"
    assert at.warnings == ["checkpoints could not be read from the storage: no route to the store"]
    assert [*at.checkpoints.iterdir()] != []
    shutil.rmtree(at.folder)
