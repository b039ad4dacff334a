"""A preview says beforehand what the training loop then does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dps.errors import InputError
from dps.methods import Vanilla
from dps.models import PretrainedEncoder, locate_model
from dps.sources import open_data_source
from dps.tasks.registry import get_task
from dps.training.config import FineTuneConfig
from dps.training.data import TaskData, split_holdout
from dps.training.preview import RunPreview, preview_run
from dps.training.run import finetune_model
from tune.core.options import CommonOptions

COLA = get_task("cola")
CONFIG = FineTuneConfig(method=Vanilla(), epochs=1.5, batch_size=7, evaluations=1)


def preview(folder: Path, model: Path, task: str = "cola", **changes: Any) -> RunPreview:
    source = open_data_source(str(folder))
    return preview_run(replace(CONFIG, **changes), get_task(task), source, locate_model(str(model)))


@pytest.mark.parametrize("changes", [{}, {"train_size": 31}, {"epochs": 0.01}, {"max_steps": 3}], ids=str)
@pytest.mark.parametrize("select_on", ["holdout", "dev"])
def test_the_training_loop_does_what_was_previewed(
    tiny_base: PretrainedEncoder,
    tiny_data: TaskData,
    tiny_cola: Path,
    tiny_model: Path,
    select_on: Any,
    changes: dict[str, Any],
) -> None:
    config = replace(CONFIG, select_on=select_on, **changes)
    known = preview(tiny_cola, tiny_model, select_on=select_on, **changes)
    train = tiny_data.get_train_examples(config.train_size)
    assert known.examples == {"train": len(train), "dev": 24}
    assert finetune_model(config, tiny_base, tiny_data).steps == known.max_steps
    on_all = replace(config, select_on="dev")
    assert finetune_model(on_all, tiny_base, tiny_data).steps == known.full_max_steps
    held_out = split_holdout(COLA, train, config.holdout_share, config.seed)[1]
    assert known.scored_examples == (len(held_out) if select_on == "holdout" else 24)
    assert (known.mean_words, known.chance_level) == (4.0, 0.0)


def write_labels(folder: Path, **labels: list[int]) -> Path:
    for split, values in labels.items():
        rows = [json.dumps({"sentence": f"w{i}", "label": label}) for i, label in enumerate(values)]
        (folder / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"train_size": 61}, "--train-size: 61 examples were asked for, but there are 60"),
        ({"max_length": 65}, r"--max-length: '.*' takes at most 64 tokens, but got 65"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    tiny_cola: Path, tiny_model: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        preview(tiny_cola, tiny_model, **changes)


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_split_of_one_class_is_refused(tmp_path: Path, tiny_model: Path, split: str) -> None:
    labels = {"train": [0, 1] * 8, "dev": [0, 1] * 4} | {split: [1] * 8}
    problem = f"data: every example of {split} has the label 'acceptable', so there is nothing to learn"
    with pytest.raises(InputError, match=problem):
        preview(write_labels(tmp_path, **labels), tiny_model)


@pytest.mark.parametrize(
    ("labels", "metric"),
    [
        ({"train": [0] * 19 + [1], "dev": [0, 1] * 4}, "f1"),
        ({"train": [0] * 19 + [1], "dev": [0, 1] * 4}, "accuracy"),
        ({"train": [0] * 19 + [1], "dev": [0, 1] * 4}, "auroc"),
    ],
)
def test_a_slice_on_which_every_model_scores_the_same_is_refused(
    tmp_path: Path, tiny_model: Path, labels: dict[str, list[int]], metric: str
) -> None:
    source, task = open_data_source(str(write_labels(tmp_path, **labels))), replace(COLA, metrics=(metric,))
    problem = (
        f"metric: {metric} is .* for the best model and the worst on the slice of train that is held out"
    )
    with pytest.raises(InputError, match=problem):
        preview_run(replace(CONFIG, select_on="holdout"), task, source, locate_model(str(tiny_model)))


def test_a_preview_holds_out_what_the_training_loop_does_where_texts_repeat(
    tmp_path: Path, tiny_model: Path, tiny_base: PretrainedEncoder
) -> None:
    for split in ("train", "dev"):
        rows = [{"sentence": " " * (n % 2) + f"w{n // 3}", "label": n // 3 % 2} for n in range(60)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    known = preview(tmp_path, tiny_model, select_on="holdout", seed=3, train_size=50)
    data = TaskData(COLA, open_data_source(str(tmp_path)), tiny_base.tokenizer, 16)
    kept, held_out = split_holdout(COLA, data.get_train_examples(50), CONFIG.holdout_share, 3)
    assert known.scored_examples == len(held_out)
    texts = [{tuple(example["input_ids"]) for example in part.tokens} for part in (kept, held_out)]
    assert texts[0].isdisjoint(texts[1])


def test_the_default_length_passes_for_any_model(tiny_cola: Path, tiny_model: Path) -> None:
    assert CommonOptions.model_fields["max_length"].default == FineTuneConfig.max_length > 64
    assert preview(tiny_cola, tiny_model, max_length=FineTuneConfig.max_length).max_steps == 14


def test_a_preview_says_how_labels_were_read_and_what_dev_shares(tmp_path: Path, tiny_model: Path) -> None:
    known = preview(write_labels(tmp_path, train=[0, 1] * 8 + [1], dev=[1, 0] * 10), tiny_model)
    assert known.label_counts == {"unacceptable": 8, "acceptable": 9}
    assert known.label_notes == dict.fromkeys(("train", "dev"), "numbers are read as ids")
    assert known.shared_texts == 17
