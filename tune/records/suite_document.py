"""suite.json, typed: several tasks in a table, and the average over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dps.errors import InputError
from tune.records import schema

SUITE_DOCUMENT_FILE = "suite.json"
SUITE_REMEDY = "make it again: python tune/report.py DIR"


class ScoreSection(schema.Section):
    """A mean score on dev with its interval, None where there is none."""

    mean: float
    interval: tuple[float, float] | None = None


class SuiteDifference(schema.Section):
    """A paired difference of one task, on the metric's scale.

    interval, p: as the task's own report has them. adjusted_p: corrected by Holm over all tests of the table.
    verdict: what may be said of it. seeds: pairs. by_seed: the difference of each pair. exact: whether both
    are the same configuration, so that there is no difference.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None
    adjusted_p: float | None = None
    verdict: Literal["better", "worse", "not told apart"] = "not told apart"
    seeds: int
    by_seed: dict[int, float] = Field(default_factory=dict)
    exact: bool = False


class SuiteTask(schema.Section):
    """A row of the table.

    shots: examples of each class, where the rows are sizes of one task; task then names the size.
    folder: of the task's own results. examples: by split. winner: the configuration that a search chose.
    scores: by what was confirmed ("winner" of a search). differences: by what the average is of.
    """

    task: str
    shots: int | None = None
    metric: str
    folder: str
    data: schema.InputSection
    model: schema.InputSection
    examples: dict[str, int]
    winner: dict[str, Any] | None = None
    scores: dict[str, ScoreSection]
    differences: dict[str, SuiteDifference]


class AverageSection(schema.Section):
    """The average of a paired difference over the tasks, see `tune.stats.suite.AverageEstimate`.

    df: None for an average of exact values. adjusted_p: corrected by Holm over the averages. better, worse,
    undecided: how many tasks are. without: the average without each task. carried_by: the task without which
    it changes most. share: of the sum over the tasks, that task's; None where the sum says nothing.
    """

    mean: float
    interval: tuple[float, float] | None
    standard_error: float
    df: float | None = None
    p: float | None
    probability_better: float | None
    adjusted_p: float | None = None
    tasks: int
    level: float
    better: int = 0
    worse: int = 0
    undecided: int = 0
    without: dict[str, ScoreSection] = Field(default_factory=dict)
    carried_by: str | None = None
    share: float | None = None
    sentence: str = ""


class SuiteDocument(schema.Section):
    """suite.json.

    kind: whether the rows are searches or comparisons. baseline: of comparisons. failed: tasks without a
    result, and why. averages: by what the average is of: "vanilla" is winner minus vanilla in a search, and
    the method "vanilla" minus the baseline in a comparison. scores: average scores. notes: what could not be
    averaged, and which intervals know less than they seem to.
    """

    schema_version: int
    kind: Literal["search", "comparison"]
    baseline: str | None = None
    tasks: list[SuiteTask]
    failed: dict[str, str] = Field(default_factory=dict)
    averages: dict[str, AverageSection]
    scores: dict[str, ScoreSection]
    notes: list[str] = Field(default_factory=list)
    sentence: str
    spent: schema.SpentSection

    @property
    def is_of_sizes(self) -> bool:
        """Whether the rows are sizes of one task."""
        return any(task.shots is not None for task in self.tasks)

    def name_difference(self, name: str) -> str:
        """Name a difference: what minus what."""
        return f"{name} - {self.baseline}" if self.kind == "comparison" else f"winner - {name}"


def read_suite_document(folder: Path) -> SuiteDocument:
    """Read the suite.json of a folder. Raises InputError where there is none that can be read."""
    file = folder / SUITE_DOCUMENT_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"DIR: {file} cannot be read ({error}); {SUITE_REMEDY}") from None
    return parse_suite_document(text, f"DIR: {file}")


def parse_suite_document(text: str, origin: str) -> SuiteDocument:
    """Parse a suite.json. Raises InputError that names its origin for what is none."""
    content = schema.parse_json_object(text, origin, SUITE_REMEDY)
    return schema.validate_document(SuiteDocument, content, origin, SUITE_REMEDY)
