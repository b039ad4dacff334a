"""search.json, typed: what was searched, what each run came to, who won and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from dps.errors import InputError
from tune.core.direction import Direction
from tune.core.provenance import Provenance
from tune.core.wording import format_configuration
from tune.records import schema
from tune.records.comparison_document import COMPARISON_DOCUMENT_FILE
from tune.records.failures import FailureSummary
from tune.records.replicates import Confirmation
from tune.stats.ensemble import AnswerSummary
from tune.stats.evidence import MeanEstimate

SEARCH_DOCUMENT_FILE = "search.json"
READING_REMEDY = "resume the search to make it again"


class WinnerSection(schema.Section):
    """The configuration that won. trial: its number in the search. published: whether its values are the
    published ones, at the middle learning rate."""

    trial: int
    configuration: dict[str, Any]
    published: bool = False


@dataclass(frozen=True, kw_only=True)
class Evidence(MeanEstimate):
    """The mean of a configuration over seeds and examples. diverged: how many of its runs did.
    answers: of those that completed."""

    diverged: int = 0
    answers: AnswerSummary | None = None


class RivalSection(schema.Section):
    """A configuration that was confirmed on the winner's fresh seeds.

    confirmation: its scores; None if no run completed. evidence: its mean over seeds and examples.
    difference: the winner minus it; None if they could not be compared.
    verdict: what may be said of the winner beside it, in half a sentence. runs: its confirmations.
    """

    configuration: dict[str, Any]
    confirmation: Confirmation | None
    evidence: Evidence | None = None
    difference: schema.DifferenceSection | None = None
    verdict: str
    runs: list[schema.Run] = Field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """Its mean over the fresh seeds, of which `interval` is. See `find_mean`."""
        return find_mean(self.evidence, self.confirmation)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of its mean over seeds and examples."""
        return None if self.evidence is None else self.evidence.interval


def find_mean(evidence: Evidence | None, confirmation: Confirmation | None) -> float | None:
    """Return a mean over fresh seeds, in which a run that diverged counts with the constant prediction where
    predictions are known; else that of the others."""
    found = evidence or confirmation
    return None if found is None else found.mean


class BaselineSection(RivalSection):
    """What the winner was compared with: a method at its own best learning rate, or the published values.

    name: as --baseline names it. title: in a sentence. published: whether it is the winner's method with its
    published values. trials: of its own search, of which it is the best; none for published values.
    learning_rates: that these tried. differs: how its training differs from the winner's, or does not, in
    words; empty if only the method does. race_runs: further seeds of the best trials.
    """

    name: str
    title: str
    method: str
    published: bool = False
    trials: list[schema.Run] = Field(default_factory=list)
    race_runs: list[schema.Run] = Field(default_factory=list)
    learning_rates: list[float] = Field(default_factory=list)
    differs: str = ""

    @property
    def is_tuned(self) -> bool:
        """Whether its learning rate was found for it."""
        return bool(self.learning_rates)

    def format_tuned_values(self) -> str:
        """Format what was found for it: the learning rate, then what else was searched, by name."""
        return ", ".join(format_configuration(self.configuration).split("  ")[1:]).removeprefix("lr ")


class FinalistSection(RivalSection):
    """Another configuration of the search that was confirmed. trial: its number."""

    trial: int


class RaceDistance(schema.Section):
    """How far a configuration's scores in the race are from the winner's, paired by seed. mean: of the
    differences. seeds: pairs."""

    mean: float
    seeds: int


class RaceRow(schema.Section):
    """A configuration in the race, scored on the selection data.

    trial: its number in the search, None if it has none there. won: whether it is the winner.
    seeds: runs that went to their end or diverged; diverged: how many did. collapsed: how many are known to
    have given one answer to all examples. scores: by seed.
    mean, std: of the scores, and of chance for each run that diverged; None without any, and with one.
    difference: to the winner.
    """

    trial: int | None
    configuration: dict[str, Any]
    won: bool
    seeds: int
    diverged: int
    collapsed: int = 0
    scores: dict[int, float]
    mean: float | None
    std: float | None
    difference: RaceDistance | None


class ModelSection(schema.InputSection):
    """One of the models that a search chose among. max_length: tokens that its examples were cut at."""

    max_length: int


class ParetoRow(schema.Section):
    """A configuration by its objectives. trial: see `RaceRow`. seeds: how many the score is a mean of.
    values: by objective, None if unknown."""

    trial: int | None
    configuration: dict[str, Any]
    seeds: int
    values: dict[str, float | None]


class ParetoSection(schema.Section):
    """The configurations that no other one beats in all objectives, and the others."""

    objectives: list[str]
    front: list[ParetoRow]
    others: list[ParetoRow]


