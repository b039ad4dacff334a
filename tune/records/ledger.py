"""The ledger: Optuna studies in SQLite on the driver. Everything is written here first.

Study "search" has a trial for each configuration tried, study "race" one for each further seed of the
best ones, study "confirmation" one for each fresh seed of the winner.
Intermediate values are the scores by optimizer step. What Optuna has no
field for (seed, outcome, seconds, error, ...) stands in user attributes. The records are kept in memory
too, so that what an operation costs does not grow with their number.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter

from dps.errors import InputError, find_root_cause, is_disk_full
from dps.text import redact_tree
from dps.training.result import Outcome, RunResult
from tune.core.run import RunId, RunPurpose
from tune.core.space import SearchSpace, make_configuration_key
from tune.records.identity import describe_changes
from tune.records.ledger_file import LOCK_TIMEOUT_S, open_ledger_file
from tune.records.notes import check_notes, is_another_look
from tune.records.stores import ErrorFactory, make_sqlite_url, shorten_error

SCHEMA_VERSION = 1
_OPTUNA_STATES = {Outcome.COMPLETED: TrialState.COMPLETE, Outcome.STOPPED: TrialState.PRUNED}


@dataclass
class TrialRecord(RunResult):
    """One run of a search as everyone else sees it: what it is, and what it came to.

    id: see `RunId`, whose purpose and number these are. configuration: "method" and its hyper-parameters.
    """

    id: str
    purpose: RunPurpose
    number: int
    configuration: dict[str, Any]
    seed: int

    @cached_property
    def configuration_key(self) -> str:
        """Text that equal configurations have in common, and no others: see `make_configuration_key`."""
        return make_configuration_key(self.configuration)

    @cached_property
    def arm(self) -> str:
        """The arm of a comparison that it belongs to; empty in a search."""
        return RunId.parse(self.id).arm

    def measure_share(self, evaluations: int) -> float:
        """Return the share of its steps up to its last score. evaluations: of a full run."""
        return 1.0 if self.outcome == Outcome.COMPLETED else min(1.0, len(self.scores) / evaluations)


_RECORD_ADAPTER = TypeAdapter(TrialRecord)
_OWN_PLACES = ("scores", "ended")  # of a result: Optuna has fields for these
_CHECKSUM = "checksum"  # the attribute of a trial that ended; earlier versions wrote none
_SHOWN_TEXTS = ("error", "warnings")  # of a result: no secret may stand in these; the rest is read again


class Ledger:
    """The studies of one search, opened or made.

    file: None keeps them in memory alone.
    direction: "max" or "min", of studies that are made.
    arm: of a comparison, whose arms share a file.
    refuse: makes the error for a file that cannot be read.

    seconds: wall time of the search, in all sessions, when it was last noted.
    """

    def __init__(
        self, file: Path | None, direction: str, arm: str = "", refuse: ErrorFactory | None = None
    ) -> None:
        self.arm, self.file = arm, file
        self._refuse = refuse or partial(make_ledger_error, file)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="The reported value is ignored")  # after a restart
        self._live: dict[str, optuna.Trial] = {}
        self._records: dict[RunPurpose, dict[int, TrialRecord]] = {}
        try:
            self._read(direction)
        except Exception as error:  # of Optuna, SQLAlchemy, SQLite or pydantic, by what the file holds
            if file is None or isinstance(error, InputError) or is_disk_full(error):
                raise
            reason = shorten_error(find_root_cause(error))
            raise self._refuse(f"cannot be read as a ledger ({reason})") from error

    def _read(self, direction: str) -> None:
        storage = self._storage = _open_storage(self.file)
        self._studies = {
            purpose: optuna.create_study(
                study_name=f"{self.arm}: {purpose}" if self.arm else str(purpose),
                storage=storage,
                direction=to_optuna_direction(direction),
                load_if_exists=True,
            )
            for purpose in RunPurpose
        }
        for purpose, study in self._studies.items():
            trials = [trial for trial in study.trials if _is_entered(trial)]
            self._records[purpose] = {trial.number: self._record(purpose, trial) for trial in trials}
        check_notes(self.study.user_attrs)
        self.seconds = float(self.noted("seconds") or 0.0)

    @property
    def study(self) -> optuna.Study:
        """Return the study of the search."""
        return self._studies[RunPurpose.SEARCH]

    def name_metric(self, metric: str) -> None:
        """Name what the studies hold, for whoever looks into them with Optuna."""
        for study in self._studies.values():
            study.set_metric_names([f"{metric} of one seed"])

    def open(self, identity: dict[str, Any]) -> None:
        """Note what this search is, or check that it is the search that the ledger holds.

        Raises InputError that shows the differences.
        """
        held = self.study.user_attrs.get("identity")
        if held is None and self.records():
            raise self._refuse("does not say which search its runs are of")
        if held is None:
            self.study.set_user_attr("schema_version", SCHEMA_VERSION)
            self.study.set_user_attr("identity", identity)
            return
        version = self.study.user_attrs.get("schema_version")
        if version != SCHEMA_VERSION:
            raise self._refuse(_describe_version(version))
        if changes := describe_changes(held, identity, self.noted("precision")):
            raise InputError(f"--resume: this is another search: {'; '.join(changes)}; use a new --output")

    def propose(self, space: SearchSpace, sampler: optuna.samplers.BaseSampler, seed: int) -> TrialRecord:
        """Enter a new trial of the search, its configuration proposed by `sampler`."""
        self.study.sampler = sampler
        with self._whole():
            trial = self.study.ask()
            configuration = space.suggest(trial)
            trial.set_user_attr("seed", seed)
            trial.set_user_attr("configuration", configuration)
        return self._keep(RunPurpose.SEARCH, trial, configuration, seed)

    def replicate(
        self,
        configuration: dict[str, Any],
        space: SearchSpace,
        seed: int,
        purpose: RunPurpose = RunPurpose.CONFIRMATION,
    ) -> TrialRecord:
        """Enter a new trial with this configuration and seed."""
        values, distributions = space.to_study_values(configuration), space.get_distributions(configuration)
        entered = FrozenTrial(  # not `create_trial`, which refuses published values outside a range
            number=-1, trial_id=-1, state=TrialState.RUNNING, value=None, intermediate_values={},
            datetime_start=datetime.now(), datetime_complete=None,
            params={name: values[name] for name in distributions}, distributions=distributions,
            user_attrs={"seed": seed, "configuration": configuration}, system_attrs={},
        )  # fmt: skip
        study = self._studies[purpose]
        with self._whole():  # not enqueue and ask, which reads every run that has not ended
            trial = optuna.Trial(study, self._storage.create_new_trial(study._study_id, entered))
        return self._keep(purpose, trial, configuration, seed)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Commit what is written within as one transaction: the disk is waited for once. Optuna alone commits
        each value by itself."""
        if not isinstance(self._storage, optuna.storages.RDBStorage):
            yield
            return
        sessions = self._storage.scoped_session
        sessions.remove()
        with self._storage.engine.connect() as connection, connection.begin():
            sessions(bind=connection, join_transaction_mode="rollback_only")  # of this thread, as Optuna's
            try:
                yield
            finally:
                sessions.remove()

    def _keep(
        self, purpose: RunPurpose, trial: optuna.Trial, configuration: dict[str, Any], seed: int
    ) -> TrialRecord:
        name = str(RunId(purpose, trial.number, self.arm))
        record = TrialRecord(name, purpose, trial.number, configuration, seed)
        self._records[purpose][trial.number] = record
        self._live[record.id] = trial
        return record

    def report(self, id: str, result: RunResult, spent_seconds: float = 0.0) -> None:
        """Note what a run has come to so far; the record of the trial hears of it too.

        spent_seconds: wall time of the search so far, in all sessions.
        """
        record = self._known(id)
        record.seconds = result.seconds or record.seconds
        with self._whole():
            self._note_scores(record, result.scores)
            self.note_seconds(spent_seconds)

    def note_seconds(self, spent_seconds: float) -> None:
        """Note the wall time of the search so far, which never falls."""
        if spent_seconds > self.seconds:
            self.note("seconds", spent_seconds)
            self.seconds = spent_seconds

    def _note_scores(self, record: TrialRecord, scores: list[tuple[int, float]]) -> None:
        """Note evaluations; some may be of a time when no process lived to hear of them."""
        for step, score in scores:
            if math.isfinite(score) and step not in dict(record.scores):
                self._trial(record.id).report(score, step)
                record.scores = sorted([*record.scores, (step, score)])

    def suspend(self, id: str) -> None:
        """Leave the trial open; a resume goes on with it."""
        self._live.pop(id, None)

    def finish(self, id: str, result: RunResult, spent_seconds: float = 0.0) -> TrialRecord:
        """Note the one final outcome of a trial, and all that it came to. spent_seconds: see `report`."""
        record = self._known(id)
        state = _OPTUNA_STATES.get(result.outcome, TrialState.FAIL)
        with self._whole():
            self._note_scores(record, result.scores)
            trial = self._trial(id)
            kept = _describe_result(result)
            written = {**trial.user_attrs, **kept}
            kept[_CHECKSUM] = _hash_trial(written, _as_stored(trial), record.scores, state)
            for name, content in kept.items():
                trial.set_user_attr(name, content)
            value = result.score if state == TrialState.COMPLETE else None
            frozen = self._studies[record.purpose].tell(trial, value, state=state)
            self.note_seconds(spent_seconds)
        self._live.pop(id, None)
        ended = self._record(record.purpose, frozen)
        self._records[record.purpose][ended.number] = ended
        return ended

    def records(self, *purposes: RunPurpose) -> list[TrialRecord]:
        """Return every trial of these purposes, or of all, in the order of their numbers."""
        return [record for purpose in purposes or RunPurpose for record in self._records[purpose].values()]

    def note(self, key: str, value: Any) -> None:
        """Keep a value with the study."""
        self.study.set_user_attr(key, value)

    def noted(self, key: str) -> Any:
        """Return a value kept with the study, or None."""
        return self.study.user_attrs.get(key)

    def note_look(self, seeds: int, configurations: Mapping[str, str] | None = None) -> list[int]:
        """Note that a verdict is given with so many fresh seeds; return all such numbers so far.

        configurations: key of what each arm was confirmed with, see `is_another_look`.
        """
        looks: list[int] = self.noted("looks") or []
        before, now = self.noted("looked_at") or {}, {**(configurations or {})}
        if seeds:
            looks = [*looks, seeds] if is_another_look(looks, seeds, before, now) else looks
            self.note("looks", looks)
            self.note("looked_at", before | now)
        return looks

    def note_earlier_look(self) -> None:
        """Note the verdict of a search that ended under a version which counted none."""
        if self.noted("ended") and self.noted("looks") is None:
            self.note("looks", [len({run.seed for run in self.records(RunPurpose.CONFIRMATION)})])

    def _record(self, purpose: RunPurpose, trial: FrozenTrial) -> TrialRecord:
        attributes = trial.user_attrs
        over = trial.state.is_finished()  # what `finish` wrote counts once the study was told
        scores = [
            (step, value) for step, value in sorted(trial.intermediate_values.items()) if math.isfinite(value)
        ]
        if over and attributes.get(_CHECKSUM, "") not in (
            "",
            _hash_trial(attributes, trial.params, scores, trial.state),
        ):
            raise ValueError(f"{purpose} run {trial.number} is not what was written")
        values = {
            **attributes,
            "id": str(RunId(purpose, trial.number, self.arm)),
            "purpose": purpose,
            "number": trial.number,
            "outcome": attributes["outcome"] if over else Outcome.RUNNING,
            "scores": scores,
            "ended": trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0,
        }
        return _RECORD_ADAPTER.validate_python(values)

    def _known(self, id: str) -> TrialRecord:
        run = RunId.parse(id)
        return self._records[run.purpose][run.number]

    def _trial(self, id: str) -> optuna.Trial:
        if id not in self._live:
            run = RunId.parse(id)
            study = self._studies[run.purpose]
            self._live[id] = optuna.Trial(study, study.trials[run.number]._trial_id)
        return self._live[id]


