"""What a fine-tuned model says, asked with `dps.predict` and with `transformers.pipeline`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import transformers
import yaml
from safetensors.numpy import load_file, save_file

import dps
from dps.errors import InputError
from dps.models import ENSEMBLE_FILE, write_ensemble
from dps.models.manifest import MANIFEST_FILE, write_manifest
from dps.predict import Predictor, main, read_example_texts
from dps.tasks import definition, registry

LABELS = ["ünsure: no", "yes"]  # "w0 ..." is the first, "w1 ..." the second
TEXTS = [f"w{number % 2} w{20 + number}" for number in range(12)]


def trained(folder: Path, model: Path, document: dict[str, object], rows: list[str], steps: int) -> Path:
    """The folder of a model that was fine-tuned for a task of one's own."""
    folder.mkdir()
    (folder / "train.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "own.yaml").write_text(yaml.safe_dump({**document, "files": "train.csv"}), encoding="utf-8")
    config = dps.FineTuneConfig(
        task=str(folder / "own.yaml"), model=str(model), max_steps=steps, batch_size=8, learning_rate=3e-3,
        max_length=24, evaluations=1, method=dps.Vanilla(),
    )  # fmt: skip
    result = dps.finetune(config)
    result.save(folder / "best")
    return folder / "best"


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    rows = ["text,y", *(f"w{number % 2} w{number},{LABELS[number % 2]}" for number in range(60))]
    document = {"name": "own", "columns": "text", "label": "y", "labels": LABELS, "metric": "accuracy"}
    return trained(tmp_path_factory.mktemp("predict") / "own", tiny_model, document, rows, 40)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    rows = ["a,b,label", *(f"w{number % 5} w{number},w{number % 3},{number % 5}" for number in range(30))]
    document = {"name": "own", "columns": ["a", "b"], "kind": "regression"}
    return trained(tmp_path_factory.mktemp("predict") / "pairs", tiny_model, document, rows, 3)


@pytest.fixture
def ensemble(best: Path, tmp_path: Path) -> Path:
    """Two models of one task, the second with another head."""
    folder = tmp_path / "ensemble"
    first, second = folder / "confirm-0", folder / "confirm-1"
    for copy in (first, second):
        shutil.copytree(best, copy)
    weights = load_file(second / "model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"][::-1] * 0.5
    with write_manifest(second):
        save_file(
            {name: np.ascontiguousarray(value) for name, value in weights.items()},
            second / "model.safetensors",
            {"format": "pt"},
        )
    write_ensemble(folder, [first.name, second.name])
    return folder


def test_an_ensemble_says_the_mean_of_its_probabilities(
    ensemble: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(ensemble), "--text", *TEXTS]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said == Predictor.load(str(ensemble)).predict(TEXTS)
    parts = [Predictor.load(str(ensemble / name)).predict(TEXTS) for name in ("confirm-0", "confirm-1")]
    assert parts[0] != parts[1]
    for one, *each in zip(said, *parts, strict=True):
        for label, probability in one["probabilities"].items():
            mean = np.mean([part["probabilities"][label] for part in each])
            assert probability == pytest.approx(mean, abs=1e-6)


def test_the_value_of_an_ensemble_is_the_mean_of_its_values(regression: Path, tmp_path: Path) -> None:
    for name in ("confirm-0", "confirm-1"):
        shutil.copytree(regression, tmp_path / name)
    write_ensemble(tmp_path, ["confirm-0", "confirm-1"])
    pairs = [("w1", "w2"), ("w3", "w4")]
    assert Predictor.load(str(tmp_path)).predict(pairs) == Predictor.load(str(regression)).predict(pairs)


def test_an_ensemble_with_a_model_that_is_not_the_listed_one_is_refused(
    ensemble: Path, best: Path, regression: Path
) -> None:
    listing, second = ensemble / ENSEMBLE_FILE, ensemble / "confirm-1"

    def check_refused(message: str) -> None:
        with pytest.raises(InputError, match=message) as refusal:
            Predictor.load(str(ensemble))
        assert "\n" not in str(refusal.value)

    written = listing.read_text()
    for broken in (
        "",
        "[]",
        '{"models": {}}',
        '{"models": {"../best": "0"}}',
        '{"models": {"confirm-1": 3}}',
    ):
        listing.write_text(broken)
        check_refused("^model: .*ensemble.json|^model: .*is not the model that .*ensemble.json lists")
    listing.write_text(written)
    shutil.rmtree(second)
    check_refused("confirm-1 is not the model that .* lists")
    shutil.copytree(best, second)
    check_refused("confirm-1 is not the model that .* lists")  # a whole model, but another one
    shutil.rmtree(second)
    shutil.copytree(regression, second)
    write_ensemble(ensemble, ["confirm-0", "confirm-1"])
    check_refused("^--model: .* its models are of different tasks")


def test_the_folder_says_what_the_model_was_trained_for(best: Path) -> None:
    task = registry.get_task(str(best / definition.TASK_FILE_NAME))
    assert (task.name, task.columns, task.labels, task.data_location) == (
        "own",
        ("text",),
        tuple(LABELS),
        None,
    )
    config = transformers.AutoConfig.from_pretrained(best)
    assert config.id2label == dict(enumerate(LABELS))
    assert transformers.AutoTokenizer.from_pretrained(best).model_max_length == 24


def test_labels_and_probabilities_on_the_command_line(best: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(best), "--text", *TEXTS]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["label"] for one in found] == [LABELS[number % 2] for number in range(12)]
    for one in found:
        assert list(one["probabilities"]) == LABELS
        assert sum(one["probabilities"].values()) == pytest.approx(1)
        assert one["label"] == max(one["probabilities"], key=lambda name: one["probabilities"][name])


