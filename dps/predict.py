"""Predict with a fine-tuned model, or an ensemble: labels with probabilities, or the number of a regression.

examples:
    python -m dps.predict --model runs/tickets-20261126-090000/best --text "It crashes at every start."
    python -m dps.predict --model best --text "Is it free?" --text2 "Yes, it costs nothing."
    python -m dps.predict --model ensemble --file new.csv --output predictions.jsonl

Prints one JSON object per example, in order: {"label": "bug", "probabilities": {"billing": 0.02, "bug":
0.98}}, or {"value": 3.7} for a regression. A multi-label model gives {"labels": ["bug", "praise"], ...}:
those whose probability exceeds the threshold in the model's task.yaml, else 0.5; with two classes, the second
is predicted above it. An ensemble is the folder that a search with --ensemble leaves: probabilities are means
over its models. A file needs the text columns of the model's task; labels are not read.
"""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dps.command import CommandParser, parse_path, run_command
from dps.distributed import get_device
from dps.errors import InputError
from dps.lazy import torch
from dps.models import count_readable_tokens, list_models, load_finetuned_model, measure_lengths
from dps.paths import DATA_SUFFIXES, write_text_file
from dps.sources.examples import check_text, make_column_error
from dps.sources.readers import check_suffix, get_data_origin, read_rows
from dps.tasks.definition import SURROGATE_PATTERN, TASK_FILE_NAME, read_task_file
from dps.tasks.metrics import average_logits, compute_probabilities
from dps.tasks.task import EVEN_THRESHOLD
from dps.text import format_json_line, quote_value
from dps.training.data import PaddingCollator, batch_by_length
from dps.training.tokens import EncodedExamples, tokenise_texts
from dps.wording import format_count

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PREDICTION_BATCH_SIZE = 64

Texts = tuple[str, ...]  # one text, or two
Examples = str | Iterable[str | Sequence[str]]


