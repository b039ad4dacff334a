"""What a task is: what is read, what is predicted, how it is scored."""

from __future__ import annotations

from dataclasses import dataclass

LABEL_COLUMN = "label"
LABEL_SEPARATOR = "|"


@dataclass(frozen=True)
class DataLocation:
    """Where the examples of a task of one's own lie: in files, or in a data set on the hub.

    definition: the YAML file that says so, for messages. splits: (split, absolute path of its file, or the
    hub's name of it); always "train", and "dev" unless it is to be split off. hub: name of the data set,
    config: its configuration.
    """

    definition: str
    splits: tuple[tuple[str, str], ...]
    hub: str | None = None
    config: str = "default"

    def get_place(self, split: str) -> str | None:
        """The file, or the hub's name, of a split; None where there is none."""
        return dict(self.splits).get(split)


@dataclass(frozen=True)
class Task:
    """One supervised task.

    name: identifier used on the command line, in MLflow and in file names.
    columns: one text column, or two for a pair of texts.
    labels: class names, in the order of their ids; empty for regression.
    metrics: names known to `dps.tasks.metrics`; the first is the primary metric.
    score_range: closed range of a regression label; None for classification.
    splits: "train", "dev" and further evaluation sets ("dev_mismatched"); data must have them all.
    test_split: what models trained on other tasks are tested on: "dev", or a public "test",
        which data may lack.
    direction: "max" or "min", of the primary metric.
    label: the label's column in files of one's own; examples have it as `LABEL_COLUMN`.
    data_location: where the examples of a task of one's own lie; None where nothing says so.
    multi_label: an example has any number of the labels, also none.
    separator: what stands between the labels of an example in files without lists.
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

    @property
    def metric(self) -> str:
        """The primary metric: configurations are ranked by it."""
        return self.metrics[0]

    @property
    def is_regression(self) -> bool:
        """True where the label is a number, not a class."""
        return not self.labels

    @property
    def dev_splits(self) -> tuple[str, ...]:
        """The evaluation sets, the main one first."""
        return self.splits[1:]

    @property
    def all_splits(self) -> tuple[str, ...]:
        """Every split that a source can be asked for."""
        return tuple(dict.fromkeys((*self.splits, self.test_split)))
