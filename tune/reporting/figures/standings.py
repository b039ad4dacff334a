"""How the configurations of a search stand: the means of their seeds, and the luck of the first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dps.training.result import Outcome
from tune.core.space import make_configuration_key
from tune.records.search_document import SearchDocument
from tune.reporting.figures.analysis import SearchAnalysis


@dataclass(frozen=True)
class ConfigurationStanding:
    """A configuration that ran to its end, on the selection data.

    trial: its number. seeds: full runs. first: the score of its trial, None if that did not end.
    mean: over its seeds, of which one that diverged learnt nothing; None where the score of such a run is not
    known. seconds: of all its runs. collapsed, diverged: how many of these did.
    published: whether its values are the published ones. won: whether it is the winner.
    """

    trial: int
    configuration: dict[str, Any]
    seeds: int
    first: float | None
    mean: float | None
    seconds: float
    collapsed: int = 0
    diverged: int = 0
    published: bool = False
    won: bool = False


def rank_configurations(analysis: SearchAnalysis) -> list[ConfigurationStanding]:
    """Return all configurations that ran to their end: the winner, then in the order of the search."""
    document, published = analysis.document, _find_published(analysis.document)
    won = document.winner and make_configuration_key(document.winner.configuration)
    runs: dict[str, list[Any]] = {}
    for run in analysis.runs:
        runs.setdefault(run.configuration_key, []).append(run)
    standings = []
    for each in analysis.standings:
        key = each.trial.configuration_key
        standings.append(
            ConfigurationStanding(
                trial=each.trial.number,
                configuration=each.trial.configuration,
                seeds=len(each.scores),
                first=each.first,
                mean=each.mean if math.isfinite(each.mean) else None,
                seconds=sum(run.seconds for run in runs[key]),
                collapsed=sum(bool(run.is_collapsed) for run in runs[key]),
                diverged=sum(run.outcome == Outcome.DIVERGED for run in runs[key]),
                published=key == published,
                won=key == won,
            )
        )
    return sorted(standings, key=lambda each: not each.won)


def _find_published(document: SearchDocument) -> str | None:
    """Return the key of the published values of the winner's method, where they ran."""
    if document.winner and document.winner.published:
        return make_configuration_key(document.winner.configuration)
    named = [baseline.configuration for baseline in document.baselines if baseline.published]
    return make_configuration_key(named[0]) if named else None
