"""The result of a search, to be read: its sentence, how sure it is, the lines at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dps.training.result import Outcome
from dps.wording import format_count, format_hundredths, format_share, list_names
from tune.core.space import make_configuration_key
from tune.core.wording import format_configuration, format_objective, format_p_value, format_usage
from tune.records.failures import format_failure_summary
from tune.records.replicates import collect_full_scores, group_by_configuration
from tune.records.schema import DifferenceSection, PlanSection
from tune.records.search_document import (
    BaselineSection,
    Evidence,
    ParetoSection,
    RaceDistance,
    RaceRow,
    SearchDocument,
)
from tune.reporting.confirmation import describe_incomplete_runs, describe_nothing_learned
from tune.stats.evidence import MIN_SEEDS, bound_rate
from tune.stats.verdict import describe_more_seeds, is_distinguishable


def format_result_sentence(document: SearchDocument) -> str:
    """Say what won, what searching added to the published values, and how it compares with methods that were
    tuned as well; first of all, where it is so, that nothing was learned."""
    lines = list_verdict_lines(document)
    baselines = _order_baselines(document.baselines)[1:]
    compared = [baseline for baseline in document.baselines if baseline.difference is not None]
    lines += [_format_baseline(baseline) for baseline in baselines] if document.winner else []
    if compared and document.winner:
        lines.append(_describe_pairs(compared, document.dropped))
    return " ".join(lines)


def list_verdict_lines(document: SearchDocument) -> list[str]:
    """Return the verdict in three short sentences: what won, how good it is, and what searching added to the
    published values or how it compares with the first baseline; before them, where it is so, that nothing was
    learned."""
    winner = document.winner
    if winner is None:
        return ["No trial finished."]
    won = f"Trial {winner.trial} won: {format_configuration(winner.configuration)}"
    won += "; these are the published values, and nothing found beats them." if winner.published else "."
    first = [_format_baseline(baseline) for baseline in _order_baselines(document.baselines)[:1]]
    mean, chance = _find_mean_and_chance(document)
    means = [] if mean is None else [mean]
    nothing = describe_nothing_learned(means, chance, document.direction, "the winner")
    return [*nothing, won, _format_mean(document), *first]


def _find_mean_and_chance(document: SearchDocument) -> tuple[float | None, float | None]:
    """Return the winner's mean over the fresh seeds and the score of one answer for all examples."""
    return document.mean, document.chance if document.dev_chance is None else document.dev_chance


def _format_mean(document: SearchDocument) -> str:
    """Say what the winner scores on dev, with its interval."""
    evidence, confirmation = document.evidence, document.confirmation
    if confirmation is None:
        return "It was not confirmed."
    count = len(confirmation.scores) if evidence is None else evidence.seeds
    mean, _ = _find_mean_and_chance(document)
    text = f"On dev, over {format_count(count, 'fresh seed')}: {document.metric} {mean:.4f}"
    if count < MIN_SEEDS:
        return f"{text} (too few seeds for an interval)."
    if evidence is None or evidence.interval is None:
        return f"{text}."
    low, high = evidence.interval
    within = f"{format_share(evidence.level)} interval {low:.4f} to {high:.4f}, over seeds and examples"
    return f"{text} ({within})."


def _order_baselines(baselines: Sequence[BaselineSection]) -> list[BaselineSection]:
    """Order them as a sentence names them: the published values, then what trains as the winner does."""
    return sorted(baselines, key=lambda each: (not each.published, _trains_otherwise(each)))


def _trains_otherwise(baseline: BaselineSection) -> bool:
    """Return whether the text on a baseline's training names something that the winner has otherwise."""
    return "(the winner: " in baseline.differs or ", the winner " in baseline.differs


def _format_baseline(baseline: BaselineSection) -> str:
    """Say how the winner compares with a baseline, what that is, and how else it trains."""
    difference = baseline.difference
    if difference is None:
        return f"It was {baseline.verdict}."
    told = describe_told_difference(difference)
    size, within = _format_size(difference)
    trained = "they trained" if baseline.published else f"{baseline.name} trained"
    which = f"; {trained} {baseline.differs}" if baseline.differs else ""
    if baseline.published:
        if told == "better":
            return f"Searching gained {size[1:]} points over the published values ({within}){which}."
        if told == "not distinguishable":
            said = f"No gain of searching over the published values can be shown: {size} points ({within})"
            return f"{said}{which}."
    if baseline.is_tuned:
        rates, tuned = len(baseline.learning_rates), baseline.format_tuned_values()
        count, noun = (len(baseline.trials), " configurations") if "," in tuned else (rates, "")
        tried = f"best of {count}{noun}{_describe_choice(baseline)}" if count > 1 else "the one tried"
        title = f"{baseline.title} ({tuned}, {tried})"
    else:
        title = baseline.title
    if told == "not distinguishable":
        return f"It is not distinguishable from {title}: {size} points ({within}){which}."
    return f"It is {told} than {title} by {size.lstrip('+-')} points ({within}){which}."


