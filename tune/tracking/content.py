"""What MLflow is told of a search, its runs and a comparison: parameters and figures by name."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dps.text import redact_tree
from dps.training.result import Evaluation
from tune.core.options import CommonOptions
from tune.core.provenance import Provenance
from tune.core.run import RunId, RunPurpose
from tune.core.wording import describe_generated_data
from tune.planning.plan import CHANGEABLE_OPTIONS
from tune.records.comparison_document import ComparisonDocument
from tune.records.ledger import TrialRecord
from tune.records.schema import DifferenceSection
from tune.records.search_document import SearchDocument
from tune.stats.ensemble import AnswerSummary

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

OPTION_PREFIX = "option."  # of parameters and tags
SCORE = "score"  # metric of a trial: the primary metric on the data that it is selected on
MAX_COMPARED_RUNS = 30  # in an address


@dataclass(frozen=True)
class TrackedSearch:
    """Description of a search for MLflow, beside its runs.

    task, metric: their names. data, model: their "source", "name" and "fingerprint". searched: see
    `tune.core.space.describe_searched`.
    """

    options: CommonOptions
    task: str
    metric: str
    data: Mapping[str, str]
    model: Mapping[str, str]
    searched: Mapping[str, str]

    @classmethod
    def from_description(cls, options: CommonOptions, described: Mapping[str, Any]) -> TrackedSearch:
        """Build it from a plan as search.json has it (`tune.planning.plan.describe_plan`)."""
        parts = {name: described[name] for name in ("task", "metric", "data", "model")}
        return cls(options, searched=described["plan"].get("searched", {}), **parts)


def describe_search(search: TrackedSearch, *sentences: str) -> str:
    """Describe a search: by what was found, and whether its data are generated. sentences: none until it has
    ended."""
    begun = f"{search.metric} on {search.task}: runs of {', '.join(search.options.method_names)}."
    generated = describe_generated_data(search.data["source"], search.task)
    return "\n\n".join(filter(None, [*(sentences or [begun]), generated]))


def make_data_input(search: TrackedSearch) -> DatasetInput:
    """Return the data of a search as MLflow's input of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = search.data
    kind = "generated" if data["source"] == "builtin" else data["source"]
    source = json.dumps({"name": data["name"], "kind": kind})
    named = Dataset(f"{search.task} ({kind})"[:500], data["fingerprint"][:36], "local", source)
    return DatasetInput(named, [InputTag("mlflow.data.context", "training")])


def choose_compared(trials: Sequence[str]) -> Sequence[str]:
    """Choose the trials to compare: of a search its own, without those of its baselines."""
    return [trial for trial in trials if not RunId.parse(trial).arm] or trials


def format_pages(address: str, experiment: str, compared: Sequence[str]) -> list[str]:
    """Return lines with the addresses of MLflow's pages for an experiment's runs and for some compared.

    compared: ids of runs.
    """
    lines = [f"Runs:    {address}/#/experiments/{experiment}/runs?workflowType=machine_learning"]
    if 1 < len(compared) <= MAX_COMPARED_RUNS:
        runs, experiments = (quote(json.dumps(ids)) for ids in ([*compared], [experiment]))
        lines.append(f"Compare: {address}/#/compare-runs?runs={runs}&experiments={experiments}")
    return lines


def collect_search_tags(search: TrackedSearch, origin: Provenance) -> dict[str, str]:
    """Return the MLflow tags that a search and all its runs have. origin: of this session."""
    return {
        "task": search.task,
        "method": ",".join(search.options.method_names),
        "model": search.model["name"],
        "model_fingerprint": search.model["fingerprint"],
        "data": search.data["name"],
        "data_fingerprint": search.data["fingerprint"],
        "mlflow.source.name": search.options.command,
        "mlflow.source.type": "LOCAL",
        **({"mlflow.source.git.commit": origin.git_commit} if origin.git_commit else {}),
        "git_commit": f"{origin.git_commit or 'none'}{' (changed)' if origin.git_dirty else ''}",
        **{f"version.{name}": version for name, version in origin.packages.items()},
    }


def collect_options(search: TrackedSearch) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a search as MLflow's parameters, and as tags what a resume may change of them.
    An option that is in the search space has its values there."""
    given = redact_tree(search.options.model_dump(mode="json", exclude_none=True))
    given |= {name: said for name, said in search.searched.items() if hasattr(search.options, name)}
    fixed, changeable = given.keys() - CHANGEABLE_OPTIONS, given.keys() & CHANGEABLE_OPTIONS
    params, tags = (
        {f"{OPTION_PREFIX}{name}": given[name] for name in names} for names in (fixed, changeable)
    )
    return params, tags


def collect_trial_params(record: TrialRecord) -> dict[str, Any]:
    """Return the MLflow parameters of a run."""
    return {**record.configuration, "seed": record.seed}


def collect_trial_metrics(record: TrialRecord, has_score: bool = False) -> dict[str, float | None]:
    """Return the MLflow metrics of a run that ended, beside its curve. has_score: whether the last point of
    that was sent."""
    names = ("seconds", "selected_share", "top_share", "threshold", "alpha")
    values = {name: getattr(record, name) for name in names}
    if record.purpose != RunPurpose.CONFIRMATION and not has_score:
        values[SCORE] = record.score
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
        diverged = document.evidence is not None and document.evidence.diverged  # the mean counts them
        std = None if diverged else confirmed.std
        for name, value in (("mean", document.mean), ("std", std), ("low", low), ("high", high)):
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


def name_curve(trial: str, metric: str, primary: str) -> str:
    """Name the curve of a metric. trial: id of the run. primary: the metric whose curve is SCORE in a trial.

    In the alphabet SCORE comes before the other curves, so that MLflow compares trials by it.
    """
    if RunId.parse(trial).purpose == RunPurpose.CONFIRMATION:
        return f"dev_{metric}"
    return SCORE if metric == primary else f"selection_{metric}"


def collect_evaluation_metrics(trial: str, evaluation: Evaluation, primary: str) -> dict[str, float | None]:
    """Return the MLflow metrics of an evaluation: what the ledger keeps of it, so without NaN and infinity,
    which MLflow would show as the score of a diverged run. trial, primary: see `name_curve`."""
    finite = {name: value for name, value in evaluation.scores.items() if math.isfinite(value)}
    curves = {name_curve(trial, name, primary): value for name, value in finite.items()}
    return {**curves, "training_loss": evaluation.loss}


def name_run(record: TrialRecord) -> str:
    """Name a run in messages."""
    return f"trial {record.id}" if record.purpose == RunPurpose.SEARCH else record.id


def get_time_ms() -> int:
    """Return the milliseconds since 1970."""
    return int(time.time() * 1000)
