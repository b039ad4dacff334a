"""Results of searches and comparisons that ended, as Python values."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dps.errors import InputError
from dps.predict import Predictor
from tune.records.comparison_document import ComparisonDocument, read_comparison_document
from tune.records.search_document import SearchDocument, read_search_document
from tune.records.suite_document import SUITE_DOCUMENT_FILE, SuiteDocument, read_suite_document

if TYPE_CHECKING:
    import pandas as pd

TRIAL_COLUMNS = ("outcome", "seed", "score", "step", "seconds", "error")


class SearchResult:
    """A search that ended, read from its output folder.

    folder: the output folder. document: all of search.json, typed.
    """

    def __init__(self, folder: Path | str) -> None:
        """Raises InputError for a folder without a search.json that can be read."""
        self.folder = Path(folder)
        self.document: SearchDocument = read_search_document(self.folder)

    @property
    def sentence(self) -> str:
        """What was found and how sure it is, in words."""
        return self.document.sentence

    @property
    def winner(self) -> dict[str, Any] | None:
        """The configuration that won: "method", "learning_rate" and what else was searched; None if no trial
        finished."""
        return None if self.document.winner is None else self.document.winner.configuration

    @property
    def score(self) -> float | None:
        """The winner's mean score on dev over the fresh seeds, in the metric's scale; None without one. A run
        that diverged counts with the constant prediction."""
        return self.document.mean

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `score` over seeds and examples; None where none may be given."""
        return self.document.interval

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row a trial, by its number: its configuration, outcome, last score on the selection data,
        seconds."""
        import pandas as pd

        rows = [
            {**trial.configuration, **{name: getattr(trial, name) for name in TRIAL_COLUMNS}}
            for trial in self.document.trials
        ]
        numbers = [trial.number for trial in self.document.trials]
        return pd.DataFrame(rows, index=pd.Index(numbers, name="trial"))

    @property
    def model_path(self) -> Path:
        """The folder of the winner's model, for `from_pretrained` and `dps.Predictor.load`.

        Raises InputError if there is none, as where no confirmation finished.
        """
        folder = self.folder / "best"
        if not folder.is_dir():
            raise InputError(f"model_path: {self.folder} has no best/; tune.run_search(resume=...) makes it")
        return folder

    @property
    def report_path(self) -> Path:
        """The page of the search, report.html."""
        return self.folder / "report.html"

    @cached_property
    def predictor(self) -> Predictor:
        """The winner's model, loaded. Raises InputError as `model_path` does."""
        return Predictor.load(str(self.model_path))

    def predict(self, examples: str | Iterable[str | Sequence[str]]) -> list[dict[str, Any]]:
        """Return one dict an example, see `dps.Predictor.predict`."""
        return self.predictor.predict(examples)

    def __repr__(self) -> str:
        return f"SearchResult({str(self.folder)!r}): {self.sentence}"

    def _repr_html_(self) -> str:
        report = html.escape(self.report_path.absolute().as_uri())
        table: str = self.trials.to_html(max_rows=20, float_format="{:.4g}".format)
        return f'<p>{html.escape(self.sentence)}</p>{table}<p><a href="{report}">report.html</a></p>'


class ComparisonResult:
    """A comparison that ended, read from its output folder.

    folder: the output folder. document: all of compare.json, typed.
    """

    def __init__(self, folder: Path | str) -> None:
        """Raises InputError for a folder without a compare.json that can be read."""
        self.folder = Path(folder)
        self.document: ComparisonDocument = read_comparison_document(self.folder, "folder")

    @property
    def sentences(self) -> list[str]:
        """What was found, in words."""
        return self.document.sentences

    @cached_property
    def methods(self) -> pd.DataFrame:
        """A row a method: mean score on dev over the paired seeds, interval, and what may be said of it."""
        import pandas as pd

        rows = {
            name: {
                "mean": method.mean,
                "low": method.interval[0] if method.interval else None,
                "high": method.interval[1] if method.interval else None,
                "seeds": method.n,
                "verdict": method.verdict,
            }
            for name, method in self.document.main_result.methods.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")

    @property
    def report_path(self) -> Path:
        """The page of the comparison, compare.html."""
        return self.folder / "compare.html"

    def __repr__(self) -> str:
        return f"ComparisonResult({str(self.folder)!r}): {' '.join(self.sentences)}"

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.sentences)
        table: str = self.methods.to_html(float_format="{:.4f}".format)
        return said + table


class SuiteResult:
    """Searches, or comparisons, of several tasks that ended, read from their folder.

    folder: that of all of them. document: all of suite.json, typed.
    """

    def __init__(self, folder: Path | str) -> None:
        """Raises InputError for a folder without a suite.json that can be read."""
        self.folder = Path(folder)
        self.document: SuiteDocument = read_suite_document(self.folder)

    @property
    def sentence(self) -> str:
        """What the averages say, and what they do not."""
        return self.document.sentence

    @cached_property
    def tasks(self) -> pd.DataFrame:
        """A row a task: mean scores by what was confirmed, and differences in points with their verdicts."""
        import pandas as pd

        rows = {}
        for task in self.document.tasks:
            row: dict[str, Any] = {name: score.mean for name, score in task.scores.items()}
            for name, difference in task.differences.items():
                named = self.document.name_difference(name)
                row |= {named: 100 * difference.mean, f"{named}, verdict": difference.verdict}
            rows[task.task] = row
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("task")

    @cached_property
    def averages(self) -> pd.DataFrame:
        """A row for each difference: its average over the tasks in points, 95 % interval, p and counts."""
        import pandas as pd

        rows = {
            self.document.name_difference(name): {
                "points": 100 * average.mean,
                "low": 100 * average.interval[0] if average.interval else None,
                "high": 100 * average.interval[1] if average.interval else None,
                "p": average.adjusted_p,
                "better": average.better,
                "worse": average.worse,
                "undecided": average.undecided,
            }
            for name, average in self.document.averages.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("difference")

    @cached_property
    def results(self) -> dict[str, SearchResult | ComparisonResult]:
        """The result of each task."""
        found = {}
        for task in self.document.tasks:
            own = self.folder / task.task  # that of a suite of other folders lies elsewhere
            found[task.task] = load_result(own if own.is_dir() else Path(task.folder))
        return {name: one for name, one in found.items() if not isinstance(one, SuiteResult)}

    @property
    def report_path(self) -> Path:
        """The page of all tasks, suite.html."""
        return self.folder / "suite.html"

    def __repr__(self) -> str:
        return f"SuiteResult({str(self.folder)!r}): {self.sentence}"

    def _repr_html_(self) -> str:
        said = f"<p>{html.escape(self.sentence)}</p>"
        shown = "".join(table.to_html(float_format="{:.4g}".format) for table in (self.averages, self.tasks))
        report = html.escape(self.report_path.absolute().as_uri())
        return f'{said}{shown}<p><a href="{report}">suite.html</a></p>'


def load_result(folder: Path | str) -> SearchResult | ComparisonResult | SuiteResult:
    """Return what a search, a comparison, or several tasks that ended left in their output folder. Raises
    InputError."""
    if (Path(folder) / SUITE_DOCUMENT_FILE).is_file():
        return SuiteResult(folder)
    if (Path(folder) / "compare.json").is_file():
        return ComparisonResult(folder)
    return SearchResult(folder)
