"""A suite from output folders: of searches, or of comparisons, of different tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dps.errors import InputError
from tune.records.comparison_document import COMPARISON_DOCUMENT_FILE, ComparisonDocument
from tune.records.saved_options import list_suite_members
from tune.records.search_document import SEARCH_DOCUMENT_FILE, read_search_document
from tune.records.suite_document import SuiteDocument
from tune.reporting.comparison import join_comparisons
from tune.reporting.suite.collect import collect_comparison, collect_search
from tune.reporting.suite.document import build_suite


def read_suite(folders: Sequence[Path], failed: Mapping[str, str] | None = None) -> SuiteDocument:
    """Build the suite of these folders, one a task. failed: tasks without a result, and why.

    Raises InputError for a folder without a result, for searches mixed with comparisons, and for a task that
    is there twice.
    """
    compares = [(folder / COMPARISON_DOCUMENT_FILE).is_file() for folder in folders]
    if any(compares) and not all(compares):
        named = folders[compares.index(False)]
        raise InputError(f"DIR: {named} is no comparison, and the others are; give folders of one kind")
    if all(compares):
        return make_comparison_suite(join_comparisons(folders, allow_dirty=True), failed)
    rows = [collect_search(read_search_document(f), f, place) for place, f in enumerate(folders)]
    return build_suite(rows, failed=failed)


def list_task_folders(suite: Path) -> list[Path]:
    """Return the folders of the tasks of a suite that have a result, in the order of its options. Raises
    InputError if none has one."""
    folders = [suite / name for name in list_suite_members(suite) if _has_result(suite / name)]
    if not folders:
        raise InputError(f"DIR: no task of {suite} has a result yet; go on with --resume {suite}")
    return folders


def _has_result(folder: Path) -> bool:
    if (folder / SEARCH_DOCUMENT_FILE).is_file():
        return read_search_document(folder).confirmation is not None
    return (folder / COMPARISON_DOCUMENT_FILE).is_file()


def list_parts(folder: Path) -> list[Path]:
    """Return the folders of the tasks, finished or not, if this one holds several, else this one."""
    names = list_suite_members(folder)
    return [folder / name for name in names] if len(names) > 1 else [folder]


def make_comparison_suite(
    documents: Sequence[ComparisonDocument], failed: Mapping[str, str] | None = None
) -> SuiteDocument:
    """Build the suite of what `join_comparisons` returns. Raises InputError where they have different
    baselines, or a task is there twice."""
    baselines = list(dict.fromkeys(document.baseline for document in documents))
    if len(baselines) > 1:
        raise InputError(
            f"--results: differences to {' and '.join(baselines)} cannot be averaged; give comparisons with "
            f"one baseline"
        )
    rows = []
    for place, document in enumerate(documents):
        homes = {name: Path(origin.folder) for origin in document.joined for name in origin.methods}
        rows.append(collect_comparison(document, homes, place))
    return build_suite(rows, baselines[0], failed)


def average_comparisons(documents: Sequence[ComparisonDocument]) -> tuple[SuiteDocument | None, str]:
    """Return the suite of what `join_comparisons` returns, or None and why not (empty for one task)."""
    sizes = {document.plan.settings.shots for document in documents} - {None}
    if len({document.task for document in documents}) < 2 and len(sizes) < max(2, len(documents)):
        return None, ""
    try:
        return make_comparison_suite(documents), ""
    except InputError as error:
        return None, f"no average over the tasks: {error}"
