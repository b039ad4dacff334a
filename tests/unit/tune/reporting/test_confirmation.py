"""The winner beside its baselines, and the race."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dps.paths import hash_file
from dps.tasks import metrics, registry
from dps.tasks.registry import restore_task
from dps.training.result import Outcome
from tests.unit.tune.helpers import make_record, restore_old_search
from tune.records import predictions
from tune.records.ledger import TrialRecord
from tune.records.replicates import select_by_configuration
from tune.records.search_document import Evidence, RaceRow, read_search_document
from tune.reporting.confirmation import (
    Rival,
    compare_rivals,
    describe_incomplete_runs,
    list_finalists,
    read_dev_predictions,
    summarise_evidence,
    summarise_race,
)
from tune.stats import evidence, verdict
from tune.stats.ensemble import summarise_answers
from tune.stats.evidence import BOOTSTRAP_SEED

NAME = "vanilla at its own learning rate"
WINNER = {"method": "dps-dense", "learning_rate": 2e-4, "selection_ratio": 0.7}
BASELINE = {"method": "vanilla", "learning_rate": 3e-4}
EXAMPLES = 80
SKILL = {"dps-dense": 2.5, "vanilla": 0.4}
DIVERGED, LOST = Outcome.DIVERGED, Outcome.LOST


def gold(task: str = "rte") -> Any:
    rng = np.random.default_rng(3)
    labels = (rng.random(EXAMPLES) < 0.6).astype(np.int64)
    return labels if registry.get_task(task).labels else labels + rng.random(EXAMPLES)


def logits(method: str, seed: int, task: str = "rte") -> Any:
    """Better than chance by the method's skill."""
    rng = np.random.default_rng([seed, *method.encode()])
    labels = gold(task)
    if not registry.get_task(task).labels:
        return (SKILL[method] * labels + rng.normal(0, 1, EXAMPLES))[:, None].astype(np.float32)
    return (SKILL[method] * np.eye(2)[labels] + rng.normal(0, 0.8, (EXAMPLES, 2))).astype(np.float32)


def confirmed(
    folder: Path,
    seeds: tuple[int, ...] = (1, 2, 3, 4),
    ends: dict[tuple[str, int], Outcome] | None = None,
    task: str = "rte",
    configurations: tuple[dict[str, Any], ...] = (WINNER, BASELINE),
) -> list[TrialRecord]:
    """The confirmations, with their predictions in the folder. ends: by method and seed."""
    records = []
    for configuration in configurations:
        for seed in seeds:
            method, name = configuration["method"], f"confirm-{len(records)}"
            outcome = (ends or {}).get((method, seed), Outcome.COMPLETED)
            record = make_record(
                len(records),
                outcome,
                id=name,
                purpose="confirmation",
                configuration=configuration,
                seed=seed,
            )
            if outcome == Outcome.COMPLETED:
                made = logits(method, seed, task)
                predictions.write_predictions(
                    predictions.locate_predictions(folder, name), {"dev": made}, {"dev": gold(task)}
                )
                record.final = {"dev": metrics.compute_scores(registry.get_task(task), gold(task), made)}
            records.append(record)
    return records


def flip_last_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def predicted(method: str, *seeds: int) -> Any:
    return np.stack([logits(method, seed).argmax(axis=1) for seed in seeds])


def proved(records: list[TrialRecord], folder: Path | None, task: str = "rte") -> tuple[Any, Any]:
    """The evidence of the winner, and the baseline beside it."""
    mine, theirs = (select_by_configuration(each, records) for each in (WINNER, BASELINE))
    mean, *_ = summarise_evidence(registry.get_task(task), mine, folder)
    (rival,) = compare_rivals(registry.get_task(task), mine, [Rival(NAME, BASELINE, theirs)], folder)
    return mean, rival


def test_evidence_and_difference_are_those_of_evidence_by_hand(tmp_path: Path) -> None:
    mean, baseline = proved(confirmed(tmp_path), tmp_path)
    rows = {method: predicted(method, 1, 2, 3, 4) for method in SKILL}
    by_hand = evidence.estimate_difference(
        "accuracy", gold(), rows["vanilla"], rows["dps-dense"], BOOTSTRAP_SEED
    )
    for found, method in ((mean, "dps-dense"), (baseline.evidence, "vanilla")):
        estimate = evidence.estimate_mean("accuracy", gold(), rows[method], BOOTSTRAP_SEED)
        answers = summarise_answers(
            registry.get_task("rte"), gold(), [logits(method, seed) for seed in (1, 2, 3, 4)]
        )
        assert answers is not None
        assert found == Evidence(**vars(estimate), answers=answers)
    assert baseline.configuration == BASELINE
    assert dict(baseline.difference) == {
        **asdict(by_hand),
        "points": by_hand.points,
        "adjusted_p": verdict.adjust_p_values([by_hand.p or 0])[0],
        "look": 1,
        "more_seeds": verdict.estimate_more_seeds(by_hand),
    }
    assert baseline.difference.mean == pytest.approx(
        mean.mean - baseline.confirmation.mean
    )  # fmt: skip
    assert baseline.confirmation.scores == {
        seed: pytest.approx((predicted("vanilla", seed)[0] == gold()).mean()) for seed in (1, 2, 3, 4)
    }
    assert mean.standard_error == pytest.approx(math.hypot(mean.seeds_part, mean.examples_part))
    assert baseline.to_json()["difference"]["interval"] == list(by_hand.interval)


