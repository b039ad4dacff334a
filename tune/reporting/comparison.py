"""What a comparison found: compare.json, from the ledgers and the predictions.

`build_comparison` gathers what was run; `analyse_comparison` adds what it says. A document that was read
back, or put together
from several, is analysed in the same way.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.methods import make_method
from dps.tasks.chance import chance_level
from dps.tasks.metrics import compute_predictions, get_metric
from dps.tasks.registry import restore_task
from dps.tasks.task import Task
from dps.tasks.transfer import get_transfer_target, map_to_transfer_classes
from dps.training.result import Outcome
from tune.core.run import RunPurpose
from tune.planning.plan import Plan, describe_plan
from tune.records.ledger import SCHEMA_VERSION, Ledger
from tune.records.predictions import locate_predictions, read_predictions
from tune.records.replicates import choose_winner, select_by_configuration
from tune.records.schema import serialise_run
from tune.stats.chance import fill_missing_runs, serialise_difference
from tune.stats.evidence import (
    BOOTSTRAP_SEED,
    adjust_p_values,
    describe_difference,
    estimate_difference,
    estimate_mean,
    summarise_scores,
)
from tune.stats.resampling import score_runs
from tune.strategy.budget import SpentResources

ComparisonDocument = dict[str, Any]


def build_comparison(
    plan: Plan, ledgers: dict[str, Ledger], spent: SpentResources, provenance: dict[str, Any]
) -> ComparisonDocument:
    """What was run, method by method."""
    options = plan.options
    trials = [trial for ledger in ledgers.values() for trial in ledger.records(RunPurpose.SEARCH)]
    return {
        "schema_version": SCHEMA_VERSION,
        **describe_plan(plan),
        "provenance": provenance,
        "budget": {
            "configurations": options.trials,
            "steps": plan.max_steps,
            "confirm_steps": plan.confirm_steps,
            "seeds": [options.seed + 1 + number for number in range(options.confirm)],
            "scheduler": options.scheduler,
            "sampler": options.sampler,
        },
        "covered": next((trial.covered for trial in trials if trial.covered), None),
        "evaluation_sets": [*plan.task.dev_splits, *plan.settings.transfer],
        "baseline": plan.options.method_names[0],
        "methods": [_method_section(plan, name, ledger) for name, ledger in ledgers.items()],
        "spent": asdict(spent) | plan.devices.used(spent.slot_seconds),
    }


def _method_section(plan: Plan, name: str, ledger: Ledger) -> ComparisonDocument:
    tuning = ledger.records(RunPurpose.SEARCH)
    winner = choose_winner(tuning, plan.task.direction)
    configuration = winner.configuration if winner is not None else {"method": name}
    confirming = select_by_configuration(configuration, ledger.records(RunPurpose.CONFIRMATION))
    hyper = {k: v for k, v in configuration.items() if k not in ("method", "learning_rate")}
    return {
        "method": name,
        "configuration": configuration,
        "selection_score": winner.score if winner is not None else None,
        "space": plan.arms[name].describe(),
        "cost": asdict(make_method(name, **hyper).cost),
        "trials": [serialise_run(record) for record in tuning],
        "runs": [serialise_run(record) for record in confirming],
    }


def analyse_comparison(found: ComparisonDocument, folders: dict[str, Path]) -> None:
    """Add what it says: "results" by evaluation set, "costs" by method, "sentences".

    folders: by method, the output folder that holds its predictions.
    """
    found["results"] = {name: _evaluate_methods(found, name, folders) for name in found["evaluation_sets"]}
    found["costs"] = {method["method"]: _method_costs(method) for method in found["methods"]}
    found["probe"] = _mean_probe_figures(found)
    main = found["results"][found["evaluation_sets"][0]]
    verdicts = [f"{name} is {row['verdict']}." for name, row in main["methods"].items() if row["verdict"]]
    found["sentences"] = [*verdicts, *_describe_missing_runs(found)]


def _describe_missing_runs(found: ComparisonDocument) -> list[str]:
    """The methods of which runs are missing, and what stands in their place."""
    said, seeds = [], set(found["budget"]["seeds"])
    for method in found["methods"]:
        ends = Counter(run["outcome"] for run in method["runs"] if run["seed"] in seeds)
        missing = len(seeds) - ends.pop(Outcome.COMPLETED, 0)
        if missing:
            ends["not made"] = missing - ends.total()
            why = ", ".join(f"{count} {end}" for end, count in ends.items() if count)
            said.append(
                f"{method['method']}: {missing} of {len(seeds)} runs did not complete ({why}); the constant "
                f"prediction stands for each."
            )
    return said


def _evaluate_methods(found: ComparisonDocument, name: str, folders: dict[str, Path]) -> ComparisonDocument:
    """What the methods' runs say on one evaluation set."""
    task, metric, labels, predicted = _read_method_predictions(found, name, folders)
    level_of_chance = chance_level(task, labels)
    baseline = found["baseline"]
    differences = {
        method: estimate_difference(metric, labels, predicted[baseline], rows, BOOTSTRAP_SEED)
        for method, rows in predicted.items()
        if method != baseline
    }
    p_values = [difference.p for difference in differences.values()]
    known = all(p is not None for p in p_values)
    adjusted = adjust_p_values([p for p in p_values if p is not None]) if known else [None] * len(p_values)
    rows: ComparisonDocument = {}
    for method, values in predicted.items():
        scored = score_runs(metric, labels, values)
        estimate = estimate_mean(metric, labels, values, BOOTSTRAP_SEED)
        rows[method] = {
            "scores": dict(zip(map(str, found["budget"]["seeds"]), map(float, scored), strict=True)),
            **asdict(summarise_scores(scored, level_of_chance)),
            "interval": list(estimate.interval),
            "interval_over_seeds": estimate.interval_over_seeds and list(estimate.interval_over_seeds),
            "others": {
                other: float(np.mean([get_metric(other)(labels, row) for row in values]))
                for other in task.metrics
                if other != metric
            },
            "difference": None,
            "verdict": None,
        }
    for (method, difference), p in zip(differences.items(), adjusted, strict=True):
        rows[method]["difference"] = serialise_difference(difference, p, len(differences))
        rows[method]["verdict"] = describe_difference(difference, p, baseline, comparisons=len(differences))
    return {
        "metric": metric,
        "examples": len(labels),
        "chance": level_of_chance,
        "methods": rows,
    }


