"""The analysis of a comparison: results, costs and sentences, from its runs and their predictions.

A document that was just built, read back, or joined from several is analysed in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.tasks.chance import chance_level
from dps.tasks.metrics import compute_predictions, compute_top_share, get_metric
from dps.tasks.registry import restore_task
from dps.tasks.task import Task
from dps.tasks.transfer import get_transfer_target, map_to_transfer_classes
from dps.training.result import Outcome
from tune.records.comparison_document import (
    ComparisonDocument,
    CostSection,
    EvaluationSetResult,
    MethodResult,
    MethodSection,
)
from tune.records.predictions import find_predictions, read_evaluation_set
from tune.records.replicates import find_threshold
from tune.records.schema import DifferenceSection
from tune.reporting.confirmation import describe_nothing_learned
from tune.stats.ensemble import AnswerSummary, summarise_answers
from tune.stats.evidence import (
    BOOTSTRAP_SEED,
    estimate_difference,
    estimate_mean,
    fill_missing_runs,
    summarise_scores,
)
from tune.stats.resampling import score_runs
from tune.stats.verdict import adjust_p_values, describe_difference, serialise_difference


def analyse_comparison(document: ComparisonDocument, folders: dict[str, Path]) -> None:
    """Add results by evaluation set, costs and probe figures by method, and sentences to a document.

    folders: by method, the output folder that holds its predictions.
    """
    document.results = {name: _evaluate_methods(document, name, folders) for name in document.evaluation_sets}
    document.costs = {method.method: _compute_cost(method) for method in document.methods}
    document.probe = _average_probe_figures(document)
    verdicts = [
        f"{_name_arm(document, name, document.baseline)} is {row.verdict}."
        for name, row in document.main_result.methods.items()
        if row.verdict
    ]
    document.sentences = [
        *_describe_nothing_learned(document),
        *verdicts,
        *_describe_pairs(document),
        *_describe_missing_runs(document),
    ]


def _describe_nothing_learned(document: ComparisonDocument) -> list[str]:
    """Say that no arm is better than one answer for all examples; else nothing."""
    result, direction = document.main_result, restore_task(document.plan.settings.task).direction
    means = [row.mean for row in result.methods.values()]
    return describe_nothing_learned(means, result.chance, direction, "the best of these")


def _name_arm(document: ComparisonDocument, name: str, other: str) -> str:
    """Return the name of an arm, with what it has that the other has not."""
    own, theirs = document.get_arm(name).differs, document.get_arm(other).differs
    differing = {
        key: value
        for key, value in own.items()
        if theirs.get(key) != value and value not in (name, "-")  # "-": it has none
    }
    if differing.get("epochs", "-") != "-" or differing.keys() & {"batch size", "training examples"}:
        differing.pop("steps", None)  # follow from the rest
    said = ", ".join(f"{key} {value}" for key, value in differing.items())
    return f"{name} ({said})" if said else name


def _describe_pairs(document: ComparisonDocument) -> list[str]:
    """Say what pairs of arms that differ in model or data do not share."""
    differing = {key for method in document.methods for key in method.differs}
    lines = []
    if "model" in differing:
        lines.append("different models start from different weights")
    if differing & {"training data", "training examples"}:
        lines.append("different training examples come in different batches")
    if not lines:
        return []
    return [f"Pairs share the seed and the evaluation set, but {' and '.join(lines)}."]


def list_known_seeds(document: ComparisonDocument) -> dict[str, list[int]]:
    """Return by method the seeds of which a run tells something: it went to its end, or diverged."""
    known = (Outcome.COMPLETED, Outcome.DIVERGED)
    return {
        method.method: [
            seed
            for seed in document.budget.seeds
            if any(run.seed == seed and run.outcome in known for run in method.runs)
        ]
        for method in document.methods
    }


def list_scored_seeds(document: ComparisonDocument) -> dict[str, list[int]]:
    """Return by method the seeds that it is scored on: those known of every method of which any is, or where
    there is none of these its own; all for a method of which none is known."""
    known, planned = list_known_seeds(document), document.budget.seeds
    common = [seed for seed in planned if all(seed in seeds for seeds in known.values() if seeds)]
    return {method: (common or seeds) if seeds else [*planned] for method, seeds in known.items()}


def _describe_missing_runs(document: ComparisonDocument) -> list[str]:
    """Describe methods with missing runs, and what replaces them."""
    lines, seeds, known = [], set(document.budget.seeds), list_known_seeds(document)
    left_out = "a seed of which a run tells nothing is left out, of all"
    if len({tuple(scored) for name, scored in list_scored_seeds(document).items() if known[name]}) > 1:
        left_out = "no seed is known of all, so that only those with the same seeds are compared"
    for method in document.methods:
        outcomes = Counter(str(run.outcome) for run in method.runs if run.seed in seeds)
        missing = len(seeds) - outcomes.pop(Outcome.COMPLETED, 0)
        if missing:
            outcomes["not made"] = missing - outcomes.total()
            reason = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items() if count)
            said = []
            if Outcome.DIVERGED in outcomes:
                said.append("the constant prediction stands for one that diverged")
            if not known[method.method]:
                said.append("the constant prediction stands for them, and nothing is compared with it")
            elif outcomes.keys() - {Outcome.DIVERGED, "not made"} or outcomes["not made"]:
                said.append(left_out)
            lines.append(
                f"{method.method}: {missing} of {len(seeds)} runs did not complete ({reason}); "
                f"{'; '.join(said)}."
            )
    return lines


def _evaluate_methods(
    document: ComparisonDocument, evaluation_set: str, folders: dict[str, Path]
) -> EvaluationSetResult:
    """Evaluate all methods on one evaluation set."""
    task, labels, predicted, answers = read_method_predictions(document, evaluation_set, folders)
    seeds, known = list_scored_seeds(document), list_known_seeds(document)
    metric, chance, baseline = task.metric, chance_level(task, labels), document.baseline
    differences = {
        method: estimate_difference(metric, labels, predicted[baseline], runs, BOOTSTRAP_SEED)
        for method, runs in predicted.items()
        if method != baseline and known[method] and known[baseline] and seeds[method] == seeds[baseline]
    }
    p_values = {name: each.p for name, each in differences.items() if each.p is not None}
    look, dropped = max(1, len(document.looks)), len(document.dropped)
    tests = len(p_values) + dropped
    adjusted = dict(zip(p_values, adjust_p_values([*p_values.values()], look, dropped), strict=True))
    rows = {}
    for method, runs in predicted.items():
        scores = score_runs(metric, labels, runs)
        estimate = estimate_mean(metric, labels, runs, BOOTSTRAP_SEED)
        collapsed = sum(compute_top_share(task, labels, run) == 1 for run in runs)
        rows[method] = MethodResult(
            scores=dict(zip(seeds[method], map(float, scores), strict=True)),
            **asdict(summarise_scores(scores, chance, collapsed)),
            interval=estimate.interval,
            others={
                other: float(np.mean([get_metric(other)(labels, run) for run in runs]))
                for other in task.metrics
                if other != metric
            },
            answers=answers.get(method),
            difference=None,
            verdict=None,
        )
    for method, difference in differences.items():
        p = adjusted.get(method)
        rows[method].difference = DifferenceSection(**serialise_difference(difference, p, tests, look))
        against = _name_arm(document, baseline, method)
        rows[method].verdict = describe_difference(difference, p, against, tests, look)
    return EvaluationSetResult(metric=metric, examples=len(labels), chance=chance, methods=rows)


def read_method_predictions(
    document: ComparisonDocument, evaluation_set: str, folders: dict[str, Path]
) -> tuple[Task, NDArray[Any], dict[str, NDArray[Any]], dict[str, AnswerSummary | None]]:
    """Read (task, labels (n,), predictions (seeds, n) by method, answers by method) of an evaluation set; the
    answers of a set of the task's own alone.

    They are of the seeds that each is scored on; a run that diverged, and every one of a method of which no
    run is known, is filled with the constant prediction.
    """
    trained = restore_task(document.plan.settings.task)
    target = None if evaluation_set in trained.dev_splits else get_transfer_target(evaluation_set)
    task = trained if target is None else target.task
    files = {
        (method.method, run.seed): find_predictions(folders[method.method], run)
        for method in document.methods
        for run in method.runs
        if run.outcome == Outcome.COMPLETED
    }
    labels, logits_by_run = read_evaluation_set(evaluation_set, files, "--results")
    thresholds = {
        method.method: find_threshold(method.runs) or method.threshold for method in document.methods
    }
    gold, predicted = labels, {method.method: dict[int, NDArray[Any]]() for method in document.methods}
    for (method, seed), logits in logits_by_run.items():
        if target is None:
            predicted[method][seed] = compute_predictions(task.with_threshold(thresholds[method]), logits)
        else:
            labels, predicted[method][seed] = map_to_transfer_classes(trained, target, gold, logits)
    seeds = list_scored_seeds(document)
    filled = {name: fill_missing_runs(task, labels, runs, seeds[name]) for name, runs in predicted.items()}
    answers = {}
    if target is None:
        for name in predicted:
            logits_of_runs = [
                logits for (arm, seed), logits in logits_by_run.items() if arm == name and seed in seeds[name]
            ]
            answered = task.with_threshold(thresholds[name])
            answers[name] = summarise_answers(answered, labels, logits_of_runs)
    return task, labels, filled, answers


def _compute_cost(method: MethodSection) -> CostSection:
    """Return a method's cost: mean per confirmation run, and in total."""
    everything = [*method.trials, *method.runs]
    completed = [run for run in method.runs if run.outcome == Outcome.COMPLETED]
    shares = [run.selected_share for run in completed if run.selected_share]

    def average(values: Sequence[float]) -> float | None:
        return float(np.mean(values)) if values else None

    return CostSection(
        passes_per_run=average([run.passes for run in completed]),
        seconds_per_run=average([run.seconds for run in completed]),
        peak_memory=max((run.peak_memory for run in completed if run.peak_memory), default=None),
        passes=sum(run.passes for run in everything),
        seconds=sum(run.seconds for run in everything),
        selected_share=average(shares) if len(shares) == len(completed) else None,
    )


def _average_probe_figures(document: ComparisonDocument) -> dict[str, dict[str, float]]:
    """Return the mean probe figures by method; empty without probes."""
    averages = {}
    for method in document.methods:
        measured = [run.final["probe"] for run in method.runs if "probe" in run.final]
        if measured:
            averages[method.method] = {
                name: float(np.mean([figures[name] for figures in measured])) for name in measured[0]
            }
    return averages
