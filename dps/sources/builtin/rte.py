"""RTE: does the second text follow from the first? Two classes, eleven constructions.

Every construction is a function `(rng, words, follows)` that returns a text and a
hypothesis; its docstring names what decides. Words are shared between both classes.

Sources: the constructions are among those of the FraCaS suite (Cooper et al., 1996)
and of the diagnostic set of Wang et al., "GLUE", ICLR 2019.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from dps.sources.builtin.grammar import Example, a, coin, humans, sentence, two
from dps.sources.builtin.lexicon import Words, pairs

Pair = tuple[str, str]
Construction = Callable[[random.Random, Words, bool], Pair]

KNOWN = pairs("knew/know forgot/forget realized/realize regretted/regret discovered/discover")
SUPPOSED = pairs("thought/think claimed/claim hoped/hope believed/believe feared/fear")
DONE = pairs("managed/manage remembered/remember bothered/bother")
NOT_DONE = pairs("failed/fail forgot/forget neglected/neglect")


def voice(rng: random.Random, words: Words, follows: bool) -> Pair:
    """The passive keeps who did what to whom, or swaps it."""
    one, other = two(rng, humans(words))
    act = rng.choice(words.acts)
    text = sentence(
        "the", rng.choice(words.qualities), one.one, act.past, "the", other.one, rng.choice(words.times)
    )
    passive = coin(rng)
    doer, done = (one, other) if follows else (other, one)
    if passive:
        return text, sentence("the", done.one, "was", act.participle, "by the", doer.one)
    return text, sentence("the", doer.one, act.past, "the", done.one)


def kinds(rng: random.Random, words: Words, follows: bool) -> Pair:
    """A noun gives way to its hypernym; under "no", to its hyponym."""
    thing, denied = rng.choice(words.animals + words.things), coin(rng)
    narrow_first = denied != follows
    before, after = (thing.one, thing.kind) if narrow_first else (thing.kind, thing.one)
    person, verb = rng.choice(humans(words)), rng.choice(words.handlings)
    where = f"in the {rng.choice(words.places).one}"

    def claim(what: str) -> str:
        act = f"did not {verb.base} any {what}" if denied else f"{verb.past} {a(what)}"
        return sentence("the", person.one, act, where)

    return claim(before), claim(after)


def quantities(rng: random.Random, words: Words, follows: bool) -> Pair:
    """A stronger quantifier gives way to a weaker one, not the other way round."""
    group = rng.choice(humans(words) + words.animals).many
    scale = ("all", "most", "some") if coin(rng) else ("none of the", "few", "not all")
    strong, weak = sorted(rng.sample(range(3), 2))
    before, after = (scale[strong], scale[weak]) if follows else (scale[weak], scale[strong])
    end = f"{rng.choice(words.moves).past} in the {rng.choice(words.places).one}"
    return sentence(before, group, end), sentence(after, group, end)


def attitudes(rng: random.Random, words: Words, follows: bool) -> Pair:
    """What is known or regretted holds, what is thought or claimed may not, negated or not."""
    one, other = two(rng, humans(words))
    past, base = rng.choice(KNOWN if follows else SUPPOSED)
    fact = f"the {other.one} {rng.choice(words.moves).past}"
    believes = f"did not {base}" if coin(rng) else past
    return sentence("the", one.one, believes, "that", fact), sentence(fact)


def implicatives(rng: random.Random, words: Words, follows: bool) -> Pair:
    """Having "managed to" entails the act and "failed to" denies it; a negation turns both round."""
    person, thing = rng.choice(humans(words)), rng.choice(words.things)
    verb = rng.choice(words.handlings)
    denied = coin(rng)
    past, base = rng.choice(NOT_DONE if denied == follows else DONE)
    text = sentence(
        "the", person.one, f"did not {base}" if denied else past, "to", verb.base, "the", thing.one
    )
    return text, sentence("the", person.one, verb.past, "the", thing.one)


def modifiers(rng: random.Random, words: Words, follows: bool) -> Pair:
    """A modifier may be dropped, but not added."""
    person, thing = rng.choice(humans(words)), rng.choice(words.things)
    look, other = two(rng, words.looks)
    verb = rng.choice(words.handlings).past
    place, time = f"in the {rng.choice(words.places).one}", rng.choice(words.times)
    long = (f"{look} {thing.one}", place if coin(rng) else time)
    short = (thing.one, long[1]) if coin(rng) else (long[0], "")
    before, after = (long, short) if follows else (short, long)
    subject = f"the {person.one} {verb} the {other}"
    return sentence(subject, *before), sentence(subject, *after)


def conjunction(rng: random.Random, words: Words, follows: bool) -> Pair:
    """Each half of an "and" follows, no half of an "or" does, and the halves do not mix."""
    one, other = two(rng, humans(words))
    if coin(rng):
        tail = (
            f"{rng.choice(words.handlings).past} the {rng.choice(words.looks)} {rng.choice(words.things).one}"
        )
        link = "and" if follows else "or"
        return sentence("the", one.one, link, "the", other.one, tail), sentence("the", one.one, tail)
    first, second = (
        f"{rng.choice(words.handlings).past} the {thing.one}" for thing in two(rng, words.things)
    )
    who = other if follows else one
    return sentence("the", one.one, first, "and the", other.one, second), sentence("the", who.one, second)


def converses(rng: random.Random, words: Words, follows: bool) -> Pair:
    """What one sells, the other buys."""
    one, other = two(rng, humans(words))
    gift = f"the {rng.choice(words.things).one}"
    there, back = rng.choice((("sold {} to", "bought {} from"), ("gave {} to", "got {} from")))
    if coin(rng):
        there, back = back, there
    text = sentence("the", one.one, there.format(gift), "the", other.one, rng.choice(words.times))
    doer, done = (other, one) if follows else (one, other)
    return text, sentence("the", doer.one, back.format(gift), "the", done.one)


def clauses(rng: random.Random, words: Words, follows: bool) -> Pair:
    """The words "because" and "although" assert both clauses, "if" and "unless" assert neither."""
    one, other = two(rng, humans(words))
    link = rng.choice(("because", "although", "after", "when") if follows else ("if", "unless", "in case"))
    first, second = (f"the {person.one} {rng.choice(words.moves).past}" for person in (one, other))
    return sentence(link, first + ",", second), sentence(rng.choice((first, second)))


def synonyms(rng: random.Random, words: Words, follows: bool) -> Pair:
    """A verb gives way to a synonym or to its opposite."""
    one, other = two(rng, humans(words))
    act, changed = rng.choice(words.act_synonyms if follows else words.act_opposites)
    text = sentence("the", rng.choice(words.qualities), one.one, act.past, "the", other.one)
    return text, sentence("the", one.one, changed.past, "the", other.one)


def details(rng: random.Random, words: Words, follows: bool) -> Pair:
    """The hypothesis names the same place, or another one."""
    one, other = two(rng, humans(words))
    place, elsewhere = (each.one for each in two(rng, words.places))
    act = rng.choice(words.acts)
    text = sentence("the", one.one, act.past, "the", other.one, "in the", place, rng.choice(words.times))
    return text, sentence("the", one.one, "was in the", place if follows else elsewhere)


CONSTRUCTIONS: tuple[Construction, ...] = (
    voice,
    kinds,
    quantities,
    attitudes,
    implicatives,
    modifiers,
    conjunction,
    converses,
    clauses,
    synonyms,
    details,
)


def generate(rng: random.Random, words: Words) -> Example:
    """A text and a hypothesis; label 0 where it follows ("entailment"), else 1."""
    follows = coin(rng)
    return Example(rng.choice(CONSTRUCTIONS)(rng, words, follows), int(not follows))
