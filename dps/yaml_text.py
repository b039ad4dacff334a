"""YAML that a user writes: read as plain data, with nothing to run, to multiply or to lose.

A number is in plain decimal digits. Text stays as it stands where YAML 1.1 makes something else of it: 010
(8), 1:30 (90), 1_000 and 2026-11-29.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from dps.errors import InputError

_NUMBERS = (  # (tag, pattern, first letters)
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
)


def parse_yaml(text: str) -> Any:
    """Parse one YAML document. Raises InputError, with the line, for anything but plain data.

    Aliases are refused, since a few hundred bytes of them stand for gigabytes, and so are keys that stand
    twice, of which the last would count.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise InputError("it is nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(" ".join(str(error).split())) from None


class _Loader(yaml.SafeLoader):
    """Loader of plain data. Its methods are PyYAML's."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            _refuse(f"*{event.anchor} is an alias", "write out what it stands for", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    _refuse(f"the key {key.value!r} stands twice", "leave one out", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refuse(problem: str, remedy: str, place: Any) -> None:
    raise InputError(f"line {place.line + 1}: {problem}; {remedy}")


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":bool", ":null"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in _NUMBERS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))
