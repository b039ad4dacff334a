"""What the page of a search says beside its plots: scores by seed, answers, failures, stages, notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dps.selection import StageSchedule
from dps.wording import format_share
from tune.core.run import RunPurpose
from tune.core.wording import format_number
from tune.records.ledger import TrialRecord
from tune.records.search_document import ProfileSection, SearchDocument
from tune.reporting.figures.confirmed import ConfirmedConfiguration
from tune.reporting.figures.standings import ConfigurationStanding
from tune.stats.ensemble import AnswerSummary
from tune.stats.evidence import bound_rate


def describe_standing(standing: ConfigurationStanding) -> str:
    """Return the note beside a configuration on the leaderboard."""
    notes = ["winner"] if standing.won else []
    notes += ["the published values"] if standing.published else []
    notes += [f"{standing.collapsed} of its runs collapsed"] if standing.collapsed else []
    notes += [f"{standing.diverged} diverged"] if standing.diverged else []
    return ", ".join(notes)


def group_runs_by_phase(document: SearchDocument) -> dict[str, list[TrialRecord]]:
    """Return the runs of each phase, by its name."""
    return {
        "exploration": document.trials,
        "race": document.race_runs,
        "confirmation": document.confirmation_runs,
        **{
            f"baseline {each.name}": [*each.trials, *each.race_runs, *each.runs]
            for each in document.baselines
        },
        **{f"trial {finalist.trial}, confirmed": finalist.runs for finalist in document.finalists},
    }


def group_failures_by_kind(document: SearchDocument) -> list[tuple[str, list[TrialRecord]]]:
    """Return (kind, runs) of those that failed, the most frequent kind first."""
    kinds: dict[str, list[TrialRecord]] = {}
    for phase, runs in group_runs_by_phase(document).items():
        for run in runs:
            if run.outcome.is_failure:
                of_search = run.purpose == RunPurpose.SEARCH
                name = f"trial {run.id}" if of_search else f"{phase}, seed {run.seed}"
                kinds.setdefault(str(run.outcome), []).append(replace(run, id=name))
    return sorted(kinds.items(), key=lambda pair: -len(pair[1]))


def describe_stages(document: SearchDocument) -> list[str]:
    """Say how a DPS winner alternated, and which share of the weights it selected."""
    configuration = document.winner.configuration if document.winner else {}
    ratio, share = configuration.get("update_ratio"), configuration.get("selection_ratio")
    if ratio is None or share is None:
        return []
    steps = max((run.step for run in document.confirmation_runs), default=0) or document.plan.confirm_steps
    interval = StageSchedule(steps, ratio).interval
    lines = [
        f"{configuration['method']} alternates every {interval} of {steps:,} steps: Stage I accumulates "
        f"gradients, Stage II updates the selected {share:.3g} of each weight matrix."
    ]
    kept = [run.selected_share for run in document.confirmation_runs if run.selected_share is not None]
    if kept:
        ends = " to ".join(dict.fromkeys(f"{share:.4f}" for share in (min(kept), max(kept))))
        lines.append(f"Selected in the confirmations: {ends} of all covered weights.")
    return [*lines, f"Covered: {document.covered}."] if document.covered else lines


def describe_start(profile: ProfileSection | None) -> str:
    """Say what went by before the first step; "" if that is unknown."""
    if profile is None:
        return ""
    before = profile.before_first_step
    return (
        f"{sum(before.values()):.1f} s: {before['plan_and_cluster']:.1f} s for plan and cluster, "
        f"{before['slots']:.1f} s for slots (worker group, model, tokens)"
    )


def tabulate_scores_by_seed(
    document: SearchDocument, sides: Sequence[ConfirmedConfiguration]
) -> list[tuple[int, list[str]]]:
    """Return (seed, how the run of each configuration ended with it) for each fresh seed."""
    columns = []
    for side in sides:
        scores = side.confirmation.scores if side.confirmation else {}
        ends = {seed: f"{score:.4f}" for seed, score in scores.items()}
        columns.append(ends | {run.seed: _describe_end(run, document.metric) for run in side.runs})
    return [(seed, [ends.get(seed, "-") for ends in columns]) for seed in sorted(set().union(*columns))]


def describe_answers(sides: Sequence[ConfirmedConfiguration]) -> list[tuple[str, list[str]]]:
    """Return (what, of each configuration) for what is known of the answers of their runs."""

    def describe(answers: AnswerSummary | None) -> dict[str, str]:
        if answers is None:
            return {}
        together = answers.ensemble
        figures = {"log loss": answers.log_loss, "calibration error (ECE)": answers.calibration_error}
        said = {name: format_number(value, ".4f") for name, value in figures.items()}
        bound = bound_rate(answers.collapsed, answers.runs)
        said["collapsed"] = f"{answers.collapsed} of {answers.runs} (up to {format_share(bound)})"
        if together is not None:
            said["ensemble of the seeds"] = f"{together.score:.4f}"
            low, high = together.interval or (None, None)
            said["ensemble: 95 % interval"] = f"{low:.4f} to {high:.4f}" if together.interval else "-"
            said["ensemble: log loss"] = format_number(together.log_loss, ".4f")
            said["ensemble: calibration error"] = format_number(together.calibration_error, ".4f")
        return said

    columns = [describe(side.answers) for side in sides]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, [column.get(name, "-") for column in columns]) for name in names]
    return [(name, cells) for name, cells in rows if {*cells} != {"-"}]


def count_collapsed(document: SearchDocument) -> tuple[int, int]:
    """Return how many runs gave one answer to all examples, and of how many it is known."""
    known = [
        run.is_collapsed
        for runs in group_runs_by_phase(document).values()
        for run in runs
        if run.outcome.is_usable and run.is_collapsed is not None
    ]
    return sum(known), len(known)


def _describe_end(run: TrialRecord, metric: str) -> str:
    """Return the run's score on dev, or how it ended."""
    return f"{run.final['dev'][metric]:.4f}" if "dev" in run.final else str(run.outcome)
