"""Proposals of the next configuration to try.

The samplers that learn (tpe, gp) are given the score of each trial at its end, and for one that diverged that
of a run that learnt nothing; tpe also what the trials had that were stopped. No configuration is proposed
twice. A proposal depends only on the seed, the trial's number and the ended trials, so a resumed search
proposes what it would have proposed.
"""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from dps.training.result import Outcome
from tune.core.run import RunPurpose
from tune.core.space import make_configuration_key
from tune.records.ledger import Ledger, TrialRecord, to_optuna_direction
from tune.strategy.strategy import Strategy
from tune.strategy.warm_start import count_trusted_trials

STARTUP_TRIALS = 8  # proposed at random before the model of a sampler begins
MAX_PROPOSAL_ATTEMPTS = 20  # attempts to propose an untried configuration
MAX_RANDOM_DRAWS = 1000  # further ones where the sampler proposes only what was tried
SEEDS = 2**32  # of a sampler: 0 to one less
MAX_SAMPLER_TRIALS = 400  # trials given to a sampler, whose time grows with their number
_OPTUNA_STATES = {
    Outcome.RUNNING: TrialState.RUNNING,
    Outcome.COMPLETED: TrialState.COMPLETE,
    Outcome.STOPPED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.COMPLETE,
}


class _LearntTrials(optuna.storages.InMemoryStorage):
    """The storage of a study that is asked for one trial, with what its sampler learns from.

    A study copies each trial that is added to it, which took most of a proposal's time; these are shared.
    """

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._learnt = trials
        for number, trial in enumerate(trials, start=1):  # 0 is asked for
            trial.number = number

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        learnt = [trial for trial in self._learnt if states is None or trial.state in states]
        return [*learnt, *super().get_all_trials(study_id, deepcopy, states)]


