"""The result of a search, to be read: its sentence, how sure it is, the lines at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tune.core.direction import Direction
from tune.core.wording import format_configuration, format_objective, format_usage
from tune.records.failures import format_failure_summary
from tune.records.replicates import BASELINE_NAME
from tune.records.schema import PlanSection
from tune.records.search_document import Evidence, ParetoSection, RaceDistance, RaceRow, SearchDocument
from tune.reporting.confirmation import describe_incomplete_runs
from tune.stats.evidence import MIN_SEEDS

CHANCE_TOLERANCE = 1e-6  # of a score that is a mean over seeds


def format_result_sentence(document: SearchDocument) -> str:
    """Say what won, by how much, and how sure that is."""
    winner, confirmation = document.winner, document.confirmation
    if winner is None:
        return "No trial finished."
    text = f"Trial {winner.trial} won: {format_configuration(winner.configuration)}."
    if confirmation is None:
        return text + " It was not confirmed." + _format_baseline_verdict(document)
    count = len(confirmation.scores)
    text += f" On dev, over {count} fresh seed{'s' if count > 1 else ''}: "
    text += f"{document.metric} {confirmation.mean:.4f}"
    if confirmation.std is None or confirmation.interval is None:
        return text + "." + _format_baseline_verdict(document)
    low, high = confirmation.interval
    text += (
        f" (standard deviation {confirmation.std:.4f}, {confirmation.level:.0%} interval of the mean "
        f"{low:.4f} to {high:.4f})."
    )
    return text + _format_baseline_verdict(document)


def _format_baseline_verdict(document: SearchDocument) -> str:
    """Return the verdict on the winner beside the baseline, if there is one, to append."""
    return f" It is {document.baseline.verdict}." if document.baseline else ""


def format_certainty_lines(document: SearchDocument) -> list[str]:
    """Say how sure the confirmation is: over seeds and examples, what did not complete, what ranked."""
    confirmations = {"The winner": document.confirmation_runs}
    if document.baseline:
        confirmations[BASELINE_NAME] = document.baseline.runs
    confirmations |= {f"Trial {finalist.trial}": finalist.runs for finalist in document.finalists}
    lines = _describe_chance(document)
    lines += [_format_standard_error(document.evidence)] if document.evidence else []
    lines += _describe_answers(document)
    if document.evidence_error and document.confirmation:
        lines.append(f"Over seeds and examples nothing can be said: {document.evidence_error}.")
    lines += [f"The winner is {finalist.verdict}." for finalist in document.finalists]
    for name, runs in confirmations.items():
        lines += describe_incomplete_runs(name, [run.outcome for run in runs])
    if document.plan.settings.select_on == "dev" and document.confirmation:
        lines.append("Configurations were ranked on dev, which is reported too: these scores are optimistic.")
    return [*lines, *describe_cut_texts(document.plan)]


def _describe_chance(document: SearchDocument) -> list[str]:
    """Say in one line that the winner is no better than one answer for all examples; else nothing."""
    confirmation, chance = document.confirmation, document.chance
    if confirmation is None or chance is None or not confirmation.scores:
        return []
    sign = Direction(document.direction).sign
    if sign * confirmation.mean > sign * chance + CHANCE_TOLERANCE:
        return []
    return [
        f"The winner may have learned nothing: one answer for all examples scores {chance:.4f} on the "
        f"selection data; train longer, search other learning rates, or look at the data."
    ]


def _describe_answers(document: SearchDocument) -> list[str]:
    """Say how sure the winner's runs are of their answers, which of them collapsed, and what they say
    together."""
    answers = document.evidence and document.evidence.answers
    if not answers:
        return []
    lines = []
    if answers.collapsed:
        lines.append(
            f"{answers.collapsed} of {answers.runs} runs of the winner collapsed to one answer for all."
        )
    if answers.log_loss is not None and answers.calibration_error is not None:
        lines.append(
            f"Log loss {answers.log_loss:.4f}, calibration error (ECE) {answers.calibration_error:.4f}: "
            f"means over the fresh seeds."
        )
    if (together := answers.ensemble) is not None:
        said = f"The ensemble of the {together.runs} models: {document.metric} {together.score:.4f}"
        if together.interval is not None:
            low, high = together.interval
            said += f", {together.level:.0%} interval {low:.4f} to {high:.4f} over the examples"
        if together.log_loss is not None:
            said += f"; log loss {together.log_loss:.4f}, calibration error {together.calibration_error:.4f}"
        lines.append(f"{said}.")
    return lines


def describe_cut_texts(plan: PlanSection) -> list[str]:
    """Say in one line which sets have examples with more tokens than a run reads; nothing if none has."""
    if not plan.cut:
        return []
    cut = ", ".join(f"{count:,} of {name}" for name, count in plan.cut.items())
    return [f"Cut at {plan.settings.max_length} tokens, without what comes after: examples {cut}."]


def _format_standard_error(evidence: Evidence) -> str:
    parts = f"{evidence.examples_part:.4f} by the {evidence.examples:,} examples"
    interval = f"too few for an interval ({evidence.seeds} of {MIN_SEEDS} seeds)"
    if evidence.interval is not None:
        interval = f"{evidence.level:.0%} interval {evidence.interval[0]:.4f} to {evidence.interval[1]:.4f}"
    seeds = "the spread over seeds is not known"
    if evidence.seeds_part is not None:
        seeds = f"{evidence.seeds_part:.4f} by the {evidence.seeds} seeds"
    return (
        f"Over seeds and examples together: {evidence.mean:.4f}, {interval}; standard error {parts}, {seeds}."
    )


def format_race_lines(rows: Sequence[RaceRow]) -> list[str]:
    """Format the race in three lines at most: the winner, and who came next."""
    first, *others = rows
    lines = [f"Race on the selection data: {_format_race_row(first)}"]
    lines += [f"  {_format_race_row(row)}{_format_distance_to_winner(row.difference)}" for row in others[:2]]
    if len(others) > 2:
        lines[-1] += f"; {len(others) - 2} more in report.html"
    return lines


def _format_race_row(row: RaceRow) -> str:
    mean = "no score" if row.mean is None else f"mean {row.mean:.4f}"
    std = "" if row.std is None else f", standard deviation {row.std:.4f}"
    bad = f", {row.diverged} diverged" if row.diverged else ""
    return f"trial {row.trial}, {row.seeds} seed{'' if row.seeds == 1 else 's'}: {mean}{std}{bad}"


def _format_distance_to_winner(difference: RaceDistance | None) -> str:
    """Return the distance of a configuration from the winner, to append."""
    if difference is None:
        return ""
    text = f"; to the winner {difference.mean:+.4f}"
    if difference.interval is None:
        return text
    low, high = difference.interval
    return f"{text} ({difference.level:.0%} interval {low:+.4f} to {high:+.4f}, {difference.seeds} pairs)"


def format_pareto_lines(pareto: ParetoSection) -> list[str]:
    """Format the front, a line for each configuration."""
    lines = [f"Pareto front of {', '.join(pareto.objectives)}:"]
    for point in pareto.front:
        values = ", ".join(format_objective(name, value) for name, value in point.values.items())
        lines.append(f"  trial {point.trial}: {values}  {format_configuration(point.configuration)}")
    return lines if pareto.front else [f"{lines[0]} empty, no configuration has all of them."]


def summarise_search(document: SearchDocument, output: Path, view_command: str | None) -> list[str]:
    """Return the lines that end a search on the terminal. view_command: shows what was tracked."""
    lines = [document.sentence]
    if document.race:
        lines += format_race_lines(document.race)
    elif runner_up := _format_runner_up(document):
        lines.append(runner_up)
    if document.confirmation:
        lines += [f"  seed {seed}: {score:.4f}" for seed, score in document.confirmation.scores.items()]
    lines += format_certainty_lines(document)
    if document.pareto:
        lines += format_pareto_lines(document.pareto)
    ends = ", ".join(f"{count} {outcome}" for outcome, count in document.outcomes.items())
    spent = document.spent
    took = f"{spent.seconds:.0f} s, {spent.slot_seconds:.0f} slot seconds{format_usage(spent.to_json())}"
    lines.append(f"Trials: {ends}. {took}.")
    if document.failures and document.failures.failed:
        lines.append(format_failure_summary(document.failures))
    model = "best/ is the model, " if (output / "best").is_dir() else ""
    model += "ensemble/ all of them, " if (output / "ensemble").is_dir() else ""
    lines.append(f"Results: {output} ({model}report.html the report, search.json everything)")
    if view_command:
        lines.append(f"Look:    {view_command}")
    return lines


def _format_runner_up(document: SearchDocument) -> str | None:
    """Compare the winner's score with the best of the other trials that went as far."""
    if document.winner is None:
        return None
    sign = document.direction.sign
    ends = {run.number: run.scores[-1] for run in document.trials if run.outcome.is_usable and run.scores}
    step, first = ends.pop(document.winner.trial)
    others = [(-sign * score, trial) for trial, (at, score) in ends.items() if at == step]
    if not others:
        return None
    worse, trial = min(others)
    second = -sign * worse
    return (
        f"On the selection data, one seed: {first:.4f}; the next, trial {trial}, {second:.4f} "
        f"({abs(first - second):.4f} behind; a single seed does not prove such a gap)."
    )
