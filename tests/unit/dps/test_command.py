"""Options of every command: none twice, none abbreviated, ~ is the home folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import local, submit
from dps import predict, probing
from dps.command import CommandParser, LastingStream, parse_path
from dps.errors import InputError
from tune import compare, report, search

ROOT = Path(__file__).parents[3]
COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[str], str]] = {
    "search": (search.main, ["--seed", "1", "--seed", "2"], "--seed"),
    "compare": (compare.main, ["--methods", "vanilla", "--methods=r-drop"], "--methods"),
    "report": (report.main, ["a", "--output", "x", "--output", "y"], "--output"),
    "predict": (predict.main, ["--model", "m", "--text", "a", "b", "--text", "c"], "--text"),
    "probing": (probing.main, ["--model", "m", "--task", "cola", "--json", "--json"], "--json"),
    "submit": (submit.main, ["--task", "cola", "--task", "rte"], "--task"),
    "submit matrix": (submit.main, ["--matrix", "task=a", "--matrix", "seed=1"], "--matrix"),
    "submit both": (submit.main, ["--task", "cola", "--matrix", "task=rte"], "--task"),
    "local": (local.main, ["--nodes", "1", "--nodes", "2"], "--nodes"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_given_twice_is_refused_by_every_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main, argv, option = COMMANDS[name]
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {option}: is given twice, {option}")
    assert said.err.endswith("; leave one out\n")
    assert (said.out, said.err.count("\n")) == ("", 1)


def _parse(*argv: str) -> Any:
    parser = CommandParser("python -m x", None)
    parser.add_argument("--text", nargs="+")
    parser.add_argument("--model", type=parse_path)
    parser.add_argument("rest", nargs="*")
    return parser.parse_args(argv)


def test_a_value_that_looks_like_an_option_is_none() -> None:
    assert _parse("--text", "--text is what", "--text was what").text == ["--text is what", "--text was what"]
    assert _parse("--text", "a", "--", "--text", "--text").rest == ["--text", "--text"]


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert _parse("--model", "~/best").model == "/home/me/best"
    with pytest.raises(InputError, match="--model: no home folder is known for ~nobody-here; give the whole"):
        _parse("--model", "~nobody-here/best")


def test_what_nobody_reads_is_dropped() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as pipe:
        for _ in range(3):
            print("unread", file=LastingStream(pipe), flush=True)


def test_a_full_disk_is_still_an_error() -> None:
    stream = LastingStream(open("/dev/full", "w", encoding="utf-8"))  # noqa: SIM115
    with pytest.raises(OSError, match="No space"):
        print("unwritten", file=stream, flush=True)


def test_a_command_ends_well_whose_output_nobody_reads() -> None:
    code = "import sys; from dps import predict; sys.exit(predict.main(['--help']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_abbreviation_is_refused() -> None:
    with pytest.raises(InputError, match="--mod"):
        _parse("--mod", "x")
