"""scikit-learn's scorers as metrics of a task of one's own."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import yaml

import dps
from dps.errors import InputError
from dps.tasks import metrics, registry, scorers
from dps.tasks.chance import chance_level, predict_constant
from dps.tasks.task import Task
from tune import search
from tune.stats import evidence, resampling
from tune.stats.resampling import bootstrap_scores, score_runs

KINDS = {"numbers": (0, False), "two": (2, False), "three": (3, False), "several": (3, True)}
GOLD = np.random.default_rng(0).integers(0, 3, 90)
LOGITS = 2 * np.eye(3)[GOLD] + np.random.default_rng(1).normal(0, 1.5, (90, 3))


def task(*names: str, classes: int = 3, multi_label: bool = False) -> Task:
    return Task("t", ("text",), tuple("abc"[:classes]), names, multi_label=multi_label)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("roc_auc", {"two", "several"}),
        ("roc_auc_ovr", {"two", "three", "several"}),
        ("average_precision", {"two", "three", "several"}),
        ("neg_log_loss", {"two", "three"}),
        ("f1_weighted", {"two", "three", "several"}),
        ("precision", {"two"}),
        ("f1_samples", {"several"}),
        ("recall_macro", {"two", "three", "several"}),
        ("top_k_accuracy", {"three"}),
        ("neg_mean_absolute_error", {"numbers"}),
        ("r2", {"numbers"}),
        ("neg_mean_gamma_deviance", set()),  # of numbers above 0 alone
        ("positive_likelihood_ratio", set()),  # has no best value
        ("rand_score", set()),  # of clusters
        ("nothing", set()),
    ],
)
def test_what_fits(name: str, kinds: set[str]) -> None:
    assert {kind for kind, what in KINDS.items() if scorers.is_fitting_scorer(name, *what)} == kinds


@pytest.mark.parametrize("kind", KINDS)
def test_every_one_that_fits_is_better_when_higher_and_within_its_bounds(kind: str) -> None:
    labels, multi_label = KINDS[kind]
    rng = np.random.default_rng(3)
    if multi_label:
        gold = rng.integers(0, 2, (40, labels))
        gold[:, 0] |= ~gold.any(axis=1)  # scikit-learn scores an example without labels with 0
        perfect, noise = gold.astype(float), rng.random(gold.shape)
    elif labels:
        gold, noise = np.arange(40) % labels, rng.dirichlet(np.ones(labels), 40)
        perfect = np.eye(labels)[gold]
    else:
        gold = perfect = rng.normal(size=40)
        noise = perfect[::-1]
    for name in sklearn.metrics.get_scorer_names():
        if scorers.is_fitting_scorer(name, labels, multi_label):
            low, high = scorers.get_score_bounds(name)
            best, worse = (scorers.make_scorer_metric(name)(gold, said) for said in (perfect, noise))
            assert low <= worse < best == pytest.approx(high), name


def test_scores_are_scikit_learns() -> None:
    names = ("neg_log_loss", "roc_auc_ovr", "f1_weighted", "accuracy", "macro_f1")
    said = metrics.compute_probabilities(LOGITS, multi_label=False)
    assert metrics.compute_scores(task(*names), GOLD, LOGITS) == pytest.approx({
        "neg_log_loss": -sklearn.metrics.log_loss(GOLD, said),
        "roc_auc_ovr": sklearn.metrics.roc_auc_score(GOLD, said, multi_class="ovr"),
        "f1_weighted": sklearn.metrics.f1_score(GOLD, said.argmax(axis=1), average="weighted"),
        "accuracy": np.mean(LOGITS.argmax(axis=1) == GOLD),
        "macro_f1": sklearn.metrics.f1_score(GOLD, LOGITS.argmax(axis=1), average="macro"),
    })  # fmt: skip


def test_two_classes_and_several_labels() -> None:
    gold, logits = GOLD % 2, LOGITS[:, :2]
    found = metrics.compute_scores(task("auroc", "roc_auc", "precision", "f1", classes=2), gold, logits)
    assert found["auroc"] == pytest.approx(found["roc_auc"])
    alone = metrics.compute_scores(task("f1", classes=2), gold, logits)
    assert found["f1"] == alone["f1"]
    several = (LOGITS > 1).astype(np.float32)
    for noise in (0.0, 3.0):
        logits = several - 0.5 + np.random.default_rng(2).normal(0, noise, several.shape)
        both = metrics.compute_scores(task("micro_f1", "f1_micro", multi_label=True), several, logits)
        assert both["micro_f1"] == pytest.approx(both["f1_micro"])


def test_numbers() -> None:
    gold, said = np.array([1.0, 2.0, 4.0], np.float32), np.array([[1.0], [2.5], [3.0]])
    numbers = Task("t", ("text",), (), ("neg_mean_absolute_error", "pearson"))
    assert metrics.compute_scores(numbers, gold, said)["neg_mean_absolute_error"] == pytest.approx(-0.5)
    assert chance_level(numbers, gold) == pytest.approx(-1.0)  # of the median
    assert predict_constant(numbers, gold) == pytest.approx(7 / 3)


def test_chance_and_the_constant_prediction_are_the_shares() -> None:
    gold = np.array([0, 0, 1, 0])
    assert predict_constant(task("neg_log_loss"), gold).tolist() == [0.75, 0.25, 0]
    log_loss = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert chance_level(task("neg_log_loss", classes=2), gold) == pytest.approx(-log_loss)
    assert chance_level(task("roc_auc", classes=2), gold) == 0.5
    assert chance_level(task("f1_micro", multi_label=True), np.array([[1, 1, 0], [1, 0, 0]])) == 6 / 7


def test_intervals_leave_out_resamples_without_one_of_the_classes() -> None:
    name, gold = "neg_log_loss", np.where(np.arange(90) < 2, 2, GOLD % 2)  # two examples of the third class
    runs = {
        seed: metrics.compute_probabilities(
            LOGITS + np.random.default_rng(seed).normal(size=LOGITS.shape), False
        )
        for seed in (1, 2, 3)
    }
    rows = evidence.fill_missing_runs(task(name), gold, runs, [1, 2, 3, 4])
    assert rows.shape == (4, 90, 3)
    assert score_runs(name, gold, rows) == pytest.approx(
        [metrics.get_metric(name)(gold, row) for row in rows]
    )
    drawn = bootstrap_scores(name, gold, rows[:1], seed=0, resamples=200)
    assert np.isfinite(drawn).all()
    assert 150 < len(drawn) < 190  # 13 % lack it
    found = evidence.estimate_mean(name, gold, rows, seed=0, resamples=100)
    assert found.interval[0] < found.mean < found.interval[1] <= 0
    difference = evidence.estimate_difference(name, gold, rows, rows[::-1], seed=0, resamples=100)
    assert difference.interval[0] < 0 < difference.interval[1]


def test_there_are_fewer_resamples_of_what_is_slow_and_none_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resampling, "MAX_SLOW_RESAMPLES", 30)
    rows = np.stack([np.eye(2)[[0, 1, 1]] * 0.8 + 0.1])
    assert len(bootstrap_scores("f1_weighted", np.array([0, 1, 1]), rows, seed=0, resamples=2000)) == 30
    with pytest.raises(InputError, match="metric: roc_auc is undefined in nearly all resamples"):
        bootstrap_scores("roc_auc", np.array([1, 1, 1]), rows, seed=0, resamples=100)


def written(folder: Path, metric: str, rare: int) -> str:
    rows = [f"w{number % 2} w{number},{'ab'[number % 2]}" for number in range(40)]
    rows += [f"w2 w{number},c" for number in range(40, 40 + rare)]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    document = {"name": "t", "columns": "text", "labels": ["a", "b", "c"], "files": "train.csv"}
    (folder / "t.yaml").write_text(yaml.safe_dump({**document, "metric": metric}), encoding="utf-8")
    return str(folder / "t.yaml")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("logloss", "such as neg_log_loss, "),
        ("roc_auc", "metric: must be one for 3 classes (accuracy, macro_f1, balanced_accuracy, "),
        ("roc_auc", "or a scorer of scikit-learn, such as roc_auc_ovr, roc_auc_ov"),
        ("f1_samples", "but got 'f1_samples'"),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        registry.get_task(written(tmp_path, name, 10))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_asks_for_every_class(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--model", str(tiny_model), "--dry-run", "--task"]
    assert search.main([*argv, written(tmp_path, "roc_auc_ovr", 20)]) == 0
    assert "task         t (roc_auc_ovr, max)\n" in capsys.readouterr().out
    assert search.main([*argv, written(tmp_path, "roc_auc_ovr", 1)]) == 2
    assert "metric: roc_auc_ovr is undefined on " in capsys.readouterr().err
    assert search.main([*argv, written(tmp_path, "f1_weighted", 1)]) == 0


def test_a_run_is_scored_by_it(tmp_path: Path, tiny_model: Path) -> None:
    result = dps.finetune(
        dps.FineTuneConfig(
            task=written(tmp_path, "neg_log_loss", 20), model=str(tiny_model), max_steps=20, batch_size=8,
            learning_rate=5e-3, evaluations=1, method=dps.Vanilla(),
        )
    )  # fmt: skip
    said = metrics.compute_probabilities(result.logits["dev"], multi_label=False)
    assert result.score == pytest.approx(-sklearn.metrics.log_loss(result.labels["dev"], said))