def _describe_result(result: RunResult) -> dict[str, Any]:
    """Return what the ledger keeps of a result beside the scores, without secrets in its texts."""
    values = {each.name: getattr(result, each.name) for each in fields(RunResult)}
    return {
        name: redact_tree(value) if name in _SHOWN_TEXTS else value
        for name, value in values.items()
        if value and name not in _OWN_PLACES
    }


def _as_stored(trial: optuna.Trial) -> dict[str, Any]:
    """Return the parameters as the study gives them back: a whole number of a range as a float."""
    kinds = trial.distributions
    return {
        name: kinds[name].to_external_repr(kinds[name].to_internal_repr(value))
        for name, value in trial.params.items()
    }


def _hash_trial(
    attributes: Mapping[str, Any],
    params: Mapping[str, Any],
    scores: Sequence[tuple[int, float]],
    state: TrialState,
) -> str:
    """Return the SHA-256 of what a trial that ended holds, as it is written and read."""
    content = {name: value for name, value in attributes.items() if name != _CHECKSUM}
    held = [content, params, [(int(step), float(score) + 0.0) for step, score in scores], state.name]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def check_ledger(file: Path) -> None:
    """Raise InputError unless this program can read `file` as a ledger."""
    open_ledgers(file, partial(make_ledger_error, file))


