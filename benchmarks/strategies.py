"""Simple strategies of a search, each in a few lines: what the product's own has to beat at equal cost.

Each gets a `benchmarks.play.Play` and returns the number of the configuration that it would confirm.
`STRATEGIES` has them by name; "begun alike" proposes the published values first, as the product does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import optuna

from benchmarks.play import Play, iterate_proposals, make_gp, make_tpe

REPEATS = 3  # seeds of each configuration where all get the same
FINALISTS = 3  # of a search on one seed, that share what is left of its budget
EXPLORING = 0.6  # of the budget, where the rest is kept for seeds of the finalists


def repeat_designed(play: Play, numbers: Sequence[int]) -> int:
    """Give each of these configurations a seed after the other, to the end of the budget."""
    for _ in range(play.seeds):
        if any(play.run(number) is None for number in numbers):
            break
    return max(numbers, key=play.mean)


def repeat_published(play: Play) -> int:
    """Published values x seeds."""
    return repeat_designed(play, play.ground.published)


def repeat_grid(play: Play) -> int:
    """Run the paper's grid x seeds."""
    return repeat_designed(play, play.ground.grid)


def search_one_seed(play: Play) -> int:
    """Run each proposal with one seed; what is left at the end of the table goes to the best few."""
    for number in iterate_proposals(play):
        if (score := play.run(number, 0)) is None:
            return play.best_mean()
        play.tell(number, score)
    return repeat_finalists(play)


def search_asha(play: Play, reduction: int = 3, share: float = 1.0) -> int:
    """Run each proposal with one seed, stopped early by ASHA (no slack for noise).

    share: of the budget; the rest, and what is left at the end of the table, goes to the best few.
    """
    rungs: dict[int, list[float]] = {k: [] for k in _asha_rungs(play.evaluations, reduction)}
    for number in iterate_proposals(play):
        if play.spent >= share * play.budget:
            break
        for k in range(1, play.evaluations + 1):
            if (score := play.run(number, 0, k)) is None:
                return play.best_mean()
            if k in rungs:
                before = rungs[k]
                cutoff = np.quantile(before, 1 - 1 / reduction) if before else -np.inf
                before.append(score)
                if score < cutoff:
                    play.tell(number, score, stopped_at=k)
                    break
        else:
            play.tell(number, score)
    return repeat_finalists(play)


def _asha_rungs(evaluations: int, reduction: int) -> list[int]:
    return [*itertools.takewhile(lambda k: k < evaluations, (reduction**i for i in itertools.count()))]


def repeat_finalists(play: Play) -> int:
    """Give what is left to the best few of one seed."""
    finalists = sorted({n for n, _ in play.done if play.scores(n)}, key=play.mean, reverse=True)[:FINALISTS]
    while all(play.run(number) is not None for number in finalists):
        pass
    return max(finalists, key=play.mean)


def search_means(play: Play) -> int:
    """Run each proposal with the same few seeds; the sampler learns from their mean (Ray's Repeater)."""
    for number in iterate_proposals(play):
        if any(play.run(number) is None for _ in range(REPEATS)):
            break
        play.tell(number, play.mean(number))
    return play.best()


def halve(play: Play, rungs: Sequence[tuple[float, int]] = ((1, 1), (1, 2), (1, 4))) -> int:
    """Successive halving: so many proposals as the budget allows, the better half of each rung in the next.

    rungs: (share of the steps, seeds). Those of a rung have the same seeds.
    """
    shares = [0.5**place * (share * seeds) for place, (share, seeds) in enumerate(rungs)]
    paid = [0.0, *(0.5 ** (place + 1) * (s * n) for place, (s, n) in enumerate(rungs[:-1]))]
    count = int(play.budget / (sum(shares) - sum(paid)))
    alive = [*itertools.islice(iterate_proposals(play), count)]
    for place, (share, seeds) in enumerate(rungs):
        until = max(1, round(share * play.evaluations))
        scores: dict[int, list[float]] = {}
        for number, seed in ((n, s) for s in range(min(seeds, play.seeds)) for n in alive):
            if (score := play.run(number, seed, until)) is None:
                return max(alive, key=lambda n: np.mean(scores.get(n, [play.mean(n)])))
            scores.setdefault(number, []).append(score)
        alive.sort(key=lambda n: -float(np.mean(scores[n])))
        if place + 1 < len(rungs):
            alive = alive[: -(-len(alive) // 2)]
    return alive[0]


def halve_steps_and_seeds(play: Play) -> int:
    """Halve over the steps of one seed, then over seeds."""
    return halve(play, ((0.5, 1), (1, 1), (1, 2), (1, 4)))


@dataclass(frozen=True)
class Plain:
    """A strategy of this module or of a library. costly: seconds, not milliseconds, a replay."""

    play: Callable[[Play], int]
    sampler: Any = optuna.samplers.RandomSampler
    begun: bool = False
    costly: bool = False


def also_begun(strategies: dict[str, Plain]) -> dict[str, Plain]:
    """Return the strategies, and each begun with the published values."""
    return {
        name: replace(plain, begun=name.endswith(BEGUN))
        for one, plain in strategies.items()
        for name in (one, one + BEGUN)
    }


BEGUN = ", begun alike"
STRATEGIES: dict[str, Plain] = {
    "published values x seeds": Plain(repeat_published),
    "grid x seeds": Plain(repeat_grid),
    **also_begun(
        {
            "random, halving over seeds": Plain(halve),
            "random, halving over steps, then seeds": Plain(halve_steps_and_seeds),
            "tpe + asha by 3, one seed": Plain(search_asha, make_tpe),
            "tpe + asha by 2, one seed": Plain(partial(search_asha, reduction=2), make_tpe),
            f"random + asha by 3, then seeds of the best {FINALISTS}": Plain(
                partial(search_asha, share=EXPLORING)
            ),
            f"tpe + asha by 3, then seeds of the best {FINALISTS}": Plain(
                partial(search_asha, share=EXPLORING), make_tpe
            ),
            f"tpe + asha by 2, then seeds of the best {FINALISTS}": Plain(
                partial(search_asha, reduction=2, share=EXPLORING), make_tpe
            ),
            f"tpe, mean of {REPEATS} seeds": Plain(search_means, make_tpe),
            "optuna gp, one seed": Plain(search_one_seed, make_gp, costly=True),
        }
    ),
}
