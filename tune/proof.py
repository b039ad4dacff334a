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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dps import metrics
from dps.errors import InputError
from dps.tasks import Task
from tune import evidence, paired, predictions, replicates
from tune.ledger import Record
from tune.outcomes import Outcome
from tune.resampling import Values
from tune.tables import probability

BASELINE = "vanilla"
NAME = f"{BASELINE} at the same learning rate"
Found = dict[str, Any]


def baseline_of(configuration: dict[str, Any]) -> dict[str, Any] | None:
    """Ordinary fine-tuning at the learning rate of this configuration; None where it is that itself."""
    if configuration["method"] == BASELINE:
        return None
    return {"method": BASELINE, "learning_rate": configuration["learning_rate"]}


def runs_of(configuration: dict[str, Any] | None, records: Sequence[Record]) -> list[Record]:
    """The records of this configuration."""
    return [record for record in records if record.configuration == configuration]


@dataclass(frozen=True)
class Seen:
    """What runs predicted on dev. labels: (n,), n >= 2; rows: (n,) by the id of a completed run."""

    labels: Values
    rows: dict[str, Values]

    def by_seed(self, runs: Sequence[Record]) -> dict[int, Values]:
        """Predictions of those runs that completed."""
        return {run.seed: self.rows[run.id] for run in runs if run.id in self.rows}


def read(task: Task, runs: Sequence[Record], output: Path | None) -> Seen:
    """What the completed runs predicted, from the predictions in an output folder.

    Raises InputError where none completed, a file is missing, or they are not of the same examples (two at
    least).
    """
    if output is None:
        raise InputError("predictions: no folder of them was named")
    split, seen = task.dev_splits[0], dict[str, Values]()
    labels: Values | None = None
    for run in runs:
        if run.outcome != Outcome.COMPLETED:
            continue
        file = predictions.place(output, run.id)
        held = predictions.read(file)
        if split not in held:
            raise InputError(f"predictions: {file} holds nothing on {split}")
        gold, logits = held[split]
        if labels is not None and not np.array_equal(labels, gold):
            raise InputError(f"predictions: {file} was made on other examples of {split} than the rest")
        labels, seen[run.id] = gold, metrics.predicted(task, logits)
    if labels is None:
        raise InputError("predictions: no confirmation completed")
    if len(labels) < 2:
        raise InputError(f"predictions: {split} has a single example")
    return Seen(labels, seen)


def document(
    task: Task, winner: dict[str, Any] | None, records: Sequence[Record], output: Path | None
) -> tuple[Found | None, Found | None]:
    """("evidence", "baseline") of search.json; None what there is not.

    winner: its configuration. records: the confirmations, of any configuration. output: the folder that holds
    the predictions.
    """
    configuration = None if winner is None else baseline_of(winner)
    mine, theirs = runs_of(winner, records), runs_of(configuration, records)
    try:
        mean = _mean(task, mine, read(task, [*mine, *theirs], output))
    except InputError:
        mean = None
    return mean, _beside(task, mine, theirs, output, NAME) if theirs else None


def finalists(
    task: Task,
    winner: dict[str, Any] | None,
    trials: Sequence[Record],
    records: Sequence[Record],
    output: Path | None,
) -> list[Found]:
    """The other configurations that were confirmed, each as "baseline" of search.json is, with its trial.

    trials: of the search. records, output: see `document`.
    """
    if winner is None:
        return []
    mine, found = runs_of(winner, records), list[Found]()
    for runs in replicates.by_configuration(records):
        trial = next((t.number for t in trials if t.configuration == runs[0].configuration), None)
        if trial is None or runs[0].configuration in (winner, baseline_of(winner)):
            continue
        found.append({"trial": trial, **_beside(task, mine, runs, output, f"trial {trial}")})
    return found


def _mean(task: Task, runs: Sequence[Record], seen: Seen) -> Found | None:
    """The mean of these runs over seeds and examples, and how many of them diverged; None where none tells
    anything."""
    seeds = _telling(runs)
    if not seeds:
        return None
    rows = paired.filled(task, seen.labels, seen.by_seed(runs), seeds)
    estimate = evidence.mean_interval(task.metric, seen.labels, rows, paired.BOOTSTRAP_SEED)
    return {**asdict(estimate), "diverged": sum(run.outcome == Outcome.DIVERGED for run in runs)}


