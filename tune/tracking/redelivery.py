"""Delivers a search or a comparison from its folder to MLflow."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.tasks.registry import get_task
from dps.text import sanitise_text
from tune.core.options import CommonOptions, CompareOptions, SearchOptions
from tune.core.provenance import collect_provenance
from tune.core.run import RefusedError
from tune.planning.locations import check_tracking_uri
from tune.records.comparison_document import (
    COMPARISON_DOCUMENT_FILE,
    ComparisonDocument,
    read_comparison_document,
)
from tune.records.ledger import Ledger, open_ledgers
from tune.records.saved_options import (
    find_runs_folder,
    load_resumed_options,
    read_saved_options,
)
from tune.records.search_document import SEARCH_DOCUMENT_FILE, SearchDocument, read_search_document
from tune.records.search_folder import find_original, read_search_id
from tune.records.stores import format_view_command, resolve_tracking_uri
from tune.tracking.mlflow import open_tracker

DELIVERY_TIMEOUT_S = 600.0
SYNC_USAGE = "python -m tune.tracking sync DIR"


@dataclass(frozen=True)
class Delivery:
    """What MLflow has of a search: by its id, and in which experiment of which store. view: the command that
    shows it."""

    search_id: str
    uri: str
    experiment: str
    view: str


def deliver_search(folder: Path) -> Delivery:
    """Deliver all finished runs and the result, if any.

    Everything comes from the folder: data, model and cluster may be gone. Skips runs that MLflow already has.
    Raises InputError for a folder without a tracked search, RefusedError if MLflow does not take it.
    """
    options = _load_options(folder)
    file = folder / "study.db"
    ledgers = open_ledgers(file, lambda why: InputError(f"DIR: {file} {why}"))
    notes = next((ledger for ledger in ledgers if read_search_id(ledger)), None)
    uri = resolve_tracking_uri(options.tracking_uri, find_runs_folder(folder))
    if uri is None or notes is None:
        raise InputError(f"--tracking-uri: {folder} was run without MLflow, there is nothing to deliver")
    if original := find_original(notes, folder):
        raise InputError(f"DIR: {folder} is a copy of {original}; deliver that: {SYNC_USAGE}")
    check_tracking_uri(uri, "--tracking-uri" if options.tracking_uri else "MLFLOW_TRACKING_URI")
    document = _read_result_document(folder)
    described = notes.noted("described") or _describe_old_search(options, notes, document)
    tracker = open_tracker(
        options,
        described,
        document.provenance if document else collect_provenance(options.command),
        notes.noted("search_id"),
        folder.resolve(),
        lambda line: print(f"warning: {sanitise_text(line)}", file=sys.stderr),
    )
    assert tracker is not None
    tracker.session_started([record for ledger in ledgers for record in ledger.records()])
    if isinstance(document, ComparisonDocument):
        tracker.comparison_ended(document)
    elif document is not None and document.winner:
        tracker.search_ended(document)
    tracker.session_ended(folder, interrupted=document is None, within_s=DELIVERY_TIMEOUT_S)
    if tracker.error:
        raise RefusedError(f"MLflow: {tracker.error}; try again: {SYNC_USAGE}")
    return Delivery(notes.noted("search_id"), tracker.uri, tracker.experiment, format_view_command(uri))


def _describe_old_search(
    options: CommonOptions, notes: Ledger, document: SearchDocument | ComparisonDocument | None
) -> dict[str, Any]:
    """Describe a search of version 0.1.0, whose ledger has no description."""
    if document is not None:
        described: dict[str, Any] = document.model_dump(mode="json")
        return described
    identity, metric = notes.noted("identity"), "score"
    with suppress(InputError):  # the file of a user-defined task is gone
        metric = get_task(options.task).metric
    return {
        "task": identity["task"],
        "metric": metric,
        "data": {
            "source": options.data if options.data in ("hub", "builtin", "task") else "folder",
            "name": options.data,
            "fingerprint": identity["data"],
        },
        "model": {"source": "", "name": options.model, "fingerprint": identity["model"]},
        "plan": {},
    }


def _load_options(folder: Path) -> CommonOptions:
    options_class = CompareOptions if "methods" in read_saved_options(folder) else SearchOptions
    return load_resumed_options(options_class(resume=folder))


def _read_result_document(folder: Path) -> SearchDocument | ComparisonDocument | None:
    """Read search.json or compare.json; None if the search has not ended."""
    if (folder / SEARCH_DOCUMENT_FILE).is_file():
        return read_search_document(folder)
    if (folder / COMPARISON_DOCUMENT_FILE).is_file():
        return read_comparison_document(folder, "DIR")
    return None
