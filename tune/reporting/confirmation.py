"""What a search proves: that the winner is better than its published values, and than methods that were
tuned as well, or not.

Winner and baselines are confirmed with the same fresh seeds, which pairs their runs. A run that diverged
counts with the constant prediction. One that was lost or failed tells nothing of its configuration: it is
left out, with the run that it is paired with.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dps.errors import InputError
from dps.tasks.chance import chance_level
from dps.tasks.metrics import compute_predictions
from dps.tasks.task import Task
from dps.training.result import Outcome
from tune.core.direction import Direction
from tune.core.run import RunPurpose
from tune.records.ledger import TrialRecord
from tune.records.predictions import find_predictions, read_evaluation_set
from tune.records.replicates import (
    collect_full_scores,
    find_threshold,
    group_by_configuration,
    select_by_configuration,
    summarise_confirmation,
)
from tune.records.schema import DifferenceSection
from tune.records.search_document import Evidence, RaceDistance, RaceRow, RivalSection
from tune.stats.ensemble import summarise_answers
from tune.stats.evidence import (
    BOOTSTRAP_SEED,
    PairedDifference,
    estimate_difference,
    estimate_mean,
    fill_missing_runs,
)
from tune.stats.verdict import adjust_p_values, describe_difference, serialise_difference

CHANCE_TOLERANCE = 1e-6  # of a score that is a mean over seeds


@dataclass(frozen=True)
class DevPredictions:
    """Predictions of runs on dev. labels: (n,), n >= 2; rows: (n,), logits: (n, classes), by the id of a
    completed run."""

    labels: NDArray[Any]
    rows: dict[str, NDArray[Any]]
    logits: dict[str, NDArray[Any]]

    def by_seed(self, runs: Sequence[TrialRecord]) -> dict[int, NDArray[Any]]:
        """Return the predictions of those runs that completed, by seed."""
        return {run.seed: self.rows[run.id] for run in runs if run.id in self.rows}


def read_dev_predictions(task: Task, runs: Sequence[TrialRecord], output: Path | None) -> DevPredictions:
    """Read what the completed runs predicted, from an output folder.

    Raises InputError where none completed, a file is missing, or they are not of the same examples (two at
    least).
    """
    if output is None:
        raise InputError("predictions: no folder of them was named")
    split, completed = task.dev_splits[0], [run for run in runs if run.outcome == Outcome.COMPLETED]
    files = {run.id: find_predictions(output, run) for run in completed}
    labels, logits = read_evaluation_set(split, files, "predictions")
    if len(labels) < 2:
        raise InputError(f"predictions: {split} has a single example")
    rows = {
        run.id: compute_predictions(task.with_threshold(run.threshold), logits[run.id])
        for run in completed
        if run.id in logits
    }
    return DevPredictions(labels, rows, {**logits})


@dataclass(frozen=True)
class Rival:
    """Another configuration that was confirmed on the winner's fresh seeds. name: in a sentence."""

    name: str
    configuration: dict[str, Any]
    runs: Sequence[TrialRecord]


def summarise_evidence(
    task: Task, runs: Sequence[TrialRecord], output: Path | None
) -> tuple[Evidence | None, float | None, str | None]:
    """Return the mean of the winner's confirmations over seeds and examples, the score of the best constant
    prediction on dev, and why they are not known, each None if there is none.

    output: the folder that holds the predictions.
    """
    try:
        seen = read_dev_predictions(task, runs, output)
    except InputError as error:
        return None, None, str(error)
    chance = chance_level(task, seen.labels)
    return _summarise_mean(task, runs, seen), None if math.isnan(chance) else chance, None


