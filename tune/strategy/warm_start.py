"""Warm start (--warm-start): which configurations earlier searches tried, and how well each did there.

A source is the output folder of a search or comparison, its study.db, the URL of that (sqlite:///...), or
mlflow:EXPERIMENT, whose searches keep their study.db when they end. The arms of a comparison count as
searches of their own.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
from optuna.study import StudyDirection

from dps.errors import InputError
from dps.ranges import Choice, Domain
from dps.training.result import Outcome
from dps.wording import format_count
from tune.core.direction import Direction
from tune.core.option_types import split_names
from tune.core.run import RunPurpose
from tune.core.space import SearchSpace, encode_configurations, make_configuration_key
from tune.records.experiments import EXPERIMENT_PREFIX, describe_left_out, open_experiment_files
from tune.records.ledger import TrialRecord, open_ledgers
from tune.records.replicates import group_by_configuration
from tune.records.stores import ErrorFactory, find_sqlite_file, open_sqlite_copy
from tune.strategy.race import RACE_NOTE, RACED_CONFIGURATIONS, rank_configurations

LEDGER_FILE = "study.db"
# The minimum root-mean-square distance of two proposals, over the columns of `encode_configurations`.
MIN_PROPOSAL_DISTANCE = 0.05
MAX_EARLIER_TRIALS = 16  # earlier trials that the sampler learns from
EARLIER_TRIALS_DECAY = 2  # how many fewer for each own trial


@dataclass(frozen=True)
class EarlierConfiguration:
    """A configuration that an earlier search tried.

    configuration: "method" and its hyper-parameters, as in `tune.records.ledger.TrialRecord`.
    normal_score: how good it was within its search (van der Waerden): the quantile of the standard normal
        distribution at (rank - 1/2) / n among its n configurations, ties averaged. 0 is the middle; higher is
        better, whatever the metric's direction.
    origin: the source, for a message.
    """

    configuration: dict[str, Any]
    normal_score: float
    origin: str


@dataclass(frozen=True)
class _EarlierSearch:
    """An earlier search, or one arm of a comparison.

    direction: "max" or "min". raced: how many configurations race, at most. runs: informative trials, then
        all runs of the race.
    """

    task: str
    direction: str
    raced: int
    runs: list[TrialRecord]


def read_earlier_searches(text: str, tracking_uri: str | None = None) -> list[EarlierConfiguration]:
    """Read the configurations tried in the sources of `text`, separated by commas.

    tracking_uri: of --tracking-uri. Raises InputError for a source that does not exist, cannot be read or
    holds no finished trial.
    """
    sources = dict.fromkeys(filter(None, split_names(text)))
    if not sources:
        raise _source_error(repr(text), "names no source")
    return [earlier for source in sources for earlier in _read_source(source, tracking_uri)]


def adapt_to_space(earlier: Sequence[EarlierConfiguration], space: SearchSpace) -> list[EarlierConfiguration]:
    """Adapt earlier configurations to `space`, best first. Their order affects only the text of `origin`.

    The space must contain the method and all its hyper-parameters. A number outside a range is moved to its
    end, a value that a list lacks rules the configuration out, and what is not searched is dropped.
    Configurations that become equal are merged, with the mean of their scores.
    """
    by_key: dict[str, list[EarlierConfiguration]] = {}
    for each in earlier:
        configuration = _adapt_configuration(each.configuration, space)
        if configuration is not None:
            key = make_configuration_key(configuration)
            by_key.setdefault(key, []).append(replace(each, configuration=configuration))
    return sorted(
        map(_merge_equal, by_key.values()),
        key=lambda merged: (-merged.normal_score, make_configuration_key(merged.configuration)),
    )


def propose_first_trials(
    earlier: Sequence[EarlierConfiguration], space: SearchSpace, count: int
) -> list[dict[str, Any]]:
    """Return at most `count` configurations worth trying first, best first.

    They fit in `space`, were better than the middle of their search, and lie at least MIN_PROPOSAL_DISTANCE
    apart, so that the few trials are not spent on neighbours.
    """
    good = [each.configuration for each in adapt_to_space(earlier, space) if each.normal_score > 0]
    points = encode_configurations(space, good)
    chosen: list[int] = []
    for index, point in enumerate(points):
        distances = np.sqrt(np.square(points[chosen] - point).mean(axis=1))
        if len(chosen) < count and (distances >= MIN_PROPOSAL_DISTANCE).all():
            chosen.append(index)
    return [good[index] for index in chosen]


def count_trusted_trials(finished_trials: int) -> int:
    """Return how many earlier trials the sampler still learns from after `finished_trials` of this search.

    max(0, 16 - 2 * finished_trials): TPE wants 8 trials before its model begins and has them at once; own
    trials outnumber them from the sixth on, and from the eighth on the search, which alone knows its own task
    and model, learns from itself.
    """
    return max(0, MAX_EARLIER_TRIALS - EARLIER_TRIALS_DECAY * finished_trials)


def _read_source(source: str, tracking_uri: str | None) -> list[EarlierConfiguration]:
    refuse, left_out = partial(_source_error, source), ""
    if source.startswith(EXPERIMENT_PREFIX):
        with open_experiment_files(source, tracking_uri, LEDGER_FILE, refuse) as files:
            paths = [file.path for file in files if file.path is not None]
            searches = [search for path in paths for search in _read_ledgers(path, refuse)]
            left_out = describe_left_out(files, LEDGER_FILE)
    else:
        searches = _read_ledgers(_locate_ledger(source), refuse)
    trials = sum(run.purpose == RunPurpose.SEARCH for search in searches for run in search.runs)
    if not trials:
        raise refuse("holds no finished trial of a search")
    tasks = ", ".join(sorted({search.task for search in searches if search.runs}))
    notes = [tasks, format_count(trials, "trial"), *([left_out] if left_out else [])]
    origin = f"{source} ({', '.join(notes)})"
    return [
        EarlierConfiguration(configuration, normal_score, origin)
        for search in searches
        for configuration, normal_score in _rank_configurations(search)
    ]


def _locate_ledger(source: str) -> Path:
    """Return the file of a ledger that is named by its folder, path or URL."""
    path = find_sqlite_file(source) if "://" in source else Path(source)
    if path is None:
        raise _source_error(source, "is not a SQLite URL (sqlite:///...)")
    if not path.exists():
        raise _source_error(source, "does not exist")
    file = path / LEDGER_FILE if path.is_dir() else path
    if not file.is_file():
        raise _source_error(source, f"holds no {LEDGER_FILE}")
    return file


def _read_ledgers(file: Path, refuse: ErrorFactory) -> list[_EarlierSearch]:
    """Return the searches in a file, which may still run."""
    with open_sqlite_copy(file, refuse) as copy:
        return [
            _EarlierSearch(
                task=identity["task"],
                direction="max" if ledger.study.direction == StudyDirection.MAXIMIZE else "min",
                raced=ledger.noted(RACE_NOTE) or RACED_CONFIGURATIONS,
                runs=[
                    *filter(_is_informative, ledger.records(RunPurpose.SEARCH)),
                    *ledger.records(RunPurpose.RACE),
                ],
            )
            for ledger in open_ledgers(copy, refuse)
            if (identity := ledger.noted("identity"))
        ]


def _is_informative(run: TrialRecord) -> bool:
    """Return whether the run is informative; lost, failed and running ones are not."""
    return run.outcome == Outcome.DIVERGED or (run.outcome.is_usable and run.score is not None)


def _rank_configurations(search: _EarlierSearch) -> list[tuple[dict[str, Any], float]]:
    """Return the configurations that a search tried, each with its normal score.

    First are those with a run that went to its end, in the order that chooses a winner, where one that did
    not race is not before those with more seeds (`tune.strategy.race`); then those that were stopped, by
    steps and score; then those that diverged. A further seed that diverged counts as the worst score. The
    mean rank of ties minus 1/2 equals (count below + count not above) / 2.
    """
    groups = [group for group in group_by_configuration(search.runs) if group[0].purpose == RunPurpose.SEARCH]
    trials, further = [group[0] for group in groups], [run for group in groups for run in group[1:]]
    sign = Direction(search.direction).sign
    ended = [run.score for run in search.runs if run.outcome == Outcome.COMPLETED and run.score is not None]
    lost = min(ended, key=lambda score: sign * score, default=None)
    standings = rank_configurations(trials, further, search.direction, lost, search.raced)
    ties = groupby(standings, key=lambda standing: standing.mean)
    places = {standing.trial.id: place for place, (_, tied) in enumerate(ties) for standing in tied}
    qualities = [
        (2, -places[trial.id], 0.0) if trial.id in places else _rate_stopped(group, sign)
        for trial, group in zip(trials, groups, strict=True)
    ]
    ordered = sorted(qualities)
    doubled_ranks = [bisect_left(ordered, quality) + bisect_right(ordered, quality) for quality in qualities]
    return [
        (trial.configuration, NormalDist().inv_cdf(doubled_rank / (2 * len(groups))))
        for trial, doubled_rank in zip(trials, doubled_ranks, strict=True)
    ]


def _rate_stopped(runs: list[TrialRecord], sign: int) -> tuple[int, int, float]:
    """Return a sortable quality, higher is better: steps and score before it was stopped; else diverged."""
    stopped = [run for run in runs if run.outcome == Outcome.STOPPED]
    return max(((1, len(run.scores), sign * (run.score or 0.0)) for run in stopped), default=(0, 0, 0.0))


def _adapt_configuration(configuration: dict[str, Any], space: SearchSpace) -> dict[str, Any] | None:
    """Return the configuration within `space`, or None if that is not possible."""
    method = configuration.get("method")
    if method not in space.methods:
        return None
    values = {
        key: _fit_to_domain(space.parameters[name], configuration.get(key, space.training_values.get(key)))
        for key, name in space.name_parameters(method, configuration.get("model")).items()
    }
    return None if None in values.values() else {"method": method, **values}


def _fit_to_domain(domain: Domain, value: Any) -> Any:
    """Clip a number to its range, or match a choice; None if the domain lacks the value."""
    if isinstance(domain, Choice):
        return next((choice for choice in domain.values if choice == value), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return min(max(float(value), domain.low), domain.high)


def _merge_equal(equal: list[EarlierConfiguration]) -> EarlierConfiguration:
    origin = "; ".join(dict.fromkeys(each.origin for each in equal))
    return EarlierConfiguration(equal[0].configuration, fmean(each.normal_score for each in equal), origin)


def _source_error(source: str, reason: str) -> InputError:
    advice = f"give the output folder of a search, its {LEDGER_FILE} or {EXPERIMENT_PREFIX}EXPERIMENT"
    return InputError(f"--warm-start: {source} {reason}; {advice}")
