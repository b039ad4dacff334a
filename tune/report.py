"""What a search leaves behind: search.json, report.html, the sentence that sums it up."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tune import replicates
from tune.budget import Spent
from tune.ledger import SCHEMA_VERSION, Ledger, Record
from tune.preflight import Plan
from tune.terminal import brief

TEMPLATE = Path(__file__).with_name("report.html.j2")


def document(plan: Plan, ledger: Ledger, spent: Spent, provenance: dict[str, Any]) -> dict[str, Any]:
    """search.json: what was searched, what each trial did, who won and how sure that is."""
    records = ledger.records("search")
    winner = replicates.winner(records, plan.task.direction)
    confirming = replicates.of(winner, ledger.records("confirm"))
    confirmation = replicates.confirm(confirming, plan.task.metric)
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **described(plan),
        "provenance": provenance,
        "space": plan.space.describe(),
        "trials": [_trial(record) for record in records],
        "covered": next((record.covered for record in records if record.covered), None),
        "outcomes": dict(Counter(str(record.outcome) for record in records)),
        "winner": winner and {"trial": winner.number, "configuration": winner.configuration},
        "confirmation": confirmation and asdict(confirmation),
        "confirmation_runs": [_trial(record) for record in confirming],
        "spent": {"seconds": spent.seconds, "slot_seconds": spent.slot_seconds, "trials": len(records)},
    }
    found["sentence"] = sentence(found)
    return found


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
            "settings": asdict(plan.settings),
        },
    }


def sentence(found: dict[str, Any]) -> str:
    """What won, by how much, how sure."""
    winner, confirmation = found["winner"], found["confirmation"]
    if winner is None:
        return "No trial finished."
    text = f"Trial {winner['trial']} won: {brief(winner['configuration'])}."
    if confirmation is None:
        return text + " It was not confirmed."
    count = len(confirmation["scores"])
    text += f" On dev, over {count} fresh seed{'s' if count > 1 else ''}: "
    text += f"{found['metric']} {confirmation['mean']:.4f}"
    if confirmation["std"] is None:
        return text + "."
    low, high = confirmation["interval"]
    return text + (
        f" (standard deviation {confirmation['std']:.4f}, {confirmation['level']:.0%} interval of the mean "
        f"{low:.4f} to {high:.4f})."
    )


def summary_lines(found: dict[str, Any], output: Path, look: str | None) -> list[str]:
    """The end of a search on the terminal."""
    lines = [found["sentence"]]
    if runner_up := _runner_up(found):
        lines.append(runner_up)
    if found["confirmation"]:
        lines += [f"  seed {seed}: {score:.4f}" for seed, score in found["confirmation"]["scores"].items()]
    ends = ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items())
    spent = found["spent"]
    lines.append(f"Trials: {ends}. {spent['seconds']:.0f} s, {spent['slot_seconds']:.0f} slot seconds.")
    lines.append(f"Results: {output} (best/ is the model, report.html the report, search.json everything)")
    if look:
        lines.append(f"Look:    {look}")
    return lines


def write(found: dict[str, Any], output: Path) -> None:
    """search.json and report.html, each in one piece."""
    for name, text in (
        ("search.json", json.dumps(found, indent=2, allow_nan=False)),
        ("report.html", page(found)),
    ):
        part = output / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(output / name)


def page(found: dict[str, Any]) -> str:
    """report.html: one file, opens offline."""
    import jinja2
    from markupsafe import Markup

    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    sign = 1 if found["direction"] == "max" else -1
    trials = sorted(
        found["trials"], key=lambda t: -sign * t["scores"][-1][1] if t["scores"] else float("inf")
    )
    return template.render(found=found, trials=trials, brief=brief, curves=Markup(_curves(found)))


def _trial(record: Record) -> dict[str, Any]:
    return {
        "id": record.id if record.purpose == "confirm" else record.number,
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


def _curves(found: dict[str, Any]) -> str:
    """Learning curves as an SVG, the winner's in front."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for trial in found["trials"]:
        if not trial["scores"]:
            continue
        won = found["winner"] and trial["id"] == found["winner"]["trial"]
        steps, scores = zip(*trial["scores"], strict=True)
        style: dict[str, Any] = (
            {"color": "#c2410c", "lw": 2.4, "zorder": 3}
            if won
            else {"color": "#64748b", "lw": 1, "alpha": 0.7}
        )
        axes.plot(steps, scores, marker="o", ms=3, **style)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(f"{found['metric']} (selection data)")
    axes.grid(alpha=0.25)
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
