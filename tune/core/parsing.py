"""Parsing of options from a command line and from YAML, and writing them as YAML."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from dps.command import CommandParser
from dps.errors import InputError, suggest_name
from dps.paths import write_text_file
from dps.text import quote_value, redact_addresses
from dps.yaml_text import parse_yaml
from tune.core.help_text import ADVICE, BRIEF_END, add_options
from tune.core.options import CommonOptions, SearchOptions

OptionsT = TypeVar("OptionsT", bound=CommonOptions)
REMOVED_OPTIONS = {
    "--no-baseline": "there are several baselines; give --baseline none",
    "--worth": "is gone, since the race has a fixed number of runs; give --race",
}


def parse_options(argv: Sequence[str] | None, kind: type[OptionsT] = SearchOptions) -> OptionsT:  # type: ignore[assignment]
    """Parse the command line (None: of this process), which takes precedence over --config. Raises InputError
    with one line."""
    words = sys.argv[1:] if argv is None else argv
    for name, advice in REMOVED_OPTIONS.items():
        if any(word.partition("=")[0] == name for word in words):
            raise InputError(f"{name}: {advice}")
    given = vars(make_options_parser(kind, "--help-all" not in words).parse_args(words))
    options = _build_options(kind, given)
    if options.config is None:
        return options
    return _build_options(kind, given, read_options(options.config), options.config)


def make_options(given: Mapping[str, Any], kind: type[OptionsT]) -> OptionsT:
    """Return options from their values by name in Python. Raises InputError for a wrong one, by that name."""
    try:
        return _build_options(kind, given)
    except InputError as error:
        named = re.sub(r"(?<!\S)--([a-z][a-z-]*)", lambda name: name[1].replace("-", "_"), str(error))
        raise InputError(named) from None


def change_options(options: OptionsT, changes: Mapping[str, Any]) -> OptionsT:
    """Return the options with these values. Raises InputError for a wrong one."""
    return _build_options(type(options), {**options.get_explicit(), **changes})


def merge_saved_options(saved: Mapping[str, Any], file: Path, explicit: OptionsT) -> OptionsT:
    """Return the options that a search saved in `file`, overridden by those given now. Raises InputError
    for a wrong one."""
    given = {**explicit.get_explicit(), "output": file.parent}
    return _build_options(type(explicit), given, saved, file)


def read_options(path: Path) -> dict[str, Any]:
    """Read the options in a YAML file, loaded safely; keys as on the command line, with - or _.

    A name without a folder that is no file here is that of one in the project's configs/.
    """
    path = _find_config(path)
    try:
        return parse_option_text(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--config: cannot read {path}: {' '.join(str(error).split())}") from None


def _find_config(path: Path) -> Path:
    root = Path(__file__).resolve().parents[2]
    for folder in (root / "configs", root / "tune" / "configs"):  # of a checkout, of an installed package
        file = folder / path.with_suffix(".yaml")
        if len(path.parts) == 1 and not path.exists() and file.is_file():
            return file
    return path


def parse_option_text(text: str, path: Path) -> dict[str, Any]:
    """Parse the text of a file of options, see `read_options`."""
    try:
        document = parse_yaml(text) or {}
    except InputError as error:
        raise InputError(f"--config: cannot read {path}: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise InputError(f"--config: {path} must hold option: value lines")
    names = [str(key).replace("-", "_") for key in document]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--config: {path}: {twice[0]} is given twice, with - and with _; leave one out")
    if "config" in names:
        raise InputError(f"--config: {path}: config: one file of options cannot name another; leave it out")
    return dict(zip(names, document.values(), strict=True))


def format_options(options: CommonOptions) -> str:
    """Format the options that reproduce this search as YAML, without secrets and without options of a single
    run (--resume, --output, ...)."""
    one_run_only = {"config", "resume", "dry_run", "preflight", "output", "profile", "init_task"}
    skipped = one_run_only | {"quiet", "json", "results", "allow_dirty"}
    values = options.model_dump(mode="json", exclude=skipped, exclude_none=True)
    return yaml.safe_dump(redact_addresses(values), sort_keys=False)


def write_options(options: CommonOptions, path: Path) -> None:
    """Write the options that reproduce this search, see `format_options`. Raises OSError."""
    write_text_file(path, format_options(options))


def _build_options(
    kind: type[OptionsT],
    given: Mapping[str, Any],
    saved: Mapping[str, Any] = MappingProxyType({}),
    file: Path | None = None,
) -> OptionsT:
    """Build options of those given now and those saved in `file`, which is named where one of it is wrong."""
    try:
        return kind(**{**saved, **given})
    except ValidationError as error:
        only_saved = saved.keys() - given.keys()
        raise InputError(
            "; ".join(
                f"{file}: {_format_validation_error(item, kind)}"
                if only_saved.intersection(item["loc"][:1])
                else _format_validation_error(item, kind)
                for item in error.errors()
            )
        ) from None


def make_options_parser(kind: type[CommonOptions], is_brief: bool = False) -> CommandParser:
    """Return the parser of a command's options, by their fields; values stay text. is_brief: of its help."""
    description = f"{inspect.getdoc(kind)}\n{kind.examples.rstrip()}"
    parser = CommandParser(kind.command, description, BRIEF_END if is_brief else "", ADVICE, adds_help=False)
    add_options(parser, kind.model_fields, is_brief)
    return parser


def _format_validation_error(error: Any, kind: type[CommonOptions]) -> str:
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    message = message.replace("should", "must", 1)  # pydantic's word for a rule
    if not error["loc"]:  # concerns several options; the message names them
        return str(message)
    name = "--" + ".".join(str(part) for part in error["loc"]).replace("_", "-")
    if error["type"] == "extra_forbidden":
        advice = suggest_name(str(error["loc"][0]), kind.model_fields, "see --help")
        return f"{name}: unknown option; {advice}"
    if error["type"] in ("too_short", "string_too_short"):
        return f"{name}: must not be empty; give a value, or leave the option out"
    remedy = ""
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        remedy = "put it in quotes"
    elif error["type"] == "literal_error":
        remedy = suggest_name(str(error["input"]), re.findall(r"'([^']+)'", error["ctx"]["expected"]), "")
    return f"{name}: {message}, but got {quote_value(error['input'])}{remedy and f'; {remedy}'}"
