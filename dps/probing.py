"""Representation collapse: how far fine-tuning moved the features, and whether they still serve another task.

Compares pre-trained and fine-tuned features by layer, and scores a linear probe for a second
task on the frozen features of the last layer, before and after.

example:
    python -m dps.probing --model runs/cola-20261123-224540/best --task cola --probe-task rte

Sources: Aghajanyan et al., "Better Fine-Tuning by Reducing Representational Collapse", ICLR 2021
(arXiv 2008.03156); Kornblith et al., "Similarity of Neural Network Representations Revisited",
ICML 2019 (arXiv 1905.00414).
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dps import sources, tasks
from dps.command import Parser, command
from dps.data import SUBSET_SEED, TaskData, by_length, collator, stratified
from dps.errors import InputError
from dps.metrics import METRICS, are_scored
from dps.models import Base, locate, read_finetuned
from dps.tasks import LABEL, Task
from dps.tokens import Encoded, encode

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Array = NDArray[Any]
Features = NDArray[np.float32]

ROUNDING = 1e-6  # features that vary by less than this share of their size are constant
DRIFT_EXAMPLES = 256
PROBE_EXAMPLES = 500  # to train a probe, and as many to test it
PROBE_C = 0.1  # strength of the probe's fit against its L2 penalty
BATCH_SIZE = 64
SAME = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size")  # what two models must share


def linear_cka(x: Array, y: Array) -> float:
    """Linear centred kernel alignment of two sets of features of the same examples, in [0, 1].

    x: (n, d1), y: (n, d2), n >= 2, finite. ||Y'X||² / (||X'X|| ||Y'Y||), Frobenius norms of
    column-centred float64. 1 for features alike up to rotation, reflection and one scale.
    Features that are constant over the examples (up to `ROUNDING`): 1 where both are, 0 where
    one is. Unrelated features do not give 0 but about d / (n + d) for d1 = d2 = d directions
    of equal variance: compare values of the same n alone. Raises ValueError for other shapes
    and for values that are not finite.
    """
    _check(x, y)
    x, y = _normalised(x), _normalised(y)
    if not (x.any() and y.any()):
        return float(not x.any() and not y.any())
    alignment = np.sum((y.T @ x) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return min(1.0, float(alignment))


def relative_distance(x: Array, y: Array) -> float:
    """Mean over the examples of ||x_i - y_i|| / ||x_i||, at least 0. x: the pre-trained features.

    x, y: (n, d), n >= 2, finite. Raises ValueError for other shapes, values that are not
    finite, and an x_i that is zero.
    """
    _check(x, y)
    if x.shape != y.shape:
        raise ValueError(f"features must have the same shape, but got {x.shape} and {y.shape}")
    x, y = x.astype(np.float64), y.astype(np.float64)
    sizes = np.linalg.norm(x, axis=1)
    if not sizes.all():
        raise ValueError("the pre-trained features of an example are all zero; a distance has no scale")
    return float(np.mean(np.linalg.norm(x - y, axis=1) / sizes))


def _check(x: Array, y: Array) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2:
        raise ValueError(f"features must be (n, d) with one n, at least 2, but got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features must be finite, but got NaN or infinity")


def _normalised(features: Array) -> NDArray[np.float64]:
    """Column-centred, of Frobenius norm 1; zeros for constant features."""
    values = features.astype(np.float64)
    centred: NDArray[np.float64] = values - values.mean(axis=0)
    size = np.linalg.norm(centred)
    return centred / size if size > ROUNDING * np.linalg.norm(values) else np.zeros_like(centred)


def probe(
    train_features: Array, train_labels: Array, test_features: Array, test_labels: Array, task: Task
) -> float:
    """The primary metric of `task` of a linear probe: what a linear model reads off frozen features.

    Features: (n, d); labels: (n,), class ids or numbers. L2-penalised logistic regression, or
    ridge regression, on features standardised by the training ones; nothing is random.
    Raises InputError where the training labels are all one class, an example has several, or a metric is a
    scorer of scikit-learn.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if task.multi_label or are_scored(task):
        rule = "has several labels an example, or a scorer of scikit-learn as metric"
        raise InputError(f"probe-task: {task.name} {rule}; give another task")
    if not task.is_regression and len(np.unique(train_labels)) < 2:
        raise InputError(f"probe-task: the training labels of {task.name} are one class; a probe needs two")
    linear = Ridge(alpha=1 / PROBE_C) if task.is_regression else LogisticRegression(C=PROBE_C, max_iter=1000)
    fitted = make_pipeline(StandardScaler(), linear).fit(train_features, train_labels)
    return METRICS[task.metric](test_labels, fitted.predict(test_features))


