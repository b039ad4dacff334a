"""MLflow tracking: one experiment per task and data source, a parent run per search, a child run per trial.

Only the driver writes, in a thread: training never waits for MLflow, and a failing tracker warns once and
never fails the search. While MLflow is unreachable, events wait in order. The ledger holds everything that
is written here: `python -m tune.tracking sync DIR` delivers it later.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dps.text import redact_secrets, redact_tree, sanitise_line
from dps.training.result import Evaluation, Outcome
from tune.core.options import CommonOptions
from tune.core.provenance import Provenance
from tune.core.run import RunId, RunPurpose
from tune.records import stores
from tune.records.comparison_document import ComparisonDocument
from tune.records.events import Watcher
from tune.records.ledger import TrialRecord
from tune.records.schema import DifferenceSection
from tune.records.search_document import SearchDocument
from tune.tracking.registry import format_model_uri, register_model

FLUSH_TIMEOUT_S, INTERRUPT_TIMEOUT_S = 60.0, 5.0
RETRY_WAIT_S, MAX_RETRY_WAIT_S = 1.0, 30.0  # the wait after a temporary error; doubled each time
TRANSIENT_ERROR_CODES = (
    "INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED",
)  # fmt: skip
LOGGED_FILES = (
    "config.yaml", "study.db", "search.json", "report.html",
    "compare.json", "compare.md", "compare.tex", "compare.html",
)  # fmt: skip
RUN_STATUS_BY_FAILURE = {True: "FAILED", False: "FINISHED"}


@dataclass(frozen=True)
class TrackedSearch:
    """Description of a search for MLflow, beside its runs.

    task, metric: their names. select_on: what ranks configurations, "holdout" or "dev". data, model: their
    "source", "name" and "fingerprint".
    """

    options: CommonOptions
    task: str
    metric: str
    select_on: str
    data: Mapping[str, str]
    model: Mapping[str, str]

    @classmethod
    def from_description(cls, options: CommonOptions, described: Mapping[str, Any]) -> TrackedSearch:
        """Build it from a plan as search.json has it (`tune.planning.plan.describe_plan`)."""
        select_on = described["plan"]["settings"]["select_on"]
        parts = {name: described[name] for name in ("task", "metric", "data", "model")}
        return cls(options, select_on=select_on, **parts)


class MlflowTracker(Watcher):
    """A watcher that writes to MLflow. error: why it gave up, empty if it did not; registered_model: the
    registered URI and version."""

    def __init__(
        self, uri: str, search: TrackedSearch, provenance: Provenance, search_id: str, name: str
    ) -> None:
        self.uri, self.error, self.registered_model = uri, "", ""
        self._search, self._provenance, self._search_id, self._name = search, provenance, search_id, name
        self._runs: dict[str, str] = {}
        self._events: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._closing, self._gave_up = threading.Event(), False
        self._thread = threading.Thread(target=self._process_events, name="mlflow", daemon=True)
        self._thread.start()
        self._events.put(self._open_parent_run)

    @property
    def view_command(self) -> str:
        """The command that opens the tracked results."""
        return stores.format_view_command(self.uri)

    @property
    def experiment(self) -> str:
        """The experiment's name; it has the data fingerprint so that results on different data never mix."""
        search, data = self._search, self._search.data
        return search.options.experiment or f"{search.task}-{data['source']}-{data['fingerprint'][:8]}"

    def trial_started(self, record: TrialRecord) -> None:
        copy = replace(record)
        self._events.put(lambda: self._log_trial_start(copy))

    def trial_reported(self, record: TrialRecord, evaluation: Evaluation) -> None:
        trial = record.id
        self._events.put(lambda: self._log_evaluation(trial, evaluation))

    def trial_ended(self, record: TrialRecord) -> None:
        copy = replace(record)
        self._events.put(lambda: self._log_trial_end(copy))

    def session_started(self, earlier: Sequence[TrialRecord]) -> None:
        """Log finished runs of earlier sessions that MLflow may have missed."""
        for record in earlier:
            if record.outcome.is_final:
                self._events.put(lambda record=record: self._log_finished_run(record))  # type: ignore[misc]

    def search_ended(self, document: SearchDocument) -> None:
        self._events.put(lambda: self._log_search_end(document))

    def comparison_ended(self, document: ComparisonDocument) -> None:
        self._events.put(lambda: self._log_comparison_end(document))

    def session_ended(self, output: Path, interrupted: bool, within_s: float | None = None) -> None:
        """Write what is left and the files of the search; wait a bounded time, in seconds."""
        if self._closing.is_set():
            return
        self._events.put(lambda: self._finish_runs(output, interrupted))
        self._events.put(None)
        self._closing.set()
        self._thread.join(within_s or (INTERRUPT_TIMEOUT_S if interrupted else FLUSH_TIMEOUT_S))
        if self._thread.is_alive() and not self.error:
            self.error = "MLflow did not finish in time"

    def _process_events(self) -> None:
        while (event := self._events.get()) is not None:
            if not self._gave_up:
                self._deliver_event(event)

    def _deliver_event(self, event: Callable[[], None]) -> None:
        """Write an event, retrying while MLflow is unreachable; once if the search is over or MLflow rejects
        it."""
        wait = RETRY_WAIT_S
        while True:
            is_last_try = self._closing.is_set()
            try:
                event()
                self.error = ""
                return
            except Exception as error:  # a tracker never fails the search
                self.error = f"{type(error).__name__}: {sanitise_line(error)[:200]}"
                self._gave_up = is_last_try or not _is_transient_error(error)
            if self._gave_up:
                return
            self._closing.wait(wait)
            wait = min(2 * wait, MAX_RETRY_WAIT_S)

    def _open_parent_run(self) -> None:
        self._client = stores.create_mlflow_client(self.uri)
        self._experiment_id = self._find_experiment()
        existing_runs = self._client.search_runs(
            [self._experiment_id], f"tags.`dps.search` = '{self._search_id}'", max_results=5000
        )
        self._runs = {run.data.tags["dps.trial"]: run.info.run_id for run in existing_runs}
        self._parent = self._open_run("search", self._name, self._search_tags())
        if not existing_runs:
            for key, value in redact_tree(
                self._search.options.model_dump(mode="json", exclude_none=True)
            ).items():
                self._client.log_param(self._parent, key, value)

    def _find_experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self.experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        file = stores.find_sqlite_file(self.uri)
        location = None if file is None else (file.resolve().parent / "mlartifacts").as_uri()
        return str(self._client.create_experiment(self.experiment, artifact_location=location))

    def _search_tags(self) -> dict[str, str]:
        search, origin = self._search, self._provenance
        return {
            "task": search.task,
            "method": ",".join(search.options.method_names),
            "model": search.model["name"],
            "model_fingerprint": search.model["fingerprint"],
            "data": search.data["name"],
            "data_fingerprint": search.data["fingerprint"],
            "git_commit": f"{origin.git_commit or 'none'}{' (changed)' if origin.git_dirty else ''}",
            **{f"version.{name}": version for name, version in origin.packages.items()},
        }

    def _open_run(self, trial: str, name: str, tags: dict[str, str]) -> str:
        """Open the MLflow run of a trial ("search": the parent), creating it if needed."""
        if trial in self._runs:
            self._client.update_run(self._runs[trial], status="RUNNING")
            return self._runs[trial]
        run_tags = {"dps.search": self._search_id, "dps.trial": trial, **tags}
        if trial != "search":
            run_tags["mlflow.parentRunId"] = self._parent
        run = self._client.create_run(self._experiment_id, run_name=name, tags=run_tags)
        self._runs[trial] = str(run.info.run_id)
        return self._runs[trial]

    def _log_trial_start(self, record: TrialRecord) -> None:
        is_known = record.id in self._runs
        tags = {"purpose": str(record.purpose), "outcome": str(Outcome.RUNNING), **self._search_tags()}
        tags["method"] = record.configuration["method"]
        name = f"trial-{record.id}" if record.purpose == RunPurpose.SEARCH else record.id
        run = self._open_run(record.id, name, tags)
        if not is_known:
            for key, value in {**record.configuration, "seed": record.seed}.items():
                self._client.log_param(run, key, value)

    def _log_finished_run(self, record: TrialRecord) -> None:
        run = self._runs.get(record.id)
        if run is not None and self._client.get_run(run).info.status in RUN_STATUS_BY_FAILURE.values():
            return
        self._log_trial_start(record)
        for step, score in record.scores:
            scores = {self._search.metric: score}
            self._log_evaluation(record.id, Evaluation(step, 0, scores, None, 0.0, [(step, score)]))
        self._log_trial_end(record)

    def _log_evaluation(self, trial: str, evaluation: Evaluation) -> None:
        from mlflow.entities import Metric

        confirms = RunId.parse(trial).purpose == RunPurpose.CONFIRMATION
        prefix = "dev" if confirms else self._search.select_on
        values = {f"{prefix}_{name}": value for name, value in evaluation.scores.items()}
        if evaluation.loss is not None:
            values["training_loss"] = evaluation.loss
        now = _get_time_ms()
        metrics = [Metric(key, value, now, evaluation.step) for key, value in values.items()]
        self._client.log_batch(self._runs[trial], metrics=metrics)

    def _log_trial_end(self, record: TrialRecord) -> None:
        run = self._runs[record.id]
        values = {"seconds": record.seconds, "selected_share": record.selected_share}
        if record.purpose != RunPurpose.CONFIRMATION:
            values["score"] = record.score
        for split, metrics in record.final.items():
            values |= {f"{split}_{name}": value for name, value in metrics.items()}
        for key, value in values.items():
            if value is not None:
                self._client.log_metric(run, key, value, step=record.step)
        self._client.set_tag(run, "outcome", str(record.outcome))
        if record.error:
            self._client.set_tag(run, "error", redact_secrets(record.error)[:500])
        self._client.set_terminated(run, RUN_STATUS_BY_FAILURE[record.outcome.is_failure])

    def _log_search_end(self, document: SearchDocument) -> None:
        for key, value in _collect_search_metrics(document).items():
            self._client.log_metric(self._parent, key, value)
        for key, value in document.winner.configuration.items() if document.winner else ():
            self._client.log_param(self._parent, f"winner.{key}", value)
        self._client.set_tag(self._parent, "mlflow.note.content", document.sentence)

    def _log_comparison_end(self, document: ComparisonDocument) -> None:
        """Log a run per method with equal metric names, so that they line up in MLflow's comparison view."""
        for method in document.methods:
            completed = any(run.outcome == Outcome.COMPLETED for run in method.runs)
            outcome = Outcome.COMPLETED if completed else Outcome.FAILED
            run = self._open_method_run(method.method, str(outcome))
            for key, value in method.configuration.items():
                self._client.log_param(run, key, value)
            for key, value in _collect_method_metrics(document, method.method).items():
                self._client.log_metric(run, key, value)
            verdict = document.main_result.methods[method.method].verdict
            self._client.set_tag(run, "mlflow.note.content", verdict or "the baseline")
            self._client.set_terminated(run, RUN_STATUS_BY_FAILURE[outcome.is_failure])
        for key, value in document.spent.to_json().items():
            self._client.log_metric(self._parent, key, value)
        self._client.set_tag(self._parent, "mlflow.note.content", "\n\n".join(document.sentences))

    def _open_method_run(self, name: str, outcome: str) -> str:
        """Create a method's run, replacing that of an earlier session."""
        trial = f"method {name}"
        if trial in self._runs:
            self._client.delete_run(self._runs.pop(trial))
        tags = {"purpose": "method", "outcome": outcome, **self._search_tags(), "method": name}
        return self._open_run(trial, name, tags)

    def _finish_runs(self, output: Path, interrupted: bool) -> None:
        for run in (r for r in self._runs.values() if r != self._parent):
            if self._client.get_run(run).info.status == "RUNNING":
                self._client.set_terminated(run, "KILLED")
        if not interrupted:
            for name in LOGGED_FILES:
                if (output / name).exists():
                    self._client.log_artifact(self._parent, str(output / name))
            if (output / "best").exists():
                self._client.log_artifacts(self._parent, str(output / "best"), "best")
                self._register_best(output / "best")
        self._client.set_terminated(self._parent, "KILLED" if interrupted else "FINISHED")

    def _register_best(self, best: Path) -> None:
        name = self._search.options.registered_name
        if name is None:
            return
        sentence = self._client.get_run(self._parent).data.tags.get("mlflow.note.content", "")
        version = register_model(self._client, self._parent, best, name, sentence)
        self.registered_model = f"{format_model_uri(name)}, version {version}"


