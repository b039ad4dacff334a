"""What a comparison found: compare.json, from the ledgers and the predictions.

`document` gathers what was run; `analyse` adds what it says. A document that was read back, or put together
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

from dps import metrics, tasks, transfer
from dps.errors import InputError
from dps.methods import make
from tune import chance, evidence, paired, predictions, replicates, resampling
from tune.budget import Spent
from tune.ledger import SCHEMA_VERSION, Ledger, Record
from tune.outcomes import Outcome
from tune.paired import BOOTSTRAP_SEED
from tune.plan import Plan
from tune.report import described

Found = dict[str, Any]


def document(plan: Plan, ledgers: dict[str, Ledger], spent: Spent, provenance: dict[str, Any]) -> Found:
    """What was run, method by method."""
    options = plan.options
    return {
        "schema_version": SCHEMA_VERSION,
        **described(plan),
        "provenance": provenance,
        "budget": {
            "configurations": options.trials,
            "steps": plan.max_steps,
            "confirm_steps": plan.confirm_steps,
            "seeds": [options.seed + 1 + number for number in range(options.confirm)],
            "scheduler": options.scheduler,
            "sampler": options.sampler,
        },
        "covered": next(
            (r.covered for ledger in ledgers.values() for r in ledger.records("search") if r.covered), None
        ),
        "evaluation_sets": [*plan.task.dev_splits, *plan.settings.transfer],
        "baseline": plan.options.method_names[0],
        "methods": [_method(plan, name, ledger) for name, ledger in ledgers.items()],
        "spent": asdict(spent) | plan.devices.used(spent.slot_seconds),
    }


def _method(plan: Plan, name: str, ledger: Ledger) -> Found:
    tuning = ledger.records("search")
    winner = replicates.winner(tuning, plan.task.direction)
    configuration = winner.configuration if winner is not None else {"method": name}
    hyper = {k: v for k, v in configuration.items() if k not in ("method", "learning_rate")}
    return {
        "method": name,
        "configuration": configuration,
        "selection_score": winner.score if winner is not None else None,
        "space": plan.arms[name].describe(),
        "cost": asdict(make(name, **hyper).cost),
        "trials": [_run(record) for record in tuning],
        "runs": [_run(record) for record in replicates.of(winner, ledger.records("confirm"))],
    }


def _run(record: Record) -> Found:
    return {
        "id": record.id,
        "configuration": record.configuration,
        "seed": record.seed,
        "outcome": str(record.outcome),
        "scores": [[step, score] for step, score in record.scores],
        "final": record.final,
        "seconds": record.seconds,
        "passes": record.passes,
        "peak_memory": record.peak_memory,
        "selected_share": record.selected_share,
        "warnings": record.warnings,
        "error": record.error,
    }


def analyse(found: Found, folders: dict[str, Path]) -> None:
    """Add what it says: "results" by evaluation set, "costs" by method, "sentences".

    folders: by method, the output folder that holds its predictions.
    """
    found["results"] = {name: _results(found, name, folders) for name in found["evaluation_sets"]}
    found["costs"] = {method["method"]: _costs(method) for method in found["methods"]}
    found["probe"] = _probes(found)
    main = found["results"][found["evaluation_sets"][0]]
    verdicts = [f"{name} is {row['verdict']}." for name, row in main["methods"].items() if row["verdict"]]
    found["sentences"] = [*verdicts, *_gaps(found)]


def _gaps(found: Found) -> list[str]:
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


def _results(found: Found, name: str, folders: dict[str, Path]) -> Found:
    """What the methods' runs say on one evaluation set."""
    task, metric, labels, predicted = _predicted(found, name, folders)
    level_of_chance = chance.chance(task, labels)
    baseline = found["baseline"]
    differences = {
        method: evidence.difference(metric, labels, predicted[baseline], rows, BOOTSTRAP_SEED)
        for method, rows in predicted.items()
        if method != baseline
    }
    p_values = [difference.p for difference in differences.values()]
    known = all(p is not None for p in p_values)
    adjusted = evidence.holm([p for p in p_values if p is not None]) if known else [None] * len(p_values)
    rows: Found = {}
    for method, values in predicted.items():
        scored = resampling.scores(metric, labels, values)
        estimate = evidence.mean_interval(metric, labels, values, BOOTSTRAP_SEED)
        rows[method] = {
            "scores": dict(zip(map(str, found["budget"]["seeds"]), map(float, scored), strict=True)),
            **asdict(evidence.summarise(scored, level_of_chance)),
            "interval": list(estimate.interval),
            "interval_over_seeds": estimate.interval_over_seeds and list(estimate.interval_over_seeds),
            "others": {
                other: float(np.mean([metrics.get(other)(labels, row) for row in values]))
                for other in task.metrics
                if other != metric
            },
            "difference": None,
            "verdict": None,
        }
    for (method, difference), p in zip(differences.items(), adjusted, strict=True):
        rows[method]["difference"] = paired.described(difference, p, len(differences))
        rows[method]["verdict"] = evidence.words(difference, p, baseline, comparisons=len(differences))
    return {
        "metric": metric,
        "examples": len(labels),
        "chance": level_of_chance,
        "methods": rows,
    }


