"""What a search proves: that the winner is better than ordinary fine-tuning at its learning rate, or not.

Winner and baseline are confirmed with the same fresh seeds, which pairs their runs. A run that diverged
counts with the constant prediction. One that was lost or failed tells nothing of its configuration: it is
left out, with the run that it is paired with.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dps.errors import InputError
from dps.tasks.metrics import compute_predictions
from dps.tasks.task import Task
from dps.training.result import Outcome
from tune.core.direction import Direction
from tune.core.run import RunPurpose
from tune.core.wording import format_probability
from tune.records.ledger import TrialRecord
from tune.records.predictions import find_predictions, read_evaluation_set
from tune.records.replicates import (
    BASELINE_NAME,
    collect_full_scores,
    compute_t_interval,
    derive_baseline,
    group_by_configuration,
    select_by_configuration,
    summarise_confirmation,
)
from tune.records.schema import DifferenceSection
from tune.records.search_document import Evidence, FinalistSection, RaceDistance, RaceRow, RivalSection
from tune.stats.ensemble import summarise_answers
from tune.stats.evidence import (
    BOOTSTRAP_SEED,
    CONFIDENCE_LEVEL,
    PairedDifference,
    estimate_difference,
    estimate_mean,
    fill_missing_runs,
)
from tune.stats.verdict import adjust_p_values, describe_difference, serialise_difference


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
    rows = {run: compute_predictions(task, values) for run, values in logits.items()}
    return DevPredictions(labels, rows, {**logits})


def summarise_evidence(
    task: Task, winner: dict[str, Any] | None, records: Sequence[TrialRecord], output: Path | None
) -> tuple[Evidence | None, RivalSection | None]:
    """Return "evidence" and "baseline" of search.json, each None if there is none.

    winner: its configuration. records: the confirmations, of any configuration. output: the folder that holds
    the predictions.
    """
    configuration = None if winner is None else derive_baseline(winner)
    mine, theirs = select_by_configuration(winner, records), select_by_configuration(configuration, records)
    try:
        mean = _summarise_mean(task, mine, read_dev_predictions(task, [*mine, *theirs], output))
    except InputError:
        mean = None
    return mean, _compare_with_winner(task, mine, theirs, output, BASELINE_NAME) if theirs else None


def explain_missing_evidence(
    task: Task, winner: dict[str, Any], records: Sequence[TrialRecord], output: Path
) -> str | None:
    """Return why the predictions of the winner, or of the baseline beside it, say nothing; None if they do.
    winner, records, output: see `summarise_evidence`."""
    baseline = derive_baseline(winner)
    runs = [run for run in records if run.configuration in (winner, baseline)]
    try:
        read_dev_predictions(task, runs, output)
    except InputError as error:
        return str(error)
    return None


def compare_finalists(
    task: Task,
    winner: dict[str, Any] | None,
    trials: Sequence[TrialRecord],
    records: Sequence[TrialRecord],
    output: Path | None,
) -> list[FinalistSection]:
    """Return the other configurations that were confirmed, beside the winner.

    trials: of the search. records, output: see `summarise_evidence`.
    """
    if winner is None:
        return []
    mine, finalists = select_by_configuration(winner, records), list[FinalistSection]()
    for runs in group_by_configuration(records):
        trial = next((t.number for t in trials if t.configuration == runs[0].configuration), None)
        if trial is None or runs[0].configuration in (winner, derive_baseline(winner)):
            continue
        rival = _compare_with_winner(task, mine, runs, output, f"trial {trial}")
        finalists.append(FinalistSection(trial=trial, **dict(rival)))
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
            task, seen.labels, [seen.logits[run.id] for run in runs if run.id in seen.logits]
        ),
    )


def _compare_with_winner(
    task: Task, mine: Sequence[TrialRecord], theirs: Sequence[TrialRecord], output: Path | None, name: str
) -> RivalSection:
    """Compare the winner's runs with those of another configuration, which has this name."""
    difference, evidence, why = None, None, "they share no seed"
    try:
        seen = read_dev_predictions(task, [*mine, *theirs], output)
        difference, evidence = (
            _paired_difference(task, mine, theirs, seen),
            _summarise_mean(task, theirs, seen),
        )
    except InputError as error:
        why = str(error)
    if difference is None:
        section, verdict = None, f"not compared with {name} ({why})"
    else:
        section = DifferenceSection(**serialise_difference(difference, _adjust_p(difference)))
        verdict = describe_winner_difference(difference, name)
    return RivalSection(
        configuration=theirs[0].configuration,
        confirmation=summarise_confirmation(theirs, task.metric),
        evidence=evidence,
        difference=section,
        verdict=verdict,
        runs=[*theirs],
    )