@dataclass(frozen=True)
class Predictor:
    """Fine-tuned model with its tokenizer, or an ensemble, ready to predict.

    models: one, or those of an ensemble, which share all else.
    columns: text columns of its task; None if the folder does not name them.
    labels: class names in the order of their ids; empty for regression.
    multi_label: whether an example may have several labels.
    threshold: probability above which the second of two classes, or a label, is said.
    """

    models: tuple[PreTrainedModel, ...]
    tokenizer: PreTrainedTokenizerBase
    columns: Texts | None
    labels: Texts
    multi_label: bool = False
    threshold: float = EVEN_THRESHOLD

    @classmethod
    def load(cls, folder: str) -> Predictor:
        """Load the model in a folder that a search or `save_pretrained` wrote, or the ensemble in it.

        Raises InputError for a folder without a complete fine-tuned model.
        """
        first, *others = (cls._load_one(str(path)) for path in list_models(Path(folder)))
        for other in others:
            if replace(other, models=first.models, tokenizer=first.tokenizer) != first or (
                other.max_length != first.max_length
            ):
                raise InputError(f"--model: {folder}: its models are of different tasks; copy it again")
        return replace(first, models=tuple(model for each in (first, *others) for model in each.models))

    @classmethod
    def _load_one(cls, folder: str) -> Predictor:
        model, tokenizer = load_finetuned_model(folder)
        model.to(get_device())  # type: ignore[arg-type]
        config: Any = model.config
        file = Path(folder) / TASK_FILE_NAME
        classified = config.num_labels > 1 and config.problem_type != "regression"
        labels = tuple(str(config.id2label[i]) for i in range(config.num_labels)) if classified else ()
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            rule = f"two classes have the name {quote_value(twice)}"
            raise InputError(f"--model: {folder}: {rule}; give each its own in id2label of config.json")
        task = read_task_file(file) if file.is_file() else None
        columns, threshold = (task.columns, task.threshold) if task else (None, EVEN_THRESHOLD)
        multi_label = config.problem_type == "multi_label_classification"
        return cls((model,), tokenizer, columns, labels, multi_label, threshold)

    @property
    def max_length(self) -> int:
        """Tokens that an example is cut at: as in training, if the folder says so."""
        return min(self.tokenizer.model_max_length, count_readable_tokens(self.models[0]))

    def count_cut(self, examples: Sequence[Texts]) -> int:
        """Return how many of n >= 1 examples have more than `max_length` tokens."""
        columns = {"": [list(column) for column in zip(*examples, strict=True)]}
        limit = self.max_length
        return measure_lengths(columns, lambda: self.tokenizer, limit, limit).cut.get("", 0)

    def compute_logits(self, examples: Examples) -> NDArray[np.float32]:
        """Return the logits of n >= 1 examples, see `predict`: (n, classes), or (n, 1) for regression."""
        texts = self.read_examples(examples)
        columns = [list(column) for column in zip(*texts, strict=True)]
        tokens = tokenise_texts(columns, self.tokenizer, self.max_length)
        data = EncodedExamples.from_tokens(tokens, np.zeros(len(texts), dtype=np.int64))
        collate, batches = PaddingCollator(self.tokenizer), list(batch_by_length(data, PREDICTION_BATCH_SIZE))
        with torch.inference_mode():
            parts = [self._predict_batch(collate(data, indices)) for indices in batches]
        return np.concatenate(parts)[np.argsort(np.concatenate(batches))]

    def read_examples(self, examples: Examples) -> list[Texts]:
        """Return the texts of each example, as many as the model's task has columns. See `predict`."""
        rows = _list_examples(examples)
        texts = [(row,) if isinstance(row, str) else row for row in rows]
        count = len(self.columns) if self.columns else None
        for number, row in enumerate(texts):
            count = count or (len(row) if isinstance(row, (tuple, list)) else 1)
            _check_example(number, row, count)
        return [tuple(row) for row in texts]

    def _predict_batch(self, batch: dict[str, torch.Tensor]) -> NDArray[np.float32]:
        inputs = {key: value.to(get_device()) for key, value in batch.items() if key != "labels"}
        logits = [model(**inputs).logits.float().cpu().numpy() for model in self.models]
        mean = average_logits(np.stack(logits), self.multi_label) if len(logits) > 1 else logits[0]
        return mean.astype(np.float32)

    def predict(self, examples: Examples) -> list[dict[str, Any]]:
        """Return one dict an example: its label (or labels) with probabilities, or its value.

        examples: one text; an iterable of texts; or an iterable of tuples or lists, each of which holds the
            texts of `columns`, one or two. See the module for the keys of the answers.

        Raises InputError naming the example that is none of these, or empty.
        """
        texts = self.read_examples(examples)
        if not texts:
            return []
        logits = self.compute_logits(texts)
        if not self.labels:
            return [{"value": float(row[0])} for row in logits]
        predictions: list[dict[str, Any]] = []
        for row in compute_probabilities(logits, self.multi_label):
            probabilities = dict(zip(self.labels, map(float, row), strict=True))
            above = [label for label, probability in probabilities.items() if probability > self.threshold]
            said = self.labels[int(row[1] > self.threshold if len(row) == 2 else row.argmax())]
            label = {"labels": above} if self.multi_label else {"label": said}
            predictions.append({**label, "probabilities": probabilities})
        return predictions


def _list_examples(examples: Any) -> list[Any]:
    """Return the examples. Raises InputError for what is neither a text nor a sequence of examples."""
    if isinstance(examples, str):
        return [examples]
    is_table = isinstance(examples, Mapping | Set) or hasattr(examples, "columns")  # yields its keys
    if is_table or isinstance(examples, bytes) or not isinstance(examples, Iterable):
        kind = type(examples).__name__
        raise InputError(f"examples: must be a text or a list of examples, but got a {kind}; give a list")
    return list(examples)


def _check_example(number: int, texts: Any, count: int) -> None:
    """Raise InputError unless `texts` is a tuple or list of `count` texts that are not empty."""
    what = "a text" if count == 1 else "a tuple of 2 texts" if count == 2 else "a text, or a tuple of 2"
    if not isinstance(texts, (tuple, list)) or len(texts) != count or count not in (1, 2):
        raise InputError(f"example {number}: must be {what}, but is {quote_value(texts)}")
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"example {number}: must be {what}, but has {quote_value(text)}; give a text")
        if SURROGATE_PATTERN.search(text):
            raise InputError(f"example {number}: has half a surrogate pair: {quote_value(text)}")


def read_example_texts(file: Path, columns: Texts | None) -> list[Texts]:
    """Return the texts of a file, row by row. Raises InputError naming file, line and column."""
    if columns is None:
        raise InputError(
            f"--file: the model's folder has no {TASK_FILE_NAME}, which names the columns; use --text"
        )
    if not file.is_file():
        raise InputError(f"--file: there is no {file}; give a {', '.join(DATA_SUFFIXES)} file")
    origin, examples = get_data_origin(file), list[Texts]()
    for row in read_rows(file):
        if row.problem:
            raise origin.make_error(row.number, row.problem)
        if missing := [column for column in columns if column not in row.values]:
            raise make_column_error(origin, row, missing[0])
        try:
            examples.append(tuple(check_text(column, row.values[column]) for column in columns))
        except InputError as error:
            raise origin.make_error(row.number, str(error)) from None
    if not examples:
        raise InputError(f"--file: {file} has no rows; at least one is needed")
    return examples