def open_ledgers(file: Path, refuse: ErrorFactory) -> list[Ledger]:
    """Open the ledger of every arm in a file. Raises refuse(reason) unless this program can read it."""
    return [Ledger(file, "max", arm, refuse) for arm in list_arms(file, refuse)]


def list_arms(file: Path, refuse: ErrorFactory) -> list[str]:
    """Return the arms whose studies a file holds. Raises refuse(reason) unless this program can read it."""
    try:
        with open_ledger_file(file, refuse) as held:
            studies = [name for (name,) in held.execute("SELECT study_name FROM studies")]
            versions = held.execute(
                "SELECT value_json FROM study_user_attributes WHERE key = 'schema_version'"
            ).fetchall()
    except sqlite3.Error as error:
        raise refuse(f"cannot be read as a ledger ({shorten_error(error)})") from None
    if not versions:
        raise refuse("holds no study of a search")
    for (version,) in versions:
        if version != str(SCHEMA_VERSION):
            raise refuse(_describe_version(version))
    return list(dict.fromkeys(name.rpartition(": ")[0] for name in studies))


def make_ledger_error(file: Path | None, reason: str) -> InputError:
    """Make the error for a ledger that no search can go on from."""
    return InputError(f"--resume: {file} {reason}; start again with another --output")


def _describe_version(version: object) -> str:
    return f"has version {version}, and this program reads {SCHEMA_VERSION}; use the version that created it"


def to_optuna_direction(direction: str) -> Literal["maximize", "minimize"]:
    """Optuna's word for "max" or "min"."""
    return "maximize" if direction == "max" else "minimize"


def _open_storage(file: Path | None) -> optuna.storages.BaseStorage:
    if file is None:
        return optuna.storages.InMemoryStorage()
    return optuna.storages.RDBStorage(
        make_sqlite_url(file), engine_kwargs={"connect_args": {"timeout": LOCK_TIMEOUT_S}}
    )


def _is_entered(trial: FrozenTrial) -> bool:
    return "configuration" in trial.user_attrs