def features(
    model: PreTrainedModel, data: Encoded, tokenizer: PreTrainedTokenizerBase, batch_size: int = BATCH_SIZE
) -> list[Features]:
    """The features of `data` by layer: the embeddings, then each block; each (n, hidden), in `data`'s order.

    Hidden states of the encoder without dropout, averaged over the tokens of an example
    (special ones too, padding not). model: an encoder, with a head or without; it keeps its
    device and mode. Raises InputError for an encoder-decoder and where they are not finite.
    """
    if model.config.is_encoder_decoder:
        raise InputError("model: features are read off encoders, but it is an encoder-decoder; give another")
    collate, batches = collator(tokenizer), list(by_length(data, batch_size))
    with _evaluating(model), torch.inference_mode():
        pooled = [_pooled(model, collate(data, indices)) for indices in batches]
    order = np.argsort(np.concatenate(batches))
    layers = [np.concatenate(parts)[order] for parts in zip(*pooled, strict=True)]
    if broken := [number for number, layer in enumerate(layers) if not np.isfinite(layer).all()]:
        raise InputError(f"model: its features are not finite at layer {broken[0]}; give one that converged")
    return layers


def _pooled(model: PreTrainedModel, batch: dict[str, Tensor]) -> list[Features]:
    """The features of one padded batch by layer."""
    inputs = {key: value.to(model.device) for key, value in batch.items() if key != "labels"}
    real = inputs["attention_mask"].unsqueeze(-1).float()
    states = model.base_model(**inputs, output_hidden_states=True).hidden_states
    return [((state.float() * real).sum(dim=1) / real.sum(dim=1)).cpu().numpy() for state in states]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in its mode of before."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@dataclass(frozen=True)
class Drift:
    """How far fine-tuning moved the features by layer: `linear_cka` (1: not at all), `relative_distance`."""

    cka: list[float]
    distance: list[float]


def drift(
    pretrained: PreTrainedModel,
    finetuned: PreTrainedModel,
    data: Encoded,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int = BATCH_SIZE,
) -> Drift:
    """Compares the features that two models have for `data`.

    Raises InputError where they differ in one of `SAME` or there is a single example.
    """
    before, after = ([getattr(m.config, name, None) for name in SAME] for m in (pretrained, finetuned))
    if before != after:
        rule = f"must have the {', '.join(SAME)} of the pre-trained one, {before}"
        raise InputError(f"model: it {rule}, but has {after}; compare it with what it was fine-tuned from")
    if len(data) < 2:
        raise InputError(f"data: features are compared over 2 examples or more, but there is {len(data)}")
    both = [features(model, data, tokenizer, batch_size) for model in (pretrained, finetuned)]
    pairs = list(zip(*both, strict=True))
    return Drift([linear_cka(x, y) for x, y in pairs], [relative_distance(x, y) for x, y in pairs])


def sample(data: TaskData, split: str, most: int) -> Encoded:
    """At most `most` examples of a split, stratified, always the same; only they are tokenised."""
    dataset = data.source.load(data.task, split)
    labels = np.asarray(dataset[LABEL])
    if len(labels) > most:
        dataset = dataset.select(stratified(data.task, labels, most, SUBSET_SEED)[0])
    return encode(dataset, data.task, data.tokenizer, data.max_length)


