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

from tune.options import CompareOptions
from tune.sitting import DONE, NOTHING_FINISHED, Sitting, fail, output_folder, run

if TYPE_CHECKING:
    from tune.searcher import Turns


def main(argv: list[str]) -> int:
    """Run the command; returns its exit status."""
    return run(argv, CompareOptions, Comparison)


class Comparison(Sitting):
    """Tune each method at the same budget, train its best with paired seeds, say what differs."""

    prefix = "compare-"

    @classmethod
    def of(cls, options: Any) -> int:
        return joined(options) if options.results else super().of(options)

    def finish(self, searcher: Turns) -> int:
        from tune import comparison, tables
        from tune.events import tell

        spent = searcher.spent()
        self.notes.note("seconds", spent.seconds)
        self.keep_predictions()
        found = comparison.document(self.plan, self.ledgers, spent, self.provenance)
        if not any(method["runs"] for method in found["methods"]):
            self.close()
            errors = sorted(
                {trial["error"] for m in found["methods"] for trial in m["trials"] if trial["error"]}
            )
            return fail(f"no method finished; {'; '.join(errors) or 'see MLflow'}", NOTHING_FINISHED)
        comparison.analyse(found, {method["method"]: self.output for method in found["methods"]})
        tables.write([found], self.output)
        tell(self.watchers, "comparison_ended", found)
        self.close()
        for line in ["", *tables.summary_lines(found)]:
            self.progress.say(line)
        self.progress.show(tables.terminal(found, self.progress.console.width))
        self.progress.say(
            f"Results: {self.output} (compare.json everything, compare.md, compare.tex, compare.svg)"
        )
        if self.look:
            self.progress.say(f"Look:    {self.look}")
        return DONE


def joined(options: CompareOptions) -> int:
    """One table from finished comparisons."""
    from tune import comparison, preflight, tables
    from tune.terminal import make_console

    assert options.results is not None
    folders = [Path(name.strip()) for name in options.results.split(",")]
    found = comparison.join(folders, options.allow_dirty)
    output = output_folder(options, "compare-joined-")
    preflight.check_output(output, resume=False)
    tables.write(found, output)
    console = make_console()
    for one in found:
        for line in tables.summary_lines(one):
            console.print(line, soft_wrap=True, markup=False)
        console.print(tables.terminal(one, console.width))
    console.print(f"Results: {output}", soft_wrap=True, markup=False)
    return DONE