def _predicted(
    found: Found, name: str, folders: dict[str, Path]
) -> tuple[tasks.Task, str, NDArray[Any], dict[str, NDArray[Any]]]:
    """(task, its metric, labels (n,), predictions (seeds, n) by method) on an evaluation set.

    A run that did not complete, or was not made for want of a configuration that trains, stands with
    the constant prediction.
    """
    trained = tasks.described(found["plan"]["settings"]["task"])
    own = name in trained.dev_splits
    target = None if own else transfer.targets(name)
    task = trained if target is None else target.task
    labels: NDArray[Any] | None = None
    read: dict[str, dict[int, NDArray[Any]]] = {}
    for method in found["methods"]:
        read[method["method"]] = {}
        for run in method["runs"]:
            file = predictions.place(folders[method["method"]], run["id"])
            if run["outcome"] != Outcome.COMPLETED:
                continue
            held = predictions.read(file)
            if name not in held:
                raise InputError(f"--results: {file} holds nothing on {name}, but {', '.join(held)}")
            gold, logits = held[name]
            if target is not None:
                gold, values = transfer.mapped(trained, target, gold, logits)
            else:
                values = metrics.predicted(task, logits)
            if labels is not None and not np.array_equal(labels, gold):
                raise InputError(f"--results: {file} was made on other examples of {name} than the rest")
            labels, read[method["method"]][run["seed"]] = gold, values
    if labels is None:
        raise InputError(f"--results: no run of {found['task']} completed")
    seeds = found["budget"]["seeds"]
    filled = {method: paired.filled(task, labels, by_seed, seeds) for method, by_seed in read.items()}
    return task, task.metric, labels, filled


def _costs(method: Found) -> Found:
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


def _probes(found: Found) -> Found:
    """By method, the mean of every figure of the probe; empty where there was none."""
    probes: Found = {}
    for method in found["methods"]:
        measured = [run["final"]["probe"] for run in method["runs"] if "probe" in run["final"]]
        if measured:
            keys = measured[0].keys()
            probes[method["method"]] = {key: float(np.mean([one[key] for one in measured])) for key in keys}
    return probes


def join(folders: Sequence[Path], allow_dirty: bool) -> list[Found]:
    """The finished comparisons in `folders`, analysed anew: one document for each task and training set,
    with the methods of all that compare it; "joined" in it says where they come from.

    Raises InputError for a folder without a finished comparison, for a changed working tree (but with
    `allow_dirty`), and for what cannot be compared: other data, model, budget or seeds.
    """
    joined: dict[tuple[str, str], tuple[Found, dict[str, Path]]] = {}
    for folder in folders:
        found = _read(folder, allow_dirty)
        key = (found["task"], str(found["plan"]["settings"]["train_size"]))
        if key in joined:
            _check_alike(joined[key][0], found, folder)
        first, places = joined.setdefault(key, (found | {"methods": [], "joined": []}, {}))
        fresh = [method for method in found["methods"] if method["method"] not in places]
        first["methods"] += fresh
        first["joined"].append(_origin(found, folder, fresh))
        places.update({method["method"]: folder for method in fresh})
    for found, places in joined.values():
        analyse(found, places)
    return [found for found, _ in joined.values()]


def _origin(found: Found, folder: Path, methods: list[Found]) -> Found:
    """Which methods of a joined document come from a folder, and from which code."""
    return {
        "folder": str(folder),
        "methods": [method["method"] for method in methods],
        "git_commit": found["provenance"]["git_commit"],
        "git_dirty": found["provenance"]["git_dirty"],
    }


def _read(folder: Path, allow_dirty: bool) -> Found:
    file = folder / "compare.json"
    if not file.is_file():
        unfinished = (folder / "study.db").is_file()
        advice = f"finish it first: --resume {folder}" if unfinished else "give the output folder of one"
        raise InputError(f"--results: {folder} holds no finished comparison; {advice}")
    try:
        found: Found = json.loads(file.read_text(encoding="utf-8"))
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


def _check_alike(one: Found, other: Found, folder: Path) -> None:
    """Raises InputError, showing the differences, where two documents must not share a table."""

    def same(found: Found) -> Found:
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
