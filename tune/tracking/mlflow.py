"""MLflow tracking: one experiment per task and data source, a parent run per search, a child run per trial.

Only the driver writes, in a thread (`tune.tracking.delivery`): training never waits for MLflow, and a failing
tracker never fails the search. The ledger holds everything that is written here: `python -m tune.tracking
sync DIR` delivers later what is missing.

What no session can change is a parameter: MLflow keeps the first value for ever. What a later session may
change (the winner, what a resume may change of the options) is a tag.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dps.text import redact_secrets
from dps.training.result import Evaluation, Outcome
from tune.core.options import CommonOptions
from tune.core.provenance import Provenance
from tune.core.run import Progress, RunPurpose
from tune.records import stores
from tune.records.comparison_document import ComparisonDocument, MethodSection
from tune.records.events import Watcher
from tune.records.ledger import TrialRecord
from tune.records.saved_options import find_runs_folder
from tune.records.search_document import SearchDocument
from tune.tracking.content import (
    TrackedSearch,
    choose_compared,
    collect_evaluation_metrics,
    collect_method_metrics,
    collect_options,
    collect_search_metrics,
    collect_search_tags,
    collect_trial_metrics,
    collect_trial_params,
    describe_search,
    format_pages,
    get_time_ms,
    is_complete,
    make_data_input,
    name_curve,
    name_run,
)
from tune.tracking.delivery import Delivery, Server
from tune.tracking.registry import format_model_uri, register_model

if TYPE_CHECKING:
    from mlflow.entities import Run

FLUSH_TIMEOUT_S, INTERRUPT_TIMEOUT_S = 60.0, 5.0
START_HOLD_S = 15.0  # see `Delivery`
MAX_VALUE_LENGTH = 6000  # characters of a parameter or a tag
LOCAL_ADDRESS = "http://127.0.0.1:5000"  # of `mlflow ui`
NOTE = "mlflow.note.content"  # the tag of a description
PARENT = "search"  # the tag dps.trial of the parent run
METHOD_PREFIX = "method "  # of that tag, of a comparison's methods
WINNER_PREFIX, BASELINE_PREFIX = "winner.", "baseline."  # of tags
LOGGED_FILES = (
    "config.yaml", "study.db", "search.json", "report.html",
    "compare.json", "compare.md", "compare.tex", "compare.html",
)  # fmt: skip
RUN_STATUS_BY_FAILURE = {True: "FAILED", False: "FINISHED"}


class MlflowTracker(Watcher, Server):
    """A watcher that writes to MLflow. registered_model: the registered URI and version.

    warn: told at once of what MLflow refuses.
    """

    def __init__(
        self,
        uri: str,
        search: TrackedSearch,
        provenance: Provenance,
        search_id: str,
        name: str,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.uri, self.registered_model, self._warn = uri, "", warn
        self._search, self._search_id, self._name = search, search_id, name
        self._tags = collect_search_tags(search, provenance)
        self._runs: dict[str, str] = {}  # MLflow's id by trial
        self._completed = list[str]()  # trials
        self._sent = defaultdict[str, dict[int, float]](dict)  # a run's curve as MLflow has it, by trial
        self._held: dict[str, Run] = {}  # by trial, as MLflow had them when they were last looked up
        self._is_unsure = False  # whether a run may have been made without this process having heard of it
        self._delivery = Delivery(self, warn, START_HOLD_S)

    @property
    def error(self) -> str:
        """What MLflow did not take and why; empty if it has everything."""
        return self._delivery.error

    @property
    def view_command(self) -> str:
        """The command that opens the tracked results."""
        return stores.format_view_command(self.uri)

    @property
    def pages(self) -> list[str]:
        """Lines with the addresses of the pages that show the runs; empty while there are none."""
        if PARENT not in self._runs:
            return []
        address = redact_secrets(self.uri) if self.uri.startswith("http") else LOCAL_ADDRESS
        compared = [self._runs[trial] for trial in choose_compared(self._completed) if trial in self._runs]
        return format_pages(address.rstrip("/"), self._experiment_id, compared)

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        search = self._search
        return stores.name_experiment(search.options.experiment, search.task, search.data)

    def trial_started(self, record: TrialRecord) -> None:
        write = partial(self._log_trial_start, replace(record))
        self._delivery.put(name_run(record), write, waits=True)

    def trial_progressed(self, record: TrialRecord, progress: Progress) -> None:
        if progress.step:
            self._delivery.release()

    def trial_reported(self, record: TrialRecord, evaluation: Evaluation) -> None:
        write = partial(self._log_evaluation, record.id, evaluation, get_time_ms())
        self._delivery.put(name_run(record), write)

    def trial_ended(self, record: TrialRecord) -> None:
        self._note_completed(record)
        self._delivery.put(name_run(record), partial(self._log_trial_end, replace(record), get_time_ms()))

    def session_started(self, earlier: Sequence[TrialRecord]) -> None:
        """Log what MLflow may have missed of the runs that ended in earlier sessions."""
        for record in earlier:
            if record.outcome.is_final:
                self._note_completed(record)
                self._delivery.put(name_run(record), partial(self._log_finished_run, record))

    def _note_completed(self, record: TrialRecord) -> None:
        if record.purpose == RunPurpose.SEARCH and record.outcome == Outcome.COMPLETED:
            self._completed.append(record.id)

    def search_ended(self, document: SearchDocument) -> None:
        self._delivery.put("the result", partial(self._log_search_end, document))

    def comparison_ended(self, document: ComparisonDocument) -> None:
        for method in document.methods:
            self._delivery.put(f"method {method.method}", partial(self._log_method, document, method))
        self._delivery.put("the result", partial(self._log_comparison_end, document))

    def session_ended(self, output: Path, interrupted: bool, within_s: float | None = None) -> None:
        """Write what is left and the files of the search; wait a bounded time, in seconds."""
        if self._delivery.is_closed:
            return
        self._delivery.put("the ends of runs", self._kill_open_runs)
        if not interrupted:
            for name in LOGGED_FILES:
                self._delivery.put(name, partial(self._log_file, output / name))
            self._delivery.put("best/", partial(self._log_best, output / "best"))
            self._delivery.put("the model", partial(self._register_best, output / "best"))
        self._delivery.put("the end", partial(self._end_parent, interrupted))
        self._delivery.close(within_s or (INTERRUPT_TIMEOUT_S if interrupted else FLUSH_TIMEOUT_S))

    def connect(self) -> None:
        """Open the parent run, made new or that of the session before."""
        self._client = stores.create_mlflow_client(self.uri)
        self._experiment_id = self._find_experiment()
        self._look_up_runs()
        self._open_parent_run()

    def is_reachable(self) -> bool:
        try:
            self._client.get_experiment(self._experiment_id)
        except Exception:
            return False
        return True

    def recover(self) -> bool:
        """Restore the runs that were deleted in MLflow, and forget those that are gone for good."""
        before = dict(self._runs)
        restored = self._look_up_runs()
        if restored:
            self._warn(f"MLflow: restored the runs of this search that had been deleted there: {restored}")
        if PARENT not in self._runs:
            self._open_parent_run()
        return restored > 0 or before != self._runs

    def _find_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        if (found := stores.find_experiment(self._client, self.experiment)) is not None:
            return found
        file = stores.find_sqlite_file(self.uri)
        location = None if file is None else (file.resolve().parent / "mlartifacts").as_uri()
        try:
            tags = {NOTE: describe_search(self._search)}
            return str(self._client.create_experiment(self.experiment, location, tags))
        except MlflowException:  # another search may have made it meanwhile
            found = stores.find_experiment(self._client, self.experiment)
            if found is None:
                raise
            return found

    def _look_up_runs(self) -> int:
        """Look up the runs of this search. Returns how many were deleted, which are restored."""
        from mlflow.entities import LifecycleStage, ViewType

        found: list[Run] = []
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self._experiment_id],
                f"tags.`dps.search` = '{self._search_id}'",
                ViewType.ALL,
                max_results=1000,
                page_token=token or None,
            )
            found, token = [*found, *page], page.token or None
        active = [run for run in found if run.info.lifecycle_stage == LifecycleStage.ACTIVE]
        held = {run.data.tags["dps.trial"]: run for run in active}
        deleted = {
            trial: run
            for run in found
            if (trial := run.data.tags["dps.trial"]) not in held and not trial.startswith(METHOD_PREFIX)
        }
        for run in deleted.values():
            self._client.restore_run(run.info.run_id)
        self._held = held | deleted
        self._runs = {trial: run.info.run_id for trial, run in self._held.items()}
        return len(deleted)

    def _open_parent_run(self) -> None:
        fixed, changeable = collect_options(self._search)
        self._parent = self._open_run(PARENT, self._name, self._tags, fixed)
        parent = self._client.get_run(self._parent)
        note = {} if NOTE in parent.data.tags else {NOTE: describe_search(self._search)}
        self._write(PARENT, tags={**note, **self._tags, **changeable})
        if parent.inputs is None or not parent.inputs.dataset_inputs:
            self._client.log_inputs(self._parent, [make_data_input(self._search)])
        for trial, run in self._held.items():
            if trial != PARENT and run.data.tags.get("mlflow.parentRunId") != self._parent:
                self._write(trial, tags={"mlflow.parentRunId": self._parent})

    def _open_run(self, trial: str, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
        """Open the run of a trial, or the parent, created if needed; add the parameters that it lacks."""
        if trial not in self._runs and self._is_unsure:
            self._look_up_runs()
        if trial in self._runs:
            self._client.update_run(self._runs[trial], status="RUNNING")
        else:
            self._is_unsure = True
            run_tags = {"dps.search": self._search_id, "dps.trial": trial, **tags}
            if trial != PARENT:
                run_tags["mlflow.parentRunId"] = self._parent
            run = self._client.create_run(self._experiment_id, run_name=name, tags=run_tags)
            self._runs[trial], self._is_unsure = str(run.info.run_id), False
        held = self._held[trial].data.params if trial in self._held else {}
        self._write(trial, params={key: value for key, value in params.items() if key not in held})
        return self._runs[trial]

    def _write(
        self,
        trial: str,
        metrics: Mapping[str, float | None] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        step: int = 0,
        time_ms: int | None = None,
    ) -> None:
        """Write to a run in one request. Metrics without a value are left out."""
        from mlflow.entities import Metric, Param, RunTag

        now = get_time_ms() if time_ms is None else time_ms
        points = [Metric(k, float(v), now, step) for k, v in (metrics or {}).items() if v is not None]
        held = [Param(key, str(value)[:MAX_VALUE_LENGTH]) for key, value in (params or {}).items()]
        said = [RunTag(key, str(value)[:MAX_VALUE_LENGTH]) for key, value in (tags or {}).items()]
        if points or held or said:
            self._client.log_batch(self._runs[trial], points, held, said)

    def _log_trial_start(self, record: TrialRecord) -> None:
        tags = {"purpose": str(record.purpose), "outcome": str(Outcome.RUNNING), **self._tags}
        tags["method"] = record.configuration["method"]
        name = f"trial-{record.id}" if record.purpose == RunPurpose.SEARCH else record.id
        run = self._open_run(record.id, name, tags, collect_trial_params(record))
        curve = name_curve(record.id, self._search.metric, self._search.metric)
        known = self._client.get_metric_history(run, curve) if record.id in self._held else ()
        self._sent[record.id] = {point.step: point.value for point in known}

    def _log_finished_run(self, record: TrialRecord) -> None:
        """Log what MLflow lacks of a run that ended."""
        run = self._held.get(record.id)
        is_over = run is not None and run.info.status in RUN_STATUS_BY_FAILURE.values()
        if run is not None and is_over and is_complete(run, record):
            return
        self._log_trial_start(record)
        curve = name_curve(record.id, self._search.metric, self._search.metric)
        for step, score in record.scores:
            if self._sent[record.id].get(step) != score:
                self._write(record.id, {curve: score}, step=step)
                self._sent[record.id][step] = score
        self._log_trial_end(record)

    def _log_evaluation(self, trial: str, evaluation: Evaluation, time_ms: int) -> None:
        if trial not in self._runs or self._sent[trial].get(evaluation.step) == evaluation.score:
            return  # one that is gone from MLflow its end makes anew
        values = collect_evaluation_metrics(trial, evaluation, self._search.metric)
        self._write(trial, values, step=evaluation.step, time_ms=time_ms)
        self._sent[trial][evaluation.step] = evaluation.score

    def _log_trial_end(self, record: TrialRecord, time_ms: int | None = None) -> None:
        if record.id not in self._runs:
            self._log_finished_run(record)
            return
        tags = {"outcome": str(record.outcome)}
        if record.error:
            tags["error"] = redact_secrets(record.error)[:500]
        figures = collect_trial_metrics(record, self._sent[record.id].get(record.step) == record.score)
        self._write(record.id, figures, tags=tags, step=record.step, time_ms=time_ms)
        status = RUN_STATUS_BY_FAILURE[record.outcome.is_failure]
        self._client.set_terminated(self._runs[record.id], status)

    def _log_search_end(self, document: SearchDocument) -> None:
        winner = document.winner.configuration if document.winner else {}
        tags = {f"{WINNER_PREFIX}{key}": value for key, value in winner.items()}
        tags |= {f"{BASELINE_PREFIX}{each.name}": each.verdict for each in document.baselines}
        for key in self._client.get_run(self._parent).data.tags:
            if key.startswith((WINNER_PREFIX, BASELINE_PREFIX)) and key not in tags:  # of an earlier winner
                self._client.delete_tag(self._parent, key)
        tags[NOTE] = describe_search(self._search, document.sentence)
        self._write(PARENT, collect_search_metrics(document), tags=tags)

    def _log_method(self, document: ComparisonDocument, method: MethodSection) -> None:
        """Log the run of a method. Metric names are equal, so that methods line up in MLflow's comparison."""
        completed = any(run.outcome == Outcome.COMPLETED for run in method.runs)
        outcome = Outcome.COMPLETED if completed else Outcome.FAILED
        trial = f"{METHOD_PREFIX}{method.method}"
        if trial in self._runs:  # of an earlier session: its parameters may be others
            self._client.delete_run(self._runs.pop(trial))
            self._held.pop(trial, None)
        tags = {"purpose": "method", "outcome": str(outcome), **self._tags, "method": method.method}
        self._open_run(trial, method.method, tags, method.configuration)
        verdict = document.main_result.methods[method.method].verdict
        note = {NOTE: verdict or "the baseline"}
        self._write(trial, collect_method_metrics(document, method.method), tags=note)
        self._client.set_terminated(self._runs[trial], RUN_STATUS_BY_FAILURE[outcome.is_failure])

    def _log_comparison_end(self, document: ComparisonDocument) -> None:
        note = {NOTE: describe_search(self._search, *document.sentences)}
        self._write(PARENT, document.spent.to_json(), tags=note)

    def _kill_open_runs(self) -> None:
        for run in (r for r in self._runs.values() if r != self._parent):
            if self._client.get_run(run).info.status == "RUNNING":
                self._client.set_terminated(run, "KILLED")

    def _log_file(self, file: Path) -> None:
        if file.exists():
            stores.check_artifact_place(self._client.get_run(self._parent))
            self._client.log_artifact(self._parent, str(file))

    def _log_best(self, best: Path) -> None:
        if best.exists():
            stores.check_artifact_place(self._client.get_run(self._parent))
            self._client.log_artifacts(self._parent, str(best), "best")

    def _register_best(self, best: Path) -> None:
        name = self._search.options.registered_name
        if name is None or not best.exists():
            return
        stores.check_artifact_place(self._client.get_run(self._parent))
        sentence = self._client.get_run(self._parent).data.tags.get("mlflow.note.content", "")
        version = register_model(self._client, self._parent, best, name, sentence)
        self.registered_model = f"{format_model_uri(name)}, version {version}"

    def _end_parent(self, interrupted: bool) -> None:
        self._client.set_terminated(self._parent, "KILLED" if interrupted else "FINISHED")


def open_tracker(
    options: CommonOptions,
    described: Mapping[str, Any],
    provenance: Provenance,
    search_id: str,
    output: Path,
    warn: Callable[[str], None],
) -> MlflowTracker | None:
    """Return the tracker that the options, or the environment, ask for; None for no tracking.

    described: the plan as search.json has it (`tune.planning.plan.describe_plan`). warn: told at once of what
    MLflow refuses.
    """
    uri = stores.resolve_tracking_uri(options.tracking_uri, find_runs_folder(output))
    if uri is None:
        return None
    search = TrackedSearch.from_description(options, described)
    return MlflowTracker(uri, search, provenance, search_id, output.name, warn)
