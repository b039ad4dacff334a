"""What search.json and compare.json have in common: their sections, and how they are read.

What is missing in a document of an earlier version has its default.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, PositiveInt, ValidationError

from dps.errors import InputError
from dps.training.result import RunResult
from tune.core.run import RunId
from tune.records.ledger import SCHEMA_VERSION, TrialRecord
from tune.records.stores import shorten_error

MAX_NUMBER = 1e18  # of a document: more than any count of steps, bytes or seconds since the epoch
_RESULT_FIELDS = [each.name for each in fields(RunResult)]


def serialise_run(record: TrialRecord) -> dict[str, Any]:
    """Return a run as search.json and compare.json hold it."""
    return {
        "id": record.number if record.id.isdigit() else record.id,
        "configuration": record.configuration,
        "seed": record.seed,
        **{name: getattr(record, name) for name in _RESULT_FIELDS},
    }


def _complete_run(run: Any) -> Any:
    """Add what the id of a run tells, and leave out what is not known."""
    if not isinstance(run, dict) or "id" not in run:
        return run
    name = RunId.parse(str(run["id"]))
    values = {**run, "id": str(name), "purpose": name.purpose, "number": name.number}
    return {key: value for key, value in values.items() if value is not None}


Run = Annotated[TrialRecord, BeforeValidator(_complete_run), PlainSerializer(serialise_run)]


class Section(BaseModel):
    """Part of a document. Keys that this version does not know are kept."""

    model_config = ConfigDict(extra="allow")

    def to_json(self) -> dict[str, Any]:
        """Return the section as JSON holds it, without fields that were never set."""
        return self.model_dump(mode="json", exclude_unset=True)


DocumentType = TypeVar("DocumentType", bound=Section)


class InputSection(Section):
    """Data or a model: where they come from, and what exactly they are."""

    source: str
    name: str
    fingerprint: str


class SettingsSection(Section):
    """Settings that all runs share, see `RunSettings`. task: a name, or the definition of an own task."""

    task: str | dict[str, Any]
    batch_size: int
    max_length: int
    train_size: int | None
    evaluations: int
    select_on: str
    loss: str = "plain"
    shots: int | None = None
    threshold: float | str | None = None
    patience: int | None = None

    @property
    def confirmed_on(self) -> str:
        """What the fresh seeds are trained on, in words."""
        if self.patience is None:
            return "all training data"
        return f"the training data but for a slice that chose the step (patience {self.patience})"


class PlanSection(Section):
    """What was planned. examples: their number by split; cut: those with more than max_length tokens, by set.
    slots: runs at the same time. searched: see `tune.core.space.describe_searched`."""

    examples: dict[str, int]
    cut: dict[str, int] = {}
    max_steps: PositiveInt
    confirm_steps: PositiveInt
    slots: PositiveInt
    settings: SettingsSection
    searched: dict[str, str] = {}


class SpentSection(Section):
    """What all runs took together: wall time, time summed over the slots, and what that is in devices."""

    trials: int
    seconds: float
    slot_seconds: float
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    cost: float = 0.0


def sum_spent(sections: Iterable[SpentSection]) -> SpentSection:
    """Return what several sessions took together."""
    spent = [*sections]
    known = [
        name for name in SpentSection.model_fields if any(name in each.model_fields_set for each in spent)
    ]
    return SpentSection.model_validate(
        {name: math.fsum(getattr(each, name) for each in spent) for name in known}
    )


class DifferenceSection(Section):
    """A difference over paired seeds, see `evidence.PairedDifference`.

    points: the mean times 100. look: see `verdict.compute_look_share`.
    more_seeds: see `verdict.estimate_more_seeds`.
    """

    mean: float
    interval: tuple[float, float] | None
    standard_error: float
    seeds_part: float | None
    examples_part: float
    df: float
    std: float | None
    seeds: int
    examples: int
    level: float
    p: float | None
    probability_better: float | None
    points: float
    adjusted_p: float | None
    look: int = 1
    more_seeds: tuple[int, int | None] | None = None


def parse_json_object(text: str, where: str, remedy: str) -> dict[str, Any]:
    """Parse a JSON object. where: it is from; remedy: what to do about another. Raises InputError, also for
    a number that is not finite or too large, which no document holds."""
    try:
        content = json.loads(
            text, parse_int=_parse_number, parse_float=_parse_number, parse_constant=_parse_number
        )
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} cannot be read ({error}); {remedy}") from None
    if not isinstance(content, dict):
        raise InputError(f"{where} holds no JSON object; {remedy}")
    return content


def _parse_number(text: str) -> int | float:
    number = float(text)
    if not abs(number) < MAX_NUMBER:
        raise ValueError(f"the number {text[:20]} is out of range")
    return int(text) if text.lstrip("-").isdigit() else number


@contextmanager
def refuse_impossible_values(where: str, remedy: str) -> Iterator[None]:
    """Turn what a document of right types and impossible values brings about inside this context (a step
    of -1, a cost of 1e400) into InputError. where: it is from; remedy: what to do about another."""
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {shorten_error(error)}"
        raise InputError(f"{where} is malformed ({reason}); {remedy}") from error


def validate_document(
    kind: type[DocumentType], content: dict[str, Any], where: str, remedy: str
) -> DocumentType:
    """Turn a JSON object into a document. Raises InputError for another version or shape."""
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{where} has version {version!r}, and this program reads {SCHEMA_VERSION}; use the version "
            f"that made it"
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{where} is malformed at {place}: {first['msg']}; {remedy}") from None
