"""--help: on one screen, in groups, and every example in it is one that can be run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tune import compare, search
from tune.core.help_text import GROUPS, METAVARS, OTHERS, SHORT_TEXTS
from tune.core.options import CommonOptions, CompareOptions, SearchOptions
from tune.core.parsing import make_options_parser, parse_options, write_options
from tune.planning import planner
from tune.planning.cluster import Cluster, Node
from tune.records.ledger import Ledger

ROOT = Path(__file__).parents[4]
KINDS = pytest.mark.parametrize("kind", [SearchOptions, CompareOptions])


def show_help(kind: type[CommonOptions], monkeypatch: pytest.MonkeyPatch, is_brief: bool) -> list[str]:
    """The lines on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return make_options_parser(kind, is_brief).format_help().splitlines()


@KINDS
def test_the_help_fits_a_screen_with_the_examples_first(
    kind: type[CommonOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = show_help(kind, monkeypatch, is_brief=True)
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert lines.index("examples:") < lines.index("what to learn:") < lines.index("what comes out:")
    options = [line for line in lines if line.startswith("  --")]
    assert len(options) == len(SHORT_TEXTS.keys() & kind.model_fields.keys())
    assert all(
        re.match(r"  --\S+( \S+)?( \[\S+ \.\.\.\])?  +\S", line) for line in options
    )  # the text on the same line


@KINDS
def test_all_of_the_help_has_every_option_once_with_words_for_values(
    kind: type[CommonOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(show_help(kind, monkeypatch, is_brief=False))
    for name in kind.model_fields:
        assert len(re.findall(rf"^  --{name.replace('_', '-')}[ \n]", text, re.MULTILINE)) == 1, name
    assert re.search(r"None|: False|==SUPPRESS|--no-| (int|str|float|Path)\b", text) is None
    assert re.search(rf"^{OTHERS}:\n  --freeze ", text, re.MULTILINE)
    assert {"--trials NUM", "--output DIR", "--task NAME"} <= set(re.findall(r"--\w+ [A-Z]+", text))


@KINDS
@pytest.mark.parametrize(("flag", "is_whole"), [("--help", False), ("-h", False), ("--help-all", True)])
def test_help_all_shows_what_help_does_not(
    kind: type[CommonOptions], flag: str, is_whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse_options([flag], kind)
    assert left.value.code == 0
    assert ("--freeze" in capsys.readouterr().out) == is_whole


def test_the_groups_name_options_that_there_are_each_once() -> None:
    named = [name for names in GROUPS.values() for name in names]
    known = SearchOptions.model_fields.keys() | CompareOptions.model_fields.keys()
    assert len(named) == len(set(named))
    assert {*named, *SHORT_TEXTS, *METAVARS} <= known


def begin_search(folder: Path, options: CommonOptions) -> None:
    """A search, or a comparison, that can be resumed."""
    folder.mkdir(parents=True)
    plan = planner.make_plan(options, Cluster(None, (Node(2.0, 0.0, 8 * 2.0**30),)))
    for arm in plan.arms:
        ledger = Ledger(folder / "study.db", "max", arm)
        ledger.open(plan.get_identity(arm))
        ledger.note("precision", plan.settings.precision)
    write_options(options, folder / "config.yaml")


@KINDS
def test_every_example_of_the_help_is_planned(
    kind: type[CommonOptions],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main = search.main if kind is SearchOptions else compare.main
    shutil.copy(ROOT / "docs/tickets.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if kind is CompareOptions:
        search.main(["--init-task", "tickets.csv"])
    examples = [shlex.split(line, comments=True) for line in kind.examples.splitlines() if "  python" in line]
    assert len(examples) >= 4
    for _, program, *argv in examples:
        assert f"python {program}" == kind.command
        options = parse_options(argv, kind)
        if options.resume:
            begin_search(options.resume, parse_options(["--task", "rte"], kind))
        if "--results" not in argv:  # of comparisons that have ended: there is nothing to plan
            assert main([*argv, *([] if "--init-task" in argv else ["--dry-run"])]) == 0, argv
    assert capsys.readouterr().err == ""
