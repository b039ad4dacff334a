"""How the configurations of a search stand: their expected scores, and where the luck of first seeds went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dps.tasks.metrics import get_metric_range
from dps.training.result import Outcome
from tune.core.space import make_configuration_key
from tune.records.search_document import SearchDocument
from tune.reporting.figures.analysis import NORMAL_QUANTILE, SearchAnalysis
from tune.stats.distributions import compute_normal_density

BEST_POINTS = 400  # at which the chance of being best is summed


@dataclass(frozen=True)
class ConfigurationStanding:
    """What the search believes of a configuration that ran to its end, on the selection data.

    trial: its number. seeds: full runs. first: the score of the search's own seed, None if that run did not
    end. mean, low, high: its expected score with a 95 % interval. best: the probability that no other one is
    better. seconds: of all its runs. collapsed, diverged: how many of these did.
    published: whether its values are the published ones. won: whether it is the winner.
    """

    trial: int
    configuration: dict[str, Any]
    seeds: int
    first: float | None
    mean: float
    low: float
    high: float
    best: float
    seconds: float
    collapsed: int = 0
    diverged: int = 0
    published: bool = False
    won: bool = False


def rank_configurations(analysis: SearchAnalysis) -> list[ConfigurationStanding]:
    """Return all configurations that ran to their end, the winner first, then by expected score; none while
    too few runs have ended."""
    estimates, document = analysis.estimates, analysis.document
    if estimates is None:
        return []
    lowest, highest = get_metric_range(document.metric)
    means, sds = estimates.means.mean, estimates.means.measure_sd()
    won = document.winner and make_configuration_key(document.winner.configuration)
    published = _find_published(document)
    runs: dict[str, list[Any]] = {}
    for run in analysis.runs:
        runs.setdefault(run.configuration_key, []).append(run)
    standings = []
    for place, best in enumerate(compute_best_probabilities(means, sds)):
        trial = estimates.trials[place]
        key, own = trial.configuration_key, estimates.full_scores[place].get(trial.seed)
        mean, reach = analysis.sign * float(means[place]), NORMAL_QUANTILE * float(sds[place])
        standings.append(
            ConfigurationStanding(
                trial=trial.number,
                configuration=trial.configuration,
                seeds=len(estimates.full_scores[place]),
                first=None if own is None else analysis.sign * own,
                mean=mean,
                low=max(mean - reach, min(mean, lowest)),
                high=min(mean + reach, max(mean, highest)),
                best=float(best),
                seconds=sum(run.seconds for run in runs[key]),
                collapsed=sum(bool(run.is_collapsed) for run in runs[key]),
                diverged=sum(run.outcome == Outcome.DIVERGED for run in runs[key]),
                published=key == published,
                won=key == won,
            )
        )
    return sorted(standings, key=lambda each: (not each.won, -analysis.sign * each.mean, each.trial))


def compute_best_probabilities(means: NDArray[np.float64], sds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of each of n independent normal beliefs that it is the highest: (n,), sum 1."""
    if len(means) == 1:
        return np.ones(1)
    sds = np.maximum(sds, 1e-12)
    reach = 5 * float(sds.max())
    grid = np.linspace(float(means.max()) - reach, float(means.max()) + reach, BEST_POINTS)
    z = (grid - means[:, None]) / sds[:, None]
    below = special.log_ndtr(z)
    others = np.exp(below.sum(axis=0) - below) * compute_normal_density(z) / sds[:, None]
    weights = others.sum(axis=1)
    return np.asarray(weights / max(float(weights.sum()), 1e-300))


def _find_published(document: SearchDocument) -> str | None:
    """Return the key of the published values of the winner's method, where they ran."""
    if document.winner and document.winner.published:
        return make_configuration_key(document.winner.configuration)
    named = [baseline.configuration for baseline in document.baselines if baseline.published]
    return make_configuration_key(named[0]) if named else None