def _paired_difference(
    task: Task, mine: Sequence[TrialRecord], theirs: Sequence[TrialRecord], seen: DevPredictions
) -> PairedDifference | None:
    """Return the winner minus the other, over the seeds with which both completed or diverged."""
    both = set(_informative_seeds(theirs))
    seeds = [seed for seed in _informative_seeds(mine) if seed in both]
    if not seeds:
        return None
    winner, baseline = (
        fill_missing_runs(task, seen.labels, seen.by_seed(runs), seeds) for runs in (mine, theirs)
    )
    return estimate_difference(task.metric, seen.labels, baseline, winner, BOOTSTRAP_SEED)


def _adjust_p(difference: PairedDifference) -> float | None:
    return None if difference.p is None else adjust_p_values([difference.p])[0]


def _informative_seeds(runs: Sequence[TrialRecord]) -> list[int]:
    """Return the seeds of those that completed or diverged."""
    return sorted({r.seed for r in runs if r.outcome in (Outcome.COMPLETED, Outcome.DIVERGED)})


def describe_winner_difference(difference: PairedDifference, name: str = BASELINE_NAME) -> str:
    """Describe the winner beside the configuration of this name, in half a sentence."""
    said = describe_difference(difference, _adjust_p(difference), name)
    if difference.probability_better is None:
        return said
    return f"{said}; P(better) {format_probability(difference.probability_better)}, over seeds and examples"


def describe_incomplete_runs(name: str, outcomes: Sequence[str]) -> list[str]:
    """Say what became of a configuration's confirmations that did not complete, a sentence each."""
    ends = Counter(outcomes)
    del ends[Outcome.COMPLETED]
    diverged, said = ends.pop(Outcome.DIVERGED, 0), []
    of = f"of {len(outcomes)} run{'s' if len(outcomes) > 1 else ''}"
    if diverged:
        said.append(
            f"{name}: {diverged} {of} diverged; over seeds and examples the constant prediction stands for "
            f"each, the mean of the fresh seeds leaves {'it' if diverged == 1 else 'them'} out."
        )
    if lost := ends.total():
        why = ", ".join(f"{count} {end}" for end, count in ends.items())
        said.append(f"{name}: {lost} {of} did not complete ({why}); left out, with what is paired with it.")
    return said


def summarise_race(
    trials: Sequence[TrialRecord], races: Sequence[TrialRecord], winner: TrialRecord | None, direction: str
) -> list[RaceRow]:
    """The scores on the selection data of each configuration that was raced, and of the winner: the winner
    first, then the best mean. Empty where there was no race.

    trials: of the search; races: the further seeds. mean and std are over the runs that went to their end,
    diverged is how many did not; difference is to the winner, paired by seed.
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
    rows = [_race_row(runs, base, runs[0].configuration == won) for runs in groups]
    return sorted(rows, key=lambda row: (not row.won, row.mean is None, -sign * (row.mean or 0.0)))


def _race_row(runs: Sequence[TrialRecord], base: Mapping[int, float], won: bool) -> RaceRow:
    """Return a row of the race. base: the winner's scores by seed."""
    ends = collect_full_scores(runs)
    scores = {seed: score for seed, score in sorted(ends.items()) if math.isfinite(score)}
    values = list(scores.values())
    return RaceRow(
        trial=next((run.number for run in runs if run.purpose == RunPurpose.SEARCH), None),
        configuration=runs[0].configuration,
        won=won,
        seeds=len(ends),
        diverged=len(ends) - len(scores),
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
    return RaceDistance(
        mean=statistics.fmean(both),
        interval=compute_t_interval(both),
        seeds=len(both),
        level=CONFIDENCE_LEVEL,
    )
