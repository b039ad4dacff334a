"""The document of a comparison, compare.json: built from the ledgers, or joined from finished comparisons."""

from __future__ import annotations

from collections import Counter
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
from tune.planning.plan import Plan, describe_plan
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
from tune.records.schema import SpentSection, sum_spent
from tune.reporting.comparison_analysis import analyse_comparison
from tune.strategy.budget import SpentResources

INPUTS = {"model": "model", "training data": "data"}  # in what differs: the section that it is of
NOT_OF_METHODS = ("method", "model", "learning_rate", *TRAINING_PARAMETERS)  # of a configuration


def build_comparison(
    plan: Plan,
    ledgers: dict[str, Ledger],
    spent: SpentResources,
    provenance: Provenance,
    former: Sequence[Ledger] = (),
) -> ComparisonDocument:
    """Build the document of what was run, method by method. It is a look, which is noted. former: ledgers of
    arms that the comparison had before and has no longer."""
    options = plan.options
    methods = [_build_method_section(plan, name, ledger) for name, ledger in ledgers.items()]
    looks, looked_at = _note_look(ledgers, former, options.confirm, methods)
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
        looks=looks,
        dropped=sorted(looked_at.keys() - plan.arms.keys()),
    )


def _note_look(
    ledgers: Mapping[str, Ledger], former: Sequence[Ledger], seeds: int, methods: Sequence[MethodSection]
) -> tuple[list[int], dict[str, str]]:
    """Note the look with the baseline's ledger, and return all looks, and what they looked at: those before
    may be with another arm's, which was the baseline then. It is none where no run completed."""
    first, every = next(iter(ledgers.values())), [*ledgers.values(), *former]
    by_looks = sorted(every, key=lambda ledger: len(ledger.noted("looks") or []))
    if by_looks[-1].noted("looks"):
        looked_at = [ledger.noted("looked_at") or {} for ledger in by_looks]
        first.note("looks", by_looks[-1].noted("looks"))
        first.note("looked_at", {arm: key for each in looked_at for arm, key in each.items()})
    is_seen = any(run.outcome == Outcome.COMPLETED for method in methods for run in method.runs)
    chosen = {each.method: make_configuration_key(each.configuration) for each in methods}
    looks = first.note_look(seeds if is_seen else 0, chosen)
    return looks, first.noted("looked_at") or {}


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
        part: getattr(arm, part).to_json()
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
    refuse_twice(folders)
    sources: dict[tuple[str, int | None, int | None], list[ComparisonDocument]] = {}
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
        sources.setdefault(key, []).append(document)
    for key, (document, folders_by_method) in joined.items():
        parts = sources[key]
        names = {name for part in parts for name in part.dropped}
        document.dropped = sorted(names - folders_by_method.keys())
        document.spent = sum_spent(part.spent for part in parts)
        _complete_differences(document, [part.get_arm(document.baseline).differs for part in parts])
        analyse_comparison(document, folders_by_method)
    return [document for document, _ in joined.values()]


def _complete_differences(document: ComparisonDocument, baselines: Sequence[Mapping[str, str]]) -> None:
    """Give every arm a text for whatever differs between any two: what its own comparison did not name is
    as in the baseline, which all have. baselines: what each comparison said of it."""
    shared = {key: text for each in reversed(baselines) for key, text in each.items()}
    if not shared:
        return
    for arm in document.methods:
        own = {"method": arm.configuration["method"]} if "method" in shared else {}
        arm.differs = {**shared, **own, **arm.differs}
    for key, part in INPUTS.items():
        if key in shared:
            inputs = [getattr(arm, part) or getattr(document, part) for arm in document.methods]
            texts = [arm.differs[key] for arm in document.methods]
            named = name_inputs([each.fingerprint for each in inputs], texts)
            for arm, text in zip(document.methods, named, strict=True):
                arm.differs[key] = text
    keep_differences(document.methods)


def name_inputs(fingerprints: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return a text for each model or data set: the same for the same content, another for other content."""
    names: dict[str, str] = {}
    for fingerprint, text in zip(fingerprints, texts, strict=True):
        names.setdefault(fingerprint, text)
    taken = Counter(names.values())
    return [names[each] if taken[names[each]] == 1 else f"{names[each]} {each[:8]}" for each in fingerprints]


def keep_differences(methods: Sequence[MethodSection]) -> None:
    """Keep of what describes the arms that in which they differ."""
    for key in {key for arm in methods for key in arm.differs}:
        if len({arm.differs.get(key) for arm in methods}) == 1:
            for arm in methods:
                arm.differs.pop(key, None)


def refuse_twice(folders: Sequence[Path]) -> None:
    """Raise InputError where a folder is named twice, in whatever spelling."""
    places = [folder.resolve() for folder in folders]
    if twice := [folder for number, folder in enumerate(folders) if places[number] in places[:number]]:
        raise InputError(f"--results: {twice[0]} is named twice; name each folder once")


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
        texts = {key: text for key, text in {**shared, **arm.differs}.items() if key not in INPUTS}
        return {**texts, **prints, "space": arm.space}

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
