"""compare.json, typed: what was run, method by method, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from dps.errors import InputError
from tune.core.direction import Direction
from tune.core.provenance import Provenance
from tune.records import schema
from tune.stats.ensemble import AnswerSummary

COMPARISON_DOCUMENT_FILE = "compare.json"


class BudgetSection(schema.Section):
    """What every arm of a comparison was given. configurations: that it is tuned over, 0 where it is taken as
    given, None where each is of a run with a budget of its own. seeds: of the confirmations."""

    configurations: int | None
    steps: int
    confirm_steps: int
    seeds: list[int]
    scheduler: str
    sampler: str


class MethodSection(schema.Section):
    """The runs of one arm in a comparison, which in the simplest case is a method.

    method: name of the arm.
    configuration: the best of its trials, or what is given; the method alone if no trial has a score.
    selection_score: the score of that trial.
    differs: what is not the same in every arm, as short texts; empty where methods alone are compared.
    examples, confirm_steps: training examples and optimizer steps of its confirmations.
    data, model: where they differ from those of the first arm.
    threshold: of its own task, where it was taken from another run; None for that of the plan.
    trials: one run of each configuration. runs: the confirmations of the best one.
    """

    method: str
    configuration: dict[str, Any]
    selection_score: float | None
    space: dict[str, Any]
    cost: dict[str, float]
    trials: list[schema.Run]
    runs: list[schema.Run]
    differs: dict[str, str] = Field(default_factory=dict)
    examples: int | None = None
    confirm_steps: int | None = None
    data: schema.InputSection | None = None
    model: schema.InputSection | None = None
    threshold: float | None = None


class MethodResult(schema.Section):
    """A method's scores on one evaluation set, see `evidence.ScoreSummary` and `MeanEstimate`.

    scores: by seed. others: means of the task's further metrics. collapsed: in a document of an earlier
    version what is now not_above_chance. answers: of the runs that completed, on the task's own sets.
    difference, verdict: to the baseline; None for the baseline itself.
    """

    scores: dict[int, float]
    mean: float
    median: float
    std: float | None
    worst: float
    best: float
    not_above_chance: float | None = None
    collapsed: float
    collapsed_at_most: float | None = None
    n: int
    interval: tuple[float, float] | None
    others: dict[str, float]
    answers: AnswerSummary | None = None
    difference: schema.DifferenceSection | None
    verdict: str | None


class EvaluationSetResult(schema.Section):
    """The results of all methods on one evaluation set. chance: the best score of a constant prediction."""

    metric: str
    examples: int
    chance: float
    methods: dict[str, MethodResult]


class CostSection(schema.Section):
    """What a method took: a mean over its confirmations, and in total. None without a completed one."""

    passes_per_run: float | None
    seconds_per_run: float | None
    peak_memory: int | None
    passes: float
    seconds: float
    selected_share: float | None


class OriginSection(schema.Section):
    """A folder whose methods a joined comparison took over."""

    folder: str
    methods: list[str]
    git_commit: str | None
    git_dirty: bool


class ComparisonDocument(schema.Section):
    """A comparison: compare.json.

    results: by evaluation set, the task's own first; costs, probe: by method.
    joined: where the methods come from, if this was put together from several comparisons.
    looks: the numbers of seeds with which verdicts were given, this one last.
    dropped: arms that earlier looks had and this one has not: p-values are corrected for them, too.
    """

    schema_version: int
    task: str
    metric: str
    direction: Direction
    data: schema.InputSection
    model: schema.InputSection
    plan: schema.PlanSection
    provenance: Provenance
    budget: BudgetSection
    covered: str | None
    evaluation_sets: list[str] = Field(min_length=1)
    baseline: str
    methods: list[MethodSection]
    spent: schema.SpentSection
    results: dict[str, EvaluationSetResult] = Field(default_factory=dict)
    costs: dict[str, CostSection] = Field(default_factory=dict)
    probe: dict[str, dict[str, float]] = Field(default_factory=dict)
    sentences: list[str] = Field(default_factory=list)
    joined: list[OriginSection] = Field(default_factory=list)
    looks: list[int] = Field(default_factory=list)
    dropped: list[str] = Field(default_factory=list)

    @property
    def origins(self) -> list[OriginSection]:
        """Return where the methods come from; one origin without folder and methods if nothing was joined."""
        commit, dirty = self.provenance.git_commit, self.provenance.git_dirty
        return self.joined or [OriginSection(folder="", methods=[], git_commit=commit, git_dirty=dirty)]

    def get_arm(self, name: str) -> MethodSection:
        """Return the section of an arm."""
        return next(method for method in self.methods if method.method == name)

    @property
    def main_result(self) -> EvaluationSetResult:
        """Return the results on the task's own evaluation set."""
        return self.results[self.evaluation_sets[0]]


def read_comparison_document(folder: Path, option: str) -> ComparisonDocument:
    """Read the compare.json of an output folder. option: that named it, for messages. Raises InputError."""
    file = folder / COMPARISON_DOCUMENT_FILE
    where, remedy = f"{option}: {file}", "resume the comparison to make it again"
    content = schema.parse_json_object(file.read_text(encoding="utf-8"), where, remedy)
    if "comparisons" in content or "joined" in content:
        raise InputError(f"{option}: {folder} is already joined; give its source folders")
    return schema.validate_document(ComparisonDocument, content, where, remedy)
