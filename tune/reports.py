"""Make report.html again from the search.json of output folders: of one, or of several side by side."""

from __future__ import annotations

import json
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dps.command import Parser
from dps.errors import InputError
from dps.redact import one_line, readable

FILE = "searches.html"
DESCRIPTION = """\
The report of a search, made again from its search.json; of several folders, one page that compares them.

examples:
    python tune/report.py runs/cola-20261126-090000
    python tune/report.py runs/cola-20261126-090000 --output cola.html
    python tune/report.py runs/cola-* runs/rte-20261126-120000 --output both.html

The page is one file that opens offline: DIR/report.html of one folder, searches.html of several."""


def main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit status: 0, or 2 for wrong options or input, said in one line."""
    try:
        print(f"report: {readable(str(_made(_parser().parse_args(argv))))}")
    except InputError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> Parser:
    parser = Parser(
        "python tune/report.py", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="the output folder of a search")
    parser.add_argument("--output", metavar="FILE", type=Path, help="where the page goes")
    return parser


def _made(options: Namespace) -> Path:
    """The page, written. Raises InputError."""
    from tune import page, report

    found = [(folder, read(folder)) for folder in options.folders]
    try:
        if len(found) == 1:
            ((folder, only),) = found
            file = options.output or folder / "report.html"
            text = page.search(only, report.sure_lines(only))
        else:
            file = options.output or Path(FILE)
            text = page.searches([*zip(_labels(options.folders), (one for _, one in found), strict=True)])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"search.json of {', '.join(map(str, options.folders))} is not as a search writes it "
            f"({type(error).__name__}: {error}); resume the search to write it"
        ) from error
    try:
        part = file.with_name(f".{file.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise InputError(f"--output: {file} cannot be written ({error}); name another file") from None
    return Path(file)


def read(folder: Path) -> dict[str, Any]:
    """What the search.json of an output folder holds. Raises InputError where there is none that this program
    reads."""
    from tune.ledger import SCHEMA_VERSION

    file = folder / "search.json"
    if not file.is_file():
        if (folder / "compare.json").is_file():
            raise InputError(
                f"DIR: {folder} holds a comparison; read its compare.md, or name a search's folder"
            )
        raise InputError(f"DIR: {folder} holds no search.json; name the output folder of a search that ended")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"DIR: {file} cannot be read ({error}); resume the search to make it again"
        ) from None
    version = found.get("schema_version") if isinstance(found, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"DIR: {file} has version {version!r}, and this program reads {SCHEMA_VERSION}; use the version "
            "that made it"
        )
    return dict(found)


def _labels(folders: Sequence[Path]) -> list[str]:
    """The names of the folders; whole paths where names are the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len({*names}) == len(names) else [*map(str, folders)]
