"""A preview says beforehand what the training loop then does."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import transformers
from safetensors.torch import load_file, save_file

from dps.errors import InputError
from dps.methods import METHODS, Vanilla
from dps.models import MAX_DEFAULT_TOKENS, USUAL_TOKENS, PretrainedEncoder, locate_model
from dps.models.lengths import TOKEN_STEP
from dps.sources import open_data_source
from dps.sources.folder import FolderSource
from dps.tasks.definition import make_definition, parse_definition
from dps.tasks.registry import get_task
from dps.tasks.task import GROUP_COLUMN, Task
from dps.training.config import FineTuneConfig
from dps.training.data import TaskData, split_holdout
from dps.training.preview import RunPreview, preview_run
from dps.training.run import finetune, finetune_model
from tests import families, tiny
from tune.core.options import CommonOptions

COLA = get_task("cola")
CONFIG = FineTuneConfig(method=Vanilla(), epochs=1.5, batch_size=7, evaluations=1)


def preview(folder: Path, model: Path, task: str = "cola", **changes: Any) -> RunPreview:
    source = open_data_source(str(folder))
    return preview_run(replace(CONFIG, **changes), get_task(task), source, locate_model(str(model)))


@pytest.mark.parametrize(
    "changes", [{}, {"train_size": 31}, {"shots": 9}, {"epochs": 0.01}, {"max_steps": 3}], ids=str
)
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
    train = tiny_data.get_train_examples(config.train_size, config.shots, config.seed)
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


def test_a_preview_says_how_labels_were_read_and_what_dev_shares(tmp_path: Path, tiny_model: Path) -> None:
    known = preview(write_labels(tmp_path, train=[0, 1] * 8 + [1], dev=[1, 0] * 10), tiny_model)
    assert known.label_counts == {"unacceptable": 8, "acceptable": 9}
    assert known.label_notes == dict.fromkeys(("train", "dev"), "numbers are read as ids")
    assert known.shared_texts == 17


def write_texts(folder: Path, **words: int) -> Path:
    """Write a cola of 16 examples a split, one of which has so many words, the others three."""
    for split, count in words.items():
        rows = [{"sentence": f"w{i} w1 w2", "label": i % 2} for i in range(16)]
        rows[3]["sentence"] = " ".join(["w3", *("w4",) * (count - 1)])
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def save_model(folder: Path, positions: int) -> Path:
    sizes = {**tiny.SIZES, "max_position_embeddings": positions}
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("positions", "train", "dev", "asked", "taken", "cut"),
    [
        (1024, 3, 3, None, 128, {}),  # short texts: as always
        (1024, 126, 126, None, 128, {}),
        (1024, 127, 3, None, 136, {}),
        (1024, 3, 200, None, 208, {}),  # those of dev count too
        (1024, 600, 511, None, 512, {"train": 1, "dev": 1}),
        (1024, 600, 510, None, 512, {"train": 1}),
        (64, 3, 3, None, 64, {}),  # what the model can read
        (64, 100, 3, None, 64, {"train": 1}),
        (1024, 600, 3, 700, 700, {}),
        (1024, 100, 3, 8, 8, {"train": 1}),
    ],
)
def test_texts_are_read_whole_where_the_model_can_and_those_that_are_cut_are_counted(
    tmp_path: Path, positions: int, train: int, dev: int, asked: int | None, taken: int, cut: dict[str, int]
) -> None:
    model = save_model(tmp_path / "model", positions)
    (tmp_path / "data").mkdir()
    found = preview(write_texts(tmp_path / "data", train=train, dev=dev), model, max_length=asked).lengths
    assert (found.max_length, found.cut) == (taken, cut)
    config = FineTuneConfig(
        data=str(tmp_path / "data"), model=str(model), max_length=asked, method=Vanilla(), max_steps=1
    )
    result = finetune(config)
    assert result.max_length == taken
    assert [line for line in result.warnings if line.startswith("max_length: ")] == (
        [f"max_length: texts are {found}; raise it, or split them"] if cut else []
    )


def test_texts_of_other_tasks_that_are_scored_count_too(tiny_cola: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", 1024)
    rte = get_task("rte")
    for split in rte.splits:
        rows = [{"sentence1": "w1 " * 200, "sentence2": "w2", "label": i % 2} for i in range(8)]
        folder = tmp_path / "glue" / "RTE"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tiny.data_folder(tmp_path / "glue" / "CoLA", COLA)
    found = preview(tmp_path / "glue", model, max_length=None, probe="rte").lengths
    assert found.max_length == 208
    found = preview(tmp_path / "glue", model, max_length=64, probe="rte").lengths
    assert found.cut == {"rte train": 8, "rte dev": 8}
    assert str(found) == "cut at 64 tokens: 8 of 8 rte train, 8 of 8 rte dev have more"


def test_a_step_of_the_longest_texts_is_tried_before_anything_starts(
    tiny_cola: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_model(tmp_path / "model", 64)
    assert preview(tiny_cola, model, max_length=None).notes == ()
    weights = load_file(model / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    save_file({**weights, name: weights[name] * float("nan")}, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"the loss of .* on the longest texts is nan"):
        preview(tiny_cola, model, max_length=None)
    monkeypatch.setattr("dps.training.rehearsal.psutil.virtual_memory", lambda: Mock(available=1000))
    (note,) = preview(tiny_cola, model, max_length=None).notes
    assert re.fullmatch(r"no step was tried here: [\d,]+ weights need 0\.0 GiB, but 0\.0 are free", note)


def test_a_method_that_cannot_take_the_model_is_refused_before_anything_starts(
    tiny_cola: Path, tmp_path: Path
) -> None:
    model = families.classifier("electra")
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    folder, source = locate_model(str(tmp_path)), open_data_source(str(tiny_cola))
    others = [name for name in METHODS if name != "ia3"]
    preview_run(CONFIG, COLA, source, folder, others)
    with pytest.raises(InputError, match=r"^--method: ia3: PEFT names no layers for the family 'electra'"):
        preview_run(CONFIG, COLA, source, folder, [*others, "ia3"])


def test_what_a_tokenizer_says_of_second_texts_must_be_known_to_the_model(tmp_path: Path) -> None:
    sizes = {**tiny.SIZES, "type_vocab_size": 1}
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    told = tmp_path / "model" / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    told.write_text(json.dumps({**json.loads(told.read_text()), "model_input_names": names}))
    folder = tiny.data_folder(tmp_path / "rte", get_task("rte"))
    with pytest.raises(InputError, match="gives token_type_ids up to 1, but the model knows 1 of them; take"):
        preview(folder, tmp_path / "model", "rte", max_length=None)


def test_a_head_from_elsewhere_is_told(tiny_cola: Path, tmp_path: Path) -> None:
    families.classifier("bert").save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    notes = preview(tiny_cola, tmp_path, max_length=None).notes
    assert notes == ("its head was trained for something else and starts anew",)


def test_the_option_says_the_rule_by_which_the_length_is_chosen() -> None:
    text = CommonOptions.model_fields["max_length"].description
    assert text is not None
    rule = f"{USUAL_TOKENS}, or as many as the longest text needs, a multiple of {TOKEN_STEP}, at most "
    assert f"{rule}{MAX_DEFAULT_TOKENS} and what the model can read" in text
    assert FineTuneConfig.max_length is None


def test_a_preview_knows_the_sets_of_other_tasks_and_reads_each_once(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = FolderSource.load

    def note_and_load(source: FolderSource, task: Task, split: str) -> Any:
        read.append(f"{task.name}/{split}")
        return load(source, task, split)

    monkeypatch.setattr(FolderSource, "load", note_and_load)
    for name in ("cola", "rte", "snli"):
        tiny.data_folder(tmp_path / name, get_task(name))
    (tmp_path / "snli" / "dev.jsonl").rename(tmp_path / "snli" / "test.jsonl")
    known = preview(tmp_path, tiny_model, "rte", transfer=("snli",), probe="cola").fingerprints
    assert sorted(known) == ["cola/dev", "cola/train", "dev", "snli/test", "train"]
    assert sorted(read) == ["cola/dev", "cola/train", "rte/dev", "rte/train", "snli/test"]


@pytest.mark.parametrize("has_dev", [False, True])
def test_groups_stay_on_one_side_and_those_of_both_files_are_counted(
    has_dev: bool, tmp_path: Path, tiny_model: Path
) -> None:
    rows = [
        {"who": f"p{number // 3}", "text": f"w{number} w{number % 2}", "label": "ab"[number % 2]}
        for number in range(90)
    ]
    parts = {"train": rows[:60], "dev": rows[54:]} if has_dev else {"train": rows}
    for split, part in parts.items():
        (tmp_path / f"{split}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in part), encoding="utf-8"
        )
    document = {
        "name": "own", "columns": "text", "labels": ["a", "b"], "metric": "accuracy", "group": "who",
        "files": {split: f"{split}.jsonl" for split in parts},
    }  # fmt: skip
    task = parse_definition(document, tmp_path / "own.yaml")
    assert parse_definition(make_definition(task)).group == "who"
    source = open_data_source("task", task)
    people = {split: {*source.load(task, split)[GROUP_COLUMN]} for split in ("train", "dev")}
    assert people["train"].isdisjoint(people["dev"]) != has_dev
    known = preview_run(replace(CONFIG, select_on="holdout"), task, source, locate_model(str(tiny_model)))
    assert (known.groups, known.shared_groups, known.shared_texts) == ((20, 6, 6) if has_dev else (24, 0, 0))
    base = PretrainedEncoder(locate_model(str(tiny_model)), task)
    data = TaskData(task, source, base.tokenizer, 32)
    kept, held_out = split_holdout(task, data.get_train_examples(None), CONFIG.holdout_share, CONFIG.seed)
    assert known.scored_examples == len(held_out)
    assert not {*kept.texts} & {*held_out.texts}
    assert len({*kept.texts, *held_out.texts}) == known.groups
