"""Inputs of a run: the pre-trained encoder and the examples of its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dps.errors import InputError
from dps.models import PretrainedEncoder, TextLengths, locate_model, measure_lengths
from dps.sources import open_data_source
from dps.tasks.examples import ExampleTable
from dps.tasks.registry import get_task
from dps.tasks.task import Task
from dps.tasks.transfer import get_transfer_target
from dps.training.data import TaskData
from dps.training.tokens import TokenCache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from dps.sources.base import Source
    from dps.training.config import FineTuneConfig


class RunInputs(NamedTuple):
    """Pre-trained encoder, and the task's examples encoded by its tokenizer."""

    base: PretrainedEncoder
    data: TaskData


def load_run_inputs(
    task: str | Task,
    data: str | None,
    model: str,
    max_length: int,
    cache: TokenCache | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> RunInputs:
    """Read the weights of a model and open the data of a task; see `dps.FineTuneConfig` for the values.

    cache: keeps tokenised examples.
    fingerprints: of the data by split, where they are known; see `TaskData`.

    Raises InputError for unusable values and data.
    """
    task = get_task(task)
    base = PretrainedEncoder(locate_model(model), task)
    source = open_data_source(data, task)
    return RunInputs(base, TaskData(task, source, base.tokenizer, max_length, cache, fingerprints))


def load_measured_inputs(config: FineTuneConfig) -> tuple[RunInputs, TextLengths]:
    """Load the inputs of a configuration, with the tokens that `choose_max_length` chooses."""
    task = get_task(config.task)
    base, source = PretrainedEncoder(locate_model(config.model), task), open_data_source(config.data, task)
    sets = load_example_sets(config, task, source)
    lengths = choose_max_length(
        config, sets, base.name, base.max_tokens, base.readable_tokens, lambda: base.tokenizer
    )
    return RunInputs(base, TaskData(task, source, base.tokenizer, lengths.max_length)), lengths


class ExampleSet(NamedTuple):
    """Examples that a run reads: a split of its own task or of another one. name: for messages."""

    name: str
    task: Task
    split: str
    examples: ExampleTable


def load_example_sets(config: FineTuneConfig, task: Task, source: Source) -> list[ExampleSet]:
    """Load all that a run reads: the splits of its task, then what `transfer` and `probe` name.

    Raises InputError for data that cannot be used.
    """
    used = [(split, task, split) for split in task.splits]
    used += [(target.name, target.task, target.split) for target in map(get_transfer_target, config.transfer)]
    if config.probe is not None:
        probe = get_task(config.probe)
        used += [(f"{config.probe} {split}", probe, split) for split in ("train", probe.dev_splits[0])]
    return [ExampleSet(name, of, split, source.load(of, split)) for name, of, split in used]


def choose_max_length(
    config: FineTuneConfig,
    sets: Sequence[ExampleSet],
    model: str,
    max_tokens: int | None,
    readable_tokens: int,
    load_tokenizer: Callable[[], PreTrainedTokenizerBase],
) -> TextLengths:
    """Return the tokens of an example, from the configuration or from all texts of a run, and what is cut.

    sets: what the run reads. model: its name. max_tokens, readable_tokens: see `PretrainedEncoder`.

    Raises InputError for a max_length above max_tokens.
    """
    if config.max_length is not None and max_tokens is not None and config.max_length > max_tokens:
        problem = f"takes at most {max_tokens} tokens, but got {config.max_length}; lower it"
        raise InputError(f"--max-length: {model!r} {problem}")
    texts = {each.name: [each.examples[column] for column in each.task.columns] for each in sets}
    return measure_lengths(texts, load_tokenizer, readable_tokens, config.max_length)
