"""Representation collapse: similarity, distance, features, probes, and the command around them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.utils import logging

from dps import sources
from dps.command import drop_option
from dps.errors import InputError
from dps.models import PretrainedEncoder
from dps.probing import main
from dps.tasks import metrics, registry
from dps.tasks.task import Task
from dps.training import collapse
from dps.training.collapse import (
    compute_linear_cka,
    compute_relative_distance,
    extract_features,
    measure_collapse,
    measure_drift,
    sample_split,
    score_linear_probe,
)
from dps.training.data import TaskData
from dps.training.tokens import EncodedExamples
from tests import tiny

TOKENIZER = tiny.tokenizer()
COLA, RTE, MRPC, MNLI, STSB = (registry.get_task(name) for name in ("cola", "rte", "mrpc", "mnli", "stsb"))


def gaussian(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def encoded(count: int) -> EncodedExamples:
    """Examples of 3 to 9 tokens, none like another."""
    rng = np.random.default_rng(0)
    ids = [[2, *(int(i) for i in rng.integers(4, tiny.VOCABULARY, 1 + 3 * n % 7)), 3] for n in range(count)]
    return EncodedExamples.from_tokens(
        [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids], np.arange(count) % 2
    )


def perturbed(model: Any, size: float) -> Any:
    """A copy whose weights have moved by noise of this standard deviation."""
    moved, random = copy.deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter += size * torch.randn(parameter.shape, generator=random)
    return moved


# --- similarity and distance ---


def test_cka_is_one_for_the_same_features_turned_scaled_and_shifted() -> None:
    x = gaussian(50, 8)
    turn, _ = np.linalg.qr(gaussian(8, 8, seed=1))
    for y in (x, x @ turn, 3 * x, 1e-9 * x, x + 5):
        assert compute_linear_cka(x, y) == pytest.approx(1, abs=1e-12)
    assert compute_linear_cka(x, x * np.arange(1, 9)) < 0.95  # a scale for each direction is not one scale


@pytest.mark.parametrize(("n", "d", "within"), [(4000, 5, 0.3), (2000, 30, 0.1), (256, 384, 0.01)])
def test_cka_of_unrelated_features_is_near_d_over_n_plus_d(n: int, d: int, within: float) -> None:
    assert compute_linear_cka(gaussian(n, d), gaussian(n, d, seed=1)) == pytest.approx(
        d / (n + d), rel=within
    )


@pytest.mark.parametrize(("n", "d1", "d2"), [(40, 3, 7), (12, 30, 5), (20, 20, 20)])
def test_cka_is_symmetric_and_equals_the_formulation_with_gram_matrices(n: int, d1: int, d2: int) -> None:
    x = gaussian(n, d1) + 2
    y = gaussian(n, d2, seed=1) + x[:, :1]
    centring = np.eye(n) - 1 / n

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        return float(np.trace(k @ centring @ m @ centring))

    k, m = x @ x.T, y @ y.T
    assert compute_linear_cka(x, y) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)), rel=1e-9)
    assert compute_linear_cka(x, y) == pytest.approx(compute_linear_cka(y, x), rel=1e-12)


def test_cka_of_constant_features_is_one_where_both_are_and_zero_where_one_is() -> None:
    constant, varied = np.full((50, 3), 0.1, dtype=np.float32), gaussian(50, 3)
    rounded = constant + 1e-9 * varied
    assert compute_linear_cka(constant, 7 * constant) == compute_linear_cka(constant, rounded) == 1
    assert (
        compute_linear_cka(constant, varied)
        == compute_linear_cka(varied, constant)
        == compute_linear_cka(rounded, varied)
        == 0
    )


def test_relative_distance_by_hand() -> None:
    x = np.array([[3.0, 4.0], [0.0, 2.0]])
    y = np.array([[3.0, 3.0], [2.0, 2.0]])
    assert compute_relative_distance(x, y) == pytest.approx((1 / 5 + 2 / 2) / 2)
    assert compute_relative_distance(x, x) == 0
    assert compute_relative_distance(100 * x, 100 * y) == pytest.approx(compute_relative_distance(x, y))


@pytest.mark.parametrize("compare", [compute_linear_cka, compute_relative_distance])
def test_features_that_cannot_be_compared_are_refused(compare: Any) -> None:
    x = gaussian(5, 3)
    broken = x.copy()
    broken[2, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        compare(x, broken)
    for other in (gaussian(4, 3), x[0]):
        with pytest.raises(ValueError, match="one n"):
            compare(x, other)
    with pytest.raises(ValueError, match="at least 2"):
        compare(x[:1], x[:1])


def test_a_distance_needs_one_shape_and_a_scale() -> None:
    x = gaussian(5, 3)
    with pytest.raises(ValueError, match="same shape"):
        compute_relative_distance(x, x[:, :1])
    x[2] = 0
    with pytest.raises(ValueError, match="no scale"):
        compute_relative_distance(x, gaussian(5, 3))


# --- features ---


def test_features_are_the_means_over_the_tokens_of_what_each_layer_puts_out() -> None:
    model: Any = tiny.bert().eval()
    put_out: list[torch.Tensor] = []
    modules = [model.bert.embeddings, *model.bert.encoder.layer]
    handles = [
        module.register_forward_hook(
            lambda _m, _a, output: put_out.append(output[0] if isinstance(output, tuple) else output)
        )
        for module in modules
    ]
    one = encoded(1)
    model(input_ids=torch.tensor([one.tokens[0]["input_ids"]]))
    for handle in handles:
        handle.remove()
    found = extract_features(model, one, TOKENIZER)
    assert [layer.shape for layer in found] == [(1, 16)] * 3
    assert {layer.dtype for layer in found} == {np.dtype(np.float32)}
    for layer, states in zip(found, put_out, strict=True):
        by_hand = states.detach().reshape(-1, 16).numpy().mean(axis=0)
        np.testing.assert_allclose(layer[0], by_hand, rtol=1e-5, atol=1e-6)
    for with_head, without in zip(found, extract_features(model.bert, one, TOKENIZER), strict=True):
        np.testing.assert_array_equal(with_head, without)


def test_features_stand_in_the_order_of_the_examples_whatever_they_are_padded_with() -> None:
    model: Any = tiny.bert()
    data = encoded(11)
    assert data.lengths().tolist() != sorted(data.lengths(), reverse=True)
    together = extract_features(model, data, TOKENIZER, batch_size=4)
    alone = [extract_features(model, data.take(np.array([i])), TOKENIZER) for i in range(len(data))]
    for number, layer in enumerate(together):
        expected = np.concatenate([one[number] for one in alone])
        np.testing.assert_allclose(layer, expected, atol=1e-5)
        assert np.ptp(expected, axis=0).min() > 0.01  # the examples are not alike


def test_features_know_no_dropout_and_leave_every_module_in_its_mode() -> None:
    model: Any = tiny.bert(dropout=0.5)
    model.bert.embeddings.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    first, second = (extract_features(model, encoded(5), TOKENIZER) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert len(set(modes.values())) == 2
    del model.bert.encoder.layer[1].attention
    with pytest.raises(AttributeError):
        extract_features(model, encoded(5), TOKENIZER)
    assert model.training


def test_a_model_that_diverged_and_an_encoder_decoder_are_refused() -> None:
    model: Any = tiny.bert()
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.bias[0] = float("nan")
    with pytest.raises(InputError, match="not finite at layer 2"):
        extract_features(model, encoded(3), TOKENIZER)
    small = {
        "d_model": 8,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "vocab_size": 100,
        "max_position_embeddings": 16,
    }
    heads = {
        "encoder_attention_heads": 1,
        "decoder_attention_heads": 1,
        "encoder_ffn_dim": 8,
        "decoder_ffn_dim": 8,
    }
    bart: Any = transformers.BartForSequenceClassification(transformers.BartConfig(**small, **heads))
    with pytest.raises(InputError, match="encoder-decoder"):
        extract_features(bart, encoded(3), TOKENIZER)


# --- drift ---


def test_an_untouched_model_has_not_moved() -> None:
    model: Any = tiny.bert()
    moved = measure_drift(model, copy.deepcopy(model), encoded(20), TOKENIZER)
    assert moved.cka == pytest.approx([1, 1, 1], abs=1e-12)
    assert moved.distance == [0, 0, 0]


def test_layers_that_began_anew_are_further_away_than_perturbed_ones_and_those_below_stay() -> None:
    model: Any = tiny.bert()
    anew = copy.deepcopy(model)
    anew.bert.encoder.layer[1] = copy.deepcopy(tiny.bert(seed=1)).bert.encoder.layer[1]  # type: ignore[union-attr]
    far = measure_drift(model, anew, encoded(60), TOKENIZER)
    near = measure_drift(model, perturbed(model, 0.01), encoded(60), TOKENIZER)
    assert far.cka[:2] == pytest.approx([1, 1], abs=1e-12)
    assert far.distance[:2] == [0, 0]
    assert far.cka[2] < near.cka[2] < 1
    assert far.distance[2] > near.distance[2] > 0


def test_the_distance_is_relative_to_the_pretrained_features() -> None:
    model: Any = tiny.bert()
    moved = perturbed(model, 0.3)
    forth = measure_drift(model, moved, encoded(20), TOKENIZER)
    x, y = (
        extract_features(model, encoded(20), TOKENIZER)[2],
        extract_features(moved, encoded(20), TOKENIZER)[2],
    )
    assert forth.distance[2] == compute_relative_distance(x, y) != compute_relative_distance(y, x)


def test_models_that_differ_and_a_single_example_are_refused() -> None:
    model: Any = tiny.bert()
    other: Any = transformers.BertForSequenceClassification(
        transformers.BertConfig(**{**tiny.SIZES, "num_hidden_layers": 1})
    )
    with pytest.raises(InputError, match=r"num_hidden_layers.* 2, 16, 100\], but has .* 1, 16, 100\]"):
        measure_drift(model, other, encoded(5), TOKENIZER)
    with pytest.raises(InputError, match="at least 2 examples"):
        measure_drift(model, model, encoded(1), TOKENIZER)


# --- probe ---


def halves(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    middle = len(x) // 2
    return x[:middle], y[:middle], x[middle:], y[middle:]


def test_a_probe_reads_off_what_is_linear_whatever_its_scale() -> None:
    x = gaussian(1000, 10)
    kinds = np.digitize(x[:, 0], [-0.4, 0.4])
    for scale in (np.ones(10), np.where(np.arange(10) == 0, 1e-4, 1.0)):
        assert score_linear_probe(*halves(x * scale, (x[:, 0] > 0).astype(int)), COLA) > 0.9
        assert score_linear_probe(*halves(x * scale, kinds), MNLI) > 0.85
        assert score_linear_probe(*halves(x * scale, x[:, 0] + 0.1 * x[:, 1] + 2), STSB) > 0.99


def test_a_probe_of_random_labels_is_at_chance() -> None:
    x, rng = gaussian(1000, 10), np.random.default_rng(1)
    assert abs(score_linear_probe(*halves(x, rng.integers(0, 2, 1000)), COLA)) < 0.12
    assert score_linear_probe(*halves(x, rng.integers(0, 2, 1000)), RTE) == pytest.approx(0.5, abs=0.06)
    assert abs(score_linear_probe(*halves(x, rng.normal(size=1000)), STSB)) < 0.12


def test_a_probe_gives_the_primary_metric_and_the_same_number_each_time() -> None:
    x = gaussian(200, 10)
    labels = (x[:, 0] + gaussian(200, 1, seed=1)[:, 0] > -0.5).astype(int)
    found = {task.metric: score_linear_probe(*halves(x, labels), task) for task in (COLA, MRPC, RTE)}
    assert list(found) == ["matthews_correlation", "f1", "accuracy"]
    assert len(set(found.values())) == 3
    assert found == {task.metric: score_linear_probe(*halves(x, labels), task) for task in (COLA, MRPC, RTE)}
    everything = metrics.METRICS["f1"](labels[100:], np.ones(100, dtype=int))
    assert found["f1"] > everything


def test_a_probe_of_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="training labels of rte are all one class"):
        score_linear_probe(gaussian(5, 2), np.zeros(5, dtype=int), gaussian(5, 2), np.arange(5) % 2, RTE)


# --- the whole ---


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples of cola and rte."""
    folder = tmp_path_factory.mktemp("glue")
    tiny.data_folder(folder / "cola", COLA)
    tiny.data_folder(folder / "rte", RTE)
    return folder