def open_tracker(
    options: CommonOptions, described: Mapping[str, Any], provenance: Provenance, search_id: str, output: Path
) -> MlflowTracker | None:
    """Return the tracker that the options, or the environment, ask for; None for no tracking.

    described: the plan as search.json has it (`tune.planning.plan.describe_plan`).
    """
    uri = stores.resolve_tracking_uri(options.tracking_uri, output.parent)
    if uri is None:
        return None
    search = TrackedSearch.from_description(options, described)
    return MlflowTracker(uri, search, provenance, search_id, output.name)


def _collect_search_metrics(document: SearchDocument) -> dict[str, float]:
    """Return the MLflow metrics of a search: winner, difference to vanilla, cost."""
    values: dict[str, float | None] = {}
    if confirmed := document.confirmation:
        low, high = confirmed.interval or (None, None)
        for name, value in (("mean", confirmed.mean), ("std", confirmed.std), ("low", low), ("high", high)):
            values[f"dev_{document.metric}_{name}"] = value
    if document.baseline and (difference := document.baseline.difference):
        values |= _collect_difference_metrics("dev", difference, difference.p)
    values |= document.spent.to_json()
    return {key: float(value) for key, value in values.items() if value is not None}


def _collect_difference_metrics(
    name: str, difference: DifferenceSection, p: float | None
) -> dict[str, float | None]:
    """Return the MLflow metrics of a difference to the baseline on one evaluation set. p: its p value."""
    return {
        f"{name}_difference_points": difference.points,
        f"{name}_difference_p": p,
        f"{name}_probability_better": difference.probability_better,
    }


def _collect_method_metrics(document: ComparisonDocument, method: str) -> dict[str, float]:
    """Return the MLflow metrics of a method in a comparison."""
    values: dict[str, float | None] = document.costs[method].to_json()
    for name, result in document.results.items():
        row = result.methods[method]
        prefix = f"{name}_{result.metric}"
        for key in ("mean", "median", "std", "worst", "best"):
            values[f"{prefix}_{key}"] = getattr(row, key)
        values[f"{name}_collapsed"] = row.collapsed
        values[f"{prefix}_low"], values[f"{prefix}_high"] = row.interval
        if row.difference:
            values |= _collect_difference_metrics(name, row.difference, row.difference.adjusted_p)
    probe = document.probe.get(method, {})
    values |= {f"probe_{key.removeprefix('probe_')}": value for key, value in probe.items()}
    return {key: float(value) for key, value in values.items() if value is not None}


def _get_time_ms() -> int:
    import time

    return int(time.time() * 1000)


def _is_transient_error(error: Exception) -> bool:
    """Return whether an error is temporary and worth a retry."""
    return isinstance(error, OSError) or getattr(error, "error_code", "") in TRANSIENT_ERROR_CODES
