"""Tell MLflow what a search or a comparison did, from its ledger: it was away, or lost what it had.

python -m tune.tracking sync runs/cola-20261123-120000
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dps.errors import InputError
from tune.command import DONE, REFUSED, WRONG_INPUT, fail, resumed
from tune.errors import Refused
from tune.options import CompareOptions, RunOptions, SearchOptions
from tune.parsing import read_yaml

DELIVER_WITHIN_S = 600.0
USAGE = "python -m tune.tracking sync DIR"


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status, 0, 2 (wrong input) or 3 (MLflow does not take it)."""
    try:
        if len(argv) != 2 or argv[0] != "sync":
            raise InputError(f"{' '.join(argv) or 'nothing'}: give one output folder: {USAGE}")
        print(sync(Path(argv[1])))
    except InputError as error:
        return fail(str(error), WRONG_INPUT)
    except Refused as error:
        return fail(str(error), REFUSED)
    return DONE


def sync(folder: Path) -> str:
    """Deliver every run that is over, and the result where there is one. Returns where it can be seen.

    Runs that MLflow has as they are in the ledger are left alone. Raises InputError for a folder that holds
    no search that was tracked, Refused where MLflow does not take it.
    """
    from tune import ledger, preflight, tracking
    from tune.provenance import provenance
    from tune.runtime import Cluster, Node

    options = _options(folder)
    ledger.check(folder / "study.db")
    plan = preflight.make_plan(options, Cluster(None, (Node(1e9, 1e9, 1e18),)))  # nothing is run: all fits
    ledgers = [ledger.Ledger(folder / "study.db", plan.task.direction, arm) for arm in plan.arms]
    for arm, one in zip(plan.arms, ledgers, strict=True):
        one.open(plan.identity(arm))
    uri = tracking.tracking_uri(options.tracking_uri, folder.resolve().parent)
    search_id = ledgers[0].noted("search_id")
    if uri is None or search_id is None:
        raise InputError(f"--tracking-uri: {folder} was run without MLflow, there is nothing to deliver")
    found = _result(folder)
    origin = found["provenance"] if found else provenance(options.command)
    tracker = tracking.MlflowTracker(uri, plan, origin, search_id, folder.resolve().name)
    tracker.catch_up([r for one in ledgers for purpose in ledger.STUDIES for r in one.records(purpose)])
    if found and isinstance(options, CompareOptions):
        tracker.comparison_ended(found)
    elif found and found["winner"]:
        tracker.search_ended(found)
    tracker.close(folder, interrupted=found is None, within_s=DELIVER_WITHIN_S)
    if tracker.error:
        raise Refused(f"MLflow: {tracker.error}; try again: {USAGE}")
    return tracking.look_at(uri)


def _options(folder: Path) -> RunOptions:
    held = read_yaml(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
    kind = CompareOptions if "methods" in held else SearchOptions
    return resumed(kind(resume=folder))


def _result(folder: Path) -> dict[str, Any] | None:
    """search.json or compare.json, or None for what has not come to its end."""
    for name in ("search.json", "compare.json"):
        if (folder / name).is_file():
            found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            return found
    return None
