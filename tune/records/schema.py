"""The shape of search.json and compare.json."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
)

from dps.errors import InputError
from dps.training.result import RunResult
from tune.core.run import RunId
from tune.records.ledger import SCHEMA_VERSION, TrialRecord

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
_RUN_ADAPTER: TypeAdapter[TrialRecord] = TypeAdapter(Run)


def parse_run(run: dict[str, Any]) -> TrialRecord:
    """Read a run of search.json or compare.json back. Raises ValueError for what is none."""
    return _RUN_ADAPTER.validate_python(run)


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
    select_on: str


class PlanSection(Section):
    """What was planned. examples: their number by split. slots: runs at the same time."""

    examples: dict[str, int]
    max_steps: int
    confirm_steps: int
    slots: int
    settings: SettingsSection


class ProvenanceSection(Section):
    """Versions, commit and machine. started: seconds since the epoch."""

    started: float
    git_commit: str | None
    git_dirty: bool
    python: str
    packages: dict[str, str]
    platform: str
    cores: int | None = None
    command: list[str]


class SpentSection(Section):
    """What all runs took together: wall time, and time summed over the slots."""

    trials: int
    seconds: float
    slot_seconds: float


class BudgetSection(Section):
    """What every method of a comparison was given. seeds: of the confirmations."""

    configurations: int
    steps: int
    confirm_steps: int
    seeds: list[int]
    scheduler: str
    sampler: str


class MethodSection(Section):
    """The runs of one method in a comparison.

    configuration: the best of its trials; the method alone if none has a score.
    selection_score: the score of that trial.
    trials: one run of each configuration. runs: the confirmations of the best one.
    """

    method: str
    configuration: dict[str, Any]
    selection_score: float | None
    space: dict[str, Any]
    cost: dict[str, float]
    trials: list[Run]
    runs: list[Run]


class DifferenceSection(Section):
    """A difference over paired seeds, see `evidence.PairedDifference`.

    points: the mean times 100.
    seeds_needed: to detect a difference of this size; None if no number is enough.
    """

    mean: float
    interval: tuple[float, float]
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
    seeds_needed: int | None


class MethodResult(Section):
    """A method's scores on one evaluation set, see `evidence.ScoreSummary` and `MeanEstimate`.

    scores: by seed. others: means of the task's further metrics.
    difference, verdict: to the baseline; None for the baseline itself.
    """

    scores: dict[int, float]
    mean: float
    median: float
    std: float | None
    worst: float
    best: float
    collapsed: float
    n: int
    interval: tuple[float, float]
    interval_over_seeds: tuple[float, float] | None
    others: dict[str, float]
    difference: DifferenceSection | None
    verdict: str | None


class EvaluationSetResult(Section):
    """The results of all methods on one evaluation set. chance: the best score of a constant prediction."""

    metric: str
    examples: int
    chance: float
    methods: dict[str, MethodResult]


class CostSection(Section):
    """What a method took: a mean over its confirmations, and in total. None without a completed one."""

    passes_per_run: float | None
    seconds_per_run: float | None
    peak_memory: int | None
    passes: float
    seconds: float
    selected_share: float | None


class OriginSection(Section):
    """A folder whose methods a joined comparison took over."""

    folder: str
    methods: list[str]
    git_commit: str | None
    git_dirty: bool


class ComparisonDocument(Section):
    """A comparison: compare.json.

    results: by evaluation set, the task's own first; costs, probe: by method.
    joined: where the methods come from, if this was put together from several comparisons.
    """

    schema_version: int
    task: str
    metric: str
    direction: str
    data: InputSection
    model: InputSection
    plan: PlanSection
    provenance: ProvenanceSection
    budget: BudgetSection
    covered: str | None
    evaluation_sets: list[str] = Field(min_length=1)
    baseline: str
    methods: list[MethodSection]
    spent: SpentSection
    results: dict[str, EvaluationSetResult] = {}
    costs: dict[str, CostSection] = {}
    probe: dict[str, dict[str, float]] = {}
    sentences: list[str] = []
    joined: list[OriginSection] = []

    @property
    def origins(self) -> list[OriginSection]:
        """Return where the methods come from; one origin without folder and methods if nothing was joined."""
        commit, dirty = self.provenance.git_commit, self.provenance.git_dirty
        return self.joined or [OriginSection(folder="", methods=[], git_commit=commit, git_dirty=dirty)]

    @property
    def main_result(self) -> EvaluationSetResult:
        """Return the results on the task's own evaluation set."""
        return self.results[self.evaluation_sets[0]]


def read_json_object(file: Path, option: str) -> dict[str, Any]:
    """Read a JSON object. Raises InputError, which names the option, for anything else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{option}: {file} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{option}: {file} holds no JSON object")
    return content


def validate_document(
    kind: type[DocumentType], content: dict[str, Any], file: Path, option: str
) -> DocumentType:
    """Turn the content of a file into a document. Raises InputError for another version or shape."""
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"{option}: {file} has version {version}, this program reads {SCHEMA_VERSION}")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{option}: {file} is malformed at {where}: {first['msg']}") from None
