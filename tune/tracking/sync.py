"""Tell MLflow what a search or a comparison did, from its ledger: it was away, or lost what it had.

python -m tune.tracking sync runs/cola-20261123-120000
"""

from __future__ import annotations

from pathlib import Path

from dps.errors import InputError
from tune.core.command import EXIT_DONE, EXIT_REFUSED, EXIT_WRONG_INPUT, load_resumed_options, print_error
from tune.core.options import CommonOptions, CompareOptions, SearchOptions
from tune.core.parsing import read_options
from tune.core.run import RefusedError
from tune.records.comparison_document import (
    COMPARISON_DOCUMENT_FILE,
    ComparisonDocument,
    read_comparison_document,
)
from tune.records.search_document import SEARCH_DOCUMENT_FILE, SearchDocument, read_search_document

DELIVERY_TIMEOUT_S = 600.0
SYNC_USAGE = "python -m tune.tracking sync DIR"


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status, 0, 2 (wrong input) or 3 (MLflow does not take it)."""
    try:
        if len(argv) != 2 or argv[0] != "sync":
            raise InputError(f"{' '.join(argv) or 'nothing'}: give one output folder: {SYNC_USAGE}")
        print(deliver_search(Path(argv[1])))
    except InputError as error:
        return print_error(str(error), EXIT_WRONG_INPUT)
    except RefusedError as error:
        return print_error(str(error), EXIT_REFUSED)
    return EXIT_DONE


def deliver_search(folder: Path) -> str:
    """Deliver every run that is over, and the result where there is one. Returns where it can be seen.

    Runs that MLflow has as they are in the ledger are left alone. Raises InputError for a folder that holds
    no search that was tracked, Refused where MLflow does not take it.
    """
    from tune.core.provenance import collect_provenance
    from tune.planning.cluster import Cluster, Node
    from tune.planning.planner import make_plan
    from tune.records.ledger import Ledger, check_ledger
    from tune.records.stores import format_view_command, resolve_tracking_uri
    from tune.tracking.mlflow import MlflowTracker

    options = _load_options(folder)
    check_ledger(folder / "study.db")
    plan = make_plan(options, Cluster(None, (Node(1e9, 1e9, 1e18),)))  # nothing is run: all fits
    ledgers = [Ledger(folder / "study.db", plan.task.direction, arm) for arm in plan.arms]
    for arm, one in zip(plan.arms, ledgers, strict=True):
        one.open(plan.identity(arm))
    uri = resolve_tracking_uri(options.tracking_uri, folder.resolve().parent)
    search_id = ledgers[0].noted("search_id")
    if uri is None or search_id is None:
        raise InputError(f"--tracking-uri: {folder} was run without MLflow, there is nothing to deliver")
    document = _read_result_document(folder)
    origin = document.provenance if document else collect_provenance(options.command)
    tracker = MlflowTracker(uri, plan, origin, search_id, folder.resolve().name)
    tracker.session_started([record for ledger in ledgers for record in ledger.records()])
    if isinstance(document, ComparisonDocument):
        tracker.comparison_ended(document)
    elif document is not None and document.winner:
        tracker.search_ended(document)
    tracker.session_ended(folder, interrupted=document is None, within_s=DELIVERY_TIMEOUT_S)
    if tracker.error:
        raise RefusedError(f"MLflow: {tracker.error}; try again: {SYNC_USAGE}")
    return format_view_command(uri)


def _load_options(folder: Path) -> CommonOptions:
    held = read_options(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
    kind = CompareOptions if "methods" in held else SearchOptions
    return load_resumed_options(kind(resume=folder))


def _read_result_document(folder: Path) -> SearchDocument | ComparisonDocument | None:
    """Read search.json or compare.json; None for what has not come to its end."""
    if (folder / SEARCH_DOCUMENT_FILE).is_file():
        return read_search_document(folder)
    if (folder / COMPARISON_DOCUMENT_FILE).is_file():
        return read_comparison_document(folder, "DIR")
    return None
