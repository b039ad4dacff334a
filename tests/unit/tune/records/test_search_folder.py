"""Where a search keeps what the next session must find again."""

from __future__ import annotations

from pathlib import Path

from tune.records.search_folder import SearchFolder


def open_folder(output: Path, shared: Path) -> SearchFolder:
    output.mkdir(exist_ok=True)
    return SearchFolder(output, "max", {"": {"task": "cola"}}, str(shared))


def test_the_place_in_the_storage_stays_when_the_output_folder_is_renamed(tmp_path: Path) -> None:
    first = open_folder(tmp_path / "cola", tmp_path / "shared").shared
    assert Path(first).parent == tmp_path / "shared"
    assert Path(first).name.startswith("cola-")
    (tmp_path / "cola").rename(tmp_path / "renamed")
    assert open_folder(tmp_path / "renamed", tmp_path / "shared").shared == first


def test_what_the_first_session_noted_stays(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, tmp_path)
    assert folder.note_once("warm_start", [1]) == [1]
    assert open_folder(tmp_path, tmp_path).note_once("warm_start", [2]) == [1]


def test_a_search_has_one_id_in_every_session(tmp_path: Path) -> None:
    assert open_folder(tmp_path, tmp_path).search_id == open_folder(tmp_path, tmp_path).search_id
