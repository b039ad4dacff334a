"""Files written in one piece, and never through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dps.paths import find_link, write_text_file


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    for name in ("page.html", ".page.html.part", "page.part"):
        (tmp_path / name).symlink_to("victim")
    write_text_file(tmp_path / "page.html", "é")
    assert (tmp_path / "victim").read_text() == "mine"
    assert (tmp_path / "page.html").read_bytes() == "é".encode()
    assert not (tmp_path / "page.html").is_symlink()


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_text_file(tmp_path / "page.html", "\ud800")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "before"


def test_it_can_be_read_by_those_who_may_read_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text_file(tmp_path / "page.html", "")
    finally:
        os.umask(before)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o640


def test_a_folder_without_links_pipes_and_devices_keeps_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "file").touch()
    assert find_link(tmp_path) is None
    for make in (
        lambda entry: entry.symlink_to("/nowhere"),
        lambda entry: entry.symlink_to("/tmp"),
        lambda entry: entry.symlink_to(tmp_path / "deep/file"),
        os.mkfifo,
    ):
        entry = tmp_path / "deep" / "er" / "entry"
        make(entry)
        assert find_link(tmp_path) == entry
        entry.unlink()
