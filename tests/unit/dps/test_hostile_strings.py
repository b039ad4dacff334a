"""Names that look like options, paths, markup or commands are names."""

from __future__ import annotations

import json
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unit.tune.helpers import PROVENANCE, make_plan
from tune.core import command
from tune.planning import locations
from tune.records.ledger import Ledger
from tune.records.stores import find_sqlite_file, format_view_command, make_sqlite_url
from tune.reporting import document
from tune.reporting import page as reporting_page
from tune.search_session import SearchSession
from tune.strategy.budget import SpentResources

HOSTILE = [
    "--x", "-rf", "..", "$(touch proof)", "`touch proof`", "; touch proof", "a'; DROP TABLE studies;--",
    'a"b', "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{ 7*7 }}", "a?b=c", "a#b", "a%20b",
    "a&b", "a\nb", "a\tb", "\x1b[31mred", "\u202egnp.exe", "größe 数 \U0001f600", "x" * 200,
]  # fmt: skip
IN_PATHS = ("--x", "..", "a'; DROP TABLE studies;--", "a?b=c", "a#b", "a%20b", "a\nb", "größe 数 \U0001f600")
names = pytest.mark.parametrize("name", HOSTILE, ids=ascii)


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}
        self.scripts += tag == "script"


def test_in_the_report(tmp_path: Path) -> None:
    name = " ".join(HOSTILE)
    plan = make_plan(data_name=name, experiment=name)
    found = document.build_search_document(
        plan, {"": Ledger(None, "max")}, {"": None}, SpentResources(0, 1.0, 0.0), PROVENANCE
    )
    reporting_page.write_search_results(found, tmp_path)
    page, tags = (tmp_path / "report.html").read_text(), Tags()
    tags.feed(page)
    assert tags.scripts == 0
    assert {"img", "onerror"} & tags.seen == set()
    assert not {"\x1b", "\u202e"} & set(page)
    assert "{{ 7*7 }}" in page
    assert json.loads((tmp_path / "search.json").read_text())["data"]["name"] == name


@pytest.mark.parametrize("name", IN_PATHS, ids=ascii)
def test_as_a_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name if name != ".." else tmp_path / "a" / ".." / "b"
    folder.mkdir(parents=True)
    with locations.hold_folder_lock(folder):
        Ledger(folder / "study.db", "max").note("seconds", 1.5)
    assert Ledger(folder / "study.db", "max").noted("seconds") == 1.5
    assert {file.name for file in folder.iterdir()} == {"study.db"}
    assert find_sqlite_file(make_sqlite_url(folder / "mlflow.db")) == folder / "mlflow.db"


@names
def test_on_the_command_line_and_the_terminal(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = SearchSession.__new__(SearchSession)
    search.options, search.resume_folder = make_plan().options, tmp_path / name
    assert shlex.split(search.resume_command)[-2:] == ["--resume", str(tmp_path / name)]
    assert shlex.split(format_view_command(f"sqlite:////x/{name}"))[-1] == f"sqlite:////x/{name}"
    assert command.print_error(f"--output: {name} is no good", 2) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.strip().isprintable()
