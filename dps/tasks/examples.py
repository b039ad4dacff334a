"""Examples in memory, by column: what a source returns, and all that is read before they are tokenised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, overload

from dps.tasks.task import LABEL_COLUMN


@dataclass(frozen=True)
class ExampleTable:
    """Examples of a split, read as a `datasets.Dataset` is, without importing that library.

    columns: values by column, equally many, in the order of the examples: texts, and the label last.
    label_note: how the labels were read, where that is not by their names.
    """

    columns: dict[str, list[Any]]
    label_note: str = ""

    def __len__(self) -> int:
        return len(self.columns[LABEL_COLUMN])

    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    @overload
    def __getitem__(self, key: int | slice) -> dict[str, Any]: ...
    def __getitem__(self, key: str | int | slice) -> Any:
        """Return a column, an example, or the columns of a slice of them."""
        if isinstance(key, str):
            return self.columns[key]
        return {name: values[key] for name, values in self.columns.items()}

    def select(self, indices: Iterable[int]) -> ExampleTable:
        """Return the examples at `indices`, in that order."""
        columns = {name: [values[index] for index in indices] for name, values in self.columns.items()}
        return ExampleTable(columns, self.label_note)

    def iter(self, batch_size: int) -> Iterator[dict[str, list[Any]]]:
        """Yield the columns of `batch_size` examples at a time; the last ones may be fewer."""
        return (self[start : start + batch_size] for start in range(0, len(self), batch_size))
