"""What MLflow is told of a search, its runs and a comparison: parameters and figures by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tune.core.options import CommonOptions
from tune.core.run import RunPurpose
from tune.records.comparison_document import ComparisonDocument
from tune.records.ledger import TrialRecord
from tune.records.schema import DifferenceSection
from tune.records.search_document import SearchDocument
from tune.stats.ensemble import AnswerSummary

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class TrackedSearch:
    """Description of a search for MLflow, beside its runs.

    task, metric: their names. select_on: what ranks configurations, "holdout" or "dev". data, model: their
    "source", "name" and "fingerprint".
    """

    options: CommonOptions
    task: str
    metric: str
    select_on: str
    data: Mapping[str, str]
    model: Mapping[str, str]

    @classmethod
    def from_description(cls, options: CommonOptions, described: Mapping[str, Any]) -> TrackedSearch:
        """Build it from a plan as search.json has it (`tune.planning.plan.describe_plan`)."""
        select_on = described["plan"]["settings"]["select_on"]
        parts = {name: described[name] for name in ("task", "metric", "data", "model")}
        return cls(options, select_on=select_on, **parts)


def collect_trial_params(record: TrialRecord) -> dict[str, Any]:
    """Return the MLflow parameters of a run."""
    return {**record.configuration, "seed": record.seed}


def collect_trial_metrics(record: TrialRecord) -> dict[str, float | None]:
    """Return the MLflow metrics of a run that ended, beside its curve."""
    values = {name: getattr(record, name) for name in ("seconds", "selected_share", "top_share")}
    if record.purpose != RunPurpose.CONFIRMATION:
        values["score"] = record.score
    for split, metrics in record.final.items():
        values |= {f"{split}_{name}": value for name, value in metrics.items()}
    return values


def is_complete(run: Run, record: TrialRecord) -> bool:
    """Return whether MLflow has every parameter, figure and tag of a run that ended."""
    figures = {key for key, value in collect_trial_metrics(record).items() if value is not None}
    return (
        collect_trial_params(record).keys() <= run.data.params.keys()
        and figures <= run.data.metrics.keys()
        and run.data.tags.get("outcome") == str(record.outcome)
    )


def collect_search_metrics(document: SearchDocument) -> dict[str, float]:
    """Return the MLflow metrics of a search: winner, differences to the baselines, cost."""
    values: dict[str, float | None] = {}
    if confirmed := document.confirmation:
        low, high = document.interval or (None, None)
        for name, value in (("mean", confirmed.mean), ("std", confirmed.std), ("low", low), ("high", high)):
            values[f"dev_{document.metric}_{name}"] = value
    for baseline in document.baselines:
        if difference := baseline.difference:
            values |= _collect_difference_metrics(f"dev_{baseline.name}", difference, difference.adjusted_p)
    if document.evidence:
        values |= _collect_answer_metrics("dev", document.evidence.answers)
    values |= document.spent.to_json()
    return {key: float(value) for key, value in values.items() if value is not None}


def _collect_answer_metrics(name: str, answers: AnswerSummary | None) -> dict[str, float | None]:
    """Return the MLflow metrics of what runs answered on an evaluation set."""
    if answers is None:
        return {}
    return {
        f"{name}_log_loss_mean": answers.log_loss,
        f"{name}_calibration_error_mean": answers.calibration_error,
        f"{name}_ensemble": answers.ensemble.score if answers.ensemble else None,
    }


def _collect_difference_metrics(
    name: str, difference: DifferenceSection, p: float | None
) -> dict[str, float | None]:
    """Return the MLflow metrics of a difference to the baseline on one evaluation set. p: its p value."""
    return {
        f"{name}_difference_points": difference.points,
        f"{name}_difference_p": p,
        f"{name}_probability_better": difference.probability_better,
    }


def collect_method_metrics(document: ComparisonDocument, method: str) -> dict[str, float]:
    """Return the MLflow metrics of a method in a comparison."""
    values: dict[str, float | None] = document.costs[method].to_json()
    for name, result in document.results.items():
        row = result.methods[method]
        prefix = f"{name}_{result.metric}"
        for key in ("mean", "median", "std", "worst", "best"):
            values[f"{prefix}_{key}"] = getattr(row, key)
        values[f"{name}_collapsed"] = row.collapsed
        values |= _collect_answer_metrics(name, row.answers)
        values[f"{prefix}_low"], values[f"{prefix}_high"] = row.interval or (None, None)
        if row.difference:
            values |= _collect_difference_metrics(name, row.difference, row.difference.adjusted_p)
    probe = document.probe.get(method, {})
    values |= {f"probe_{key.removeprefix('probe_')}": value for key, value in probe.items()}
    return {key: float(value) for key, value in values.items() if value is not None}
