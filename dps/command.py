"""Parts that the commands of dps, tune and cluster share."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from dps.errors import InputError, suggest_name
from dps.paths import expand_home
from dps.text import sanitise_line

CONSOLE_SCRIPTS = {  # of an installed package, by the command of a checkout
    "python tune/search.py": "dps-search",
    "python tune/compare.py": "dps-compare",
    "python tune/report.py": "dps-report",
    "python cluster/submit.py": "dps-submit",
    "python -m dps.predict": "dps-predict",
}


def find_console_script(program: str) -> Path | None:
    """Return the file of a command's console script, where this process was started by one; else None."""
    started = Path(sys.argv[0])
    if program not in CONSOLE_SCRIPTS or started.stem not in CONSOLE_SCRIPTS.values():
        return None
    return started.absolute().with_name(CONSOLE_SCRIPTS[program] + started.suffix)


def name_commands(text: str) -> str:
    """Return a text with the commands in it as the user types them: console scripts where one was started."""
    for program, script in CONSOLE_SCRIPTS.items():
        if find_console_script(program) is not None:
            text = text.replace(program, script)
    return text


class CommandParser(ArgumentParser):
    """Parser that raises InputError, in one line, and takes neither abbreviated options nor one given twice.

    program: as a user types it, such as "python -m dps.predict". description, examples: stand above and below
    the options in --help, with their line breaks. advice: what to do instead, by an option that there is none
    of. adds_help: whether --help is added here.
    """

    def __init__(
        self,
        program: str,
        description: str | None,
        examples: str = "",
        advice: Mapping[str, str] = MappingProxyType({}),
        adds_help: bool = True,
    ) -> None:
        self.advice = advice
        super().__init__(
            usage="%(prog)s [OPTION ...]",
            add_help=adds_help,
            prog=name_commands(program),
            description=description and name_commands(description),
            epilog=name_commands(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        refuse_repeated_options(arguments)
        return super().parse_known_args(arguments, namespace)

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        advice = self._suggest_option(unknown[1]) if unknown else "see --help"
        raise InputError(f"{message.removeprefix('argument ')}; {advice}")

    def _suggest_option(self, name: str) -> str:
        return self.advice.get(name) or suggest_name(name, self._option_string_actions, "see --help")


def parse_path(text: str) -> str:
    """Return the value of an option that is a path, with ~ expanded."""
    try:
        return expand_home(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def refuse_repeated_options(argv: Sequence[str]) -> None:
    """Raise InputError for an option that is given twice, also as --name and --no-name: argparse would take
    the last one and say nothing."""
    given: dict[str, str] = {}
    ends_at = argv.index("--") if "--" in argv else len(argv)
    for place, word in enumerate(argv[:ends_at]):
        if not (match := re.fullmatch(r"--(?:no-)?([a-z][\w-]*)(=.*)?", word, re.DOTALL)):
            continue
        value = argv[place + 1 : place + 2] if match[2] is None else []
        shown = " ".join([word, *(text for text in value if not text.startswith("--"))])
        if match[1] in given:
            raise InputError(f"--{match[1]}: is given twice, {given[match[1]]} and {shown}; leave one out")
        given[match[1]] = shown


def drop_option(argv: Sequence[str], name: str) -> list[str]:
    """Return the arguments without an option that takes one value, and its value."""
    kept, skips = [], False
    for word in argv:
        if not skips and word != name and not word.startswith(f"{name}="):
            kept.append(word)
        skips = not skips and word == name
    return kept


class LastingStream:
    """Output stream that outlives its reader, as a pipe or a terminal has one: then text is dropped."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, do: Callable[[], object]) -> None:
        try:
            do()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def outlive_readers() -> Iterator[None]:
    """Go on inside this context when nobody reads what is printed any more, as after `| head`."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream and LastingStream(stream) for stream in streams)  # type: ignore[assignment]
    try:
        yield
    finally:
        print(end="", flush=True)
        sys.stdout, sys.stderr = streams


@outlive_readers()
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
