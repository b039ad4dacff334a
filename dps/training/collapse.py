"""Collapse of a model's representations: features, their drift in fine-tuning, linear probes.

Sources: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019 (arXiv
1905.00414); Aghajanyan et al., "Better Fine-Tuning by Reducing Representational Collapse", ICLR 2021 (arXiv
2008.03156).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps.errors import InputError
from dps.lazy import nn, torch
from dps.models import PretrainedEncoder
from dps.tasks.metrics import METRICS, has_sklearn_metric
from dps.tasks.splits import SUBSET_SEED, split_stratified
from dps.tasks.task import LABEL_COLUMN, Task
from dps.training.data import PaddingCollator, TaskData, batch_by_length
from dps.training.tokens import EncodedExamples, encode_dataset

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[Any]
Features = NDArray[np.float32]
CONSTANT_TOLERANCE = 1e-6  # features that vary by less than this share of their norm count as constant
DRIFT_EXAMPLES = 256
PROBE_EXAMPLES = 500  # to train a probe, and as many to test it
PROBE_C = 0.1  # inverse strength of the probe's L2 penalty
FEATURE_BATCH_SIZE = 64
# Values in which two models must agree to be compared.
SHARED_CONFIG_KEYS = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size")


def compute_linear_cka(x: Array, y: Array) -> float:
    """Return the linear centred kernel alignment of two feature sets of the same examples, in [0, 1].

    ||Y'X||² / (||X'X|| ||Y'Y||) in Frobenius norms, with the columns of X and Y centred, in float64.

    x, y: (n, d1) and (n, d2), n >= 2, finite.

    1 means equal up to rotation, reflection and scale. If features are constant over the examples (up to
    `CONSTANT_TOLERANCE`): 1 if both are, 0 if one is. Unrelated features give about d / (n + d), for d1 = d2
    = d directions of equal variance: compare only values of the same n. Raises ValueError for other shapes
    and for values that are not finite.
    """
    _check_features(x, y)
    x, y = _normalise_features(x), _normalise_features(y)
    if not (x.any() and y.any()):
        return float(not x.any() and not y.any())
    alignment = np.sum((y.T @ x) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return min(1.0, float(alignment))


def compute_relative_distance(x: Array, y: Array) -> float:
    """Return the mean over the examples of ||x_i - y_i|| / ||x_i||, at least 0.

    x, y: (n, d), n >= 2, finite; x are the pre-trained features.

    Raises ValueError for other shapes, values that are not finite, and an x_i that is zero.
    """
    _check_features(x, y)
    if x.shape != y.shape:
        raise ValueError(f"features must have the same shape, but got {x.shape} and {y.shape}")
    x, y = x.astype(np.float64), y.astype(np.float64)
    norms = np.linalg.norm(x, axis=1)
    if not norms.all():
        raise ValueError("the pre-trained features of an example are all zero; a distance has no scale")
    return float(np.mean(np.linalg.norm(x - y, axis=1) / norms))


def _check_features(x: Array, y: Array) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2:
        raise ValueError(f"features must be (n, d) with one n, at least 2, but got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features must be finite, but got NaN or infinity")


def _normalise_features(features: Array) -> NDArray[np.float64]:
    """Centre the columns and scale to Frobenius norm 1; return zeros for constant features."""
    values = features.astype(np.float64)
    centred: NDArray[np.float64] = values - values.mean(axis=0)
    norm = np.linalg.norm(centred)
    return centred / norm if norm > CONSTANT_TOLERANCE * np.linalg.norm(values) else np.zeros_like(centred)


def score_linear_probe(
    train_features: Array, train_labels: Array, test_features: Array, test_labels: Array, task: Task
) -> float:
    """Return the primary metric of `task` of a linear model trained on frozen features.

    train_features, test_features: (n, d), standardised by the training ones.
    train_labels, test_labels: (n,), class ids or numbers.

    The model is L2-penalised logistic regression, or ridge regression; nothing is random. Raises InputError
    for training labels of one class, a multi-label task, or a metric that is a scikit-learn scorer.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if task.multi_label or has_sklearn_metric(task):
        rule = "has several labels per example, or a scorer of scikit-learn as metric"
        raise InputError(f"probe-task: {task.name} {rule}; give another task")
    if not task.is_regression and len(np.unique(train_labels)) < 2:
        raise InputError(
            f"probe-task: the training labels of {task.name} are all one class; a probe needs two"
        )
    linear = Ridge(alpha=1 / PROBE_C) if task.is_regression else LogisticRegression(C=PROBE_C, max_iter=1000)
    fitted = make_pipeline(StandardScaler(), linear).fit(train_features, train_labels)
    return METRICS[task.metric](test_labels, fitted.predict(test_features))


