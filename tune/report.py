"""What a search leaves behind: search.json, report.html, the sentence that sums it up.

python tune/report.py DIR... makes the report again, of several folders side by side.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tune import reports

    sys.exit(reports.main(sys.argv[1:]))

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from dps.redact import tree
from tune import failures, page, pareto, proof, replicates
from tune.budget import Spent, bill
from tune.ledger import SCHEMA_VERSION, Ledger, Record
from tune.options import SearchOptions
from tune.plan import Plan
from tune.terminal import brief


def document(
    plan: Plan,
    ledger: Ledger,
    winner: Record | None,
    spent: Spent,
    provenance: dict[str, Any],
    output: Path | None = None,
    phases: dict[str, str | None] | None = None,
) -> dict[str, Any]:
    """search.json: what was searched, what each trial did, who won and how sure that is.

    phases: why each of them ended.
    output: the folder that holds the predictions of the confirmations; without it nothing is said of
    examples.
    """
    records, races = ledger.records("search"), ledger.records("race")
    confirming = replicates.of(winner, ledger.records("confirm"))
    confirmation = replicates.confirm(confirming, plan.task.metric)
    configuration = None if winner is None else winner.configuration
    evidence, baseline = proof.document(plan.task, configuration, ledger.records("confirm"), output)
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **described(plan),
        "provenance": provenance,
        "space": plan.space.describe(),
        "chance": plan.chance,
        "trials": [_trial(record) for record in records],
        "covered": next((record.covered for record in records if record.covered), None),
        "outcomes": dict(Counter(str(record.outcome) for record in records)),
        "failures": failures.summary([*records, *races, *ledger.records("confirm")]),
        "winner": winner and {"trial": winner.number, "configuration": winner.configuration},
        "confirmation": confirmation and asdict(confirmation),
        "confirmation_runs": [_trial(record) for record in confirming],
        "evidence": evidence,
        "baseline": baseline and baseline | {"runs": _runs_of(baseline, ledger)},
        "finalists": [
            one | {"runs": _runs_of(one, ledger)}
            for one in proof.finalists(plan.task, configuration, records, ledger.records("confirm"), output)
        ],
        "race": proof.race(records, races, winner, plan.task.direction),
        "race_runs": [_trial(record) for record in races],
        "pareto": _pareto(plan, [*records, *races]),
        "phases": phases or {},
        "spent": {"seconds": spent.seconds, "slot_seconds": spent.slot_seconds, "trials": len(records)}
        | plan.devices.used(spent.slot_seconds),
    }
    found["sentence"] = sentence(found)
    return found


def _runs_of(other: dict[str, Any], ledger: Ledger) -> list[dict[str, Any]]:
    confirming = proof.runs_of(other["configuration"], ledger.records("confirm"))
    return [_trial(record) for record in confirming]


def _pareto(plan: Plan, records: list[Record]) -> dict[str, Any] | None:
    """The front of the objectives that were named; None where the score is the only one."""
    options = plan.options
    objectives = pareto.check(options.objectives) if isinstance(options, SearchOptions) else ("score",)
    if objectives == ("score",):
        return None
    points = pareto.points(records, objectives, plan.task.direction, plan.max_steps)
    front = pareto.front(points)
    return {
        "objectives": list(objectives),
        "front": [_point(point) for point in sorted(front, key=lambda point: point.costs)],
        "others": [_point(point) for point in points if point not in front],
    }


def _point(point: pareto.Point) -> dict[str, Any]:
    return {
        "trial": point.trial,
        "configuration": point.configuration,
        "seeds": point.seeds,
        "values": point.values,
    }


def described(plan: Plan) -> dict[str, Any]:
    """What was planned, as search.json and compare.json hold it."""
    return {
        "task": plan.task.name,
        "metric": plan.task.metric,
        "direction": plan.task.direction,
        "data": {"source": plan.data.source, "name": plan.data.name, "fingerprint": plan.data.fingerprint},
        "model": {
            "source": plan.model.source,
            "name": plan.model.name,
            "fingerprint": plan.model.fingerprint,
        },
        "plan": {
            "examples": plan.examples,
            "max_steps": plan.max_steps,
            "confirm_steps": plan.confirm_steps,
            "slots": plan.slots,
            "settings": plan.settings.described(),
        },
    }


def sentence(found: dict[str, Any]) -> str:
    """What won, by how much, how sure."""
    winner, confirmation = found["winner"], found["confirmation"]
    if winner is None:
        return "No trial finished."
    text = f"Trial {winner['trial']} won: {brief(winner['configuration'])}."
    if confirmation is None:
        return text + " It was not confirmed." + _beside(found)
    count = len(confirmation["scores"])
    text += f" On dev, over {count} fresh seed{'s' if count > 1 else ''}: "
    text += f"{found['metric']} {confirmation['mean']:.4f}"
    if confirmation["std"] is None:
        return text + "." + _beside(found)
    low, high = confirmation["interval"]
    text += (
        f" (standard deviation {confirmation['std']:.4f}, {confirmation['level']:.0%} interval of the mean "
        f"{low:.4f} to {high:.4f})."
    )
    return text + _beside(found)


def _beside(found: dict[str, Any]) -> str:
    """The winner beside the baseline, where there is one."""
    baseline = found.get("baseline")
    return f" It is {baseline['verdict']}." if baseline else ""


def sure_lines(found: dict[str, Any]) -> list[str]:
    """How sure the confirmation is: over seeds and examples, what did not complete, what was ranked on."""
    runs = {"The winner": found["confirmation_runs"]}
    if found["baseline"]:
        runs[proof.NAME] = found["baseline"]["runs"]
    runs |= {f"Trial {other['trial']}": other.get("runs", []) for other in found.get("finalists", [])}
    lines = [_uncertainty(found["evidence"])] if found["evidence"] else []
    lines += [f"The winner is {other['verdict']}." for other in found.get("finalists", [])]
    lines += [line for name, made in runs.items() for line in proof.gaps(name, [r["outcome"] for r in made])]
    if found["plan"]["settings"]["select_on"] == "dev" and found["confirmation"]:
        lines.append("Configurations were ranked on dev, which is reported too: these scores are optimistic.")
    return lines


def _uncertainty(evidence: dict[str, Any]) -> str:
    low, high = evidence["interval"]
    parts = f"{evidence['examples_part']:.4f} by the {evidence['examples']:,} examples"
    seeds = "the spread over seeds is not known"
    if evidence["seeds_part"] is not None:
        seeds = f"{evidence['seeds_part']:.4f} by the {evidence['seeds']} seeds"
    return (
        f"Over seeds and examples together: {evidence['mean']:.4f}, {evidence['level']:.0%} interval "
        f"{low:.4f} to {high:.4f}; standard error {parts}, {seeds}."
    )


def race_lines(found: dict[str, Any]) -> list[str]:
    """The race in three lines at most: the winner, and who came next."""
    first, *others = found["race"]
    lines = [f"Race on the selection data: {_racer(first)}"]
    lines += [f"  {_racer(row)}{_distance(row['difference'])}" for row in others[:2]]
    if len(others) > 2:
        lines[-1] += f"; {len(others) - 2} more in report.html"
    return lines


def _racer(row: dict[str, Any]) -> str:
    mean = "no score" if row["mean"] is None else f"mean {row['mean']:.4f}"
    std = "" if row["std"] is None else f", standard deviation {row['std']:.4f}"
    bad = f", {row['diverged']} diverged" if row["diverged"] else ""
    return f"trial {row['trial']}, {row['seeds']} seed{'' if row['seeds'] == 1 else 's'}: {mean}{std}{bad}"


def _distance(difference: dict[str, Any] | None) -> str:
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


def pareto_lines(found: dict[str, Any]) -> list[str]:
    """The front, a configuration a line."""
    named = found["pareto"]
    lines = [f"Pareto front of {', '.join(named['objectives'])}:"]
    for point in named["front"]:
        values = ", ".join(pareto.shown(name, value) for name, value in point["values"].items())
        lines.append(f"  trial {point['trial']}: {values}  {brief(point['configuration'])}")
    return lines if named["front"] else [f"{lines[0]} empty, no configuration has all of them."]


def summary_lines(found: dict[str, Any], output: Path, look: str | None) -> list[str]:
    """The end of a search on the terminal."""
    lines = [found["sentence"]]
    if found["race"]:
        lines += race_lines(found)
    elif runner_up := _runner_up(found):
        lines.append(runner_up)
    if found["confirmation"]:
        lines += [f"  seed {seed}: {score:.4f}" for seed, score in found["confirmation"]["scores"].items()]
    lines += sure_lines(found)
    if found["pareto"]:
        lines += pareto_lines(found)
    ends = ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items())
    spent = found["spent"]
    took = f"{spent['seconds']:.0f} s, {spent['slot_seconds']:.0f} slot seconds{bill(spent)}"
    lines.append(f"Trials: {ends}. {took}.")
    if found["failures"]["failed"]:
        lines.append(failures.line(found["failures"]))
    lines.append(f"Results: {output} (best/ is the model, report.html the report, search.json everything)")
    if look:
        lines.append(f"Look:    {look}")
    return lines


def write(found: dict[str, Any], output: Path) -> None:
    """search.json, then report.html, each in one piece."""
    for name, make in (
        ("search.json", lambda: json.dumps(tree(found), indent=2, allow_nan=False)),
        ("report.html", lambda: page.search(found, sure_lines(found))),
    ):
        part = output / f".{name}.part"
        part.write_text(make(), encoding="utf-8")
        part.replace(output / name)


def _trial(record: Record) -> dict[str, Any]:
    return {
        "id": record.number if record.purpose == "search" else record.id,
        "configuration": record.configuration,
        "seed": record.seed,
        "outcome": str(record.outcome),
        "scores": [[step, score] for step, score in record.scores],
        "seconds": record.seconds,
        "slot": record.slot,
        "began": record.began,
        "ended": record.ended,
        "waited": record.waited,
        "selected_share": record.selected_share,
        "passes": record.passes,
        "peak_memory": record.peak_memory,
        "micro_batch": record.micro_batch,
        "parts": record.parts,
        "final": record.final,
        "warnings": record.warnings,
        "error": record.error,
    }


def _runner_up(found: dict[str, Any]) -> str | None:
    """The winner's score beside the best of the other trials that went as far."""
    sign = 1 if found["direction"] == "max" else -1
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
