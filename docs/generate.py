"""The pages of the reference, made from the code at each build of the site: a hook of mkdocs."""

from __future__ import annotations

import html
import inspect
import re
import sys
from argparse import SUPPRESS
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
API = {
    "dps": (),  # what its __all__ names
    "dps.training.result": ("RunResult", "Outcome", "Evaluation"),
    "dps.training.config": ("Checkpointing",),
    "dps.methods": ("make_method", "attachment_of"),
    "dps.attachment": ("Attachment", "MethodCost"),
    "dps.ranges": ("Range", "Choice"),
    "dps.tasks.task": ("Task",),
    "dps.sources.base": ("Source",),
    "tune": (),
    "tune.own_data": ("write_own_task",),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    sys.path.insert(0, str(ROOT))  # this code, not one that is installed
    for name, lines in (("options", options()), ("methods", methods()), ("api", api())):
        text = "\n".join(lines) + "\n"
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    skill = (ROOT / "SKILL.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    files.append(File.generated(config, "howto/agents.md", content=skill))
    return files


def options() -> Iterator[str]:
    """Every option of the two commands, as their command lines have it; the tasks; the metrics."""
    from tune.core.options import CompareOptions, SearchOptions

    yield "# Options\n"
    yield "A YAML file (`--config`) takes the same options, without the leading dashes; the command line"
    yield "takes precedence. `--help-all` prints what this page says.\n"
    yield from _command(SearchOptions, set(SearchOptions.model_fields))
    yield from _command(CompareOptions, set(vars(CompareOptions)["__annotations__"]))
    yield "The other options are those of a search.\n"
    yield from _tasks()


def _command(kind: Any, names: set[str]) -> Iterator[str]:
    """A command's options of these names, in the groups of its help."""
    from tune.core.parsing import make_options_parser

    yield f"## {kind.command.removeprefix('python ')}\n\n{inspect.getdoc(kind)}\n"
    for group in make_options_parser(kind)._action_groups:
        if rows := [
            _row(action)
            for action in group._group_actions
            if action.dest in names and action.help != SUPPRESS
        ]:
            yield f"### {group.title.capitalize()}\n"
            yield from _table("option | default | meaning", rows)


def _row(action: Any) -> tuple[str, ...]:
    text = action.help.replace("%%", "%")
    found = re.fullmatch(r"(.*?) \(default: ([^()]*)\)", text)
    text, default = found.groups() if found else (text, "")
    value = f" {action.metavar}" if action.metavar else ""
    return f"`{action.option_strings[0]}{value}`", html.escape(default), html.escape(text)


def _tasks() -> Iterator[str]:
    from dps.tasks import registry
    from dps.tasks.metrics import list_fitting_metrics

    yield "## Tasks\n"
    rows = []
    for task in registry.TASKS.values():
        labels = ", ".join(task.labels) or "numbers from {:g} to {:g}".format(*(task.score_range or ()))
        rows.append((f"`{task.name}`", ", ".join(task.columns), labels, ", ".join(task.metrics)))
    yield from _table("task | columns | labels, in the order of their ids | metrics, the first ranks", rows)
    yield "Metrics of a [task of your own](../howto/own-data.md), besides scorers of scikit-learn:\n"
    kinds = {
        "two classes": list_fitting_metrics(2),
        "more classes": list_fitting_metrics(3),
        "several labels": list_fitting_metrics(3, True),
    }
    for what, names in {**kinds, "numbers": list_fitting_metrics(0)}.items():
        yield f"- {what}: {', '.join(f'`{name}`' for name in names)}"


def methods() -> Iterator[str]:
    """What each file in dps/methods says at its top, and the values that are searched."""
    from dps.methods import METHODS

    yield "# Methods\n"
    yield "`--method` and `--methods` take these names; `dps.methods.make_method(name, ...)` makes one. The"
    yield "search spaces are those of a run of 1,000 steps of a model with 12 blocks.\n"
    seen: dict[str, list[str]] = {}
    for name, method in METHODS.items():
        seen.setdefault(method.__module__, []).append(name)
    for module, names in seen.items():
        yield f"## {', '.join(names)}\n"
        yield f"```text\n{inspect.getdoc(import_module(module))}\n```\n"
        for name in names:
            space = [f"{key} {values}" for key, values in METHODS[name].search_space(1000, 12).items()]
            yield f"- `{name}`, besides the learning rate: {'; '.join(space) or 'nothing'}"
        yield ""


def api() -> Iterator[str]:
    """Signature and docstring of what a user calls or implements."""
    yield "# API\n"
    yield "`import dps` is fast: torch and transformers are imported when they are needed.\n"
    for module_name, listed in API.items():
        module = import_module(module_name)
        yield f"## {module_name}\n"
        for name in listed or module.__all__:
            yield from _documented(name, getattr(module, name))


def _documented(name: str, thing: Any) -> Iterator[str]:
    yield f"### {name}\n"
    yield f"```python\n{_signature(name, thing)}\n```\n"
    yield from (_prose(kind) for kind in _kinds(thing))
    for attribute, member in _members(thing):
        doc = inspect.getdoc(member)
        if doc and isinstance(member, property | cached_property):
            yield f"`{name.lower()}.{attribute}`\n\n{_prose(member)}"
        elif doc and inspect.isroutine(member):
            function = getattr(member, "__func__", member)
            yield f"```python\n{_signature(f'{name}.{attribute}', function)}\n```\n\n{_prose(function)}"


def _kinds(thing: Any) -> list[Any]:
    """The thing itself; of a class also the private ones that it is made from."""
    mro = inspect.getmro(thing) if inspect.isclass(thing) else (thing,)
    return [kind for kind in mro if kind is thing or kind.__name__.startswith("_")]


def _members(thing: Any) -> Iterator[tuple[str, Any]]:
    """What a class itself defines, in the order of the file."""
    for kind in _kinds(thing) if inspect.isclass(thing) else ():
        yield from ((name, value) for name, value in vars(kind).items() if not name.startswith("_"))


class _Bare(str):
    """An annotation that is shown without quotes."""

    __repr__ = str.__str__


def _signature(name: str, thing: Any) -> str:
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return name
    parameters = [p.replace(annotation=_bare(p.annotation)) for p in signature.parameters.values()]
    signature = signature.replace(parameters=parameters, return_annotation=_bare(signature.return_annotation))
    written = f"{name}{signature}"
    if len(written) <= 88:
        return written
    returns = written.rpartition(")")[2]
    return "".join([f"{name}(\n", *(f"    {parameter},\n" for parameter in parameters), f"){returns}"])


def _bare(annotation: Any) -> Any:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


def _prose(thing: Any) -> str:
    """The docstring with its lines as they are, and its `names` as code."""
    text = html.escape(inspect.getdoc(thing) or "", quote=False)
    text = re.sub("`([^`]+)`", r"<code>\1</code>", text)
    return f'<div class="docstring">{text}</div>\n'


def _table(header: str, rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    columns = header.count("|") + 1
    yield f"| {header} |\n|{'---|' * columns}"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
