"""What a ledger keeps of the whole search beside its runs, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Identity(_Part):
    task: str


class _Settings(_Part):
    select_on: str


class _Plan(_Part):
    settings: _Settings


class _Input(_Part):
    source: str
    name: str
    fingerprint: str


class _Description(_Part):
    """What MLflow is told, see `tune.planning.plan.describe_plan`."""

    task: str
    metric: str
    data: _Input
    model: _Input
    plan: _Plan


class _Notes(_Part):
    """Kinds of the notes that are used as they stand. `search_id` and `shared` are checked where they are."""

    identity: _Identity | None = None
    precision: str | None = None
    described: _Description | None = None
    warm_start: tuple[list[dict[str, Any]], list[Any]] | None = Field(None, strict=False)
    raced: int | None = None
    commits: list[str] | None = None
    looks: list[int] | None = None
    looked_at: dict[str, str] | None = None
    seconds: float | None = Field(None, ge=0, allow_inf_nan=False)
    best: str | None = None
    best_sha256: str | None = None
    ensemble_sha256: str | None = None


def check_notes(notes: Mapping[str, Any]) -> None:
    """Raise ValueError where a note is none that a search writes."""
    _Notes.model_validate(notes)


def is_another_look(
    looks: Sequence[int], seeds: int, before: Mapping[str, str], now: Mapping[str, str]
) -> bool:
    """Return whether a verdict is another look at the data: with another number of fresh seeds than any
    before, or on another configuration of an arm, which more trials chose. before, now: its key by arm."""
    return seeds not in looks or any(now.get(arm, key) != key for arm, key in before.items())
