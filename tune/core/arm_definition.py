"""Definitions of arms: what is compared with what, as the options name it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dps.paths import expand_home
from dps.yaml_text import parse_yaml

ARM_OPTIONS = (  # what an arm may name of the options; anything else is a hyper-parameter of its space
    *("data", "model", "epochs", "max_steps", "batch_size", "max_length", "train_size", "shots", "precision"),
    *("loss", "threshold", "patience"),
)
TRAIN_FILE = "files.train"
RANGE_MARK = ".."
_PATH_KEYS = ("data", "model", TRAIN_FILE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")
_NAMED_TEXT = re.compile(r"\s*(?P<name>[^\s:=]+)\s*:\s*(?P<text>[\w.-]+\s*=.*)", re.DOTALL)


@dataclass(frozen=True)
class ArmDefinition:
    """What an arm trains where it differs from the options.

    methods: of its search space. named: values by option, hyper-parameter or `TRAIN_FILE`.
    """

    methods: tuple[str, ...]
    named: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The values that take the place of options."""
        return {key: value for key, value in self.named.items() if key in ARM_OPTIONS and not _varies(value)}

    @property
    def space(self) -> dict[str, Any]:
        """The values that take the place of domains of the search space."""
        others = {"method", TRAIN_FILE, *self.options}
        return {key: value for key, value in self.named.items() if key not in others}

    @property
    def train_file(self) -> str | None:
        """The file of training examples in place of the task's."""
        return self.named.get(TRAIN_FILE)


def _varies(value: Any) -> bool:
    return isinstance(value, list | dict) or (isinstance(value, str) and RANGE_MARK in value[1:])


def parse_assignments(text: str) -> dict[str, Any]:
    """Parse {name: value, ...}, or name=1,2 and name=1..2 with commas between. Raises ValueError."""
    if re.match(r"\s*[\w.-]+\s*=", text):
        pairs = [pair.partition("=") for pair in re.split(r",(?=\s*[\w.-]+\s*=)", text)]
        lists = [(name.strip(), _read_list(value)) for name, _, value in pairs]
        text = "{" + ", ".join(f"{name}: {value}" for name, value in lists) + "}"
    values = parse_yaml(text)
    if not isinstance(values, dict):
        raise ValueError("must be {name: value, ...} or name=value")
    return values


def _read_list(value: str) -> str:
    """Return YAML of a value: a path that is there, a list with commas between, or as it stands."""
    if "," in value and os.path.exists(os.path.expanduser(value.strip())):
        return json.dumps(value.strip(), ensure_ascii=False)
    return f"[{value}]" if re.match(r"[^\[{]*,", value) else value


def parse_arms(value: Any) -> dict[str, dict[str, Any]]:
    """Return what each arm names, by the arm's name: given, or made of what it names.

    value: {name: {key: value}}; or a list of texts "key=value,key=value", "name: key=value" or of
    dictionaries, also nested in lists as a command line collects them. Raises ValueError for anything else.
    """
    parts = _flatten(value or [])
    if len(parts) == 1 and isinstance(parts[0], str) and parts[0].lstrip().startswith("{"):
        parts = [parse_yaml(parts[0])]
    tables = [part for part in parts if isinstance(part, dict) and part and _holds_arms(part)]
    if tables and len(parts) > 1:
        raise ValueError("must be one table of arms by name, or a list of arms")
    named = [*tables[0].items()] if tables else [_split_name(part) for part in parts]
    arms: dict[str, dict[str, Any]] = {}
    for number, (given, content) in enumerate(named, 1):
        values = _parse_arm(content)
        name = str(given) if given is not None else make_arm_name(values)
        if not _NAME.fullmatch(name):
            raise ValueError(f"arm {number} needs a name of letters, digits and . _ + - (NAME: key=value)")
        if name in arms:
            raise ValueError(f"two arms are named {name}; name them (NAME: key=value)")
        arms[name] = values
    return arms


def _flatten(value: Any) -> list[Any]:
    return [part for each in value for part in _flatten(each)] if isinstance(value, list) else [value]


def _holds_arms(table: dict[str, Any]) -> bool:
    """Return whether a dictionary holds arms by name; else it is one arm."""
    arms = [value is None or isinstance(value, dict) or "=" in str(value) for value in table.values()]
    return all(arms) and "files" not in table


def _split_name(part: Any) -> tuple[str | None, Any]:
    found = _NAMED_TEXT.fullmatch(part) if isinstance(part, str) else None
    return (found["name"], found["text"]) if found else (None, part)


def _parse_arm(content: Any) -> dict[str, Any]:
    """Return what an arm names, files by "files.SPLIT", paths absolute."""
    values = parse_assignments(content) if isinstance(content, str) else content or {}
    if not isinstance(values, dict):
        raise ValueError("an arm must be key=value,key=value")
    files = values.get("files")
    flat = {key: value for key, value in values.items() if key != "files"}
    if files is not None:
        flat |= {f"files.{split}": path for split, path in dict(files).items()}
    named = {str(key).replace("-", "_"): value for key, value in flat.items()}
    if not isinstance(named.get(TRAIN_FILE, ""), str):
        raise ValueError(f"{TRAIN_FILE} must be one file, but got {named[TRAIN_FILE]!r}; make more arms")
    return {key: _place(value) if key in _PATH_KEYS else value for key, value in named.items()}


def _place(value: Any) -> Any:
    """Return a path that is there as an absolute one, so that it stays the same from another folder."""
    if not isinstance(value, str) or value in ("auto", "builtin", "hub", "task"):
        return value
    path = Path(expand_home(value))
    return str(path.absolute()) if path.exists() else value


def make_arm_name(named: Mapping[str, Any]) -> str:
    """Return a short name made of what an arm names."""
    parts = []
    for key, value in named.items():
        if key in ("method", *_PATH_KEYS):
            path = Path(str(value))
            parts.append(path.stem if key == TRAIN_FILE else path.name)
        else:
            parts.append(f"{'lr' if key == 'learning_rate' else key}-{value}")
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", "+".join(parts)).strip("-")[:60]
