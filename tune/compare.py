"""The other command: is a method better than another for this task, and how sure is that?

python tune/compare.py --task rte --methods vanilla,dps-dense,dps-mix,child-tuning-d,r-drop
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script: hand over to the package, so that workers can import it
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tune import compare as package

    sys.exit(package.main(sys.argv[1:]))

from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from tune.command import DONE, NOTHING_FINISHED, fail, output_folder, run
from tune.options import CompareOptions
from tune.sitting import Sitting

if TYPE_CHECKING:
    from tune.searcher import Turns


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status."""
    return run(argv, CompareOptions, Comparison)


class Comparison(Sitting):
    """Tune each method at the same budget, train its best with paired seeds, say what differs."""

    prefix = "compare-"
    noun = "comparison"

    @classmethod
    def of(cls, options: Any) -> int:
        if options.results is not None:
            return joined(options)
        check_methods(options)
        return super().of(options)

    def finish(self, searcher: Turns) -> int:
        from tune import comparison, tables
        from tune.events import tell

        spent = searcher.spent()
        self.notes.note("seconds", spent.seconds)
        self.keep_predictions()
        found = comparison.document(self.plan, self.ledgers, spent, self.provenance)
        runs = [run for method in found["methods"] for run in (*method["runs"], *method["trials"])]
        if not any(run["outcome"] == "completed" for method in found["methods"] for run in method["runs"]):
            self.close()
            errors = sorted({run["error"] for run in runs if run["error"]})
            return fail(f"no method finished; {'; '.join(errors) or 'see MLflow'}", NOTHING_FINISHED)
        comparison.analyse(found, {method["method"]: self.output for method in found["methods"]})
        tables.write([found], self.output)
        tell(self.watchers, "comparison_ended", found)
        self.close()
        self.progress.note("")
        for line in tables.summary_lines(found):
            self.progress.say(line)
        self.progress.show(tables.terminal(found, self.progress.console.width))
        self.progress.say(
            f"Results: {self.output} (compare.json everything, compare.md, compare.tex, compare.svg)"
        )
        if self.look:
            self.progress.say(f"Look:    {self.look}")
        return DONE


def check_methods(options: CompareOptions) -> None:
    """Raises InputError for a method that there is none of, and where there is nothing to compare."""
    from dps.methods import METHODS

    for option, names in (("--baseline", (options.baseline,)), ("--methods", options.method_names)):
        if unknown := [name for name in names if name not in METHODS]:
            raise InputError(
                f"{option}: there is no method {unknown[0]!r}; choose among {', '.join(METHODS)}"
            )
    if len(options.method_names) < 2:
        raise InputError(
            f"--methods: {options.methods} is the baseline alone; name a method to compare it with"
        )


def joined(options: CompareOptions) -> int:
    """One table from finished comparisons."""
    from tune import comparison, places, quiet, tables
    from tune.terminal import make_console

    assert options.results is not None
    folders = [Path(name.strip()) for name in options.results.split(",")]
    found = comparison.join(folders, options.allow_dirty)
    tasks = "-".join(dict.fromkeys(one["task"] for one in found))
    output = output_folder(options.with_(task=tasks), "compare-joined-")
    places.check_output(output, resume=False)
    tables.write(found, output)
    console = make_console()
    for one in found:
        if options.json:
            quiet.event("comparison_ended", **quiet.compared(one, output))
            continue
        for line in [tables.heading(one), *tables.summary_lines(one)]:
            console.print(line, soft_wrap=True, markup=False)
        console.print(tables.terminal(one, console.width))
        console.print()
    if not options.json:
        console.print(f"Results: {output}", soft_wrap=True, markup=False)
    return DONE
