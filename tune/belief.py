"""What the runs so far say about every configuration tried, and so: who is best, who runs next on which seed.

Everything is worked out from the ledger's records, so that a search that is resumed believes what it
believed. A diverged run counts as one that learnt nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from tune import race
from tune.ledger import Ledger, Record
from tune.outcomes import Outcome
from tune.space import Space, encode, key
from tune.surrogate import Observation, Posterior, fit

TELLING = (Outcome.COMPLETED, Outcome.STOPPED, Outcome.DIVERGED)
MOST_FITTED = 150  # configurations: those that went furthest, with the best scores
LEAST_RUNS = 4  # before anything is believed
MOST_CANDIDATES = 8  # configurations that race
LEAST_RACERS, LEAST_SEEDS = (
    2,
    3,
)  # so many configurations have so many full-length runs before a race is decided
FIRST_RACE_SEED = 1000  # after the search's own seed; confirmations use those right after it
POINTS = 200  # of the space at which a further trial is imagined


@dataclass(frozen=True)
class Racing:
    """How configurations race. seeds: most further ones of each, 0 for no race. share: most slot seconds of
    the race for each one of the exploration. worth: what one more run must be expected to add, in the
    metric's scale."""

    seeds: int = 0
    share: float = 1.5
    worth: float = 0.0005


@dataclass(frozen=True)
class View:
    """The posterior of `trials`, a search record for each configuration; runs: by index, its score by seed at
    full length (chance where it diverged)."""

    trials: Sequence[Record]
    posterior: Posterior
    runs: Sequence[Mapping[int, float]]

    @property
    def finishers(self) -> list[int]:
        """The configurations that were seen at full length; all, where none was."""
        return [i for i, runs in enumerate(self.runs) if runs] or [*range(len(self.runs))]

    @property
    def ends(self) -> list[Observation]:
        """Every full-length score."""
        return [
            Observation(index, seed, score)
            for index, runs in enumerate(self.runs)
            for seed, score in runs.items()
        ]


class Belief:
    """The view of a ledger, brought up to date when a run ended.

    chance: the score of a run that learnt nothing; None where that is not known. max_steps: of a full trial.
    """

    def __init__(
        self, ledger: Ledger, space: Space, direction: str, max_steps: int, chance: float | None = None
    ) -> None:
        self.ledger, self.space, self.max_steps = ledger, space, max_steps
        self.sign = 1.0 if direction == "max" else -1.0
        self.chance = None if chance is None else self.sign * chance
        self._seen: tuple[int, int] | None = None
        self._view: View | None = None

    def view(self) -> View | None:
        """Of all runs that have ended; None while these are too few."""
        search, raced = self.ledger.records("search"), self.ledger.records("race")
        ended = [sum(r.outcome in TELLING for r in records) for records in (search, raced)]
        if self._seen != (ended[0], ended[1]):
            self._seen = ended[0], ended[1]
            self._view = self._look(search, raced) if sum(ended) >= LEAST_RUNS else None
        return self._view

    def _look(self, search: Sequence[Record], raced: Sequence[Record]) -> View | None:
        trials: dict[str, Record] = {}
        for record in sorted(search, key=self._promise):
            if record.outcome in TELLING:
                trials.setdefault(key(record.configuration), record)
        kept = dict([*trials.items()][:MOST_FITTED])
        chosen = sorted(kept.values(), key=lambda record: record.number)
        place = {key(record.configuration): index for index, record in enumerate(chosen)}
        seen: list[Observation] = []
        runs: list[dict[int, float]] = [{} for _ in chosen]
        for record in (*search, *raced):
            index = place.get(key(record.configuration))
            if index is None or record.outcome not in TELLING:
                continue
            scores = self._scores(record)
            seen += [Observation(index, record.seed, score, share) for share, score in scores]
            if scores and scores[-1][0] == 1:
                runs[index][record.seed] = scores[-1][1]
        if not seen:
            return None
        places = encode(self.space, [record.configuration for record in chosen])
        return View(chosen, fit(places, seen, self.chance), runs)

    def _promise(self, record: Record) -> tuple[float, float]:
        """To sort by: what went furthest with the best score is first."""
        return -record.step, -self.sign * (record.score if record.score is not None else -math.inf)

    def _scores(self, record: Record) -> list[tuple[float, float]]:
        """(share of the steps, score, higher is better)."""
        if record.outcome == Outcome.DIVERGED:
            return [] if self.chance is None else [(1.0, self.chance)]
        return [(min(1.0, step / self.max_steps), self.sign * score) for step, score in record.scores]

    def noise(self, share: float) -> float | None:
        """The standard deviation of a score at this share of the steps about its configuration's mean; None
        while too little has run to measure it."""
        view = self.view()
        return None if view is None else view.posterior.noise_at(share)

    def estimates(self) -> dict[int, float]:
        """The expected full-length score of each trial of the search that has ended, by its number, in the
        metric's own direction."""
        view = self.view()
        if view is None:
            return {}
        return {
            trial.number: self.sign * float(mean)
            for trial, mean in zip(view.trials, view.posterior.mean, strict=True)
        }

    def ranked(self) -> list[Record]:
        """The trials whose configurations were seen at full length, the one that is expected to be best
        first."""
        view = self.view()
        if view is None:
            return []
        order = sorted(view.finishers, key=lambda index: (-view.posterior.mean[index], index))
        return [view.trials[index] for index in order]

    def leader(self) -> Record | None:
        """The first of `ranked`."""
        return next(iter(self.ranked()), None)

    def best(self) -> float | None:
        """The leader's expected score."""
        leader = self.leader()
        return None if leader is None else self.estimates()[leader.number]

    def gain(self, seed: int) -> float | None:
        """How much higher than the leader's the best of one more trial is expected to be, in the metric's
        scale: the largest expected improvement over points of the space."""
        view = self.view()
        if view is None:
            return None
        drawn = [self.space.from_study(row) for row in self.space.latin(POINTS, seed)]
        tried = [trial.configuration for trial in view.trials]
        if not view.ends:
            return None
        posterior = fit(encode(self.space, [*tried, *drawn]), view.ends, self.chance, view.posterior)
        first = race.leader(posterior, range(len(tried)))
        return max(_improvement(posterior, index, first) for index in range(len(tried), len(posterior.mean)))