def extract_features(
    model: PreTrainedModel,
    data: EncodedExamples,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int = FEATURE_BATCH_SIZE,
) -> list[Features]:
    """Return the features of `data` by layer, embeddings first, each (n, hidden) in `data`'s order.

    They are hidden states without dropout, averaged over the tokens of an example, special tokens included.

    model: encoder with or without a head; it keeps its device and mode.

    Raises InputError for an encoder-decoder, and for features that are not finite.
    """
    if model.config.is_encoder_decoder:
        raise InputError("model: must be an encoder, but it is an encoder-decoder; give another")
    collate, batches = PaddingCollator(tokenizer), list(batch_by_length(data, batch_size))
    with _evaluation_mode(model), torch.inference_mode():
        pooled = [_pool_features(model, collate(data, indices)) for indices in batches]
    order = np.argsort(np.concatenate(batches))
    layers = [np.concatenate(parts)[order] for parts in zip(*pooled, strict=True)]
    if broken := [number for number, layer in enumerate(layers) if not np.isfinite(layer).all()]:
        raise InputError(
            f"model: its features are not finite at layer {broken[0]}; give a model that converged"
        )
    return layers


def _pool_features(model: PreTrainedModel, batch: dict[str, Tensor]) -> list[Features]:
    """Return the features of one padded batch by layer."""
    inputs = {key: value.to(model.device) for key, value in batch.items() if key != "labels"}
    real = inputs["attention_mask"].unsqueeze(-1).float()
    states = model.base_model(**inputs, output_hidden_states=True).hidden_states
    return [((state.float() * real).sum(dim=1) / real.sum(dim=1)).cpu().numpy() for state in states]


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode inside this context; every module returns to its mode afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@dataclass(frozen=True)
class FeatureDrift:
    """Drift of the features in fine-tuning, by layer.

    cka: see `compute_linear_cka`; 1 for no drift.
    distance: see `compute_relative_distance`; 0 for no drift.
    """

    cka: list[float]
    distance: list[float]


def measure_drift(
    pretrained: PreTrainedModel,
    finetuned: PreTrainedModel,
    data: EncodedExamples,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int = FEATURE_BATCH_SIZE,
) -> FeatureDrift:
    """Compare the features that two models have for `data`.

    Raises InputError if they differ in one of `SHARED_CONFIG_KEYS` or `data` has a single example.
    """
    before, after = (
        [getattr(m.config, name, None) for name in SHARED_CONFIG_KEYS] for m in (pretrained, finetuned)
    )
    if before != after:
        rule = f"must have the {', '.join(SHARED_CONFIG_KEYS)} of the pre-trained one, {before}"
        raise InputError(f"model: {rule}, but has {after}; give the model that it was fine-tuned from")
    if len(data) < 2:
        raise InputError(f"data: must have at least 2 examples to compare features, but has {len(data)}")
    features = (extract_features(model, data, tokenizer, batch_size) for model in (pretrained, finetuned))
    pairs = list(zip(*features, strict=True))
    return FeatureDrift(
        [compute_linear_cka(x, y) for x, y in pairs], [compute_relative_distance(x, y) for x, y in pairs]
    )


def sample_split(data: TaskData, split: str, max_examples: int) -> EncodedExamples:
    """Return a stratified sample of a split, the same at every call; only it is tokenised."""
    dataset = data.load_split(split)
    labels = np.asarray(dataset[LABEL_COLUMN])
    if len(labels) > max_examples:
        dataset = dataset.select(split_stratified(data.task, labels, max_examples, SUBSET_SEED)[0])
    return encode_dataset(dataset, data.task, data.tokenizer, data.max_length)


def measure_collapse(
    base: PretrainedEncoder,
    model: PreTrainedModel,
    data: TaskData,
    probe_data: TaskData,
    batch_size: int = FEATURE_BATCH_SIZE,
) -> dict[str, float]:
    """Return the drift and the probes of a fine-tuned model by name.

    base: pre-trained encoder.
    model: its fine-tuned copy, on any device.
    data: task it was fine-tuned on; `DRIFT_EXAMPLES` of the main dev set are compared.
    probe_data: second task, tokenised alike; `PROBE_EXAMPLES` train a probe, as many of dev test it.

    Names: cka_layer_I and distance_layer_I from layer 0, the embeddings; cka_last and distance_last;
    probe_TASK_METRIC, and probe_TASK_METRIC_pretrained of the pre-trained model.
    """
    pretrained = base.build(seed=0, dropout=0.0).to(model.device)  # type: ignore[arg-type]
    compared = sample_split(data, data.task.dev_splits[0], DRIFT_EXAMPLES)
    drift = measure_drift(pretrained, model, compared, base.tokenizer, batch_size)
    figures: dict[str, float] = {}
    for name, values in (("cka", drift.cka), ("distance", drift.distance)):
        figures |= {f"{name}_layer_{i}": value for i, value in enumerate(values)} | {
            f"{name}_last": values[-1]
        }
    task = probe_data.task
    train, test = (sample_split(probe_data, split, PROBE_EXAMPLES) for split in ("train", task.dev_splits[0]))
    for suffix, encoder in (("", model), ("_pretrained", pretrained)):
        x, y = (extract_features(encoder, part, base.tokenizer, batch_size)[-1] for part in (train, test))
        name = f"probe_{task.name}_{task.metric}{suffix}"
        figures[name] = score_linear_probe(x, train.labels, y, test.labels, task)
    return figures