def _collect_examples(options: Namespace, columns: Texts | None) -> list[Texts]:
    """Return the examples of --text and --text2, or of --file."""
    if options.file is not None:
        return read_example_texts(Path(options.file), columns)
    columns_of_texts = [options.text] if options.text2 is None else [options.text, options.text2]
    if columns is not None and len(columns) != len(columns_of_texts):
        names = ", ".join(columns)
        advice = "give --text2 too" if len(columns) == 2 else "leave out --text2"
        raise InputError(
            f"--text2: the model reads {format_count(len(columns), 'text')} per example ({names}); {advice}"
        )
    if len(options.text) != len(options.text2 or options.text):
        rule = f"must have as many texts as --text, {len(options.text)}"
        raise InputError(f"--text2: {rule}, but got {len(options.text2)}")
    for option, texts in zip(("--text", "--text2"), columns_of_texts, strict=False):
        if not all(text.strip() for text in texts):
            raise InputError(f"{option}: must not be empty; give a text")
    return list(zip(*columns_of_texts, strict=True))


def _make_parser() -> CommandParser:
    parser = CommandParser("python -m dps.predict", __doc__)
    add = parser.add_argument
    add(
        "--model",
        type=parse_path,
        required=True,
        metavar="DIR",
        help="fine-tuned model or ensemble, such as best/ or ensemble/ of a search",
    )
    add("--text", nargs="+", metavar="TEXT", help="texts, one per example")
    add("--text2", nargs="+", metavar="TEXT", help="second text of each example, for pairs")
    add(
        "--file",
        type=parse_path,
        metavar="FILE",
        help=f"{', '.join(DATA_SUFFIXES)} file with the task's text columns",
    )
    add(
        "--output",
        type=parse_path,
        metavar="FILE",
        help="write JSON lines to this file (default: print them)",
    )
    return parser


def _check_output(output: Path, options: Namespace) -> None:
    """Raise InputError for an --output that would overwrite what is read."""
    path, folder = output.resolve(), Path(options.model).resolve()
    read = options.file is not None and path == Path(options.file).resolve()
    if read or (path.is_file() and folder in path.parents):
        what = "the file of --file" if read else "a file of the model"
        raise InputError(f"--output: {output} is {what}, which it would overwrite; choose another file")


def _check_inputs(options: Namespace) -> None:
    """Raise InputError unless exactly one of --text, with --text2 for pairs, and --file is given."""
    if options.text2 is not None and options.text is None:
        raise InputError("--text2: is the second text of each example; give the first ones with --text")
    if (options.text is None) == (options.file is None):
        raise InputError("--text, --file: give exactly one of them")
    if options.file is not None and Path(options.file).is_file():
        try:
            check_suffix(Path(options.file))
        except InputError as error:
            raise InputError(f"--file: {error}") from None


def _load_predictor(folder: str) -> Predictor:
    try:
        return Predictor.load(folder)
    except InputError as error:  # one of the library names an argument, which is an option here
        raise InputError(re.sub(r"^model: ", "--model: ", str(error))) from None


def _predict(options: Namespace) -> None:
    _check_inputs(options)
    if options.output is not None:
        if not Path(options.output).name:
            raise InputError(f"--output: must be a file, but got {options.output!r}")
        _check_output(Path(options.output), options)
    predictor = _load_predictor(options.model)
    examples = _collect_examples(options, predictor.columns)
    if cut := predictor.count_cut(examples):
        rule = f"have more than the {predictor.max_length} tokens that the model reads; they are cut"
        print(f"warning: {cut:,} of {len(examples):,} examples {rule}", file=sys.stderr)
    predictions = predictor.predict(examples)
    lines = "".join(format_json_line(prediction) + "\n" for prediction in predictions)
    if options.output is None:
        print(lines, end="")
        return
    try:
        write_text_file(Path(options.output), lines)
    except OSError as error:
        rule = f"cannot write {options.output}: {error.strerror}; choose another file"
        raise InputError(f"--output: {rule}") from None
    print(f"{format_count(len(predictions), 'prediction')}: {options.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, or 2 for wrong options or input."""
    return run_command(_predict, _make_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