def test_a_rival_that_was_dropped_is_corrected_for(tmp_path: Path) -> None:
    mine, theirs = (select_by_configuration(each, confirmed(tmp_path)) for each in (WINNER, BASELINE))
    rivals, task = [Rival(NAME, BASELINE, theirs)], registry.get_task("rte")
    (alone,), (one_of_two,) = (compare_rivals(task, mine, rivals, tmp_path, 1, n) for n in (0, 1))
    assert alone.difference is not None
    assert one_of_two.difference is not None
    assert one_of_two.difference.adjusted_p == pytest.approx(2 * (alone.difference.adjusted_p or 0))


def test_the_verdict_is_in_words(tmp_path: Path) -> None:
    records = confirmed(tmp_path)
    _, baseline = proved(records, tmp_path)
    assert baseline.verdict.startswith(f"better than {NAME} by ")
    for seed in (1, 2, 3, 4):
        made = {"dev": logits("dps-dense", seed)}
        predictions.write_predictions(
            predictions.locate_predictions(tmp_path, f"confirm-{3 + seed}"), made, {"dev": gold()}
        )
    _, same = proved(records, tmp_path)
    assert same.verdict == (
        f"not distinguishable from {NAME} (difference 0.0 points; the same in all 4 pairs)"
    )


def test_runs_are_paired_by_seed_and_not_by_place(tmp_path: Path) -> None:
    records = confirmed(tmp_path)
    (mean, baseline), (same_mean, same) = proved(records, tmp_path), proved(records[::-1], tmp_path)
    assert (same_mean, same.evidence, same.difference) == (mean, baseline.evidence, baseline.difference)


def test_a_run_that_diverged_counts_as_the_constant_prediction(tmp_path: Path) -> None:
    ends = {("dps-dense", 2): DIVERGED, ("vanilla", 3): DIVERGED, ("vanilla", 4): DIVERGED}
    mean, baseline = proved(confirmed(tmp_path, ends=ends), tmp_path)
    winner, other = predicted("dps-dense", 1, 2, 3, 4), predicted("vanilla", 1, 2, 3, 4)
    winner[1], other[2], other[3] = 1, 1, 1  # the more frequent class
    assert np.bincount(gold()).argmax() == 1
    by_hand = evidence.estimate_difference("accuracy", gold(), other, winner, BOOTSTRAP_SEED)
    assert baseline.difference.mean == pytest.approx(by_hand.mean)
    assert baseline.difference.interval == by_hand.interval
    assert mean.mean == pytest.approx((winner == gold()).mean())
    assert (mean.diverged, baseline.evidence.diverged) == (1, 2)
    assert sorted(baseline.confirmation.scores) == [1, 2]


def test_a_lost_run_takes_its_pair_with_it(tmp_path: Path) -> None:
    mean, baseline = proved(confirmed(tmp_path, ends={("vanilla", 2): LOST}), tmp_path)
    rows = [predicted(method, 1, 3, 4) for method in ("vanilla", "dps-dense")]
    by_hand = evidence.estimate_difference("accuracy", gold(), *rows, BOOTSTRAP_SEED)
    assert baseline.difference.mean == pytest.approx(by_hand.mean)
    assert (baseline.difference.seeds, baseline.evidence.seeds, mean.seeds) == (3, 3, 4)


def test_where_all_runs_of_one_side_diverged_there_still_is_a_difference(tmp_path: Path) -> None:
    ends = {("dps-dense", seed): DIVERGED for seed in (1, 2, 3, 4)}
    mean, baseline = proved(confirmed(tmp_path, ends=ends), tmp_path)
    assert mean is None
    assert (baseline.difference.seeds, baseline.difference.mean < 0) == (4, True)
    assert json.dumps(baseline.to_json(), allow_nan=False)


