"""search.json, from the ledger and the predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from dps.methods import METHODS
from tune.core.options import PUBLISHED
from tune.core.provenance import Provenance
from tune.core.run import RunPurpose
from tune.core.space import make_configuration_key
from tune.planning.plan import Plan, describe_plan
from tune.records.failures import summarise_failures
from tune.records.ledger import SCHEMA_VERSION, Ledger, TrialRecord
from tune.records.replicates import select_by_configuration, summarise_confirmation
from tune.records.schema import SpentSection
from tune.records.search_document import (
    BaselineSection,
    FinalistSection,
    ParetoRow,
    ParetoSection,
    ProfileSection,
    SearchDocument,
    WinnerSection,
)
from tune.reporting.confirmation import (
    Rival,
    compare_rivals,
    list_finalists,
    summarise_evidence,
    summarise_race,
)
from tune.reporting.pareto import ParetoPoint, build_pareto_points, find_pareto_front
from tune.reporting.summary import format_result_sentence
from tune.strategy.budget import SpentResources


def build_search_document(
    plan: Plan,
    ledgers: Mapping[str, Ledger],
    winners: Mapping[str, TrialRecord | None],
    spent: SpentResources,
    provenance: Provenance,
    output: Path | None = None,
    phases: dict[str, str | None] | None = None,
    profile: ProfileSection | None = None,
) -> SearchDocument:
    """Gather what was searched, what each trial did, who won and how sure that is. It is a look, which is
    noted.

    ledgers: of the search and of its baselines, by arm. winners: of each, None where nothing finished.
    output: the folder that holds the predictions of the confirmations; without it nothing is said of
    examples. phases: why each of them ended. profile: of this session.
    """
    ledger, winner = ledgers[""], winners[""]
    trials, races = ledger.records(RunPurpose.SEARCH), ledger.records(RunPurpose.RACE)
    confirmations = ledger.records(RunPurpose.CONFIRMATION)
    configuration = None if winner is None else winner.configuration
    confirming = select_by_configuration(configuration, confirmations)
    evidence, dev_chance, evidence_error = None, None, None
    if confirming and output is not None:
        evidence, dev_chance, evidence_error = summarise_evidence(plan.task, confirming, output)
    looked_at = {
        arm: make_configuration_key(won.configuration)
        for arm, won in winners.items()
        if won and _is_confirmed(won.configuration, ledgers[arm])
    }
    published = _find_published(plan, winner)
    if published is not None and _is_confirmed(published, ledger):
        looked_at[PUBLISHED] = make_configuration_key(published)
    look = max(1, len(ledger.note_look(plan.options.confirm if confirming else 0, looked_at)))
    kept = {"", *plan.baseline_arms, *([PUBLISHED] if plan.options.confirms_published else [])}
    dropped = sorted((ledger.noted("looked_at") or {}).keys() - kept)
    count = len(dropped)
    baselines = _compare_baselines(plan, ledgers, winners, winner, output, look, count) if winner else []
    apart = [configuration, *(baseline.configuration for baseline in baselines if baseline.published)]
    finalists = list_finalists(apart, trials, confirmations)
    beside = compare_rivals(plan.task, confirming, [*finalists.values()], output, look)
    document = SearchDocument(
        schema_version=SCHEMA_VERSION,
        **describe_plan(plan),
        provenance=provenance,
        space=plan.space.to_description(),
        chance=plan.preview.chance_level,
        dev_chance=dev_chance,
        trials=trials,
        covered=next((trial.covered for trial in trials if trial.covered), None),
        outcomes=dict(Counter(str(trial.outcome) for trial in trials)),
        failures=summarise_failures([run for each in ledgers.values() for run in each.records()]),
        winner=None if winner is None else _describe_winner(plan, winner),
        confirmation=summarise_confirmation(confirming, plan.task.metric),
        confirmation_runs=confirming,
        evidence=evidence,
        evidence_error=evidence_error,
        baselines=baselines,
        dropped=dropped,
        finalists=[
            FinalistSection(trial=trial, **dict(section))
            for trial, section in zip(finalists, beside, strict=True)
        ],
        race=summarise_race(trials, races, winner, plan.task.direction, plan.preview.chance_level),
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


def _find_published(plan: Plan, winner: TrialRecord | None) -> dict[str, Any] | None:
    """Return the published values that the winner is compared with; None where it is not, or is them."""
    if winner is None or not plan.options.confirms_published:
        return None
    configuration = winner.configuration
    published = plan.space.get_published(configuration["method"], configuration.get("model"))
    return None if published == configuration else published


def _is_confirmed(configuration: dict[str, Any], ledger: Ledger) -> bool:
    """Return whether a configuration has a score with a fresh seed."""
    runs = select_by_configuration(configuration, ledger.records(RunPurpose.CONFIRMATION))
    return any(run.outcome.is_usable for run in runs)


def _describe_winner(plan: Plan, winner: TrialRecord) -> WinnerSection:
    configuration = winner.configuration
    published = plan.space.get_published(configuration["method"], configuration.get("model"))
    is_published = configuration == published
    return WinnerSection(trial=winner.number, configuration=configuration, published=is_published)


def _compare_baselines(
    plan: Plan,
    ledgers: Mapping[str, Ledger],
    winners: Mapping[str, TrialRecord | None],
    winner: TrialRecord,
    output: Path | None,
    look: int,
    dropped: int,
) -> list[BaselineSection]:
    """Compare the winner with its method's published values, unless it is these, and with each baseline at
    its own best learning rate. look, dropped: see `compare_rivals`."""
    published, parts = _find_published(plan, winner), []
    if published is not None:
        parts.append((PUBLISHED, "the published values", published, ""))
    for arm in plan.baseline_arms:
        best = winners[arm]
        configuration = {"method": arm} if best is None else best.configuration
        parts.append((arm, f"{arm} at its own learning rate", configuration, arm))
    tried, raced = (
        {arm: ledger.records(purpose) if arm else [] for arm, ledger in ledgers.items()}
        for purpose in (RunPurpose.SEARCH, RunPurpose.RACE)
    )
    confirmed = {arm: ledger.records(RunPurpose.CONFIRMATION) for arm, ledger in ledgers.items()}
    rivals = [
        Rival(title, configuration, select_by_configuration(configuration, confirmed[arm]))
        for _, title, configuration, arm in parts
    ]
    mine = select_by_configuration(winner.configuration, confirmed[""])
    return [
        BaselineSection(
            name=name,
            title=title,
            method=configuration["method"],
            published=name == PUBLISHED,
            trials=tried[arm],
            race_runs=raced[arm],
            learning_rates=sorted({trial.configuration["learning_rate"] for trial in tried[arm]}),
            differs=_describe_training(configuration, winner.configuration, plan.confirm_steps),
            **dict(section),
        )
        for (name, title, configuration, arm), section in zip(
            parts, compare_rivals(plan.task, mine, rivals, output, look, dropped), strict=True
        )
    ]


def _describe_training(baseline: dict[str, Any], winner: dict[str, Any], steps: int) -> str:
    """Say how a baseline trains beside the winner: with or without dropout, and what was searched for both.
    Empty where the method alone differs. steps: of a run."""
    methods = [METHODS[each["method"]] for each in (baseline, winner)]
    own = [{field.name for field in fields(method)} for method in methods]
    dropped, mine_dropped = (
        method(**{key: each[key] for key in names & each.keys()}).dropout(steps)
        for method, names, each in zip(methods, own, (baseline, winner), strict=True)
    )
    dropouts = f"{_name_dropout(dropped)} (the winner: {mine_dropped or 'none'})"
    said = [dropouts] if dropped != mine_dropped else []
    if not dropped and not mine_dropped and methods[0] is not methods[1]:
        said = ["without dropout, like the winner"]
    shared = baseline.keys() & winner.keys() - own[0] - own[1] - {"method", "learning_rate"}
    changed = [name for name in sorted(shared) if baseline[name] != winner[name]]
    values = {name: [_format_value(each[name]) for each in (baseline, winner)] for name in changed}
    said += [f"with {name} {theirs} (the winner: {mine})" for name, (theirs, mine) in values.items()]
    return "; ".join(said)


def _format_value(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _name_dropout(probability: float) -> str:
    return f"with dropout {probability:g}" if probability else "without dropout"


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
