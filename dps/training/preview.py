"""Preview of a run: its sizes, and the inputs with which it would fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps.attachment.losses import check_loss
from dps.methods import METHODS
from dps.models import (
    USUAL_TOKENS,
    ModelDraft,
    ModelFolder,
    TextLengths,
    load_tokenizer,
    make_head_config,
)
from dps.sources.examples import fingerprint_examples
from dps.tasks.chance import chance_level, check_labels_differ, check_metrics_rank
from dps.tasks.examples import ExampleTable
from dps.tasks.metrics import check_threshold
from dps.tasks.splits import HOLDOUT_NAME, choose_examples, hold_out_texts, number_examples, number_texts
from dps.tasks.task import GROUP_COLUMN, LABEL_COLUMN, Task
from dps.training.config import FineTuneConfig
from dps.training.inputs import ExampleSet, choose_max_length, load_example_sets
from dps.training.rehearsal import rehearse_step

if TYPE_CHECKING:
    from dps.sources.base import Source

WORD_SAMPLE_SIZE = 200  # examples


@dataclass(frozen=True)
class RunPreview:
    """Preview of a run.

    examples: number of examples by split, after `train_size`.
    scored_examples: number of examples of each evaluation.
    max_steps: optimizer steps.
    full_max_steps: those of the same run with select_on="dev", which trains on the held-out slice too unless
        it has patience.
    mean_words: mean number of words of a training example.
    chance_level: see `dps.tasks.chance`.
    lengths: tokens that an example is cut at, and what is longer.
    notes: what is to be known of the model.
    fingerprints: of all examples by split, see `dps.sources.examples.fingerprint_examples`; those of other
        tasks (`transfer`, `probe`) by "task/split".
    label_counts: number of training examples by class or label, after `train_size`; empty for a regression.
    label_notes: how the labels of a split were read, where that is not by their names.
    shared_texts: number of examples of dev whose texts are among the training examples too.
    groups: number of groups of the training examples.
    shared_groups: number of examples of dev whose group is one of them.
    """

    examples: dict[str, int]
    scored_examples: int
    max_steps: int
    full_max_steps: int
    mean_words: float
    chance_level: float
    lengths: TextLengths = field(default_factory=lambda: TextLengths(USUAL_TOKENS, {}))
    notes: tuple[str, ...] = ()
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    label_counts: Mapping[str, int] = field(default_factory=dict)
    label_notes: Mapping[str, str] = field(default_factory=dict)
    shared_texts: int = 0
    groups: int = 0
    shared_groups: int = 0


def preview_run(
    config: FineTuneConfig, task: Task, source: Source, model: ModelFolder, methods: Sequence[str] = ()
) -> RunPreview:
    """Preview a run from its data and the limits of its model.

    methods: names of those that the model will be trained with.

    Raises InputError for data and values with which the run would fail or learn nothing, and for a method
    that cannot take the model.
    """
    check_loss(
        config.loss, task, [type(config.method), *(METHODS[name] for name in methods)], config.label_smoothing
    )
    check_threshold(config.threshold, task)
    sets = load_example_sets(config, task, source)
    splits = {each.split: each.examples for each in sets[: len(task.splits)]}
    labels = {split: np.asarray(examples[LABEL_COLUMN]) for split, examples in splits.items()}
    for split, values in labels.items():
        check_labels_differ(task, split, values)
    every = labels.pop("train")
    subset = choose_examples(task, every, config.train_size, config.shots, config.seed)
    train = every[subset]
    trained, scored_slice, scored = len(train), "dev", labels["dev"]
    texts = number_texts([splits["train"][name] + splits["dev"][name] for name in task.columns])
    train_texts, dev_texts = texts[subset], texts[len(every) : len(every) + len(scored)]
    together = number_examples(task, splits["train"])[subset]
    if config.holds_out:
        kept, held_out = hold_out_texts(task, train, together, config.holdout_share, config.seed)
        trained, scored_slice, scored = len(kept), HOLDOUT_NAME, train[held_out]
    for set_name, values in {**labels, scored_slice: scored}.items():
        check_metrics_rank(task, set_name, values)
    lengths, notes = _try_model(config, task, sets, model, methods)
    return RunPreview(
        examples={"train": len(train), **{split: len(values) for split, values in labels.items()}},
        scored_examples=len(scored),
        max_steps=config.steps(trained),
        full_max_steps=config.steps(len(train) if config.patience is None else trained),
        mean_words=_count_mean_words(task, splits["train"]),
        chance_level=chance_level(task, every),
        lengths=lengths,
        notes=tuple(notes),
        fingerprints={
            each.split if each.task == task else f"{each.task.name}/{each.split}": fingerprint_examples(
                each.task, each.examples
            )
            for each in sets
        },
        label_counts=_count_labels(task, train),
        label_notes={split: examples.label_note for split, examples in splits.items() if examples.label_note},
        shared_texts=int(np.isin(dev_texts, train_texts).sum()),
        groups=len(set(_read_groups(task, splits["train"])[subset]) - {""}),
        shared_groups=_count_shared(
            _read_groups(task, splits["dev"]), _read_groups(task, splits["train"])[subset]
        ),
    )


def _read_groups(task: Task, examples: ExampleTable) -> NDArray[np.str_]:
    """Return the group of each example (n,), "" for none."""
    return np.array(examples[GROUP_COLUMN]) if task.group else np.zeros(len(examples), dtype=np.str_)


def _count_shared(groups: NDArray[np.str_], others: NDArray[np.str_]) -> int:
    """Return how many groups are among the others, each as often as it occurs; "" is none."""
    return int((np.isin(groups, others) & (groups != "")).sum())


def _count_labels(task: Task, labels: NDArray[Any]) -> dict[str, int]:
    if task.is_regression:
        return {}
    counts = labels.sum(axis=0) if task.multi_label else np.bincount(labels, minlength=len(task.labels))
    return dict(zip(task.labels, counts.astype(int).tolist(), strict=True))


def _try_model(
    config: FineTuneConfig,
    task: Task,
    sets: Sequence[ExampleSet],
    model: ModelFolder,
    methods: Sequence[str],
) -> tuple[TextLengths, list[str]]:
    """Choose the tokens of an example, and run a step of the longest ones; return notes on the model too.

    The built-in model, whose parts are known to fit, is not loaded.
    """
    if model.kind == "builtin":
        limit = int(model.read_config()["max_position_embeddings"])
        get_tokenizer = partial(load_tokenizer, model)
        return choose_max_length(config, sets, model.name, limit, limit, get_tokenizer), []
    draft = ModelDraft.read(model, make_head_config(task))
    lengths = choose_max_length(
        config, sets, model.name, draft.max_tokens, draft.readable_tokens, lambda: draft.tokenizer
    )
    own = [each.examples for each in sets if each.task == task]
    return lengths, rehearse_step(model, task, own, lengths.max_length, methods)


def _count_mean_words(task: Task, train: ExampleTable) -> float:
    sample = train[:WORD_SAMPLE_SIZE]
    words = sum(len(text.split()) for column in task.columns for text in sample[column])
    return words / min(WORD_SAMPLE_SIZE, len(train))