def test_where_everything_diverged_nothing_is_known_of_the_examples(tmp_path: Path) -> None:
    ends = {(method, seed): DIVERGED for seed in (1, 2, 3, 4) for method in SKILL}
    mean, baseline = proved(confirmed(tmp_path, ends=ends), tmp_path)
    assert (mean, baseline.confirmation, baseline.evidence, baseline.difference) == (None,) * 4
    assert baseline.verdict == f"not compared with {NAME} (predictions: no confirmation completed)"


def test_without_runs_of_both_with_one_seed_there_is_no_difference(tmp_path: Path) -> None:
    ends = {("vanilla", 1): LOST, ("dps-dense", 2): LOST}
    mean, baseline = proved(confirmed(tmp_path, (1, 2), ends), tmp_path)
    assert baseline.difference is None
    assert baseline.verdict == f"not compared with {NAME} (they share no seed)"
    assert (mean.seeds, baseline.evidence.seeds) == (1, 1)


@pytest.mark.parametrize(("seeds", "says"), [((1,), "1 pair: too few"), ((1, 2), "2 pairs: too few")])
def test_few_pairs_have_no_interval(tmp_path: Path, seeds: tuple[int, ...], says: str) -> None:
    mean, baseline = proved(confirmed(tmp_path, seeds), tmp_path)
    assert (mean.interval, baseline.difference.interval, baseline.difference.p) == (None, None, None)
    assert says in baseline.verdict


def test_the_dev_set_says_what_one_answer_scores(tmp_path: Path) -> None:
    mine = confirmed(tmp_path, configurations=(WINNER,))
    _, chance, why = summarise_evidence(registry.get_task("rte"), mine, tmp_path)
    assert (chance, why) == (pytest.approx((gold() == 1).mean()), None)


def test_several_rivals_are_corrected_by_holm(tmp_path: Path) -> None:
    records = confirmed(tmp_path)
    mine, theirs = (select_by_configuration(each, records) for each in (WINNER, BASELINE))
    rivals = [Rival("one", BASELINE, theirs), Rival("two", BASELINE, theirs), Rival("lost", BASELINE, [])]
    one, two, lost = compare_rivals(registry.get_task("rte"), mine, rivals, tmp_path)
    (alone,) = compare_rivals(registry.get_task("rte"), mine, rivals[:1], tmp_path)
    assert one.difference.p == alone.difference.p
    assert one.difference.adjusted_p == two.difference.adjusted_p
    assert one.difference.adjusted_p == pytest.approx(2 * alone.difference.adjusted_p)
    assert (lost.difference, lost.verdict) == (None, "not compared with lost (they share no seed)")


def test_another_finalist_is_a_trial_that_was_confirmed_and_has_no_place_of_its_own(tmp_path: Path) -> None:
    other = BASELINE | {"learning_rate": 4e-4}
    records = confirmed(tmp_path, configurations=(WINNER, BASELINE, other))
    trials = [make_record(number, configuration=made) for number, made in enumerate((other, WINNER))]
    ((number, found),) = list_finalists([WINNER], trials, records).items()
    assert (number, found.name, found.configuration) == (0, "trial 0", other)
    assert [run.seed for run in found.runs] == [1, 2, 3, 4]
    assert list_finalists([WINNER, other], trials, records) == {}


def test_confirmations_of_other_configurations_do_not_count(tmp_path: Path) -> None:
    records = confirmed(tmp_path)
    others = [
        make_record(9, id="confirm-9", configuration={**c, "learning_rate": 1e-5}, seed=1)
        for c in (WINNER, BASELINE)
    ]
    assert proved([*others, *records], tmp_path) == proved(records, tmp_path)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda file: file.unlink(), "predictions: cannot read "),
        (
            lambda file: predictions.write_predictions(
                file, {"snli": logits("vanilla", 1)}, {"snli": gold()}
            ),
            "no predictions for dev",
        ),
        (
            lambda file: predictions.write_predictions(
                file, {"dev": logits("vanilla", 1)}, {"dev": 1 - gold()}
            ),
            "different examples of dev",
        ),
    ],
    ids=["missing", "of another set", "of other examples"],
)
def test_without_the_predictions_the_verdict_says_why(tmp_path: Path, broken: Any, said: str) -> None:
    records = confirmed(tmp_path)
    broken(predictions.locate_predictions(tmp_path, "confirm-6"))
    mean, baseline = proved(records, tmp_path)
    assert (mean.seeds, baseline.difference, baseline.evidence) == (4, None, None)
    assert baseline.verdict.startswith(f"not compared with {NAME} (predictions: ")
    assert said in baseline.verdict
    assert len(baseline.confirmation.scores) == 4
    assert "no folder" in proved(records, None)[1].verdict


