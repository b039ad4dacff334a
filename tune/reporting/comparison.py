"""The document of a comparison, compare.json: built from the ledgers, or joined from finished comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.methods import make_method
from dps.training.config import TRAINING_PARAMETERS
from dps.training.result import Outcome
from tune.core.provenance import Provenance
from tune.core.run import RunPurpose
from tune.core.space import make_configuration_key
from tune.planning.plan import Plan, describe_input, describe_plan
from tune.records.comparison_document import (
    COMPARISON_DOCUMENT_FILE,
    BudgetSection,
    ComparisonDocument,
    MethodSection,
    OriginSection,
    read_comparison_document,
)
from tune.records.ledger import SCHEMA_VERSION, Ledger
from tune.records.replicates import choose_winner, select_by_configuration
from tune.records.schema import SpentSection
from tune.reporting.comparison_analysis import analyse_comparison
from tune.strategy.budget import SpentResources

NOT_OF_METHODS = ("method", "model", "learning_rate", *TRAINING_PARAMETERS)  # of a configuration


def build_comparison(
    plan: Plan, ledgers: dict[str, Ledger], spent: SpentResources, provenance: Provenance
) -> ComparisonDocument:
    """Build the document of what was run, method by method. It is a look, which is noted."""
    options = plan.options
    methods = [_build_method_section(plan, name, ledger) for name, ledger in ledgers.items()]
    return ComparisonDocument(
        schema_version=SCHEMA_VERSION,
        **describe_plan(plan),
        provenance=provenance,
        budget=BudgetSection(
            configurations=0 if plan.first.given else options.trials,
            steps=plan.max_steps,
            confirm_steps=plan.confirm_steps,
            seeds=[options.seed + 1 + number for number in range(options.confirm)],
            scheduler=options.scheduler,
            sampler=options.sampler,
        ),
        covered=next((trial.covered for method in methods for trial in method.trials if trial.covered), None),
        evaluation_sets=[*plan.task.dev_splits, *plan.settings.transfer],
        baseline=next(iter(plan.arms)),
        methods=methods,
        spent=SpentSection.model_validate(asdict(spent) | plan.slot_devices.used(spent.slot_seconds)),
        looks=_note_look(ledgers, options.confirm, methods),
    )


def _note_look(ledgers: Mapping[str, Ledger], seeds: int, methods: Sequence[MethodSection]) -> list[int]:
    """Note the look with the baseline's ledger, and return all: those that another arm's has, too, which was
    the baseline before. It is none where no run completed."""
    first, keys = next(iter(ledgers.values())), ("looks", "looked_at")
    most = max(ledgers.values(), key=lambda ledger: len(ledger.noted("looks") or []))
    for key in keys if most is not first else ():
        first.note(key, most.noted(key))
    is_seen = any(run.outcome == Outcome.COMPLETED for method in methods for run in method.runs)
    chosen = {each.method: make_configuration_key(each.configuration) for each in methods}
    return first.note_look(seeds if is_seen else 0, chosen)


def _build_method_section(plan: Plan, name: str, ledger: Ledger) -> MethodSection:
    """Collect the runs of an arm, and choose its configuration."""
    arm, trials = plan.arms[name], ledger.records(RunPurpose.SEARCH)
    winner = choose_winner(trials, plan.task.direction)
    configuration = arm.given_configuration or {"method": arm.space.methods[0]}
    confirmations = ledger.records(RunPurpose.CONFIRMATION)
    if winner is not None:
        configuration = winner.configuration
        if confirmations and not select_by_configuration(configuration, confirmations):
            configuration = confirmations[-1].configuration  # as an earlier version chose
            winner = next(iter(select_by_configuration(configuration, trials)), winner)
    hyperparameters = {k: v for k, v in configuration.items() if k not in NOT_OF_METHODS}
    return MethodSection(
        method=name,
        configuration=configuration,
        selection_score=winner.score if winner is not None else None,
        space=arm.space.to_description(),
        cost=asdict(make_method(configuration["method"], **hyperparameters).cost),
        trials=trials,
        runs=select_by_configuration(configuration, confirmations),
        **(_describe_arm(plan, name) if plan.options.arms else {}),
    )


def _describe_arm(plan: Plan, name: str) -> dict[str, Any]:
    """Return what a document says of an arm that is more than a method."""
    arm, first = plan.arms[name], plan.first
    inputs = {
        part: describe_input(getattr(arm, part))
        for part in ("data", "model")
        if getattr(arm, part) != getattr(first, part)
    }
    return {
        "differs": plan.list_differences()[name],
        "examples": arm.preview.examples["train"],
        "confirm_steps": arm.preview.full_max_steps,
        **inputs,
    }


def join_comparisons(folders: Sequence[Path], allow_dirty: bool) -> list[ComparisonDocument]:
    """Join finished comparisons into one document for each task and training set, and analyse it again.

    A method that several folders hold is taken from the first; "joined" lists the sources. Raises InputError
    for a folder without a finished comparison, for a changed working tree (unless `allow_dirty`), and for
    comparisons with different data, model, budget or seeds.
    """
    joined: dict[tuple[str, int | None, int | None], tuple[ComparisonDocument, dict[str, Path]]] = {}
    for folder in folders:
        document = _read_comparison(folder, allow_dirty)
        settings = document.plan.settings
        key = (document.task, settings.train_size, settings.shots)
        if key in joined:
            _check_comparable(joined[key][0], document, folder)
            _check_same_arms(joined[key][0], document, folder)
        empty = document.model_copy(update={"methods": [], "joined": []})
        first, folders_by_method = joined.setdefault(key, (empty, {}))
        new = [method for method in document.methods if method.method not in folders_by_method]
        first.methods += new
        first.joined.append(make_origin(folder, document.provenance, new))
        first.looks = max(first.looks, document.looks, key=len)
        folders_by_method |= {method.method: folder for method in new}
    for document, folders_by_method in joined.values():
        analyse_comparison(document, folders_by_method)
    return [document for document, _ in joined.values()]


def make_origin(folder: Path, made_by: Provenance, methods: Sequence[MethodSection]) -> OriginSection:
    """Say which methods of a joined document come from a folder, and from which code."""
    return OriginSection(
        folder=str(folder),
        methods=[method.method for method in methods],
        git_commit=made_by.git_commit,
        git_dirty=made_by.git_dirty,
    )


def refuse_changed_code(folder: Path, made_by: Provenance, allow_dirty: bool) -> None:
    """Raise InputError for a result of code that was not committed, unless `allow_dirty`."""
    if made_by.git_dirty and not allow_dirty:
        raise InputError(
            f"--results: {folder} was made by a working tree with changes that were not committed; "
            f"run it again, or give --allow-dirty"
        )


def _read_comparison(folder: Path, allow_dirty: bool) -> ComparisonDocument:
    """Read the finished comparison of an output folder; see `join_comparisons`."""
    file = folder / COMPARISON_DOCUMENT_FILE
    if not file.is_file():
        is_unfinished = (folder / "study.db").is_file()
        advice = f"finish it first: --resume {folder}" if is_unfinished else "give the output folder of one"
        raise InputError(f"--results: {folder} holds no finished comparison; {advice}")
    document = read_comparison_document(folder, "--results")
    refuse_changed_code(folder, document.provenance, allow_dirty)
    return document


def _check_comparable(first: ComparisonDocument, second: ComparisonDocument, folder: Path) -> None:
    """Raise InputError with the differences unless two documents may share a table."""
    ours, theirs = _collect_comparable_settings(first), _collect_comparable_settings(second)
    changed = [f"{key} {theirs[key]!r}, not {ours[key]!r}" for key in ours if ours[key] != theirs[key]]
    if changed:
        raise InputError(f"--results: {folder} cannot be compared with the rest: it has {'; '.join(changed)}")


def _check_same_arms(first: ComparisonDocument, second: ComparisonDocument, folder: Path) -> None:
    """Raise InputError unless arms of one name are one thing. Both have the same baseline, so that it says
    what an arm has where the arms of its own comparison do not differ."""
    shared = {k: v for each in (second, first) for k, v in each.get_arm(first.baseline).differs.items()}

    def describe(arm: MethodSection) -> dict[str, Any]:
        prints = {
            part: found and found.fingerprint for part, found in (("data", arm.data), ("model", arm.model))
        }
        return {**shared, **prints, **arm.differs, "space": arm.space}

    known = {method.method: describe(method) for method in first.methods}
    for arm in second.methods:
        theirs = describe(arm)
        ours = known.get(arm.method, theirs)
        if changed := [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]:
            raise InputError(
                f"--results: {folder} cannot be compared with the rest: its {arm.method} is another one, in "
                f"{', '.join(changed)}; compare it under another name"
            )


def _collect_comparable_settings(document: ComparisonDocument) -> dict[str, Any]:
    """Return by name all that must be equal for two documents to share a table."""
    settings = {k: v for k, v in document.plan.settings.to_json().items() if k not in ("data", "model")}
    packages = document.provenance.packages
    return {
        "data fingerprint": document.data.fingerprint,
        "model fingerprint": document.model.fingerprint,
        **settings,
        **document.budget.to_json(),
        **{name: packages.get(name) for name in ("dps-tune", "torch", "transformers")},
        "evaluation sets": document.evaluation_sets,
        "baseline": document.baseline,
        "learning rates": next((method.space["learning_rate"] for method in document.methods), None),
    }
