"""Definition of a task: its columns, labels, metrics and splits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dps.errors import InputError

LABEL_COLUMN = "label"
GROUP_COLUMN = "__group__"
LABEL_SEPARATOR = "|"
EVEN_THRESHOLD = 0.5


@dataclass(frozen=True)
class DataLocation:
    """Location of a user-defined task's examples: files, or a data set on the hub.

    definition: YAML file of the task, for messages.
    splits: (split, absolute path of its file or its name on the hub): "train", and "dev" unless it is to be
        split off.
    hub: name of the data set; None for files.
    config: its configuration.
    """

    definition: str
    splits: tuple[tuple[str, str], ...]
    hub: str | None = None
    config: str = "default"

    def get_place(self, split: str) -> str | None:
        """Return the file of a split or its name on the hub; None if the task does not have it."""
        return dict(self.splits).get(split)


@dataclass(frozen=True)
class Task:
    """Supervised task.

    name: identifier on the command line, in MLflow and in file names.
    columns: one text column, or two for a pair of texts.
    labels: class names in the order of their ids; empty for regression.
    metrics: names known to `dps.tasks.metrics.get_metric`; the first is the primary metric.
    score_range: closed range of a regression label; None if it has none.
    splits: "train", "dev" and further evaluation sets ("dev_mismatched"); data must have them all.
    test_split: split that models trained on other tasks are tested on: "dev", or a public "test", which data
        may lack.
    direction: "max" or "min", of the primary metric.
    label: column of the label in user files; examples have it as `LABEL_COLUMN`.
    data_location: location of a user-defined task's examples; None if the task does not name it.
    multi_label: whether an example may have any number of the labels, also none.
    separator: text between the labels of an example in files without lists.
    group: column whose equal values stay on one side of every split, such as the author of a text; empty for
        none. Examples have it as `GROUP_COLUMN`.
    threshold: probability above which the second of two classes, or a label, is said; in (0, 1).
    """

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    score_range: tuple[float, float] | None = None
    splits: tuple[str, ...] = ("train", "dev")
    test_split: str = "dev"
    direction: str = "max"
    label: str = LABEL_COLUMN
    data_location: DataLocation | None = None
    multi_label: bool = False
    separator: str = LABEL_SEPARATOR
    group: str = ""
    threshold: float = EVEN_THRESHOLD

    @property
    def metric(self) -> str:
        """Primary metric, which ranks configurations."""
        return self.metrics[0]

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number, not a class."""
        return not self.labels

    @property
    def dev_splits(self) -> tuple[str, ...]:
        """Evaluation sets, the main one first."""
        return self.splits[1:]

    @property
    def all_splits(self) -> tuple[str, ...]:
        """All splits that a source may be asked for."""
        return tuple(dict.fromkeys((*self.splits, self.test_split)))

    @property
    def has_threshold(self) -> bool:
        """Whether an answer depends on a threshold: of two classes, and of several labels."""
        return self.multi_label or len(self.labels) == 2

    def with_threshold(self, threshold: float | None) -> Task:
        """Return the task with this threshold; None for its own."""
        return self if threshold is None else replace(self, threshold=threshold)

    def check_split(self, split: str) -> None:
        """Raise InputError unless `split` is one of `all_splits`."""
        if split not in self.all_splits:
            known = ", ".join(self.all_splits)
            raise InputError(f"split: task {self.name} has no split {split!r}; choose one of {known}")
