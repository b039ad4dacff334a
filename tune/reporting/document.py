"""TODO docstring."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tune.core.run import RunPurpose
from tune.planning.plan import Plan, describe_plan
from tune.records.failures import summarise_failures
from tune.records.ledger import SCHEMA_VERSION, Ledger, TrialRecord
from tune.records.replicates import select_by_configuration, summarise_confirmation
from tune.records.schema import serialise_run
from tune.reporting.confirmation import compare_finalists, summarise_evidence, summarise_race
from tune.reporting.pareto import ParetoPoint, build_pareto_points, find_pareto_front
from tune.reporting.summary import format_result_sentence
from tune.strategy.budget import SpentResources


def build_search_document(
    plan: Plan,
    ledger: Ledger,
    winner: TrialRecord | None,
    spent: SpentResources,
    provenance: dict[str, Any],
    output: Path | None = None,
    phases: dict[str, str | None] | None = None,
) -> dict[str, Any]:
    """search.json: what was searched, what each trial did, who won and how sure that is.

    phases: why each of them ended.
    output: the folder that holds the predictions of the confirmations; without it nothing is said of
    examples.
    """
    records, races = ledger.records(RunPurpose.SEARCH), ledger.records(RunPurpose.RACE)
    configuration = None if winner is None else winner.configuration
    confirmations = ledger.records(RunPurpose.CONFIRMATION)
    confirming = select_by_configuration(configuration, confirmations)
    confirmation = summarise_confirmation(confirming, plan.task.metric)
    evidence, baseline = summarise_evidence(plan.task, configuration, confirmations, output)
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **describe_plan(plan),
        "provenance": provenance,
        "space": plan.space.describe(),
        "chance": plan.preview.chance_level,
        "trials": [serialise_run(record) for record in records],
        "covered": next((record.covered for record in records if record.covered), None),
        "outcomes": dict(Counter(str(record.outcome) for record in records)),
        "failures": summarise_failures(ledger.records()),
        "winner": winner and {"trial": winner.number, "configuration": winner.configuration},
        "confirmation": confirmation and asdict(confirmation),
        "confirmation_runs": [serialise_run(record) for record in confirming],
        "evidence": evidence,
        "baseline": baseline and baseline | {"runs": _describe_confirmations(baseline, ledger)},
        "finalists": [
            one | {"runs": _describe_confirmations(one, ledger)}
            for one in compare_finalists(plan.task, configuration, records, confirmations, output)
        ],
        "race": summarise_race(records, races, winner, plan.task.direction),
        "race_runs": [serialise_run(record) for record in races],
        "pareto": _build_pareto_section(plan, [*records, *races]),
        "phases": phases or {},
        "spent": {"seconds": spent.seconds, "slot_seconds": spent.slot_seconds, "trials": len(records)}
        | plan.devices.used(spent.slot_seconds),
    }
    found["sentence"] = format_result_sentence(found)
    return found


def _describe_confirmations(other: dict[str, Any], ledger: Ledger) -> list[dict[str, Any]]:
    confirming = select_by_configuration(other["configuration"], ledger.records(RunPurpose.CONFIRMATION))
    return [serialise_run(record) for record in confirming]


def _build_pareto_section(plan: Plan, records: list[TrialRecord]) -> dict[str, Any] | None:
    """The front of the objectives that were named; None where the score is the only one."""
    options = plan.options
    objectives = options.objective_names
    if objectives == ("score",):
        return None
    points = build_pareto_points(records, objectives, plan.task.direction, plan.max_steps)
    front = find_pareto_front(points)
    return {
        "objectives": list(objectives),
        "front": [_describe_pareto_point(point) for point in sorted(front, key=lambda point: point.costs)],
        "others": [_describe_pareto_point(point) for point in points if point not in front],
    }


def _describe_pareto_point(point: ParetoPoint) -> dict[str, Any]:
    return {
        "trial": point.trial,
        "configuration": point.configuration,
        "seeds": point.seeds,
        "values": point.values,
    }
