"""Rehearsal of a run: one step of the longest texts on this machine's CPU, before anything starts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import psutil

from dps.errors import InputError
from dps.lazy import nn, torch
from dps.methods import attachment_of, make_method
from dps.models import ModelFolder, PretrainedEncoder
from dps.tasks.examples import ExampleTable
from dps.tasks.task import Task
from dps.text import quote_value
from dps.training.data import PaddingCollator
from dps.training.tokens import encode_dataset

REHEARSED_EXAMPLES = 2
MANY_STEPS = 1000  # of a run in which every method has room for its stages
BYTES_PER_WEIGHT = 16  # the model, its copy, the gradients, the rest
FLOPS_PER_WEIGHT = 6  # of a forward and a backward pass, by token
MAX_FLOPS = 3e12  # a minute on a slow core


def rehearse_step(
    model: ModelFolder, task: Task, splits: Sequence[ExampleTable], max_length: int, methods: Sequence[str]
) -> list[str]:
    """Run a forward and a backward pass of the longest examples of a task; return notes on the model.

    It is not run where the model is too large for this machine: a note says so. The methods are attached to
    the model, with the values that they have by default.

    Raises InputError if the model cannot be loaded, if a pass fails, if the loss is not finite, and for a
    method that cannot take the model.
    """
    weights = model.count_parameters()
    if reason := _find_obstacle(weights, max_length):
        return [f"no step was tried here: {weights:,} weights {reason}"]
    base = PretrainedEncoder(model, task)
    data = encode_dataset(_choose_longest(splits, task), task, base.tokenizer, max_length)
    batch = PaddingCollator(base.tokenizer)(data, np.arange(len(data)))
    with torch.random.fork_rng(devices=[]):
        try:
            built = base.build(0, 0.0).train()
            loss = built(**batch).loss
            loss.backward()
        except Exception as error:  # each model has errors of its own
            text = quote_value(" ".join(str(error).split()), 200)
            raise InputError(
                f"model: {model.name!r} fails on the longest texts, {int(data.lengths().max())} tokens "
                f"({type(error).__name__}: {text}); {_advise(base, batch)}"
            ) from error
    if not loss.isfinite():
        raise InputError(
            f"model: the loss of {model.name!r} on the longest texts is {loss.item()}; its weights are broken"
        )
    _attach_methods(methods, built)
    return ["its head was trained for something else and starts anew"] if base.replaces_head else []


def _attach_methods(methods: Sequence[str], model: nn.Module) -> None:
    """Attach each method to the model and detach it. Raises InputError for one that cannot take the model."""
    for name in methods:
        optimizer = torch.optim.SGD(model.parameters(), 0.0)
        try:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")  # of a run, which says it again
                make_method(name).attach(model, optimizer, MANY_STEPS)
        except ValueError as error:
            raise InputError(f"--method: {error}") from error
        attachment = attachment_of(optimizer)
        assert attachment is not None
        attachment.detach()


def _find_obstacle(weights: int, max_length: int) -> str | None:
    """Return why a step of a model cannot be run on this machine, None if it can."""
    available, needed = psutil.virtual_memory().available, BYTES_PER_WEIGHT * weights
    if needed > available:
        return f"need {needed / 2**30:.1f} GiB, but {available / 2**30:.1f} are free"
    if FLOPS_PER_WEIGHT * weights * REHEARSED_EXAMPLES * max_length > MAX_FLOPS:
        return f"and {max_length} tokens take minutes on a CPU"
    return None


def _choose_longest(splits: Sequence[ExampleTable], task: Task) -> ExampleTable:
    """Return the longest examples of the split that has the longest one."""
    sizes = []
    for examples in splits:
        columns = [examples[column] for column in task.columns]
        sizes.append(np.array([sum(map(len, texts)) for texts in zip(*columns, strict=True)]))
    chosen = max(range(len(splits)), key=lambda number: sizes[number].max())
    return splits[chosen].select(np.argsort(sizes[chosen], kind="stable")[-REHEARSED_EXAMPLES:])


def _advise(base: PretrainedEncoder, batch: dict[str, torch.Tensor]) -> str:
    kinds, kind = getattr(base.config, "type_vocab_size", None), batch.get("token_type_ids")
    if kinds and kind is not None and int(kind.max()) >= kinds:
        return (
            f"its tokenizer gives token_type_ids up to {int(kind.max())}, but the model knows {kinds} of "
            f"them; take them from model_input_names in tokenizer_config.json"
        )
    return "lower --max-length, or give another model"