def test_a_pipeline_says_the_same(best: Path) -> None:
    classify = transformers.pipeline("text-classification", model=str(best), top_k=None)
    ours = Predictor.load(str(best)).predict([(text,) for text in TEXTS])
    for theirs, one in zip(classify(TEXTS), ours, strict=True):
        assert theirs[0]["label"] == one["label"]
        assert {each["label"]: each["score"] for each in theirs} == pytest.approx(
            one["probabilities"], abs=1e-5
        )


def test_long_texts_are_cut_as_in_training_in_both(best: Path) -> None:
    text = " ".join(["w1", *(f"w{number}" for number in range(90))])
    predictor = Predictor.load(str(best))
    assert predictor.max_length == 24
    (one,) = predictor.predict([(text,)])
    assert predictor.predict([(text + " w0 w0",)]) == [one]
    (theirs,) = transformers.pipeline("text-classification", model=str(best), truncation=True)([text])
    assert theirs["score"] == pytest.approx(one["probabilities"][one["label"]], abs=1e-5)


def test_texts_that_are_cut_are_counted(best: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(best), "--text", "w1 " * 22, "w1 " * 23, "w1 " * 90]) == 0
    said = "warning: 2 of 3 examples have more than the 24 tokens that the model reads; they are cut\n"
    assert capsys.readouterr().err == said


