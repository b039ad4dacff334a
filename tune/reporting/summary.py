"""TODO docstring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tune.core.direction import Direction
from tune.core.wording import format_configuration, format_objective, format_usage
from tune.records.failures import format_failure_summary
from tune.records.replicates import BASELINE_NAME
from tune.reporting.confirmation import describe_incomplete_runs


def format_result_sentence(found: dict[str, Any]) -> str:
    """What won, by how much, how sure."""
    winner, confirmation = found["winner"], found["confirmation"]
    if winner is None:
        return "No trial finished."
    text = f"Trial {winner['trial']} won: {format_configuration(winner['configuration'])}."
    if confirmation is None:
        return text + " It was not confirmed." + _format_baseline_verdict(found)
    count = len(confirmation["scores"])
    text += f" On dev, over {count} fresh seed{'s' if count > 1 else ''}: "
    text += f"{found['metric']} {confirmation['mean']:.4f}"
    if confirmation["std"] is None:
        return text + "." + _format_baseline_verdict(found)
    low, high = confirmation["interval"]
    text += (
        f" (standard deviation {confirmation['std']:.4f}, {confirmation['level']:.0%} interval of the mean "
        f"{low:.4f} to {high:.4f})."
    )
    return text + _format_baseline_verdict(found)


def _format_baseline_verdict(found: dict[str, Any]) -> str:
    """The winner beside the baseline, where there is one."""
    baseline = found.get("baseline")
    return f" It is {baseline['verdict']}." if baseline else ""


def format_certainty_lines(found: dict[str, Any]) -> list[str]:
    """How sure the confirmation is: over seeds and examples, what did not complete, what was ranked on."""
    runs = {"The winner": found["confirmation_runs"]}
    if found["baseline"]:
        runs[BASELINE_NAME] = found["baseline"]["runs"]
    runs |= {f"Trial {other['trial']}": other.get("runs", []) for other in found.get("finalists", [])}
    lines = [_format_standard_error(found["evidence"])] if found["evidence"] else []
    lines += [f"The winner is {other['verdict']}." for other in found.get("finalists", [])]
    lines += [
        line
        for name, made in runs.items()
        for line in describe_incomplete_runs(name, [r["outcome"] for r in made])
    ]
    if found["plan"]["settings"]["select_on"] == "dev" and found["confirmation"]:
        lines.append("Configurations were ranked on dev, which is reported too: these scores are optimistic.")
    return lines


def _format_standard_error(evidence: dict[str, Any]) -> str:
    low, high = evidence["interval"]
    parts = f"{evidence['examples_part']:.4f} by the {evidence['examples']:,} examples"
    seeds = "the spread over seeds is not known"
    if evidence["seeds_part"] is not None:
        seeds = f"{evidence['seeds_part']:.4f} by the {evidence['seeds']} seeds"
    return (
        f"Over seeds and examples together: {evidence['mean']:.4f}, {evidence['level']:.0%} interval "
        f"{low:.4f} to {high:.4f}; standard error {parts}, {seeds}."
    )


def format_race_lines(found: dict[str, Any]) -> list[str]:
    """The race in three lines at most: the winner, and who came next."""
    first, *others = found["race"]
    lines = [f"Race on the selection data: {_format_race_row(first)}"]
    lines += [
        f"  {_format_race_row(row)}{_format_distance_to_winner(row['difference'])}" for row in others[:2]
    ]
    if len(others) > 2:
        lines[-1] += f"; {len(others) - 2} more in report.html"
    return lines


def _format_race_row(row: dict[str, Any]) -> str:
    mean = "no score" if row["mean"] is None else f"mean {row['mean']:.4f}"
    std = "" if row["std"] is None else f", standard deviation {row['std']:.4f}"
    bad = f", {row['diverged']} diverged" if row["diverged"] else ""
    return f"trial {row['trial']}, {row['seeds']} seed{'' if row['seeds'] == 1 else 's'}: {mean}{std}{bad}"


def _format_distance_to_winner(difference: dict[str, Any] | None) -> str:
    """Of a configuration from the winner."""
    if difference is None:
        return ""
    text = f"; to the winner {difference['mean']:+.4f}"
    if difference["interval"] is None:
        return text
    low, high = difference["interval"]
    return (
        f"{text} ({difference['level']:.0%} interval {low:+.4f} to {high:+.4f}, {difference['seeds']} pairs)"
    )


def format_pareto_lines(found: dict[str, Any]) -> list[str]:
    """The front, a configuration a line."""
    named = found["pareto"]
    lines = [f"Pareto front of {', '.join(named['objectives'])}:"]
    for point in named["front"]:
        values = ", ".join(format_objective(name, value) for name, value in point["values"].items())
        lines.append(f"  trial {point['trial']}: {values}  {format_configuration(point['configuration'])}")
    return lines if named["front"] else [f"{lines[0]} empty, no configuration has all of them."]


def summarise_search(found: dict[str, Any], output: Path, look: str | None) -> list[str]:
    """The end of a search on the terminal."""
    lines = [found["sentence"]]
    if found["race"]:
        lines += format_race_lines(found)
    elif runner_up := _format_runner_up(found):
        lines.append(runner_up)
    if found["confirmation"]:
        lines += [f"  seed {seed}: {score:.4f}" for seed, score in found["confirmation"]["scores"].items()]
    lines += format_certainty_lines(found)
    if found["pareto"]:
        lines += format_pareto_lines(found)
    ends = ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items())
    spent = found["spent"]
    took = f"{spent['seconds']:.0f} s, {spent['slot_seconds']:.0f} slot seconds{format_usage(spent)}"
    lines.append(f"Trials: {ends}. {took}.")
    if found["failures"]["failed"]:
        lines.append(format_failure_summary(found["failures"]))
    lines.append(f"Results: {output} (best/ is the model, report.html the report, search.json everything)")
    if look:
        lines.append(f"Look:    {look}")
    return lines


def _format_runner_up(found: dict[str, Any]) -> str | None:
    """The winner's score beside the best of the other trials that went as far."""
    sign = Direction(found["direction"]).sign
    ends = {
        t["id"]: t["scores"][-1]
        for t in found["trials"]
        if t["outcome"] in ("completed", "stopped") and t["scores"]
    }
    if found["winner"] is None:
        return None
    step, first = ends.pop(found["winner"]["trial"])
    others = [(-sign * score, trial) for trial, (at, score) in ends.items() if at == step]
    if not others:
        return None
    worse, trial = min(others)
    second = -sign * worse
    return (
        f"On the selection data, one seed: {first:.4f}; the next, trial {trial}, {second:.4f} "
        f"({abs(first - second):.4f} behind; a single seed does not prove such a gap)."
    )