def _improvement(posterior: Posterior, one: int, other: int) -> float:
    """E[max(f of one - f of the other, 0)]."""
    covariance, mean = posterior.covariance, posterior.mean
    variance = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
    spread, difference = math.sqrt(max(variance, 1e-24)), mean[one] - mean[other]
    z = difference / spread
    return float(difference * stats.norm.cdf(z) + spread * stats.norm.pdf(z))


class Field:
    """The race over one search's ledger."""

    def __init__(self, belief: Belief, racing: Racing, seed: int) -> None:
        self.belief, self.racing, self.seed = belief, racing, seed
        self.over: str | None = None  # why

    def next(self, live: Sequence[Record]) -> tuple[dict[str, Any], int] | None:
        """The configuration and seed to run next; None where there is none for now or, with `over`, at all.

        live: the race's runs under way.
        """
        view = self.belief.view()
        self.over = self._spent(live) if view is not None else "too few runs"
        if view is None or self.over:
            return None
        pending = self._pending(view, live)
        found = self._unproven(view, pending) or self._raced(view, pending)
        return found and (view.trials[found[0]].configuration, found[1])

    def _pending(self, view: View, live: Sequence[Record]) -> dict[int, set[int]]:
        index = {key(trial.configuration): place for place, trial in enumerate(view.trials)}
        pending: dict[int, set[int]] = {}
        for record in live:
            if (place := index.get(key(record.configuration))) is not None:
                pending.setdefault(place, set()).add(record.seed)
        return pending

    def _unproven(self, view: View, pending: Mapping[int, set[int]]) -> tuple[int, int] | None:
        """The most promising get a few seeds each before anything is decided: one seed tells next to nothing
        of the noise."""
        first = race.choose_candidates(view.posterior, LEAST_RACERS, negligible=0.0)
        for count, seed in enumerate(self._seeds()[: 1 + self.racing.seeds][:LEAST_SEEDS]):
            for place in first:
                given = view.runs[place].keys() | pending.get(place, set())
                if len(given) <= count and seed not in given:
                    return place, seed
        return None

    def _raced(self, view: View, pending: Mapping[int, set[int]]) -> tuple[int, int] | None:
        candidates = self.candidates(view)
        self.over = self._decided(view, candidates)
        if self.over:
            return None
        done = {place: set(runs) for place, runs in enumerate(view.runs)}
        rng = np.random.default_rng([self.seed, len(self.belief.ledger.records("race"))])
        found = race.next_replicate(view.posterior, candidates, done, pending, self._seeds(), rng)
        if found is None:
            self.over = "every candidate has had every seed"
        return found

    def candidates(self, view: View) -> list[int]:
        """Who may still be best beyond the noise."""
        entered = race.choose_candidates(view.posterior, MOST_CANDIDATES)
        looks = max(1, len(self.belief.ledger.records("race")))
        return race.alive(view.posterior, entered, looks)

    def _seeds(self) -> list[int]:
        """The search's own, on which some were stopped early, and the further ones."""
        return [self.seed, *(self.seed + FIRST_RACE_SEED + k for k in range(self.racing.seeds))]

    def _spent(self, live: Sequence[Record]) -> str | None:
        ledger = self.belief.ledger
        explored = sum(record.seconds for record in ledger.records("search"))
        raced = sum(record.seconds for record in ledger.records("race"))
        usual = explored / max(1, sum(r.step for r in ledger.records("search"))) * self.belief.max_steps
        raced += sum(max(0.0, usual - record.seconds) for record in live)
        if raced + usual / 2 >= self.racing.share * explored:
            return f"{self.racing.share:.0%} of what the exploration took"
        return None

    def _decided(self, view: View, candidates: Sequence[int]) -> str | None:
        if len(candidates) < 2:
            return "one configuration is left"
        verdict = race.worth_it(view.posterior, candidates, self.racing.worth)
        return None if verdict else verdict.reason
