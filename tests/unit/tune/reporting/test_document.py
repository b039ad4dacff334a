"""What a search leaves behind: search.json, report.html and the sentence."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dps.tasks import metrics, registry
from dps.training.result import Outcome, RunResult
from tests.unit.tune.helpers import (
    PROVENANCE,
    FakeTune,
    change_spaces,
    end_well,
    last_report,
    make_plan,
    make_record,
    make_space,
    open_ledger,
    open_ledgers,
    strategy,
)
from tune.console.progress import ProgressDisplay
from tune.core.run import Job, RunPurpose, RunReport
from tune.planning.plan import Plan
from tune.records import predictions, replicates
from tune.records.ledger import SCHEMA_VERSION, Ledger
from tune.records.schema import DifferenceSection
from tune.records.search_document import BaselineSection, SearchDocument, WinnerSection
from tune.reporting import document as reporting_document
from tune.reporting import page, summary
from tune.reporting.confirmation import compare_rivals
from tune.reporting.figures import plots
from tune.search_session import SearchSession
from tune.strategy.arms import Arms
from tune.strategy.budget import SlotCount, SpentResources
from tune.strategy.phases import SearchPhases

HOSTILE = '<script>alert("x")</script>&\'"'


def end(job: Job) -> RunReport:
    """Trial 1 diverges, trial 2 fails; the others complete."""
    if job.id == "1":
        return last_report(job.id, Outcome.DIVERGED, scores=[(60, float("nan"))])
    if job.id == "2":
        return last_report(job.id, Outcome.FAILED, error=f"RuntimeError: {HOSTILE} (x.py:3)")
    return end_well(job)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    folder = tmp_path_factory.mktemp("search")
    made = open_ledger(folder)
    FakeTune(SearchPhases(made, strategy(folder, 5), [], lambda: False), end=end).run()
    return made


def told(plan: Plan, ledgers: Ledger | dict[str, Ledger], output: Path | None = None) -> SearchDocument:
    """The document of these ledgers, by arm, or of one without baselines."""
    ledgers = {"": ledgers} if isinstance(ledgers, Ledger) else ledgers
    winners = {arm: replicates.choose_winner(each.records("search"), "max") for arm, each in ledgers.items()}
    baselines = {arm: make_space().for_baseline(arm) for arm in ledgers if arm}
    return reporting_document.build_search_document(
        change_spaces(plan, {"": plan.space, **baselines}),
        ledgers,
        winners,
        SpentResources(5, 61.5, 24.0),
        PROVENANCE,
        output,
    )


def document(ledger: Ledger | dict[str, Ledger], plan: Plan | None = None) -> SearchDocument:
    return told(plan or make_plan(baseline="none"), ledger)


def test_a_winner_that_is_no_better_than_one_answer_for_all_is_told_first(ledger: Ledger) -> None:
    found = document(ledger)
    assert found.confirmation is not None
    mean = found.confirmation.mean
    for chance, is_told in ((mean, True), (mean - 0.01, False), (None, False)):
        said = summary.format_result_sentence(found.model_copy(update={"chance": chance}))
        assert said.startswith("Nothing was learned: one answer for all examples scores ") == is_told
    assert "train longer (--epochs)" in summary.format_result_sentence(
        found.model_copy(update={"chance": mean - 0.01, "dev_chance": mean})
    )


def test_search_json_has_its_fixed_keys(ledger: Ledger) -> None:
    found = json.loads(json.dumps(document(ledger).to_json(), allow_nan=False))
    fixed = {"schema_version", "task", "metric", "direction", "data", "model", "provenance", "space"}
    fixed |= {"trials", "winner", "confirmation", "spent"}
    assert fixed <= found.keys()
    assert found["schema_version"] == SCHEMA_VERSION
    assert (found["task"], found["metric"], found["direction"]) == ("cola", "matthews_correlation", "max")
    assert found["data"] == {"source": "builtin", "name": "built-in cola", "fingerprint": "d" * 16}
    assert found["model"] == {"source": "builtin", "name": "MiniLM", "fingerprint": "m" * 16}
    assert found["space"] == json.loads(json.dumps(make_space().to_description()))
    assert found["spent"] == {"seconds": 61.5, "slot_seconds": 24.0, "trials": 5, "cpu_hours": 24 / 3600}


def test_search_json_has_every_trial_as_the_ledger_has_it(ledger: Ledger) -> None:
    found = document(ledger).to_json()
    for trial, record in zip(found["trials"], ledger.records("search"), strict=True):
        keys = ("id", "configuration", "seed", "outcome", "scores", "seconds")
        assert {key: trial[key] for key in keys} == {
            "id": record.number,
            "configuration": record.configuration,
            "seed": record.seed,
            "outcome": str(record.outcome),
            "scores": [[step, score] for step, score in record.scores],
            "seconds": record.seconds,
        }
    assert found["outcomes"] == {"completed": 3, "diverged": 1, "failed": 1}


def test_search_json_has_the_winner_and_its_confirmation(ledger: Ledger) -> None:
    found = document(ledger)
    best = max((run for run in found.trials if run.outcome == "completed"), key=lambda run: run.score)
    assert (found.winner.trial, found.winner.configuration) == (best.number, best.configuration)
    confirmation = found.confirmation
    assert found.to_json()["confirmation"].keys() == {"scores", "mean", "std"}
    assert sorted(confirmation.scores) == [6, 7, 8]


def test_a_search_without_a_finished_trial_has_no_winner(tmp_path: Path) -> None:
    found = document(open_ledger(tmp_path))
    assert (found.winner, found.confirmation, found.trials) == (None, None, [])
    assert found.sentence == "No trial finished."
    page.write_search_results(found, tmp_path)
    assert "No trial finished." in (tmp_path / "report.html").read_text(encoding="utf-8")


CONFIGURATION = {"method": "dps-dense", "learning_rate": 1.234e-4, "selection_ratio": 0.7}


def differ(mean: float, half: float, p: float, seeds: int = 5, look: int = 1) -> DifferenceSection:
    """A difference with its interval."""
    return DifferenceSection.model_construct(
        mean=mean, interval=(mean - half, mean + half), adjusted_p=p, seeds=seeds, level=0.95, look=look
    )


def beside(name: str, difference: DifferenceSection | None, **values: Any) -> BaselineSection:
    return BaselineSection.model_construct(
        name=name, difference=difference, verdict="not compared", **{"published": False, **values}
    )


VANILLA, CONTROL = (
    {
        "title": f"{name} at its own learning rate",
        "learning_rates": [1e-4, 2e-4],
        "configuration": {"method": name, "learning_rate": 2e-4},
        "differs": differs,
    }
    for name, differs in (
        ("vanilla", "with dropout 0.1 (the winner: none)"),
        ("vanilla-no-dropout", "without dropout, like the winner"),
    )
)
PUBLISHED = {"published": True, "title": "the published values", "differs": "", "learning_rates": []}


def confirmed(
    scores: dict[int, float] | None,
    interval: tuple[float, float] | None = None,
    baselines: Sequence[BaselineSection] = (),
    published: bool = False,
) -> SearchDocument:
    confirmation, evidence = None, None
    if scores:
        mean = sum(scores.values()) / len(scores)
        confirmation = replicates.Confirmation(scores, mean, None)
        evidence = SimpleNamespace(mean=mean, interval=interval, seeds=len(scores), level=0.95)
    winner = WinnerSection(trial=3, configuration=CONFIGURATION, published=published)
    return SearchDocument.model_construct(
        metric="matthews_correlation",
        direction="max",
        winner=winner,
        confirmation=confirmation,
        evidence=evidence,
        baselines=list(baselines),
    )


FIVE = dict.fromkeys(range(1, 6), 0.63)
WON = "Trial 3 won: dps-dense  lr 0.000123  selection_ratio 0.7. "
SURE = (
    "On dev, over 5 fresh seeds: matthews_correlation 0.6300 (95 % interval 0.6100 to 0.6500, over seeds and "
    "examples). "
)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (confirmed(None), f"{WON}It was not confirmed."),
        (
            confirmed({4: 0.63}),
            f"{WON}On dev, over 1 fresh seed: matthews_correlation 0.6300 (too few seeds for an interval).",
        ),
        (
            confirmed(
                FIVE,
                (0.61, 0.65),
                [
                    beside("vanilla", differ(0.143, 0.087, 0.018, look=2), **VANILLA),
                    beside("published", differ(0.023, 0.03, 0.2), **PUBLISHED),
                    beside("vanilla-no-dropout", differ(-0.012, 0.04, 0.5), **CONTROL),
                ],
            ),
            f"{WON}{SURE}No gain of searching over the published values can be shown: +2.3 points (95 % "
            f"interval -0.7 to +5.3, p 0.200). It is not distinguishable from vanilla-no-dropout at its own "
            f"learning rate (0.0002, best of 2 by one seed): -1.2 points (95 % interval -5.2 to +2.8, "
            f"p 0.500); "
            f"vanilla-no-dropout trained without dropout, like the winner. It is better than vanilla at its "
            f"own learning rate (0.0002, best of 2 by one seed) by 14.3 points (95 % interval +5.6 to +23.0, "
            f"p 0.018); "
            f"vanilla trained with dropout 0.1 (the winner: none). Differences are over the same 5 seeds and "
            f"the examples of dev; p is corrected for 3 comparisons (Holm) and for 2 looks at the data.",
        ),
        (
            confirmed(FIVE, (0.61, 0.65), [beside("vanilla", None, **VANILLA)], published=True),
            f"{WON[:-2]}; these are the published values, and nothing found beats them. {SURE}It was "
            f"not compared.",
        ),
        (
            confirmed(FIVE, (0.61, 0.65), [beside("published", differ(0.042, 0.03, 0.01), **PUBLISHED)]),
            f"{WON}{SURE}Searching gained 4.2 points over the published values (95 % interval +1.2 to +7.2, "
            f"p 0.010). Differences are over the same 5 seeds and the examples of dev.",
        ),
        (
            confirmed(
                FIVE, (0.61, 0.65), [beside("published", differ(0.042, 0.03, 0.01, seeds=2), **PUBLISHED)]
            ),
            f"{WON}{SURE}No gain of searching over the published values can be shown: +4.2 points (2 "
            f"pairs: too few to tell). Differences are over the same 2 seeds and the examples of dev.",
        ),
        (
            confirmed(FIVE, (0.61, 0.65), [beside("published", differ(-0.042, 0.03, 0.01), **PUBLISHED)]),
            f"{WON}{SURE}It is worse than the published values by 4.2 points (95 % interval -7.2 to -1.2, p "
            f"0.010). Differences are over the same 5 seeds and the examples of dev.",
        ),
    ],
    ids=["0 seeds", "1 seed", "dropout", "published", "gain", "2 pairs", "loss"],
)
def test_the_sentence(found: SearchDocument, said: str) -> None:
    assert summary.format_result_sentence(found) == said


@pytest.mark.parametrize(
    ("trials", "raced", "tried"),
    [
        (6, (0, 0), "best of 6 configurations by one seed"),
        (5, (3, 3), "best of 5 configurations, 2 of them by 4 seeds"),
        (5, (1, 3), "best of 5 configurations, 2 of them by 2 to 4 seeds"),
        (5, (3, 0), "best of 5 configurations, 1 of them by 4 seeds"),
        (5, (0, 2), "best of 5 configurations by one seed"),
        (1, (0, 0), "the one tried"),
    ],
)
def test_the_sentence_names_all_that_was_tuned_of_a_baseline(
    trials: int, raced: tuple[int, int], tried: str
) -> None:
    """raced: further seeds of the one chosen, and of another, that went to their end; of both, one failed."""
    configuration = {"method": "vanilla", "learning_rate": 2e-4, "epochs": 6.25}
    runs = [make_record(n) for n in range(trials)]
    further = [
        make_record(n, purpose="race", seed=n, configuration=each, scores=[(60, 0.5)])
        for each, count in zip((configuration, configuration | {"epochs": 4.0}), raced, strict=True)
        for n in range(count)
    ]
    further += [
        make_record(9, Outcome.FAILED, purpose="race", seed=9, configuration=run.configuration)
        for run in further[:1]
    ]
    vanilla = {**VANILLA, "configuration": configuration, "trials": runs, "race_runs": further}
    found = confirmed(FIVE, (0.61, 0.65), [beside("vanilla", differ(0.143, 0.087, 0.018), **vanilla)])
    said = f"vanilla at its own learning rate (0.0002, epochs 6.25, {tried}) by 14.3 points"
    assert said in summary.format_result_sentence(found)


@pytest.mark.parametrize(
    ("baseline", "winner", "said"),
    [
        ({"method": "vanilla"}, CONFIGURATION, "with dropout 0.1 (the winner: none)"),
        ({"method": "vanilla-no-dropout"}, CONFIGURATION, "without dropout, like the winner"),
        ({"method": "r-drop"}, {"method": "vanilla", "learning_rate": 1e-4}, ""),
        (
            {"method": "vanilla", "epochs": 3, "learning_rate": 1e-4},
            {"method": "r-drop", "epochs": 8, "learning_rate": 2e-4, "alpha": 1.0},
            "with epochs 3 (the winner: 8)",
        ),
    ],
)
def test_what_a_baseline_does_otherwise_is_named(
    baseline: dict[str, Any], winner: dict[str, Any], said: str
) -> None:
    assert reporting_document._describe_training(baseline, winner, 150) == said


def test_the_summary_names_the_runner_up_the_seeds_and_the_place(ledger: Ledger, tmp_path: Path) -> None:
    found = document(ledger)
    text = "\n".join(summary.summarise_search(found, tmp_path, "mlflow ui --backend-store-uri x"))
    assert "learned nothing" not in text
    assert found.sentence in text
    assert "a single seed does not prove such a gap" in text
    assert [f"seed {seed}:" in text for seed in (6, 7, 8)] == [True] * 3
    assert "3 completed, 1 diverged, 1 failed. 62 s, 24 slot seconds, 0.0067 CPU-hours." in text
    assert str(tmp_path) in text
    assert "mlflow ui --backend-store-uri x" in text


def test_with_a_price_the_results_say_what_it_cost(ledger: Ledger, tmp_path: Path) -> None:
    found = document(ledger, replace(make_plan(price=300.0), gpus_per_worker=0.5))
    assert found.spent.to_json().items() >= {"gpu_hours": 12 / 3600, "cost": pytest.approx(1.0)}.items()
    text = "\n".join(summary.summarise_search(found, tmp_path, None))
    assert "62 s, 24 slot seconds, 0.0033 GPU-hours, cost 1.00." in text
    assert "00:24 of slots, 0.0033 GPU-hours, cost 1.00, 5 trials" in page.render_search_page(found, [])


def test_the_runner_up_is_of_the_trials_that_went_to_their_end(ledger: Ledger) -> None:
    """They may differ in their steps."""
    found = document(ledger)
    cut = [
        (0, "completed", 40, 0.5),
        (1, "completed", 60, 0.7),
        (2, "stopped", 60, 0.9),
        (3, "completed", 60, 0.3),
    ]
    found.trials = [
        make_record(trial, Outcome(outcome), scores=[(step, score)]) for trial, outcome, step, score in cut
    ]
    found.winner = WinnerSection(trial=1, configuration={})
    said = summary._format_runner_up(found)
    assert said is not None
    assert said.startswith(
        "On the selection data, one seed: 0.7000; the next, trial 0, 0.5000 (0.2000 behind"
    )
    found.winner.trial = 2
    assert summary._format_runner_up(found) is None
    found.trials, found.winner.trial = [found.trials[1]], 1
    assert summary._format_runner_up(found) is None


def test_what_is_written_is_strict_json_and_no_half_file_is_left(ledger: Ledger, tmp_path: Path) -> None:
    page.write_search_results(document(ledger), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "search.json"]

    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = (tmp_path / "search.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse)["task"] == "cola"


def test_a_number_that_json_lacks_is_refused_and_leaves_what_was_there(
    ledger: Ledger, tmp_path: Path
) -> None:
    page.write_search_results(document(ledger), tmp_path)
    before = (tmp_path / "search.json").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.write_search_results(document(ledger).model_copy(update={"chance": float("nan")}), tmp_path)
    assert (tmp_path / "search.json").read_bytes() == before


TASK = registry.get_task("cola")
GOLD = (np.random.default_rng(0).random(90) < 0.6).astype(np.int64)
SKILL = {"dps-dense": 2.2, "vanilla": 0.5}
STEPS = 60


def logits(method: str, seed: int) -> Any:
    rng = np.random.default_rng([seed, *method.encode()])
    return (SKILL[method] * np.eye(2)[GOLD] + rng.normal(0, 0.8, (90, 2))).astype(np.float32)


def confirm(job: Job, file: Path) -> RunReport:
    """A confirmation that completes, and what it leaves behind."""
    made = logits(job.configuration["method"], job.seed)
    predictions.write_predictions(file, {"dev": made}, {"dev": GOLD})
    final = {"dev": metrics.compute_scores(TASK, GOLD, made)}
    return last_report(job.id, Outcome.COMPLETED, scores=[(75, 0.5)], seconds=3.0, final=final)


def further(
    ledger: Ledger, configuration: dict[str, Any], seed: int, purpose: RunPurpose, result: RunResult
) -> None:
    """A run that the ledger holds beside those of the searcher."""
    record = ledger.replicate(configuration, make_space(), seed, purpose)
    ledger.finish(record.id, result)


def proven(
    output: Path, where: Any = predictions.locate_predictions, diverged: int | None = None
) -> tuple[dict[str, Ledger], Arms]:
    """A search of dps-dense with a race, its published values and vanilla confirmed beside the winner; where:
    what confirmations predicted. diverged: a seed with which vanilla did."""

    def end(job: Job) -> RunReport:
        if job.purpose != "confirmation":
            return end_well(job)
        if job.arm and job.seed == diverged:
            return last_report(job.id, Outcome.DIVERGED)
        return confirm(job, where(output, job.id))

    ledgers = open_ledgers(output, ("", "vanilla"))
    space, slots = make_space(("dps-dense",)), SlotCount(2)
    shared = {"slots": slots, "confirmation_seeds": 4}
    own = strategy(output, 4, space=space, confirms_published=True, **shared)
    baseline = strategy(output, 3, space=space.for_baseline("vanilla"), is_baseline=True, **shared)
    plans = {"": own, "vanilla": replace(baseline, keep_models=False)}
    arms = Arms([SearchPhases(ledgers[arm], plans[arm], [], lambda: False) for arm in ledgers])
    FakeTune(arms, end=end).run()
    best, *others = sorted(ledgers[""].records("search"), key=lambda r: -(r.score or 0))
    for number, record in enumerate((best, *others)):
        for seed in (6, 7, 8)[: 3 - number]:
            score = (record.score or 0) + 0.01 * (seed % 2)
            further(ledgers[""], record.configuration, seed, "race", full(score, 9.0 - number))
    return ledgers, arms


def full(score: float, seconds: float) -> RunResult:
    scores = [(STEPS, score)]
    return RunResult(outcome=Outcome.COMPLETED, scores=scores, seconds=seconds, peak_memory=2**30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proven")


@pytest.fixture(scope="module")
def proven_ledger(folder: Path) -> dict[str, Ledger]:
    return proven(folder)[0]


@pytest.fixture
def found(proven_ledger: dict[str, Ledger], folder: Path) -> SearchDocument:
    return told(make_plan(objectives="score,seconds"), proven_ledger, folder)


def test_a_baseline_that_was_seen_counts_after_it_was_dropped(
    proven_ledger: dict[str, Ledger], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published values, and one with a ledger of its own."""
    told(make_plan(baseline="published,vanilla"), proven_ledger, folder)
    counts: list[int] = []

    def compare(*given: Any) -> Any:
        counts.append(given[5] if len(given) > 5 else 0)
        return compare_rivals(*given)

    monkeypatch.setattr(reporting_document, "compare_rivals", compare)
    without_published = told(make_plan(baseline="vanilla"), proven_ledger, folder)
    assert [baseline.name for baseline in without_published.baselines] == ["vanilla"]
    assert without_published.dropped == ["published"]
    assert told(make_plan(baseline="published"), {"": proven_ledger[""]}, folder).dropped == ["vanilla"]
    assert told(make_plan(baseline="published,vanilla"), proven_ledger, folder).dropped == []
    assert counts == [1, 0, 1, 0, 0, 0]  # the baselines, and the finalists, of each


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.3, "p is corrected for 2 comparisons (Holm, vanilla of an earlier look among them)."),
        (None, "and the examples of dev."),  # nothing was tested, so nothing is corrected
    ],
)
def test_the_sentence_says_what_p_is_corrected_for(found: SearchDocument, p: float | None, said: str) -> None:
    published, _ = found.baselines
    difference = published.difference.model_copy(update={"adjusted_p": p, "look": 1})
    alone = published.model_copy(update={"difference": difference})
    document = found.model_copy(update={"baselines": [alone], "dropped": ["vanilla"]})
    assert summary.format_result_sentence(document).endswith(said)


