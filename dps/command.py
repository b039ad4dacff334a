"""What the commands of this package share: `python -m dps.predict`, `python -m dps.probing`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import NoReturn

from dps.errors import InputError
from dps.redact import one_line


class Parser(ArgumentParser):
    """A parser whose errors are InputErrors."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def command(do: Callable[[Namespace], None], parser: ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parse and do; returns the exit status, 0 or 2 (wrong options or input, said in one line)."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        do(parser.parse_args(argv))
    except InputError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    return 0