def task_data(base: PretrainedEncoder, folder: Path, task: Task) -> TaskData:
    return TaskData(task, sources.open_data_source(str(folder)), base.tokenizer, 32)


@pytest.fixture
def both(tiny_base: PretrainedEncoder, two_tasks: Path) -> tuple[TaskData, TaskData]:
    return task_data(tiny_base, two_tasks, COLA), task_data(tiny_base, two_tasks, RTE)


def test_a_sample_is_stratified_always_the_same_and_that_of_a_train_subset(tiny_data: TaskData) -> None:
    drawn = sample_split(tiny_data, "train", 20)
    assert np.bincount(drawn.labels).tolist() == [10, 10]
    assert (
        drawn.tokens == sample_split(tiny_data, "train", 20).tokens == tiny_data.get_train_examples(20).tokens
    )
    assert sample_split(tiny_data, "train", 60).tokens == tiny_data.get_split("train").tokens
    assert len(sample_split(tiny_data, "dev", 1000)) == 24


def test_collapse_names_every_layer_and_both_probes(
    tiny_base: PretrainedEncoder, both: tuple[TaskData, TaskData]
) -> None:
    moved = perturbed(tiny_base.build(0, 0.1), 0.1)
    found = measure_collapse(tiny_base, moved, *both)
    assert set(found) == {
        *(
            f"{what}_{where}"
            for what in ("cka", "distance")
            for where in ("layer_0", "layer_1", "layer_2", "last")
        ),
        "probe_rte_accuracy",
        "probe_rte_accuracy_pretrained",
    }
    assert all(type(value) is float for value in found.values())
    for name, value in found.items():
        assert 0 < value <= (np.inf if name.startswith("distance") else 1)
    assert found["cka_last"] == found["cka_layer_2"] < 1
    assert found["distance_last"] == found["distance_layer_2"]
    train, dev = (both[1].get_split(name) for name in ("train", "dev"))
    x, y = (extract_features(moved, part, tiny_base.tokenizer)[-1] for part in (train, dev))
    assert found["probe_rte_accuracy"] == score_linear_probe(x, train.labels, y, dev.labels, RTE)