def test_the_baselines_stand_beside_the_winner(found: SearchDocument) -> None:
    published, vanilla = found.baselines
    assert (published.name, published.published, published.trials) == ("published", True, [])
    assert published.configuration == make_space(("dps-dense",)).get_published("dps-dense")
    assert (vanilla.name, vanilla.method, vanilla.published) == ("vanilla", "vanilla", False)
    best = max(vanilla.trials, key=lambda trial: trial.score)
    assert vanilla.configuration == best.configuration
    assert vanilla.learning_rates == sorted(t.configuration["learning_rate"] for t in vanilla.trials)
    assert vanilla.differs == "with dropout 0.1 (the winner: none)"
    assert [run.id for run in vanilla.runs] == [f"vanilla:confirm-{number}" for number in range(4)]
    for baseline in found.baselines:
        mean = found.confirmation.mean - baseline.confirmation.mean
        assert baseline.difference.mean == pytest.approx(mean)
        assert sorted(baseline.confirmation.scores) == sorted(found.confirmation.scores) == [6, 7, 8, 9]
    assert found.evidence.mean == pytest.approx(found.confirmation.mean)
    again = SearchDocument.model_validate(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again.baselines == found.baselines


def test_another_choice_of_a_baseline_is_another_look(tmp_path: Path) -> None:
    ledgers, _ = proven(tmp_path)
    for _ in range(2):
        told(make_plan(), ledgers, tmp_path)
    assert ledgers[""].noted("looks") == [5]
    chosen = ledgers["vanilla"].records("search")[0].configuration | {"learning_rate": 3e-4}
    further(ledgers["vanilla"], chosen, 5, "search", full(1.0, 3.0))
    job = Job("vanilla:confirm-9", "confirmation", chosen, 7, make_plan().settings, "")
    fresh = confirm(job, predictions.locate_predictions(tmp_path, job.id)).result
    for result, looks in ((RunResult(outcome=Outcome.FAILED, error="no"), [5]), (fresh, [5, 5])):
        further(ledgers["vanilla"], chosen, 6, "confirmation", result)
        told(make_plan(), ledgers, tmp_path)
        assert ledgers[""].noted("looks") == looks


def with_finalists(output: Path) -> SearchDocument:
    """The search.json of `proven`, in which two more were confirmed; a run of the second failed."""
    ledgers, turns = proven(output)
    _, *others = turns.searches[0].rank_finalists(3)
    for place, other in enumerate(others):
        for number, seed in enumerate((6, 7, 8)):
            name = f"confirm-{8 + 3 * place + number}"
            drawn = 100 * (place + 1) + seed  # not the winner's predictions
            job = Job(name, "confirmation", other.configuration, drawn, make_plan().settings, "")
            made = confirm(job, predictions.locate_predictions(output, job.id)).result
            if (place, seed) == (1, 7):
                made = RunResult(outcome=Outcome.FAILED, error="RuntimeError: no")
            further(ledgers[""], other.configuration, seed, "confirmation", made)
    return told(make_plan(), ledgers, output)


def test_the_other_finalists_have_their_lines(tmp_path: Path) -> None:
    found = with_finalists(tmp_path)
    first, second = found.finalists
    tried = {trial.number: trial.configuration for trial in found.trials}
    for place, finalist in enumerate((first, second)):
        assert finalist.configuration == tried[finalist.trial]
        assert [run.id for run in finalist.runs] == [f"confirm-{8 + 3 * place + n}" for n in range(3)]
        assert f"The winner is {finalist.verdict}." in summary.summarise_search(found, tmp_path, None)
    left_out = f"Trial {second.trial}: 1 of 3 runs did not complete (1 failed)"
    assert left_out in "\n".join(summary.summarise_search(found, tmp_path, None))


def test_the_summary_says_how_the_winner_compares(found: SearchDocument, tmp_path: Path) -> None:
    assert "No gain of searching over the published values can be shown: " in found.sentence
    assert "It is better than vanilla at its own learning rate (" in found.sentence
    lines = summary.summarise_search(found, tmp_path, None)
    assert lines[0] == found.sentence
    (over,) = [line for line in lines if line.startswith("Standard error of its mean ")]
    assert "from the 90 examples" in over
    assert "from the 4 seeds" in over
    assert not [line for line in lines if line.startswith("Against ")]  # told, or all the same
    published, vanilla = found.baselines
    unsure = vanilla.difference.model_copy(update={"adjusted_p": 0.3, "more_seeds": (10, 140)})
    found = found.model_copy(update={"baselines": [published.model_copy(update={"difference": unsure})]})
    assert (
        "Against the published values: between 10 and 140 more seeds would be needed to detect such a "
        "difference." in summary.summarise_search(found, tmp_path, None)
    )
    assert "On the selection data, one seed" not in "\n".join(lines)  # the race tells more


def test_no_standard_error_is_said_of_runs_that_all_gave_one_answer(found: SearchDocument) -> None:
    evidence = replace(found.evidence, standard_error=0.0)
    same = found.model_copy(update={"evidence": evidence})
    assert any("Standard error" in line for line in summary.format_certainty_lines(found))
    assert not any("Standard error" in line for line in summary.format_certainty_lines(same))


def test_a_baseline_that_diverged_is_said(tmp_path: Path) -> None:
    found = told(make_plan(), proven(tmp_path, diverged=7)[0], tmp_path)
    vanilla = found.baselines[1]
    assert (vanilla.evidence.diverged, vanilla.difference.seeds) == (1, 4)
    said = "Vanilla at its own learning rate: 1 of 4 runs diverged"
    assert said in "\n".join(summary.summarise_search(found, tmp_path, None))
    made = page.render_search_page(found, summary.format_certainty_lines(found))
    assert said in made
    cell = '<td class="number">{}</td>'.format
    assert re.search(rf"<td>7</td>{2 * cell('0.[0-9]+')}{cell('diverged')}", made)


def test_without_predictions_and_baselines_the_report_has_neither(ledger: Ledger) -> None:
    found = document(ledger)
    assert (found.evidence, found.baselines, found.race, found.pareto) == (None, [], [], None)
    assert "It is" not in found.sentence
    made = page.render_search_page(found, [])
    for heading in (">Race<", "Pareto", "What the winner was compared with"):
        assert heading not in made
    assert "Fresh seeds, scored on dev" in made


def test_what_was_ranked_on_dev_is_said_to_be_optimistic(
    proven_ledger: dict[str, Ledger], folder: Path
) -> None:
    plan = make_plan()
    plan = plan.change_arms(settings=replace(plan.settings, select_on="dev"))
    found = told(plan, proven_ledger, folder)
    assert "ranked on dev" in "\n".join(summary.summarise_search(found, folder, None))
    assert "ranked on dev" not in "\n".join(summary.summarise_search(document(proven_ledger), folder, None))


def test_the_race_is_a_table_and_three_lines(found: SearchDocument, tmp_path: Path) -> None:
    assert [row.seeds for row in found.race] == [4, 3, 2]  # with the seed of the search
    assert found.race[0].trial == found.winner.trial
    assert [len(found.race_runs), found.race_runs[0].id] == [6, "race-0"]
    lines = summary.format_race_lines(found.race)
    assert len(lines) == 3
    assert lines[0].startswith(f"Race on the selection data: trial {found.winner.trial}, 4 seeds: mean ")
    assert re.search(r"; to the winner -\d\.\d{4} over 3 pairs$", lines[1])
    assert set(lines) <= set(summary.summarise_search(found, tmp_path, None))
    more = [*found.race, found.race[-1]]
    assert len(summary.format_race_lines(more)) == 3
    assert summary.format_race_lines(more)[-1].endswith("; 1 more in report.html")
    (table,) = re.findall(r">Race</h3>.*?</table>", page.render_search_page(found, []), re.DOTALL)
    assert table.count("<tr") == 4


def test_the_front_is_in_the_document_the_page_and_the_summary(found: SearchDocument, tmp_path: Path) -> None:
    named = found.pareto
    assert named.objectives == ["score", "seconds"]
    points = [*named.front, *named.others]
    assert sorted(point.seeds for point in points) == [1, 2, 3, 4]
    best = max(points, key=lambda p: p.values["score"])
    quick = min(points, key=lambda p: p.values["seconds"])
    assert best == named.front[0]  # the best score first, and the most seconds
    assert quick == named.front[-1] != best
    lines = summary.format_pareto_lines(found.pareto)
    assert lines[0] == "Pareto front of score, seconds:"
    assert len(lines) == 1 + len(named.front)
    assert f"  trial {best.trial}: {best.values['score']:.4f}, " in "\n".join(lines)
    assert set(lines) <= set(summary.summarise_search(found, tmp_path, None))
    drawn = plots.plot_pareto_front(found.pareto, "seconds", found.metric)
    for point in points:
        assert (
            f">trial {point.trial}: {point.values['score']:.4f}, {point.values['seconds']:.4g}<"
            in drawn.markup
        )
    made = page.render_search_page(found, [])
    assert 'id="pareto-seconds"' in made
    (table,) = re.findall(r">Pareto front: score, seconds</h2>.*?</table>", made, re.DOTALL)
    assert table.count('<tr class="won">') == table.count("<td>yes</td>") == len(named.front)


def test_a_configuration_without_one_of_the_objectives_is_in_the_table_alone(
    proven_ledger: dict[str, Ledger], folder: Path
) -> None:
    found = document(proven_ledger, make_plan(objectives="stability,score,memory"))
    (lacking,) = [point for point in found.pareto.others if point.seeds == 1]
    assert lacking.values["stability"] is lacking.values["memory"] is None
    for name in ("stability", "memory"):
        drawn = plots.plot_pareto_front(found.pareto, name, found.metric)
        assert drawn.markup.count("<title>trial ") == 3
    assert re.search(
        r'<td class="number">-</td><td class="number">0.\d{4}</td><td class="number">-</td>',
        page.render_search_page(found, []),
    )


def test_where_no_configuration_has_all_objectives_the_front_is_empty(ledger: Ledger, tmp_path: Path) -> None:
    found = document(ledger, make_plan(objectives="score,stability"))
    assert found.pareto.front == []
    assert summary.format_pareto_lines(found.pareto) == [
        "Pareto front of score, stability: empty, no configuration has all of them."
    ]
    assert 'id="pareto-stability"' not in page.render_search_page(found, [])
    page.write_search_results(document(open_ledger(tmp_path), make_plan(objectives="score,memory")), tmp_path)


def test_the_end_of_a_search_tells_of_what_its_confirmations_predicted(tmp_path: Path) -> None:
    def working(output: Path, name: str) -> Path:
        return output / "work" / f"trial-{name}" / "logits.safetensors"

    said, plan = io.StringIO(), make_plan(output=tmp_path, tracking_uri="none")
    plan = change_spaces(plan, {"": plan.space, "vanilla": plan.space.for_baseline("vanilla")})
    for arm, ledger in open_ledgers(tmp_path, tuple(plan.arms)).items():
        ledger.open(plan.get_identity(arm))
    _, arms = proven(tmp_path, working)
    made = SearchSession(plan)
    made.display = ProgressDisplay(plan, [], console=Console(file=said, width=400, highlight=False))
    arms.searches[0].exploration_end = "12 trials"
    for _ in range(2):  # the second time as a resume finds it
        assert made.finish(arms) == 0
        found = json.loads((tmp_path / "search.json").read_text(encoding="utf-8"))
        assert found["phases"] == {"explored": "12 trials", "raced": None}
        made_page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert '<th scope="row">explored until</th><td>12 trials</td>' in made_page
        assert "raced until" not in made_page
        assert [each["difference"]["seeds"] for each in found["baselines"]] == [4, 4]
        assert "It is better than vanilla at its own learning rate (" in said.getvalue()
        assert len(list((tmp_path / "predictions").iterdir())) == 12
        assert not (tmp_path / "work").exists()