def _read_method_predictions(
    found: ComparisonDocument, name: str, folders: dict[str, Path]
) -> tuple[Task, str, NDArray[Any], dict[str, NDArray[Any]]]:
    """(task, its metric, labels (n,), predictions (seeds, n) by method) on an evaluation set.

    A run that did not complete, or was not made for want of a configuration that trains, stands with
    the constant prediction.
    """
    trained = restore_task(found["plan"]["settings"]["task"])
    own = name in trained.dev_splits
    target = None if own else get_transfer_target(name)
    task = trained if target is None else target.task
    labels: NDArray[Any] | None = None
    read: dict[str, dict[int, NDArray[Any]]] = {}
    for method in found["methods"]:
        read[method["method"]] = {}
        for run in method["runs"]:
            file = locate_predictions(folders[method["method"]], run["id"])
            if run["outcome"] != Outcome.COMPLETED:
                continue
            held = read_predictions(file)
            if name not in held:
                raise InputError(f"--results: {file} holds nothing on {name}, but {', '.join(held)}")
            gold, logits = held[name]
            if target is not None:
                gold, values = map_to_transfer_classes(trained, target, gold, logits)
            else:
                values = compute_predictions(task, logits)
            if labels is not None and not np.array_equal(labels, gold):
                raise InputError(f"--results: {file} was made on other examples of {name} than the rest")
            labels, read[method["method"]][run["seed"]] = gold, values
    if labels is None:
        raise InputError(f"--results: no run of {found['task']} completed")
    seeds = found["budget"]["seeds"]
    filled = {method: fill_missing_runs(task, labels, by_seed, seeds) for method, by_seed in read.items()}
    return task, task.metric, labels, filled


def _method_costs(method: ComparisonDocument) -> ComparisonDocument:
    """What a method took: of a run (a mean over its confirmations), and in all."""
    runs, everything = method["runs"], [*method["trials"], *method["runs"]]
    done = [run for run in runs if run["outcome"] == Outcome.COMPLETED]
    memory = [run["peak_memory"] for run in done if run["peak_memory"]]

    def mean(key: str) -> float | None:
        return float(np.mean([run[key] for run in done])) if done else None

    return {
        "passes_per_run": mean("passes"),
        "seconds_per_run": mean("seconds"),
        "peak_memory": max(memory, default=None),
        "passes": sum(run["passes"] for run in everything),
        "seconds": sum(run["seconds"] for run in everything),
        "selected_share": mean("selected_share") if all(r["selected_share"] for r in done) else None,
    }


