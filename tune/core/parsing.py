"""Parsing of options from a command line and from YAML, and writing them as YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_settings import CliApp, CliSettingsSource, SettingsError

from dps.errors import InputError
from dps.paths import write_text_file
from dps.text import redact_addresses
from tune.core.options import CommonOptions, SearchOptions

OptionsT = TypeVar("OptionsT", bound=CommonOptions)


def parse_options(argv: Sequence[str], kind: type[OptionsT] = SearchOptions) -> OptionsT:  # type: ignore[assignment]
    """Parse the command line, which takes precedence over --config. Raises InputError with one line."""
    options = _build_options(kind, argv, {})
    return options if options.config is None else _build_options(kind, argv, read_options(options.config))


def merge_saved_options(folder: Path, explicit: OptionsT) -> OptionsT:
    """Return the saved options of a search, overridden by those given now. Raises InputError."""
    values = {**read_options(folder / "config.yaml"), **explicit.get_explicit(), "output": folder}
    return _build_options(type(explicit), [], values)


def read_options(path: Path) -> dict[str, Any]:
    """Read the options in a YAML file, loaded safely; keys as on the command line, with - or _."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--config: cannot read {path}: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise InputError(f"--config: {path} must hold option: value lines")
    return {str(key).replace("-", "_"): value for key, value in document.items()}


def write_options(options: CommonOptions, path: Path) -> None:
    """Write the options that reproduce this search, without secrets and without options of a single run
    (--resume, --output, ...)."""
    one_run_only = {"config", "resume", "dry_run", "preflight", "output", "profile", "init_task"}
    skipped = one_run_only | {"quiet", "json", "results", "allow_dirty"}
    values = options.model_dump(mode="json", exclude=skipped, exclude_none=True)
    write_text_file(path, yaml.safe_dump(redact_addresses(values), sort_keys=False))


def _build_options(kind: type[OptionsT], argv: Sequence[str], values: dict[str, Any]) -> OptionsT:
    source: CliSettingsSource[Any] = CliSettingsSource(
        kind, cli_prog_name=kind.command, cli_exit_on_error=False, formatter_class=_get_help_formatter()
    )
    source.root_parser.epilog = kind.examples
    try:
        return CliApp.run(kind, cli_args=list(argv), cli_settings_source=source, **values)
    except ValidationError as error:
        raise InputError("; ".join(_format_validation_error(item) for item in error.errors())) from None
    except SettingsError as error:
        if match := re.fullmatch(r"Parsing error encountered for (\w+): .*", str(error), re.DOTALL):
            name = match[1].replace("_", "-")
            raise InputError(f"--{name}: must be a JSON object or name=value; see --help") from None
        raise InputError(f"{str(error).removeprefix('error parsing CLI: ')}; see --help") from None


def _get_help_formatter() -> Any:
    import argparse

    return argparse.RawDescriptionHelpFormatter


def _format_validation_error(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    if not error["loc"]:  # concerns several options; the message names them
        return str(message)
    name = "--" + ".".join(str(part) for part in error["loc"]).replace("_", "-")
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown option; see --help"
    return f"{name}: {message}, but got {error['input']!r}"
