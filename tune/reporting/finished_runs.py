"""Finished runs compared afterwards: `python tune/compare.py --results A B`, where one of them is a search.

Each folder gives arms: a search its winner, a comparison its arms. They are paired by the fresh seeds that
all of them share, over the predictions that they left on the same evaluation set.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from tune.records.ledger import open_ledgers
from tune.records.schema import SpentSection
from tune.records.search_document import SEARCH_DOCUMENT_FILE, SearchDocument, read_search_document
from tune.reporting.comparison import NOT_OF_METHODS, make_origin, refuse_changed_code
from tune.reporting.comparison_analysis import analyse_comparison
from tune.stats.evidence import MIN_SEEDS

Finished = SearchDocument | ComparisonDocument


def holds_search(folder: Path) -> bool:
    """Return whether a folder is that of a finished search."""
    return (folder / SEARCH_DOCUMENT_FILE).is_file() and not (folder / COMPARISON_DOCUMENT_FILE).is_file()


def compare_finished_runs(folders: Sequence[Path], allow_dirty: bool) -> ComparisonDocument:
    """Compare what finished searches and comparisons ended with; the first is what the others are compared
    with.

    Raises InputError for a folder without a result or of a changed working tree (unless `allow_dirty`), for
    different tasks or evaluation sets, and where fewer than four seeds are shared.
    """
    found = {folder: _read_finished(folder, allow_dirty) for folder in folders}
    if len(found) < 2:
        raise InputError(f"--results: {folders[0]} is one folder; name two at least")
    first = next(iter(found.values()))
    for folder, document in found.items():
        _check_same_examples(folders[0], first, folder, document)
    arms = {folder: _list_arms(folder, document) for folder, document in found.items()}
    methods = [arm for each in arms.values() for arm in each]
    names = [arm.method for arm in methods]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--results: two folders are named {twice[0]}; rename one of them")
    seeds = sorted(set.intersection(*({run.seed for run in arm.runs} for arm in methods)))
    if len(seeds) < MIN_SEEDS:
        raise InputError(
            f"--results: {', '.join(names)} share {format_count(len(seeds), 'fresh seed')}, and fewer "
            f"than {MIN_SEEDS} pairs tell nothing; go on with one of them: --resume DIR --confirm N"
        )
    _describe_differences(methods)
    spent = [document.spent for document in found.values()]
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
            configurations=0,
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
        spent=SpentSection(
            **{name: sum(getattr(each, name) for each in spent) for name in SpentSection.model_fields}
        ),
        joined=[make_origin(folder, found[folder].provenance, each) for folder, each in arms.items()],
        looks=max(map(_read_looks, folders), key=len),
    )
    analyse_comparison(document, {arm.method: folder for folder, each in arms.items() for arm in each})
    document.sentences.append(
        "Each arm is what a run that had ended came to; how much each was tuned, and on what, is not part of "
        "the comparison."
    )
    return document


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
    if _read_fingerprints(folder, first, splits) != _read_fingerprints(other_folder, other, splits):
        raise InputError(
            f"--results: {folder} and {other_folder} were scored on different examples of "
            f"{', '.join(splits)}; give runs with the same evaluation set"
        )


def _read_fingerprints(folder: Path, document: Finished, splits: Sequence[str]) -> Any:
    """Return the fingerprints of the evaluation set; of all data where the run is of a version without."""
    refuse = partial(_refuse_ledger, folder)
    examples = (open_ledgers(folder / "study.db", refuse)[0].noted("identity") or {}).get("examples")
    return [examples.get(split) for split in splits] if examples else document.data.fingerprint


def _read_looks(folder: Path) -> list[int]:
    """Return with how many fresh seeds verdicts were given so far, see `Ledger.note_look`."""
    ledgers = open_ledgers(folder / "study.db", partial(_refuse_ledger, folder))
    return next((looks for ledger in ledgers if (looks := ledger.noted("looks"))), [])


def _refuse_ledger(folder: Path, reason: str) -> InputError:
    return InputError(f"--results: {folder}/study.db {reason}; give a folder as its run left it")


def _list_arms(folder: Path, document: Finished) -> list[MethodSection]:
    """Return the winner of a search, or the arms of a comparison, named by the folder."""
    name, plan = folder.resolve().name, document.plan
    if isinstance(document, ComparisonDocument):
        return [
            arm.model_copy(
                update={"method": f"{name}/{arm.method}", "trials": [], "differs": {**arm.differs}}
            )
            for arm in document.methods
        ]
    if document.winner is None or not document.confirmation_runs:
        raise InputError(f"--results: {folder} has no confirmed winner; resume the search first")
    configuration, runs = document.winner.configuration, document.confirmation_runs
    own = {key: value for key, value in configuration.items() if key not in NOT_OF_METHODS}
    cost = make_method(configuration["method"], **own).cost
    data, pairs = f"{document.data.name} {document.data.fingerprint[:8]}", configuration.items()
    return [
        MethodSection(
            method=name,
            configuration=configuration,
            selection_score=None,
            space=document.space,
            cost=vars(cost),
            trials=[],
            runs=runs,
            differs={
                **{key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in pairs},
                "model": document.won_model.name,
                "training data": data,
                "training examples": str(plan.examples["train"]),
            },
            examples=plan.examples["train"],
            confirm_steps=max((run.step for run in runs), default=plan.confirm_steps),
        )
    ]


def _describe_differences(methods: Sequence[MethodSection]) -> None:
    """Keep of what describes the arms that in which they differ."""
    for key in {key for arm in methods for key in arm.differs}:
        if len({arm.differs.get(key) for arm in methods}) == 1:
            for arm in methods:
                arm.differs.pop(key, None)
