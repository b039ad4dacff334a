"""What the commands of this folder share: a parser that refuses in one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from dps.errors import InputError


class Parser(argparse.ArgumentParser):
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
