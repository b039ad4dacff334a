"""Reports of searches that ended: found in output folders and MLflow experiments, written as pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dps.errors import InputError
from dps.paths import write_text_file
from dps.text import sanitise_text
from tune.records.experiments import EXPERIMENT_PREFIX, describe_left_out, open_experiment_files
from tune.records.saved_options import is_suite_folder
from tune.records.schema import refuse_impossible_values
from tune.records.search_document import (
    READING_REMEDY,
    SEARCH_DOCUMENT_FILE,
    SearchDocument,
    parse_search_document,
    read_search_document,
)
from tune.records.suite_document import SUITE_DOCUMENT_FILE, SuiteDocument, parse_suite_document
from tune.reporting.page import render_overview_page, render_search_page
from tune.reporting.suite.folders import list_task_folders, read_suite
from tune.reporting.suite.page import SUITE_PAGE, write_suite
from tune.reporting.suite.tables import summarise_suite
from tune.reporting.summary import format_certainty_lines

DEFAULT_PAGE_FILE = "searches.html"


@dataclass(frozen=True)
class ReportSource:
    """A search. name: a short one; full_name: a unique one. folder: where its page goes by default.
    is_folder: whether that is its output folder."""

    name: str
    full_name: str
    document: SearchDocument
    folder: Path = Path()
    is_folder: bool = False


def write_report(names: Sequence[str], output: Path | None, tracking_uri: str | None) -> Path:
    """Write the page of these searches; return its file. Raises InputError.

    names: output folders and MLflow experiments. output: where the page goes, None for the default.
    """
    only = Path(names[0]) if len(names) == 1 else None
    folders = list_task_folders(only) if only is not None and is_suite_folder(only) else []
    sources, suite = _find_sources([] if folders else names, tracking_uri)
    tasks = [source.document.task for source in sources if source.is_folder]
    with refuse_impossible_values(f"DIR: search.json of {', '.join(names)}", READING_REMEDY):
        if len({*tasks}) == len(sources) > 1:
            folders = [source.folder for source in sources]
        if folders:
            suite = read_suite(folders)
        if suite is not None:
            place = only if only is not None and folders else Path()
            file, write = output or place / SUITE_PAGE, partial(write_suite, suite)
            for line in summarise_suite(suite):
                print(sanitise_text(line))
        else:
            file, text = _render(sources, output)
            write = partial(_write_text, text)
    try:
        write(file)
    except OSError as error:
        raise InputError(f"--output: {file} cannot be written ({error}); name another file") from None
    return Path(file)


def _write_text(text: str, file: Path) -> None:
    write_text_file(file, text)


def _render(sources: Sequence[ReportSource], output: Path | None) -> tuple[Path, str]:
    """Return the file and the text of the page of these searches."""
    labels = _choose_labels(sources)
    if len(sources) == 1:
        (only,) = sources
        file = output or only.folder / "report.html"
        text = render_search_page(only.document, format_certainty_lines(only.document))
    else:
        file = output or Path(DEFAULT_PAGE_FILE)
        text = render_overview_page([*zip(labels, (source.document for source in sources), strict=True)])
    return file, text


def _find_searches(name: str, uri: str | None) -> list[ReportSource]:
    """Return the searches of this name: of a folder, or of an experiment."""
    folder = Path(name)
    if name.startswith(EXPERIMENT_PREFIX) or not folder.is_dir():
        return _read_experiment(name, uri)
    return [ReportSource(folder.resolve().name, name, read_search_document(folder), folder, True)]


def _read_experiment(name: str, tracking_uri: str | None) -> list[ReportSource]:
    """Return the searches of an experiment that ended, the oldest first. Raises InputError."""

    def refuse(reason: str) -> InputError:
        no_folder = "" if name.startswith(EXPERIMENT_PREFIX) else "is no folder, and "
        return InputError(f"EXPERIMENT: {name} {no_folder}{reason}; name a folder, or see --tracking-uri")

    with open_experiment_files(name, tracking_uri, SEARCH_DOCUMENT_FILE, refuse) as files:
        if left_out := describe_left_out(files, SEARCH_DOCUMENT_FILE):
            print(left_out)
        return [
            ReportSource(
                file.run_name,
                f"{file.run_name} ({file.run_id[:8]})",
                parse_search_document(
                    file.path.read_text(encoding="utf-8"), f"EXPERIMENT: {name}, run {file.run_name}"
                ),
            )
            for file in files
            if file.path is not None
        ]


def _find_sources(
    names: Sequence[str], tracking_uri: str | None
) -> tuple[list[ReportSource], SuiteDocument | None]:
    """Return the searches of these names; of one experiment of several tasks, or of comparisons, the table
    that it holds too, if it does. Raises InputError."""
    try:
        sources = [source for name in names for source in _find_searches(name, tracking_uri)]
    except InputError:
        suite = _read_tracked_suite(names[0], tracking_uri) if len(names) == 1 else None
        if suite is None:
            raise
        return [], suite
    if len(names) > 1 or len({source.document.task for source in sources}) < 2:
        return sources, None
    suite = _read_tracked_suite(names[0], tracking_uri)
    if suite is None:
        print("no average over the tasks: the experiment has no run above them; name their folders for one")
    return sources, suite


def _read_tracked_suite(name: str, tracking_uri: str | None) -> SuiteDocument | None:
    """Return the latest table of several tasks that an experiment holds; None without one."""
    try:
        with open_experiment_files(name, tracking_uri, SUITE_DOCUMENT_FILE, InputError, "suite") as files:
            *_, path = (file.path for file in files if file.path is not None)
            return parse_suite_document(path.read_text(encoding="utf-8"), f"EXPERIMENT: {name}")
    except InputError:
        return None


def _choose_labels(sources: Sequence[ReportSource]) -> list[str]:
    """Return their names; the full ones if names are the same."""
    names = [source.name for source in sources]
    return names if len({*names}) == len(names) else [source.full_name for source in sources]
