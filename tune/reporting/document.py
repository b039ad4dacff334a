"""search.json, from the ledger and the predictions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tune.core.provenance import Provenance
from tune.core.run import RunPurpose
from tune.planning.plan import Plan, describe_plan
from tune.records.failures import summarise_failures
from tune.records.ledger import SCHEMA_VERSION, Ledger, TrialRecord
from tune.records.replicates import select_by_configuration, summarise_confirmation
from tune.records.schema import SpentSection
from tune.records.search_document import (
    ParetoRow,
    ParetoSection,
    ProfileSection,
    SearchDocument,
    WinnerSection,
)
from tune.reporting.confirmation import (
    compare_finalists,
    explain_missing_evidence,
    summarise_evidence,
    summarise_race,
)
from tune.reporting.pareto import ParetoPoint, build_pareto_points, find_pareto_front
from tune.reporting.summary import format_result_sentence
from tune.strategy.budget import SpentResources


def build_search_document(
    plan: Plan,
    ledger: Ledger,
    winner: TrialRecord | None,
    spent: SpentResources,
    provenance: Provenance,
    output: Path | None = None,
    phases: dict[str, str | None] | None = None,
    profile: ProfileSection | None = None,
) -> SearchDocument:
    """Gather what was searched, what each trial did, who won and how sure that is.

    output: the folder that holds the predictions of the confirmations; without it nothing is said of
    examples. phases: why each of them ended. profile: of this session.
    """
    trials, races = ledger.records(RunPurpose.SEARCH), ledger.records(RunPurpose.RACE)
    confirmations = ledger.records(RunPurpose.CONFIRMATION)
    configuration = None if winner is None else winner.configuration
    confirming = select_by_configuration(configuration, confirmations)
    evidence, baseline = summarise_evidence(plan.task, configuration, confirmations, output)
    evidence_error = None
    if evidence is None and configuration is not None and confirming and output is not None:
        evidence_error = explain_missing_evidence(plan.task, configuration, confirmations, output)
    document = SearchDocument(
        schema_version=SCHEMA_VERSION,
        **describe_plan(plan),
        provenance=provenance,
        space=plan.space.to_description(),
        chance=plan.preview.chance_level,
        trials=trials,
        covered=next((trial.covered for trial in trials if trial.covered), None),
        outcomes=dict(Counter(str(trial.outcome) for trial in trials)),
        failures=summarise_failures(ledger.records()),
        winner=WinnerSection(trial=winner.number, configuration=winner.configuration) if winner else None,
        confirmation=summarise_confirmation(confirming, plan.task.metric),
        confirmation_runs=confirming,
        evidence=evidence,
        evidence_error=evidence_error,
        baseline=baseline,
        finalists=compare_finalists(plan.task, configuration, trials, confirmations, output),
        race=summarise_race(trials, races, winner, plan.task.direction),
        race_runs=races,
        pareto=_build_pareto_section(plan, [*trials, *races]),
        phases=phases or {},
        spent=SpentSection.model_validate(
            {
                "seconds": spent.seconds,
                "slot_seconds": spent.slot_seconds,
                "trials": len(trials),
                **plan.slot_devices.used(spent.slot_seconds),
            }
        ),
        sentence="",
        profile=profile,
    )
    document.sentence = format_result_sentence(document)
    return document


def _build_pareto_section(plan: Plan, records: list[TrialRecord]) -> ParetoSection | None:
    """Return the front of the objectives that were named; None where the score is the only one."""
    options = plan.options
    objectives = options.objective_names
    if objectives == ("score",):
        return None
    points = build_pareto_points(records, objectives, plan.task.direction, plan.options.evaluations)
    front = find_pareto_front(points)
    return ParetoSection(
        objectives=list(objectives),
        front=[_describe_point(point) for point in sorted(front, key=lambda point: point.costs)],
        others=[_describe_point(point) for point in points if point not in front],
    )


def _describe_point(point: ParetoPoint) -> ParetoRow:
    return ParetoRow(
        trial=point.trial, configuration=point.configuration, seeds=point.seeds, values=point.values
    )