def _describe_choice(baseline: BaselineSection) -> str:
    """Say by how many seeds a baseline's configuration was chosen, and those that it raced with."""
    groups = group_by_configuration(baseline.race_runs)
    seeds = {runs[0].configuration_key: 1 + len(collect_full_scores(runs)) for runs in groups}
    raced = sorted(count for count in seeds.values() if count > 1)
    if seeds.get(make_configuration_key(baseline.configuration), 1) == 1:
        return " by one seed"
    between = str(raced[0]) if raced[0] == raced[-1] else f"{raced[0]} to {raced[-1]}"
    return f", {len(raced)} of them by {between} seeds"


def describe_told_difference(difference: DifferenceSection) -> str:
    """Return "better", "worse" or "not distinguishable": what the data tell of the winner."""
    if difference.seeds < MIN_SEEDS:  # of an earlier version, which gave these an interval
        return "not distinguishable"
    if not is_distinguishable(difference.adjusted_p, difference.interval, difference.level):
        return "not distinguishable"
    return "better" if difference.mean > 0 else "worse"


def _format_size(difference: DifferenceSection) -> tuple[str, str]:
    """Return the points of a difference, and what is known of them."""
    interval = None if difference.seeds < MIN_SEEDS else difference.interval
    size, *ends = format_hundredths(difference.mean, *(interval or ()), sign="+")
    if difference.seeds < MIN_SEEDS:
        return size, f"{format_count(difference.seeds, 'pair')}: too few to tell"
    if not ends:
        return size, "all pairs the same"
    p = "" if difference.adjusted_p is None else f", p {format_p_value(difference.adjusted_p)}"
    return size, f"{format_share(difference.level)} interval {ends[0]} to {ends[1]}{p}"


def _describe_pairs(compared: Sequence[BaselineSection], dropped: Sequence[str]) -> str:
    """Say what the differences are over. dropped: see `SearchDocument`."""
    differences = [each.difference for each in compared if each.difference is not None]
    seeds = {difference.seeds for difference in differences}
    over = "the seeds that both sides share"
    if len(seeds) == 1:
        over = f"the same {format_count(seeds.pop(), 'seed')}"
    known = sum(difference.adjusted_p is not None for difference in differences)
    tests = known + len(dropped) if known else 0
    before = f", {list_names(dropped)} of an earlier look among them" if dropped else ""
    look = max(difference.look for difference in differences)
    reasons = [f"{tests} comparisons (Holm{before})"] if tests > 1 else []
    reasons += [f"{look} looks at the data"] if look > 1 else []
    corrected = f"; p is corrected for {' and for '.join(reasons)}" if reasons else ""
    return f"Differences are over {over} and the examples of dev{corrected}."


def format_certainty_lines(document: SearchDocument) -> list[str]:
    """Say how sure the confirmation is: over seeds and examples, what did not complete, what ranked."""
    lines = []
    if document.evidence and document.evidence.standard_error:  # 0: nothing varied, which says nothing
        lines.append(_format_standard_error(document.evidence))
    lines += [*_describe_doubt(document), *_describe_answers(document)]
    if document.evidence_error and document.confirmation:
        lines.append(f"No interval over seeds and examples: {document.evidence_error}.")
    rivals = {f"Trial {finalist.trial}": finalist for finalist in document.finalists}
    lines += [line for baseline in document.baselines for line in _advise_more_seeds(baseline)]
    lines += [f"The winner is {rival.verdict}." for rival in rivals.values()]
    sides = {"The winner": (document.confirmation_runs, document.evidence)}
    sides |= {one.title.capitalize(): (one.runs, one.evidence) for one in document.baselines}
    sides |= {name: (rival.runs, rival.evidence) for name, rival in rivals.items()}
    for name, (runs, evidence) in sides.items():
        lines += describe_incomplete_runs(name, [run.outcome for run in runs], evidence is not None)
    if document.plan.settings.select_on == "dev" and document.confirmation:
        lines.append("Configurations were ranked on dev, which is reported too: these scores are optimistic.")
    return [*lines, *describe_cut_texts(document.plan)]


