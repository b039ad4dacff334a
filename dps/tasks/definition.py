"""User-defined tasks, read from YAML files and written to them:

    name: tickets                # letters, digits, dot, dash, underscore
    columns: text                # or two of them: [question, answer]
    label: team                  # column of the label (default: label)
    kind: classification         # or regression, or multi-label: an example has any number of the labels
    labels: [billing, bug, praise]
    separator: "|"               # between the labels of an example, in files without lists
    group: author                # column whose equal values stay on one side of every split
    threshold: 0.5               # probability above which the second of two classes, or a label, is said
    metric: macro_f1             # or several, the first one ranks (default: macro_f1, pearson, micro_f1);
                                 # scikit-learn's scorers too, such as neg_log_loss
    range: [0, 5]                # of a regression's label, if it has one
    files: {train: train.csv, dev: dev.csv}  # beside this file; without dev, a fifth of train is split off
    hub: owner/name              # instead of files; or {name: owner/name, config: ..., train: ..., dev: ...}

Without files and hub, the examples are in the folder that `data` names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dps.errors import InputError, suggest_name
from dps.paths import DATA_SUFFIXES, expand_home, write_text_file
from dps.tasks.metrics import METRICS, TUNED_THRESHOLD, check_threshold, list_fitting_metrics
from dps.tasks.scorers import is_fitting_scorer, suggest_scorers
from dps.tasks.task import EVEN_THRESHOLD, LABEL_COLUMN, LABEL_SEPARATOR, DataLocation, Task
from dps.text import quote_value
from dps.yaml_text import parse_yaml

TaskDocument = dict[str, Any]

TASK_FILE_NAME = "task.yaml"  # written beside a fine-tuned model
TASK_KINDS = ("classification", "regression", "multi-label")
DEFINITION_KEYS = (
    "name", "columns", "label", "kind", "labels", "separator", "metric", "range", "threshold", "group",
    "files", "hub",
)  # fmt: skip
KINDS_BY_KEY = {
    "labels": ("classification", "multi-label"),
    "separator": ("multi-label",),
    "range": ("regression",),
}
DEFINITION_SPLITS = ("train", "dev")
TASK_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SURROGATE_PATTERN = re.compile("[\ud800-\udfff]")
HUB_NAME_PATTERN = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def read_task_file(file: Path) -> Task:
    """Read a task from a YAML file. Raises InputError naming file, key and rule."""
    try:
        document = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise InputError(f"task: cannot read {file}: {' '.join(str(error).split())}") from None
    try:
        return parse_definition(document, file)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def parse_definition(document: object, file: Path | None = None) -> Task:
    """Build a task from a parsed YAML document.

    file: its YAML file, where relative data paths start; None for a document without data.

    Raises InputError naming key, value and rule.
    """
    keys = _check_keys("", document, DEFINITION_KEYS)
    kind = _parse_kind(keys)
    labels = () if kind == "regression" else _parse_labels(keys)
    multi_label = kind == "multi-label"
    columns = _parse_columns(keys)
    task = Task(
        name=_parse_name(keys),
        columns=columns,
        labels=labels,
        metrics=_parse_metrics(keys, labels, multi_label),
        score_range=_parse_range(keys, kind),
        label=_parse_label_column(keys, columns),
        data_location=_parse_data(keys, file),
        multi_label=multi_label,
        separator=_parse_separator(keys, labels) if multi_label else LABEL_SEPARATOR,
        group=_parse_group(keys),
    )
    threshold = keys.get("threshold")
    if threshold == TUNED_THRESHOLD:
        raise InputError("threshold: must be a probability in (0, 1); --threshold tuned chooses it")
    check_threshold(threshold, task)
    return task.with_threshold(threshold)


def make_definition(task: Task) -> TaskDocument:
    """Return the document that `parse_definition` builds this task from, without the location of its data."""
    document: TaskDocument = {"name": task.name, "columns": list(task.columns), "label": task.label}
    document["kind"] = get_task_kind(task)
    if task.labels:
        document["labels"] = list(task.labels)
    if task.multi_label:
        document["separator"] = task.separator
    document["metric"] = list(task.metrics)
    if task.score_range is not None:
        document["range"] = list(task.score_range)
    if task.group:
        document["group"] = task.group
    if task.threshold != EVEN_THRESHOLD:
        document["threshold"] = task.threshold
    return document


def get_task_kind(task: Task) -> str:
    """Return the kind of a task, one of `TASK_KINDS`."""
    return "multi-label" if task.multi_label else TASK_KINDS[task.is_regression]


def write_task_file(task: Task, file: Path, data: TaskDocument | None = None) -> None:
    """Write the YAML file of a task. data: its `files` or `hub`. Raises OSError."""
    write_text_file(file, format_task_file(task, data))


def format_task_file(task: Task, data: TaskDocument | None = None) -> str:
    """Return the content of the YAML file of a task. data: its `files` or `hub`."""
    document = {**make_definition(task), **(data or {})}
    readable = json.dumps(document, ensure_ascii=False).isprintable()  # YAML folds some others
    return yaml.safe_dump(
        document, sort_keys=False, allow_unicode=readable, width=100, default_flow_style=None
    )


def _check_keys(parent: str, document: object, known: Sequence[str]) -> TaskDocument:
    """Return the keys that have a value; all must be known. parent: key of the mapping, "" for the whole."""
    if not isinstance(document, dict):
        raise InputError(f"{parent or 'a task'} must be `key: value` lines, but got {quote_value(document)}")
    for key in document:
        if key in known:
            continue
        advice = suggest_name(str(key), known, f"the keys are {', '.join(known)}")
        raise InputError(f"{parent + ': ' if parent else ''}there is no key {quote_value(key)}; {advice}")
    return {key: value for key, value in document.items() if value is not None}


def _get_required(document: TaskDocument, key: str, rule: str) -> Any:
    if key not in document:
        raise InputError(f"{key}: is missing; give {rule}")
    return document[key]


def _parse_name(document: TaskDocument) -> str:
    name = str(_get_required(document, "name", "the task's name"))
    if not TASK_NAME_PATTERN.fullmatch(name):
        rule = "must be letters, digits, dot, dash and underscore, at most 64, a letter or digit first"
        raise InputError(f"name: {rule}, but got {quote_value(name)}")
    return name


def _parse_kind(document: TaskDocument) -> str:
    kind = document.get("kind", TASK_KINDS[0] if "labels" in document else None)
    if kind not in TASK_KINDS:
        got = "but it is missing" if kind is None else f"but got {quote_value(kind)}"
        raise InputError(f"kind: must be {', '.join(TASK_KINDS[:-1])} or {TASK_KINDS[-1]}, {got}")
    for key, kinds in KINDS_BY_KEY.items():
        if key in document and kind not in kinds:
            subject = kind if kind in ("classification", "regression") else f"{kind} task"
            raise InputError(f"{key}: a {subject} has none; remove it, or change the kind")
    return str(kind)


def _parse_texts(key: str, value: object) -> tuple[str, ...]:
    """Return distinct texts. Values that YAML reads as another type (yes, no, 1.0) are refused."""
    values = value if isinstance(value, list) else [value]
    for item in values:
        if isinstance(item, bool) or not isinstance(item, str | int) or not str(item).strip():
            raise InputError(f"{key}: must be text, but YAML reads {quote_value(item)}; put it in quotes")
    texts = tuple(str(item) for item in values)
    if halves := [text for text in texts if SURROGATE_PATTERN.search(text)]:
        raise InputError(f"{key}: {quote_value(halves[0])} has half a surrogate pair; write it anew")
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise InputError(f"{key}: {quote_value(twice[0])} appears twice; keep one")
    return texts


def _parse_columns(document: TaskDocument) -> tuple[str, ...]:
    columns = _parse_texts("columns", _get_required(document, "columns", "the text column, or a list of two"))
    if not 1 <= len(columns) <= 2:
        raise InputError(f"columns: must be one text column, or two for pairs, but got {len(columns)}")
    if LABEL_COLUMN in columns:
        raise InputError(f"columns: no text column can be called {LABEL_COLUMN!r}; rename it in the file")
    return columns


def _parse_label_column(document: TaskDocument, columns: tuple[str, ...]) -> str:
    texts = _parse_texts("label", document.get("label", LABEL_COLUMN))
    if len(texts) != 1:
        rule = "kind: multi-label reads several labels from one column"
        raise InputError(f"label: must be one column, but got {len(texts)}; {rule}")
    if texts[0] in columns:
        raise InputError(f"label: {texts[0]!r} is a text column too; name the column that holds the label")
    return texts[0]


def _parse_group(document: TaskDocument) -> str:
    names = _parse_texts("group", document.get("group", []))
    if len(names) > 1:
        raise InputError(f"group: must be one column, but got {len(names)}")
    if names and names[0] == document.get("label", LABEL_COLUMN):
        raise InputError(f"group: {names[0]!r} is the label; name the column of what belongs together")
    return names[0] if names else ""


def _parse_labels(document: TaskDocument) -> tuple[str, ...]:
    labels = _parse_texts(
        "labels", _get_required(document, "labels", "the names of the classes, as in the file")
    )
    if len(labels) < 2:
        raise InputError(
            f"labels: a classification needs at least two classes, but got {quote_value(list(labels))}"
        )
    if bare := [label for label in labels if label != label.strip()]:
        raise InputError(f"labels: {quote_value(bare[0])} begins or ends with a space; remove it")
    return labels


def _parse_separator(document: TaskDocument, labels: tuple[str, ...]) -> str:
    separator = document.get("separator", LABEL_SEPARATOR)
    if not isinstance(separator, str) or not separator.strip():
        raise InputError(
            f"separator: must be text such as {LABEL_SEPARATOR!r}, but got {quote_value(separator)}"
        )
    if within := [label for label in labels if separator in label]:
        raise InputError(
            f"separator: {separator!r} is part of the label {quote_value(within[0])}; choose another"
        )
    return separator


def _parse_metrics(document: TaskDocument, labels: tuple[str, ...], multi_label: bool) -> tuple[str, ...]:
    default = "micro_f1" if multi_label else "macro_f1" if labels else "pearson"
    names = _parse_texts("metric", document.get("metric", default))
    fitting = list_fitting_metrics(len(labels), multi_label)
    for name in names:
        if name in fitting or (name not in METRICS and is_fitting_scorer(name, len(labels), multi_label)):
            continue
        kind = "several labels" if multi_label else f"{len(labels)} classes" if labels else "a regression"
        rule = f"must be one for {kind} ({', '.join(fitting)})"
        similar = ", ".join(suggest_scorers(name, len(labels), multi_label))
        raise InputError(
            f"metric: {rule} or a scorer of scikit-learn, such as {similar}, but got {quote_value(name)}"
        )
    return names


def _parse_range(document: TaskDocument, kind: str) -> tuple[float, float] | None:
    if kind != "regression" or "range" not in document:
        return None
    value = document["range"]
    numbers = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    if not numbers or not all(map(math.isfinite, value)) or not value[0] < value[1]:
        raise InputError(f"range: must be [lowest, highest], two numbers, but got {quote_value(value)}")
    return float(value[0]), float(value[1])


def _parse_data(document: TaskDocument, file: Path | None) -> DataLocation | None:
    if "files" in document and "hub" in document:
        raise InputError("files, hub: there must be only one of them, but got both; remove one")
    if file is None or not {"files", "hub"} & document.keys():
        return None
    name = str(file.absolute())
    if "hub" in document:
        return _parse_hub(document["hub"], name)
    value = document["files"]
    files = _check_keys("files", value if isinstance(value, dict) else {"train": value}, DEFINITION_SPLITS)
    _get_required(files, "train", "the file of the training examples")
    splits = [split for split in DEFINITION_SPLITS if split in files]
    paths = tuple((split, str(_parse_path(split, files[split], file))) for split in splits)
    if len({path for _, path in paths}) < len(paths):
        raise InputError("files: train and dev are the same file; leave out dev to have it split off")
    return DataLocation(name, paths)


def _parse_path(split: str, value: object, file: Path) -> Path:
    """Return the path of a data file: beside the YAML file or below it, or any absolute path."""
    if not isinstance(value, str) or Path(value).suffix.lower() not in DATA_SUFFIXES:
        raise InputError(
            f"files: {split} must be a {', '.join(DATA_SUFFIXES)} file, but got {quote_value(value)}"
        )
    folder = file.parent.resolve()
    try:
        given = Path(expand_home(value))
    except ValueError as error:
        raise InputError(f"files: {split}: {error}") from None
    path = (folder / given).resolve()
    if not given.is_absolute() and not path.is_relative_to(folder):
        raise InputError(f"files: {split}: {quote_value(value)} leads out of {folder}; give an absolute path")
    return path


def _parse_hub(value: object, file: str) -> DataLocation:
    keys = _check_keys("hub", value if isinstance(value, dict) else {"name": value}, _HUB_KEYS)
    for key, item in keys.items():
        if not isinstance(item, str):
            raise InputError(f"hub: {key} must be text, but got {quote_value(item)}")
    name = _get_required(keys, "name", "the name of a data set, owner/name")
    if not HUB_NAME_PATTERN.fullmatch(name):
        raise InputError(f"hub: must be the name of a data set, owner/name, but got {quote_value(name)}")
    if not isinstance(value, dict):
        keys |= {"train": "train", "dev": "validation"}
    splits = tuple((split, keys[split]) for split in DEFINITION_SPLITS if split in keys)
    if "train" not in keys:
        splits = (("train", "train"), *splits)
    return DataLocation(file, splits, name, keys.get("config", "default"))


_HUB_KEYS = ("name", "config", *DEFINITION_SPLITS)