@pytest.mark.parametrize("changed", [flip_last_bit, lambda file: file.write_bytes(b"")])
@pytest.mark.parametrize("broken", ["confirm-1", "confirm-6"])
def test_predictions_that_are_not_what_was_written_are_said_and_not_used(
    tmp_path: Path, broken: str, changed: Any
) -> None:
    records = confirmed(tmp_path)
    for record in records:
        record.predictions_sha256 = hash_file(predictions.locate_predictions(tmp_path, record.id))
    changed(predictions.locate_predictions(tmp_path, broken))
    mine, (mean, baseline) = select_by_configuration(WINNER, records), proved(records, tmp_path)
    of_winner = broken == "confirm-1"
    assert (baseline.difference, baseline.evidence, mean is None) == (None, None, of_winner)
    said = f"{broken}.safetensors is not what its run wrote (checksum)"
    assert said in baseline.verdict
    _, _, why = summarise_evidence(registry.get_task("rte"), mine, tmp_path)
    assert (said in (why or "")) == of_winner


def test_a_single_example_is_too_few(tmp_path: Path) -> None:
    records = confirmed(tmp_path)
    for record in records:
        one = predictions.locate_predictions(tmp_path, record.id)
        predictions.write_predictions(one, {"dev": logits("vanilla", 1)[:1]}, {"dev": gold()[:1]})
    mean, baseline = proved(records, tmp_path)
    assert mean is None
    assert "dev has a single example" in baseline.verdict


def test_regression_is_compared_too(tmp_path: Path) -> None:
    records = confirmed(tmp_path, ends={("vanilla", 1): DIVERGED}, task="stsb")
    mean, baseline = proved(records, tmp_path, "stsb")
    by_hand = [
        np.corrcoef(gold("stsb"), logits("dps-dense", seed, "stsb")[:, 0])[0, 1] for seed in (1, 2, 3, 4)
    ]
    assert mean.mean == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert baseline.difference.mean > 0


def test_what_did_not_complete_is_said() -> None:
    assert describe_incomplete_runs("The winner", ["completed", "completed"]) == []
    assert describe_incomplete_runs("The winner", []) == []
    (said,) = describe_incomplete_runs("The winner", ["completed", "diverged", "completed"])
    assert said == "The winner: 1 of 3 runs diverged; in the mean the constant prediction stands for it."
    (said,) = describe_incomplete_runs("The winner", ["completed", "diverged"], is_seen=False)
    assert said == "The winner: 1 of 2 runs diverged; left out of the mean."
    both = describe_incomplete_runs(NAME, ["lost", "diverged", "failed", "diverged", "lost"])
    assert both[0].startswith(f"{NAME}: 2 of 5 runs diverged")
    assert both[1] == (
        f"{NAME}: 3 of 5 runs did not complete (2 lost, 1 failed); left out, with what is paired with it."
    )


def run(
    rate: float, seed: int, score: float, outcome: Outcome = Outcome.COMPLETED, **changes: Any
) -> TrialRecord:
    """A run on the selection data, of the race but for seed 0."""
    purpose = "race" if seed else "search"
    configuration = {"method": "vanilla", "learning_rate": rate}
    changes = {"purpose": purpose, "configuration": configuration, "seed": seed, **changes}
    return make_record(int(rate), outcome, scores=[(20, 0.2), (60, score)], **changes)


def raced(direction: str = "max", winner: int = 1) -> list[RaceRow]:
    """Trials 1 to 4, of which 1 and 2 were raced with seeds 1 and 2, and 3 with seed 1."""
    trials = [run(1, 0, 0.6), run(2, 0, 0.7), run(3, 0, 0.4, Outcome.STOPPED), run(4, 0, 0.9)]
    races = [run(1, 1, 0.8), run(2, 1, 0.5), run(3, 1, 0.75), run(1, 2, 0.7), run(2, 2, 0.3)]
    return summarise_race(trials, races, trials[winner - 1], direction)


def test_the_race_has_means_and_differences_paired_by_seed() -> None:
    first, *others = raced()
    assert (first.trial, first.won, first.difference) == (1, True, None)
    assert first.scores == {0: 0.6, 1: 0.8, 2: 0.7}
    assert (first.seeds, first.mean, first.std) == (3, pytest.approx(0.7), pytest.approx(0.1))
    assert [row.trial for row in others] == [3, 2]  # the best mean first
    behind = np.array([0.1, -0.3, -0.4])
    assert dict(others[1].difference) == {"mean": pytest.approx(behind.mean()), "seeds": 3}