class ProfileSection(schema.Section):
    """Where the seconds of the last session went.

    before_first_step: seconds of "plan_and_cluster" and "slots". slot_seconds: of all slots from the first
    step to the last end. shares: of these by part, summing to 1. gap: median seconds from the end of a run to
    the first step of the next on the same slot; None if there was no next.
    """

    before_first_step: dict[str, float]
    slot_seconds: float
    shares: dict[str, float]
    gap: float | None


class SearchDocument(schema.Section):
    """search.json.

    task, metric, direction: what was learnt, and what scores are in. data, model: what exactly they were.
    models: among which the search chose, by the names that configurations have; empty where there was one.
    plan: what was decided before. provenance: code, versions and machine of the last session.
    space: what was searched, see `SearchSpace.describe`.
    chance: the score of the best constant prediction on the selection data, dev_chance: on dev; None if
    unknown.
    trials: the runs of the search. race_runs: further seeds. confirmation_runs: fresh seeds of the winner.
    covered: which weights methods select among, in a line. outcomes: how many trials ended how.
    failures: of all runs.
    winner: None if no trial finished. confirmation: its scores on dev by fresh seed. evidence: its mean over
    seeds and examples. evidence_error: why the predictions say nothing, None if they do.
    baselines: what else was confirmed to compare it with. dropped: baselines that earlier looks had and this
    one has not: p-values are corrected for them, too. finalists: the others that were confirmed.
    race: the configurations in it, the winner first. pareto: None if the score was the only objective.
    phases: why "explored" and "raced" ended. spent: over all sessions. sentence: the result.
    profile: where the seconds of the last session went.
    """

    schema_version: int
    task: str
    metric: str
    direction: Direction
    data: schema.InputSection
    model: schema.InputSection
    models: dict[str, ModelSection] = Field(default_factory=dict)
    plan: schema.PlanSection
    provenance: Provenance
    space: dict[str, Any]
    chance: float | None = None
    dev_chance: float | None = None
    trials: list[schema.Run]
    covered: str | None = None
    outcomes: dict[str, int] = Field(default_factory=dict)
    failures: FailureSummary | None = None
    winner: WinnerSection | None
    confirmation: Confirmation | None
    confirmation_runs: list[schema.Run] = Field(default_factory=list)
    evidence: Evidence | None = None
    evidence_error: str | None = None
    baselines: list[BaselineSection] = Field(default_factory=list)
    dropped: list[str] = Field(default_factory=list)
    finalists: list[FinalistSection] = Field(default_factory=list)
    race: list[RaceRow] = Field(default_factory=list)
    race_runs: list[schema.Run] = Field(default_factory=list)
    pareto: ParetoSection | None = None
    phases: dict[str, str | None] = Field(default_factory=dict)
    spent: schema.SpentSection
    sentence: str
    profile: ProfileSection | None = None

    @property
    def mean(self) -> float | None:
        """The winner's mean over the fresh seeds, of which `interval` is. See `find_mean`."""
        return find_mean(self.evidence, self.confirmation)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the winner's mean over seeds and examples."""
        return None if self.evidence is None else self.evidence.interval

    @property
    def won_model(self) -> schema.InputSection:
        """The model that the winner was trained from."""
        configuration = self.winner.configuration if self.winner else {}
        return self.models.get(configuration.get("model", ""), self.model)

    @property
    def won_max_length(self) -> int:
        """The tokens that the winner's examples were cut at."""
        configuration = self.winner.configuration if self.winner else {}
        found = self.models.get(configuration.get("model", ""), self.plan.settings).max_length
        return int(configuration.get("max_length", found))

    @model_validator(mode="before")
    @classmethod
    def _read_one_baseline(cls, content: Any) -> Any:
        """Read the one baseline of an earlier version: vanilla at the winner's learning rate."""
        if not isinstance(content, dict) or "baseline" not in content:
            return content
        found, rest = content["baseline"], {k: v for k, v in content.items() if k != "baseline"}
        kind = {"name": "vanilla", "title": "vanilla at the same learning rate", "method": "vanilla"}
        return {**rest, "baselines": [{**kind, **found}]} if isinstance(found, dict) else rest


def read_search_document(folder: Path) -> SearchDocument:
    """Read the search.json of an output folder. Raises InputError where there is none that can be read."""
    file = folder / SEARCH_DOCUMENT_FILE
    if not file.is_file():
        if (folder / COMPARISON_DOCUMENT_FILE).is_file():
            raise InputError(
                f"DIR: {folder} holds a comparison; open its compare.html, or name a search's folder"
            )
        raise InputError(f"DIR: {folder} holds no search.json; name the output folder of a search that ended")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"DIR: {file} cannot be read ({error}); {READING_REMEDY}") from None
    return parse_search_document(text, f"DIR: {file}")


def parse_search_document(text: str, where: str) -> SearchDocument:
    """Read the text of a search.json. where: it is from, for messages. Raises InputError."""
    content = schema.parse_json_object(text, where, READING_REMEDY)
    return schema.validate_document(SearchDocument, content, where, READING_REMEDY)
