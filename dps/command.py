"""What the commands of this package share: `python -m dps.predict`, `python -m dps.probing`."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import NoReturn

from dps.errors import InputError
from dps.text import sanitise_line


class CommandParser(ArgumentParser):
    """A parser whose errors are InputErrors."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def run_command(do: Callable[[Namespace], None], parser: ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parse and do; returns the exit status, 0 or 2 (wrong options or input, said in one line)."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        do(parser.parse_args(argv))
    except InputError as error:
        print(f"error: {sanitise_line(error)}", file=sys.stderr)
        return 2
    return 0


class ClusterParser(argparse.ArgumentParser):
    """Options are never abbreviated; a wrong one is an InputError of one line."""

    def __init__(self, program: str, description: str, examples: str) -> None:
        super().__init__(
            prog=program,
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message.removeprefix('argument ')}; see --help")