def _advise_more_seeds(baseline: BaselineSection) -> list[str]:
    """Say how many more seeds it takes to tell the winner from a baseline, where these do not."""
    difference = baseline.difference
    if difference is None or difference.adjusted_p is None or "more_seeds" not in difference.model_fields_set:
        return []
    if describe_told_difference(difference) != "not distinguishable":
        return []
    advice = describe_more_seeds(difference.more_seeds, difference.examples)
    return [f"Against {baseline.title}: {advice}."]


def _describe_doubt(document: SearchDocument) -> list[str]:
    """Say that the winner may have learned nothing, where its interval holds what one answer scores."""
    evidence, (_, chance) = document.evidence, _find_mean_and_chance(document)
    if evidence is None or evidence.interval is None or chance is None:
        return []
    low, high = evidence.interval
    if not low <= chance <= high:
        return []
    return [f"The winner may have learned nothing: one answer for all examples scores {chance:.4f}."]


def _describe_answers(document: SearchDocument) -> list[str]:
    """Say how sure the winner's runs are of their answers, which of them collapsed, and what they say
    together."""
    answers = document.evidence and document.evidence.answers
    if not answers:
        return []
    runs = format_count(answers.runs, "run")
    lines = [
        f"{answers.collapsed} of {runs} of the winner collapsed to one answer for all examples; the rate of "
        f"such runs may be up to {format_share(bound_rate(answers.collapsed, answers.runs))} (95 % bound)."
    ]
    if answers.log_loss is not None and answers.calibration_error is not None:
        lines.append(
            f"Log loss {answers.log_loss:.4f}, calibration error (ECE) {answers.calibration_error:.4f}: "
            f"means over the fresh seeds."
        )
    if (together := answers.ensemble) is not None:
        said = f"The ensemble of the {together.runs} models: {document.metric} {together.score:.4f}"
        if together.interval is not None:
            low, high = together.interval
            said += f", {format_share(together.level)} interval {low:.4f} to {high:.4f} over the examples"
        if together.log_loss is not None:
            said += f"; log loss {together.log_loss:.4f}, calibration error {together.calibration_error:.4f}"
        lines.append(f"{said}.")
    return lines


def describe_cut_texts(plan: PlanSection) -> list[str]:
    """Say in one line which sets have examples with more tokens than a run reads; nothing if none has."""
    if not plan.cut:
        return []
    cut = ", ".join(f"{count:,} of {name}" for name, count in plan.cut.items())
    return [f"Examples cut at {plan.settings.max_length} tokens: {cut}."]


def _format_standard_error(evidence: Evidence) -> str:
    parts = f"{evidence.examples_part:.4f} from the {evidence.examples:,} examples"
    seeds = "the spread over seeds is not known"
    if evidence.seeds_part is not None:
        seeds = f"{evidence.seeds_part:.4f} from the {evidence.seeds} seeds"
    return f"Standard error of its mean {evidence.mean:.4f}: {parts}, {seeds}."


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
    bad += f", {row.collapsed} collapsed" if row.collapsed else ""
    return f"trial {row.trial}, {format_count(row.seeds, 'seed')}: {mean}{std}{bad}"


def _format_distance_to_winner(difference: RaceDistance | None) -> str:
    """Return the distance of a configuration from the winner, to append."""
    if difference is None:
        return ""
    pairs = format_count(difference.seeds, "pair")
    return f"; to the winner {difference.mean:+.4f} over {pairs}"


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
    """Compare the winner's score with the best of the other trials that went to their end."""
    if document.winner is None:
        return None
    sign = document.direction.sign
    completed = [run for run in document.trials if run.outcome == Outcome.COMPLETED and run.scores]
    ends = {run.number: run.scores[-1][1] for run in completed}
    first = ends.pop(document.winner.trial, None)
    if first is None or not ends:
        return None
    trial = max(ends, key=lambda number: (sign * ends[number], -number))
    second = ends[trial]
    return (
        f"On the selection data, one seed: {first:.4f}; the next, trial {trial}, {second:.4f} "
        f"({abs(first - second):.4f} behind; a single seed does not prove such a gap)."
    )