def test_a_file_gives_a_line_for_each_row_in_order(
    best: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": number, "text": text} for number, text in enumerate(TEXTS * 12)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    output = tmp_path / "out.jsonl"
    assert main(["--model", str(best), "--file", str(tmp_path / "new.jsonl"), "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"144 predictions: {output}\n"
    found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [one["label"] for one in found] == [LABELS[number % 2] for number in range(144)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.jsonl", "out.jsonl"]


def test_a_regression_of_pairs_says_its_value(
    regression: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(regression), "--text", "w1 w2", "w3", "--text2", "w2", "w1"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first.keys() == second.keys() == {"value"}
    (tmp_path / "new.tsv").write_text("b\ta\nw2\tw1 w2\nw1\tw3\n", encoding="utf-8")
    assert main(["--model", str(regression), "--file", str(tmp_path / "new.tsv")]) == 0
    again = [json.loads(line)["value"] for line in capsys.readouterr().out.splitlines()]
    assert again == pytest.approx([first["value"], second["value"]], abs=1e-6)
    pipe = transformers.pipeline("text-classification", model=str(regression))
    assert pipe({"text": "w1 w2", "text_pair": "w2"})["score"] == pytest.approx(first["value"], abs=1e-5)


def test_what_is_predicted_does_not_depend_on_what_stands_beside_it(best: Path) -> None:
    predictor = Predictor.load(str(best))
    examples = [(f"w{number % 7} " * (1 + number % 5),) for number in range(150)]
    together = predictor.compute_logits(examples)
    assert together.shape == (150, 2)
    alone = np.concatenate([predictor.compute_logits([example]) for example in examples[:20]])
    assert np.allclose(alone, together[:20], atol=1e-5)
    assert predictor.predict([]) == []


def test_texts_are_taken_as_everyone_gives_them(best: Path, regression: Path) -> None:
    predictor = Predictor.load(str(best))
    expected = predictor.predict([("w1",), ("w0",)])
    assert [one["label"] for one in predictor.predict("w1")] == [expected[0]["label"]]
    lists = (["w1", "w0"], ("w1", "w0"), [["w1"], ["w0"]], np.array(["w1", "w0"]), iter(["w1", "w0"]))
    assert all(predictor.predict(same) == expected for same in lists)
    pairs = Predictor.load(str(regression))
    assert pairs.predict([["w1", "w2"]]) == pairs.predict([("w1", "w2")])


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        ([("w1", "w2")], r"example 0: must be a text, but is \('w1', 'w2'\)"),
        (["w1", None], "example 1: must be a text, but is None"),
        ([("w1",), ("w2", "w3")], "example 1: must be a text, but is"),
        (["w1", " "], "example 1: must be a text, but has ' '"),
        ([(1,)], "example 0: must be a text, but has 1"),
        (["w1\ud83d"], "example 0: has half a surrogate pair"),
        *(
            (value, f"examples: must be a text or a list of examples, but got a {kind}")
            for value, kind in (
                ({"text": "w1"}, "dict"),
                ({"w1"}, "set"),
                (pd.DataFrame({"text": ["w1"]}), "DataFrame"),
                (b"w1", "bytes"),
                (None, "NoneType"),
            )
        ),
    ],
)
def test_what_is_no_text_is_refused(best: Path, examples: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Predictor.load(str(best)).predict(examples)


@pytest.mark.parametrize("target", ["new.csv", "best/config.json"])
def test_what_is_read_is_not_overwritten(
    best: Path, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = tmp_path / "best", tmp_path / "new.csv"
    shutil.copytree(best, model)
    file.write_text("text\nw1\n")
    before = (tmp_path / target).read_bytes()
    argv = ["--model", str(model), "--file", str(file), "--output", str(tmp_path / target)]
    assert main(argv) == 2
    assert "which it would overwrite; choose another file" in capsys.readouterr().err
    assert (tmp_path / target).read_bytes() == before


def test_two_classes_of_one_name_are_refused(best: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(best)
    model.config.id2label = {0: "a", 1: "a"}
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(best).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="two classes have the name 'a'"):
        Predictor.load(str(tmp_path))


@pytest.mark.parametrize("examples", ["w1", ["w1", "w2"], [("w1",)], ["ab", "cd"]])
def test_single_texts_are_no_pairs(regression: Path, examples: object) -> None:
    with pytest.raises(InputError, match="example 0: must be a tuple of 2 texts"):
        Predictor.load(str(regression)).predict(examples)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--text", "a", "--file", "b.csv"], "--text, --file: give exactly one of them"),
        ([], "--text, --file: give exactly one of them"),
        (["--text", "a", "--text2", "b"], "--text2: the model reads 1 text per example (text); leave"),
        (["--text2", "b"], "--text2: is the second text of each example; give the first ones with --text"),
        (
            ["--file", "new.csv", "--text2", "b"],
            "--text2: is the second text of each example; give the first",
        ),
        (["--text", "a", " "], "--text: must not be empty"),
        (["--file", "no.csv"], "--file: there is no no.csv"),
        (["--text", "a", "--output", "no/such/folder"], "--output: cannot write"),
        (["--text", "a", "--output", ""], "--output: must be a file, but got ''"),
        (["--text", "a", "--batch", "3"], "--batch 3; see --help"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    best: Path, argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(best), *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_a_pair_needs_both_texts(regression: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(regression), "--text", "a"]) == 2
    assert "--text2: the model reads 2 texts per example (a, b); give --text2 too" in capsys.readouterr().err
    assert main(["--model", str(regression), "--text", "a", "b", "--text2", "c"]) == 2
    assert "--text2: must have as many texts as --text, 2, but got 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("txt\nhello\n", r"new\.csv:2: no column 'text'; the columns are 'txt'"),
        ("text\nhello\n \n", r"new\.csv:3: column 'text' is empty"),
        ("text\n", r"new\.csv has no rows"),
        ("", r"new\.csv has no rows"),
        ("text,n\nhello,1\nx\n", r"new\.csv:3: 1 columns where 2 are expected"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "new.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_example_texts(tmp_path / "new.csv", ("text",))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("new.txt", "one text\nanother\n", "call a file with tabs between the columns .tsv"),
        ("new.txt", "text\tn\nhello\t1\n", "only .csv, .tsv, .jsonl, .parquet files are read"),
        ("new.md", "text\n", "only .csv, .tsv, .jsonl, .parquet files are read; convert it"),
    ],
)
def test_other_files_are_refused_before_the_model_is_read(
    tmp_path: Path, name: str, content: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert main(["--model", "nowhere", "--file", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --file: {tmp_path / name}: ")
    assert says in error
    assert error.count("\n") == 1


def test_commas_in_a_file_for_tabs_are_named(tmp_path: Path) -> None:
    (tmp_path / "new.tsv").write_text("text,n\nhello,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="columns separated by ',' do not match the suffix; call it"):
        read_example_texts(tmp_path / "new.tsv", ("text",))


@pytest.mark.parametrize("place", ["best", "rte/best"])
def test_the_folder_of_a_search_names_the_one_of_its_model(
    best: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(best, tmp_path / place)
    assert main(["--model", str(tmp_path), "--text", "a"]) == 2
    advice = f"a search left its model in '{tmp_path / place}'; give that"
    assert capsys.readouterr().err == f"error: --model: '{tmp_path}' has no config.json; {advice}\n"


def test_of_several_searches_none_is_taken_for_the_one_that_is_meant(
    best: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        shutil.copytree(best, tmp_path / name / "best")
    assert main(["--model", str(tmp_path), "--text", "a"]) == 2
    first = tmp_path / "a" / "best"
    assert f"; it holds the models of 2 searches; give one, as '{first}'" in capsys.readouterr().err


def test_a_model_of_another_program_serves_texts_but_no_file(
    best: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in best.iterdir():
        if file.name not in (definition.TASK_FILE_NAME, MANIFEST_FILE):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    assert main(["--model", str(tmp_path), "--text", "w1 w3"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "yes"
    assert main(["--model", str(tmp_path), "--file", "new.csv"]) == 2
    assert "has no task.yaml, which names the columns" in capsys.readouterr().err


def test_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(tmp_path / "none"), "--text", "a"]) == 2
    assert "--model: there is no folder" in capsys.readouterr().err
    assert main(["--model", str(tmp_path), "--text", "a"]) == 2
    assert "has no config.json" in capsys.readouterr().err
