"""One live search a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from dps.errors import InputError
from tune.planning import locations

HOLD = (
    "import sys; from pathlib import Path; from tune.planning import locations\n"
    "with locations.hold_folder_lock(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_it_is_left_without_a_trace(tmp_path: Path) -> None:
    with locations.hold_folder_lock(tmp_path):
        assert (tmp_path / locations.LOCK_FILE_NAME).read_text().startswith(f"process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), locations.hold_folder_lock(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / locations.LOCK_FILE_NAME).symlink_to("../victim")
    with pytest.raises(InputError, match=r"--output: .*\.lock is a link; remove it"):
        locations.check_output(tmp_path / "new", resume=False)
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_folder_is_tried_without_a_trace_and_not_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".write-probe").symlink_to("victim")
    locations.check_output(tmp_path, resume=True)
    assert (tmp_path / "victim").read_text() == "mine"
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize(
    "uri", ["databricks", "databricks://prof", "http://x:5000", "sqlite:///x.db", "sqlite+pysqlite:///x.db"]
)
def test_addresses_of_mlflow_are_taken(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    locations.check_tracking_uri(uri, "--tracking-uri")


def test_it_is_held_once(tmp_path: Path) -> None:
    with (
        locations.hold_folder_lock(tmp_path),
        pytest.raises(InputError) as refusal,
        locations.hold_folder_lock(tmp_path),
    ):
        pass
    assert f"{tmp_path} is in use by a live search (process {os.getpid()} on" in str(refusal.value)


def test_a_live_process_is_respected_and_a_killed_one_is_not(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    in_use = rf"--output: .* in use by a live search \(process {holder.pid} on"
    with pytest.raises(InputError, match=in_use), locations.hold_folder_lock(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    assert (tmp_path / locations.LOCK_FILE_NAME).exists()
    with locations.hold_folder_lock(tmp_path):
        assert (tmp_path / locations.LOCK_FILE_NAME).read_text().startswith(f"process {os.getpid()} on")


def test_two_searches_of_one_second_have_a_folder_each(tmp_path: Path) -> None:
    default = tmp_path / "runs" / "cola-20261129-080919"
    with ExitStack() as first, ExitStack() as second:
        claimed = [locations.claim_output(default, False, False, holding) for holding in (first, second)]
        assert [folder.name for folder in claimed] == ["cola-20261129-080919", "cola-20261129-080919-2"]
        (claimed[0] / "study.db").touch()
    assert claimed[0].is_dir()
    assert not claimed[1].exists()  # nothing was written into it


def test_a_folder_that_was_named_is_the_one(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").touch()
    with ExitStack() as holding, pytest.raises(InputError, match="is not empty"):
        locations.claim_output(tmp_path, True, False, holding)


@pytest.mark.parametrize("place", ["new", "a/b/c"])
def test_a_dry_look_at_a_folder_leaves_no_trace(tmp_path: Path, place: str) -> None:
    locations.check_output(tmp_path / place, resume=False, writing=False)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_dry_look_refuses_what_cannot_be_a_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--output: cannot write to .*Not a directory"):
        locations.check_output(tmp_path / place, resume=False, writing=False)
