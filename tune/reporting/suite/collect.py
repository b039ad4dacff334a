"""The rows of a suite: what each task's search or comparison found, with draws for the average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dps.errors import InputError
from dps.tasks.registry import restore_task
from tune.records.comparison_document import ComparisonDocument
from tune.records.ledger import TrialRecord
from tune.records.schema import DifferenceSection, SpentSection
from tune.records.search_document import SearchDocument
from tune.records.suite_document import ScoreSection, SuiteDifference, SuiteTask
from tune.reporting.comparison_analysis import list_known_seeds, read_method_predictions
from tune.reporting.confirmation import pair_predictions, read_dev_predictions
from tune.stats.evidence import MIN_SEEDS
from tune.stats.resampling import FloatArray
from tune.stats.suite import TaskMean, draw_difference_means, make_exact_mean

WINNER, PUBLISHED = "winner", "published"
_NO_SPREAD = 1e-7  # of a standard error from seeds: below is rounding


@dataclass
class SuiteRow:
    """A task of a suite.

    section: its row in the table. differences: those that can be averaged, by name. problems: what cannot,
    and why. unvaried: the differences that are the same in all pairs. look: of its verdicts.
    """

    section: SuiteTask
    spent: SpentSection
    differences: dict[str, TaskMean] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    unvaried: list[str] = field(default_factory=list)
    look: int = 1


def collect_search(document: SearchDocument, folder: Path, place: int) -> SuiteRow:
    """Return the row of a search. folder: of its results. place: of the task, which seeds its draws.

    Raises InputError for a search without a confirmed winner.
    """
    winner = document.winner
    if winner is None or document.mean is None:
        raise InputError(f"DIR: {folder} has no confirmed winner; {document.sentence or 'see its report'}")
    row = _make_row(document, folder)
    row.section.scores[WINNER] = ScoreSection(mean=document.mean, interval=document.interval)
    row.section.winner = winner.configuration
    task, mine = restore_task(document.plan.settings.task), document.confirmation_runs
    for baseline in document.baselines:
        name, difference = baseline.name, baseline.difference
        if baseline.mean is not None:
            row.section.scores[name] = ScoreSection(mean=baseline.mean, interval=baseline.interval)
        if difference is None:
            row.problems[name] = baseline.verdict
            continue
        pairs = _pair_scores(mine, baseline.runs, task.metric)
        _add_difference(row, name, difference, pairs)
        try:
            seen = read_dev_predictions(task, [*mine, *baseline.runs], folder)
            paired = pair_predictions(task, mine, baseline.runs, seen)
            assert paired is not None  # there is a difference
            draws = draw_difference_means(task.metric, seen.labels, *paired, place)
            row.differences[name] = _make_mean(difference, draws)
        except InputError as error:
            row.problems[name] = str(error)
    if winner.published and PUBLISHED not in row.section.differences:
        row.section.scores[PUBLISHED] = row.section.scores[WINNER]
        row.section.differences[PUBLISHED] = SuiteDifference(
            mean=0.0, interval=None, p=None, seeds=len(mine), exact=True
        )
        row.differences[PUBLISHED] = make_exact_mean(0.0)
    return row


def collect_comparison(document: ComparisonDocument, folders: Mapping[str, Path], place: int) -> SuiteRow:
    """Return the row of a comparison. folders: by method, those that hold its predictions. place: see
    `collect_search`. Raises InputError where predictions are missing."""
    result, baseline = document.main_result, document.baseline
    row = _make_row(document, folders[baseline])
    task, labels, predicted, _ = read_method_predictions(document, document.evaluation_sets[0], {**folders})
    known = list_known_seeds(document)
    for name, found in result.methods.items():
        if not known[name]:
            row.problems[name] = "no run of it is known"
            continue
        row.section.scores[name] = ScoreSection(mean=found.mean, interval=found.interval)
        difference = found.difference
        if difference is None:
            continue
        base = result.methods[baseline].scores
        pairs = {seed: score - base[seed] for seed, score in found.scores.items() if seed in base}
        _add_difference(row, name, difference, pairs)
        draws = draw_difference_means(task.metric, labels, predicted[baseline], predicted[name], place)
        row.differences[name] = _make_mean(difference, draws)
    return row


def _make_row(document: SearchDocument | ComparisonDocument, folder: Path) -> SuiteRow:
    section = SuiteTask(
        task=document.task,
        shots=document.plan.settings.shots,
        metric=document.metric,
        folder=str(folder),
        data=document.data,
        model=document.model,
        examples=document.plan.examples,
        scores={},
        differences={},
    )
    return SuiteRow(section, document.spent)


def _add_difference(
    row: SuiteRow, name: str, difference: DifferenceSection, pairs: Mapping[int, float]
) -> None:
    row.section.differences[name] = _make_difference(difference, pairs)
    row.look = max(row.look, difference.look)
    if difference.seeds_part is not None and difference.seeds_part < _NO_SPREAD:
        row.unvaried.append(name)


def _make_mean(difference: DifferenceSection, draws: FloatArray) -> TaskMean:
    return TaskMean(difference.mean, difference.standard_error, difference.df, difference.seeds, draws)


def _make_difference(difference: DifferenceSection, pairs: Mapping[int, float]) -> SuiteDifference:
    is_few = difference.seeds < MIN_SEEDS  # of an earlier version, which gave these an interval
    return SuiteDifference(
        mean=difference.mean,
        interval=None if is_few else difference.interval,
        p=None if is_few else difference.p,
        seeds=difference.seeds,
        by_seed=dict(pairs),
    )


def _pair_scores(mine: Sequence[TrialRecord], theirs: Sequence[TrialRecord], metric: str) -> dict[int, float]:
    """Return the difference of each pair of runs that both have a score on dev."""
    ours, others = (
        {run.seed: run.final["dev"][metric] for run in runs if "dev" in run.final} for runs in (mine, theirs)
    )
    return {seed: score - others[seed] for seed, score in ours.items() if seed in others}