class Proposer:
    """Propose the trials of one search in order."""

    def __init__(self, strategy: Strategy, ledger: Ledger) -> None:
        self.strategy, self.ledger = strategy, ledger
        self.space = strategy.space
        trials = ledger.records(RunPurpose.SEARCH)
        self._tried = {trial.configuration_key for trial in trials}
        self._design = _fixed_design(strategy)
        self._seen: dict[str, tuple[object, FrozenTrial | None]] = {}  # by record: as the sampler saw it last

    def propose_next(self) -> TrialRecord | None:
        """Add the next trial to the ledger and return it, or None if every configuration was tried."""
        configuration = self._next_untried()
        if configuration is None:
            return None
        self._tried.add(make_configuration_key(configuration))
        return self.ledger.replicate(configuration, self.space, self.strategy.seed, RunPurpose.SEARCH)

    def _next_untried(self) -> dict[str, Any] | None:
        if len(self._tried) >= self.space.size:
            return None
        first = self.strategy.first_configurations
        candidates = itertools.chain(first, self._candidate_configurations(), self._remaining_combinations())
        return next((each for each in candidates if make_configuration_key(each) not in self._tried), None)

    def _candidate_configurations(self) -> Iterator[dict[str, Any]]:
        if self._design is not None:
            yield from (self.space.from_study_values(values) for values in self._design)
            return
        number = len(self.ledger.records(RunPurpose.SEARCH))
        for attempt in range(MAX_PROPOSAL_ATTEMPTS):
            sampler = self._sampler((self._seed(number) + attempt * 1_000_003) % SEEDS)
            yield self.space.suggest(self._sampler_study(sampler).ask())

    def _remaining_combinations(self) -> Iterator[dict[str, Any]]:
        """Yield the remaining combinations of a finite space; of an infinite one draws at random, since a
        sampler may hold on to a method or a model with few configurations."""
        if self.space.size < float("inf"):
            for method in self.space.methods:
                part = self.space.for_method(method)
                yield from (
                    part.from_study_values(values) for values in part.shuffle_grid(self.strategy.seed)
                )
            return
        seed = self._seed(len(self.ledger.records(RunPurpose.SEARCH)))
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        yield from (self.space.suggest(study.ask()) for _ in range(MAX_RANDOM_DRAWS))

    def _seed(self, number: int) -> int:
        return (self.strategy.seed * 100_003 + number) % SEEDS

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        if self.strategy.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if self.strategy.sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP_TRIALS
        )

    def _sampler_study(self, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """Return a study with the trials that the sampler learns from."""
        learnt: list[FrozenTrial] = []
        if self.strategy.sampler != "random":
            lost, seen = self._find_lost_score(), self._seen
            self._seen = {each.id: self._see(each, lost, seen) for each in self._informative_trials()}
            learnt = [trial for _, trial in self._seen.values() if trial is not None] + self._earlier_trials()
        return optuna.create_study(
            storage=_LearntTrials(learnt),
            direction=to_optuna_direction(self.strategy.direction),
            sampler=sampler,
        )

    def _see(
        self, record: TrialRecord, lost: float | None, seen: Mapping[str, tuple[object, FrozenTrial | None]]
    ) -> tuple[object, FrozenTrial | None]:
        """Return a trial as the sampler sees it, with what decides that; made again where that changed."""
        state = (record.outcome, tuple(record.scores), lost if record.outcome == Outcome.DIVERGED else None)
        before = seen.get(record.id)
        return before if before and before[0] == state else (state, self._to_optuna_trial(record, lost))

    def _informative_trials(self) -> list[TrialRecord]:
        """Return the trials given to the sampler: all, or the best and the latest MAX_SAMPLER_TRIALS / 2."""
        records = self.ledger.records(RunPurpose.SEARCH)
        if len(records) <= MAX_SAMPLER_TRIALS:
            return records
        sign = self.strategy.sign

        def rate(record: TrialRecord) -> float:
            value = record.score
            return -math.inf if value is None or math.isnan(value) else sign * value

        best = {record.number for record in heapq.nlargest(MAX_SAMPLER_TRIALS // 2, records, key=rate)}
        latest = [record for record in records if record.number not in best][-MAX_SAMPLER_TRIALS // 2 :]
        return [record for record in records if record.number in best] + latest

    def _find_lost_score(self) -> float | None:
        """Return what stands for the score of a trial that diverged: chance, or if it is unknown the worst of
        those that went to their end; None before one has."""
        if self.strategy.chance is not None:
            return self.strategy.chance
        ended = self._collect_scores()
        return (min if self.strategy.sign > 0 else max)(ended) if ended else None

    def _collect_scores(self) -> list[float]:
        """Return the scores of the trials that went to their end."""
        records = self.ledger.records(RunPurpose.SEARCH)
        return [r.score for r in records if r.outcome == Outcome.COMPLETED and r.score is not None]

    def _to_optuna_trial(self, record: TrialRecord, lost: float | None) -> FrozenTrial | None:
        """Return a trial as the sampler sees it, or None if it says nothing. lost: score of one that
        diverged, whatever it had before."""
        state = _OPTUNA_STATES.get(record.outcome)
        is_lost = record.outcome == Outcome.DIVERGED
        if state is None or (is_lost and lost is None):
            return None
        value = lost if is_lost else record.score if state == TrialState.COMPLETE else None
        return self._make_optuna_trial(
            record.configuration, state, value, {} if is_lost else dict(record.scores)
        )

    def _earlier_trials(self) -> list[FrozenTrial]:
        """Return trials of other searches, on the scale of this one's; fewer as it has more of its own."""
        ended = self._collect_scores()
        trusted = _pick_evenly(self.strategy.earlier_configurations, count_trusted_trials(len(ended)))
        if not trusted or len(ended) < 2:
            return []
        middle, spread = statistics.fmean(ended), statistics.stdev(ended)
        sign = self.strategy.sign
        return [
            self._make_optuna_trial(configuration, TrialState.COMPLETE, middle + sign * normal_score * spread)
            for configuration, normal_score in trusted
        ]

    def _make_optuna_trial(
        self,
        configuration: dict[str, Any],
        state: TrialState,
        value: float | None,
        scores: dict[int, float] | None = None,
    ) -> FrozenTrial:
        distributions = self.space.get_distributions(configuration)
        values = self.space.to_study_values(configuration)
        return optuna.trial.create_trial(
            params={name: values[name] for name in distributions},
            distributions=distributions,
            state=state,
            value=value,
            intermediate_values=scores or {},
        )


def _pick_evenly(
    earlier: Sequence[tuple[dict[str, Any], float]], max_count: int
) -> list[tuple[dict[str, Any], float]]:
    """Pick at most `max_count` evenly from best to worst; bad configurations are as informative."""
    count = min(max_count, len(earlier))
    return [earlier[number * (len(earlier) - 1) // max(1, count - 1)] for number in range(count)]


def _fixed_design(strategy: Strategy) -> Iterator[dict[str, Any]] | None:
    """Return the configurations of a fixed design (grid, latin) by study name, or None for a sequential
    sampler.

    Optuna's GridSampler cannot be used through ask and tell: its last combination stops a loop that does not
    exist.
    """
    space, seed = strategy.space, strategy.seed
    if strategy.sampler == "grid":
        return iter(space.shuffle_grid(seed))
    if strategy.sampler == "latin":
        rounds = (
            space.draw_latin_hypercube(strategy.design_size, seed + number) for number in itertools.count()
        )
        return itertools.chain.from_iterable(rounds)
    return None