def compare_rivals(
    task: Task,
    mine: Sequence[TrialRecord],
    rivals: Sequence[Rival],
    output: Path | None,
    look: int = 1,
    dropped: int = 0,
) -> list[RivalSection]:
    """Compare the winner's confirmations with those of each rival. p is corrected for their number (Holm) and
    for the look.

    output: the folder that holds the predictions. look: see `verdict.compute_look_share`. dropped: rivals of
    earlier looks that are not among these.
    """
    found = [_compare_with_winner(task, mine, rival.runs, output) for rival in rivals]
    known = [each.p for each, _, _ in found if each is not None and each.p is not None]
    adjusted, tests = iter(adjust_p_values(known, look, dropped)), max(1, len(known) + dropped)
    sections = list[RivalSection]()
    for rival, (difference, evidence, why) in zip(rivals, found, strict=True):
        section, verdict = None, f"not compared with {rival.name} ({why})"
        if difference is not None:
            p = None if difference.p is None else next(adjusted)
            section = DifferenceSection(**serialise_difference(difference, p, tests, look))
            verdict = describe_difference(difference, p, rival.name, tests, look)
        sections.append(
            RivalSection(
                configuration=rival.configuration,
                confirmation=summarise_confirmation(rival.runs, task.metric),
                evidence=evidence,
                difference=section,
                verdict=verdict,
                runs=[*rival.runs],
            )
        )
    return sections


def list_finalists(
    apart: Sequence[Any], trials: Sequence[TrialRecord], records: Sequence[TrialRecord]
) -> dict[int, Rival]:
    """Return the trials of the search, by number, that were confirmed beside the winner.

    apart: configurations that have their own place. records: confirmations of any configuration.
    """
    finalists = {}
    for runs in group_by_configuration(records):
        configuration = runs[0].configuration
        trial = next((trial.number for trial in trials if trial.configuration == configuration), None)
        if trial is not None and configuration not in apart:
            finalists[trial] = Rival(f"trial {trial}", configuration, runs)
    return finalists


def _summarise_mean(task: Task, runs: Sequence[TrialRecord], seen: DevPredictions) -> Evidence | None:
    """Return the mean of these runs over seeds and examples; None if none completed or diverged."""
    seeds = _informative_seeds(runs)
    if not seeds:
        return None
    rows = fill_missing_runs(task, seen.labels, seen.by_seed(runs), seeds)
    estimate = estimate_mean(task.metric, seen.labels, rows, BOOTSTRAP_SEED)
    return Evidence(
        **vars(estimate),
        diverged=sum(run.outcome == Outcome.DIVERGED for run in runs),
        answers=summarise_answers(
            task.with_threshold(find_threshold(runs)),
            seen.labels,
            [seen.logits[run.id] for run in runs if run.id in seen.logits],
        ),
    )


def _compare_with_winner(
    task: Task, mine: Sequence[TrialRecord], theirs: Sequence[TrialRecord], output: Path | None
) -> tuple[PairedDifference | None, Evidence | None, str]:
    """Return the difference of the winner's runs from those of another configuration, the evidence of that,
    and why there is no difference if there is none."""
    try:
        seen = read_dev_predictions(task, [*mine, *theirs], output)
    except InputError as error:
        return None, None, str(error)
    pairs, difference = pair_predictions(task, mine, theirs, seen), None
    if pairs is not None:
        difference = estimate_difference(task.metric, seen.labels, *pairs, BOOTSTRAP_SEED)
    return difference, _summarise_mean(task, theirs, seen), "they share no seed"


