"""What README and documentation say is so: commands, options, messages, snippets."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import shlex
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "cluster/README.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python|make) [^`]*)`")
PATH = re.compile(r"(?<![\w/.-])(?:benchmarks|cluster|configs|docs|dps|tests|tune)/[\w./*{},-]*[\w/*]")
REPORT = re.compile(r"_\d{4}-\d\d-\d\d$")  # a measurement names the files of its day
UNDATED = [page for page in (ROOT / "benchmarks").glob("*.md") if not REPORT.search(page.stem)]
OTHERS = (
    "cd",
    "cp",
    "docker",
    "export",
    "git",
    "mkdir",
    "mlflow",
    "optuna-dashboard",
    "pip",
    "ray",
    "source",
)  # not of this project

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
every_document = pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT / "docs")))


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in this language; "" for those that name none."""
    return [code for kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of this project, in blocks without a language and in the text."""
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    inline = INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
    for line in [*lines, *(command for command in inline if "..." not in command)]:
        words = shlex.split(re.sub(r"^(?:[A-Z_]+=\S+ )*", "", line), comments=True) if "'" not in line else []
        if words and words[0] in ("python", "make"):
            yield words


def parsed(words: list[str]) -> None:
    """The command through the project's own parser. Raises, or fails, where it would not be taken."""
    from cluster import local
    from dps import predict, probing
    from tune import report
    from tune.core import options, parsing

    parsers = {
        "tune/search.py": lambda argv: parsing.parse_options(argv, options.SearchOptions),
        "tune/compare.py": lambda argv: parsing.parse_options(argv, options.CompareOptions),
        "tune/report.py": report._make_parser().parse_args,
        "cluster/local.py": local._make_parser().parse_args,
        "cluster/submit.py": _submitted,
        "dps.predict": predict._make_parser().parse_args,
        "dps.probing": probing._make_parser().parse_args,
    }
    program, what, *rest = words
    if program == "make":
        assert re.search(rf"^{what}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return
    if what == "-m":
        what, *rest = rest
    if what == "tune.tracking":
        assert (rest[0], len(rest)) == ("sync", 2)
    elif what == "-c":
        compile(rest[0], "-c", "exec")
    elif what == "pytest":
        assert all((ROOT / path).exists() for path in rest)
    elif what.startswith(("benchmarks/", "benchmarks.")):
        assert (ROOT / what).exists() or (ROOT / f"{what.replace('.', '/')}.py").exists()
    else:
        with (
            mock.patch.object(parsing, "read_options", return_value={}),  # files of the reader's
            contextlib.suppress(SystemExit),  # of --help
            contextlib.redirect_stdout(io.StringIO()),
        ):
            parsers[what](rest)


def _submitted(argv: list[str]) -> None:
    from cluster import submit

    chosen, rest = submit._make_parser().parse_known_args(argv)
    if not (chosen.follow or chosen.stop):
        submit.plan_jobs(rest, chosen.matrix or [], "1126-101500")
    else:
        assert not rest


@every_page
def test_every_command_is_one_that_the_project_takes(page: Path) -> None:
    for words in commands(page):
        parsed(words)


def test_commands_are_found_and_wrong_ones_fail() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 60
    for wrong in ("python tune/search.py --trails 3", "python -m dps.predict", "make coffee"):
        with pytest.raises((ValueError, AssertionError)):
            parsed(wrong.split())


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md", *UNDATED], ids=lambda page: page.stem)
def test_every_path_that_is_named_exists(page: Path) -> None:
    for path in PATH.findall(page.read_text(encoding="utf-8")):
        head, names, tail = re.fullmatch(r"([^{]*)\{?([^}]*)\}?(.*)", path).groups()
        for name in names.split(","):
            assert any(ROOT.glob(f"{head}{name}{tail}")), path


@every_document
def test_every_option_that_is_named_is_one(page: Path) -> None:
    from cluster import local, submit
    from dps import predict, probing
    from tune.core.options import CompareOptions, SearchOptions

    fields = {
        name.replace("_", "-") for kind in (SearchOptions, CompareOptions) for name in kind.model_fields
    }
    known = {f"--{no}{name}" for name in fields for no in ("", "no-")} | {
        *("--help", "--help-all"),
        *("--backend-store-uri", "--workers"),  # of MLflow
        *("--head", "--working-dir", "--generate"),  # of Ray
        "--no-deps",  # of pip
    }
    for command in (local, submit, predict, probing):
        known |= set(command._make_parser()._option_string_actions)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8"))) <= known


@every_page
def test_every_snippet_compiles(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")


def run(page: str) -> dict[str, Any]:
    """Runs the snippets of a page; returns their names."""
    names: dict[str, Any] = {"__name__": "snippet"}
    for code in blocks(ROOT / "docs" / page, "python"):
        exec(compile(code, page, "exec", dont_inherit=True), names)
    return names


def test_what_other_tools_say_is_taken_here() -> None:
    from tune.core.options import SearchOptions
    from tune.core.parsing import make_options
    from tune.planning.space_options import build_search_space

    taken = []

    def take(**options: Any) -> mock.Mock:
        made = make_options(options, SearchOptions)
        space = build_search_space(("dps-dense",), made.freeze, 22_000_000, 160, named=made.space)
        taken.append(space.parameters.keys() & options["space"].keys() == options["space"].keys())
        return mock.Mock()

    page = ROOT / "docs/howto/coming-from.md"
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), {"tune": mock.Mock(run_search=take)})
    assert taken == [True] * 4
    assert len(blocks(page, "py")) == 3  # theirs


def test_the_method_is_as_the_page_says() -> None:
    run("method.md")


def test_the_example_of_a_method_keeps_the_contract() -> None:
    import torch

    from dps.methods import attachment_of

    names = run("extend/method.md")
    noise = names["GradientNoise"]
    attachment = attachment_of(names["optimizer"])
    assert attachment is not None
    assert attachment.steps == 1
    weight, bias = names["model"].parameters()
    assert not torch.equal(weight.grad, torch.tensor([4.0, 6.0, 8.0, 10.0]).expand(3, 4)), "it has noise"
    assert torch.equal(bias.grad, torch.full((3,), 2.0)), "of equal gradients the spread is 0"
    with pytest.raises(ValueError, match="strength must be at least 0 and finite, but got -1"):
        noise(strength=-1)


def test_the_example_of_a_source_keeps_the_contract(tmp_path: Path) -> None:
    from dps.errors import InputError
    from dps.tasks import registry
    from tests.tiny import examples

    task, file = registry.get_task("mrpc"), tmp_path / "pairs.db"
    with closing(sqlite3.connect(file)) as database:
        for split in task.splits:
            database.execute(f"CREATE TABLE {split} (sentence1, sentence2, label)")
            rows = [(r["sentence1"], r["sentence2"], r["label"]) for r in examples(task, 4)]
            database.executemany(f"INSERT INTO {split} VALUES (?, ?, ?)", rows)
        database.execute("UPDATE dev SET label = 7 WHERE rowid = 3")
        database.commit()
    kind = run("extend/source.md")["DatabaseSource"]
    source = kind(file)
    assert source.load(task, "train")["label"][:] == [0, 1, 0, 1]
    with pytest.raises(InputError, match=r"pairs.db, table dev:3: label 7 is not one of task mrpc"):
        source.load(task, "dev")
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE dev SET label = 0 WHERE rowid = 3")
        database.commit()
    assert source.fingerprint(task) == kind(file).fingerprint(task)
    with pytest.raises(InputError, match="no split 'test'"):
        source.load(task, "test")
    with pytest.raises(InputError, match="there is no database"):
        kind(tmp_path / "none.db")


def test_the_example_of_a_tracker_hears_a_whole_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handed in, beside one that fails, which neither ends the search nor is called again."""
    from tests.unit.tune.helpers import FakeTune, make_plan
    from tune.records.events import Watcher
    from tune.search_session import SearchSession

    class Broken(Watcher):
        calls = 0

        def trial_started(self, record: Any) -> None:
            self.calls += 1
            raise RuntimeError("away")

    tracker, broken = run("extend/tracker.md")["LinesTracker"](tmp_path / "events.jsonl"), Broken()
    (tmp_path / "out").mkdir()
    plan = make_plan(
        output=tmp_path / "out", tracking_uri="none", trials=2, race=0, confirm=1, baseline="none"
    )
    monkeypatch.setattr("tune.execution.run_trials", lambda arms, *others: FakeTune(arms).run())
    assert SearchSession(plan, [broken, tracker]).run() == 0
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert Counter(line["event"] for line in lines) == {"started": 3, "reported": 9, "ended": 3, "session": 1}
    assert lines[-1] == {"event": "session", "output": str(tmp_path / "out"), "interrupted": False}
    assert broken.calls == 1


@pytest.mark.parametrize("page", ["options", "methods", "api"])
def test_the_reference_is_made_from_the_code(page: str) -> None:
    assert sum(len(part.splitlines()) for part in runpy.run_path(str(ROOT / "docs/generate.py"))[page]()) > 60


def test_every_message_that_is_explained_is_one() -> None:
    packages = [path for name in ("dps", "tune", "cluster") for path in (ROOT / name).rglob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in packages)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a string over several lines
    source = re.sub(r"\{[^{}]*\}", "...", source)
    headings = re.findall(r"^### `(.+)`$", (ROOT / "docs/faq.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) > 30
    for heading in headings:
        for part in heading.split("..."):
            assert part.strip(" ()") in source, heading


def test_the_page_on_installing_names_every_dependency_and_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, packages = (ROOT / "docs/howto/install.md").read_text(encoding="utf-8").split("## What it needs")
    direct = [re.split(r"[\[<>=]", text)[0] for text in project["dependencies"]]
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", packages, re.MULTILINE)) == sorted(direct)
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", extras, re.MULTILINE)))
    assert {*project["optional-dependencies"]} <= {*named}


def test_the_pictures_name_no_folder_of_a_machine() -> None:
    pictures = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.svg")]
    assert pictures
    assert [found for text in pictures for found in re.findall(r"/(?:tmp|root|work|var)/[^<]*", text)] == []