def _beside(
    task: Task, mine: Sequence[Record], theirs: Sequence[Record], output: Path | None, name: str
) -> Found:
    """Runs of another configuration, of this name, and how the winner's differ from them."""
    difference, evidence_of_theirs, why = None, None, "they share no seed"
    try:
        seen = read(task, [*mine, *theirs], output)
        difference, evidence_of_theirs = _difference(task, mine, theirs, seen), _mean(task, theirs, seen)
    except InputError as error:
        why = str(error)
    confirmation = replicates.confirm(theirs, task.metric)
    return {
        "configuration": theirs[0].configuration,
        "confirmation": confirmation and asdict(confirmation),
        "evidence": evidence_of_theirs,
        "difference": difference and paired.described(difference, difference.p),
        "verdict": f"not compared with {name} ({why})" if difference is None else verdict(difference, name),
    }


def _difference(
    task: Task, mine: Sequence[Record], theirs: Sequence[Record], seen: Seen
) -> evidence.Difference | None:
    """The winner minus the other, over the seeds of which both runs tell something."""
    both = set(_telling(theirs))
    seeds = [seed for seed in _telling(mine) if seed in both]
    if not seeds:
        return None
    winner, baseline = (
        paired.filled(task, seen.labels, seen.by_seed(runs), seeds) for runs in (mine, theirs)
    )
    return evidence.difference(task.metric, seen.labels, baseline, winner, paired.BOOTSTRAP_SEED)


def _telling(runs: Sequence[Record]) -> list[int]:
    """The seeds of those that completed or diverged."""
    return sorted({r.seed for r in runs if r.outcome in (Outcome.COMPLETED, Outcome.DIVERGED)})


def verdict(difference: evidence.Difference, name: str = NAME) -> str:
    """What may be said of the winner beside what has this name, in half a sentence."""
    said = evidence.words(difference, difference.p, name)
    if difference.probability_better is None:
        return said
    return f"{said}; P(better) {probability(difference.probability_better)}, over seeds and examples"


def gaps(name: str, outcomes: Sequence[str]) -> list[str]:
    """What became of those of a configuration's confirmations that did not complete, a sentence each."""
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


def race(
    trials: Sequence[Record], races: Sequence[Record], winner: Record | None, direction: str
) -> list[Found]:
    """The scores on the selection data of each configuration that was raced, and of the winner: the winner
    first, then the best mean. Empty where there was no race.

    trials: of the search; races: the further seeds. mean and std are over the runs that went to their end,
    diverged is how many did not; difference is to the winner, paired by seed.
    """
    raced = [record.configuration for record in races]
    won = None if winner is None else winner.configuration
    groups = [
        runs
        for runs in replicates.by_configuration([*trials, *races])
        if races and (runs[0].configuration in raced or runs[0].configuration == won)
    ]
    base = {} if won is None else replicates.full_scores(runs_of(won, [*trials, *races]))
    sign = 1 if direction == "max" else -1
    rows = [_racer(runs, base, runs[0].configuration == won) for runs in groups]
    return sorted(rows, key=lambda row: (not row["won"], row["mean"] is None, -sign * (row["mean"] or 0.0)))


def _racer(runs: Sequence[Record], base: Mapping[int, float], won: bool) -> Found:
    """A row of the race. base: the winner's scores by seed."""
    ends = replicates.full_scores(runs)
    scores = {seed: score for seed, score in sorted(ends.items()) if math.isfinite(score)}
    values = list(scores.values())
    return {
        "trial": next((run.number for run in runs if run.purpose == "search"), None),
        "configuration": runs[0].configuration,
        "won": won,
        "seeds": len(ends),
        "diverged": len(ends) - len(scores),
        "scores": scores,
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "difference": None if won else _behind(scores, base),
    }


def _behind(scores: Mapping[int, float], base: Mapping[int, float]) -> Found | None:
    """How far these scores are from the winner's, seed by seed; None where they share no seed."""
    both = [score - base[seed] for seed, score in scores.items() if math.isfinite(base.get(seed, math.nan))]
    if not both:
        return None
    return {
        "mean": statistics.fmean(both),
        "interval": replicates.interval(both),
        "seeds": len(both),
        "level": replicates.LEVEL,
    }
