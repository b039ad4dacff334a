"""suite.json: the table of several tasks, the averages over them, and the sentence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean

from dps.errors import InputError
from dps.tasks.metrics import get_metric_range
from dps.wording import format_hundredths, format_share
from tune.core.option_types import name_size
from tune.core.wording import format_difference, format_p_value
from tune.records.ledger import SCHEMA_VERSION
from tune.records.schema import SpentSection, sum_spent
from tune.records.suite_document import AverageSection, ScoreSection, SuiteDocument
from tune.reporting.suite.collect import PUBLISHED, WINNER, SuiteRow
from tune.stats.evidence import CONFIDENCE_LEVEL
from tune.stats.suite import AverageEstimate, average_tasks, leave_each_out
from tune.stats.verdict import adjust_p_values, is_distinguishable

MAX_SENTENCES = 4  # of averages, one each
SCOPE = (
    "The average is over these tasks and says nothing about others; each counts the same, in hundredths of "
    "its own metric; seeds and examples are resampled within each task."
)


def build_suite(
    rows: Sequence[SuiteRow], baseline: str | None = None, failed: Mapping[str, str] | None = None
) -> SuiteDocument:
    """Build the document of these rows, one at least.

    baseline: of comparisons, None for searches. failed: tasks without a result, and why. Raises InputError
    for a task that stands in two rows.
    """
    are_sizes = _name_sizes(rows)
    names = [row.section.task for row in rows]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"DIR: {twice[0]} is there twice; an average counts each task once, leave one out")
    _drop_published(rows)
    look = max(row.look for row in rows)
    _judge_differences(rows, look)
    averaged = len(rows) > 1 and not are_sizes
    common = _list_common([[*row.differences] for row in rows]) if averaged else []
    scored = _list_common([[*row.section.scores] for row in rows])
    document = SuiteDocument(
        schema_version=SCHEMA_VERSION,
        kind="search" if baseline is None else "comparison",
        baseline=baseline,
        tasks=[row.section for row in rows],
        failed={**(failed or {})},
        averages={name: _average_difference(name, rows) for name in common},
        scores={n: ScoreSection(mean=fmean(r.section.scores[n].mean for r in rows)) for n in scored},
        notes=[] if are_sizes else [*_list_left_out(rows, common), *_list_without_spread(rows, common)],
        sentence="",
        spent=_sum_spent([row.spent for row in rows]),
    )
    known = {name: each.p for name, each in document.averages.items() if each.p is not None}
    adjusted = dict(zip(known, adjust_p_values([*known.values()], look), strict=True))
    for name, average in document.averages.items():
        average.adjusted_p = adjusted.get(name)
        average.sentence = _describe_average(document, name, average)
    document.sentence = _join_sentences(document)
    return document


def _name_sizes(rows: Sequence[SuiteRow]) -> bool:
    """Name rows by their shots where these are sizes of one task; return whether they are."""
    sections = [row.section for row in rows]
    shots, tasks = {section.shots for section in sections}, {section.task for section in sections}
    are_sizes = len(tasks) == 1 < len(sections) == len(shots) and None not in shots
    for section in sections:
        if are_sizes and section.shots is not None:
            section.task = name_size(section.shots)
        else:
            section.shots = None
    return are_sizes


def _drop_published(rows: Sequence[SuiteRow]) -> None:
    """Leave out that the published values won in some tasks, where no other was compared with them."""
    cells = [row.section.differences.get(PUBLISHED) for row in rows]
    if any(cell is not None and not cell.exact for cell in cells) or None not in cells:
        return
    for row in rows:
        row.differences.pop(PUBLISHED, None)
        for known in (row.section.differences, row.section.scores):
            known.pop(PUBLISHED, None)


def _list_common(names: Sequence[Sequence[str]]) -> list[str]:
    return [name for name in names[0] if all(name in others for others in names)]


def _judge_differences(rows: Sequence[SuiteRow], look: int) -> None:
    """Correct the p-values of the whole table, and say what may be said of each difference."""
    cells = [cell for row in rows for cell in row.section.differences.values() if cell.p is not None]
    p_values = adjust_p_values([cell.p for cell in cells if cell.p is not None], look)
    for cell, p in zip(cells, p_values, strict=True):
        cell.adjusted_p = p
        if is_distinguishable(p, cell.interval, CONFIDENCE_LEVEL):
            cell.verdict = "better" if cell.mean > 0 else "worse"


def _average_difference(name: str, rows: Sequence[SuiteRow]) -> AverageSection:
    """Average a difference over the tasks, and say how much one task alone does to it."""
    tasks = [row.section.task for row in rows]
    means = [row.differences[name] for row in rows]
    found = _clip_average(average_tasks(means), rows)
    verdicts = Counter(row.section.differences[name].verdict for row in rows)
    others = ([*rows[:place], *rows[place + 1 :]] for place in range(len(rows)))
    without = dict(zip(tasks, map(_clip_average, leave_each_out(means), others), strict=True))
    parts = {task: each.mean for task, each in zip(tasks, means, strict=True)}
    # of two tasks both move the average alike: then the one with the larger difference carries it
    carrier = max(tasks, key=lambda task: (round(abs(found.mean - without[task].mean), 12), abs(parts[task])))
    return AverageSection(
        **asdict(found) | {"df": found.df if math.isfinite(found.df) else None},
        better=verdicts["better"],
        worse=verdicts["worse"],
        undecided=verdicts["not told apart"],
        without={t: ScoreSection(mean=each.mean, interval=each.interval) for t, each in without.items()},
        carried_by=carrier,
        share=parts[carrier] / (found.mean * len(rows)) if abs(found.mean) > 1e-12 else None,
    )


def _clip_average(average: AverageEstimate, rows: Sequence[SuiteRow]) -> AverageEstimate:
    """Return the average of differences with its interval in the range of the tasks' metrics."""
    if average.interval is None or not rows:
        return average
    ranges = [get_metric_range(row.section.metric) for row in rows]
    widest = fmean(high - low for low, high in ranges)
    low, high = average.interval
    return replace(average, interval=(max(low, -widest), min(high, widest)))


