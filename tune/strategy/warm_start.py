"""Earlier searches, for --warm-start: which configurations they tried, and how well each did there."""

from __future__ import annotations

import ast
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.study import StudyDirection, StudySummary

from dps.errors import InputError
from dps.ranges import Choice, Domain
from dps.tasks.registry import TASKS
from dps.training.result import Outcome
from tune.core.direction import Direction
from tune.core.run import RunPurpose
from tune.core.space import SearchSpace, encode_configurations, make_configuration_key
from tune.records.ledger import SCHEMA_VERSION, Ledger, TrialRecord
from tune.records.stores import (
    create_mlflow_client,
    open_sqlite_copy,
    open_tracking_store,
    parse_sqlite_path,
    shorten_error,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT_PREFIX = "mlflow:"
MIN_PROPOSAL_DISTANCE = (
    0.05  # that two proposals are, at least: root mean square over the columns of `encode_configurations`
)
MAX_EARLIER_TRIALS, EARLIER_TRIALS_DECAY = (
    16,
    2,
)  # earlier trials to learn from, and how many fewer for each one of one's own
MAX_EARLIER_RUNS = 5000
WARM_START_ADVICE = f"give the output folder of a search, its study.db or {EXPERIMENT_PREFIX}EXPERIMENT"
REQUIRED_TRIAL_TAGS = {"dps.search", "dps.trial", "task", "outcome"}  # of a trial's run in MLflow


@dataclass(frozen=True)
class EarlierConfiguration:
    """A configuration that an earlier search tried.

    configuration: "method" and its hyper-parameters, as in `tune.records.ledger.TrialRecord`. standing: how
    good it was
    within its own search, as a normal score (van der Waerden): the quantile of the standard normal
    distribution at (rank - 1/2) / n among the n configurations of the search, tied ranks averaged. 0 is the
    middle, higher is better whatever the metric's direction. origin: where it is from, for a message.
    """

    configuration: dict[str, Any]
    standing: float
    origin: str


@dataclass(frozen=True)
class _EarlierSearch:
    """Finished trials of an earlier search, or of one arm of a comparison."""

    task: str
    direction: str
    tried: list[TrialRecord]
    raced: list[TrialRecord]


def read_earlier_searches(text: str, named: str | None = None) -> list[EarlierConfiguration]:
    """What the sources in `text` tried; several stand with commas between them.

    A source is the output folder of a search or comparison, its study.db, the URL of that (sqlite:///...), or
    mlflow:EXPERIMENT in the store that `tune.records.stores.resolve_tracking_uri` decides on. named:
    --tracking-uri. The
    arms of a comparison are searches of their own. Raises InputError for a source that does not exist, cannot
    be read or holds no finished trial.
    """
    sources = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    if not sources:
        raise InputError(f"--warm-start: {text!r} names nothing; {WARM_START_ADVICE}")
    return [one for source in sources for one in _read_source(source, named)]


def adapt_to_space(earlier: Sequence[EarlierConfiguration], space: SearchSpace) -> list[EarlierConfiguration]:
    """Those that `space` can express, best first; the order of `earlier` changes nothing but the words of
    origin.

    The method and each of its hyper-parameters must be there. A number outside a range is moved to its end, a
    value that a list lacks rules the configuration out, and what is not searched is dropped. Configurations
    that become the same are one, with the mean of their standings.
    """
    same: dict[str, list[EarlierConfiguration]] = {}
    for one in earlier:
        configuration = _adapt_configuration(one.configuration, space)
        if configuration is not None:
            same.setdefault(make_configuration_key(configuration), []).append(
                replace(one, configuration=configuration)
            )
    return sorted(
        map(_merge_duplicates, same.values()),
        key=lambda one: (-one.standing, make_configuration_key(one.configuration)),
    )


def propose_first_trials(
    earlier: Sequence[EarlierConfiguration], space: SearchSpace, count: int
) -> list[dict[str, Any]]:
    """Configurations worth trying first: at most `count`, the best first.

    They fit in `space`, were better than the middle of their search, and lie at least APART from each other,
    so that the few trials spent on them are no neighbours.
    """
    good = [one.configuration for one in adapt_to_space(earlier, space) if one.standing > 0]
    places = encode_configurations(space, good)
    taken: list[int] = []
    for number, place in enumerate(places):
        apart = np.sqrt(np.square(places[taken] - place).mean(axis=1))
        if len(taken) < count and (apart >= MIN_PROPOSAL_DISTANCE).all():
            taken.append(number)
    return [good[number] for number in taken]


def count_trusted_trials(own: int) -> int:
    """How many earlier trials stand beside `own` (>= 0) finished trials of this search in what the sampler
    learns from.

    16 at first, two fewer for each trial of its own. TPE wants 8 trials before its model begins: with these
    it has them at once, earlier ones are the lesser part from the sixth own trial on, and from the eighth on
    the search, which alone knows its own task and model, learns from itself.
    """
    return max(0, MAX_EARLIER_TRIALS - EARLIER_TRIALS_DECAY * own)


def _read_source(source: str, named: str | None) -> list[EarlierConfiguration]:
    searches = (
        _read_mlflow_source(source, named)
        if source.startswith(EXPERIMENT_PREFIX)
        else _read_ledger_source(source)
    )
    trials = sum(len(search.tried) for search in searches)
    if not trials:
        raise _source_error(source, "holds no finished trial of a search")
    tasks = ", ".join(sorted({search.task for search in searches if search.tried}))
    origin = f"{source} ({tasks}, {trials} trial{'s' if trials > 1 else ''})"
    return [
        EarlierConfiguration(configuration, standing, origin)
        for search in searches
        for configuration, standing in _rank_configurations(search)
    ]


def _rank_configurations(search: _EarlierSearch) -> list[tuple[dict[str, Any], float]]:
    """The configurations of a search, each with its standing."""
    same: dict[str, list[TrialRecord]] = {}
    for record in search.tried:
        same.setdefault(make_configuration_key(record.configuration), []).append(record)
    raced: dict[str, list[TrialRecord]] = {}
    for record in search.raced:
        raced.setdefault(make_configuration_key(record.configuration), []).append(record)
    sign = Direction(search.direction).sign
    qualities = [_configuration_quality(records, raced.get(key, []), sign) for key, records in same.items()]
    return [
        (records[0].configuration, standing)
        for records, standing in zip(same.values(), _normal_scores(qualities), strict=True)
    ]


def _configuration_quality(
    tried: list[TrialRecord], raced: list[TrialRecord], sign: int
) -> tuple[int, int, float]:
    """What a configuration came to, higher is better: the mean over its full runs, else how far it went
    before it was stopped and its score there, else that it diverged."""
    full = [r.score for r in (*tried, *raced) if r.outcome == Outcome.COMPLETED and r.score is not None]
    if full:
        return 2, 0, sign * fmean(full)
    stopped = [
        (1, r.step, sign * r.score) for r in tried if r.outcome == Outcome.STOPPED and r.score is not None
    ]
    return max(stopped, default=(0, 0, 0.0))


def _normal_scores(qualities: list[tuple[int, int, float]]) -> list[float]:
    """See `Earlier.standing`. The mean rank of what is tied, less 1/2, is (fewer + not more) / 2."""
    ordered, normal = sorted(qualities), NormalDist()
    return [
        normal.inv_cdf((bisect_left(ordered, one) + bisect_right(ordered, one)) / (2 * len(ordered)))
        for one in qualities
    ]


def _is_informative(record: TrialRecord) -> bool:
    """Whether the trial says something of its configuration: the lost, the failed and the running do not."""
    if not record.configuration.keys() >= {"method", "learning_rate"}:
        return False
    scored = record.outcome in (Outcome.COMPLETED, Outcome.STOPPED) and record.score is not None
    return scored or record.outcome == Outcome.DIVERGED


def _read_ledger_source(source: str) -> list[_EarlierSearch]:
    """The searches in a ledger."""
    with open_sqlite_copy(_study_file(source), partial(_source_error, source)) as copy:
        try:
            studies = _search_studies(copy)
            current = {n: s for n, s in studies.items() if s.user_attrs["schema_version"] == SCHEMA_VERSION}
            searches = [_read_study(copy, name, summary) for name, summary in current.items()]
        except Exception as error:  # of Optuna, SQLAlchemy or SQLite, by what the file holds
            raise _source_error(source, f"cannot be read as a study ({shorten_error(error)})") from None
    if not studies:
        raise _source_error(source, "holds no study of a search")
    if len(current) < len(studies):
        raise _source_error(source, f"is of another version than {SCHEMA_VERSION}, which this program reads")
    return searches


def _study_file(source: str) -> Path:
    """The file of a study that is named by its folder, path or URL."""
    path = parse_sqlite_path(source) if "://" in source else Path(source)
    if path is None:
        raise _source_error(source, "is no URL of a SQLite file (sqlite:///...)")
    if not path.exists():
        raise _source_error(source, "does not exist")
    file = path / "study.db" if path.is_dir() else path
    if not file.is_file():
        raise _source_error(source, "holds no study.db")
    return file


def _search_studies(copy: Path) -> dict[str, StudySummary]:
    """The studies of searches, by name."""
    found = optuna.get_all_study_summaries(f"sqlite:///{copy}", include_best_trial=False)
    return {
        one.study_name: one
        for one in found
        if one.study_name.rpartition(": ")[2] == RunPurpose.SEARCH and "identity" in one.user_attrs
    }


def _read_study(copy: Path, name: str, summary: StudySummary) -> _EarlierSearch:
    direction = "max" if summary.direction == StudyDirection.MAXIMIZE else "min"
    ledger = Ledger(copy, direction, arm=name.rpartition(": ")[0])
    return _EarlierSearch(
        task=summary.user_attrs["identity"]["task"],
        direction=direction,
        tried=[record for record in ledger.records(RunPurpose.SEARCH) if _is_informative(record)],
        raced=[record for record in ledger.records(RunPurpose.RACE) if _is_informative(record)],
    )


def _read_mlflow_source(source: str, named: str | None) -> list[_EarlierSearch]:
    """The searches in an experiment."""
    from tune.records.stores import resolve_tracking_uri

    uri = resolve_tracking_uri(named, Path("runs"))
    if uri is None:
        raise InputError(f"--warm-start: {source} needs MLflow; give --tracking-uri or another source")
    with open_tracking_store(uri, partial(_source_error, source)) as store:
        try:
            runs = _fetch_runs(store, source.removeprefix(EXPERIMENT_PREFIX))
        except Exception as error:  # of MLflow, SQLAlchemy or the network
            raise _source_error(source, f"cannot be read from {uri} ({shorten_error(error)})") from None
    if runs is None:
        raise _source_error(source, f"names no experiment of {uri}")
    searches: dict[tuple[str, str, str], list[TrialRecord]] = {}
    for tags, record in runs:
        searches.setdefault((tags["dps.search"], record.arm, tags["task"]), []).append(record)
    return [
        _EarlierSearch(task, TASKS[task].direction if task in TASKS else "max", records, [])
        for (_, _, task), records in searches.items()
    ]


def _fetch_runs(store: str, experiment: str) -> list[tuple[dict[str, str], TrialRecord]] | None:
    """Tags and trial of each run that tells, among the last MOST_RUNS trials of searches; None where there
    is no such experiment."""
    client = create_mlflow_client(store)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs([found.experiment_id], "tags.purpose = 'search'", max_results=MAX_EARLIER_RUNS)
    trials = [
        (run.data.tags, _record_from_run(client, run))
        for run in runs
        if run.data.tags.keys() >= REQUIRED_TRIAL_TAGS
    ]
    return [(tags, record) for tags, record in trials if _is_informative(record)]


def _record_from_run(client: MlflowClient, run: Run) -> TrialRecord:
    """The trial of a run. What MLflow keeps as text becomes what it was."""
    tags, score = run.data.tags, run.data.metrics.get("score")
    outcome = Outcome(tags["outcome"])
    step = 0
    if outcome == Outcome.STOPPED and score is not None:
        step = client.get_metric_history(run.info.run_id, "score")[-1].step
    return TrialRecord(
        id=tags["dps.trial"],
        purpose=RunPurpose.SEARCH,
        number=0,
        configuration={key: _parse_value(text) for key, text in run.data.params.items() if key != "seed"},
        seed=-1,
        outcome=outcome,
        scores=[] if score is None else [(step, score)],
    )


def _parse_value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _adapt_configuration(configuration: dict[str, Any], space: SearchSpace) -> dict[str, Any] | None:
    """The configuration within `space`; None where that is not possible."""
    method = configuration.get("method")
    if method not in space.methods:
        return None
    values = {
        key: _fit_to_domain(space.parameters[name], configuration.get(key))
        for key, name in space.names[method].items()
    }
    return None if None in values.values() else {"method": method, **values}


def _fit_to_domain(domain: Domain, value: Any) -> Any:
    """The value as the domain has it; None where it has none like it."""
    if isinstance(domain, Choice):
        return next((one for one in domain.values if one == value), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return min(max(float(value), domain.low), domain.high)


def _merge_duplicates(same: list[EarlierConfiguration]) -> EarlierConfiguration:
    """One in place of several with the same configuration."""
    origin = "; ".join(dict.fromkeys(one.origin for one in same))
    return EarlierConfiguration(same[0].configuration, fmean(one.standing for one in same), origin)


def _source_error(source: str, why: str) -> InputError:
    return InputError(f"--warm-start: {source} {why}; {WARM_START_ADVICE}")
