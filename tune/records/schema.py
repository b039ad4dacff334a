"""The shape of search.json and compare.json."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter

from dps.training.result import RunResult
from tune.core.run import RunId
from tune.records.ledger import TrialRecord

_RECORD_ADAPTER = TypeAdapter(TrialRecord)
_RESULT_FIELDS = [each.name for each in fields(RunResult)]


def serialise_run(record: TrialRecord) -> dict[str, Any]:
    """Return a run as search.json and compare.json hold it."""
    return {
        "id": record.number if record.id.isdigit() else record.id,
        "configuration": record.configuration,
        "seed": record.seed,
        **{name: getattr(record, name) for name in _RESULT_FIELDS},
    }


def parse_run(run: dict[str, Any]) -> TrialRecord:
    """Read a run of search.json or compare.json back. Raises ValueError for what is none."""
    name = RunId.parse(str(run["id"]))
    values = {**run, "id": str(name), "purpose": name.purpose, "number": name.number}
    return _RECORD_ADAPTER.validate_python({key: value for key, value in values.items() if value is not None})
