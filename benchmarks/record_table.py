"""A recorded table of real runs: configurations x seeds x learning curve, for replaying searches.

    python benchmarks/record_table.py --task cola --data ../glue --train-size 1000 --trials 40 --seeds 10
    python benchmarks/record_table.py --resume runs/table-cola-20261125-200000      # go on after Ctrl-C

Each configuration (a Latin hypercube over the search space of --method) is trained with each seed, by the
project's own slots, never stopped early. A run reports its scores on the held-out slice of its seed, as a
trial of a search does, and is scored on dev at the end. The table is table.parquet in the output folder, a
row an evaluation; the command, the options that it went by (also of what was resumed), the commit and the
fingerprints stand in its metadata.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from tune.command import DONE, run
from tune.events import Watcher
from tune.job import Job
from tune.ledger import Ledger, Record
from tune.options import SearchOptions, option
from tune.searcher import LedgerSearcher, Turns
from tune.sitting import Sitting
from tune.space import key
from tune.strategy import Strategy


class RecordOptions(SearchOptions):
    """Record real runs in a table."""

    command: ClassVar[str] = "python benchmarks/record_table.py"
    examples: ClassVar[str] = __doc__ or ""
    seeds: int = option(10, "replicates of each configuration", gt=1)
    race: int = 0
    baseline: bool = False


class Recorder(LedgerSearcher):
    """Runs a Latin hypercube of configurations, each with every seed, for a recorded table."""

    def __init__(
        self,
        ledger: Ledger,
        strategy: Strategy,
        watchers: Sequence[Watcher],
        interrupted: Callable[[], bool],
        seeds: int,
    ) -> None:
        super().__init__(ledger, strategy, watchers, interrupted)
        self.made = len(ledger.records("search"))
        design = strategy.space.latin(strategy.trials, strategy.seed)
        self.runs = [(place, strategy.seed + seed) for seed in range(seeds) for place in design]

    def _new(self) -> Record | None:
        if self.made == len(self.runs):
            return None
        configuration, seed = self.runs[self.made]
        self.made += 1
        return self.ledger.replicate(
            self.strategy.space.from_study(configuration), self.strategy.space, seed, "search"
        )

    def _job(self, record: Record) -> Job:
        return replace(super()._job(record), transfers=True)


class Recording(Sitting):
    """Runs every configuration with every seed."""

    prefix = "table-"

    @property
    def runs(self) -> int:
        return int(self.options.trials * self.options.seeds)

    @classmethod
    def of(cls, options: RecordOptions) -> int:
        """Every run goes to its end, and is scored on the task's own dev set there."""
        return super().of(options.with_(transfer=options.task, scheduler="none"))

    def lines(self) -> list[str]:
        lines = super().lines()
        first = next(number for number, line in enumerate(lines) if line.startswith("searching"))
        last = next(number for number, line in enumerate(lines) if line.startswith("confirming"))
        design = f"{self.options.trials} configurations x {self.options.seeds} seeds"
        said = f"recording    {design}, none stopped early"
        kept = [line for line in lines[last + 1 :] if not line.startswith("expected")]
        return [*lines[:first], said, *lines[first + 1 : last], *kept]

    def _searcher(self, stop: threading.Event) -> Turns:
        arms = [
            Recorder(ledger, self._strategy(arm), self.watchers, stop.is_set, self.options.seeds)
            for arm, ledger in self.ledgers.items()
        ]
        return Turns(arms, self.slots)

    def finish(self, searcher: Turns) -> int:
        records = self.records("search")
        write(self.output / "table.parquet", records, self._metadata())
        self.close()
        self.progress.say(f"{len(records)} runs in {self.output / 'table.parquet'}")
        return DONE

    def _metadata(self) -> dict[str, Any]:
        from tune.parsing import read_yaml
        from tune.report import described

        return _without_folders(
            {
                **described(self.plan),
                "options": read_yaml(self.output / "config.yaml"),
                "space": self.plan.space.describe(),
                "names": self.plan.space.names,
                "provenance": self.provenance,
            }
        )


def _without_folders(document: Any) -> Any:
    """Only the last part of every absolute path: a table is handed on, the folders of its machine are not."""
    if isinstance(document, dict):
        return {name: _without_folders(value) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [_without_folders(value) for value in document]
    return Path(document).name if isinstance(document, str) and Path(document).is_absolute() else document


def write(file: Path, records: list[Any], metadata: dict[str, Any]) -> None:
    """A row an evaluation: configuration (its number), seed, step, score; and for the run its outcome,
    seconds, the score on dev (of a completed run) and the hyper-parameters."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers: dict[str, int] = {}
    rows = []
    for record in records:
        number = numbers.setdefault(key(record.configuration), len(numbers))
        dev = next(iter(record.final.values()), {})
        shared = {
            "configuration": number,
            "seed": record.seed,
            "outcome": str(record.outcome),
            "seconds": record.seconds,
            "dev": next(iter(dev.values()), None),
            **record.configuration,
        }
        rows += [{**shared, "step": step, "score": score} for step, score in record.scores or [(0, None)]]
    table = pa.Table.from_pylist(rows, schema=_schema(pa, rows))
    text = json.dumps(metadata, default=str)
    part = file.with_suffix(".part")
    pq.write_table(table.replace_schema_metadata({"dps": text}), part, compression="zstd")
    part.replace(file)


def _schema(pa: Any, rows: list[dict[str, Any]]) -> Any:
    """Every column that any row has."""
    columns: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                columns.setdefault(name, value)
    kinds = {int: pa.int32(), float: pa.float64(), str: pa.string()}
    return pa.schema([(key, kinds[type(value)]) for key, value in columns.items()])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], RecordOptions, Recording))
