"""Finished runs compared afterwards: `python tune/compare.py --results A B`, where one of them is a search.

Each folder gives arms: a search its winner, a comparison its arms. They are paired by the fresh seeds that
all of them share, over the predictions that they left on the same evaluation set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dps.errors import InputError
from dps.methods import make_method
from dps.tasks.registry import restore_task
from dps.wording import format_count
from tune.records.comparison_document import (
    COMPARISON_DOCUMENT_FILE,
    BudgetSection,
    ComparisonDocument,
    MethodSection,
    read_comparison_document,
)
from tune.records.ledger import TrialRecord, open_ledgers
from tune.records.replicates import find_threshold
from tune.records.schema import sum_spent
from tune.records.search_document import SEARCH_DOCUMENT_FILE, SearchDocument, read_search_document
from tune.reporting.comparison import (
    INPUTS,
    NOT_OF_METHODS,
    keep_differences,
    make_origin,
    name_inputs,
    refuse_changed_code,
    refuse_twice,
)
from tune.reporting.comparison_analysis import analyse_comparison
from tune.stats.evidence import MIN_SEEDS

Finished = SearchDocument | ComparisonDocument
_SETTINGS = ("epochs", "batch_size", "max_length", "precision", "loss", "threshold", "patience")


def holds_search(folder: Path) -> bool:
    """Return whether a folder is that of a finished search."""
    return (folder / SEARCH_DOCUMENT_FILE).is_file() and not (folder / COMPARISON_DOCUMENT_FILE).is_file()


def compare_finished_runs(folders: Sequence[Path], allow_dirty: bool) -> ComparisonDocument:
    """Compare what finished searches and comparisons ended with; the first is what the others are compared
    with.

    Raises InputError for a folder without a result or of a changed working tree (unless `allow_dirty`), for
    different tasks or evaluation sets, and where fewer than four seeds are shared.
    """
    refuse_twice(folders)
    found = {folder: _read_finished(folder, allow_dirty) for folder in folders}
    if len(found) < 2:
        raise InputError(f"--results: {folders[0]} is one folder; name two at least")
    first = next(iter(found.values()))
    for folder, document in found.items():
        _check_same_examples(folders[0], first, folder, document)
    names = _name_folders([*found])
    arms = {folder: _list_arms(folder, names[folder], document) for folder, document in found.items()}
    methods = [arm for each in arms.values() for arm in each]
    seeds = sorted(set.intersection(*({run.seed for run in arm.runs} for arm in methods)))
    if len(seeds) < MIN_SEEDS:
        raise InputError(
            f"--results: {', '.join(arm.method for arm in methods)} share "
            f"{format_count(len(seeds), 'fresh seed')}, and fewer than {MIN_SEEDS} pairs tell nothing; "
            f"go on with one of them: --resume DIR --confirm N"
        )
    _describe_differences(methods)
    document = ComparisonDocument(
        schema_version=first.schema_version,
        task=first.task,
        metric=first.metric,
        direction=first.direction,
        data=first.data,
        model=first.model,
        plan=first.plan,
        provenance=first.provenance,
        budget=BudgetSection(
            configurations=None,
            steps=max(each.plan.max_steps for each in found.values()),
            confirm_steps=first.plan.confirm_steps,
            seeds=seeds,
            scheduler="none",
            sampler="",
        ),
        covered=first.covered,
        evaluation_sets=list(restore_task(first.plan.settings.task).dev_splits),
        baseline=methods[0].method,
        methods=methods,
        spent=sum_spent(each.spent for each in found.values()),
        joined=[make_origin(folder, found[folder].provenance, each) for folder, each in arms.items()],
        looks=max(map(_read_looks, folders), key=len),
        dropped=[
            f"{names[folder]}/{arm}"
            for folder, each in found.items()
            if isinstance(each, ComparisonDocument)
            for arm in each.dropped
        ],
    )
    analyse_comparison(document, {arm.method: folder for folder, each in arms.items() for arm in each})
    tuned = "; ".join(_describe_tuning(names[folder], each) for folder, each in found.items())
    document.sentences.append(f"Each arm is what a run that had ended came to: {tuned}.")
    return document


def _name_folders(folders: Sequence[Path]) -> dict[Path, str]:
    """Return their names, with as many folders above them as it takes to tell them apart."""
    parts = {folder: folder.resolve().parts for folder in folders}
    for length in range(1, max(map(len, parts.values())) + 1):
        names = {folder: "/".join(each[-length:]) for folder, each in parts.items()}
        if len({*names.values()}) == len(names):
            break
    return names


def _describe_tuning(name: str, document: Finished) -> str:
    """Say how many configurations a run tuned over, and what it ranked them on."""
    ranked = document.plan.settings.select_on
    too = ", which is reported too: optimistic" if ranked == "dev" else ""

    def describe(of: str, tried: int) -> str:
        if not tried:
            return f"{of}, not tuned"
        return f"{of}, the best of {format_count(tried, 'configuration')} ranked on {ranked}{too}"

    if isinstance(document, SearchDocument):
        return describe(name, len(document.trials))
    tried = {f"{name}/{arm.method}": len(arm.trials) for arm in document.methods}
    if len({*tried.values()}) == 1:
        return describe(f"each arm of {name}", next(iter(tried.values())))
    return "; ".join(describe(arm, count) for arm, count in tried.items())


def _read_finished(folder: Path, allow_dirty: bool) -> Finished:
    if holds_search(folder):
        document: Finished = read_search_document(folder)
    elif (folder / COMPARISON_DOCUMENT_FILE).is_file():
        document = read_comparison_document(folder, "--results")
    else:
        raise InputError(
            f"--results: {folder} holds no finished search or comparison; give its output folder"
        )
    refuse_changed_code(folder, document.provenance, allow_dirty)
    return document


def _check_same_examples(folder: Path, first: Finished, other_folder: Path, other: Finished) -> None:
    """Raise InputError unless two runs were scored on the same examples of the same task."""
    if (other.task, other.metric) != (first.task, first.metric):
        raise InputError(
            f"--results: {folder} is of {first.task} ({first.metric}), {other_folder} of {other.task} "
            f"({other.metric}); for a table over several tasks: python tune/report.py DIR DIR"
        )
    splits = restore_task(first.plan.settings.task).dev_splits
    ours, theirs = (_read_fingerprints(each, splits) for each in (folder, other_folder))
    if ours is None or theirs is None:  # of an earlier version: all of its data must be the same
        ours, theirs = [first.data.fingerprint], [other.data.fingerprint]
    if ours != theirs:
        raise InputError(
            f"--results: {folder} and {other_folder} were scored on different examples of "
            f"{', '.join(splits)}; give runs with the same evaluation set"
        )


def _read_fingerprints(folder: Path, splits: Sequence[str]) -> list[str | None] | None:
    """Return the fingerprints of the evaluation set; None where the run is of a version without."""
    refuse = partial(_refuse_ledger, folder)
    examples = (open_ledgers(folder / "study.db", refuse)[0].noted("identity") or {}).get("examples")
    return [examples.get(split) for split in splits] if examples else None


def _read_looks(folder: Path) -> list[int]:
    """Return with how many fresh seeds verdicts were given so far, see `Ledger.note_look`."""
    ledgers = open_ledgers(folder / "study.db", partial(_refuse_ledger, folder))
    return max((ledger.noted("looks") or [] for ledger in ledgers), key=len, default=[])


def _refuse_ledger(folder: Path, reason: str) -> InputError:
    return InputError(f"--results: {folder}/study.db {reason}; give a folder as its run left it")


def _list_arms(folder: Path, name: str, document: Finished) -> list[MethodSection]:
    """Return the winner of a search, or the arms of a comparison. name: of the folder, which names them."""
    threshold = restore_task(document.plan.settings.task).threshold
    if isinstance(document, ComparisonDocument):
        return [
            arm.model_copy(
                update={
                    "threshold": threshold,
                    "method": f"{name}/{arm.method}",
                    "data": arm.data or document.data,
                    "model": arm.model or document.model,
                    "examples": arm.examples or document.plan.examples["train"],
                    "confirm_steps": arm.confirm_steps or document.plan.confirm_steps,
                    "differs": _describe_arm(
                        document,
                        arm.configuration,
                        arm.runs,
                        {"steps": f"{document.plan.confirm_steps:,}", **arm.differs},
                    ),
                }
            )
            for arm in document.methods
        ]
    if document.winner is None or not document.confirmation_runs:
        raise InputError(f"--results: {folder} has no confirmed winner; resume the search first")
    configuration, runs = document.winner.configuration, document.confirmation_runs
    steps = max((run.step for run in runs), default=0) or document.plan.confirm_steps
    own = {"steps": f"{steps:,}", "max length": str(document.won_max_length)}
    of_method = {key: value for key, value in configuration.items() if key not in NOT_OF_METHODS}
    return [
        MethodSection(
            method=name,
            threshold=threshold,
            trials=[*document.trials, *document.race_runs],
            configuration=configuration,
            selection_score=None,
            space=document.space,
            cost=vars(make_method(configuration["method"], **of_method).cost),
            runs=runs,
            differs=_describe_arm(document, configuration, runs, own),
            data=document.data,
            model=document.won_model,
            examples=document.plan.examples["train"],
            confirm_steps=steps,
        )
    ]


def _describe_arm(
    document: Finished,
    configuration: Mapping[str, Any],
    runs: Sequence[TrialRecord],
    own: Mapping[str, str],
) -> dict[str, str]:
    """Return what decided these runs but for data and model, as short texts, named as in `Arm.describe`. own:
    what is known of them beside the settings that all runs of the document share."""
    settings = document.plan.settings.to_json()
    threshold = find_threshold(runs) or restore_task(document.plan.settings.task).threshold
    shared = {name: settings.get(name) for name in _SETTINGS} | {"threshold": threshold}
    if settings.get("max_steps") is not None:
        shared["epochs"] = None
    searched = {key: value for key, value in configuration.items() if key != "model"}
    return {**_format_values(shared), **own, **_format_values(searched)}


def _format_values(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        name.replace("_", " ") if name in _SETTINGS else name: _format_value(value)
        for name, value in values.items()
    }


def _format_value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _describe_differences(methods: Sequence[MethodSection]) -> None:
    """Add models, data and their size to what describes the arms, and keep that in which they differ."""
    for key, part in INPUTS.items():
        inputs = [getattr(arm, part) for arm in methods]
        texts = [Path(each.name).name for each in inputs]
        named = name_inputs([each.fingerprint for each in inputs], texts)
        for arm, text in zip(methods, named, strict=True):
            arm.differs[key] = text
    for arm in methods:
        arm.differs["training examples"] = f"{arm.examples:,}"
    keep_differences(methods)