def test_collapse_of_an_untouched_model_is_none(
    tiny_base: PretrainedEncoder, both: tuple[TaskData, TaskData]
) -> None:
    found = measure_collapse(tiny_base, tiny_base.build(5, 0.3), *both)
    assert found["cka_last"] == pytest.approx(1, abs=1e-12)
    assert found["distance_last"] == 0
    assert found["probe_rte_accuracy"] == found["probe_rte_accuracy_pretrained"]


def test_features_that_collapsed_to_one_point_are_seen(
    tiny_base: PretrainedEncoder, both: tuple[TaskData, TaskData]
) -> None:
    model: Any = tiny_base.build(0, 0.0)
    with torch.no_grad():
        model.bert.encoder.layer[1].output.LayerNorm.weight.zero_()
    found = measure_collapse(tiny_base, model, *both)
    assert found["cka_last"] == 0
    assert found["probe_rte_accuracy"] == 0.5 < found["probe_rte_accuracy_pretrained"]


def test_collapse_looks_at_no_more_examples_than_it_says(
    tiny_base: PretrainedEncoder, both: tuple[TaskData, TaskData], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counting(model: Any, data: EncodedExamples, *rest: Any) -> list[np.ndarray]:
        seen.append(len(data))
        return extract_features(model, data, *rest)

    monkeypatch.setattr(collapse, "extract_features", counting)
    monkeypatch.setattr(collapse, "DRIFT_EXAMPLES", 6)
    monkeypatch.setattr(collapse, "PROBE_EXAMPLES", 30)
    measure_collapse(tiny_base, tiny_base.build(0, 0.0), *both)
    assert seen == [6, 6, 30, 24, 30, 24]


# --- the command ---


@pytest.fixture
def loud() -> Iterator[None]:
    """Leaves the messages of transformers as they were."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    yield
    logging.set_verbosity(level)
    if bars:
        logging.enable_progress_bar()


@pytest.fixture
def command(
    tiny_base: PretrainedEncoder, tiny_model: Path, two_tasks: Path, tmp_path: Path, loud: None
) -> list[str]:
    """The command line for a perturbed model that was saved."""
    perturbed(tiny_base.build(0, 0.0), 0.1).save_pretrained(tmp_path / "best")
    options = {"model": tmp_path / "best", "base": tiny_model, "task": "cola", "data": two_tasks}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [*words, "--probe-task", "rte", "--max-length", "32"]


def test_the_command_prints_what_collapse_finds(
    command: list[str],
    tiny_base: PretrainedEncoder,
    both: tuple[TaskData, TaskData],
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = measure_collapse(tiny_base, perturbed(tiny_base.build(0, 0.0), 0.1), *both)
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(expected, rel=1e-6)
    assert main(command) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["layer", "cka", "distance"]
    for layer in range(3):
        numbers = f"{expected[f'cka_layer_{layer}']:.4f}", f"{expected[f'distance_layer_{layer}']:.4f}"
        assert lines[layer].split() == [str(layer), *numbers]
    assert {len(line) for line in (heading, *lines[:3])} == {len(heading)}
    assert lines[3:5] == ["", "probe on the last layer: rte (accuracy)"]
    assert lines[5].split() == ["pre-trained", f"{expected['probe_rte_accuracy_pretrained']:.4f}"]
    assert lines[6].split() == ["fine-tuned", f"{expected['probe_rte_accuracy']:.4f}"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--model", "nowhere"], "--model: there is no folder 'nowhere'"),
        (["--base", "./nowhere"], "there is no folder './nowhere'"),
        (["--data", "nowhere"], "there is no folder 'nowhere'"),
        (["--task", "colour"], "there is no task 'colour'; did you mean cola?"),
        (["--probe-task", "stsb"], "no file for train of task stsb"),
        (["--max-length", "0"], "--max-length must be above 0, but got 0"),
        (["--max-length", "long"], "--max-length: invalid int value: 'long'; see --help"),
        (["--colour"], "unrecognized arguments: --colour; see --help"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    command: list[str], changes: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused([*drop_option(command, changes[0]), *changes], message, capsys)


def refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_folders_that_hold_no_whole_fine_tuned_model_are_refused(
    command: list[str], tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused([*drop_option(command, "--model"), "--model", str(tmp_path)], "has no config.json", capsys)
    refused(
        [*drop_option(command, "--model"), "--model", str(tiny_model)],
        "lacks weights (classifier.bias, ...)",
        capsys,
    )
    weights = tmp_path / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    refused(command, "is not a complete safetensors file", capsys)


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "python -m dps.probing --model runs/" in capsys.readouterr().out
