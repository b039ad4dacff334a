"""Identity of a search: what a resume must not change, as the ledger holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from dps.tasks.transfer import TRANSFER_TARGETS
from tune.core.run import RunSettings

Identity = Mapping[str, Any]
LATER_PARTS = ("definition", "examples", "tokenizer")  # which the first versions did not save


def describe_changes(saved: Identity, current: Identity, precision: str | None = None) -> list[str]:
    """Return a text for each part of a saved identity that differs now. precision: see `update_identity`.

    Of a task, each key of its definition counts. Causes come without their consequences: another definition
    without the fingerprints that follow from it.
    """
    before = _to_json(update_identity(saved, current, precision))
    now = _to_json(current)
    definitions = [each.pop("definition", None) or {} for each in (before, now)]
    keys = {*definitions[0], *definitions[1]}
    consequences = (  # of causes, what need not be said beside them
        ({"task"}, {*keys, "data", "examples"}),
        (keys, {"data", "examples"}),
        ({"data", "transfer", "probe"}, {"examples"}),
    )
    for each, definition in zip((before, now), definitions, strict=True):
        each.update({key: value for key, value in definition.items() if key != "name"})
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    for causes, hidden in consequences:
        if causes & set(changed):
            changed = [key for key in changed if key not in hidden]
    return [f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in changed]


def update_identity(saved: Identity, current: Identity, precision: str | None) -> dict[str, Any]:
    """Return a saved identity in today's form: a setting that it lacks had its default, and a part that was
    not saved then is taken to be as it is now.

    Version 0.1.0 saved options. Its "max_steps" were the steps of a full trial, and it kept the precision
    that "auto" meant beside the identity (`precision`); what it did not save is taken to be as it is now.
    """
    defaults = {each.name: each.default for each in fields(RunSettings) if each.default is not MISSING}
    if "search_steps" not in current:
        return dict(saved)
    defaults |= {key: current[key] for key in LATER_PARTS if key in current}
    if "search_steps" in saved:
        return {**defaults, **saved}
    transfer = saved.get("transfer")
    names = TRANSFER_TARGETS.get(saved["task"], ()) if transfer == "paper" else (transfer or "").split(",")
    return {
        **defaults,
        **saved,
        "search_steps": saved.get("max_steps"),
        "max_steps": current.get("max_steps"),
        "precision": precision or current.get("precision"),
        "transfer": [name.strip() for name in names if name],
    }


def _to_json(identity: Identity) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(identity))
    return values
