"""QQP: do the two questions ask the same? Eight constructions.

Every construction is a function `(rng, words, same)` that returns two questions of
nearly the same words; its docstring names what keeps or changes the question.

Source: the question half of Zhang et al., "PAWS: Paraphrase Adversaries from Word
Scrambling", NAACL 2019.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import Example, a, coin, humans, sentence, two
from dps.sources.builtin.lexicon import Words

Pair = tuple[str, str]
Construction = Callable[[random.Random, Words, bool], Pair]


def ask(*parts: str) -> str:
    """The parts as a question."""
    return sentence(*parts, end="?")


def way(rng: random.Random, words: Words, same: bool) -> Pair:
    """Other words for "how do I" keep the question; another verb or thing does not."""
    verb, thing = rng.choice(words.handlings), rng.choice(words.things)
    other_verb, other_thing = verb, thing
    if not same and coin(rng):
        other_verb = rng.choice([each for each in words.handlings if each != verb])
    elif not same:
        other_thing = rng.choice([each for each in words.things if each.kind == thing.kind and each != thing])
    look = rng.choice(words.looks)
    opener, other_opener = two(
        rng, ("how do i", "what is the best way to", "how can one", "is there a way to")
    )
    return (
        ask(opener, verb.base, a(f"{look} {thing.one}")),
        ask(other_opener, other_verb.base, a(f"{look} {other_thing.one}")),
    )


def voice(rng: random.Random, words: Words, same: bool) -> Pair:
    """The passive keeps who did what to whom, or swaps it."""
    one, other = two(rng, humans(words))
    act, opener = rng.choice(words.acts), rng.choice(("why", "when", "where", ""))
    doer, done = (one, other) if same else (other, one)
    return (
        ask(opener, "did the", one.one, act.base, "the", other.one),
        ask(opener, "was the", done.one, act.participle, "by the", doer.one),
    )


def route(rng: random.Random, words: Words, same: bool) -> Pair:
    """A way has a start and an end."""
    start, end = (place.one for place in two(rng, words.places))
    opener, other = two(rng, ("what is the fastest way", "how do i get quickly", "which is the best road"))
    first, second = (start, end) if same else (end, start)
    return ask(opener, "from the", start, "to the", end), ask(other, "to the", second, "from the", first)


def feelings(rng: random.Random, words: Words, same: bool) -> Pair:
    """A synonym keeps the question, the opposite does not."""
    group = rng.choice(humans(words) + words.animals).many
    quality, changed = rng.choice(words.quality_synonyms if same else words.quality_opposites)
    place = f"in the {rng.choice(words.places).one}"
    return ask("why are the", group, place, "so", quality), ask("what makes the", group, place, changed)


def requirement(rng: random.Random, words: Words, same: bool) -> Pair:
    """The question "can one without it" is "does one need it"; needing it before or after is not."""
    person, thing, move = (
        rng.choice(words.people).one,
        a(rng.choice(words.things).one),
        rng.choice(words.moves),
    )
    purpose = f"to {move.base}" if same else f"{rng.choice(('before', 'after'))} {move.ing}"
    return (
        ask("can", a(person), move.base, "without", thing),
        ask("does", a(person), "need", thing, purpose),
    )


def order_of_events(rng: random.Random, words: Words, same: bool) -> Pair:
    """The order "A before B" is "B after A"."""
    one, other = two(rng, words.moves)
    person, link = rng.choice(humans(words)).one, rng.choice(("before", "after"))
    turned = "after" if link == "before" else "before"
    return (
        ask("should the", person, one.base, link, other.ing),
        ask("should the", person, other.base, turned if same else link, one.ing),
    )


def focus(rng: random.Random, words: Words, same: bool) -> Pair:
    """A question about the doer is not one about the target."""
    one, other = two(rng, humans(words))
    act = rng.choice(words.acts)
    asks_doer = coin(rng)
    asked = f"{act.past} the {other.one}" if asks_doer else f"did the {other.one} {act.base}"
    tail = f"that {act.past} the {other.one}" if asks_doer == same else f"that the {other.one} {act.past}"
    return ask("which", one.one, asked), ask("who is the", one.one, tail)


def negation(rng: random.Random, words: Words, same: bool) -> Pair:
    """To "refuse to" is "not want to"."""
    person, move = rng.choice(humans(words)).many, rng.choice(words.moves).base
    place = f"in the {rng.choice(words.places).one}"
    refused = coin(rng)
    first = ask("why do", person, "refuse to" if refused else "agree to", move, place)
    unwilling = refused == same
    return first, ask("why are", person, "not willing to" if unwilling else "willing to", move, place)


CONSTRUCTIONS: tuple[Construction, ...] = (
    way,
    voice,
    route,
    feelings,
    requirement,
    order_of_events,
    focus,
    negation,
)


def generate(rng: random.Random, words: Words) -> Example:
    """Two questions; label 1 where they are duplicates."""
    same = coin(rng)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, same), int(same))
