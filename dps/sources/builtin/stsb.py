"""STS-B: how alike are two sentences, from 0 to 5?

Both sentences describe a `Scene`. The second scene is the first after some edits, each with a cost in points;
its wording (voice, order) changes at no cost. The score is 5 less the costs, and at least 0. The task is hard
because the number of words that differ says little: a synonym costs nothing, an opposite much, and a swap of
the roles changes no word at all.

Source: the scale of Cer et al., "SemEval-2017 Task 1", 2017: 5 is the same meaning, 4
and 3 differ in details, 2 and 1 share topics, 0 is unrelated.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dps.sources.builtin.grammar import Example, T, add_article, flip_coin, make_sentence, sample_two
from dps.sources.builtin.lexicon import Verb, Vocabulary

MAX_SIMILARITY = 5.0
UNRELATED_SHARE = 0.05


@dataclass(frozen=True)
class Scene:
    """Scene of two people: who did what to whom, and where. denied: whether it did not happen."""

    quality: str
    subject: str
    act: Verb
    target: str
    place: str
    denied: bool = False


Edit = Callable[[random.Random, Vocabulary, Scene], tuple[Scene, float]]


def make_scene(rng: random.Random, words: Vocabulary) -> Scene:
    """Draw a scene; half of them have no place."""
    subject, target = sample_two(rng, words.humans)
    quality = rng.choice(rng.choice(words.quality_synonyms + words.quality_opposites))
    act = rng.choice(rng.choice(words.act_synonyms + words.act_opposites))
    return Scene(
        quality,
        subject.singular,
        act,
        target.singular,
        rng.choice(words.places).singular if flip_coin(rng) else "",
    )


def describe_scene(rng: random.Random, now: Scene) -> str:
    """Put a scene in words: active or passive, the place first or last."""
    subject = f"{now.quality} {now.subject}" if now.quality else now.subject
    where = f"in the {now.place}" if now.place else ""
    if flip_coin(rng):
        be = "was not" if now.denied else "was"
        return make_sentence("the", now.target, be, now.act.participle, "by the", subject, where)
    act = f"did not {now.act.base}" if now.denied else now.act.past
    if flip_coin(rng) and where:
        return make_sentence(where + ",", add_article(subject), act, "the", now.target)
    return make_sentence("the", subject, act, "the", now.target, where)


def find_partners(pairs: Sequence[tuple[T, T]], item: T) -> list[T]:
    """Return the words that the item is paired with."""
    return [pair[1 - pair.index(item)] for pair in pairs if item in pair]


def edit_quality(rng: random.Random, words: Vocabulary, now: Scene) -> tuple[Scene, float]:
    """Replace the quality by a synonym or an opposite, or drop it; return scene and cost."""
    ways = [(mate, 0.0) for mate in find_partners(words.quality_synonyms, now.quality)]
    ways += [(mate, 1.2) for mate in find_partners(words.quality_opposites, now.quality)]
    quality, cost = rng.choice([*ways, ("", 0.6)])
    return replace(now, quality=quality), cost


def edit_act(rng: random.Random, words: Vocabulary, now: Scene) -> tuple[Scene, float]:
    """Replace the act by a synonym or an opposite, or deny it or its opposite; return scene and cost."""
    ways = [(mate, False, 0.0) for mate in find_partners(words.act_synonyms, now.act)]
    for mate in find_partners(words.act_opposites, now.act):
        ways += [(mate, False, 2.4), (mate, True, 0.8)]
    act, denied, cost = rng.choice([*ways, (now.act, True, 2.4)])
    return replace(now, act=act, denied=denied), cost


def swap_roles(rng: random.Random, words: Vocabulary, now: Scene) -> tuple[Scene, float]:
    """Swap subject and target; return scene and cost."""
    return replace(now, subject=now.target, target=now.subject), 1.8


def change_person(rng: random.Random, words: Vocabulary, now: Scene) -> tuple[Scene, float]:
    """Replace subject or target by somebody else; return scene and cost."""
    other = rng.choice(
        [noun.singular for noun in words.humans if noun.singular not in (now.subject, now.target)]
    )
    return (replace(now, subject=other) if flip_coin(rng) else replace(now, target=other)), 1.2


def edit_place(rng: random.Random, words: Vocabulary, now: Scene) -> tuple[Scene, float]:
    """Change, drop or add the place; return scene and cost."""
    place = rng.choice([place.singular for place in words.places if place.singular != now.place])
    return replace(now, place="" if now.place and flip_coin(rng) else place), 0.4


# Each edit with its chance.
EDITS: tuple[tuple[Edit, float], ...] = (
    (edit_quality, 0.4),
    (edit_act, 0.55),
    (swap_roles, 0.45),
    (change_person, 0.25),
    (edit_place, 0.25),
)


def redescribe_scene(rng: random.Random, now: Scene, told: str) -> str:
    """Put a scene in words that differ from `told`."""
    text = told
    while text == told:
        text = describe_scene(rng, now)
    return text


def generate_stsb(rng: random.Random, words: Vocabulary) -> Example:
    """Generate two sentences with their similarity in [0, 5], in tenths."""
    first = make_scene(rng, words)
    told = describe_scene(rng, first)
    if flip_coin(rng, UNRELATED_SHARE):
        return Example((told, redescribe_scene(rng, make_scene(rng, words), told)), 0.0)
    second, score = first, MAX_SIMILARITY
    for edit, chance in EDITS:
        if flip_coin(rng, chance):
            second, cost = edit(rng, words, second)
            score -= cost
    return Example((told, redescribe_scene(rng, second, told)), round(max(score, 0.0), 1))