def _list_left_out(rows: Sequence[SuiteRow], common: Sequence[str]) -> list[str]:
    """Say which differences are not averaged, and why."""
    named = dict.fromkeys(name for row in rows for name in (*row.section.differences, *row.problems))
    lines = []
    for name in named:
        lacking = {
            row.section.task: row.problems.get(name, "not compared there")
            for row in rows
            if name not in row.differences
        }
        if name not in common and name != WINNER and lacking:
            reasons = "; ".join(f"{task}: {why}" for task, why in lacking.items())
            lines.append(f"{name} is not averaged, since not every task has it ({reasons}).")
    return lines


def _list_without_spread(rows: Sequence[SuiteRow], names: Sequence[str]) -> list[str]:
    """Say which differences are the same in all pairs, two at least: as if no seed could change them."""
    lines = []
    for name in names:
        if same := [row.section.task for row in rows if name in row.unvaried]:
            lines.append(
                f"{name}: all pairs of {', '.join(same)} are the same, and their seeds add nothing to the "
                f"interval of the average; if runs collapsed, more seeds may change that."
            )
    return lines


def _describe_average(document: SuiteDocument, name: str, average: AverageSection) -> str:
    """Say what the average of a difference says, in two sentences."""
    subject = "the winner" if document.kind == "search" else name
    other = "the published values" if name == "published" else name
    other = document.baseline or other if document.kind == "comparison" else other
    if all(task.differences[name].exact for task in document.tasks):
        return f"The published values won in all {average.tasks} tasks: searching added nothing to them."
    size, *ends = format_hundredths(average.mean, *(average.interval or ()), sign="+")
    if ends:
        p = format_p_value(average.adjusted_p)
        p = p.replace("<", "< ")
        low_high = f" ({100 * average.level:g} % interval {ends[0]} to {ends[1]}, p {p})"
    else:
        low_high = " (no interval: too few pairs, or no spread among them)"
    told = is_distinguishable(average.adjusted_p, average.interval, average.level)
    over = f"Averaged over {average.tasks} tasks, {subject}"
    if told:
        word = "better" if average.mean > 0 else "worse"
        said = f"{over} is {word} than {other} by {size[1:]} points{low_high}"
    else:
        said = f"{over} is not distinguishable from {other}: {size} points{low_high}"
    return f"{said}; {_describe_counts(average)}. {_describe_carrier(average)}".rstrip()


def _describe_counts(average: AverageSection) -> str:
    counts = average.better, average.worse, average.undecided
    return "by task it is better in {}, worse in {} and undecided in {}".format(*counts)


def _describe_carrier(average: AverageSection) -> str:
    """Say what is left of an average without the task that it depends on most."""
    if average.carried_by is None:
        return ""
    rest = average.without[average.carried_by]
    share = ""
    if average.share is not None and 0 < average.share <= 1:
        share = f": it carries {format_share(average.share)} of the sum"
    left = format_difference(rest.mean, rest.interval)
    return f"Without {average.carried_by} the average is {left}{share}."


def list_sentences(document: SuiteDocument) -> list[str]:
    """Return the sentence of each average; where they are many, of the distinguishable ones, and one for
    all others."""
    averages = document.averages
    told = {n for n, a in averages.items() if is_distinguishable(a.adjusted_p, a.interval, a.level)}
    if len(averages) <= MAX_SENTENCES:
        return [average.sentence for average in averages.values()]
    others = ", ".join(name for name in averages if name not in told)
    lines = [average.sentence for name, average in averages.items() if name in told]
    rest = f"Averaged over {len(document.tasks)} tasks, none of these is distinguishable from "
    return [*lines, *([f"{rest}{document.baseline or WINNER}: {others}."] if others else [])]


def _describe_sizes(document: SuiteDocument) -> str:
    """Say at which sizes a method is better or worse."""
    lines = []
    for name in dict.fromkeys(name for task in document.tasks for name in task.differences):
        for word in ("better", "worse"):
            sizes = [
                t.task
                for t in document.tasks
                if name in t.differences and t.differences[name].verdict == word
            ]
            if sizes:
                lines.append(f"{document.name_difference(name)}: {word} with {', '.join(sizes)}.")
    lines = lines or ["No difference can be shown at any size."]
    return " ".join([*lines, "Sizes share their test examples, so there is no average over them."])


def _join_sentences(document: SuiteDocument) -> str:
    if document.is_of_sizes:
        return _describe_sizes(document)
    if not document.averages:
        return f"There is no average: {' '.join(document.notes) or 'there is one task alone.'}"
    return " ".join([*list_sentences(document), SCOPE, *document.notes])


def _sum_spent(parts: Sequence[SpentSection]) -> SpentSection:
    """Add up what the tasks took; the wall time is that of the longest, as they share their slots."""
    total = sum_spent(parts)
    total.seconds = max(part.seconds for part in parts)
    return total