def collapse(
    base: Base, model: PreTrainedModel, data: TaskData, probe_data: TaskData, batch_size: int = BATCH_SIZE
) -> dict[str, float]:
    """Drift and probes of one fine-tuned model, by name.

    base: the pre-trained encoder. model: what became of it, on any device. data: the task it
    was fine-tuned on, of whose main dev set `DRIFT_EXAMPLES` are compared. probe_data: a
    second task, tokenised alike; `PROBE_EXAMPLES` train a probe, as many of dev test it.
    Names: cka_layer_I and distance_layer_I from layer 0, the embeddings; cka_last and
    distance_last; probe_TASK_METRIC, and with _pretrained after it that of the pre-trained model.
    """
    pretrained = base.build(seed=0, dropout=0.0).to(model.device)  # type: ignore[arg-type]
    compared = sample(data, data.task.dev_splits[0], DRIFT_EXAMPLES)
    moved = drift(pretrained, model, compared, base.tokenizer, batch_size)
    found: dict[str, float] = {}
    for name, values in (("cka", moved.cka), ("distance", moved.distance)):
        found |= {f"{name}_layer_{i}": value for i, value in enumerate(values)} | {f"{name}_last": values[-1]}
    task = probe_data.task
    train, test = (sample(probe_data, split, PROBE_EXAMPLES) for split in ("train", task.dev_splits[0]))
    for ending, encoder in (("", model), ("_pretrained", pretrained)):
        x, y = (features(encoder, part, base.tokenizer, batch_size)[-1] for part in (train, test))
        found[f"probe_{task.name}_{task.metric}{ending}"] = probe(x, train.labels, y, test.labels, task)
    return found


def table(found: dict[str, float], probe_task: Task) -> str:
    """What `collapse` returned, to be read: a line a layer, then the probe."""
    lines = ["layer     cka  distance"]
    for i in range(sum(name.startswith("cka_layer_") for name in found)):
        lines.append(f"{i:5}  {found[f'cka_layer_{i}']:.4f}  {found[f'distance_layer_{i}']:8.4f}")
    name = f"probe_{probe_task.name}_{probe_task.metric}"
    lines += ["", f"probe on the last layer: {probe_task.name} ({probe_task.metric})"]
    lines += [f"  pre-trained  {found[name + '_pretrained']:7.4f}", f"  fine-tuned   {found[name]:7.4f}"]
    return "\n".join(lines)


def _parser() -> ArgumentParser:
    parser = Parser("python -m dps.probing", description=__doc__)
    parser.formatter_class = RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--model", required=True, metavar="DIR", help="the fine-tuned model, as save_pretrained writes it")
    add("--base", default="builtin", metavar="builtin|NAME|DIR", help="the model it was fine-tuned from")
    add("--task", required=True, help=f"the task it was fine-tuned on: {', '.join(tasks.GLUE)}, or YAML")
    add("--data", default="builtin", metavar="builtin|hub|DIR", help="the data of both tasks")
    add("--probe-task", required=True, metavar="TASK", help="the task of the probe")
    add("--max-length", type=int, default=128, metavar="N", help="tokens an example is cut at")
    add("--json", action="store_true", help="print the numbers as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status, 0 or 2 (wrong options or input)."""
    return command(_probe, _parser(), argv)


def _probe(options: Namespace) -> None:
    if options.max_length < 1:
        raise InputError(f"--max-length must be above 0, but got {options.max_length}")
    task, probe_task = tasks.get(options.task), tasks.get(options.probe_task)
    model = read_finetuned(options.model)
    base = Base(locate(options.base), task)
    source = sources.open_source(options.data, task)
    probed, data = (TaskData(t, source, base.tokenizer, options.max_length) for t in (probe_task, task))
    found = collapse(base, model, data, probed)
    print(json.dumps(found, indent=2) if options.json else table(found, probe_task))


if __name__ == "__main__":
    sys.exit(main())