def pair_predictions(
    task: Task, mine: Sequence[TrialRecord], theirs: Sequence[TrialRecord], seen: DevPredictions
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the predictions (K, n) of the other and of the winner, over the K seeds with which both
    completed or diverged; None if there is no such seed."""
    both = set(_informative_seeds(theirs))
    seeds = [seed for seed in _informative_seeds(mine) if seed in both]
    if not seeds:
        return None
    return (
        fill_missing_runs(task, seen.labels, seen.by_seed(theirs), seeds),
        fill_missing_runs(task, seen.labels, seen.by_seed(mine), seeds),
    )


def _informative_seeds(runs: Sequence[TrialRecord]) -> list[int]:
    """Return the seeds of those that completed or diverged."""
    return sorted({r.seed for r in runs if r.outcome in (Outcome.COMPLETED, Outcome.DIVERGED)})


def describe_nothing_learned(
    means: Iterable[float], chance: float | None, direction: str, subject: str
) -> list[str]:
    """Say that no mean score is better than that of one answer for all examples, `chance`; else nothing.
    subject: what has the best mean."""
    sign = Direction(direction).sign
    best = max((sign * mean for mean in means), default=None)
    if best is None or chance is None:
        return []
    if best - sign * chance <= CHANCE_TOLERANCE:  # never so without a number
        return [
            f"Nothing was learned: one answer for all examples scores {chance:.4f}, "
            f"{subject} {sign * best:.4f}; "
            f"train longer (--epochs), search other learning rates (--space), or look at the data."
        ]
    return []


def describe_incomplete_runs(name: str, outcomes: Sequence[str], is_seen: bool = True) -> list[str]:
    """Say what became of a configuration's confirmations that did not complete, a sentence each. is_seen:
    whether the predictions of the others are known."""
    ends = Counter(outcomes)
    del ends[Outcome.COMPLETED]
    diverged, said = ends.pop(Outcome.DIVERGED, 0), []
    of = f"of {len(outcomes)} run{'s' if len(outcomes) > 1 else ''}"
    if diverged:
        said.append(
            f"{name}: {diverged} {of} diverged; in the mean the constant prediction stands for "
            f"{'it' if diverged == 1 else 'each'}."
            if is_seen
            else f"{name}: {diverged} {of} diverged; left out of the mean."
        )
    if lost := ends.total():
        why = ", ".join(f"{count} {end}" for end, count in ends.items())
        said.append(f"{name}: {lost} {of} did not complete ({why}); left out, with what is paired with it.")
    return said


def summarise_race(
    trials: Sequence[TrialRecord],
    races: Sequence[TrialRecord],
    winner: TrialRecord | None,
    direction: str,
    chance: float | None = None,
) -> list[RaceRow]:
    """The scores on the selection data of each configuration that was raced, and of the winner: the winner
    first, then the best mean. Empty where there was no race.

    trials: of the search; races: the further seeds. chance: score of a run that learnt nothing, for which one
    that diverged counts in mean and std; both are None where one did and this is unknown. difference is to
    the winner, over the seeds with which both went to their end.
    """
    raced = [record.configuration for record in races]
    won = None if winner is None else winner.configuration
    groups = [
        runs
        for runs in group_by_configuration([*trials, *races])
        if races and (runs[0].configuration in raced or runs[0].configuration == won)
    ]
    base = {} if won is None else collect_full_scores(select_by_configuration(won, [*trials, *races]))
    sign = Direction(direction).sign
    rows = [_race_row(runs, base, runs[0].configuration == won, chance) for runs in groups]
    return sorted(rows, key=lambda row: (not row.won, row.mean is None, -sign * (row.mean or 0.0)))


def _race_row(
    runs: Sequence[TrialRecord], base: Mapping[int, float], won: bool, chance: float | None
) -> RaceRow:
    """Return a row of the race. base: the winner's scores by seed."""
    ends = collect_full_scores(runs)
    scores = {seed: score for seed, score in sorted(ends.items()) if math.isfinite(score)}
    lost = len(ends) - len(scores)
    values = [*scores.values(), *([chance] * lost if chance is not None else [])]
    values = values if len(values) == len(ends) else []
    return RaceRow(
        trial=next((run.number for run in runs if run.purpose == RunPurpose.SEARCH), None),
        configuration=runs[0].configuration,
        won=won,
        seeds=len(ends),
        diverged=lost,
        collapsed=len({run.seed for run in runs if run.seed in scores and run.is_collapsed}),
        scores=scores,
        mean=statistics.fmean(values) if values else None,
        std=statistics.stdev(values) if len(values) > 1 else None,
        difference=None if won else _distance_to_winner(scores, base),
    )


def _distance_to_winner(scores: Mapping[int, float], base: Mapping[int, float]) -> RaceDistance | None:
    """Return how far these scores are from the winner's, seed by seed; None if they share no seed."""
    both = [score - base[seed] for seed, score in scores.items() if math.isfinite(base.get(seed, math.nan))]
    if not both:
        return None
    return RaceDistance(mean=statistics.fmean(both), seeds=len(both))
