"""Where a search keeps what the next session must find again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dps.errors import InputError
from tune.planning.locations import check_output
from tune.records.ledger import Ledger
from tune.records.search_folder import SearchFolder, find_original


def open_folder(output: Path, shared: Path | None) -> SearchFolder:
    output.mkdir(exist_ok=True)
    return SearchFolder(output, "max", {"": {"task": "cola"}}, None if shared is None else str(shared))


def test_the_place_in_the_storage_stays_when_the_output_folder_is_renamed(tmp_path: Path) -> None:
    first = open_folder(tmp_path / "cola", tmp_path / "shared").shared
    assert Path(first).parent == tmp_path / "shared"
    assert Path(first).name.startswith("cola-")
    (tmp_path / "cola").rename(tmp_path / "renamed")
    assert open_folder(tmp_path / "renamed", tmp_path / "shared").shared == first


def test_what_the_first_session_noted_stays(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, tmp_path)
    assert folder.note_once("warm_start", [[], [1]]) == [[], [1]]
    assert open_folder(tmp_path, tmp_path).note_once("warm_start", [[], [2]]) == [[], [1]]


def test_a_search_has_one_id_in_every_session(tmp_path: Path) -> None:
    assert open_folder(tmp_path, tmp_path).search_id == open_folder(tmp_path, tmp_path).search_id


@pytest.mark.parametrize(
    "name", ["../home", "/home-{id}", "..", "", ".", "home", "a/../../home-{id}", 7, "a\0-{id}", "a-{id}"]
)
def test_a_ledger_of_a_stranger_names_no_folder_but_its_own(tmp_path: Path, name: object) -> None:
    """The last is a plain name, of a folder that this search did not make."""
    folder = open_folder(tmp_path / "cola", tmp_path / "shared")
    named = name.replace("{id}", folder.search_id[:8]) if isinstance(name, str) else name
    folder.remove_working_files()
    for victim in ("home", "shared/home", f"shared/a-{folder.search_id[:8]}"):
        (tmp_path / victim).mkdir(parents=True)
        (tmp_path / victim / "letter").write_text("mine")
    folder.notes.note("shared", named)
    if named:
        with pytest.raises(InputError, match=r"^--(resume|storage): .*start again with a new --output"):
            open_folder(tmp_path / "cola", tmp_path / "shared")
    else:  # as if nothing was noted
        open_folder(tmp_path / "cola", tmp_path / "shared").remove_working_files()
    assert len([*tmp_path.rglob("letter")]) == 3


def test_a_link_in_the_folder_in_the_storage_is_refused(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "cola", tmp_path / "shared")
    (tmp_path / "home").mkdir()
    (Path(folder.shared) / "work").symlink_to(tmp_path / "home")
    with pytest.raises(InputError, match=r"^--storage: .*/work is no plain file or folder"):
        open_folder(tmp_path / "cola", tmp_path / "shared")


def test_the_folder_in_the_storage_goes_at_the_end_and_comes_again(tmp_path: Path) -> None:
    for _ in range(2):
        folder = open_folder(tmp_path / "cola", tmp_path / "shared")
        assert Path(folder.shared).is_dir()
        folder.remove_working_files()
        assert [*(tmp_path / "shared").iterdir()] == []


def test_a_folder_of_the_name_of_a_log_stays(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "cola", None)
    log = folder.output / "error.log"
    log.mkdir()
    folder.write_error_log(ValueError("told on the terminal"))
    folder.remove_working_files()
    assert log.is_dir()


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"caf\xe9")
    said = r"caf\udce9.*: a name in this path is not UTF-8, which no database takes; rename it"
    with pytest.raises(InputError, match=said):
        Ledger(place / "study.db", "max")
    for writing in (False, True):
        with pytest.raises(InputError, match=said):
            check_output(place, resume=False, writing=writing)
    assert not place.exists()


def test_a_copy_is_a_search_of_its_own(tmp_path: Path) -> None:
    first = open_folder(tmp_path / "cola", tmp_path / "shared")
    shutil.copytree(first.output, tmp_path / "copy")
    assert find_original(open_folder(tmp_path / "cola", tmp_path / "shared").notes, first.output) is None
    copy = open_folder(tmp_path / "copy", tmp_path / "shared")
    assert copy.copied_from == first.output
    assert copy.search_id != first.search_id
    assert copy.shared != first.shared
    again = open_folder(tmp_path / "copy", tmp_path / "shared")
    assert (again.copied_from, again.search_id) == (None, copy.search_id)


def test_a_folder_that_was_moved_is_the_same_search(tmp_path: Path) -> None:
    first = open_folder(tmp_path / "cola", tmp_path / "shared")
    first.output.rename(tmp_path / "moved")
    open_folder(tmp_path / "cola", tmp_path / "shared")  # another search took its place
    moved = open_folder(tmp_path / "moved", tmp_path / "shared")
    assert (moved.copied_from, moved.search_id) == (None, first.search_id)