def test_a_stopped_trial_gives_the_race_no_score() -> None:
    row = raced()[1]
    assert (row.scores, row.seeds, row.std) == ({1: 0.75}, 1, None)
    assert dict(row.difference) == {"mean": pytest.approx(-0.05), "seeds": 1}


def test_of_an_error_the_smaller_mean_comes_first() -> None:
    assert [row.trial for row in raced("min")] == [1, 2, 3]


def test_the_winner_stands_in_the_table_though_it_was_not_raced() -> None:
    rows = raced(winner=4)
    assert [row.trial for row in rows] == [4, 3, 1, 2]
    assert (rows[0].won, rows[0].seeds) == (True, 1)
    assert (rows[1].difference, rows[2].difference.seeds) == (None, 1)  # 3 was stopped with seed 0


def test_without_a_race_there_is_no_table() -> None:
    assert summarise_race([run(1, 0, 0.6)], [], run(1, 0, 0.6), "max") == []
    assert summarise_race([], [], None, "max") == []
    (row,) = summarise_race([run(1, 0, 0.6)], [run(1, 1, 0.6)], None, "max")
    assert (row.won, row.difference) == (False, None)


def test_a_run_of_the_race_that_diverged_is_counted_and_not_paired() -> None:
    trials = [run(1, 0, 0.6), run(2, 0, 0.7), run(3, 0, 0.0, DIVERGED)]
    races = [run(1, 1, 0.8), run(2, 1, 0.0, DIVERGED), run(3, 1, 0.0, DIVERGED), run(2, 2, 0.5, LOST)]
    first, second, third = summarise_race(trials, races, trials[0], "max", chance=0.1)
    assert (first.diverged, second.diverged, third.diverged) == (0, 1, 2)
    assert (second.seeds, second.mean, second.difference.seeds) == (2, pytest.approx((0.7 + 0.1) / 2), 1)
    assert (third.mean, third.std, third.difference) == (pytest.approx(0.1), pytest.approx(0.0), None)
    assert json.dumps([row.to_json() for row in (first, second, third)], allow_nan=False)
    unknown = summarise_race(trials, races, trials[0], "max")
    assert [row.mean for row in unknown] == [pytest.approx(0.7), None, None]


def test_a_run_of_the_race_that_collapsed_is_counted_and_paired() -> None:
    trials, races = [run(1, 0, 0.6), run(2, 0, 0.0)], [run(1, 1, 0.8), run(2, 1, 0.5)]
    trials[1].top_share, races[1].top_share = 1.0, 0.99
    first, second = summarise_race(trials, races, trials[0], "max")
    assert (first.collapsed, second.collapsed) == (0, 1)
    assert (second.seeds, second.mean) == (2, 0.25)


@pytest.mark.parametrize("name", ["search", "own"])
def test_the_answers_of_an_earlier_search_come_from_its_predictions(name: str, tmp_path: Path) -> None:
    folder = restore_old_search(name, tmp_path)
    document = read_search_document(folder)
    runs = document.confirmation_runs
    assert {run.is_collapsed for run in runs} == {None}
    assert document.evidence is not None
    assert document.evidence.answers is None
    task = restore_task(document.plan.settings.task)
    seen = read_dev_predictions(task, runs, folder)
    answers = summarise_answers(task, seen.labels, [seen.logits[run.id] for run in runs])
    assert answers is not None
    logits = [
        predictions.read_predictions(predictions.locate_predictions(folder, run.id))["dev"][1] for run in runs
    ]
    constant = [len({*(run.argmax(axis=1) if task.labels else run[:, 0])}) == 1 for run in logits]
    assert (answers.runs, answers.collapsed) == (len(runs), sum(constant))
    assert (answers.log_loss is None) == task.is_regression


def test_each_configuration_is_scored_with_its_own_threshold(tmp_path: Path) -> None:
    runs = confirmed(tmp_path)
    task = restore_task("rte")
    for run in runs:
        run.threshold = 0.05 if run.configuration == WINNER else None
    mine = select_by_configuration(WINNER, runs)
    found, _, _ = summarise_evidence(task, mine, tmp_path)
    margins = [np.diff(logits("dps-dense", run.seed))[:, 0] for run in mine]
    accuracy = [np.mean((margin > np.log(0.05 / 0.95)) == gold()) for margin in margins]
    assert found is not None
    assert found.mean == pytest.approx(np.mean(accuracy))
    seen = read_dev_predictions(task, runs, tmp_path)
    of_vanilla = next(run for run in runs if run.configuration == BASELINE)
    np.testing.assert_array_equal(seen.rows[of_vanilla.id], logits("vanilla", of_vanilla.seed).argmax(axis=1))
