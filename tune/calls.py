"""Searches and comparisons from Python: a notebook, a script, another program.

    result = tune.run_search(task="cola", trials=12)
    result = tune.run_search(train=frame, text="message", label="queue", trials=12)
    result = tune.run_search(task=["cola", "rte", "mine.yaml"])    # one table, with the average

Every option of the command has its name here, with _ in place of -; `python tune/search.py --help` says what
each does. They print what the commands print (quiet=True: the result alone), and raise what the commands say
in one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, TypeAlias, overload

from dps.errors import InputError
from tune.compare import start_comparison
from tune.core.command import EXIT_INTERRUPTED, UnfinishedError, suspend_collection
from tune.core.options import CommonOptions, CompareOptions, SearchOptions
from tune.core.parsing import make_options
from tune.execution.connection import check_disconnected, disconnect_from_cluster
from tune.own_data import Examples, write_own_task
from tune.records.events import Watcher
from tune.records.saved_options import is_suite_folder
from tune.result import ComparisonResult, SearchResult, SuiteResult
from tune.search import start_search

Tasks: TypeAlias = "str | Path | Sequence[str | Path] | None"
FOR_COMMANDS = ("config", "dry_run", "preflight", "init_task", "results", "allow_dirty", "json")


class _Listener(Watcher):
    """Notes the output folder."""

    output: Path | None = None

    def session_ended(self, output: Path, interrupted: bool) -> None:
        self.output = output


@overload
def run_search(task: Sequence[str | Path], **options: Any) -> SuiteResult: ...
@overload
def run_search(task: str | Path | None = None, **options: Any) -> SearchResult: ...
def run_search(
    task: Tasks = None,
    *,
    train: Examples | None = None,
    dev: Examples | None = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    group: str | None = None,
    name: str = "data",
    watchers: Sequence[Watcher] = (),
    **options: Any,
) -> SearchResult | SuiteResult:
    """Search for the configuration that is truly better for a task, and prove it; return what was found.

    task: a name, or the YAML file of an own task; a list of them has a `SuiteResult`.
    train, dev, text, label, group, name: data in place of a task, see `tune.own_data.write_own_task`.
    watchers: hear of every event.
    options: those of `python tune/search.py`, such as trials=12, method="dps-dense,vanilla",
    space={"epochs": [3, 6]}, output="runs/first", resume="runs/first".

    Raises InputError for wrong options or data, RefusedError for what the machine or a service lacks,
    UnfinishedError where no result came about, KeyboardInterrupt with how to go on.
    """
    data = {"train": train, "dev": dev, "text": text, "label": label, "group": group, "name": name}
    given = _choose_task(task, options, **data)
    folder = _run(make_options(given, SearchOptions), start_search, watchers)
    return SuiteResult(folder) if is_suite_folder(folder) else SearchResult(folder)


@overload
def run_comparison(task: Sequence[str | Path], **options: Any) -> SuiteResult: ...
@overload
def run_comparison(task: str | Path | None = None, **options: Any) -> ComparisonResult: ...
def run_comparison(
    task: Tasks = None,
    *,
    train: Examples | None = None,
    dev: Examples | None = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    group: str | None = None,
    name: str = "data",
    watchers: Sequence[Watcher] = (),
    **options: Any,
) -> ComparisonResult | SuiteResult:
    """Compare methods, or arms of any kind, at an equal budget; return what was found.

    options: those of `python tune/compare.py`, such as methods="vanilla,dps-dense", or
    arms={"base": {"model": "roberta-base"}, "large": {"model": "roberta-large"}}. The rest, and what is
    raised: see `run_search`.
    """
    data = {"train": train, "dev": dev, "text": text, "label": label, "group": group, "name": name}
    given = _choose_task(task, options, **data)
    folder = _run(make_options(given, CompareOptions), start_comparison, watchers)
    return SuiteResult(folder) if is_suite_folder(folder) else ComparisonResult(folder)


def _list_options(call: Any, kind: type[CommonOptions]) -> None:
    """Let the signature of a call name every option, for `help` and for whatever completes names."""
    own = [each for each in signature(call).parameters.values() if each.kind != Parameter.VAR_KEYWORD]
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=field.default)
        for name, field in kind.model_fields.items()
        if name not in (*FOR_COMMANDS, "task")
    ]
    call.__signature__ = Signature([*own, *options])


_list_options(run_search, SearchOptions)
_list_options(run_comparison, CompareOptions)


def _choose_task(task: Tasks, options: Mapping[str, Any], **data: Any) -> dict[str, Any]:
    """Return the options with the task that is named, or that is made of data."""
    if wrong := [option for option in options if option in FOR_COMMANDS]:
        raise InputError(f"{wrong[0]}: is for the command line; use python tune/search.py")
    given = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    if data["train"] is not None:
        if task is not None:
            raise InputError("task, train: give one of them")
        return {**given, "task": str(write_own_task(**data))}
    if unused := [key for key in ("dev", "text", "label", "group") if data[key] is not None]:
        raise InputError(f"{unused[0]}: goes with train=; an own task has its columns in its YAML file")
    if task is None:
        return given
    named = [task] if isinstance(task, str | Path) else task
    return {**given, "task": ",".join(map(str, named))}


def _run(options: CommonOptions, start: Any, watchers: Sequence[Watcher]) -> Path:
    """Run a session to its end; return its output folder."""
    check_disconnected()
    listener = _Listener()
    try:
        with suspend_collection():
            status = start(options, [*watchers, listener])
    except UnfinishedError as error:
        if error.status == EXIT_INTERRUPTED and isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt(str(error)) from None
        raise
    finally:
        disconnect_from_cluster()
    if status == EXIT_INTERRUPTED:
        raise KeyboardInterrupt(f"interrupted; go on with resume={str(listener.output)!r}")
    assert listener.output is not None
    return listener.output
