"""Tasks of which an example has any number of the labels: from the YAML file to the model's predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import yaml
from sklearn.metrics import f1_score

import dps
from dps import data_checks, propose, sources
from dps.attachment.losses import compute_disagreement, compute_task_loss
from dps.errors import InputError
from dps.methods import make_method
from dps.predict import Predictor, main
from dps.tasks import definition, metrics, registry, transfer
from dps.tasks.chance import chance_level, predict_constant
from dps.tasks.splits import split_stratified
from dps.tasks.task import Task
from dps.training.collapse import score_linear_probe
from dps.training.result import Outcome
from tests import families
from tests.unit.tune.helpers import make_record
from tune import search
from tune.records import predictions
from tune.reporting import confirmation
from tune.stats import evidence, resampling

LABELS = ("billing", "bug", "praise")
TASK = Task("t", ("text",), LABELS, ("micro_f1", "macro_f1", "samples_f1"), multi_label=True)
GOLD = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]])


def document(folder: Path, **changes: Any) -> Path:
    given = {"name": "tickets", "columns": "text", "label": "teams", "kind": "multi-label", **changes}
    file = folder / "tickets.yaml"
    file.write_text(yaml.safe_dump({"labels": list(LABELS), "files": "train.csv", **given}), encoding="utf-8")
    return file


def examples(count: int) -> list[tuple[str, list[str]]]:
    """Texts, all different; the words w0, w1, w2 in them say which labels they have."""
    made = []
    for number in range(count):
        has = [place for place in range(3) if number >> place & 1]
        rest = [f"w{20 + number // 10 % 10}", f"w{30 + number % 10}", f"w{40 + number // 100}"]
        made.append((" ".join([*(f"w{place}" for place in has), *rest]), [LABELS[place] for place in has]))
    return made


def csv(file: Path, count: int, separator: str = "|") -> None:
    rows = [f"{text},{separator.join(labels)}" for text, labels in examples(count)]
    file.write_text("\n".join(["text,teams", *rows]) + "\n", encoding="utf-8")


def test_the_definition_makes_the_task_again(tmp_path: Path) -> None:
    task = registry.get_task(str(document(tmp_path, separator=";", metric=["macro_f1", "samples_f1"])))
    assert (task.labels, task.multi_label, task.separator) == (LABELS, True, ";")
    assert not task.is_regression
    again = registry.restore_task(json.loads(json.dumps(definition.make_definition(task))))
    assert again == replace(task, data_location=None)
    assert registry.get_task(str(document(tmp_path))).metrics == ("micro_f1",)


@pytest.mark.parametrize("separator", ["|", " ; "])
def test_labels_stand_in_a_text_or_in_a_list(tmp_path: Path, separator: str) -> None:
    csv(tmp_path / "train.csv", 16, separator)
    lines = [json.dumps({"text": text, "teams": labels}) for text, labels in examples(16)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    read = []
    for name in ("train.csv", "train.jsonl"):
        files = {"train": name, "dev": f"dev{Path(name).suffix}"}
        task = registry.get_task(str(document(tmp_path, separator=separator, files=files)))
        read.append(np.asarray(sources.open_data_source(None, task).load(task, "train")["label"]).tolist())
    assert read[0] == read[1] == [[number >> place & 1 for place in range(3)] for number in range(16)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"text": "a", "teams": ["bug", "ui"]}, "train.jsonl:1: label 'ui' is not one of task tickets"),
        ({"text": "a", "teams": "bug||praise"}, "label is missing ('')"),
        (
            {"text": "a", "teams": 3},
            "must be a list of labels, or a text with '|' between the labels, got 3",
        ),
        ({"text": "a", "teams": None}, "label must be a list of labels"),
        ({"text": "a", "teams": [["bug"]]}, "label ['bug'] is not one of"),
        ({"text": "a"}, "no column 'teams'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, line: dict[str, Any], says: str) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps(line), encoding="utf-8")
    task = registry.get_task(str(document(tmp_path, files="train.jsonl")))
    with pytest.raises(InputError) as caught:
        sources.open_data_source(None, task).load(task, "train")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_label_is_split_in_proportion_by_the_rarest_of_an_example() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 3)) < (0.5, 0.2, 0.03)).astype(int)
    chosen, rest = split_stratified(TASK, labels, 80, seed=0)
    assert len(chosen) == 80
    assert labels[chosen][:, 2].sum() == pytest.approx(0.2 * labels[:, 2].sum(), abs=1)
    assert labels[chosen].mean(axis=0) == pytest.approx(labels[rest].mean(axis=0), abs=0.07)
    assert (split_stratified(TASK, labels, 80, seed=0)[0] == chosen).all()
    assert (split_stratified(TASK, labels, 80, seed=1)[0] != chosen).any()


def test_metrics_by_hand() -> None:
    said = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]])  # 3 of 4 are found, 2 are wrong
    logits = np.where(said == 1, 0.1, -0.1)
    assert metrics.compute_scores(TASK, GOLD, logits) == pytest.approx({
        "micro_f1": 2 * 3 / (2 * 3 + 2 + 1),
        "macro_f1": (2 * 2 / (2 * 2 + 1) + 2 * 1 / (2 * 1 + 1) + 0) / 3,
        "samples_f1": (1 + 2 / 4 + 1 + 2 / 3) / 4,
    })  # fmt: skip
    perfect = metrics.compute_scores(TASK, GOLD.astype(np.float32), GOLD - 0.5)  # of labels that there are
    assert perfect == dict.fromkeys(TASK.metrics, 1.0)
    assert metrics.compute_scores(TASK, GOLD[2:3], GOLD[2:3] - 0.5) == {
        "micro_f1": 0, "macro_f1": 0, "samples_f1": 1
    }  # fmt: skip


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1"])
def test_chance_is_the_best_set_of_labels_for_all(metric: str) -> None:
    labels = (np.random.default_rng(0).random((200, 3)) < (0.1, 0.6, 0.3)).astype(np.float32)
    every = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1).T
    task = replace(TASK, metrics=(metric,))
    scored = [
        f1_score(labels, np.tile(one, (200, 1)), average=metric.removesuffix("_f1"), zero_division=0)
        for one in every
    ]
    assert chance_level(task, labels) == pytest.approx(max(scored))
    assert predict_constant(task, labels).tolist() == [0, 1, 0]


def test_intervals_over_seeds_and_examples() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((150, 3)) < 0.4).astype(np.float32)

    def runs(right: float) -> dict[int, np.ndarray]:
        return {
            seed: np.where(rng.random(labels.shape) < right, labels, 1 - labels).astype(int)
            for seed in (1, 2, 3)
        }

    seeds = [1, 2, 3, 4]  # the fourth diverged
    good, bad = (evidence.fill_missing_runs(TASK, labels, runs(right), seeds) for right in (0.9, 0.6))
    assert good.shape == (4, 150, 3)
    assert not good[3].any()
    mean = evidence.estimate_mean("samples_f1", labels, good, seed=0, resamples=200)
    assert mean.interval[0] < mean.mean < mean.interval[1] <= 1
    better = evidence.estimate_difference("micro_f1", labels, bad, good, seed=0, resamples=200)
    assert better.interval[0] < better.mean < better.interval[1]
    assert better.mean > 0.1


@pytest.mark.parametrize("metric", ["micro_f1", "average_precision"])
def test_a_search_proves_it_from_the_logits_that_were_kept(
    tmp_path: Path, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "MAX_SLOW_RESAMPLES", 60)
    rng, task = np.random.default_rng(0), replace(TASK, metrics=(metric,))
    labels, records = (rng.random((80, 3)) < 0.4).astype(np.float32), []
    for seed in (1, 2, 3):
        for skill, method in ((4.0, "dps-dense"), (1.0, "vanilla")):
            configuration = {"method": method, "learning_rate": 1e-3}
            diverged = (seed, method) == (3, "vanilla")
            outcome = Outcome.DIVERGED if diverged else Outcome.COMPLETED
            name = f"confirm-{len(records)}"
            record = make_record(
                len(records),
                outcome,
                id=name,
                purpose="confirmation",
                configuration=configuration,
                seed=seed,
            )
            logits = skill * (labels - 0.5) + rng.normal(0, 1, labels.shape)
            predictions.write_predictions(
                predictions.locate_predictions(tmp_path, name), {"dev": logits}, {"dev": labels}
            )
            if not diverged:
                record.final = {"dev": metrics.compute_scores(task, labels, logits)}
            records.append(record)
    mine, theirs = records[::2], records[1::2]
    mean, *_ = confirmation.summarise_evidence(task, mine, tmp_path)
    rival = confirmation.Rival("vanilla", theirs[0].configuration, theirs)
    (baseline,) = confirmation.compare_rivals(task, mine, [rival], tmp_path)
    assert mean.mean == pytest.approx(np.mean([r.final["dev"][metric] for r in records[::2]]))
    assert baseline.difference.mean > 0.1
    assert baseline.evidence.diverged == 1


@pytest.mark.parametrize("family", families.CONFIGURATIONS)
def test_every_family_takes_each_label_by_itself(family: str) -> None:
    config = families.CONFIGURATIONS[family]()
    config.problem_type = "multi_label_classification"
    model = families.made(transformers.AutoModelForSequenceClassification, config)
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    output = model(input_ids=torch.tensor([[9, 8, 7, 6], [5, 4, 9, 8]]), labels=labels)
    assert compute_task_loss(output.logits, labels).item() == pytest.approx(output.loss.item())


def test_two_passes_agree_label_by_label() -> None:
    labels, one, other = (torch.tensor(rows) for rows in ([[1.0, 0.0]], [[2.0, -1.0]], [[0.5, -1.0]]))
    p, q = (torch.distributions.Bernoulli(logits=logits) for logits in (one, other))
    both = torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)
    assert compute_disagreement(one, other, labels).item() == pytest.approx(both.mean().item())


def test_what_needs_one_label_is_refused() -> None:
    with pytest.raises(InputError, match="task t has several labels per example, not one class"):
        transfer.check_transfer(TASK, transfer.get_transfer_target("rte"))
    with pytest.raises(InputError, match="probe-task: t has several labels per example"):
        score_linear_probe(np.ones((4, 2)), GOLD, np.ones((4, 2)), GOLD, TASK)


def test_a_plan_of_it(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv(tmp_path / "train.csv", 80)
    argv = ["--task", str(document(tmp_path)), "--model", str(tiny_model), "--dry-run"]
    assert search.main(argv) == 0
    assert "task         tickets (micro_f1, max)\n" in capsys.readouterr().out
    same = "\n".join(["text,teams", *(f"text {number},bug|praise" for number in range(40))])
    (tmp_path / "train.csv").write_text(same, encoding="utf-8")
    assert search.main(argv) == 2
    assert "every example of train has the label 'bug, praise'" in capsys.readouterr().err


@pytest.mark.parametrize("method", [dps.DPSDense(update_ratio=0.1), make_method("r3f", weight=0.1)])
def test_a_model_learns_it_and_says_it(
    tmp_path: Path, tiny_model: Path, method: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    csv(tmp_path / "train.csv", 160)
    config = dps.FineTuneConfig(
        task=str(document(tmp_path)), model=str(tiny_model), max_steps=90, batch_size=16,
        learning_rate=1e-2, evaluations=1, method=method,
    )  # fmt: skip
    result = dps.finetune(config)
    assert result.labels["dev"].shape == result.logits["dev"].shape == (32, 3)
    level = chance_level(result.task, result.labels["dev"])
    assert result.score == result.final["dev"]["micro_f1"] > level + 0.15
    result.save(tmp_path / "best")
    held = transformers.AutoConfig.from_pretrained(tmp_path / "best")
    assert (held.problem_type, held.id2label) == ("multi_label_classification", dict(enumerate(LABELS)))
    texts = ["w0 w20 w30", "w0 w1 w2 w21", "w25 w36"]
    assert main(["--model", str(tmp_path / "best"), "--text", *texts]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said == Predictor.load(str(tmp_path / "best")).predict([(text,) for text in texts])
    classify = transformers.pipeline("text-classification", model=str(tmp_path / "best"), top_k=None)
    for one, theirs in zip(said, classify(texts), strict=True):
        assert one["labels"] == [name for name in LABELS if one["probabilities"][name] > 0.5]
        found = {each["label"]: each["score"] for each in theirs}
        assert found == pytest.approx(one["probabilities"], abs=1e-5)


def proposed(file: Path) -> data_checks.TaskProposal:
    found = propose.inspect_data(file)
    task = registry.get_task(str(propose.write_proposal(found)))
    source = sources.open_data_source(None, task)
    assert sum(len(source.load(task, split)) for split in ("train", "dev")) == len(found.train.rows)
    return found


@pytest.mark.parametrize("separator", ["|", ";"])
def test_texts_with_a_separator_are_recognised(tmp_path: Path, separator: str) -> None:
    csv(tmp_path / "mine.csv", 240, separator)
    found = proposed(tmp_path / "mine.csv")
    assert (found.task.multi_label, found.task.separator, found.task.label) == (True, separator, "teams")
    assert (found.task.labels, found.task.metrics) == (LABELS, ("micro_f1",))
    assert data_checks.list_data_warnings(found) == []
    said = "\n".join(propose.describe_proposal(found, tmp_path / "x.yaml"))
    assert "3 labels, 1.5 per example (multi-label): 'billing' 120 (50 %)" in said


def test_lists_are_recognised(tmp_path: Path) -> None:
    lines = [json.dumps({"teams": labels, "text": f"some {text}"}) for text, labels in examples(240)]
    (tmp_path / "mine.jsonl").write_text("\n".join([*lines, lines[3]]), encoding="utf-8")
    found = proposed(tmp_path / "mine.jsonl")
    assert (found.task.multi_label, found.task.columns, found.task.labels) == (True, ("text",), LABELS)
    (warning,) = data_checks.list_data_warnings(found)
    assert warning.startswith("1 row of train repeats the text of another")


@pytest.mark.parametrize("labels", [["Sales, East", "Sales, West"], ["a|b", "c|d"], ["a", "b;"]])
def test_a_separator_within_names_is_no_several_labels(tmp_path: Path, labels: list[str]) -> None:
    rows = [json.dumps({"text": f"some text {n}", "label": labels[n % len(labels)]}) for n in range(40)]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert proposed(tmp_path / "mine.jsonl").task.labels == tuple(sorted(labels))
