"""Which configuration is tried next.

In a search that races, the samplers that learn (tpe, gp) are shown what each configuration is expected to
score at full length (`tune.strategy.belief`), shrunk towards its neighbours, in place of the score of one
lucky seed.
No configuration is proposed twice. What is proposed depends on the seed, the number of the trial and what has
ended, alone, so that a resumed search proposes what it would have proposed.
"""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dps.training.result import Outcome
from tune.core.run import RunPurpose
from tune.core.space import make_configuration_key
from tune.records.ledger import Ledger, TrialRecord, to_optuna_direction
from tune.strategy.belief import Estimator
from tune.strategy.strategy import Strategy
from tune.strategy.warm_start import count_trusted_trials

STARTUP_TRIALS = 8  # proposed at random before the model of TPE begins
MAX_PROPOSAL_ATTEMPTS = 20  # to propose what was not tried
MAX_SAMPLER_TRIALS = 400  # trials that a sampler learns from: it takes longer with each
_OPTUNA_STATES = {
    Outcome.RUNNING: TrialState.RUNNING,
    Outcome.COMPLETED: TrialState.COMPLETE,
    Outcome.STOPPED: TrialState.PRUNED,
}


class Proposer:
    """The trials of one search, one after the other."""

    def __init__(self, strategy: Strategy, ledger: Ledger, belief: Estimator) -> None:
        self.strategy, self.ledger, self.belief = strategy, ledger, belief
        self.space = strategy.space
        trials = ledger.records(RunPurpose.SEARCH)
        self._tried = {make_configuration_key(trial.configuration) for trial in trials}
        self._design = _fixed_design(strategy)

    def next(self) -> TrialRecord | None:
        """The next trial, in the ledger; None where every configuration was tried."""
        configuration = self._fresh()
        if configuration is None:
            return None
        self._tried.add(make_configuration_key(configuration))
        return self.ledger.replicate(configuration, self.space, self.strategy.seed, RunPurpose.SEARCH)

    def _fresh(self) -> dict[str, Any] | None:
        if len(self._tried) >= self.space.size:
            return None
        for configuration in itertools.chain(self.strategy.first, self._proposed(), self._left()):
            if make_configuration_key(configuration) not in self._tried:
                return configuration
        return None

    def _proposed(self) -> Iterator[dict[str, Any]]:
        if self._design is not None:
            yield from (self.space.from_study(values) for values in self._design)
            return
        number = len(self.ledger.records(RunPurpose.SEARCH))
        for attempt in range(MAX_PROPOSAL_ATTEMPTS):
            sampler = self._sampler(self._seed(number) + attempt * 1_000_003)
            yield self.space.suggest(self._model(sampler).ask())

    def _left(self) -> Iterator[dict[str, Any]]:
        """What is left of a space of lists alone."""
        if self.space.size < float("inf"):
            for method in self.space.methods:
                part = self.space.of(method)
                yield from (part.from_study(values) for values in part.combinations(self.strategy.seed))

    def _seed(self, number: int) -> int:
        return self.strategy.seed * 100_003 + number

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        if self.strategy.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self.strategy.sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS
        )

    def _model(self, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """What the sampler is shown."""
        study = optuna.create_study(direction=to_optuna_direction(self.strategy.direction), sampler=sampler)
        if self.strategy.sampler != "random":
            expected = self.belief.estimates() if self.strategy.racing.seeds else {}
            own = [self._shown(record, expected.get(record.number)) for record in self._telling(expected)]
            study.add_trials([trial for trial in own if trial is not None] + self._earlier(expected))
        return study

    def _telling(self, expected: dict[int, float]) -> list[TrialRecord]:
        """The trials that a sampler is shown: of very many the best half of those it has time for, and the
        latest of the others."""
        records = self.ledger.records(RunPurpose.SEARCH)
        if len(records) <= MAX_SAMPLER_TRIALS:
            return records

        def promise(record: TrialRecord) -> float:
            value = expected.get(record.number, record.score)
            return -math.inf if value is None or math.isnan(value) else self.belief.sign * value

        best = {record.number for record in heapq.nlargest(MAX_SAMPLER_TRIALS // 2, records, key=promise)}
        others = [record for record in records if record.number not in best][-MAX_SAMPLER_TRIALS // 2 :]
        return [record for record in records if record.number in best] + others

    def _shown(self, record: TrialRecord, expected: float | None) -> FrozenTrial | None:
        state = (
            _OPTUNA_STATES.get(record.outcome, TrialState.FAIL) if expected is None else TrialState.COMPLETE
        )
        if state == TrialState.FAIL:
            return None
        value = record.score if expected is None else expected
        return self._trial(
            record.configuration,
            state,
            value if state == TrialState.COMPLETE else None,
            dict(record.scores),
        )

    def _earlier(self, expected: dict[int, float]) -> list[FrozenTrial]:
        """Trials of other searches, on the scale of this one's, fewer as it has more of its own."""
        trusted = _pick_evenly(self.strategy.earlier, count_trusted_trials(len(expected)))
        if not trusted or len(expected) < 2:
            return []
        middle, spread = statistics.fmean(expected.values()), statistics.stdev(expected.values())
        sign = self.belief.sign
        return [
            self._trial(configuration, TrialState.COMPLETE, middle + sign * standing * spread)
            for configuration, standing in trusted
        ]

    def _trial(
        self,
        configuration: dict[str, Any],
        state: TrialState,
        value: float | None,
        scores: dict[int, float] | None = None,
    ) -> FrozenTrial:
        distributions = self.space.distributions(configuration)
        values = self.space.in_study(configuration)
        return optuna.trial.create_trial(
            params={name: values[name] for name in distributions},
            distributions=distributions,
            state=state,
            value=value,
            intermediate_values=scores or {},
        )


def _pick_evenly(
    earlier: Sequence[tuple[dict[str, Any], float]], most: int
) -> list[tuple[dict[str, Any], float]]:
    """At most so many, from the best to the worst: what was bad says as much."""
    count = min(most, len(earlier))
    return [earlier[number * (len(earlier) - 1) // max(1, count - 1)] for number in range(count)]


def _fixed_design(strategy: Strategy) -> Iterator[dict[str, Any]] | None:
    """The configurations that are known beforehand, in the names of the study; None where they are proposed
    one by one. (Optuna's own GridSampler cannot be asked and told: the last combination makes it stop a loop
    that is not there.)"""
    space, seed = strategy.space, strategy.seed
    if strategy.sampler == "grid":
        return iter(space.combinations(seed))
    if strategy.sampler == "latin":
        rounds = (space.latin(strategy.trials, seed + number) for number in itertools.count())
        return itertools.chain.from_iterable(rounds)
    return None
