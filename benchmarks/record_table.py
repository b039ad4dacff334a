"""A recorded table of real runs: configurations x seeds x learning curve, for replaying searches.

    python benchmarks/record_table.py --task cola --data ../glue --train-size 1000 --trials 40 --seeds 10
    python benchmarks/record_table.py --resume runs/table-cola-20261125-200000      # go on after Ctrl-C
    python benchmarks/record_table.py --resume runs/table-cola-20261125-200000 --trials 60 --seeds 12   # more

Each configuration (the published values and a Latin hypercube over the search space of --method) is trained
with each seed, by the project's own slots, never stopped early. A run reports its scores on the held-out
slice of its seed, as a trial of a search does, and is scored on dev at the end. The table is table.parquet in
the output folder, a row an evaluation; the command, the options that it went by (also of what was resumed),
the commit and the fingerprints stand in its metadata.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import threading
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, replace
from typing import Any, ClassVar

from dps.errors import InputError
from tune.core.command import EXIT_DONE, run_session_command
from tune.core.options import BaselineList, CommonOptions, SearchOptions, define_option
from tune.core.run import Job, RunPurpose
from tune.core.space import make_configuration_key
from tune.records.events import Watcher
from tune.records.ledger import Ledger, TrialRecord
from tune.records.saved_options import load_resumed_options
from tune.session import Session
from tune.strategy.arms import Arms
from tune.strategy.phases import SearchPhases
from tune.strategy.strategy import Strategy


class RecordOptions(SearchOptions):
    """Record real runs in a table."""

    command: ClassVar[str] = "python benchmarks/record_table.py"
    examples: ClassVar[str] = __doc__ or ""
    seeds: int = define_option(10, "replicates of each configuration", gt=1)
    race: int = define_option(0, "not here: every configuration runs with every seed")
    register: str | None = define_option(None, "not here")  # else pydantic finds ABCMeta.register
    baseline: BaselineList = define_option("none", "not here")


class Recorder(SearchPhases):
    """Runs the published values and a Latin hypercube, each with every seed, for a recorded table."""

    def __init__(
        self,
        ledger: Ledger,
        strategy: Strategy,
        watchers: Sequence[Watcher],
        is_interrupted: Callable[[], bool],
        seeds: int,
    ) -> None:
        super().__init__(ledger, strategy, watchers, is_interrupted)
        self.left = list_runs_left(ledger.records(RunPurpose.SEARCH), strategy, seeds)

    def _start_new_run(self) -> TrialRecord | None:
        if not self.left:
            return None
        configuration, seed = self.left.pop(0)
        return self.ledger.replicate(configuration, self.strategy.space, seed, RunPurpose.SEARCH)

    def _make_job(self, record: TrialRecord) -> Job:
        return replace(super()._make_job(record), transfers=True)


def list_runs_left(
    records: Sequence[TrialRecord], strategy: Strategy, seeds: int
) -> list[tuple[dict[str, Any], int]]:
    """Return the configurations and seeds that no record has yet, seed by seed."""
    made = {(record.configuration_key, record.seed) for record in records}
    design = find_design(strategy, {key for key, _ in made})
    return [
        (configuration, seed)
        for seed in range(strategy.seed, strategy.seed + seeds)
        for configuration in design
        if (make_configuration_key(configuration), seed) not in made
    ]


def find_design(strategy: Strategy, known: Set[str]) -> list[dict[str, Any]]:
    """Return the published values and a Latin hypercube; where the table is resumed with more trials, what it
    had and a second hypercube.

    known: keys of what was recorded. Raises InputError where that is of neither.
    """
    space, size = strategy.space, strategy.design_size
    published = space.list_published()[:size]
    for begun in range(size, len(published) - 1, -1):
        drawn = space.draw_latin_hypercube(begun - len(published), strategy.seed)
        added = space.draw_latin_hypercube(size - begun, strategy.seed + begun)
        design = [*published, *map(space.from_study_values, [*drawn, *added])]
        if known <= {*map(make_configuration_key, design)}:
            return design
    raise InputError(
        "--trials: more were recorded, or a table was made larger twice; give what it has, or more"
    )


class Recording(Session):
    """Runs every configuration with every seed."""

    prefix = "table-"

    @property
    def expected_runs(self) -> int:
        return int(self.options.trials * self.options.seeds)

    @classmethod
    def start(cls, options: CommonOptions, watchers: Sequence[Watcher] = ()) -> int:
        """Every run goes to its end, and is scored on the task's own dev set there."""
        options = load_resumed_options(options)
        return super().start(options.copy_with(transfer=options.task, scheduler="none"), watchers)

    def plan_lines(self) -> list[str]:
        lines = super().plan_lines()
        first = next(number for number, line in enumerate(lines) if line.startswith("searching"))
        last = next(number for number, line in enumerate(lines) if line.startswith("confirming"))
        design = f"{self.options.trials} configurations x {self.options.seeds} seeds"
        said = f"recording    {design}, none stopped early"
        kept = [line for line in lines[last + 1 :] if not line.startswith("expected")]
        return [*lines[:first], said, *lines[first + 1 : last], *kept]

    def make_arms(self, stop: threading.Event) -> Arms:
        arms = super().make_arms(stop)
        seeds = self.options.seeds
        return Arms(
            [Recorder(s.ledger, s.strategy, s.watchers, s.is_interrupted, seeds) for s in arms.searches]
        )

    def finish(self, arms: Arms) -> int:
        records = self.folder.records(RunPurpose.SEARCH)
        write(self.output / "table.parquet", records, self._metadata())
        self.close()
        self.display.say(f"{len(records)} runs in {self.output / 'table.parquet'}")
        return EXIT_DONE

    def _metadata(self) -> dict[str, Any]:
        from tune.core.parsing import read_options
        from tune.planning.plan import describe_plan

        return _without_folders(
            {
                **describe_plan(self.plan),
                "chance": self.plan.preview.chance_level,
                "options": read_options(self.output / "config.yaml"),
                "space": self.plan.space.to_description(),
                "names": self.plan.space.study_names,
                "provenance": asdict(self.provenance),
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
        number = numbers.setdefault(record.configuration_key, len(numbers))
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
    text = json.dumps(metadata)
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
    sys.exit(run_session_command(sys.argv[1:], RecordOptions, Recording.start))
