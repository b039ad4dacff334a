"""Parts that the commands of dps, tune and cluster share."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import NoReturn

from dps.errors import InputError
from dps.text import sanitise_line


class CommandParser(ArgumentParser):
    """Parser that raises InputError, in one line, and takes no abbreviated options.

    program: as a user types it, such as "python -m dps.predict". description, examples: stand above and below
    the options in --help, with their line breaks.
    """

    def __init__(self, program: str, description: str | None, examples: str = "") -> None:
        super().__init__(
            prog=program,
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message.removeprefix('argument ')}; see --help")


def run_command(do: Callable[[Namespace], None], parser: CommandParser, argv: Sequence[str] | None) -> int:
    """Run `do` with the parsed options; return the exit status: 0, or 2 for wrong options or input.

    An InputError is printed in one line.
    """
    try:
        options = parser.parse_args(argv)
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        do(options)
    except InputError as error:
        print(f"error: {sanitise_line(error)}", file=sys.stderr)
        return 2
    return 0