def _mean_probe_figures(found: ComparisonDocument) -> ComparisonDocument:
    """By method, the mean of every figure of the probe; empty where there was none."""
    probes: ComparisonDocument = {}
    for method in found["methods"]:
        measured = [run["final"]["probe"] for run in method["runs"] if "probe" in run["final"]]
        if measured:
            keys = measured[0].keys()
            probes[method["method"]] = {key: float(np.mean([one[key] for one in measured])) for key in keys}
    return probes


def join_comparisons(folders: Sequence[Path], allow_dirty: bool) -> list[ComparisonDocument]:
    """The finished comparisons in `folders`, analysed anew: one document for each task and training set,
    with the methods of all that compare it; "joined" in it says where they come from.

    Raises InputError for a folder without a finished comparison, for a changed working tree (but with
    `allow_dirty`), and for what cannot be compared: other data, model, budget or seeds.
    """
    joined: dict[tuple[str, str], tuple[ComparisonDocument, dict[str, Path]]] = {}
    for folder in folders:
        found = _read_comparison(folder, allow_dirty)
        key = (found["task"], str(found["plan"]["settings"]["train_size"]))
        if key in joined:
            _check_comparable(joined[key][0], found, folder)
        first, places = joined.setdefault(key, (found | {"methods": [], "joined": []}, {}))
        fresh = [method for method in found["methods"] if method["method"] not in places]
        first["methods"] += fresh
        first["joined"].append(_origin_section(found, folder, fresh))
        places.update({method["method"]: folder for method in fresh})
    for found, places in joined.values():
        analyse_comparison(found, places)
    return [found for found, _ in joined.values()]


def _origin_section(
    found: ComparisonDocument, folder: Path, methods: list[ComparisonDocument]
) -> ComparisonDocument:
    """Which methods of a joined document come from a folder, and from which code."""
    return {
        "folder": str(folder),
        "methods": [method["method"] for method in methods],
        "git_commit": found["provenance"]["git_commit"],
        "git_dirty": found["provenance"]["git_dirty"],
    }


def _read_comparison(folder: Path, allow_dirty: bool) -> ComparisonDocument:
    file = folder / "compare.json"
    if not file.is_file():
        unfinished = (folder / "study.db").is_file()
        advice = f"finish it first: --resume {folder}" if unfinished else "give the output folder of one"
        raise InputError(f"--results: {folder} holds no finished comparison; {advice}")
    try:
        found: ComparisonDocument = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"--results: {file} is no JSON: {error}") from None
    if "comparisons" in found or "joined" in found:
        raise InputError(f"--results: {folder} was itself joined; give the folders that it was made from")
    version = found.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"--results: {file} has version {version}, this program reads {SCHEMA_VERSION}")
    if found["provenance"]["git_dirty"] and not allow_dirty:
        raise InputError(
            f"--results: {folder} was made by a working tree with changes that were not committed; "
            f"run it again, or give --allow-dirty"
        )
    return found


def _check_comparable(one: ComparisonDocument, other: ComparisonDocument, folder: Path) -> None:
    """Raises InputError, showing the differences, where two documents must not share a table."""

    def same(found: ComparisonDocument) -> ComparisonDocument:
        settings = {k: v for k, v in found["plan"]["settings"].items() if k not in ("data", "model")}
        fingerprints = {f"{what} fingerprint": found[what]["fingerprint"] for what in ("data", "model")}
        packages = {
            name: found["provenance"]["packages"].get(name) for name in ("dps-tune", "torch", "transformers")
        }
        return {
            **fingerprints, **settings, **found["budget"], **packages,
            "evaluation sets": found["evaluation_sets"], "baseline": found["baseline"],
            "learning rates": next((m["space"]["learning_rate"] for m in found["methods"]), None),
        }  # fmt: skip

    mine, theirs = same(one), same(other)
    changed = [f"{key} {theirs[key]!r}, not {mine[key]!r}" for key in mine if mine[key] != theirs[key]]
    if changed:
        raise InputError(f"--results: {folder} cannot be compared with the rest: it has {'; '.join(changed)}")
